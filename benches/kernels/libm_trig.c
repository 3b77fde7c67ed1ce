// group: fp
// The mathematical library: sine, cosine, arc tangent.
#define ITERATIONS 900000
#include "bench.h"
#include <math.h>

static uint64_t work(uint64_t iterations) {
    double sum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        double x = (double)i * 0.0001;
        sum += sin(x) + cos(x * 0.5) + atan2(x, 3.0);
    }
    return fold_rounded(0, sum);
}
