/* Exercises a guest's virtual memory and checks every byte: mappings come, go, move, change their rights, are shared and
   copied by forks, hold code; addresses are spread over the whole address space, tagged, unaligned.
   Usage: memory_stress SEED ROUNDS. The same seed does the same and prints the same sum on every machine. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096ul
#define AREAS 24
#define MAX_PAGES 40

enum kind { PRIVATE, SHARED, FILE_SHARED };

struct area {
    unsigned char *at;
    int pages, prot, fd;
    enum kind kind;
    /* What each page holds: bytes of a sequence that the key starts; 0: zeros. */
    uint32_t key[MAX_PAGES];
};

static struct area areas[AREAS];
static uint64_t state, sum;
static sigjmp_buf recover;
static volatile uintptr_t fault_at;
static volatile int fault_code;

static uint32_t rnd(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 16;
}

static uint32_t below(uint32_t n) { return rnd() % n; }

static void fail(const char *what, const void *at) {
    printf("FAILED: %s at %p (errno %d)\n", what, at, errno);
    fflush(stdout);
    _exit(1);
}

static void note(uint64_t v) { sum = (sum ^ v) * 0x9e3779b97f4a7c15ul + (sum >> 29); }

static uint64_t word(uint32_t key, unsigned i) {
    return key ? (key * 0x100000001b3ul + i) * 0x9e3779b97f4a7c15ul : 0;
}

static void on_fault(int sig, siginfo_t *info, void *context) {
    (void)sig;
    (void)context;
    fault_at = (uintptr_t)info->si_addr;
    fault_code = info->si_code;
    siglongjmp(recover, 1);
}

static void fill_page(struct area *a, int page) {
    uint32_t key = rnd() | 1;
    volatile uint64_t *p = (uint64_t *)(a->at + page * PAGE);
    for (unsigned i = 0; i < PAGE / 8; i++) p[i] = word(key, i);
    a->key[page] = key;
}

static void check_page(struct area *a, int page) {
    const volatile uint64_t *p = (uint64_t *)(a->at + page * PAGE);
    for (unsigned i = 0; i < PAGE / 8; i++)
        if (p[i] != word(a->key[page], i)) fail("wrong content", (void *)&p[i]);
}

static void check(struct area *a) {
    if (a->prot & PROT_READ)
        for (int page = 0; page < a->pages; page++) check_page(a, page);
}

static void check_all(void) {
    for (int i = 0; i < AREAS; i++)
        if (areas[i].at) check(&areas[i]);
}

/* Addresses all over the lower half, so that many top-level table entries are in use; else wherever the kernel likes. */
static void *hint(void) {
    if (below(2)) return NULL;
    return (void *)(((uint64_t)below(500) + 4) << 39 | (uint64_t)below(1 << 18) << 12 | (below(4) ? 0 : 0x7ffffe0000ul));
}

