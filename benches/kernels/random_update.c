// group: memory
// Exclusive or into random words of 64 MiB: independent loads and stores that miss the TLB.
#define ITERATIONS 8000000
#include "bench.h"

#define N (1 << 23)

static uint64_t work(uint64_t iterations) {
    uint64_t *table = calloc(N, 8), seed = 33, sum = 0;
    if (!table) fail("calloc");
    while (iterations--) {
        uint64_t r = random64(&seed);
        table[r >> 41] ^= r;
    }
    for (int i = 0; i < N; i += 64) sum = fold(sum, table[i]);
    return sum;
}
