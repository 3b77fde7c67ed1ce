// group: fp
// The mathematical library: powers and cube roots.
#define ITERATIONS 2400000
#include "bench.h"
#include <math.h>

static uint64_t work(uint64_t iterations) {
    double sum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        double x = (double)i * 0.00002;
        sum += pow(x + 1.0, 1.7) + cbrt(x);
    }
    return fold_rounded(0, sum);
}
