// group: system
// Processes that end at once: copying and taking down an address space with 2 MiB in use.
#define ITERATIONS 280
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0;
    volatile uint8_t *memory = allocate(2 << 20);
    for (int i = 0; i < 2 << 20; i += 4096) memory[i] = 1;
    while (iterations--) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            for (int i = 0; i < 16; i++) memory[i * 4096] = 2;
            _exit((int)(iterations & 127));
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child) fail("waitpid");
        sum = fold(sum, (uint64_t)WEXITSTATUS(status));
    }
    return sum;
}
