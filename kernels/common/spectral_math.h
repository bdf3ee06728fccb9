/* The arithmetic of the spectral operators that must agree bit for bit between devices: every product and sum is
 * rounded by itself, so compilers must not contract them (both builds say so). */
#ifndef KERNELS_COMMON_SPECTRAL_MATH_H
#define KERNELS_COMMON_SPECTRAL_MATH_H

#include <stdint.h>
#include <string.h>

#include "kernels/common/philox.h"

/* First of n items in part `part` of `parts`; sizes are equal +-1. */
static inline REEL_HOST_DEVICE int64_t spectral_part_begin(int64_t n, int64_t parts, int64_t part) {
    const int64_t whole = n / parts, rest = n % parts;
    return part * whole + (part < rest ? part : rest);
}

/* The first row of a part where parts are whole tiles of `tile` rows; at most n. */
static inline REEL_HOST_DEVICE int64_t spectral_tile_part_begin(int64_t n, int64_t tile, int64_t parts, int64_t part) {
    const int64_t row = spectral_part_begin((n + tile - 1) / tile, parts, part) * tile;
    return row < n ? row : n;
}

/* exp(x) for x <= 0 to about 1 ulp (1e-308 below -708): x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor series of
 * e^r to the 13th power (next term 4e-18), times 2^n put together in the exponent bits. */
static inline REEL_HOST_DEVICE double spectral_exp(double x) {
    const double shifter = 6755399441055744.0; /* 1.5 * 2^52: its sum's low bits are the rounded integer */
    if (x < -708) x = -708;
    const double t = x * 1.4426950408889634 + shifter, n = t - shifter;
    const double r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
    double sum = 1.0 / 6227020800;
    sum = sum * r + 1.0 / 479001600;
    sum = sum * r + 1.0 / 39916800;
    sum = sum * r + 1.0 / 3628800;
    sum = sum * r + 1.0 / 362880;
    sum = sum * r + 1.0 / 40320;
    sum = sum * r + 1.0 / 5040;
    sum = sum * r + 1.0 / 720;
    sum = sum * r + 1.0 / 120;
    sum = sum * r + 1.0 / 24;
    sum = sum * r + 1.0 / 6;
    sum = sum * r + 0.5;
    sum = sum * r + 1.0;
    sum = sum * r + 1.0;
    int64_t bits, shift;
    memcpy(&bits, &sum, sizeof bits);
    memcpy(&shift, &t, sizeof shift);
    bits = (int64_t)((uint64_t)bits + ((uint64_t)shift << 52));
    memcpy(&sum, &bits, sizeof sum);
    return sum;
}

/* value^degree as a chain of products, degree >= 1. */
static inline REEL_HOST_DEVICE double spectral_power(double value, int degree) {
    double power = value;
    for (int p = 1; p < degree; p++) power *= value;
    return power;
}

#endif
