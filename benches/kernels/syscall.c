// group: system
// The cheapest system call, over and over: exception entry and return.
#define ITERATIONS 140000
#include "bench.h"
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, first = (uint64_t)syscall(SYS_getppid);
    while (iterations--) sum += (uint64_t)syscall(SYS_getppid) - first + iterations;
    return sum;
}
