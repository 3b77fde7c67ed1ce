// group: memory
// memset of 1 byte to 4 MiB, zeros (which arm64's C library does with DC ZVA) and others.
#define ITERATIONS 40
#include "bench.h"

#define N (1 << 22)

static uint64_t work(uint64_t iterations) {
    uint8_t *a = allocate(N);
    uint64_t sum = 0;
    while (iterations--) {
        for (size_t size = 1; size <= N; size *= 4) {
            size_t times = N / (size + 256) + 1;
            for (size_t t = 0; t < times; t++) {
                size_t at = t * 4099 % (N - size + 1);
                memset(a + at, t & 1 ? (int)t : 0, size);
            }
            for (size_t i = 0; i < N; i += 4001) sum = fold(sum, a[i]);
        }
    }
    return sum;
}
