// group: integer
// A byte-code interpreter with computed gotos: an indirect branch at the end of each operation.
#define ITERATIONS 7800
#include "bench.h"
#include "bytecode.h"

static uint64_t work(uint64_t iterations) {
    static const void *const labels[] = {&&load, &&add, &&sub, &&mul, &&xor, &&shift, &&decrement, &&jump, &&move, &&halt};
    uint64_t r[8] = {iterations};
    const struct operation *pc = program, *op;
#define NEXT op = pc++; goto *labels[op->code]
    NEXT;
load: r[op->to] = (uint64_t)op->value; NEXT;
add: r[op->to] += r[op->from]; NEXT;
sub: r[op->to] -= r[op->from]; NEXT;
mul: r[op->to] *= r[op->from]; NEXT;
xor: r[op->to] ^= r[op->from]; NEXT;
shift: r[op->to] >>= op->value; NEXT;
decrement: r[op->to]--; NEXT;
jump: if (r[op->to]) pc = program + op->value;
    NEXT;
move: r[op->to] = r[op->from]; NEXT;
halt: return r[2];
}
