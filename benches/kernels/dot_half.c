// group: fp
// flags: -O3
// Dot products of half-precision numbers, accumulated in single precision: FMLAL, which widens, multiplies and adds, where
// there is FEAT_FHM. A product of two halves is exact in single precision, so that a multiplication and an addition
// round as the fused operation does.
#define ITERATIONS 60000
#include "bench.h"

#define N 4096
// Sums that are independent of each other.
#define SUMS 16

static uint16_t x[N], y[N];
static float single[1 << 16];

static void portable(float sums[SUMS]) {
    for (int i = 0; i < N; i += SUMS)
        for (int j = 0; j < SUMS; j++) sums[j] += single[x[i + j]] * single[y[i + j]];
}

#ifdef __aarch64__
#include <arm_neon.h>
#include <sys/auxv.h>

#ifndef HWCAP_ASIMDFHM
#define HWCAP_ASIMDFHM (1 << 23)
#endif

__attribute__((target("arch=armv8.2-a+fp16fml"))) static void widening(float sums[SUMS]) {
    float32x4_t s[4];
    for (int k = 0; k < 4; k++) s[k] = vld1q_f32(sums + 4 * k);
    for (int i = 0; i < N; i += SUMS) {
        for (int k = 0; k < 2; k++) {
            float16x8_t a = vreinterpretq_f16_u16(vld1q_u16(x + i + 8 * k));
            float16x8_t b = vreinterpretq_f16_u16(vld1q_u16(y + i + 8 * k));
            s[2 * k] = vfmlalq_low_f16(s[2 * k], a, b);
            s[2 * k + 1] = vfmlalq_high_f16(s[2 * k + 1], a, b);
        }
    }
    for (int k = 0; k < 4; k++) vst1q_f32(sums + 4 * k, s[k]);
}

static void product(float sums[SUMS]) {
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDFHM)
        widening(sums);
    else
        portable(sums);
}
#else
static void product(float sums[SUMS]) { portable(sums); }
#endif

// A half, below 8, as likely in each binade; subnormal ones are among them.
static uint16_t half(uint64_t random) {
    uint16_t exponent = (uint16_t)((random >> 16) % 18);
    return (uint16_t)((random & 0x83ff) | exponent << 10);
}

static float widened(uint16_t h) {
    uint32_t exponent = h >> 10 & 31, fraction = h & 0x3ff;
    float magnitude = exponent ? (float)(fraction | 0x400) : (float)fraction;
    for (uint32_t e = exponent ? exponent : 1; e < 25; e++) magnitude *= 0.5f;
    return h >> 15 ? -magnitude : magnitude;
}

static uint64_t work(uint64_t iterations) {
    uint64_t seed = 24, sum = 0;
    for (int h = 0; h < 1 << 16; h++)
        if ((h >> 10 & 31) < 18) single[h] = widened((uint16_t)h);
    for (int i = 0; i < N; i++) x[i] = half(random64(&seed)), y[i] = half(random64(&seed));
    while (iterations--) {
        float sums[SUMS] = {0};
        uint32_t bits[SUMS];
        x[iterations % N] = half(random64(&seed));
        product(sums);
        memcpy(bits, sums, sizeof bits);
        for (int j = 0; j < SUMS; j++) sum = fold(sum, bits[j]);
    }
    return sum;
}
