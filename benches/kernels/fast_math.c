// group: fp
// flags: -O3 -ffast-math
// Polynomials with numbers that get tiny, linked with -ffast-math: the whole program flushes denormal numbers to zero.
#define ITERATIONS 1800
#include "bench.h"

#define N 8192

static float x[N], y[N];

__attribute__((noinline)) static void step(float scale) {
    for (int i = 0; i < N; i++) {
        float t = x[i] * scale;
        y[i] += t * (1.0f + t * (0.5f + t * (0.25f + t * 0.125f)));
    }
}

static uint64_t work(uint64_t iterations) {
    for (int i = 0; i < N; i++) x[i] = (float)(i + 1) / N, y[i] = 0;
    float scale = 1.0f;
    for (uint64_t i = 0; i < iterations; i++) {
        step(scale);
        scale *= 0.5f;
        if (i % 160 == 159) scale = 1.0f;
    }
    uint64_t sum = 0;
    for (int i = 0; i < N; i += 1000) sum = fold(sum, (uint64_t)(y[i] * 1000));
    return sum;
}
