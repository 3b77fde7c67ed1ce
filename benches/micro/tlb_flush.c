// group: memory
// TLBI of everything after a change of 16 page table entries, and an access to each page.
#define ITERATIONS 30000
#include "changing.h"

static uint64_t work(uint64_t iterations) {
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        for (uint64_t page = 0; page < PAGES; page++) show(page, i + page);
        forget_all();
        for (uint64_t page = 0; page < PAGES; page++) checksum = see(page, i + page, checksum);
    }
    return checksum;
}
