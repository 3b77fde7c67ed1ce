// group: system
// Files in memory: create, write, seek, read, rename, remove.
#define ITERATIONS 420
#include "bench.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t work(uint64_t iterations) {
    static uint8_t buffer[4096];
    char directory[] = "/tmp/bench-XXXXXX", a[64], b[64];
    if (!mkdtemp(directory)) fail("mkdtemp");
    snprintf(a, sizeof a, "%s/a", directory);
    snprintf(b, sizeof b, "%s/b", directory);
    uint64_t sum = 0;
    while (iterations--) {
        int file = open(a, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (file < 0) fail("open");
        for (int i = 0; i < 16; i++) {
            memset(buffer, (int)(iterations + (uint64_t)i), sizeof buffer);
            if (write(file, buffer, sizeof buffer) != sizeof buffer) fail("write");
        }
        for (int i = 0; i < 16; i++) {
            if (lseek(file, (i * 7 % 16) * 4096 + 100, SEEK_SET) < 0 || read(file, buffer, 100) != 100) fail("read");
            sum = fold(sum, buffer[50]);
        }
        struct stat status;
        if (close(file) || rename(a, b) || stat(b, &status) || unlink(b)) fail("file");
        sum = fold(sum, (uint64_t)status.st_size);
    }
    rmdir(directory);
    return sum;
}
