// group: memory
// The same accesses without address translation.
#define ITERATIONS 60000
#include "accesses.h"

static void prepare(void) {
    clear(FREE, SIZE);
    translate(0);
}

static uint64_t work(uint64_t iterations) {
    expect(read_register(sctlr_el1) & 1, 0, "translation is on");
    return add_to_all(FREE, iterations);
}
