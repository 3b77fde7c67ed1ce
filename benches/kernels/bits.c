// group: integer
// Bit twiddling: population count, leading and trailing zeros, byte and bit reversal, bit fields.
#define ITERATIONS 48000000
#include "bench.h"

static uint64_t reverse(uint64_t x) {
    x = (x & 0x5555555555555555) << 1 | (x >> 1 & 0x5555555555555555);
    x = (x & 0x3333333333333333) << 2 | (x >> 2 & 0x3333333333333333);
    x = (x & 0x0f0f0f0f0f0f0f0f) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0f);
    return __builtin_bswap64(x);
}

static uint64_t ones(uint64_t x) {
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    return ((x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f) * 0x0101010101010101 >> 56;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 1, seed = 12;
    while (iterations--) {
        uint64_t x = random64(&seed);
        sum += ones(x) + (uint64_t)__builtin_clzll(x) + (uint64_t)__builtin_ctzll(x);
        sum ^= reverse(x) ^ (x >> 11 & 0x3ff) << 20 ^ (uint64_t)((int64_t)(x << 17) >> 50);
    }
    return sum;
}
