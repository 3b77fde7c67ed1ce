// group: integer
// Greatest common divisors: chains of divisions with short loops.
#define ITERATIONS 1800000
#include "bench.h"

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 10;
    while (iterations--) {
        uint64_t r = random64(&seed);
        uint64_t a = r >> 20, b = r & 0xffffffffff;
        while (b) {
            uint64_t t = a % b;
            a = b;
            b = t;
        }
        int32_t c = (int32_t)(r >> 32) | 1, d = (int32_t)r;
        while (c) {
            int32_t t = d % c;
            d = c;
            c = t == INT32_MIN ? 0 : t;
        }
        sum = fold(sum, a + (uint32_t)d);
    }
    return sum;
}
