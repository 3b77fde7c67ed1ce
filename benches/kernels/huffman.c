// group: integer
// Huffman coding: a priority queue, bit output and bit-by-bit decoding.
#define ITERATIONS 10
#include "bench.h"

#define N (1 << 19)

static uint8_t data[N], packed[2 * N];
static uint32_t code[256], weight[511];
static uint8_t code_length[256];
static int16_t child[511][2];

static void assign(int node, uint32_t bits, int length) {
    if (node < 256) {
        code[node] = bits;
        code_length[node] = (uint8_t)length;
        return;
    }
    assign(child[node][0], bits, length + 1);
    assign(child[node][1], bits | 1u << length, length + 1);
}

static int build(void) {
    int heap[512], used = 0, next = 256;
    memset(weight, 0, sizeof weight);
    for (int i = 0; i < N; i++) weight[data[i]]++;
#define LESS(a, b) (weight[a] < weight[b] || (weight[a] == weight[b] && (a) < (b)))
    for (int i = 0; i < 256; i++) {
        int at = used++;
        weight[i]++;
        for (; at && LESS(i, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
        heap[at] = i;
    }
    while (used > 1) {
        int pair[2];
        for (int k = 0; k < 2; k++) {
            pair[k] = heap[0];
            int last = heap[--used], at = 0;
            for (int c; (c = 2 * at + 1) < used; at = c) {
                if (c + 1 < used && LESS(heap[c + 1], heap[c])) c++;
                if (!LESS(heap[c], last)) break;
                heap[at] = heap[c];
            }
            heap[at] = last;
        }
        child[next][0] = (int16_t)pair[0], child[next][1] = (int16_t)pair[1];
        weight[next] = weight[pair[0]] + weight[pair[1]];
        int at = used++;
        for (; at && LESS(next, heap[(at - 1) / 2]); at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
        heap[at] = next++;
    }
    assign(next - 1, 0, 0);
    return next - 1;
}

static uint64_t work(uint64_t iterations) {
    uint64_t sum = 0, seed = 14;
    for (int i = 0; i < N; i++) {
        uint64_t r = random64(&seed);
        data[i] = (uint8_t)((r & 15) * (r >> 4 & 15));
    }
    while (iterations--) {
        int top = build();
        size_t bit = 0;
        memset(packed, 0, sizeof packed);
        for (int i = 0; i < N; i++) {
            uint32_t bits = code[data[i]];
            for (int left = code_length[data[i]]; left; left--, bit++, bits >>= 1)
                packed[bit >> 3] |= (uint8_t)((bits & 1) << (bit & 7));
        }
        size_t at = 0;
        for (int i = 0; i < N; i++) {
            int node = top;
            while (node >= 256) node = child[node][packed[at >> 3] >> (at & 7) & 1], at++;
            if (node != data[i]) fail("decoding");
        }
        sum = fold(sum, bit);
        data[iterations] ^= 85;
    }
    return sum;
}
