// group: system
// Signals a process sends itself: delivery, handler, return.
#define ITERATIONS 18000
#include "bench.h"
#include <signal.h>

static volatile uint64_t count;

static void handler(int number) { count += (uint64_t)number; }

static uint64_t work(uint64_t iterations) {
    struct sigaction action = {.sa_handler = handler};
    if (sigaction(SIGUSR1, &action, NULL)) fail("sigaction");
    while (iterations--) raise(SIGUSR1);
    return fold(0, count);
}
