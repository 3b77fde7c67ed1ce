// group: integer
// LZ77 with a hash of three bytes, compressing and decompressing: as compressors' inner loops are.
#define ITERATIONS 45
#include "bench.h"

#define N (1 << 20)
#define HASH 15

static uint8_t data[N], packed[N + N / 8 + 16], unpacked[N];
static int32_t head[1 << HASH];

static uint32_t hash(const uint8_t *p) {
    uint32_t x = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
    return x * 2654435761u >> (32 - HASH);
}

// Per 8 items one byte of flags; a match is two bytes of distance and one of length.
static size_t compress(void) {
    size_t out = 0, flags = 0;
    int count = 8;
    memset(head, -1, sizeof head);
    for (int i = 0; i < N;) {
        if (count == 8) flags = out++, packed[flags] = 0, count = 0;
        int length = 0, distance = 0;
        if (i + 3 < N) {
            uint32_t h = hash(data + i);
            int candidate = head[h];
            head[h] = i;
            if (candidate >= 0 && i - candidate < 65536)
                for (distance = i - candidate; length < 255 && i + length < N && data[candidate + length] == data[i + length];)
                    length++;
        }
        if (length > 3) {
            packed[flags] |= (uint8_t)(1 << count);
            packed[out++] = (uint8_t)distance;
            packed[out++] = (uint8_t)(distance >> 8);
            packed[out++] = (uint8_t)length;
            i += length;
        } else {
            packed[out++] = data[i++];
        }
        count++;
    }
    return out;
}

static void decompress(size_t size) {
    size_t in = 0, out = 0;
    while (in < size) {
        unsigned flags = packed[in++];
        for (int k = 0; k < 8 && in < size; k++, flags >>= 1) {
            if (flags & 1) {
                size_t distance = packed[in] | (size_t)packed[in + 1] << 8;
                for (int n = packed[in + 2]; n; n--, out++) unpacked[out] = unpacked[out - distance];
                in += 3;
            } else {
                unpacked[out++] = packed[in++];
            }
        }
    }
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 13;
    for (int i = 0; i < N;) {
        uint64_t r = random64(&seed);
        if (i > 5000 && r & 1)
            for (int n = 4 + (int)(r >> 8) % 40, from = i - 1 - (int)(r >> 20 & 4095); n && i < N; n--) data[i++] = data[from++];
        else
            data[i++] = (uint8_t)("etaoin shrdlu"[(r >> 8) % 13]);
    }
    while (iterations--) {
        size_t size = compress();
        decompress(size);
        if (memcmp(data, unpacked, N)) fail("decompression");
        sum = fold(sum, size);
        data[iterations * 1000 % N] ^= 1;
    }
    return sum;
}