static void map(struct area *a) {
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

static void unmap(struct area *a) {
    unsigned char *at = a->at;
    if (munmap(at, a->pages * PAGE)) fail("munmap", at);
    if (a->fd >= 0) close(a->fd);
    a->at = NULL;
    if (!sigsetjmp(recover, 1)) {
        (void)*(volatile unsigned char *)at;
        fail("unmapped memory is readable", at);
    }
    if (fault_at != (uintptr_t)at || fault_code != SEGV_MAPERR) fail("wrong report of a missing page", at);
}

static void protect(struct area *a) {
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

/* The kernel's accesses to user memory. */
static void system_call(struct area *a) {
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

static void unaligned(struct area *a) {
    if (a->prot != (PROT_READ | PROT_WRITE) || a->pages < 2) return;
    int page = below(a->pages - 1);
    unsigned char *at = a->at + (page + 1) * PAGE - 1 - below(15), old[32];
    memcpy(old, at, 32);
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
    memcpy(at, old, 32);
    note(back);
}

/* Into a page that is protected: nothing of the store may happen. */
static void half_protected(struct area *a) {
    if (a->prot != (PROT_READ | PROT_WRITE) || a->pages < 2) return;
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

static void zero_block(struct area *a) {
    if (a->prot != (PROT_READ | PROT_WRITE)) return;
    uint64_t id;
    __asm__("mrs %0, dczid_el0" : "=r"(id));
    unsigned size = 4u << (id & 15);
    unsigned char *at = a->at + below(a->pages) * PAGE + below(PAGE / 2048) * 2048, old[2048];
    memcpy(old, at, size);
    __asm__ volatile("dc zva, %0" : : "r"(at + below(64)) : "memory");
    for (unsigned i = 0; i < size; i++)
        if (at[i]) fail("dc zva", at);
    memcpy(at, old, size);
}

static void forget(struct area *a) {
    if (a->kind != PRIVATE || !(a->prot & PROT_READ)) return;
    int from = below(a->pages), n = 1 + below(a->pages - from);
    if (madvise(a->at + from * PAGE, n * PAGE, MADV_DONTNEED)) fail("madvise", a->at);
    memset(&a->key[from], 0, n * sizeof *a->key);
    check(a);
}

static void move(struct area *a) {
    unsigned char *to = mremap(a->at, a->pages * PAGE, a->pages * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
                               mmap(hint(), a->pages * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (to == MAP_FAILED) fail("mremap", a->at);
    a->at = to;
    check(a);
}

/* One page under two addresses. */
static void alias(struct area *a) {
    if (a->kind != FILE_SHARED || a->prot != (PROT_READ | PROT_WRITE)) return;
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

static void become(int *status, const char *what) {
    if (wait(status) < 0 || !WIFEXITED(*status) || WEXITSTATUS(*status) != 7) fail(what, 0);
}

static void fork_and_check(void) {
    int status;
    fflush(stdout);
    uint64_t child_state = state ^ rnd();
    pid_t child = fork();
    if (child < 0) fail("fork", 0);
    if (child == 0) {
        state = child_state;
        check_all();
        for (int i = 0; i < AREAS; i++) {
            struct area *a = &areas[i];
            if (a->at && a->kind == PRIVATE && a->prot == (PROT_READ | PROT_WRITE)) fill_page(a, below(a->pages));
        }
        check_all();
        if (below(3) == 0) {
            if (below(2)) execl("/proc/self/exe", "memory_stress", "exec", (char *)0);
            struct area *a = &areas[below(AREAS)];
            if (a->at) unmap(a);
            check_all();
        }
        _exit(7);
    }
    for (int i = 0; i < AREAS; i += 5) {
        struct area *a = &areas[i];
        if (a->at && a->kind == PRIVATE && a->prot == (PROT_READ | PROT_WRITE)) fill_page(a, below(a->pages));
    }
    become(&status, "a child");
    check_all();
}

/* Parent and child count in memory that they share. */
static void share(void) {
    int status;
    uint64_t *shared = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("mmap", 0);
    pid_t child = fork();
    if (child < 0) fail("fork", 0);
    for (int i = 0; i < 1000; i++) {
        __atomic_fetch_add(&shared[3], 1, __ATOMIC_SEQ_CST);
        uint64_t old = __atomic_load_n(&shared[5], __ATOMIC_ACQUIRE);
        while (!__atomic_compare_exchange_n(&shared[5], &old, old + 2, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {}
    }
    if (child == 0) _exit(7);
    become(&status, "the other counter");
    if (shared[3] != 2000 || shared[5] != 4000) fail("counters", shared);
    munmap(shared, PAGE);
}

/* Code that is written, run, changed; with data that changes beside it. */
static void code(void) {
    static uint32_t *page;
    if (!page) {
        page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED) fail("mmap of code", 0);
    }
    for (int i = 0; i < 40; i++) {
        uint32_t *at = page + below(1000) / 2 * 2, value = below(65536);
        at[0] = 0x52800000 | value << 5; /* mov w0, #value */
        at[1] = 0xd65f03c0;              /* ret */
        __builtin___clear_cache((char *)at, (char *)(at + 2));
        volatile uint32_t *data = page + 1008 + below(16);
        for (int n = 0; n < 20; n++) {
            *data = n;
            if (((uint32_t(*)(void))at)() != value) fail("code", at);
            if (*data != (uint32_t)n) fail("data beside code", (void *)data);
        }
        note(value);
    }
    if (below(4) == 0) {
        munmap(page, 2 * PAGE);
        page = NULL;
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "exec")) return 7;
    if (argc != 3) {
        fprintf(stderr, "usage: %s SEED ROUNDS\n", argv[0]);
        return 2;
    }
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    state = strtoull(argv[1], NULL, 0) * 2654435761u + 88172645463325252ul;
    for (long round = strtol(argv[2], NULL, 0); round > 0; round--) {
        struct area *a = &areas[below(AREAS)];
        if (!a->at) {
            map(a);
            for (int page = 0; page < a->pages; page++)
                if (below(4)) fill_page(a, page);
        }
        switch (below(16)) {
        case 0: unmap(a); break;
        case 1: case 2: protect(a); break;
        case 3: system_call(a); break;
        case 4: unaligned(a); break;
        case 5: half_protected(a); break;
        case 6: zero_block(a); break;
        case 7: forget(a); break;
        case 8: move(a); break;
        case 9: alias(a); break;
        case 10: fork_and_check(); break;
        case 11: share(); break;
        case 12: code(); break;
        case 13: check_all(); break;
        default:
            if (a->prot & PROT_WRITE) fill_page(a, below(a->pages));
            check(a);
        }
        for (int page = 0; a->at && page < a->pages; page++) note(a->key[page]);
    }
    check_all();
    printf("memory sum %016llx\n", (unsigned long long)sum);
    return 0;
}
