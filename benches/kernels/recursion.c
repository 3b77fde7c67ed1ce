// group: integer
// Deep recursion: calls, returns and stack frames and little else.
#define ITERATIONS 12
#include "bench.h"

__attribute__((noinline)) static uint64_t fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

__attribute__((noinline)) static uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0) return n + 1;
    uint32_t inner = n == 0 ? 1 : ackermann(m, n - 1);
    return ackermann(m - 1, inner) + (inner & 0);
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0;
    while (iterations--) {
        sum = fold(sum, fibonacci(30 + (unsigned)(iterations & 1)));
        sum = fold(sum, ackermann(2, 300) + ackermann(3, 6));
    }
    return sum;
}
