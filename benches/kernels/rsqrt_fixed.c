// group: integer
// flags: -O3
// Reciprocal square roots of fixed-point numbers: an estimate of nine bits (URSQRTE), made exact to thirty by Newton's method.
#define ITERATIONS 200
#include "bench.h"

#define N 4096

// Numbers from 0.25 to 1, as fractions of 2^32.
static uint32_t numbers[N];
// Estimates from 1 to 2, as fractions of 2^31.
static uint32_t estimates[N];

#ifdef __aarch64__
#include <arm_neon.h>

static void estimate(void) {
    for (int i = 0; i < N; i += 4) vst1q_u32(estimates + i, vrsqrteq_u32(vld1q_u32(numbers + i)));
}
#else
// The greatest nine bits whose square times the number, whose upper bits count, is below one.
static void estimate(void) {
    for (int i = 0; i < N; i++) {
        uint32_t top = numbers[i] >> 23, a = top < 256 ? top << 1 | 1 : (top >> 1 << 1 | 1) << 1, b = 512;
        for (uint32_t bit = 256; bit; bit >>= 1)
            if (a * (b + bit) * (b + bit) < 1 << 28) b += bit;
        estimates[i] = ((b + 1) >> 1) << 23;
    }
}
#endif

// y + y * (1 - x * y * y) / 2; y as a fraction of 2^31.
static uint32_t newton(uint32_t x, uint32_t y) {
    uint64_t square = (uint64_t)y * y >> 31;
    int64_t error = ((int64_t)1 << 31) - (int64_t)(square * x >> 32);
    return (uint32_t)((int64_t)y + ((int64_t)y * error >> 32));
}

static uint64_t work(uint64_t iterations) {
    uint64_t seed = 25, sum = 0;
    for (int i = 0; i < N; i++) {
        numbers[i] = (uint32_t)random64(&seed);
        if (numbers[i] >> 30 == 0) numbers[i] |= 1u << 30;
    }
    while (iterations--) {
        numbers[iterations % N] ^= (uint32_t)random64(&seed) & 0x3fffffff;
        for (int k = 0; k < 8; k++) {
            estimate();
            sum += estimates[(iterations + (uint64_t)k) % N];
            numbers[k] ^= estimates[k] >> 24;
        }
        uint64_t errors = 0;
        for (int i = 0; i < N; i += 16) {
            uint32_t y = newton(numbers[i], newton(numbers[i], newton(numbers[i], estimates[i])));
            errors += (uint64_t)y * y >> 31;
        }
        sum = fold(sum, errors);
    }
    return sum;
}
