/*
 * Executes a few instructions on prepared states: the oracle of tests/src/conformance, run by qemu-aarch64.
 *
 * Reads `struct input` records and answers each with a `struct output`. A record's code is put into a slot of its own,
 * followed by breakpoints; the slot's number is that of the record modulo SLOTS. Registers travel in signal frames: what ends a
 * record (breakpoint, fault) delivers a signal, whose handler stores the state and replaces it by the next record's.
 * Memory is two pages, the same pattern before each record.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define CODE 0x70000000ull
#define SLOTS 1024
#define SLOT_BYTES 64
#define MEMORY ((uint64_t *)0x70020000)
#define MEMORY_SIZE 0x2000
#define WORDS (MEMORY_SIZE / 8)
#define MAX_WORDS 12
#define BREAKPOINT 0xd4200000u

struct input {
    uint32_t count, fpcr;
    uint32_t words[MAX_WORDS];
    uint64_t nzcv, sp, x[31];
    uint8_t v[32][16];
};

struct output {
    uint64_t x[31], sp, pc, nzcv, fpsr, memory, signal, address;
    uint8_t v[32][16];
};

static struct input inputs[SLOTS];
static struct output outputs[SLOTS];
static int total, current = -1;
static uint64_t pattern[WORDS];
static ucontext_t outside;

static struct fpsimd_context *simd(ucontext_t *uc)
{
    struct _aarch64_ctx *head = (struct _aarch64_ctx *)uc->uc_mcontext.__reserved;
    while (head->magic != FPSIMD_MAGIC)
        head = (struct _aarch64_ctx *)((char *)head + head->size);
    return (struct fpsimd_context *)head;
}

static void take(const ucontext_t *uc, int number, uint64_t address)
{
    struct output *out = &outputs[current];
    const struct fpsimd_context *fp = simd((ucontext_t *)uc);
    memcpy(out->x, uc->uc_mcontext.regs, sizeof out->x);
    out->sp = uc->uc_mcontext.sp;
    out->pc = uc->uc_mcontext.pc;
    out->nzcv = uc->uc_mcontext.pstate & 0xf0000000u;
    out->fpsr = fp->fpsr;
    memcpy(out->v, fp->vregs, sizeof out->v);
    out->signal = (uint64_t)number;
    out->address = address;
    out->memory = 0;
    for (int i = 0; i < WORDS; i++) {
        if (MEMORY[i] != pattern[i]) {
            out->memory = (out->memory ^ (MEMORY[i] + (uint64_t)i)) * 0x9e3779b97f4a7c15ull;
            out->memory ^= out->memory >> 29;
            MEMORY[i] = pattern[i];
        }
    }
}

static void give(ucontext_t *uc)
{
    const struct input *in = &inputs[current];
    struct fpsimd_context *fp = simd(uc);
    memcpy(uc->uc_mcontext.regs, in->x, sizeof in->x);
    uc->uc_mcontext.sp = in->sp;
    uc->uc_mcontext.pc = CODE + (uint64_t)current * SLOT_BYTES;
    uc->uc_mcontext.pstate = (uc->uc_mcontext.pstate & ~0xf0000c00ull) | in->nzcv;
    fp->fpcr = in->fpcr;
    fp->fpsr = 0;
    memcpy(fp->vregs, in->v, sizeof in->v);
}

static void handler(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (current < 0)
        memcpy(&outside, uc, sizeof outside);
    else
        take(uc, number, (uint64_t)info->si_addr);
    if (++current < total) {
        give(uc);
    } else {
        memcpy(uc, &outside, sizeof outside);
        uc->uc_mcontext.pc += 4;
        current = -1;
    }
}

int main(void)
{
    static uint8_t stack[1 << 16];
    stack_t alternate = { .ss_sp = stack, .ss_size = sizeof stack };
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    const int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    uint32_t *code = mmap((void *)CODE, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, fixed, -1, 0);
    uint64_t z = 0;

    mmap(MEMORY, MEMORY_SIZE, PROT_READ | PROT_WRITE, fixed, -1, 0);
    for (int i = 0; i < WORDS; i++) {
        z += 0x9e3779b97f4a7c15ull;
        pattern[i] = (z ^ (z >> 31)) * 0xbf58476d1ce4e5b9ull;
        MEMORY[i] = pattern[i];
    }
    sigaltstack(&alternate, 0);
    sigaction(SIGTRAP, &action, 0);
    sigaction(SIGILL, &action, 0);
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    sigaction(SIGFPE, &action, 0);
    for (;;) {
        uint32_t wanted;
        if (fread(&wanted, sizeof wanted, 1, stdin) != 1)
            return 0;
        if (wanted > SLOTS || fread(inputs, sizeof inputs[0], wanted, stdin) != wanted)
            return 1;
        for (uint32_t i = 0; i < wanted; i++) {
            uint32_t *slot = code + i * (SLOT_BYTES / 4);
            for (uint32_t k = 0; k < SLOT_BYTES / 4; k++)
                slot[k] = k < inputs[i].count && k < MAX_WORDS ? inputs[i].words[k] : BREAKPOINT;
        }
        __builtin___clear_cache((char *)code, (char *)code + SLOTS * SLOT_BYTES);
        total = (int)wanted;
        __asm__ volatile("brk #0" ::: "memory");
        fwrite(outputs, sizeof outputs[0], wanted, stdout);
        fflush(stdout);
    }
}
