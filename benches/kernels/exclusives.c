// group: integer
// Atomic additions by load-exclusive and store-exclusive, as code for plain ARMv8.0 makes them, and an unlocked counter beside each.
#define ITERATIONS 20000000
#include "bench.h"

static uint64_t counters[64];

static uint64_t add(uint64_t *counter, uint64_t amount) {
#ifdef __aarch64__
    uint64_t old, sum;
    uint32_t failed;
    __asm__ volatile("1: ldxr %0, [%3]\n"
                     "   add %1, %0, %4\n"
                     "   stxr %w2, %1, [%3]\n"
                     "   cbnz %w2, 1b\n"
                     : "=&r"(old), "=&r"(sum), "=&r"(failed)
                     : "r"(counter), "r"(amount)
                     : "memory");
    return old;
#else
    return __atomic_fetch_add(counter, amount, __ATOMIC_RELAXED);
#endif
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 1;
    for (uint64_t i = 0; i < iterations; i++) sum += add(&counters[i & 63], i);
    return fold(sum, counters[17]);
}
