// group: memory
// LDTR and STTR at EL1: accesses with EL0's rights.
#define ITERATIONS 30000
#include "micro.h"

#define USERS 4ul

/* The one access that must fault: counted in x15, its syndrome in x16. */
__asm__(".globl el1_sync\n"
        "el1_sync:\n"
        "    mrs x16, esr_el1\n"
        "    add x15, x15, #1\n"
        "    mrs x14, elr_el1\n"
        "    add x14, x14, #4\n"
        "    msr elr_el1, x14\n"
        "    eret\n");

static void prepare(void) {
    for (uint64_t page = 0; page < USERS; page++)
        map_page(root, ELSEWHERE + page * PAGE, FREE + page * PAGE, RAM_PAGE | USER | ANY_XN);
    map_page(root, ELSEWHERE + USERS * PAGE, FREE + USERS * PAGE, RAM_PAGE | ANY_XN);
    for (uint64_t at = 0; at <= USERS * PAGE; at += 8) write64(FREE + at, 0);
}

/* What is EL1's own is beyond these instructions' reach. */
static void check_refusal(void) {
    register uint64_t x15 __asm__("x15") = 0, x16 __asm__("x16") = 0;
    uint64_t at = ELSEWHERE + USERS * PAGE, value = 7;
    write64(at, 0);
    __asm__ volatile("sttr %[value], [%[at]]\n ldtr %[value], [%[at]]"
                     : [value] "+r"(value), "+r"(x15), "+r"(x16) : [at] "r"(at) : "x14", "memory");
    expect(x15, 2, "EL0 may not, but LDTR or STTR did");
    expect(x16, 0x25ul << 26 | 1 << 25 | 0xf, "the syndrome");
    expect(value, 7, "a refused load");
    expect(read64(at), 0, "a refused store");
}

static uint64_t work(uint64_t iterations) {
    check_refusal();
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t at = ELSEWHERE, end = ELSEWHERE + USERS * PAGE, x, y;
        __asm__ volatile("1: ldtr %[x], [%[at]]\n ldtr %[y], [%[at], #8]\n add %[x], %[x], #1\n add %[y], %[y], %[i]\n"
                         "sttr %[x], [%[at]]\n sttr %[y], [%[at], #8]\n add %[at], %[at], #16\n cmp %[at], %[end]\n b.ne 1b"
                         : [at] "+r"(at), [x] "=&r"(x), [y] "=&r"(y) : [end] "r"(end), [i] "r"(i) : "cc", "memory");
    }
    for (uint64_t at = FREE; at < FREE + USERS * PAGE; at += 16) {
        expect(read64(at), iterations, "stores that got lost");
        expect(read64(at + 8), iterations * (iterations - 1) / 2, "stores that got lost");
    }
    check_refusal();
    return mix(read64(FREE), read64(FREE + 8));
}
