// group: code generation
// Functions of 500 instructions without a branch, rewritten and called: translation of long straight code.
#define ITERATIONS 45
#include "micro.h"

#define FUNCTIONS 32
#define LENGTH 500
#define STRIDE 2048ul

static void prepare(void) {}

static uint64_t work(uint64_t iterations) {
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        for (uint64_t f = 0; f < FUNCTIONS; f++) {
            volatile uint32_t *code = (uint32_t *)(FREE + f * STRIDE);
            for (uint64_t n = 0; n < LENGTH; n += 2) {
                code[n] = 0x91000000 | ((n + f + i) & 0xfff) << 10;  /* add x0, x0, #v */
                code[n + 1] = 0xcac00420;                            /* eor x0, x1, x0, ror #1 */
            }
            code[LENGTH] = 0xd65f03c0;                               /* ret */
        }
        publish_code(FREE, FUNCTIONS * STRIDE);
        for (uint64_t f = 0; f < FUNCTIONS; f++) {
            register uint64_t x0 __asm__("x0") = i, x1 __asm__("x1") = f;
            __asm__ volatile("blr %1" : "+r"(x0) : "r"(FREE + f * STRIDE), "r"(x1) : "x30", "memory");
            uint64_t expected = i;
            for (uint64_t n = 0; n < LENGTH; n += 2) {
                expected += (n + f + i) & 0xfff;
                expected = f ^ (expected >> 1 | expected << 63);
            }
            expect(x0, expected, "the old code ran");
            checksum = mix(checksum, x0);
        }
    }
    return checksum;
}
