// group: fp
// flags: -O3
// y = a * x + y in double precision, vectorised by the compiler.
#define ITERATIONS 10800
#include "bench.h"

#define N 16384

static double x[N], y[N];

__attribute__((noinline)) static void step(double a) {
    for (int i = 0; i < N; i++) y[i] = a * x[i] + y[i];
}

static uint64_t work(uint64_t iterations) {
    for (int i = 0; i < N; i++) x[i] = (double)(i % 100), y[i] = 1;
    for (uint64_t i = 0; i < iterations; i++) step(i & 1 ? (double)0.25 : (double)-0.125);
    double sum = 0;
    for (int i = 0; i < N; i++) sum += (double)y[i];
    return fold_rounded(0, sum);
}
