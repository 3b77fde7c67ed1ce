// group: I/O
// MSR and MRS of registers without a side effect, and of the identification registers.
#define ITERATIONS 2000000
#include "micro.h"

static void prepare(void) {}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, n = iterations, x, midr = read_register(midr_el1);
    __asm__ volatile("1: msr tpidr_el1, %[n]\n msr far_el1, %[n]\n msr contextidr_el1, %[n]\n mrs %[x], midr_el1\n"
                     "add %[sum], %[sum], %[x]\n mrs %[x], tpidr_el1\n add %[sum], %[sum], %[x]\n mrs %[x], far_el1\n"
                     "add %[sum], %[sum], %[x]\n mrs %[x], contextidr_el1\n add %[sum], %[sum], %[x]\n"
                     "subs %[n], %[n], #1\n b.ne 1b"
                     : [sum] "+r"(sum), [n] "+r"(n), [x] "=&r"(x) : : "cc", "memory");
    expect(sum, iterations * midr + 3 * (iterations * (iterations + 1) / 2), "registers don't keep their values");
    return mix(0, sum - iterations * midr);
}
