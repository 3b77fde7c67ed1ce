// group: integer
// Sieve of Eratosthenes in bytes: strided stores.
#define ITERATIONS 10
#include "bench.h"

#define N 4000000

static uint64_t work(uint64_t iterations) {
    uint8_t *composite = allocate(N);
    uint64_t sum = 0;
    while (iterations--) {
        memset(composite, 0, N);
        for (uint64_t i = 2; i * i < N; i++)
            if (!composite[i])
                for (uint64_t j = i * i; j < N; j += i) composite[j] = 1;
        uint64_t count = 0;
        for (uint64_t i = 2 + iterations; i < N; i++) count += !composite[i];
        sum = fold(sum, count);
    }
    return sum;
}
