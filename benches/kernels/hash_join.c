// group: memory
// Building and probing an open-addressing hash table of 16 MiB, as a database joins.
#define ITERATIONS 6
#include "bench.h"

#define SLOTS (1 << 20)
#define ROWS 600000

struct slot {
    uint64_t key, value;
};

static uint64_t place(uint64_t key) { return key * 0x9e3779b97f4a7c15 >> 44; }

static uint64_t work(uint64_t iterations) {
    struct slot *table = allocate(SLOTS * sizeof *table);
    uint64_t sum = 0, seed = 36;
    while (iterations--) {
        memset(table, 0, SLOTS * sizeof *table);
        for (uint64_t i = 0; i < ROWS; i++) {
            uint64_t key = random64(&seed) % 1000000 + 1, at = place(key);
            while (table[at].key && table[at].key != key) at = (at + 1) & (SLOTS - 1);
            table[at].key = key;
            table[at].value += i;
        }
        uint64_t found = 0;
        for (uint64_t i = 0; i < ROWS; i++) {
            uint64_t key = random64(&seed) % 1000000 + 1, at = place(key);
            while (table[at].key && table[at].key != key) at = (at + 1) & (SLOTS - 1);
            if (table[at].key) found += table[at].value;
        }
        sum = fold(sum, found);
    }
    return sum;
}
