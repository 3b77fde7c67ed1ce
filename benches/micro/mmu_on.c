// group: memory
// The same accesses at another address than the memory's, through pages.
#define ITERATIONS 60000
#include "accesses.h"

static void prepare(void) {
    clear(FREE, SIZE);
    for (uint64_t at = 0; at < SIZE; at += PAGE) map_page(root, ELSEWHERE + at, FREE + (SIZE - PAGE - at), RAM_PAGE | ANY_XN);
}

static uint64_t work(uint64_t iterations) {
    uint64_t checksum = add_to_all(ELSEWHERE, iterations);
    /* The pages are mapped in reverse: so it went through the tables. */
    for (uint64_t at = 0; at < SIZE; at += 8)
        expect(read64(FREE + (SIZE - PAGE - (at & -PAGE)) + (at & (PAGE - 1))), read64(ELSEWHERE + at), "another memory");
    return checksum;
}
