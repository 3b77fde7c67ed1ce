/* Accesses that are more than a load or store of one word: by the kernel, over a page's end, in two attempts, atomic. */
#include "stress.h"
#include <fcntl.h>
#include <sys/auxv.h>

/* The kernel's accesses to user memory. */
void system_call(struct area *a) {
    int ends[2], page = below(a->pages);
    unsigned char buffer[256], *at = a->at + page * PAGE + below(PAGE - 256);
    if (pipe(ends)) fail("pipe", 0);
    ssize_t n = write(ends[1], at, 256);
    if (a->prot & PROT_READ) {
        if (n != 256 || read(ends[0], buffer, 256) != 256 || memcmp(buffer, at, 256)) fail("write()", at);
        note(buffer[17]);
    } else if (n != -1 || errno != EFAULT) {
        fail("write() from unreadable memory", at);
    }
    memset(buffer, 0x5a, 256);
    if (a->prot & PROT_WRITE) {
        unsigned char old[256];
        memcpy(old, at, 256);
        if (write(ends[1], buffer, 256) != 256 || read(ends[0], at, 256) != 256 || memcmp(buffer, at, 256))
            fail("read()", at);
        memcpy(at, old, 256);
    } else {
        if (write(ends[1], buffer, 256) != 256 || read(ends[0], at, 256) != -1 || errno != EFAULT)
            fail("read() into protected memory", at);
    }
    close(ends[0]);
    close(ends[1]);
}

void unaligned(struct area *a) {
    if (!is_writable(a) || a->pages < 2) return;
    int page = below(a->pages - 1);
    unsigned char *at = a->at + (page + 1) * PAGE - 1 - below(15), old[64];
    memcpy(old, at, 64);
    uint64_t tag = (uint64_t)(below(2) ? below(256) : 0) << 56;
    unsigned char *tagged = (unsigned char *)((uint64_t)at | tag);
    uint64_t v = word(rnd() | 1, 3), back;
    __asm__ volatile("str %1, [%2]\n ldr %0, [%2]" : "=&r"(back) : "r"(v), "r"(tagged) : "memory");
    if (back != v || memcmp(at, &v, 8)) fail("an unaligned pair of accesses", at);
    __asm__ volatile("stp %0, %1, [%2]" : : "r"(v), "r"(~v), "r"(tagged) : "memory");
    back = ~v;
    if (memcmp(at, &v, 8) || memcmp(at + 8, &back, 8)) fail("stp", at);
    __asm__ volatile("ldr q0, [%0]\n rev64 v0.16b, v0.16b\n str q0, [%0]" : : "r"(tagged) : "memory", "v0");
    for (int i = 0; i < 8; i++)
        if (at[i] != (unsigned char)(v >> (56 - 8 * i))) fail("a vector over two pages", at);
    memcpy(at, old, 64);
    /* Four vectors there and back, their bytes interleaved on the way. */
    __asm__ volatile("ld1 {v0.16b-v3.16b}, [%0]\n st4 {v0.16b-v3.16b}, [%0]"
                     : : "r"(tagged) : "memory", "v0", "v1", "v2", "v3");
    for (int i = 0; i < 64; i++)
        if (at[i] != old[i % 4 * 16 + i / 4]) fail("interleaved vectors over two pages", at);
    memcpy(at, old, 64);
    note(back);
}

/* Into a page that is protected: nothing of the store may happen. */
void half_protected(struct area *a) {
    if (!is_writable(a) || a->pages < 2) return;
    int page = 1 + below(a->pages - 1);
    unsigned char *border = a->at + page * PAGE, *at = border - 4, old[4];
    memcpy(old, at, 4);
    if (mprotect(border, PAGE, PROT_READ)) fail("mprotect", border);
    if (!sigsetjmp(recover, 1)) {
        *(volatile uint64_t *)at = 0x0123456789abcdef;
        fail("a store into a read-only page", border);
    }
    if (fault_at < (uintptr_t)at || fault_at > (uintptr_t)border || fault_code != SEGV_ACCERR) fail("its report", border);
    if (memcmp(old, at, 4)) fail("half a store", at);
    if (mprotect(border, PAGE, PROT_READ | PROT_WRITE)) fail("mprotect", border);
    check_page(a, page);
}

