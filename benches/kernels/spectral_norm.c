// group: fp
// Power iteration with an infinite matrix's corner: divisions and conversions from integers.
#define ITERATIONS 2250
#include "bench.h"
#include <math.h>

static double element(uint64_t i, uint64_t j) { return 1.0 / (double)((i + j) * (i + j + 1) / 2 + i + 1); }

static void multiply(uint64_t n, int transposed, const double *v, double *out) {
    for (uint64_t i = 0; i < n; i++) {
        double s = 0;
        for (uint64_t j = 0; j < n; j++) s += (transposed ? element(j, i) : element(i, j)) * v[j];
        out[i] = s;
    }
}

static uint64_t work(uint64_t n) {
    double *u = allocate(n * sizeof *u), *v = allocate(n * sizeof *v), *t = allocate(n * sizeof *t);
    for (uint64_t i = 0; i < n; i++) u[i] = 1;
    for (int i = 0; i < 10; i++) {
        multiply(n, 0, u, t), multiply(n, 1, t, v);
        multiply(n, 0, v, t), multiply(n, 1, t, u);
    }
    double uv = 0, vv = 0;
    for (uint64_t i = 0; i < n; i++) uv += u[i] * v[i], vv += v[i] * v[i];
    return fold_rounded(0, sqrt(uv / vv));
}
