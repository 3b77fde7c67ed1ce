/* Pages that are so far from each other that they meet in whatever is indexed by the low bits of addresses. */
#include "stress.h"

#define APART (64ul << 20)
#define PAGES 6

void apart(void) {
    unsigned char *all = mmap(NULL, PAGES * APART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at[PAGES];
    uint64_t value[PAGES] = {0};
    int prot[PAGES];
    if (all == MAP_FAILED) fail("mmap of much", 0);
    for (int i = 0; i < PAGES; i++) {
        at[i] = all + i * APART;
        prot[i] = PROT_READ | PROT_WRITE;
        if (mprotect(at[i], PAGE, prot[i])) fail("mprotect", at[i]);
    }
    for (int turn = 0; turn < 40; turn++) {
        /* Mostly the same two or three, in turns. */
        for (int k = 0; k < 30; k++) {
            int i = (turn / 8 + below(3)) % PAGES;
            volatile uint64_t *p = (uint64_t *)(at[i] + PAGE / 2);
            if (!(prot[i] & PROT_READ)) continue;
            if (*p != value[i]) fail("a page far from others", at[i]);
            if (prot[i] & PROT_WRITE) *p = value[i] = rnd();
        }
        /* Then one of them changes. */
        int i = (turn / 8 + below(3)) % PAGES;
        switch (below(4)) {
        case 0:
            if (mmap(at[i], PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != at[i]) fail("mmap", at[i]);
            prot[i] = PROT_READ | PROT_WRITE;
            value[i] = 0;
            break;
        case 1:
            if (madvise(at[i], PAGE, MADV_DONTNEED)) fail("madvise", at[i]);
            value[i] = 0;
            break;
        default:
            prot[i] = below(3) ? below(2) ? PROT_READ | PROT_WRITE : PROT_READ : PROT_NONE;
            if (mprotect(at[i], PAGE, prot[i])) fail("mprotect", at[i]);
            if (prot[i] == (PROT_READ | PROT_WRITE)) break;
            if (!sigsetjmp(recover, 1)) {
                *(volatile uint64_t *)(at[i] + PAGE / 2) = 1;
                fail("a store into a page that others pushed out", at[i]);
            }
            if (fault_at != (uintptr_t)at[i] + PAGE / 2 || fault_code != SEGV_ACCERR) fail("the report of a sealed page", at[i]);
        }
    }
    for (int i = 0; i < PAGES; i++) note(value[i]);
    if (munmap(all, PAGES * APART)) fail("munmap", all);
}
