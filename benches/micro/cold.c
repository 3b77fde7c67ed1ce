// group: memory
// One access per page, of 128 MiB mapped by pages: more than a TLB holds.
#define ITERATIONS 25
#include "cold.h"

static void prepare(void) {
    for (uint64_t page = 0; page < PAGES; page++)
        *page_entry(root, ELSEWHERE + page * PAGE) = (FREE + page * PAGE) | RAM_PAGE | ANY_XN;
    barrier();
    clear();
}

static uint64_t work(uint64_t iterations) { return visit(ELSEWHERE, iterations); }
