/* A program of the suite `micro`: no operating system, EL1, its own page tables and vectors.
 *
 * Memory is mapped where it is, by blocks of 1 GiB that only EL1 may access. A program defines ITERATIONS, about half a
 * second's under QEMU,
 * `prepare`, whose time doesn't count, and `work`, which does what the program's name says so often, checks that it really
 * happened, and gives a checksum. The line it prints in the end, "seconds=S checksum=C", is by the guest's clock; "start"
 * before it is for those who time it by another. With `iterations=N` on the kernel's command line it does N; with
 * `times=N` so many times what it does otherwise; with `hold=1` it doesn't power the machine off before a key is pressed.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

static void prepare(void);
static uint64_t work(uint64_t iterations);

#define PAGE 4096ul
/* Memory that programs may use: so much from here. The machine has 512 MiB, and QEMU leaves the device tree at 128. */
#define FREE 0x4a000000ul
#define FREE_SIZE (192ul << 20)
/* Virtual addresses that nothing is mapped at until a program maps it. */
#define ELSEWHERE 0x8000000000ul

#define UART 0x09000000ul
#define GIC_DISTRIBUTOR 0x08000000ul
#define GIC_CPU 0x08010000ul

#define read_register(name) ({ uint64_t v_; __asm__ volatile("mrs %0, " #name : "=r"(v_) : : "memory"); v_; })
#define write_register(name, value) __asm__ volatile("msr " #name ", %0" : : "r"((uint64_t)(value)) : "memory")
#define barrier() __asm__ volatile("dsb ish\n isb" : : : "memory")

static inline uint32_t read32(uint64_t at) {
    uint32_t v;
    __asm__ volatile("ldr %w0, [%1]" : "=r"(v) : "r"(at) : "memory");
    return v;
}

static inline void write32(uint64_t at, uint32_t v) { __asm__ volatile("str %w0, [%1]" : : "r"(v), "r"(at) : "memory"); }

static inline uint64_t read64(uint64_t at) {
    uint64_t v;
    __asm__ volatile("ldr %0, [%1]" : "=r"(v) : "r"(at) : "memory");
    return v;
}

static inline void write64(uint64_t at, uint64_t v) { __asm__ volatile("str %0, [%1]" : : "r"(v), "r"(at) : "memory"); }

/* A hash of what was hashed before and one more word. */
static inline uint64_t mix(uint64_t h, uint64_t v) {
    return (((h << 1 | h >> 63) ^ v) + 0x632be59bd9b4e019ul) * 0x9e3779b97f4a7c15ul + (h >> 29);
}

static uint64_t random_state = 88172645463325252ul;

