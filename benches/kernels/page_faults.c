// group: system
// Fresh anonymous memory touched page by page and given back: page faults and TLB invalidation.
#define ITERATIONS 29
#include "bench.h"
#include <sys/mman.h>

#define PAGES 512

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0;
    while (iterations--) {
        uint8_t *memory = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) fail("mmap");
        if (madvise(memory, PAGES * 4096, MADV_NOHUGEPAGE) && errno != EINVAL) fail("madvise");
        for (int p = 0; p < PAGES; p++) sum += ++memory[p * 4096];
        if (munmap(memory, PAGES * 4096)) fail("munmap");
    }
    return fold(0, sum);
}
