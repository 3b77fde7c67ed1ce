// group: I/O
// Loads from and stores to registers of the PL011.
#define ITERATIONS 1500000
#include "micro.h"
#include <stdbool.h>

static uint64_t *other;

/* A frame that says in the identity register's place that it is none. */
static void prepare(void) {
    write32(FREE + 0xfe0, 0xabc);
    other = new_root();
    map_page(root, ELSEWHERE, UART, VALID | DEVICE | ACCESSED | ANY_XN | NOT_GLOBAL);
    map_page(other, ELSEWHERE, FREE, RAM_PAGE | ANY_XN | NOT_GLOBAL);
}

static uint32_t identify(uint64_t page) { return read32(page + 0xfe0); }

/* What is a device here is memory in another address space, and after a change of the table here, too. */
static void check_mappings(void) {
    for (int i = 0; i < 10; i++) {
        write_register(ttbr0_el1, (uint64_t)root | 1ul << 48);
        __asm__ volatile("isb");
        expect(identify(ELSEWHERE), 0x11, "the device at another address");
        write_register(ttbr0_el1, (uint64_t)other | 2ul << 48);
        __asm__ volatile("isb");
        expect(identify(ELSEWHERE), 0xabc, "another address space's memory");
    }
    write_register(ttbr0_el1, (uint64_t)root | 1ul << 48);
    __asm__ volatile("isb");
    for (int i = 0; i < 10; i++) {
        expect(identify(ELSEWHERE), 0x11, "the device that came back");
        map_page(root, ELSEWHERE, FREE, RAM_PAGE | ANY_XN | NOT_GLOBAL);
        forget_page(ELSEWHERE);
        expect(identify(ELSEWHERE), 0xabc, "the memory in a device's place");
        map_page(root, ELSEWHERE, UART, VALID | DEVICE | ACCESSED | ANY_XN | NOT_GLOBAL);
        forget_page(ELSEWHERE);
    }
}

/* One place in the code goes to a device for long, to memory for long, and to either by turns. */
static void check_turns(void) {
    enum { LONG = 5000 };
    for (uint64_t i = 0; i < 4 * LONG; i++) {
        bool device = i < 3 * LONG ? i / LONG != 1 : i % 3 == 0;
        uint64_t page = device ? UART : FREE;
        uint32_t wrote = i & 0x3f, identity, read;
        __asm__ volatile("ldr %w[identity], [%[page], #0xfe0]\n str %w[wrote], [%[page], #0x28]\n ldr %w[read], [%[page], #0x28]"
                         : [identity] "=&r"(identity), [read] "=r"(read) : [page] "r"(page), [wrote] "r"(wrote) : "memory");
        expect(identity, device ? 0x11 : 0xabc, "a device and memory by turns");
        expect(read, wrote, "what went to a device and to memory by turns");
    }
}

static uint64_t work(uint64_t iterations) {
    check_mappings();
    check_turns();
    uint64_t identity = 0, divisors = 0, n = iterations, x;
    /* UARTPeriphID0 is 0x11; UARTFBRD keeps six bits. */
    __asm__ volatile("1: ldr %w[x], [%[uart], #0xfe0]\n add %[identity], %[identity], %[x]\n"
                     "and %w[x], %w[n], #0x3f\n str %w[x], [%[uart], #0x28]\n ldr %w[x], [%[uart], #0x28]\n"
                     "add %[divisors], %[divisors], %[x]\n subs %[n], %[n], #1\n b.ne 1b"
                     : [identity] "+r"(identity), [divisors] "+r"(divisors), [n] "+r"(n), [x] "=&r"(x)
                     : [uart] "r"(UART) : "cc", "memory");
    expect(identity, iterations * 0x11, "the identity register");
    uint64_t expected = 0;
    for (uint64_t i = 1; i <= iterations; i++) expected += i & 0x3f;
    expect(divisors, expected, "the divisor register");
    return mix(identity, divisors);
}
