// group: fp
// Conversions between integers, single and double precision, rounding functions, minima and maxima.
#define ITERATIONS 4500000
#include "bench.h"
#include <math.h>

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 22;
    while (iterations--) {
        uint64_t r = random64(&seed);
        double d = (double)(int64_t)r * 0x1p-40;
        float f = (float)(int32_t)r * 0.37f;
        int64_t whole = (int64_t)d;
        uint32_t unsigned_ = (uint32_t)fabsf(f);
        double clamped = fmin(fmax(d, -1000.0), 1000.0);
        sum += (uint64_t)whole + unsigned_ + (uint64_t)(int64_t)(floor(clamped) + ceil(clamped)) + (uint64_t)(int64_t)(float)d;
    }
    return fold(0, sum);
}
