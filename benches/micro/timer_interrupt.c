// group: exceptions
// The virtual timer, set to expire at once.
#define ITERATIONS 80000
#include "interrupts.h"

/* The timer is switched off first, or it would interrupt again. */
INTERRUPT_HANDLER("msr cntv_ctl_el0, xzr\n isb\n")

static void prepare(void) { enable_interrupts(1u << 27); }

static uint64_t work(uint64_t iterations) {
    register uint64_t x12 __asm__("x12") = 0, x13 __asm__("x13") = 0;
    uint64_t next = 0, one = 1;
    __asm__ volatile("1: add %[next], %[next], #1\n msr cntv_tval_el0, xzr\n msr cntv_ctl_el0, %[one]\n isb\n"
                     "2: cmp x13, %[next]\n b.ne 2b\n cmp %[next], %[n]\n b.ne 1b"
                     : [next] "+r"(next), "+r"(x12), "+r"(x13)
                     : [one] "r"(one), [n] "r"(iterations)
                     : "x10", "x11", "x14", "x15", "cc", "memory");
    expect(x13, iterations, "the number of interrupts");
    expect(x12, iterations * 27, "the numbers acknowledged");
    return mix(x12, x13);
}
