/* Areas of memory come, go, move, grow, change their rights, and hold what they should. */
#include "stress.h"

struct area areas[AREAS];

void fill_page(struct area *a, int page) {
    uint32_t key = rnd() | 1;
    volatile uint64_t *p = (uint64_t *)(a->at + page * PAGE);
    for (unsigned i = 0; i < PAGE / 8; i++) p[i] = word(key, i);
    a->key[page] = key;
}

void check_page(struct area *a, int page) {
    const volatile uint64_t *p = (uint64_t *)(a->at + page * PAGE);
    for (unsigned i = 0; i < PAGE / 8; i++)
        if (p[i] != word(a->key[page], i)) fail("wrong content", (void *)&p[i]);
}

void check(struct area *a) {
    if (a->prot & PROT_READ)
        for (int page = 0; page < a->pages; page++) check_page(a, page);
}

void check_all(void) {
    for (int i = 0; i < AREAS; i++)
        if (areas[i].at) check(&areas[i]);
}

/* One load goes all over the address space, and one store. */
void visit_all(void) {
    for (int turn = 0; turn < 200; turn++) {
        for (int i = 0; i < AREAS; i++) {
            struct area *a = &areas[i];
            if (!a->at || !is_writable(a)) continue;
            int page = turn % a->pages;
            unsigned at = (turn * 37 + i) % (PAGE / 8);
            volatile uint64_t *p = (uint64_t *)(a->at + page * PAGE) + at;
            uint64_t was = *p;
            if (was != word(a->key[page], at)) fail("wrong content on a visit", (void *)p);
            *p = was;
        }
    }
}

void map(struct area *a) {
    memset(a, 0, sizeof *a);
    a->pages = 1 + below(MAX_PAGES);
    a->kind = below(3);
    a->prot = PROT_READ | PROT_WRITE;
    a->fd = -1;
    int flags = a->kind == PRIVATE ? MAP_PRIVATE | MAP_ANONYMOUS : a->kind == SHARED ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED;
    if (a->kind == FILE_SHARED) {
        a->fd = memfd_create("area", 0);
        if (a->fd < 0 || ftruncate(a->fd, a->pages * PAGE)) fail("memfd", 0);
    }
    a->at = mmap(hint(), a->pages * PAGE, a->prot, flags, a->fd, 0);
    if (a->at == MAP_FAILED) fail("mmap", 0);
}

/* Memory that is gone must be gone. */
static void check_missing(unsigned char *at) {
    if (!sigsetjmp(recover, 1)) {
        (void)*(volatile unsigned char *)at;
        fail("unmapped memory is readable", at);
    }
    if (fault_at != (uintptr_t)at || fault_code != SEGV_MAPERR) fail("wrong report of a missing page", at);
}

void unmap(struct area *a) {
    unsigned char *at = a->at;
    if (munmap(at, a->pages * PAGE)) fail("munmap", at);
    if (a->fd >= 0) close(a->fd);
    a->at = NULL;
    check_missing(at);
}

void protect(struct area *a) {
    static const int rights[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
    a->prot = rights[below(3)];
    if (mprotect(a->at, a->pages * PAGE, a->prot)) fail("mprotect", a->at);
    unsigned char *at = a->at + below(a->pages) * PAGE + below(PAGE);
    if (!sigsetjmp(recover, 1)) {
        unsigned char was = *(volatile unsigned char *)at;
        if (!(a->prot & PROT_READ)) fail("readable without the right", at);
        *(volatile unsigned char *)at = was;
        if (!(a->prot & PROT_WRITE)) fail("writable without the right", at);
    } else {
        if (a->prot & PROT_WRITE) fail("a fault in spite of rights", at);
        if (fault_at != (uintptr_t)at || fault_code != SEGV_ACCERR) fail("wrong report of missing rights", at);
    }
    note(a->prot);
}

void forget(struct area *a) {
    if (a->kind != PRIVATE || !(a->prot & PROT_READ)) return;
    int from = below(a->pages), n = 1 + below(a->pages - from);
    if (madvise(a->at + from * PAGE, n * PAGE, MADV_DONTNEED)) fail("madvise", a->at);
    memset(&a->key[from], 0, n * sizeof *a->key);
    check(a);
}

void move(struct area *a) {
    unsigned char *from = a->at, *to = mmap(hint(), a->pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    to = mremap(from, a->pages * PAGE, a->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (to == MAP_FAILED) fail("mremap", from);
    a->at = to;
    check_missing(from);
    check(a);
}

/* Shrinks, and grows again with fresh pages. */
void resize(struct area *a) {
    if (a->kind != PRIVATE || a->pages < 2) return;
    int left = 1 + below(a->pages - 1);
    unsigned char *at = mremap(a->at, a->pages * PAGE, left * PAGE, 0);
    if (at != a->at) fail("mremap to less", a->at);
    check_missing(at + left * PAGE);
    at = mremap(at, left * PAGE, a->pages * PAGE, MREMAP_MAYMOVE);
    if (at == MAP_FAILED) fail("mremap to more", a->at);
    a->at = at;
    memset(&a->key[left], 0, (a->pages - left) * sizeof *a->key);
    check(a);
}

/* One page under two addresses. */
void alias(struct area *a) {
    if (a->kind != FILE_SHARED || !is_writable(a)) return;
    unsigned char *other = mmap(hint(), a->pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
    if (other == MAP_FAILED) fail("mmap of an alias", 0);
    struct area second = *a;
    second.at = other;
    int page = below(a->pages);
    check(&second);
    fill_page(&second, page);
    a->key[page] = second.key[page];
    check_page(a, page);
    fill_page(a, page);
    second.key[page] = a->key[page];
    check_page(&second, page);
    munmap(other, a->pages * PAGE);
}
