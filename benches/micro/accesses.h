/* A loop of loads and stores for those programs that differ only in how memory is mapped. */
#pragma once
#include "micro.h"

#define SIZE (16ul << 10)

static void clear(uint64_t at, uint64_t size) {
    for (uint64_t end = at + size; at < end; at += 8) write64(at, 0);
}

/* Adds one to each second of `SIZE` bytes' words, and its number to the others, and checks that. */
static uint64_t add_to_all(uint64_t base, uint64_t iterations) {
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t at = base, end = base + SIZE, x, y;
        __asm__ volatile("1: ldr %[x], [%[at]]\n ldr %[y], [%[at], #8]\n add %[x], %[x], #1\n add %[y], %[y], %[i]\n"
                         "str %[x], [%[at]], #8\n str %[y], [%[at]], #8\n cmp %[at], %[end]\n b.ne 1b"
                         : [at] "+r"(at), [x] "=&r"(x), [y] "=&r"(y) : [end] "r"(end), [i] "r"(i) : "cc", "memory");
    }
    for (uint64_t at = base; at < base + SIZE; at += 16) {
        expect(read64(at), iterations, "stores that got lost");
        expect(read64(at + 8), iterations * (iterations - 1) / 2, "stores that got lost");
    }
    return mix(read64(base), read64(base + 8));
}
