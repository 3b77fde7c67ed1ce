/* Processes and threads: copies that part, memory that stays common, more address spaces than anybody keeps at hand. */
#include "stress.h"
#include <pthread.h>
#include <sched.h>

#define CROWD 100

static void become(int *status, const char *what) {
    if (wait(status) < 0 || !WIFEXITED(*status) || WEXITSTATUS(*status) != 7) fail(what, 0);
}

/* Another program in the same process: what it inherits is a file that its parent maps. */
static void execute(struct area *a) {
    char fd[16], key[16], seed[32];
    snprintf(fd, sizeof fd, "%d", a ? a->fd : -1);
    snprintf(key, sizeof key, "%u", a ? a->key[0] : 0);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)state | 1);
    char *arguments[] = {"memory_stress", "exec", fd, key, seed, user_mode ? "user" : "system", NULL};
    if (user_mode) {
        /* This machine can't execute it; what it does there doesn't need a new process. */
        memset(areas, 0, sizeof areas);
        _exit(executed(arguments));
    }
    execv("/proc/self/exe", arguments);
    fail("exec", 0);
}

int executed(char **argv) {
    int fd = atoi(argv[2]);
    state = strtoull(argv[4], NULL, 0);
    user_mode = !strcmp(argv[5], "user");
    handle_faults();
    struct area shared = {.pages = 1, .prot = PROT_READ | PROT_WRITE, .key = {strtoul(argv[3], NULL, 0)}};
    for (int i = 0; i < AREAS / 4; i++) {
        map(&areas[i]);
        fill_page(&areas[i], below(areas[i].pages));
    }
    if (fd >= 0) {
        shared.at = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (shared.at == MAP_FAILED) fail("mmap after exec", 0);
        check(&shared);
        volatile uint64_t *words = (uint64_t *)shared.at;
        for (unsigned i = 0; i < PAGE / 8; i++) words[i] = ~words[i];
        unmap(&(struct area){.at = shared.at, .pages = 1, .fd = -1});
    }
    code();
    switched_code();
    check_all();
    return 7;
}

static void invert(struct area *a) {
    volatile uint64_t *words = (uint64_t *)a->at;
    for (unsigned i = 0; i < PAGE / 8; i++) words[i] = ~words[i];
}

void fork_and_check(void) {
    int status;
    fflush(stdout);
    uint64_t child_state = state ^ rnd();
    /* What the child is to do is the parent's decision, as far as the parent will see of it. */
    struct area *a = &areas[below(AREAS)];
    int executes = below(4) == 0, tells = a->at && a->kind == FILE_SHARED && is_writable(a);
    pid_t child = fork();
    if (child < 0) fail("fork", 0);
    if (child == 0) {
        state = child_state;
        check_all();
        for (int i = 0; i < AREAS; i++) {
            struct area *b = &areas[i];
            if (b->at && b->kind == PRIVATE && is_writable(b)) fill_page(b, below(b->pages));
        }
        check_all();
        visit_all();
        if (executes) execute(tells ? a : NULL);
        if (below(3) == 0) {
            if (a->at) unmap(a);
            check_all();
        }
        _exit(7);
    }
    for (int i = 0; i < AREAS; i += 5) {
        struct area *b = &areas[i];
        if (b->at && b->kind == PRIVATE && is_writable(b)) fill_page(b, below(b->pages));
    }
    become(&status, "a child");
    if (executes && tells) invert(a);
    check_all();
}

/* Parent and child count in memory that they share. */
void share(void) {
    int status;
    uint64_t *shared = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) fail("mmap", 0);
    fflush(stdout);
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

/* One of a crowd: its page has the same address in each and other content. */
static _Noreturn void member(volatile uint64_t *own, int number, int in, int out) {
    char token;
    uint64_t turns = 0;
    for (unsigned i = 0; i < PAGE / 8; i++) own[i] = word(number * 2 + 1, i);
    while (read(in, &token, 1) == 1 && token != 'q') {
        for (unsigned i = 0; i < PAGE / 8; i++)
            if (own[i] != word(number * 2 + 1, i) + turns) fail("one of a crowd", (void *)&own[i]);
        turns++;
        for (unsigned i = 0; i < PAGE / 8; i++) own[i]++;
        if (write(out, &token, 1) != 1) fail("write", 0);
    }
    _exit(7);
}

/* So many processes, taking turns, that nothing that is kept per address space holds them all. */
void many(void) {
    int count = below(8) ? 4 + below(12) : CROWD, ends[CROWD][2], status;
    pid_t children[CROWD];
    volatile uint64_t *own = mmap(hint(), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (own == MAP_FAILED) fail("mmap", 0);
    own[0] = 17;
    fflush(stdout);
    for (int i = 0; i < count; i++) {
        int to[2], from[2];
        if (pipe(to) || pipe(from)) fail("pipe", 0);
        children[i] = fork();
        if (children[i] < 0) fail("fork", 0);
        if (children[i] == 0) {
            if (own[0] != 17) fail("a copy", (void *)own);
            member(own, i, to[0], from[1]);
        }
        close(to[0]);
        close(from[1]);
        ends[i][0] = from[0];
        ends[i][1] = to[1];
    }
    for (int turn = 0; turn < 3; turn++)
        for (int i = 0; i < count; i++) {
            char token = 't';
            if (write(ends[i][1], &token, 1) != 1 || read(ends[i][0], &token, 1) != 1) fail("one of a crowd is gone", 0);
            if (own[0] != 17) fail("the original of a crowd", (void *)own);
        }
    for (int i = 0; i < count; i++) {
        if (write(ends[i][1], "q", 1) != 1) fail("write", 0);
        if (waitpid(children[i], &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 7) fail("a crowd", 0);
        close(ends[i][0]);
        close(ends[i][1]);
    }
    munmap((void *)own, PAGE);
    note(count);
}

static uint64_t *common;

static void *count_common(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        uint64_t old, new;
        uint32_t failed;
        do {
            __asm__ volatile("ldxr %0, [%3]\n add %1, %0, #1\n stxr %w2, %1, [%3]"
                             : "=&r"(old), "=&r"(new), "=&r"(failed) : "r"(&common[7]) : "memory");
        } while (failed);
        __atomic_fetch_add(&common[9], 3, __ATOMIC_RELAXED);
    }
    return NULL;
}

/* Threads count while the mappings around what they count in change: the same address space, and exclusives that get interrupted. */
void threads(void) {
    pthread_t both[2];
    common = mmap(hint(), 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (common == MAP_FAILED) fail("mmap", 0);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&both[i], NULL, count_common, NULL)) fail("a thread", 0);
    for (int i = 0; i < 50; i++) {
        unsigned char *beside = (unsigned char *)common + PAGE;
        beside[i] = i;
        if (mprotect(beside, PAGE, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE)) fail("mprotect", beside);
        if (beside[i] != i) fail("beside what threads count in", beside);
        if (mprotect(beside, PAGE, PROT_READ | PROT_WRITE)) fail("mprotect", beside);
        if (i % 10 == 0) sched_yield();
    }
    for (int i = 0; i < 2; i++)
        if (pthread_join(both[i], NULL)) fail("a thread's end", 0);
    if (common[7] != 40000 || common[9] != 120000) fail("what threads counted", common);
    munmap(common, 3 * PAGE);
}
