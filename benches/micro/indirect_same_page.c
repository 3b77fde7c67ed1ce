// group: control flow
// Indirect branches within a page; where each goes changes from time to time.
#define ITERATIONS 2000
#include "branches.h"

#define BLOCKS 100
#define STRIDE 32ul
#define LENGTH 4000

static uint64_t entry;

static void prepare(void) { entry = make_indirect(BLOCKS, STRIDE, LENGTH); }

static uint64_t work(uint64_t iterations) { return check_and_run(entry, path, LENGTH, iterations); }
