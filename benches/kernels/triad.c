// group: memory
// flags: -O3
// Streams over arrays larger than the caches: copy, scale, add and triad of integers.
#define ITERATIONS 18
#include "bench.h"

#define N (1 << 20)

static uint64_t work(uint64_t iterations) {
    uint64_t *restrict a = allocate(N * 8), *restrict b = allocate(N * 8), *restrict c = allocate(N * 8);
    for (uint64_t i = 0; i < N; i++) a[i] = i, b[i] = 2 * i, c[i] = 0;
    while (iterations--) {
        for (int i = 0; i < N; i++) c[i] = a[i];
        for (int i = 0; i < N; i++) b[i] = c[i] << 1;
        for (int i = 0; i < N; i++) c[i] = a[i] + b[i];
        for (int i = 0; i < N; i++) a[i] = b[i] + (c[i] >> 3);
    }
    uint64_t sum = 0;
    for (int i = 0; i < N; i += 1001) sum = fold(sum, a[i]);
    return sum;
}
