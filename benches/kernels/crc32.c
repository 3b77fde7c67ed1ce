// group: integer
// CRC-32 with a table: a dependent chain of load, shift and exclusive or.
#define ITERATIONS 80
#include "bench.h"

#define N (1 << 20)

static uint32_t table[256];

static uint64_t work(uint64_t iterations) {
    uint8_t *data = allocate(N);
    uint64_t sum = 0, seed = 3;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
        table[i] = c;
    }
    for (int i = 0; i < N; i++) data[i] = (uint8_t)random64(&seed);
    while (iterations--) {
        uint32_t c = ~(uint32_t)sum;
        for (int i = 0; i < N; i++) c = table[(c ^ data[i]) & 255] ^ c >> 8;
        sum = fold(sum, c);
    }
    return sum;
}
