// group: integer
// Dynamic programming with maxima of integers over rows, as sequence comparison does it: compares and conditional selects.
#define ITERATIONS 42
#include "bench.h"

#define STATES 300
#define LENGTH 1500

static int32_t match[2][STATES + 1], insert[2][STATES + 1], delete[2][STATES + 1];
static int32_t emit[20][STATES + 1], move[7][STATES + 1];

static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 16;
    for (int a = 0; a < 20; a++)
        for (int k = 0; k <= STATES; k++) emit[a][k] = (int32_t)(random64(&seed) % 2000) - 1000;
    for (int t = 0; t < 7; t++)
        for (int k = 0; k <= STATES; k++) move[t][k] = -(int32_t)(random64(&seed) % 500);
    while (iterations--) {
        for (int k = 0; k <= STATES; k++) match[0][k] = insert[0][k] = delete[0][k] = -1000000;
        match[0][0] = 0;
        int32_t best = INT32_MIN;
        for (int i = 1; i <= LENGTH; i++) {
            int now_ = i & 1, was = !now_;
            const int32_t *e = emit[random64(&seed) % 20];
            match[now_][0] = insert[now_][0] = delete[now_][0] = -1000000;
            for (int k = 1; k <= STATES; k++) {
                int32_t m = larger(match[was][k - 1] + move[0][k], insert[was][k - 1] + move[1][k]);
                m = larger(m, delete[was][k - 1] + move[2][k]) + e[k];
                match[now_][k] = larger(m, -900000);
                delete[now_][k] = larger(match[now_][k - 1] + move[3][k], delete[now_][k - 1] + move[4][k]);
                insert[now_][k] = larger(match[was][k] + move[5][k], insert[was][k] + move[6][k]);
            }
            best = larger(best, match[now_][STATES]);
        }
        sum = fold(sum, (uint32_t)best);
    }
    return sum;
}
