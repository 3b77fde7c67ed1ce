// group: system
// Reading the clock without a system call: the counter register and the kernel's shared page.
#define ITERATIONS 3000000
#include "bench.h"

static uint64_t work(uint64_t iterations) {
    uint64_t backwards = 0, last = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        uint64_t ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
        backwards += ns < last;
        last = ns;
    }
    return fold(iterations, backwards);
}
