// group: memory
// memcpy and memmove of 1 byte to 1 MiB.
#define ITERATIONS 60
#include "bench.h"

#define N (1 << 20)

static uint64_t work(uint64_t iterations) {
    uint8_t *a = allocate(2 * N), *b = allocate(2 * N);
    for (int i = 0; i < 2 * N; i++) a[i] = (uint8_t)(i * 7), b[i] = (uint8_t)i;
    uint64_t sum = 0;
    while (iterations--) {
        for (size_t size = 1; size <= N; size *= 2) {
            size_t times = 4 * N / (size + 256) / 4 + 1;
            for (size_t t = 0; t < times; t++) {
                size_t from = t * 61 % N, to = t * 37 % N;
                memcpy(b + to, a + from, size);
                memmove(b + from, b + from + (t & 15), size - size / 16);
            }
            sum = fold(sum, b[size / 2]);
        }
        a[iterations] ^= 1;
    }
    return sum;
}
