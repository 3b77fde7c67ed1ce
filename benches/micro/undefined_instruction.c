// group: exceptions
// An undefined instruction, which the handler skips.
#define ITERATIONS 500000
#include "micro.h"

__asm__(".globl el1_sync\n"
        "el1_sync:\n"
        "    mrs x14, esr_el1\n"
        "    add x16, x16, x14\n"
        "    add x15, x15, #1\n"
        "    mrs x14, elr_el1\n"
        "    add x14, x14, #4\n"
        "    msr elr_el1, x14\n"
        "    eret\n");

static void prepare(void) {}

static uint64_t work(uint64_t iterations) {
    register uint64_t x15 __asm__("x15") = 0, x16 __asm__("x16") = 0;
    uint64_t n = iterations;
    __asm__ volatile("1: .inst 0x0000beef\n subs %[n], %[n], #1\n b.ne 1b"
                     : [n] "+r"(n), "+r"(x15), "+r"(x16) : : "x14", "cc", "memory");
    expect(x15, iterations, "the number of exceptions");
    expect(x16, iterations << 25, "the syndromes");
    return mix(x15, x16);
}
