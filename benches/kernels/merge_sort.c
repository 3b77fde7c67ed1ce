// group: memory
// Merge sort of records by key through 2 x 8 MiB: sequential streams with unpredictable branches.
#define ITERATIONS 2
#include "bench.h"

#define N (1 << 19)

struct record {
    uint64_t key, value;
};

static uint64_t work(uint64_t iterations) {
    struct record *a = allocate(N * sizeof *a), *b = allocate(N * sizeof *b);
    uint64_t sum = 0, seed = 37;
    while (iterations--) {
        for (int i = 0; i < N; i++) a[i] = (struct record){random64(&seed), (uint64_t)i};
        for (int width = 1; width < N; width *= 2) {
            for (int lo = 0; lo < N; lo += 2 * width) {
                int i = lo, middle = lo + width, j = middle, hi = lo + 2 * width;
                for (int k = lo; k < hi; k++) b[k] = i < middle && (j >= hi || a[i].key <= a[j].key) ? a[i++] : a[j++];
            }
            struct record *t = a;
            a = b, b = t;
        }
        for (int i = 0; i < N; i += 101) sum = fold(sum, a[i].value);
    }
    return sum;
}
