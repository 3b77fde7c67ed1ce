/*
 * Executes single instructions on prepared states: the oracle of tests/simd_semantics.rs, run by qemu-aarch64.
 *
 * Reads records { u32 word, u32 fpcr, u64 nzcv, u8 v[32][16], u64 x[31] } and writes, for each, { u8 v[32][16],
 * u64 x[31], u64 nzcv, u64 fpsr, u64 memory hash, u64 signal }. Memory is one page at 0x40010000, the same pattern
 * before each instruction.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define MEMORY ((uint8_t *)0x40010000)
#define MEMORY_SIZE 0x1000

struct state {
    uint8_t v[32][16];
    uint64_t x[31], nzcv, fpcr, fpsr, saved_sp;
};

struct input {
    uint32_t word, fpcr;
    uint64_t nzcv;
    uint8_t v[32][16];
    uint64_t x[31];
};

struct output {
    uint8_t v[32][16];
    uint64_t x[31], nzcv, fpsr, hash, signal;
};

/* The stack pointer holds the state's address while the instruction runs: no instruction under test changes it. */
extern void run(struct state *);
extern uint32_t slot[];
__asm__(
    ".global run, slot\n"
    "run: stp x29, x30, [sp, #-160]!\n"
    " stp x19, x20, [sp, #16]\n stp x21, x22, [sp, #32]\n stp x23, x24, [sp, #48]\n stp x25, x26, [sp, #64]\n"
    " stp x27, x28, [sp, #80]\n stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n stp d12, d13, [sp, #128]\n"
    " stp d14, d15, [sp, #144]\n"
    " mov x2, sp\n str x2, [x0, #784]\n mov sp, x0\n"
    " ldr x3, [sp, #768]\n msr fpcr, x3\n msr fpsr, xzr\n ldr x3, [sp, #760]\n msr nzcv, x3\n"
    " .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    " ldr q\\n, [sp, #16*\\n]\n .endr\n"
    " .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n"
    " ldr x\\n, [sp, #512+8*\\n]\n .endr\n"
    "slot: nop\n"
    " .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n"
    " str x\\n, [sp, #512+8*\\n]\n .endr\n"
    " .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n"
    " str q\\n, [sp, #16*\\n]\n .endr\n"
    " mrs x3, nzcv\n str x3, [sp, #760]\n mrs x3, fpsr\n str x3, [sp, #776]\n msr fpcr, xzr\n"
    " ldr x2, [sp, #784]\n mov sp, x2\n"
    " ldp x19, x20, [sp, #16]\n ldp x21, x22, [sp, #32]\n ldp x23, x24, [sp, #48]\n ldp x25, x26, [sp, #64]\n"
    " ldp x27, x28, [sp, #80]\n ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n ldp d12, d13, [sp, #128]\n"
    " ldp d14, d15, [sp, #144]\n ldp x29, x30, [sp], #160\n ret\n");

static struct state state __attribute__((aligned(16)));
static sigjmp_buf before;
static volatile int raised;

static void handler(int n)
{
    raised = n;
    siglongjmp(before, 1);
}

int main(void)
{
    static uint8_t stack[65536];
    static uint8_t pattern[MEMORY_SIZE];
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK | SA_NODEFER };
    struct input in;
    struct output out;

    mprotect((void *)((uintptr_t)run & ~(uintptr_t)4095), 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
    mmap(MEMORY, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    for (int i = 0; i < MEMORY_SIZE; i++)
        pattern[i] = (uint8_t)(i * 37 + (i >> 8) * 101 + 11);
    sigaltstack(&alternate, 0);
    sigaction(SIGILL, &action, 0);
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    while (fread(&in, sizeof in, 1, stdin) == 1) {
        memcpy(state.v, in.v, sizeof state.v);
        memcpy(state.x, in.x, sizeof state.x);
        state.nzcv = in.nzcv;
        state.fpcr = in.fpcr;
        memcpy(MEMORY, pattern, sizeof pattern);
        slot[0] = in.word;
        __builtin___clear_cache((char *)slot, (char *)slot + 4);
        raised = 0;
        if (sigsetjmp(before, 1) == 0)
            run(&state);
        memcpy(out.v, state.v, sizeof out.v);
        memcpy(out.x, state.x, sizeof out.x);
        out.nzcv = state.nzcv;
        out.fpsr = state.fpsr;
        out.signal = (uint64_t)raised;
        out.hash = 1469598103934665603u;
        for (int i = 0; i < MEMORY_SIZE; i++)
            out.hash = (out.hash ^ MEMORY[i]) * 1099511628211u;
        fwrite(&out, sizeof out, 1, stdout);
    }
    return 0;
}