static inline uint64_t random_number(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Console. */

static void put(char c) {
    while (read32(UART + 0x18) & 0x20) {}
    write32(UART, (unsigned char)c);
}

static void print(const char *text) {
    for (; *text; text++) put(*text);
}

static void print_hex(uint64_t v) {
    for (int shift = 60; shift >= 0; shift -= 4) put("0123456789abcdef"[v >> shift & 15]);
}

static void print_decimal(uint64_t v, int digits) {
    if (v >= 10 || digits > 1) print_decimal(v / 10, digits - 1);
    put('0' + v % 10);
}

/* PSCI SYSTEM_OFF (Arm DEN 0022). */
__attribute__((noreturn)) static void power_off(void) {
    register uint64_t x0 __asm__("x0") = 0x84000008;
    for (;;) __asm__ volatile("hvc #0" : "+r"(x0) : : "x1", "x2", "x3", "memory");
}

__attribute__((noreturn)) static void fail(const char *what, uint64_t v) {
    print("FAILED: ");
    print(what);
    print(" (");
    print_hex(v);
    print(")\n");
    power_off();
}

static inline void expect(uint64_t found, uint64_t wanted, const char *what) {
    if (found != wanted) fail(what, found);
}

/* An exception that the program has no handler for. */
__attribute__((used, noreturn)) static void unexpected(uint64_t esr, uint64_t elr, uint64_t far) {
    write_register(sctlr_el1, read_register(sctlr_el1) & ~1ul);
    barrier();
    print("exception, ESR ");
    print_hex(esr);
    print(" ELR ");
    print_hex(elr);
    print(" FAR ");
    print_hex(far);
    put('\n');
    fail("an exception", esr);
}
/* The vectors' code is another file's. */
__asm__(".globl unexpected, start");

/* Address translation (Arm DDI 0487, D8): pages of 4 KiB, 48 bits. */

enum {
    VALID = 3,           /* a page, or a table */
    BLOCK = 1,
    DEVICE = 0 << 2,     /* index into MAIR_EL1 */
    NORMAL = 1 << 2,
    USER = 1 << 6,       /* AP[1]: EL0 may, too */
    READ_ONLY = 1 << 7,  /* AP[2] */
    SHARED = 3 << 8,
    ACCESSED = 1 << 10,
    NOT_GLOBAL = 1 << 11,
};
#define PRIVILEGED_XN (1ul << 53)
#define USER_XN (1ul << 54)
#define ANY_XN (PRIVILEGED_XN | USER_XN)
#define RAM_PAGE (VALID | NORMAL | SHARED | ACCESSED)

#define TABLES 256
static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
static unsigned tables_used;

static uint64_t *new_table(void) {
    if (tables_used == TABLES) fail("out of page tables", TABLES);
    return tables[tables_used++];
}

/* Where the entry of level 3 for `va` is; makes the tables above it. */
static uint64_t *page_entry(uint64_t *root, uint64_t va) {
    for (int shift = 39; shift > 12; shift -= 9) {
        uint64_t *entry = &root[va >> shift & 511];
        if (!*entry) *entry = (uint64_t)new_table() | VALID;
        root = (uint64_t *)(*entry & 0xfffffffff000);
    }
    return &root[va >> 12 & 511];
}

static void map_page(uint64_t *root, uint64_t va, uint64_t pa, uint64_t attributes) {
    *page_entry(root, va) = pa | attributes;
    barrier();
}

static void forget_all(void) { __asm__ volatile("dsb ishst\n tlbi vmalle1\n dsb ish\n isb" : : : "memory"); }

/* TLBI by address, all address spaces. */
static inline void forget_page(uint64_t va) {
    __asm__ volatile("dsb ishst\n tlbi vaae1, %0\n dsb ish\n isb" : : "r"(va >> 12) : "memory");
}

/* Tables with everything at its own address. */
static uint64_t *new_root(void) {
    uint64_t *root = new_table(), *level1 = new_table();
    root[0] = (uint64_t)level1 | VALID;
    level1[0] = BLOCK | DEVICE | ACCESSED | ANY_XN;
    level1[1] = 0x40000000 | BLOCK | NORMAL | SHARED | ACCESSED | USER_XN;
    return root;
}

static uint64_t *root;

static void translate(int on) {
    uint64_t sctlr = read_register(sctlr_el1) & ~0x1005ul;
    barrier();
    /* M, C, I */
    /* SPAN as well: exceptions leave PAN alone. */
    write_register(sctlr_el1, (on ? sctlr | 0x1005 : sctlr) | 1ul << 23);
    barrier();
    forget_all();
}

static void set_up_translation(void) {
    root = new_root();
    write_register(mair_el1, 0xff04);  /* 0: device nGnRE; 1: write-back */
    /* T0SZ 16, write-back walks, TTBR1 unused, ASIDs of 8 bits in TTBR0, 40 bits of physical address */
    write_register(tcr_el1, 16 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2ul << 32);
    write_register(ttbr0_el1, (uint64_t)root);
    translate(1);
}

/* Code that was written becomes the code that runs. */
static inline void publish_code(uint64_t at, uint64_t size) {
    for (uint64_t line = at & -64ul; line < at + size; line += 64) __asm__ volatile("dc cvau, %0" : : "r"(line) : "memory");
    __asm__ volatile("dsb ish" : : : "memory");
    for (uint64_t line = at & -64ul; line < at + size; line += 64) __asm__ volatile("ic ivau, %0" : : "r"(line) : "memory");
    barrier();
}

/* The number after `name` on the kernel's command line, which is somewhere in the device tree. */
static uint64_t argument(const unsigned char *tree, const char *name, uint64_t otherwise) {
    uint32_t size = tree[4] << 24 | tree[5] << 16 | tree[6] << 8 | tree[7];
    if (tree[0] != 0xd0 || tree[1] != 0x0d || tree[2] != 0xfe || tree[3] != 0xed) fail("no device tree", (uint64_t)tree);
    for (uint32_t at = 0; at < size; at++) {
        uint32_t n = 0;
        while (name[n] && at + n < size && tree[at + n] == (unsigned char)name[n]) n++;
        if (name[n]) continue;
        uint64_t v = 0;
        for (; at + n < size && tree[at + n] >= '0' && tree[at + n] <= '9'; n++) v = v * 10 + tree[at + n] - '0';
        return v;
    }
    return otherwise;
}

__attribute__((used)) static void start(const unsigned char *tree) {
    if ((uint64_t)tree - FREE < FREE_SIZE) fail("the device tree is in the way", (uint64_t)tree);
    uint64_t iterations = argument(tree, "iterations=", ITERATIONS * argument(tree, "times=", 1));
    set_up_translation();
    prepare();
    print("start\n");
    uint64_t before = read_register(cntvct_el0);
    __asm__ volatile("isb");
    uint64_t checksum = work(iterations);
    __asm__ volatile("isb");
    uint64_t ticks = read_register(cntvct_el0) - before, hz = read_register(cntfrq_el0);
    print("seconds=");
    print_decimal(ticks / hz, 1);
    put('.');
    print_decimal(ticks % hz * 1000000 / hz, 6);
    print(" checksum=");
    print_hex(checksum);
    put('\n');
    if (argument(tree, "hold=", 0))
        while (read32(UART + 0x18) & 0x10) {}
    power_off();
}
