// group: integer
// SHA-256 in portable C: rotations, bit logic and long basic blocks.
#define ITERATIONS 500000
#include "bench.h"

static uint32_t round_constants[64];

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

// The fractional bits of the cube roots of the first primes, by integer search.
static void make_constants(void) {
    int found = 0;
    for (uint64_t p = 2; found < 64; p++) {
        int prime = 1;
        for (uint64_t d = 2; d * d <= p; d++) prime &= p % d != 0;
        if (!prime) continue;
        unsigned __int128 target = (unsigned __int128)p << 96;
        uint64_t root = 0;
        for (int bit = 36; bit >= 0; bit--) {
            uint64_t t = root | 1ull << bit;
            if ((unsigned __int128)t * t * t <= target) root = t;
        }
        round_constants[found++] = (uint32_t)root;
    }
}

static void compress(uint32_t state[8], const uint32_t block[16]) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) w[i] = block[i];
    for (int i = 16; i < 64; i++) {
        uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
        uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
        w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + round_constants[i] + w[i];
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

static uint64_t work(uint64_t iterations) {
    uint32_t state[8] = {1, 2, 3, 4, 5, 6, 7, 8}, block[16] = {0};
    make_constants();
    for (uint64_t i = 0; i < iterations; i++) {
        block[i & 15] ^= state[i & 7] + (uint32_t)i;
        compress(state, block);
    }
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) sum = fold(sum, state[i]);
    return sum;
}
