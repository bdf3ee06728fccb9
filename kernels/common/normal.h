/* Normal variates from Philox words by the method of Box and Muller ("A note on the generation of random normal
 * deviates", 1958) in single precision. log, sin and cos are written out in sums, products and square roots, which IEEE
 * 754 rounds in one way only: the bits are the same on every host, device and vector width.
 *
 * The polynomials have least relative error on their intervals (found by Remez exchange): 2^-25 for log, 2^-28 for sin,
 * 2^-34 for cos. With rounding, radius, cos and sin are each within 1.8e-7 of themselves and a variate within 5e-7 of
 * what exact functions make of the same words (tests/ops/test_normal.c). Radii come from 31 bits and reach sqrt(64 ln
 * 2) = 6.66; beyond lie 3e-11 of a normal. */
#ifndef KERNELS_COMMON_NORMAL_H
#define KERNELS_COMMON_NORMAL_H

#include <math.h>
#include <string.h>

#include "kernels/common/philox.h"

static inline REEL_HOST_DEVICE uint32_t normal_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline REEL_HOST_DEVICE float normal_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* sqrt(-2 ln u) for u = (word | 1) / 2^32. Choices are made with masks, so that loops over it vectorise. */
static inline REEL_HOST_DEVICE float normal_radius(uint32_t word) {
    /* u - 1 in [-1/2, 0) or u in (0, 1/2], to a relative 2^-24 */
    const float scaled = (float)(int32_t)(word | 1) * (1.0f / 4294967296.0f);
    const uint32_t bits = normal_bits(scaled), upper = 0u - (bits >> 31);
    const float mantissa = normal_float((bits & 0x007fffffu) | 0x3f000000u);
    /* u = (1 - below) 2^-halvings with below in [0, 1/2]: all terms of -2 ln u are positive */
    const float below = normal_float((upper & bits & 0x7fffffffu) | (~upper & normal_bits(1.0f - mantissa)));
    const int32_t halvings = (int32_t)(~upper & (126 - (bits >> 23)));
    float sum = 2.882216f;
    sum = sum * below - 3.3916242f;
    sum = sum * below + 2.5153399f;
    sum = sum * below - 0.407078f;
    sum = sum * below + 0.5392255f;
    sum = sum * below + 0.48561016f;
    sum = sum * below + 0.66740125f;
    sum = sum * below + 0.9999857f;
    sum = sum * below + 2.0f;
    return sqrtf((float)halvings * 1.3862944f + sum * below);
}

/* radius times cos and sin of 2 pi (word + 1/2) / 2^32. */
static inline REEL_HOST_DEVICE void normal_turn(uint32_t word, float radius, float *by_cos, float *by_sin) {
    /* the nearest quarter turn, and the rest in (-1, 1) eighths of a turn */
    const uint32_t quarter = (word + 0x20000000u) >> 30;
    const int32_t rest = (int32_t)(word - (quarter << 30));
    const float x = (float)(2 * rest + 1) * (1.0f / 1073741824.0f), z = x * x;
    float c = 3.5287617e-6f, s = -3.5950452e-5f;
    c = c * z - 3.259365e-4f;
    c = c * z + 0.015854323f;
    c = c * z - 0.30842513f;
    c = c * z + 1.0f;
    s = s * z + 0.002490001f;
    s = s * z - 0.080745436f;
    s = (s * z + 0.7853982f) * x;
    const uint32_t swap = (normal_bits(c) ^ normal_bits(s)) & (0u - (quarter & 1));
    const uint32_t cos_sign = ((quarter + 1) & 2) << 30, sin_sign = (quarter & 2) << 30;
    *by_cos = radius * normal_float(normal_bits(c) ^ swap ^ cos_sign);
    *by_sin = radius * normal_float(normal_bits(s) ^ swap ^ sin_sign);
}

/* Four independent N(0, 1) values of block `index` of `stream`. */
static inline REEL_HOST_DEVICE void philox_normals(uint64_t seed, uint64_t stream, uint64_t index, float out[4]) {
    const struct philox4 words = philox_block(seed, stream, index);
    for (int pair = 0; pair < 2; pair++)
        normal_turn(words.v[2 * pair + 1], normal_radius(words.v[2 * pair]), &out[2 * pair], &out[2 * pair + 1]);
}

#endif
