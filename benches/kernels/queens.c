// group: integer
// The eight queens problem, larger, with bit masks: backtracking as games and solvers do it.
#define ITERATIONS 120
#include "bench.h"

static uint64_t place(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
    if (columns == all) return 1;
    uint64_t solutions = 0;
    for (uint32_t free = all & ~(columns | left | right); free;) {
        uint32_t bit = free & -free;
        free ^= bit;
        solutions += place(all, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return solutions;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0;
    while (iterations--) sum = fold(sum, place((1u << (10 + iterations % 2)) - 1, 0, 0, 0));
    return sum;
}
