// group: integer
// flags: -O3
// Sums of absolute differences over blocks of pixels, as video encoders search motion: vectors of small integers.
#define ITERATIONS 25
#include "bench.h"

#define WIDTH 256
#define HEIGHT 128

static uint8_t frame[2][HEIGHT][WIDTH];

__attribute__((noinline)) static uint32_t difference(const uint8_t *a, const uint8_t *b) {
    uint32_t sum = 0;
    for (int y = 0; y < 16; y++)
        for (int x = 0; x < 16; x++) {
            int d = a[y * WIDTH + x] - b[y * WIDTH + x];
            sum += (uint32_t)(d < 0 ? -d : d);
        }
    return sum;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 17;
    for (int f = 0; f < 2; f++)
        for (int y = 0; y < HEIGHT; y++)
            for (int x = 0; x < WIDTH; x++) frame[f][y][x] = (uint8_t)(x * 3 + y * 5 + f * 7 + (int)(random64(&seed) % 30));
    while (iterations--) {
        for (int y = 16; y < HEIGHT - 32; y += 16)
            for (int x = 16; x < WIDTH - 32; x += 16) {
                uint32_t best = UINT32_MAX;
                for (int dy = -8; dy <= 8; dy++)
                    for (int dx = -8; dx <= 8; dx++) {
                        uint32_t d = difference(&frame[0][y][x], &frame[1][y + dy][x + dx]);
                        if (d < best) best = d;
                    }
                sum = fold(sum, best);
            }
        frame[0][20][iterations % WIDTH] ^= 255;
    }
    return sum;
}
