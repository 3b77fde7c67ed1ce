// group: exceptions
// Calls of an address that nothing is mapped at; the handler returns to the caller.
#define ITERATIONS 300000
#include "micro.h"

__asm__(".globl el1_sync\n"
        "el1_sync:\n"
        "    mrs x14, esr_el1\n"
        "    add x16, x16, x14\n"
        "    mrs x14, far_el1\n"
        "    add x17, x17, x14\n"
        "    mrs x14, elr_el1\n"
        "    add x17, x17, x14\n"
        "    add x15, x15, #1\n"
        "    msr elr_el1, x30\n"
        "    eret\n");

static void prepare(void) {}

static uint64_t work(uint64_t iterations) {
    register uint64_t x15 __asm__("x15") = 0, x16 __asm__("x16") = 0, x17 __asm__("x17") = 0;
    uint64_t at = ELSEWHERE + PAGE, n = iterations;
    __asm__ volatile("1: blr %[at]\n subs %[n], %[n], #1\n b.ne 1b"
                     : [n] "+r"(n), "+r"(x15), "+r"(x16), "+r"(x17) : [at] "r"(at) : "x14", "x30", "cc", "memory");
    expect(x15, iterations, "the number of exceptions");
    expect(x16, iterations * (0x21ul << 26 | 1 << 25 | 4), "the syndromes");
    expect(x17, iterations * 2 * at, "fault and return addresses");
    return mix(x16, x17);
}
