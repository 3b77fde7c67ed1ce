// group: system
// A byte to and fro between two processes: switches of address space, scheduler, pipes.
#define ITERATIONS 3000
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

static uint64_t work(uint64_t iterations) {
    int there[2], back[2];
    if (pipe(there) || pipe(back)) fail("pipe");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        close(there[1]);
        uint8_t byte;
        while (read(there[0], &byte, 1) == 1) {
            byte = (uint8_t)(byte * 5 + 1);
            if (write(back[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    uint64_t sum = 0;
    uint8_t byte = 1;
    while (iterations--) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) fail("pipe");
        sum = fold(sum, byte);
    }
    close(there[1]);
    waitpid(child, NULL, 0);
    return sum;
}
