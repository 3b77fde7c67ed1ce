// group: integer
// Multiple-precision addition and schoolbook multiplication: carries and 128-bit products.
#define ITERATIONS 11000
#include "bench.h"

#define N 64

static void add(uint64_t *r, const uint64_t *a, const uint64_t *b) {
    unsigned long long carry = 0;
    for (int i = 0; i < N; i++) {
        unsigned long long s;
        int c1 = __builtin_uaddll_overflow(a[i], b[i], &s);
        int c2 = __builtin_uaddll_overflow(s, carry, &s);
        r[i] = s;
        carry = (unsigned)(c1 | c2);
    }
}

static void multiply(uint64_t *r, const uint64_t *a, const uint64_t *b) {
    memset(r, 0, 2 * N * sizeof *r);
    for (int i = 0; i < N; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < N; j++) {
            unsigned __int128 t = (unsigned __int128)a[i] * b[j] + r[i + j] + carry;
            r[i + j] = (uint64_t)t;
            carry = (uint64_t)(t >> 64);
        }
        r[i + N] = carry;
    }
}

static uint64_t work(uint64_t iterations) {
    uint64_t a[N], b[N], r[2 * N], seed = 8, sum = 0;
    for (int i = 0; i < N; i++) a[i] = random64(&seed), b[i] = random64(&seed);
    while (iterations--) {
        multiply(r, a, b);
        for (int k = 0; k < 8; k++) add(a, r + N, k & 1 ? r : b), add(b, a, r);
        sum = fold(sum, a[N - 1]);
    }
    return sum;
}
