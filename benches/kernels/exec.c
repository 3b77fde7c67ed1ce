// group: system
// Programs that end at once: fork, exec and the start of a static program.
#define ITERATIONS 90
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

static uint64_t work(uint64_t iterations) {
    // What this program executes is itself, told to do nothing.
    if (iterations == 0) _exit(42);
    uint64_t sum = 0;
    while (iterations--) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (child == 0) {
            execl("/proc/self/exe", "exec", "0", (char *)NULL);
            _exit(1);
        }
        int status = 0;
        if (waitpid(child, &status, 0) != child) fail("waitpid");
        sum = fold(sum, (uint64_t)WEXITSTATUS(status));
    }
    return sum;
}
