// group: fp
// flags: -O3 -fassociative-math -fno-signed-zeros -fno-trapping-math
// Dot products in single precision: a vectorised reduction.
#define ITERATIONS 8100
#include "bench.h"

#define N 16384

static float x[N], y[N];

__attribute__((noinline)) static float product(void) {
    float sum = 0;
    for (int i = 0; i < N; i++) sum += x[i] * y[i];
    return sum;
}

static uint64_t work(uint64_t iterations) {
    // Small whole numbers: every order of additions gives the same sum.
    for (int i = 0; i < N; i++) x[i] = (float)(i % 7), y[i] = (float)(i % 5);
    uint64_t sum = 0;
    while (iterations--) {
        x[iterations % N] = (float)(iterations % 3);
        sum = fold(sum, (uint64_t)product());
    }
    return sum;
}
