// Runs a program, times it by the clock it sees, and gives a checksum of its output: `timer PROGRAM ARGUMENT...`.
//
// The program gets a temporary directory of its own, which goes away with it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    fprintf(stderr, "timer: %s: %s\n", what, strerror(errno));
    exit(125);
}

static int take_away(const char *path, const struct stat *status, int kind, struct FTW *ftw) {
    (void)status, (void)kind, (void)ftw;
    return remove(path);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void into(const char *name, int number) {
    int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, number) < 0) fail(name);
    close(file);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: timer PROGRAM ARGUMENT...\n");
        return 2;
    }
    char directory[] = "/tmp/timer-XXXXXX";
    if (!mkdtemp(directory) || chdir(directory)) fail("mkdtemp");
    double start = now();
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        into("output", STDOUT_FILENO);
        into("errors", STDERR_FILENO);
        execvp(argv[1], argv + 1);
        fail(argv[1]);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child) fail("waitpid");
    double seconds = now() - start;
    int failed = !WIFEXITED(status) || WEXITSTATUS(status);
    FILE *output = fopen(failed ? "errors" : "output", "r");
    if (!output) fail("output");
    uint64_t checksum = 0xcbf29ce484222325;
    for (int c; (c = getc(output)) != EOF;) {
        checksum = (checksum ^ (uint64_t)c) * 0x100000001b3;
        if (failed) putchar(c);
    }
    long size = ftell(output);
    fclose(output);
    if (chdir("/") || nftw(directory, take_away, 16, FTW_DEPTH | FTW_PHYS)) fail("clearing up");
    if (failed) {
        printf("%s: status %#x\n", argv[1], (unsigned)status);
        return 1;
    }
    printf("seconds=%.6f checksum=%016llx/%ld\n", seconds, (unsigned long long)checksum, size);
    return 0;
}
