// group: fp
// The Mandelbrot set in single precision.
#define ITERATIONS 380
#include "bench.h"

static uint64_t work(uint64_t side) {
    uint64_t inside = 0;
    for (uint64_t py = 0; py < side; py++)
        for (uint64_t px = 0; px < side; px++) {
            float cx = 3.0f * (float)px / (float)side - 2.0f, cy = 2.6f * (float)py / (float)side - 1.3f, x = 0, y = 0;
            int n = 0;
            while (n < 500 && x * x + y * y < 4.0f) {
                float t = x * x - y * y + cx;
                y = 2.0f * x * y + cy;
                x = t;
                n++;
            }
            inside += n == 500;
        }
    return fold(0, inside / 100);
}
