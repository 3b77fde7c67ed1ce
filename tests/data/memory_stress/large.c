/* Areas as large as the kernel's large pages, of which some become one and get torn apart again. */
#include "stress.h"

#define GONE (-1)
#define LARGE_PAGES (2 * LARGE / PAGE)

static unsigned char *reserved, *at;
/* The first word of each page; 0: zeros. */
static int64_t first[LARGE_PAGES];
static int sealed[LARGE_PAGES];

static void check_pages(void) {
    for (unsigned page = 0; page < LARGE_PAGES; page++)
        if (first[page] != GONE && sealed[page] != PROT_NONE) {
            const volatile int64_t *p = (int64_t *)(at + page * PAGE);
            if (p[0] != first[page] || p[511] != first[page] * 3) fail("a page among large ones", (void *)p);
        }
}

static void touch(unsigned page) {
    if (first[page] == GONE || sealed[page] != (PROT_READ | PROT_WRITE)) return;
    volatile int64_t *p = (int64_t *)(at + page * PAGE);
    first[page] = (int64_t)rnd() + 1;
    p[0] = first[page];
    p[511] = first[page] * 3;
}

static void range(unsigned *from, unsigned *n) {
    *from = below(LARGE_PAGES);
    *n = 1 + below(LARGE_PAGES - *from < 40 ? LARGE_PAGES - *from : 40);
}

void large(void) {
    unsigned from, n;
    int status;
    if (!reserved) {
        reserved = mmap(hint(), 3 * LARGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (reserved == MAP_FAILED) fail("mmap of much", 0);
        at = (unsigned char *)(((uintptr_t)reserved + LARGE - 1) & -LARGE);
        /* Where there are none, it is as good a test of pages. */
        madvise(at, 2 * LARGE, MADV_HUGEPAGE);
        memset(first, 0, sizeof first);
        for (unsigned page = 0; page < LARGE_PAGES; page++) sealed[page] = PROT_READ | PROT_WRITE;
    }
    for (int i = 0; i < 100; i++) touch(below(LARGE_PAGES));
    check_pages();
    switch (below(7)) {
    case 0: /* A hole in the middle. */
        range(&from, &n);
        /* Others may be where holes were. */
        if (first[from] == GONE) break;
        for (unsigned page = from; page < from + n; page++) {
            if (first[page] != GONE && munmap(at + page * PAGE, PAGE)) fail("munmap", at);
            first[page] = GONE;
        }
        if (!sigsetjmp(recover, 1)) {
            (void)*(volatile unsigned char *)(at + from * PAGE);
            fail("a hole is readable", at + from * PAGE);
        }
        if (fault_at != (uintptr_t)at + from * PAGE || fault_code != SEGV_MAPERR) fail("the report of a hole", at);
        break;
    case 1: /* Other rights in the middle. */
    case 2: {
        range(&from, &n);
        int prot = below(2) ? PROT_READ : below(2) ? PROT_NONE : PROT_READ | PROT_WRITE;
        for (unsigned page = from; page < from + n; page++) {
            if (first[page] == GONE) continue;
            if (mprotect(at + page * PAGE, PAGE, prot)) fail("mprotect", at);
            sealed[page] = prot;
        }
        if (first[from] != GONE && prot != (PROT_READ | PROT_WRITE)) {
            if (!sigsetjmp(recover, 1)) {
                *(volatile uint64_t *)(at + from * PAGE) = 1;
                fail("a store into a sealed page", at + from * PAGE);
            }
            if (fault_at != (uintptr_t)at + from * PAGE || fault_code != SEGV_ACCERR) fail("the report of a seal", at);
        }
        break;
    }
    case 3: /* Zeros in the middle. */
        range(&from, &n);
        for (unsigned page = from; page < from + n; page++) {
            if (first[page] == GONE) continue;
            if (madvise(at + page * PAGE, PAGE, MADV_DONTNEED)) fail("madvise", at);
            first[page] = 0;
        }
        break;
    case 4: /* A copy that parts from the original page by page. */
        fflush(stdout);
        pid_t child = fork();
        if (child < 0) fail("fork", 0);
        for (int i = 0; i < 40; i++) touch(below(LARGE_PAGES));
        check_pages();
        if (child == 0) _exit(7);
        if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 7) fail("a child with large pages", 0);
        break;
    case 5: /* All of it, as a stream. */
        for (unsigned page = 0; page < LARGE_PAGES; page++) touch(page);
        break;
    default:
        for (unsigned char *page = reserved; page < reserved + 3 * LARGE; page += PAGE) {
            unsigned number = (page - at) / PAGE;
            if (page >= at && number < LARGE_PAGES && first[number] == GONE) continue;
            if (munmap(page, PAGE)) fail("munmap of much", page);
        }
        reserved = NULL;
        return;
    }
    check_pages();
    note(first[below(LARGE_PAGES)]);
}
