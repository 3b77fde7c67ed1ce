// group: memory
// Following pointers through 32 MiB in random order: nothing but dependent loads that miss caches and TLB.
#define ITERATIONS 5000000
#include "bench.h"

#define N (1 << 19)

struct node {
    struct node *next;
    uint64_t padding[7];
};

static uint64_t work(uint64_t iterations) {
    struct node *nodes = allocate(N * sizeof *nodes);
    uint32_t *order = allocate(N * sizeof *order);
    uint64_t seed = 31;
    for (uint32_t i = 0; i < N; i++) order[i] = i;
    for (uint32_t i = N - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(random64(&seed) % i), t = order[i];
        order[i] = order[j], order[j] = t;
    }
    for (uint32_t i = 0; i < N; i++) nodes[order[i]].next = &nodes[order[(i + 1) % N]];
    const struct node *at = nodes;
    while (iterations--) at = at->next;
    return fold(0, (uint64_t)(at - nodes));
}
