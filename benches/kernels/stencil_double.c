// group: fp
// flags: -O3
// Heat spreading on a grid in double precision: a vectorised five-point stencil.
#define ITERATIONS 810
#include "bench.h"

#define SIDE 256

static double grid[2][SIDE][SIDE];

__attribute__((noinline)) static void step(const double from[restrict SIDE][SIDE], double to[restrict SIDE][SIDE]) {
    for (int y = 1; y < SIDE - 1; y++)
        for (int x = 1; x < SIDE - 1; x++)
            to[y][x] = (double)0.5 * from[y][x] + (double)0.125 * (from[y - 1][x] + from[y + 1][x] + from[y][x - 1] + from[y][x + 1]);
}

static uint64_t work(uint64_t iterations) {
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) grid[0][y][x] = grid[1][y][x] = (double)((x * y) % 17);
    for (uint64_t i = 0; i < iterations; i++) step(grid[i & 1], grid[~i & 1]);
    double sum = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) sum += (double)grid[0][y][x];
    return fold(0, (uint64_t)(sum / 10));
}
