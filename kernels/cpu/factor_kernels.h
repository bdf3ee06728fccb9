/* The inner loops of factor_solve, one set a vector width. All sets give the same bits. */
#ifndef KERNELS_CPU_FACTOR_KERNELS_H
#define KERNELS_CPU_FACTOR_KERNELS_H

#include "core/doctor.h"
#include "kernels/cpu/factor_batch.h"

enum { FACTOR_GROUP = 16 };

struct factor_kernels {
    /* gram (dim, stride), upper triangle: += panel^T panel for a panel (n, stride). Rows are whole tiles of 16:
     * elements left of the diagonal in its tile are written too and mean nothing. */
    void (*gram)(float *gram, const float *panel, int n, int dim, int stride);
    /* Turns the upper triangle of the symmetric `a` (dim, stride) into U with a = U^T U for its leading `rank` rows
     * and columns, and the rows above `rank` of the other columns into U^-T times them. 0 when a pivot is not
     * positive and finite. */
    int (*cholesky)(float *a, int rank, int dim, int stride);
    /* <a, b> over `stride` floats: sixteen running sums by fused multiply-add, added up as a balanced tree. */
    float (*dot)(const float *a, const float *b, int stride);
    /* y += a x over `stride` floats, one fused multiply-add each. */
    void (*axpy)(float *y, float a, const float *x, int stride);
    /* dots[j] = dot(v, x[j], width) for all FACTOR_GROUP pointers. */
    void (*dots)(float *dots, const float *v, const float *const *x, int width);
    /* y += a[j] x[j] for j = 0..n-1 in order, as n calls of axpy over `width` floats. */
    void (*axpys)(float *y, const float *a, const float *const *x, int n, int width);
    const struct factor_batch_kernels *batch; /* NULL: rows are solved one after the other */
};

extern const struct factor_kernels factor_kernels_generic, factor_kernels_avx2, factor_kernels_avx512;
/* The best set this processor offers. */
const struct factor_kernels *factor_kernels_choose(void);

#endif
