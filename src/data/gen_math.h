/* Numbers for the twin generator. exp and log are written out here because the bytes of the twin depend on
 * them: libm's differ in the last bit from processor to processor. */
#ifndef DATA_GEN_MATH_H
#define DATA_GEN_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#include "kernels/common/philox.h"

/* exp(x) to about 3e-7 relative, x clamped to -87..88; loops over it vectorise. */
static inline float gen_exp(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float scaled = x * 1.44269504f;
    int32_t power = (int32_t)(scaled + (scaled < 0 ? -0.5f : 0.5f));
    float r = x - (float)power * 0.693359375f + (float)power * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t bits = (power + 127) * (1 << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* ln(x) for normal x > 0, to about 1e-12: x = 2^n m, ln m = 2 atanh((m-1)/(m+1)) as a series. */
static inline double gen_log(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int power = (int)(bits >> 52) - 1023;
    bits = (bits & 0xFFFFFFFFFFFFFu) | ((uint64_t)1023 << 52);
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        power++;
    }
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int k = 17; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
    return power * 0.6931471805599453 + 2 * s * sum;
}

/* exp in double, to about 1e-14, x clamped to -700..700. */
static inline double gen_exp_double(double x) {
    x = x < -700 ? -700 : x > 700 ? 700 : x;
    double scaled = x * 1.4426950408889634;
    int64_t power = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    double r = x - (double)power * 0.6931471805599453, p = 1;
    for (int k = 13; k >= 1; k--) p = 1 + p * r / k;
    int64_t bits = (power + 1023) * ((int64_t)1 << 52);
    double scale;
    memcpy(&scale, &bits, sizeof scale);
    return p * scale;
}

/* The standard normal quantile to about 1e-7: PPND7 of Wichura, "Algorithm AS 241" (Applied Statistics 37,
 * 1988). 0 < p < 1. */
static inline double gen_normal_quantile(double p) {
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double r = 0.180625 - q * q;
        return q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) /
               (((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1);
    }
    double r = sqrt(-gen_log(q < 0 ? p : 1 - p)), value;
    if (r <= 5) {
        r -= 1.6;
        value = (((0.17023821103 * r + 1.3067284816) * r + 2.7568153900) * r + 1.4234372777) /
                ((0.12021132975 * r + 0.73700164250) * r + 1);
    } else {
        r -= 5;
        value = (((0.017337203997 * r + 0.42868294337) * r + 3.0812263860) * r + 6.6579051150) /
                ((0.012258202635 * r + 0.24197894225) * r + 1);
    }
    return q < 0 ? -value : value;
}

/* What is drawn: each a Philox sub-stream of PHILOX_GEN. Add at the end, never renumber. */
enum gen_draw {
    GEN_DRAW_DEGREES,
    GEN_DRAW_CATALOGUE,
    GEN_DRAW_GENRES,
    GEN_DRAW_MOVIE,
    GEN_DRAW_USER,
    GEN_DRAW_PICKS,
    GEN_DRAW_REPAIR,
    GEN_DRAW_RATING,
    GEN_DRAW_TAGS
};

/* A sequence of words for one thing (user, movie) of one draw. */
struct gen_rng {
    uint64_t seed, stream, index;
    struct philox4 block;
    int used;
};
static inline struct gen_rng gen_rng_new(uint64_t seed, enum gen_draw draw, int64_t thing) {
    return (struct gen_rng){
        .seed = seed, .stream = philox_stream(PHILOX_GEN, (uint32_t)draw), .index = (uint64_t)thing << 32, .used = 4};
}
static inline uint32_t gen_rng_word(struct gen_rng *rng) {
    if (rng->used == 4) {
        rng->block = philox_block(rng->seed, rng->stream, rng->index++);
        rng->used = 0;
    }
    return rng->block.v[rng->used++];
}
static inline double gen_rng_uniform(struct gen_rng *rng) {
    return philox_uniform(gen_rng_word(rng));
}
static inline double gen_rng_normal(struct gen_rng *rng) {
    return gen_normal_quantile(gen_rng_uniform(rng));
}
/* Exponential with mean 1. */
static inline double gen_rng_exponential(struct gen_rng *rng) {
    return -gen_log(gen_rng_uniform(rng));
}
/* 0..n-1, 1 <= n < 2^31; the bias of at most n / 2^32 does not matter here. */
static inline int32_t gen_rng_below(struct gen_rng *rng, int32_t n) {
    return (int32_t)((uint64_t)gen_rng_word(rng) * (uint64_t)n >> 32);
}

#endif
