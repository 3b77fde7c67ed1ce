// group: exceptions
// Software-generated interrupts of the GICv2 to the processor that sends them.
#define ITERATIONS 200000
#include "interrupts.h"

INTERRUPT_HANDLER("")

static void prepare(void) { enable_interrupts(1); }

static uint64_t work(uint64_t iterations) {
    register uint64_t x12 __asm__("x12") = 0, x13 __asm__("x13") = 0;
    uint64_t send = GIC_DISTRIBUTOR + 0xf00, next = 0;
    /* To this processor only, number 1. */
    __asm__ volatile("1: add %[next], %[next], #1\n str %w[value], [%[send]]\n"
                     "2: cmp x13, %[next]\n b.ne 2b\n cmp %[next], %[n]\n b.ne 1b"
                     : [next] "+r"(next), "+r"(x12), "+r"(x13)
                     : [send] "r"(send), [value] "r"(2ul << 24 | 1), [n] "r"(iterations)
                     : "x10", "x11", "x14", "x15", "cc", "memory");
    expect(x13, iterations, "the number of interrupts");
    expect(x12, iterations * 1, "the numbers acknowledged");
    return mix(x12, x13);
}
