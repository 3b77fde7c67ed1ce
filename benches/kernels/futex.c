// group: system
// flags: -pthread
// Two threads that hand a token to each other with a condition variable: futexes and context switches.
#define ITERATIONS 4500
#include "bench.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t turn, rounds, total;

static void *player(void *argument) {
    uint64_t me = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < rounds; i++) {
        pthread_mutex_lock(&lock);
        while (turn != me) pthread_cond_wait(&changed, &lock);
        total = fold(total, me + i);
        turn = !me;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static uint64_t work(uint64_t iterations) {
    pthread_t threads[2];
    rounds = iterations;
    for (uintptr_t i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, player, (void *)i)) fail("pthread_create");
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    return total;
}
