/* Arguments of the Gibbs sampler's smaller operators. Vectors are laid out as for factor_solve
 * (backend/factor_ops.h): k factors, the bias at index k, zeros up to `stride`. */
#ifndef BACKEND_GIBBS_OPS_H
#define BACKEND_GIBBS_OPS_H

#include "backend/factor_ops.h"

/* `residuals`: out_i = value[rating_i] - effect_i - row bias - column bias - <row factors, column factors>. Waits. */
struct residuals_args {
    int k, stride;
    int32_t n_rows;
    const int64_t *offsets;      /* (n_rows + 1,) (dev) */
    const int32_t *columns;      /* (n,) (dev) */
    const uint8_t *ratings;      /* (n,) (dev) half stars */
    float value[FACTOR_VALUES];  /* of a half-star value */
    const float *effects;        /* (n,) (dev) or NULL */
    const float *row_vectors;    /* (n_rows, stride) (dev) */
    const float *column_vectors; /* (n_columns, stride) (dev) */
    float *out;                  /* (n,) (dev), or NULL when only the sum is wanted */
    double *sum_squares;         /* host; added in a fixed order */
};

/* `set_sweep`: one Gibbs sweep over the feature vectors y_c of "the set of columns that a row rated", whose
 * weighted sum s_r = w_r sum_c y_c, w_r = 1/sqrt(n_r), is a part of row r's vector (the implicit term of SVD++,
 * Koren 2008; with rows and columns swapped the "flipped" set of Rendle, Zhang and Koren 2019). On sums a row, as in
 * libFM's relation blocks (Rendle 2013): nothing is expanded. Dimensions (k, and the bias where there is one) go in
 * blocks of SET_SWEEP_BLOCK from the first on, columns of a block one after the other, and the block's dimensions of
 * one column are drawn together (blocking: Roberts and Sahu, JRSS B 59, 1997): with the coefficients x_c of the
 * block's dimensions (1 for the bias), G_r = sum_c x_c x_c^T and e_r = sum_c residual x_c,
 *
 *     P = prior precision + alpha sum_r w_r^2 G_r        over the rows r that rated column c
 *     y_c = P^-1 (prior precision * prior mean + alpha sum_r w_r (e_r + w_r G_r y_c)) + L^-T z,   L L^T = P
 *
 * with L lower triangular and z ~ N(0, 1); e_r, s_r and the residuals follow each change. O(n k) times the block. */
enum { SET_SWEEP_BLOCK = 8 };

struct set_sweep_args {
    int k, stride, biases;
    int32_t n_rows, n_columns;
    const int64_t *offsets;        /* (n_rows + 1,) (dev) */
    const int32_t *columns;        /* (n,) (dev) */
    const int64_t *column_offsets; /* (n_columns + 1,) (dev) the same ratings by column */
    const int32_t *column_rows;    /* (n,) (dev) */
    const float *column_vectors;   /* (n_columns, stride) (dev) coefficients */
    float *features;               /* (n_columns, stride) (dev) y, resampled */
    float *row_sums;               /* (n_rows, stride) (dev) s, kept up */
    float *residual;               /* (n,) (dev) by row, kept up */
    float alpha;
    const float *prior_mean;      /* (d,) host */
    const float *prior_precision; /* (d,) host, > 0 */
    uint64_t seed, stream;        /* block index = dimension * 2^32 + column / 4 */
};

/* `group_sweep`: draws one effect a group of ratings (a user's day, a movie's month ...): with residuals that do
 * not hold the effect any more, precision = prior + alpha n_g, mean = alpha sum / precision. Residuals follow. */
struct group_sweep_args {
    int64_t n_groups;
    const int64_t *offsets;   /* (n_groups + 1,) (dev) */
    const int32_t *positions; /* (n,) (dev) ratings of each group, ascending */
    float *effects;           /* (n_groups,) (dev) resampled */
    float *residual;          /* (n,) (dev) kept up */
    float alpha, prior_precision;
    uint64_t seed, stream; /* block index = group / 4 */
};

/* `group_add`: out[position] += effect of its group, every rating once. */
struct group_add_args {
    int64_t n_groups;
    const int64_t *offsets;   /* (n_groups + 1,) (dev) */
    const int32_t *positions; /* (n,) (dev) */
    const float *effects;     /* (n_groups,) (dev) */
    float *out;               /* (n,) (dev) */
};

/* `moments`: sum (d,) and scatter sum x x^T (d, d) of n vectors, host, double, in a fixed order. Waits. */
struct moments_args {
    int d, stride;
    int64_t n;
    const float *vectors; /* (n, stride) (dev) */
    double *sum, *scatter;
};

/* `gather`: out_i = in[index_i], n floats (dev). */
struct gather_args {
    int64_t n;
    const int32_t *index; /* (n,) (dev) */
    const float *in;      /* (dev) */
    float *out;           /* (n,) (dev) */
};

/* `add_vectors`: out = a + b, n floats (dev); b may be NULL (a copy). */
struct add_vectors_args {
    int64_t n;
    const float *a, *b;
    float *out;
};

/* `pair_scores`: row bias + column bias + <row factors, column factors> of n pairs; an index of -1 drops its
 * terms. */
struct pair_scores_args {
    int k, stride;
    int64_t n;
    const int32_t *rows, *columns;             /* (n,) (dev) */
    const float *row_vectors, *column_vectors; /* (., stride) (dev) */
    float *out;                                /* (n,) (dev) */
};

#endif
