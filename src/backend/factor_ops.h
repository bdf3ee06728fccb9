/* Arguments of `factor_solve`: one half-step of alternating least squares or of a Gibbs sampler, for users
 * or, with the arguments swapped, for movies.
 *
 * Every entity (user or movie) has a vector of `stride` floats: k factors, its bias at index k, then zeros.
 * With d = k + 1 (or k without biases), x_c = (factors of column c, 1) and t the target of a rating, row r gets
 *
 *     A = alpha * sum_c w x_c x_c^T + prior_precision + ridge_per_rating * n_r * I
 *     b = alpha * sum_c w (t - <x_c, offset_r>) x_c + prior_shift
 *     solution = A^-1 b                 (noise off: the least-squares solution, or the conditional mean)
 *              = A^-1 b + U^-1 z        (noise on: a draw from N(A^-1 b, A^-1); A = U^T U, U upper triangular)
 *              = A^-1 (b + sqrt(alpha) sum_c sqrt(w) e_c x_c + R^T z)    (the same for a short row)
 *
 * with z (d,) and e (n_r,) standard normal variates from Philox. A short row's noise is put on the prior and on the
 * targets (Papandreou and Yuille, "Gaussian sampling by local perturbations", NIPS 2010): its covariance on the right
 * is A, so the draw's is A^-1, and the draw is the solution of a system, however that is solved. A device solves it in
 * n_r unknowns where these are fewer: in coordinates y = R x the prior's precision is I, and with w_c = R^-T x_c, the
 * matrix W of rows w_c, the diagonal matrix S of the sqrt(w) and the targets t, the solution for a prior mean g, which
 * has the prior's noise in it, is
 *
 *     y = g + W^T S u,    (I / alpha + S W W^T S) u = S (t - W g) + e / sqrt(alpha)
 *
 * (the matrix inversion lemma; Golub and Van Loan, 2.1.4).
 *
 * A is accumulated rating by rating in row order, in chunks of FACTOR_CHUNK ratings whose sums are added in
 * order; every add is one fused multiply-add on its own matrix element. So the bits do not depend on vector
 * width or thread count. CUDA adds by tensor cores in another fixed order: single precision, not the same bits
 * (kernels/cuda/mma.h).
 *
 * The normal equations carry b as one more row of the Gram matrix: the Cholesky factor of [A b; b^T c] holds
 * L^-1 b in that row, so the forward substitution comes free (Golub and Van Loan, Matrix Computations, 4.2).
 *
 * `factor_cg` takes the same arguments and makes `cg_steps` steps of conjugate gradients on A x = b from what
 * row_vectors holds (Takacs, Pilaszy and Tikk, "Applications of the conjugate gradient method for implicit feedback
 * collaborative filtering", RecSys 2011): O(n k + rows k^2) a step where the exact solution costs O(n k^2 + rows k^3).
 * Without noise and row_offsets. Sums run over a row's ratings in order: the same bits at any thread count and vector
 * width. */
#ifndef BACKEND_FACTOR_OPS_H
#define BACKEND_FACTOR_OPS_H

#include <stdint.h>
#include <reel/status.h>

enum {
    FACTOR_K_MAX = 256,
    FACTOR_LANES = 16,     /* vectors are padded to a multiple of this */
    FACTOR_CHUNK = 8192,   /* ratings whose Gram sums are added in one go; part of the result's definition */
    FACTOR_VALUES = 11,    /* half-star values 0..10 */
    FACTOR_SHORT_MAX = 128 /* ratings of a short row, however many unknowns */
};

/* Ratings of the longest short row, for d unknowns. */
static inline int factor_short_row(int d) {
    return 3 * d / 4 < FACTOR_SHORT_MAX ? 3 * d / 4 : FACTOR_SHORT_MAX;
}

/* Which value of a row's noise is e_0, for d unknowns. */
static inline int factor_target_noise(int d) {
    return (d + 3) / 4 * 4;
}

/* Floats from one entity's vector to the next: room for k factors, the bias and the target. */
static inline int factor_stride(int k) {
    return (k + 2 + FACTOR_LANES - 1) / FACTOR_LANES * FACTOR_LANES;
}

struct factor_solve_args {
    int k, stride; /* stride = factor_stride(k); 1 <= k <= FACTOR_K_MAX */
    int biases;    /* 1: solve for the bias too (d = k + 1); 0: d = k, index k is left alone */
    int32_t n_rows, n_columns;
    int32_t first_row;            /* number of row 0, for the noise and errors: > 0 for a part of all rows */
    const int64_t *offsets;       /* (n_rows + 1,) (dev) ratings of row r: offsets[r] .. offsets[r+1]-1 */
    const int32_t *columns;       /* (n,) (dev) column entity of each rating */
    const uint8_t *ratings;       /* (n,) (dev) half stars */
    const float *residual;        /* (n,) (dev) subtracted from the target of each rating, or NULL */
    float value[FACTOR_VALUES];   /* target of a half-star value, before the column's bias is taken off */
    float weight[FACTOR_VALUES];  /* square root of w for a half-star value; all 1 for unweighted */
    const float *column_vectors;  /* (n_columns, stride) (dev) */
    const float *row_offsets;     /* (n_rows, stride) (dev) fixed part of each row's vector, or NULL */
    float alpha;                  /* > 0 */
    float ridge_per_rating;       /* >= 0; 0 with noise */
    const float *prior_precision; /* (d, stride) host, symmetric; added to A */
    const float *prior_root;  /* (d, stride) host, R: lower triangular, prior_precision = R^T R. NULL without noise, if
                                 there is none at hand */
    const float *prior_shift; /* (d,) host; added to b */
    int noise;                /* 1: sample */
    uint64_t seed, stream;    /* Philox key and stream; z_i is value i of the row's noise, e_i is value
                                 factor_target_noise(d) + i, in block (first_row + row) * 128 + value / 4 */
    int cg_steps;             /* factor_cg: >= 1 */
    float *row_vectors;       /* (n_rows, stride) (dev) out; an entity without ratings gets its prior's */
};

#ifdef __cplusplus
extern "C" {
#endif

/* INTERNAL if noise lacks what it needs. */
reel_status factor_solve_check(const struct factor_solve_args *args, reel_error *err);

#ifdef __cplusplus
}
#endif

#endif