/* Instructions with a writeback run into a page without rights, whose fault handler gives them: they run again from the
   beginning, with the base register that they had. */
void restarted(struct area *a) {
    if (!is_writable(a) || a->pages < 2) return;
    int page = 1 + below(a->pages - 1), form = below(6);
    unsigned char *border = a->at + page * PAGE, *at = border - 8, old[128], new[128], *p = at;
    memcpy(old, border - 64, 128);
    memcpy(new, old, 128);
    uint64_t x = word(rnd() | 1, 1), y = ~x;
    if (mprotect(border, PAGE, form < 4 && below(2) ? PROT_READ : PROT_NONE)) fail("mprotect", border);
    repaired = border;
    repairs = 0;
    long moved = 16;
    switch (form) {
    case 0:
        __asm__ volatile("stp %1, %2, [%0], #16" : "+r"(p) : "r"(x), "r"(y) : "memory");
        memcpy(new + 56, &x, 8);
        memcpy(new + 64, &y, 8);
        break;
    case 1:
        p += 24;
        __asm__ volatile("stp %1, %2, [%0, #-24]!" : "+r"(p) : "r"(x), "r"(y) : "memory");
        memcpy(new + 56, &x, 8);
        memcpy(new + 64, &y, 8);
        moved = 0;
        break;
    case 2:
        p += 4;
        __asm__ volatile("str %1, [%0], #12" : "+r"(p) : "r"(x) : "memory");
        memcpy(new + 60, &x, 8);
        break;
    case 3:
        __asm__ volatile("dup v0.2d, %1\n dup v1.2d, %2\n st1 {v0.16b, v1.16b}, [%0], #32"
                         : "+r"(p) : "r"(x), "r"(y) : "memory", "v0", "v1");
        for (int i = 0; i < 2; i++) memcpy(new + 56 + 8 * i, &x, 8), memcpy(new + 72 + 8 * i, &y, 8);
        moved = 32;
        break;
    case 4: {
        uint64_t a0 = 1, a1 = 2, b0, b1;
        memcpy(&b0, old + 56, 8);
        memcpy(&b1, old + 64, 8);
        __asm__ volatile("ldp %1, %2, [%0], #16" : "+r"(p), "+r"(a0), "+r"(a1) : : "memory");
        if (a0 != b0 || a1 != b1) fail("a pair loaded in two attempts", at);
        break;
    }
    default: {
        /* The base is one of the registers loaded: a fault must not have changed it. */
        uint64_t base = (uint64_t)at, a1 = 0, b0, b1;
        memcpy(&b0, old + 56, 8);
        memcpy(&b1, old + 64, 8);
        __asm__ volatile("ldp %0, %1, [%0]" : "+r"(base), "+r"(a1) : : "memory");
        if (base != b0 || a1 != b1) fail("a pair loaded over its base", at);
        moved = 0;
    }
    }
    repaired = NULL;
    if (repairs != 1) fail("not one fault", border);
    if (p != at + moved) fail("the base register after a fault", border);
    if (memcmp(new, border - 64, 128)) fail("what was stored in two attempts", border);
    memcpy(border - 64, old, 128);
    check_page(a, page);
    note(form);
}

void zero_block(struct area *a) {
    uint64_t id;
    __asm__("mrs %0, dczid_el0" : "=r"(id));
    unsigned size = 4u << (id & 15);
    unsigned char *at = a->at + below(a->pages) * PAGE + below(PAGE / 2048) * 2048, old[2048];
    unsigned inside = below(64);
    if (is_writable(a)) {
        memcpy(old, at, size);
        __asm__ volatile("dc zva, %0" : : "r"(at + inside) : "memory");
        for (unsigned i = 0; i < size; i++)
            if (at[i]) fail("dc zva", at);
        memcpy(at, old, size);
    } else {
        if (!sigsetjmp(recover, 1)) {
            __asm__ volatile("dc zva, %0" : : "r"(at + inside) : "memory");
            fail("dc zva without the right", at);
        }
        if (fault_at < (uintptr_t)at || fault_at >= (uintptr_t)at + size || fault_code != SEGV_ACCERR) fail("its report", at);
    }
}

