// group: integer
// A byte-code interpreter around a switch: one indirect branch for all operations.
#define ITERATIONS 7800
#include "bench.h"
#include "bytecode.h"

static uint64_t work(uint64_t iterations) {
    uint64_t r[8] = {iterations};
    const struct operation *pc = program;
    for (;;) {
        const struct operation op = *pc++;
        switch (op.code) {
        case LOAD: r[op.to] = (uint64_t)op.value; break;
        case ADD: r[op.to] += r[op.from]; break;
        case SUB: r[op.to] -= r[op.from]; break;
        case MUL: r[op.to] *= r[op.from]; break;
        case XOR: r[op.to] ^= r[op.from]; break;
        case SHIFT: r[op.to] >>= op.value; break;
        case DECREMENT: r[op.to]--; break;
        case JUMP_NOT_ZERO: if (r[op.to]) pc = program + op.value; break;
        case MOVE: r[op.to] = r[op.from]; break;
        case HALT: return r[2];
        }
    }
}
