// group: memory
// Loads and stores of 16 KiB over and over.
#define ITERATIONS 60000
#include "accesses.h"

static void prepare(void) { clear(FREE, SIZE); }

static uint64_t work(uint64_t iterations) { return add_to_all(FREE, iterations); }
