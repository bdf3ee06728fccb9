/* The loops behind affinity_kernels, written once in vectors of eight doubles, which the compiler splits to fit the
 * instructions it may use. Included by one file a vector width. */
#ifndef KERNELS_CPU_AFFINITY_LOOPS_H
#define KERNELS_CPU_AFFINITY_LOOPS_H

#include <string.h>

#include "kernels/cpu/affinity_kernels.h"

typedef double eight __attribute__((vector_size(64)));
typedef int64_t eight_int __attribute__((vector_size(64)));

static inline eight load_eight(const double *from) {
    eight value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_eight(double *to, eight value) {
    memcpy(to, &value, sizeof value);
}

static inline eight all_eight(double value) {
    return (eight){value, value, value, value, value, value, value, value};
}

/* exp(x) for x <= 0 to about 1 ulp (1e-308 below -708): x = n ln 2 + r with |r| <= ln 2 / 2, the Taylor series of
 * e^r to the 13th power (next term 4e-18), times 2^n put together in the exponent bits. */
static inline eight exp_eight(eight x) {
    const double shifter = 6755399441055744.0; /* 1.5 * 2^52: its sum's low bits are the rounded integer */
    eight least = all_eight(-708);
    eight_int below = x < least;
    x = (eight)(((eight_int)least & below) | ((eight_int)x & ~below));
    eight t = x * 1.4426950408889634 + shifter;
    eight n = t - shifter;
    eight r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10;
    static const double inverse_factorials[] = {
        1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
        1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       0.5,          1.0,         1.0};
    eight sum = all_eight(inverse_factorials[0]);
    for (int i = 1; i < 14; i++) sum = sum * r + inverse_factorials[i];
    return (eight)((eight_int)sum + (((eight_int)t) << 52));
}

static void loop_monomials(const struct affinity_args *args, const double *x, double *z) {
    for (int r = 0; r < AFFINITY_ROWS; r++) z[r] = 1;
    for (int64_t f = 1; f < args->n_monomials; f++) {
        const double *parent = z + (int64_t)args->monomials[f].parent * AFFINITY_ROWS;
        const double *variable = x + (int64_t)args->monomials[f].variable * AFFINITY_ROWS;
        for (int r = 0; r < AFFINITY_ROWS; r += 8)
            store_eight(z + f * AFFINITY_ROWS + r, load_eight(parent + r) * load_eight(variable + r));
    }
}

static void loop_collect(const double *z, const double *v, int64_t n_monomials, double *sums) {
    int64_t f = 0;
    for (; f + 4 <= n_monomials; f += 4) {
        eight sum[4];
        for (int i = 0; i < 4; i++) sum[i] = load_eight(sums + (f + i) * SPECTRAL_BLOCK);
        for (int r = 0; r < AFFINITY_ROWS; r++) {
            eight value = load_eight(v + r * SPECTRAL_BLOCK);
            for (int i = 0; i < 4; i++) sum[i] += z[(f + i) * AFFINITY_ROWS + r] * value;
        }
        for (int i = 0; i < 4; i++) store_eight(sums + (f + i) * SPECTRAL_BLOCK, sum[i]);
    }
    for (; f < n_monomials; f++) {
        eight sum = load_eight(sums + f * SPECTRAL_BLOCK);
        for (int r = 0; r < AFFINITY_ROWS; r++) sum += z[f * AFFINITY_ROWS + r] * load_eight(v + r * SPECTRAL_BLOCK);
        store_eight(sums + f * SPECTRAL_BLOCK, sum);
    }
}

static void loop_spread(const double *z, const double *sums, int64_t n_monomials, double *out) {
    for (int row = 0; row < AFFINITY_ROWS; row += 8) {
        eight total[8] = {{0}};
        for (int64_t f = 0; f < n_monomials; f++) {
            eight value = load_eight(sums + f * SPECTRAL_BLOCK);
            for (int r = 0; r < 8; r++) total[r] += z[f * AFFINITY_ROWS + row + r] * value;
        }
        for (int r = 0; r < 8; r++) store_eight(out + (row + r) * SPECTRAL_BLOCK, total[r]);
    }
}

/* K of eight columns, given the products or the squared distances. */
static inline eight kernel_eight(const struct affinity_args *args, eight value) {
    if (args->kind == AFFINITY_RBF) return exp_eight(-args->gamma * value);
    if (args->kind != AFFINITY_POLYNOMIAL) return value;
    eight base = args->gamma * value + args->coef0, power = base;
    for (int p = 1; p < args->degree; p++) power *= base;
    return power;
}

static void loop_tile(const struct affinity_args *args, const double *x, const double *y, const double *v,
                      double *out) {
    const int distances = args->kind == AFFINITY_RBF;
    eight total = load_eight(out);
    for (int c = 0; c < AFFINITY_ROWS; c += 8) {
        eight sum = {0};
        for (int f = 0; f < args->d; f++) {
            eight other = load_eight(y + f * AFFINITY_ROWS + c);
            if (distances) {
                eight difference = x[f] - other;
                sum += difference * difference;
            } else
                sum += x[f] * other;
        }
        eight value = kernel_eight(args, sum);
        for (int l = 0; l < 8; l++) total += value[l] * load_eight(v + (c + l) * SPECTRAL_BLOCK);
    }
    store_eight(out, total);
}

static void loop_dot(const double *a, int64_t a_ld, int m, const double *b, int64_t n, double *out) {
    for (int64_t row = 0; row < n; row++) {
        eight value = load_eight(b + row * SPECTRAL_BLOCK);
        for (int i = 0; i < m; i++)
            store_eight(out + i * SPECTRAL_BLOCK, load_eight(out + i * SPECTRAL_BLOCK) + a[row * a_ld + i] * value);
    }
}

static void loop_update(const double *a, const double *c, int m, double alpha, double beta, double *out) {
    eight sum = {0};
    for (int i = 0; i < m; i++) sum += a[i] * load_eight(c + i * SPECTRAL_BLOCK);
    eight old = beta == 0 ? all_eight(0) : beta * load_eight(out);
    store_eight(out, old + alpha * sum);
}

#define AFFINITY_LOOPS \
    { loop_monomials, loop_collect, loop_spread, loop_tile, loop_dot, loop_update }

#endif