/* Adds with a pair of exclusives; gives what was there. */
static uint64_t add_exclusive(uint64_t *at, uint64_t v) {
    uint64_t old, new;
    uint32_t failed;
    do {
        __asm__ volatile("ldaxr %0, [%3]\n add %1, %0, %4\n stlxr %w2, %1, [%3]"
                         : "=&r"(old), "=&r"(new), "=&r"(failed) : "r"(at), "r"(v) : "memory");
    } while (failed);
    return old;
}

static uint64_t add_atomic(uint64_t *at, uint64_t v) {
    uint64_t old;
    __asm__ volatile(".arch_extension lse\n ldaddal %2, %0, [%1]" : "=&r"(old) : "r"(at), "r"(v) : "memory");
    return old;
}

/* Exclusives, and atomic instructions where there are any: on pages that are there, that come by the access, and that don't
   permit it. */
void atomics(struct area *a) {
    int page = below(a->pages), at_word = below(PAGE / 16) * 2, lse = (getauxval(AT_HWCAP) & HWCAP_ATOMICS) != 0;
    uint64_t *at = (uint64_t *)(a->at + page * PAGE) + at_word, v = word(rnd() | 1, 5);
    int fresh = below(2), first_atomic = below(2);
    if (!is_writable(a)) {
        if (!sigsetjmp(recover, 1)) {
            if (lse && first_atomic) add_atomic(at, v);
            else add_exclusive(at, v);
            fail("an atomic access without the right", at);
        }
        if (fault_at != (uintptr_t)at || fault_code != SEGV_ACCERR) fail("the report of an atomic access", at);
        return;
    }
    if (fresh && a->kind == PRIVATE) {
        if (madvise(a->at + page * PAGE, PAGE, MADV_DONTNEED)) fail("madvise", at);
        a->key[page] = 0;
    }
    uint64_t was = word(a->key[page], at_word), beside = word(a->key[page], at_word + 1), low, high;
    uint32_t failed;
    uint64_t found = lse && first_atomic ? add_atomic(at, v) : add_exclusive(at, v);
    if (found != was || *at != was + v) fail("an atomic sum", at);
    found = lse && !first_atomic ? add_atomic(at, -v) : add_exclusive(at, -v);
    if (found != was + v || *at != was) fail("an atomic difference", at);
    do {
        __asm__ volatile("ldxp %0, %1, [%3]\n stxp %w2, %1, %0, [%3]"
                         : "=&r"(low), "=&r"(high), "=&r"(failed) : "r"(at) : "memory");
    } while (failed);
    if (low != was || high != beside || at[0] != beside || at[1] != was) fail("a pair swapped by exclusives", at);
    if (lse) {
        register uint64_t x0 __asm__("x0") = beside, x1 __asm__("x1") = was, x2 __asm__("x2") = was, x3 __asm__("x3") = beside;
        __asm__ volatile(".arch_extension lse\n caspal x0, x1, x2, x3, [%4]"
                         : "+r"(x0), "+r"(x1) : "r"(x2), "r"(x3), "r"(at) : "memory");
        if (x0 != beside || x1 != was) fail("a pair compared and swapped", at);
    } else {
        at[0] = was;
        at[1] = beside;
    }
    /* An exclusive store whose monitor is gone does nothing. */
    __asm__ volatile("ldxr %0, [%2]\n clrex\n stxr %w1, xzr, [%2]" : "=&r"(low), "=&r"(failed) : "r"(at) : "memory");
    if (!failed) fail("an exclusive store without its load", at);
    check_page(a, page);
    note(was);
}

/* The kernel forgets which pages were accessed: the next accesses meet mappings without the access flag. */
void aged(struct area *a) {
    int fd = user_mode ? -1 : open("/proc/self/clear_refs", O_WRONLY);
    if (fd >= 0) {
        if (write(fd, "1", 1) != 1) fail("clear_refs", 0);
        close(fd);
    }
    check(a);
    if (is_writable(a)) fill_page(a, below(a->pages));
    check_all();
}
