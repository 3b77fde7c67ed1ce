// group: system
// Write-protected pages opened in a SIGSEGV handler, as garbage collectors do: permission faults and mprotect.
#define ITERATIONS 3200
#include "bench.h"
#include <signal.h>
#include <sys/mman.h>

static uint64_t faults;

static void handler(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    faults++;
    if (mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE)) _Exit(1);
}

static uint64_t work(uint64_t iterations) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGSEGV, &action, NULL)) fail("sigaction");
    volatile uint8_t *memory = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) fail("mmap");
    for (uint64_t i = 0; i < iterations; i++) {
        volatile uint8_t *page = memory + i % 16 * 4096;
        *page = 1;
        if (mprotect((void *)page, 4096, PROT_READ)) fail("mprotect");
        page[i & 4095]++;
    }
    uint64_t sum = faults;
    for (int p = 0; p < 16; p++) sum = fold(sum, memory[p * 4096 + 64]);
    return sum;
}
