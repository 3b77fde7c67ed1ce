// group: fp
// The mathematical library: exponentials and logarithms.
#define ITERATIONS 4500000
#include "bench.h"
#include <math.h>

static uint64_t work(uint64_t iterations) {
    double sum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        double x = (double)i * 0.00001;
        sum += exp(-x) + log(x + 1.0) + exp2(x * 0.25);
    }
    return fold_rounded(0, sum);
}
