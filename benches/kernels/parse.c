// group: integer
// A recursive-descent parser and evaluator of arithmetic: byte loads, branches, calls.
#define ITERATIONS 54
#include "bench.h"

#define N (1 << 19)

static const char *at;

static int64_t sum_of_products(void);

static int64_t factor(void) {
    while (*at == ' ') at++;
    if (*at == '(') {
        at++;
        int64_t value = sum_of_products();
        at++;
        return value;
    }
    if (*at == '-') {
        at++;
        return -factor();
    }
    int64_t value = 0;
    while (*at >= '0' && *at <= '9') value = value * 10 + (*at++ - '0');
    return value;
}

static int64_t product(void) {
    int64_t value = factor();
    for (;;) {
        while (*at == ' ') at++;
        if (*at == '*') at++, value = (int32_t)(value * factor());
        else return value;
    }
}

static int64_t sum_of_products(void) {
    int64_t value = product();
    for (;;) {
        while (*at == ' ') at++;
        if (*at == '+') at++, value += product();
        else if (*at == '-') at++, value -= product();
        else return value;
    }
}

static char *text;
static size_t length;
static uint64_t seed = 7;

static void generate(int depth) {
    uint64_t r = random64(&seed);
    if (depth == 0 || r % 4 == 0) {
        length += (size_t)sprintf(text + length, "%u", (unsigned)(r >> 32) % 100000);
    } else if (r % 4 == 1) {
        text[length++] = '(';
        generate(depth - 1);
        text[length++] = ')';
    } else {
        generate(depth - 1);
        length += (size_t)sprintf(text + length, " %c ", "+-*"[r / 4 % 3]);
        generate(depth - 1);
    }
}

static uint64_t work(uint64_t iterations) {
    text = allocate(2 * N);
    generate(8);
    while (length < N) {
        text[length++] = '+';
        generate(8);
    }
    text[length] = 0;
    uint64_t sum = 0;
    while (iterations--) {
        at = text;
        sum = fold(sum, (uint64_t)sum_of_products());
    }
    return sum;
}
