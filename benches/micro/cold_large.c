// group: memory
// One access per 4 KiB, of 128 MiB mapped as one block of 1 GiB.
#define ITERATIONS 25
#include "cold.h"

static void prepare(void) { clear(); }

static uint64_t work(uint64_t iterations) { return visit(FREE, iterations); }
