// group: fp
// The Mandelbrot set in double precision: short loops of dependent multiplications and a compare.
#define ITERATIONS 330
#include "bench.h"

static uint64_t work(uint64_t side) {
    uint64_t inside = 0;
    for (uint64_t py = 0; py < side; py++)
        for (uint64_t px = 0; px < side; px++) {
            double cx = 3.0 * (double)px / (double)side - 2.0, cy = 2.6 * (double)py / (double)side - 1.3, x = 0, y = 0;
            int n = 0;
            while (n < 500 && x * x + y * y < 4.0) {
                double t = x * x - y * y + cx;
                y = 2.0 * x * y + cy;
                x = t;
                n++;
            }
            inside += n == 500;
        }
    return fold(0, inside);
}
