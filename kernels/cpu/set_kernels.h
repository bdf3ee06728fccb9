/* The inner loops of set_sweep over one row's ratings, a block of dimensions at a time. All give the same bits. */
#ifndef KERNELS_CPU_SET_KERNELS_H
#define KERNELS_CPU_SET_KERNELS_H

#include <stdint.h>

#include "core/doctor.h"

enum { SET_BLOCK = 8 };

/* residual_i -= <change, x of column_i>, with x (n_columns, SET_BLOCK) and change (SET_BLOCK,). */
typedef void (*set_take_changes_fn)(const float *x, const float *change, const int32_t *columns, int64_t n,
                                    float *residual);
/* g (SET_BLOCK, SET_BLOCK) = sum x x^T and e (SET_BLOCK,) = sum residual x, rating by rating, fused. */
typedef void (*set_sum_row_fn)(const float *x, const float *residual, const int32_t *columns, int64_t n, float *g,
                               float *e);

void set_take_changes_generic(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual);
void set_take_changes_avx2(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual);
void set_sum_row_generic(const float *x, const float *residual, const int32_t *columns, int64_t n, float *g, float *e);
void set_sum_row_avx2(const float *x, const float *residual, const int32_t *columns, int64_t n, float *g, float *e);

#endif
