// group: fp
// Fast Fourier transforms of 4096 complex numbers, forth and back: strided loads, multiplications and additions.
#define ITERATIONS 480
#include "bench.h"
#include <math.h>

#define N 4096

static double re[N], im[N], cosine[N / 2], sine[N / 2];

static void transform(double direction) {
    for (int i = 0, j = 0; i < N; i++) {
        if (i < j) {
            double t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i], im[i] = im[j], im[j] = t;
        }
        int bit = N / 2;
        for (; bit && j & bit; bit /= 2) j ^= bit;
        j |= bit;
    }
    for (int half = 1; half < N; half *= 2)
        for (int start = 0; start < N; start += 2 * half)
            for (int k = 0; k < half; k++) {
                double c = cosine[k * (N / 2 / half)], s = direction * sine[k * (N / 2 / half)];
                int a = start + k, b = a + half;
                double x = re[b] * c - im[b] * s, y = re[b] * s + im[b] * c;
                re[b] = re[a] - x, im[b] = im[a] - y;
                re[a] += x, im[a] += y;
            }
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0;
    for (int i = 0; i < N / 2; i++) cosine[i] = cos(2 * M_PI * i / N), sine[i] = sin(2 * M_PI * i / N);
    for (int i = 0; i < N; i++) re[i] = (i * 37 % 1024) / 1024.0 + 0.001, im[i] = 0.25;
    while (iterations--) {
        transform(1);
        sum = fold_rounded(sum, re[0]);
        transform(-1);
        for (int i = 0; i < N; i++) re[i] /= N, im[i] /= N;
    }
    return fold_rounded(sum, re[100]);
}
