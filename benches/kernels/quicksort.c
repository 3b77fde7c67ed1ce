// group: integer
// Quicksort with insertion sort for short runs: compares and unpredictable branches.
#define ITERATIONS 6
#include "bench.h"

#define N 400000

static void sort(int32_t *a, long lo, long hi) {
    while (hi - lo > 12) {
        int32_t pivot = a[lo + (hi - lo) / 2];
        long i = lo, j = hi;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i <= j) {
                int32_t t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (j - lo < hi - i) {
            sort(a, lo, j);
            lo = i;
        } else {
            sort(a, i, hi);
            hi = j;
        }
    }
    for (long i = lo + 1; i <= hi; i++) {
        int32_t x = a[i];
        long j = i;
        for (; j > lo && a[j - 1] > x; j--) a[j] = a[j - 1];
        a[j] = x;
    }
}

static uint64_t work(uint64_t iterations) {
    int32_t *a = allocate(N * sizeof *a);
    uint64_t sum = 0, seed = 1;
    while (iterations--) {
        for (long i = 0; i < N; i++) a[i] = (int32_t)random64(&seed);
        sort(a, 0, N - 1);
        for (long i = 0; i < N; i += 997) sum = fold(sum, (uint32_t)a[i]);
    }
    return sum;
}
