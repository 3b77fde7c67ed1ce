/* Paths through code that was made for them: blocks of two instructions, which hash what they are and where they come in the path,
   in an order that no one can guess. */
#pragma once
#include "micro.h"

/* Where a path's targets stand, for those that jump by them. */
#define TARGETS (FREE + (64ul << 20))

/* Block `b` does x0 = x1 ^ (x0 ror its amount), and x1 = x0 + its amount. */
static unsigned amount(unsigned b) { return b % 63 + 1; }

static uint64_t simulate(const uint16_t *path, unsigned length, uint64_t turns) {
    uint64_t x0 = 1, x1 = 2;
    for (uint64_t turn = 0; turn < turns; turn++)
        for (unsigned i = 0; i < length; i++) {
            unsigned n = amount(path[i]);
            x0 = x1 ^ (x0 >> n | x0 << (64 - n));
            x1 = x0 + n;
        }
    return mix(x0, x1);
}

static uint32_t *write_body(uint32_t *at, unsigned b) {
    *at++ = 0xcac00020 | amount(b) << 10;  /* eor x0, x1, x0, ror #amount */
    *at++ = 0x91000001 | amount(b) << 10;  /* add x1, x0, #amount */
    return at;
}

static void shuffle(uint16_t *items, unsigned count) {
    for (unsigned i = count - 1; i > 0; i--) {
        unsigned j = random_number() % (i + 1);
        uint16_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}

static uint32_t branch(uint64_t from, uint64_t to) { return 0x14000000 | ((to - from) >> 2 & 0x3ffffff); }

/* Runs the code at `entry`, which returns after x2 turns; x3 and x4 are for the table of targets. */
static uint64_t run(uint64_t entry, uint64_t turns) {
    register uint64_t x0 __asm__("x0") = 1, x1 __asm__("x1") = 2, x2 __asm__("x2") = turns, x3 __asm__("x3") = TARGETS;
    __asm__ volatile("blr %4" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : "r"(entry) : "x4", "x30", "cc", "memory");
    return mix(x0, x1);
}

static uint64_t check_and_run(uint64_t entry, const uint16_t *path, unsigned length, uint64_t turns) {
    expect(run(entry, 1), simulate(path, length, 1), "one turn");
    expect(run(entry, 3), simulate(path, length, 3), "three turns");
    return run(entry, turns);
}

/* Direct branches through `count` blocks, block `b` at FREE + b * stride, in shuffled order. */
static uint16_t order[1024];

static uint64_t make_direct(unsigned count, uint64_t stride) {
    for (unsigned b = 0; b < count; b++) order[b] = b;
    shuffle(order, count);
    for (unsigned i = 0; i < count; i++) {
        uint64_t start = FREE + order[i] * stride;
        uint32_t *at = write_body((uint32_t *)start, order[i]);
        if (i + 1 < count) {
            *at = branch((uint64_t)at, FREE + order[i + 1] * stride);
            continue;
        }
        *at++ = 0xf1000442;  /* subs x2, x2, #1 */
        *at++ = 0x54000040;  /* b.eq to the return */
        *at = branch((uint64_t)at, FREE + order[0] * stride);
        at[1] = 0xd65f03c0;  /* ret */
    }
    publish_code(FREE, count * stride);
    return FREE + order[0] * stride;
}

/* A path of `length` through `count` blocks, each of which jumps where a table says, and so goes to many others. */
static uint16_t path[4096];

static uint64_t make_indirect(unsigned count, uint64_t stride, unsigned length) {
    uint64_t *targets = (uint64_t *)TARGETS, entry = FREE + count * stride;
    for (unsigned b = 0; b < count; b++) {
        uint32_t *at = write_body((uint32_t *)(FREE + b * stride), b);
        *at++ = 0xf8408464;  /* ldr x4, [x3], #8 */
        *at = 0xd61f0080;    /* br x4 */
    }
    for (unsigned i = 0; i < length; i++) {
        path[i] = random_number() % count;
        targets[i] = FREE + path[i] * stride;
    }
    /* After the last one comes the way back. */
    targets[length] = entry + 12;
    uint32_t *at = (uint32_t *)entry;
    *at++ = 0xaa0303e5;               /* mov x5, x3 */
    *at++ = 0xf8408464;               /* ldr x4, [x3], #8 */
    *at++ = 0xd61f0080;               /* br x4 */
    *at++ = 0xaa0503e3;               /* mov x3, x5 */
    *at++ = 0xf1000442;               /* subs x2, x2, #1 */
    *at = 0x54000001 | (-4 & 0x7ffff) << 5;  /* b.ne to the ldr */
    at[1] = 0xd65f03c0;               /* ret */
    publish_code(FREE, count * stride + PAGE);
    return entry;
}
