// group: fp
// Newton's method beside the machine's division and square root, double and single precision.
#define ITERATIONS 16800000
#include "bench.h"
#include <math.h>

static uint64_t work(uint64_t iterations) {
    double sum = 0;
    float sum_float = 0;
    for (uint64_t i = 1; i <= iterations; i++) {
        double x = (double)i * 0.5, guess = sqrt(x) + 1;
        guess = 0.5 * (guess + x / guess);
        sum += x / (guess + 1) * 1e-6;
        float f = (float)(i & 1023) + 1;
        sum_float = sum_float * 0.5f + sqrtf(f) / (f + 1);
    }
    return fold(fold_rounded(0, sum), (uint64_t)(sum_float * 1000));
}
