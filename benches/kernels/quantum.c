// group: integer
// Gates on a register of simulated qubits, one pass over an array of basis states per gate: tests and toggles of bits.
#define ITERATIONS 63
#include "bench.h"

#define N 200000

struct state {
    float re, im;
    uint64_t basis;
};

static uint64_t work(uint64_t iterations) {
    struct state *states = allocate(N * sizeof *states);
    uint64_t sum = 0, seed = 18;
    for (int i = 0; i < N; i++) states[i] = (struct state){1, 0, random64(&seed)};
    while (iterations--) {
        uint64_t control = 1ull << iterations % 40, second = 1ull << (iterations * 7 + 1) % 40, target = 1ull << (iterations * 3 + 2) % 40;
        for (int i = 0; i < N; i++)
            if (states[i].basis & control) states[i].basis ^= target;
        for (int i = 0; i < N; i++)
            if ((states[i].basis & control) && (states[i].basis & second)) states[i].basis ^= target;
        for (int i = 0; i < N; i++)
            if (states[i].basis & target) states[i].re = -states[i].re;
    }
    for (int i = 0; i < N; i++) sum = fold(sum, states[i].basis + (states[i].re > 0));
    return sum;
}
