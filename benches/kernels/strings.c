// group: integer
// The C library's string functions on short strings: strlen, memcmp, strchr, strcmp, strstr.
#define ITERATIONS 60
#include "bench.h"

#define N 20000

static uint64_t work(uint64_t iterations) {
    char (*words)[48] = allocate(N * sizeof *words);
    uint64_t sum = 0, seed = 5;
    for (int i = 0; i < N; i++) {
        int length = 3 + (int)(random64(&seed) % 40);
        for (int j = 0; j < length; j++) words[i][j] = (char)('a' + random64(&seed) % 6);
        words[i][length] = 0;
    }
    while (iterations--) {
        uint64_t hits = 0;
        for (int i = 1; i < N; i++) {
            char *a = words[i - 1], *b = words[i];
            size_t length = strlen(a);
            hits += length;
            hits += (uint64_t)(strcmp(a, b) < 0) + (uint64_t)(memcmp(a, b, 8) > 0);
            hits += strchr(a, 'f') != NULL;
            hits += strstr(b, "abc") != NULL;
            a[length / 2] = (char)('a' + (a[length / 2] + 1) % 6);
        }
        sum = fold(sum, hits);
    }
    return sum;
}
