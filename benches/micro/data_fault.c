// group: exceptions
// Loads from an address that nothing is mapped at: translation faults, with a handler that goes on after the load.
#define ITERATIONS 400000
#include "micro.h"

/* x16, x17: syndromes and addresses, summed up; x15: how many. */
__asm__(".globl el1_sync\n"
        "el1_sync:\n"
        "    mrs x14, esr_el1\n"
        "    add x16, x16, x14\n"
        "    mrs x14, far_el1\n"
        "    add x17, x17, x14\n"
        "    add x15, x15, #1\n"
        "    mrs x14, elr_el1\n"
        "    add x14, x14, #4\n"
        "    msr elr_el1, x14\n"
        "    eret\n");

static void prepare(void) {}

static uint64_t work(uint64_t iterations) {
    register uint64_t x15 __asm__("x15") = 0, x16 __asm__("x16") = 0, x17 __asm__("x17") = 0;
    uint64_t loaded = 42, at = ELSEWHERE + 8, n = iterations;
    __asm__ volatile("1: ldr %[loaded], [%[at]]\n add %[at], %[at], #16\n subs %[n], %[n], #1\n b.ne 1b"
                     : [loaded] "+r"(loaded), [at] "+r"(at), [n] "+r"(n), "+r"(x15), "+r"(x16), "+r"(x17)
                     : : "x14", "cc", "memory");
    expect(x15, iterations, "the number of exceptions");
    /* EC 0x25, IL, DFSC: translation fault, level 0, as nothing is mapped in this table entry. */
    expect(x16, iterations * (0x25ul << 26 | 1 << 25 | 4), "the syndromes");
    expect(x17, iterations * (ELSEWHERE + 8) + 16 * (iterations * (iterations - 1) / 2), "the fault addresses");
    expect(loaded, 42, "a load that faulted changed its register");
    return mix(x16, x17);
}
