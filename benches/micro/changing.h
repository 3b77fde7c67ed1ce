/* Pages whose mapping changes among frames that say which they are. */
#pragma once
#include "micro.h"

#define PAGES 16ul
#define FRAMES 64ul

static uint64_t *entries;

static void prepare(void) {
    for (uint64_t frame = 0; frame < FRAMES; frame++) write64(FREE + frame * PAGE, frame * 0x0123456789abcdef);
    entries = page_entry(root, ELSEWHERE);
}

static uint64_t frame_of(uint64_t page, uint64_t turn) { return (page * 5 + turn * 3) % FRAMES; }

static void show(uint64_t page, uint64_t turn) {
    *(volatile uint64_t *)&entries[page] = (FREE + frame_of(page, turn) * PAGE) | RAM_PAGE | ANY_XN;
}

static uint64_t see(uint64_t page, uint64_t turn, uint64_t checksum) {
    uint64_t value = read64(ELSEWHERE + page * PAGE);
    expect(value, frame_of(page, turn) * 0x0123456789abcdef, "an old mapping");
    return mix(checksum, value);
}
