// group: memory
// A binary search tree from malloc and free: allocation and pointer-following.
#define ITERATIONS 3
#include "bench.h"

#define N 150000

struct node {
    struct node *child[2];
    uint64_t key;
};

static uint64_t take_down(struct node *n) {
    if (!n) return 0;
    uint64_t sum = take_down(n->child[0]);
    sum = fold(sum, n->key);
    sum += take_down(n->child[1]);
    free(n);
    return sum;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 38;
    while (iterations--) {
        struct node *root = NULL;
        for (int i = 0; i < N; i++) {
            uint64_t key = random64(&seed);
            struct node **at = &root;
            while (*at) at = &(*at)->child[key > (*at)->key];
            *at = allocate(sizeof **at);
            **at = (struct node){{NULL, NULL}, key};
        }
        sum = fold(sum, take_down(root));
    }
    return sum;
}
