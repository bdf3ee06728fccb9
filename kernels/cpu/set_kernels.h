/* The inner loops of set_sweep, a block of SET_BLOCK dimensions at a time. All sets of them give the same bits.
 * Vectors v (., SET_BLOCK) and matrices (., SET_BLOCK, SET_BLOCK) lie densely; matrices are symmetric. */
#ifndef KERNELS_CPU_SET_KERNELS_H
#define KERNELS_CPU_SET_KERNELS_H

#include <stdint.h>

#include "backend/gibbs_ops.h"

enum { SET_BLOCK = SET_SWEEP_BLOCK, SET_MATRIX = SET_BLOCK * SET_BLOCK, SET_LANES = 16 };

/* SET_LANES columns side by side, from the sums over their rows to the draw; dimensions past the last one have a
 * prior of mean 0 and precision 1, and zeros. */
struct set_columns {
    float alpha, prior_mean[SET_BLOCK], prior_precision[SET_BLOCK];
    float sum[SET_LANES][SET_MATRIX];  /* sum_r h_r */
    float y[SET_BLOCK][SET_LANES];     /* the features as they are */
    float noise[SET_BLOCK][SET_LANES]; /* N(0, 1) */
    float *gain;                       /* (SET_LANES, SET_BLOCK, SET_BLOCK) out: alpha / precision */
    float *shift;                      /* (SET_LANES, SET_BLOCK) out: the draw's change where sum_r q_r = 0 */
};

struct set_kernels {
    /* out = sum of vectors[index_i]: four running sums. */
    void (*sum_vectors)(const float *vectors, const int32_t *index, int64_t n, float *out);
    /* out = sum of matrices[index_i]. */
    void (*sum_matrices)(const float *matrices, const int32_t *index, int64_t n, float *out);
    /* gram = weight sum x x^T over the vectors x of `columns`: two running sums. */
    void (*gram)(const float *x, const int32_t *columns, int64_t n, float weight, float *gram);
    /* out = weight sum residual_i x: four running sums. */
    void (*products)(const float *x, const float *residual, const int32_t *columns, int64_t n, float weight,
                     float *out);
    /* residual_i -= <change, x of column_i>. */
    void (*take_changes)(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual);
    void (*solve_columns)(const struct set_columns *columns);
    /* change += gain sum_r q_r, and q_r -= h_r change, over the `rows` of one column. */
    void (*draw_column)(float *q, const float *h, const int32_t *rows, int64_t n, const float *gain, float *change);
};

extern const struct set_kernels set_kernels_generic, set_kernels_avx2, set_kernels_avx512;

#endif
