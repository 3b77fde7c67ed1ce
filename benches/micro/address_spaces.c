// group: memory
// Switches between eight address spaces with ASIDs, each with other pages at the same addresses.
#define ITERATIONS 60000
#include "micro.h"

#define SPACES 8ul
#define PAGES 8ul

static uint64_t *roots[SPACES];

static void prepare(void) {
    for (uint64_t space = 0; space < SPACES; space++) {
        roots[space] = new_root();
        for (uint64_t page = 0; page < PAGES; page++) {
            uint64_t frame = FREE + (space * PAGES + page) * PAGE;
            write64(frame, space * 1000 + page);
            map_page(roots[space], ELSEWHERE + page * PAGE, frame, RAM_PAGE | ANY_XN | NOT_GLOBAL);
        }
    }
}

static uint64_t work(uint64_t iterations) {
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t space = i * 3 % SPACES;
        write_register(ttbr0_el1, (uint64_t)roots[space] | (space + 1) << 48);
        __asm__ volatile("isb" : : : "memory");
        for (uint64_t page = 0; page < PAGES; page++) {
            uint64_t at = ELSEWHERE + page * PAGE, value = read64(at);
            /* So often was this space here before. */
            expect(value, space * 1000 + page + i / SPACES, "another space's page");
            write64(at, value + 1);
            checksum = mix(checksum, value);
        }
    }
    return checksum;
}
