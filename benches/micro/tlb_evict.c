// group: memory
// TLBI of one address after a change of its page table entry, and accesses to it and to pages that stay.
#define ITERATIONS 500000
#include "changing.h"

static uint64_t work(uint64_t iterations) {
    uint64_t checksum = 0;
    for (uint64_t page = 0; page < PAGES; page++) show(page, 0);
    forget_all();
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t page = i % PAGES, turn = i / PAGES + 1;
        show(page, turn);
        forget_page(ELSEWHERE + page * PAGE);
        checksum = see(page, turn, checksum);
        checksum = see((page + 1) % PAGES, page + 1 == PAGES ? turn : turn - 1, checksum);
    }
    return checksum;
}
