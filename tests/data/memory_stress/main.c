/* Exercises a guest's virtual memory and checks every byte: mappings come, go, move, change their rights, are shared and
   copied by forks, hold code; addresses are spread over the whole address space, tagged, unaligned.
   Usage: memory_stress SEED ROUNDS [user]. The same seed does the same and prints the same sum on every machine. */
#include "stress.h"

#define STACK 65536ul

uint64_t state;
sigjmp_buf recover;
volatile uintptr_t fault_at;
volatile int fault_code;
unsigned char *volatile repaired;
volatile int repairs;
int user_mode;
static uint64_t sum;

uint32_t rnd(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 16;
}

uint32_t below(uint32_t n) { return rnd() % n; }

void note(uint64_t v) { sum = (sum ^ v) * 0x9e3779b97f4a7c15ul + (sum >> 29); }

void fail(const char *what, const void *at) {
    printf("FAILED: %s at %p (errno %d)\n", what, at, errno);
    fflush(stdout);
    _exit(1);
}

uint64_t word(uint32_t key, unsigned i) {
    return key ? (key * 0x100000001b3ul + i) * 0x9e3779b97f4a7c15ul : 0;
}

void *hint(void) {
    if (below(2)) return NULL;
    return (void *)(((uint64_t)below(500) + 4) << 39 | (uint64_t)below(1 << 18) << 12 | (below(4) ? 0 : 0x7ffffe0000ul));
}

static void on_fault(int sig, siginfo_t *info, void *context) {
    (void)sig;
    (void)context;
    fault_at = (uintptr_t)info->si_addr;
    fault_code = info->si_code;
    if (!repaired) siglongjmp(recover, 1);
    if ((fault_at & -PAGE) != (uintptr_t)repaired && ((fault_at + 63) & -PAGE) != (uintptr_t)repaired)
        fail("a fault elsewhere", info->si_addr);
    if (++repairs > 1) fail("a fault in spite of the repair", info->si_addr);
    if (mprotect(repaired, PAGE, PROT_READ | PROT_WRITE)) fail("mprotect in a handler", repaired);
}

void handle_faults(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, NULL);
}

/* Handlers run on a stack somewhere else. */
static void move_stack(void) {
    static unsigned char *old;
    unsigned char *new = mmap(hint(), STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (new == MAP_FAILED) fail("mmap of a stack", 0);
    if (sigaltstack(&(stack_t){.ss_sp = new, .ss_size = STACK}, NULL)) fail("sigaltstack", new);
    if (old) munmap(old, STACK);
    old = new;
}

int main(int argc, char **argv) {
    if (argc == 6 && !strcmp(argv[1], "exec")) return executed(argv);
    if (argc < 3) {
        fprintf(stderr, "usage: %s SEED ROUNDS [user]\n", argv[0]);
        return 2;
    }
    user_mode = argc > 3;
    handle_faults();
    state = strtoull(argv[1], NULL, 0) * 2654435761u + 88172645463325252ul;
    for (long round = strtol(argv[2], NULL, 0); round > 0; round--) {
        struct area *a = &areas[below(AREAS)];
        if (!a->at) {
            map(a);
            for (int page = 0; page < a->pages; page++)
                if (below(4)) fill_page(a, page);
        }
        switch (below(34)) {
        case 0: case 1: unmap(a); break;
        case 2: case 3: case 4: protect(a); break;
        case 5: system_call(a); break;
        case 6: case 7: unaligned(a); break;
        case 8: half_protected(a); break;
        case 9: case 10: restarted(a); break;
        case 11: zero_block(a); break;
        case 12: case 13: atomics(a); break;
        case 14: forget(a); break;
        case 15: move(a); break;
        case 16: resize(a); break;
        case 17: alias(a); break;
        case 18: fork_and_check(); break;
        case 19: share(); break;
        case 20: many(); break;
        case 21: threads(); break;
        case 22: code(); break;
        case 23: switched_code(); break;
        case 24: aliased_code(); break;
        case 25: poked_code(); break;
        case 26: case 27: large(); break;
        case 28: aged(a); break;
        case 29: move_stack(); break;
        case 30: visit_all(); break;
        case 31: buried_code(); break;
        case 32: apart(); break;
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
