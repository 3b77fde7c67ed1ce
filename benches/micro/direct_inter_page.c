// group: control flow
// Direct branches from page to page, in an order that is not the addresses'.
#define ITERATIONS 15000
#include "branches.h"

#define BLOCKS 500
#define STRIDE 4112ul

static uint64_t entry;

static void prepare(void) { entry = make_direct(BLOCKS, STRIDE); }

static uint64_t work(uint64_t iterations) { return check_and_run(entry, order, BLOCKS, iterations); }
