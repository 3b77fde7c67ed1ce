// group: integer
// Product of integer matrices: multiply-accumulate with strided loads.
#define ITERATIONS 12
#include "bench.h"

#define N 220

static uint32_t a[N][N], b[N][N], c[N][N];

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 2;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) a[i][j] = (uint32_t)random64(&seed), b[i][j] = (uint32_t)random64(&seed);
    while (iterations--) {
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                uint32_t s = 0;
                for (int k = 0; k < N; k++) s += a[i][k] * b[k][j];
                c[i][j] = s;
            }
        for (int i = 0; i < N; i++) sum = fold(sum, c[i][i]), a[i][0] ^= c[0][i];
    }
    return sum;
}
