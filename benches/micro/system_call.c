// group: exceptions
// SVC from EL0, answered and returned from.
#define ITERATIONS 500000
#include "micro.h"

/* x9: how many are left. SVC #0 is answered in x0, SVC #1 ends it, with a jump to x19. */
__asm__(".section .user, \"ax\"\n"
        "user_loop:\n"
        "1:  svc #0\n"
        "    eor x1, x1, x0\n"
        "    subs x9, x9, #1\n"
        "    b.ne 1b\n"
        "    svc #1\n"
        "    b .\n"
        ".text\n"
        ".globl el0_sync\n"
        "el0_sync:\n"
        "    mrs x14, esr_el1\n"
        "    tst x14, #0xffff\n"
        "    b.ne 1f\n"
        "    add x16, x16, x14\n"
        "    add x15, x15, #1\n"
        "    add x0, x15, x9\n"
        "    eret\n"
        "1:  br x19\n");

static void prepare(void) {
    extern char user_start[] __attribute__((visibility("hidden")));
    map_page(root, ELSEWHERE, (uint64_t)user_start, RAM_PAGE | USER | READ_ONLY | PRIVILEGED_XN);
}

static uint64_t work(uint64_t iterations) {
    register uint64_t x0 __asm__("x0") = 0, x1 __asm__("x1") = 0, x9 __asm__("x9") = iterations;
    register uint64_t x15 __asm__("x15") = 0, x16 __asm__("x16") = 0;
    write_register(elr_el1, ELSEWHERE);
    write_register(spsr_el1, 0x3c0); /* EL0, everything masked */
    __asm__ volatile("adr x19, 1f\n eret\n 1:"
                     : "+r"(x0), "+r"(x1), "+r"(x9), "+r"(x15), "+r"(x16) : : "x14", "x19", "cc", "memory");
    expect(x15, iterations, "the number of calls");
    expect(x16, iterations * (0x15ul << 26 | 1 << 25), "the syndromes");
    /* Each answer is the number of the call and of those left: one more than all. */
    expect(x1, iterations & 1 ? iterations + 1 : 0, "the answers");
    expect(read_register(spsr_el1) & 0xf, 0, "calls did not come from EL0");
    return mix(x15, x16);
}
