// Shared by all programs: `main`, which times `work` and prints one line of result, and a few helpers.
//
// A program defines ITERATIONS (its default amount of work), includes this file and defines `work`, which returns a checksum. The
// checksum must be the same on every machine: fold floating point in with `fold_rounded`, since one compiler fuses a multiplication
// with an addition where another doesn't. The first lines of a program say its group and extra compiler flags:
//
//     // group: fp
//     // flags: -O3
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t work(uint64_t iterations);

static inline uint64_t fold(uint64_t sum, uint64_t value) {
    sum = (sum ^ value) * 0x9e3779b97f4a7c15;
    return sum ^ sum >> 29;
}

// Six significant digits: what differently fused and ordered operations agree on.
__attribute__((unused)) static uint64_t fold_rounded(uint64_t sum, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.5e", value == 0 ? 0.0 : value);
    for (const char *c = text; *c; c++) sum = fold(sum, (unsigned char)*c);
    return sum;
}

// Xorshift: the state must not be zero.
static inline uint64_t random64(uint64_t *state) {
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

__attribute__((unused, noreturn)) static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

__attribute__((unused)) static void *allocate(size_t bytes) {
    void *memory = malloc(bytes);
    if (!memory) fail("malloc");
    return memory;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 10) : ITERATIONS;
    double start = now();
    uint64_t checksum = work(iterations);
    double seconds = now() - start;
    printf("seconds=%.6f checksum=%016llx\n", seconds, (unsigned long long)checksum);
    return 0;
}

#endif
