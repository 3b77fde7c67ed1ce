// group: integer
// Calls through tables of functions in an unpredictable order: indirect branches and returns.
#define ITERATIONS 240
#include "bench.h"

struct object;
struct methods {
    uint64_t (*step)(struct object *, uint64_t);
    uint64_t (*read)(const struct object *);
};
struct object {
    const struct methods *methods;
    uint64_t state;
};

static uint64_t read_plain(const struct object *o) { return o->state; }
static uint64_t read_low(const struct object *o) { return o->state & 0xffff; }
static uint64_t step_add(struct object *o, uint64_t x) { return o->state += x; }
static uint64_t step_xor(struct object *o, uint64_t x) { return o->state ^= x << 1; }
static uint64_t step_rotate(struct object *o, uint64_t x) { return o->state = (o->state << 7 | o->state >> 57) + x; }
static uint64_t step_multiply(struct object *o, uint64_t x) { return o->state = o->state * 5 + x; }
static uint64_t step_max(struct object *o, uint64_t x) { return o->state = o->state > x ? o->state - x : x; }

static const struct methods kinds[] = {
    {step_add, read_plain}, {step_xor, read_low}, {step_rotate, read_plain}, {step_multiply, read_low}, {step_max, read_plain},
};

#define N 50000

static uint64_t work(uint64_t iterations) {
    struct object *objects = allocate(N * sizeof *objects);
    uint64_t seed = 11, sum = 0;
    for (int i = 0; i < N; i++) {
        objects[i].methods = &kinds[random64(&seed) % 5];
        objects[i].state = random64(&seed);
    }
    while (iterations--) {
        uint64_t x = iterations;
        for (int i = 0; i < N; i++) {
            struct object *o = &objects[i];
            x = o->methods->step(o, x) + o->methods->read(o);
        }
        sum = fold(sum, x);
    }
    return sum;
}
