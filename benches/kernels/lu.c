// group: fp
// LU factorisation with partial pivoting: scalar multiply-subtract over rows.
#define ITERATIONS 45
#include "bench.h"
#include <math.h>

#define N 180

static double a[N][N];

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 21;
    while (iterations--) {
        double logarithm = 0;
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) a[i][j] = (double)(random64(&seed) >> 11) * 0x1p-53 - 0.5;
        for (int k = 0; k < N; k++) {
            int pivot = k;
            for (int i = k + 1; i < N; i++)
                if (fabs(a[i][k]) > fabs(a[pivot][k])) pivot = i;
            for (int j = 0; j < N; j++) {
                double t = a[k][j];
                a[k][j] = a[pivot][j];
                a[pivot][j] = t;
            }
            logarithm += log(fabs(a[k][k]));
            for (int i = k + 1; i < N; i++) {
                double factor = a[i][k] /= a[k][k];
                for (int j = k + 1; j < N; j++) a[i][j] -= factor * a[k][j];
            }
        }
        sum = fold_rounded(sum, logarithm);
    }
    return sum;
}
