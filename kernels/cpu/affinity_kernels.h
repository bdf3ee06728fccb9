/* The inner loops of the spectral operators, one set a vector width. All sets do the same sums in the same order
 * (products and sums are rounded one by one), so they give the same bits. */
#ifndef KERNELS_CPU_AFFINITY_KERNELS_H
#define KERNELS_CPU_AFFINITY_KERNELS_H

#include <stdint.h>

#include "backend/spectral_ops.h"

enum {
    AFFINITY_ROWS = SPECTRAL_TILE
}; /* rows of a tile, which is stored feature by feature with its rows side by side */

struct affinity_kernels {
    /* z (n_monomials, AFFINITY_ROWS) of the tile x (d, AFFINITY_ROWS). */
    void (*monomials)(const struct affinity_args *args, const double *x, double *z);
    /* sums (n_monomials, SPECTRAL_BLOCK) += z v for v (AFFINITY_ROWS, SPECTRAL_BLOCK). */
    void (*collect)(const double *z, const double *v, int64_t n_monomials, double *sums);
    /* out (AFFINITY_ROWS, SPECTRAL_BLOCK) = z^T sums. */
    void (*spread)(const double *z, const double *sums, int64_t n_monomials, double *out);
    /* out (SPECTRAL_BLOCK,) += sum_j K(x, y_j) v_j for one row x (d,) and a tile y (d, AFFINITY_ROWS). */
    void (*tile)(const struct affinity_args *args, const double *x, const double *y, const double *v, double *out);
    /* out (m, SPECTRAL_BLOCK) += a^T b over n rows. */
    void (*dot)(const double *a, int64_t a_ld, int m, const double *b, int64_t n, double *out);
    /* out (SPECTRAL_BLOCK,) = beta out + alpha a c for a (m,), c (m, SPECTRAL_BLOCK). */
    void (*update)(const double *a, const double *c, int m, double alpha, double beta, double *out);
};

extern const struct affinity_kernels affinity_kernels_generic, affinity_kernels_avx2, affinity_kernels_avx512;

#endif
