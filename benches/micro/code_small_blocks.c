// group: code generation
// Many functions of three instructions, rewritten and called: translation of short blocks, and finding out that code changed.
#define ITERATIONS 8
#include "micro.h"

#define PAGES 16
#define FUNCTIONS (PAGES * PAGE / 16)

static void prepare(void) {}

static uint64_t work(uint64_t iterations) {
    volatile uint32_t *code = (uint32_t *)FREE;
    uint64_t checksum = 0;
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t sum = 0, expected = 0;
        for (uint64_t f = 0; f < FUNCTIONS; f++) {
            uint32_t value = (f * 7 + i * 13) & 0xffff;
            code[f * 4] = 0x52800000 | value << 5;  /* mov w0, #value */
            code[f * 4 + 1] = 0x0b010000;           /* add w0, w0, w1 */
            code[f * 4 + 2] = 0xd65f03c0;           /* ret */
            expected += value + (uint32_t)f;
        }
        publish_code(FREE, PAGES * PAGE);
        for (uint64_t f = 0; f < FUNCTIONS; f++) {
            register uint64_t w0 __asm__("x0"), w1 __asm__("x1") = f;
            __asm__ volatile("blr %1" : "=r"(w0) : "r"(FREE + f * 16), "r"(w1) : "x30", "memory");
            sum += w0;
        }
        expect(sum, expected, "the old code ran");
        checksum = mix(checksum, sum);
    }
    return checksum;
}
