/* Code that is written, run, changed: with data beside it, with and without the right to execute, through another mapping, by
   the kernel. */
#include "stress.h"
#include <fcntl.h>

#define WORDS (PAGE / 4)

static void write_code(volatile uint32_t *at, uint32_t value) {
    at[0] = 0x52800000 | value << 5; /* mov w0, #value */
    at[1] = 0xd65f03c0;              /* ret */
}

static uint32_t run(volatile uint32_t *at) { return ((uint32_t (*)(void))(uintptr_t)at)(); }

static void publish(volatile uint32_t *at, unsigned words) {
    __builtin___clear_cache((char *)at, (char *)(at + words));
}

/* Pages with all rights. */
void code(void) {
    static uint32_t *page;
    if (!page) {
        page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) fail("mmap of code", 0);
    }
    for (int i = 0; i < 40; i++) {
        uint32_t *at = page + below(1000) / 2 * 2, value = below(65536);
        write_code(at, value);
        publish(at, 2);
        volatile uint32_t *data = page + 1008 + below(16);
        for (int n = 0; n < 20; n++) {
            *data = n;
            if (run(at) != value) fail("code", at);
            if (*data != (uint32_t)n) fail("data beside code", (void *)data);
        }
        note(value);
    }
    if (below(4) == 0) {
        munmap(page, 2 * PAGE);
        page = NULL;
    }
}

/* Pages that a hot loop fills become code, and data again. */
void buried_code(void) {
    volatile uint32_t *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) fail("mmap of code", 0);
    for (int turn = 0; turn < 5; turn++) {
        uint32_t at = below(2 * WORDS - 2), value = below(65536), total = 0;
        for (uint32_t n = 0; n < 30; n++)
            for (uint32_t i = 0; i < 2 * WORDS; i++) page[i] = i * 77 + n + turn;
        for (uint32_t i = 0; i < 2 * WORDS; i++)
            if (page[i] != i * 77 + 29 + turn) fail("what a loop filled", (void *)&page[i]);
        write_code(page + at, value);
        publish(page + at, 2);
        for (int i = 0; i < 100; i++) total += run(page + at);
        for (uint32_t i = 0; i < 2 * WORDS; i++)
            if (i != at && i != at + 1) page[i] = ~i;
        total += run(page + at);
        if (total != value * 101) fail("code among data", (void *)(page + at));
        for (uint32_t i = 0; i < 2 * WORDS; i++)
            if (i != at && i != at + 1 && page[i] != ~i) fail("data around code", (void *)&page[i]);
        note(value);
    }
    munmap((void *)page, 2 * PAGE);
}

static void not_executable(volatile uint32_t *at) {
    if (!sigsetjmp(recover, 1)) {
        run(at);
        fail("code without the right to execute", (void *)at);
    }
    if (fault_at != (uintptr_t)at || fault_code != SEGV_ACCERR) fail("the report of missing rights to execute", (void *)at);
}

/* A page is written or executed, never both; run so often that it counts as hot; sometimes as a private copy of a file. */
void switched_code(void) {
    const int copies = below(2), fd = copies ? memfd_create("code", 0) : -1;
    if (copies && (fd < 0 || ftruncate(fd, PAGE))) fail("memfd", 0);
    uint32_t *page = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | (copies ? 0 : MAP_ANONYMOUS), fd, 0);
    if (page == MAP_FAILED) fail("mmap", 0);
    for (int turn = 0; turn < 4; turn++) {
        uint32_t *at = page + below(WORDS - 2), value = below(65536), total = 0;
        write_code(at, value);
        if (below(2)) not_executable(at);
        if (mprotect(page, PAGE, PROT_READ | PROT_EXEC)) fail("mprotect", page);
        publish(at, 2);
        for (int i = 0; i < 200; i++) total += run(at);
        if (total != value * 200) fail("code after its rights changed", at);
        if (!sigsetjmp(recover, 1)) {
            *(volatile uint32_t *)at = 0;
            fail("executable memory is writable", at);
        }
        if (fault_at != (uintptr_t)at || fault_code != SEGV_ACCERR) fail("the report of a store into code", at);
        if (run(at) != value) fail("code after a refused store", at);
        if (mprotect(page, PAGE, PROT_READ | PROT_WRITE)) fail("mprotect", page);
        note(value);
    }
    not_executable(page);
    munmap(page, PAGE);
    if (fd >= 0) close(fd);
}

/* Written at one address, executed at another. */
void aliased_code(void) {
    int fd = memfd_create("code", 0);
    if (fd < 0 || ftruncate(fd, PAGE)) fail("memfd", 0);
    volatile uint32_t *writable = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    volatile uint32_t *executable = mmap(hint(), PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    if (writable == MAP_FAILED || executable == MAP_FAILED) fail("mmap of code", 0);
    for (int turn = 0; turn < 20; turn++) {
        unsigned at = below(WORDS - 2);
        uint32_t value = below(65536), total = 0;
        write_code(writable + at, value);
        if (user_mode) {
            mprotect((void *)executable, PAGE, PROT_READ);
            mprotect((void *)executable, PAGE, PROT_READ | PROT_EXEC);
        }
        publish(executable + at, 2);
        for (int i = 0; i < 50; i++) total += run(executable + at);
        if (total != value * 50) fail("code written at another address", (void *)(executable + at));
        note(value);
    }
    munmap((void *)writable, PAGE);
    munmap((void *)executable, PAGE);
    close(fd);
}

/* The kernel writes where the program may not, as for a debugger: a private copy of the page appears. */
void poked_code(void) {
    int file = memfd_create("code", 0), memory = user_mode ? -1 : open("/proc/self/mem", O_RDWR);
    if (file < 0 || ftruncate(file, PAGE) || (!user_mode && memory < 0)) fail("files", 0);
    volatile uint32_t *original = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    volatile uint32_t *page = mmap(hint(), PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, file, 0);
    if (page == MAP_FAILED || original == MAP_FAILED) fail("mmap", 0);
    unsigned at = below(WORDS - 2);
    uint32_t old = below(65536), value = below(65536), words[2];
    write_code(original + at, old);
    if (user_mode) mprotect((void *)page, PAGE, PROT_READ | PROT_EXEC);
    publish(page + at, 2);
    if (run(page + at) != old) fail("code of a file", (void *)(page + at));
    write_code(words, value);
    if (memory >= 0) {
        if (pwrite(memory, words, 8, (off_t)(uintptr_t)(page + at)) != 8) fail("/proc/self/mem", (void *)page);
        close(memory);
    } else {
        mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE);
        memcpy((void *)(page + at), words, 8);
        mprotect((void *)page, PAGE, PROT_READ | PROT_EXEC);
    }
    publish(page + at, 2);
    if (run(page + at) != value) fail("code that the kernel wrote", (void *)(page + at));
    if (original[at] != (0x52800000 | old << 5)) fail("the original of changed code", (void *)(original + at));
    munmap((void *)page, PAGE);
    munmap((void *)original, PAGE);
    close(file);
    note(value);
}
