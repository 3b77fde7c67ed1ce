/*
 * Branch target identification as a program meets it: every kind of indirect branch, from a guarded page and from one that is not,
 * to every kind of landing pad in a guarded page and in one that is not. Prints one line per combination: that it landed, or the
 * signal with PSTATE.BTYPE and where it was taken.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <ucontext.h>

#ifndef PROT_BTI
#define PROT_BTI 0x10
#endif
#define HWCAP2_BTI_BIT (1ul << 17)
#define PAGE 4096
#define RET 0xd65f03c0u

static sigjmp_buf back;
static volatile int number;
static volatile uint64_t btype, at;

static void handler(int signal, siginfo_t *info, void *context)
{
    const ucontext_t *uc = context;
    (void)info;
    number = signal;
    btype = uc->uc_mcontext.pstate >> 10 & 3;
    at = uc->uc_mcontext.pc;
    siglongjmp(back, 1);
}

static const struct { const char *name; uint32_t word; } pads[] = {
    { "nop", 0xd503201f }, { "bti", 0xd503241f }, { "bti c", 0xd503245f }, { "bti j", 0xd503249f }, { "bti jc", 0xd50324df },
    { "paciasp", 0xd503233f }, { "pacibsp", 0xd503237f }, { "paciaz", 0xd503231f }, { "brk", 0xd4200000 }, { "udf", 0 },
};
/* Called with the target in x0 and x16; each begins with a landing pad and ends with the branch. */
static const struct { const char *name; uint32_t branch; } branches[] = {
    { "br x0", 0xd61f0000 }, { "br x16", 0xd61f0200 }, { "blr x0", 0xd63f0000 }, { "ret x0", 0xd65f0000 },
};
enum { PADS = sizeof pads / sizeof pads[0], BRANCHES = sizeof branches / sizeof branches[0] };

static uint32_t *page(int guarded)
{
    uint32_t *p = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < PADS; i++) {
        p[4 * i] = pads[i].word;
        /* Undoes what signing did, without looking. */
        p[4 * i + 1] = 0xaa0f03fe; /* mov x30, x15 */
        p[4 * i + 2] = RET;
    }
    for (int i = 0; i < BRANCHES; i++) {
        uint32_t *stub = p + 256 + 4 * i;
        stub[0] = 0xd50324df; /* bti jc */
        stub[1] = branches[i].branch;
        stub[2] = 0xd4200000;
    }
    __builtin___clear_cache((char *)p, (char *)p + PAGE);
    mprotect(p, PAGE, PROT_READ | PROT_EXEC | (guarded ? PROT_BTI : 0));
    return p;
}

static void go(void *stub, void *target)
{
    register void *x0 __asm__("x0") = target;
    register void *x16 __asm__("x16") = target;
    register void *x17 __asm__("x17") = stub;
    __asm__ volatile("adr x15, 1f\n\tmov x30, x15\n\tbr x17\n1:"
                     : "+r"(x0), "+r"(x16), "+r"(x17)
                     :
                     : "x15", "x30", "memory", "cc");
}

int main(void)
{
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_NODEFER };
    sigaction(SIGILL, &action, 0);
    sigaction(SIGTRAP, &action, 0);
    sigaction(SIGSEGV, &action, 0);
    printf("HWCAP2_BTI %d\n", !!(getauxval(AT_HWCAP2) & HWCAP2_BTI_BIT));
    uint32_t *pages[2] = { page(0), page(1) };
    for (int round = 0; round < 2; round++)
        for (int from = 0; from < 2; from++)
            for (int b = 0; b < BRANCHES; b++)
                for (int to = 0; to < 2; to++)
                    for (int i = 0; i < PADS; i++) {
                        uint32_t *target = pages[to] + 4 * i;
                        number = 0;
                        if (!sigsetjmp(back, 1))
                            go(pages[from] + 256 + 4 * b, target);
                        printf("%s%s to %s%s: ", branches[b].name, from ? " (guarded)" : "", pads[i].name, to ? " (guarded)" : "");
                        if (number)
                            /* Where nothing is checked the type may not have been kept. */
                            printf("signal %d, btype %d, at %+d\n", number, to ? (int)btype : 0, (int)(at - (uint64_t)target));
                        else
                            printf("landed\n");
                    }
    return 0;
}
