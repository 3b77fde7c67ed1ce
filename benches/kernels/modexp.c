// group: integer
// Modular exponentiation with 64-bit multiplication and remainder.
#define ITERATIONS 1500000
#include "bench.h"

static uint64_t power(uint64_t base, uint32_t exponent, uint64_t modulus) {
    uint64_t result = 1;
    base %= modulus;
    for (; exponent; exponent >>= 1) {
        if (exponent & 1) result = result * base % modulus;
        base = base * base % modulus;
    }
    return result;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 9;
    while (iterations--) {
        uint64_t r = random64(&seed);
        sum = fold(sum, power(r >> 33, (uint32_t)r, (sum >> 33) | 1 << 20));
    }
    return sum;
}
