// group: integer
// Dijkstra's algorithm on a grid with a binary heap: data-dependent branches and loads.
#define ITERATIONS 20
#include "bench.h"

#define SIDE 320
#define N (SIDE * SIDE)

struct entry {
    uint32_t distance, node;
};
static uint8_t cost[N];
static uint32_t distance[N];
static struct entry heap[8 * N];
static int used;

static void push(struct entry e) {
    int at = used++;
    for (; at && e.distance < heap[(at - 1) / 2].distance; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = e;
}

static struct entry pop(void) {
    struct entry top = heap[0], last = heap[--used];
    int at = 0;
    for (int c; (c = 2 * at + 1) < used; at = c) {
        if (c + 1 < used && heap[c + 1].distance < heap[c].distance) c++;
        if (heap[c].distance >= last.distance) break;
        heap[at] = heap[c];
    }
    heap[at] = last;
    return top;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 15;
    for (int i = 0; i < N; i++) cost[i] = (uint8_t)(1 + random64(&seed) % 100);
    while (iterations--) {
        memset(distance, 255, sizeof distance);
        distance[iterations] = 0;
        push((struct entry){0, (uint32_t)iterations});
        while (used) {
            struct entry e = pop();
            if (e.distance > distance[e.node]) continue;
            uint32_t x = e.node % SIDE, y = e.node / SIDE;
            uint32_t next[4] = {e.node - 1, e.node + 1, e.node - SIDE, e.node + SIDE};
            int inside[4] = {x > 0, x < SIDE - 1, y > 0, y < SIDE - 1};
            for (int k = 0; k < 4; k++) {
                if (!inside[k]) continue;
                uint32_t d = e.distance + cost[next[k]];
                if (d < distance[next[k]]) distance[next[k]] = d, push((struct entry){d, next[k]});
            }
        }
        for (int i = 0; i < N; i += 101) sum = fold(sum, distance[i]);
    }
    return sum;
}
