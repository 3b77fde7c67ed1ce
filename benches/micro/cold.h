/* One access to each of more pages than a TLB holds, in an order that isn't the addresses'. */
#pragma once
#include "micro.h"

/* 128 MiB. */
#define PAGES 32768ul

/* Where page `page`'s word is: words differ from page to page, lest they share a cache's set. */
static uint64_t word_of(uint64_t base, uint64_t page) { return base + page * PAGE + page % 509 * 8; }

static void clear(void) {
    for (uint64_t page = 0; page < PAGES; page++) write64(word_of(FREE, page), 0);
}

static uint64_t visit(uint64_t base, uint64_t iterations) {
    uint64_t page = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        for (uint64_t n = 0; n < PAGES; n++) {
            /* Odd steps reach all of them. */
            page = (page + 12347) % PAGES;
            uint64_t at = word_of(base, page);
            write64(at, read64(at) + page + i);
        }
    }
    uint64_t checksum = 0;
    for (page = 0; page < PAGES; page++) {
        uint64_t at = word_of(FREE, page);
        expect(read64(at), iterations * page + iterations * (iterations - 1) / 2, "a page was not visited as often");
        checksum = mix(checksum, read64(at));
    }
    return checksum;
}
