// group: memory
// One word in each of 3000 pages, over and over: every access needs another TLB entry.
#define ITERATIONS 12000
#include "bench.h"

#define PAGES 3000

static uint64_t work(uint64_t iterations) {
    uint8_t *memory = allocate(PAGES * 4096);
    memset(memory, 1, PAGES * 4096);
    uint64_t sum = 0;
    for (uint64_t i = 0; i < iterations; i++)
        for (int p = 0; p < PAGES; p++) sum += memory[p * 4096 + ((p * 64 + (int)(i & 63)) & 4095)]++;
    return sum;
}
