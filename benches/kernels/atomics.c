// group: system
// flags: -pthread
// Four threads that count with atomic additions and compare-and-swap, and take a spin lock.
#define ITERATIONS 4800000
#include "bench.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static atomic_uint_fast64_t counter, largest;
static atomic_flag lock = ATOMIC_FLAG_INIT;
static uint64_t guarded, rounds;

static void *count(void *argument) {
    uint64_t me = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t mine = atomic_fetch_add(&counter, me + 1);
        if ((i & 7) == 0) {
            uint64_t seen = atomic_load_explicit(&largest, memory_order_relaxed);
            while (mine > seen && !atomic_compare_exchange_weak(&largest, &seen, mine)) {}
            while (atomic_flag_test_and_set_explicit(&lock, memory_order_acquire)) sched_yield();
            guarded += me;
            atomic_flag_clear_explicit(&lock, memory_order_release);
        }
    }
    return NULL;
}

static uint64_t work(uint64_t iterations) {
    pthread_t threads[4];
    rounds = iterations;
    for (uintptr_t i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, count, (void *)i)) fail("pthread_create");
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return fold(fold(0, counter), guarded);
}
