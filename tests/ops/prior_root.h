/* The root that factor_solve takes besides a prior's precision. */
#ifndef TESTS_OPS_PRIOR_ROOT_H
#define TESTS_OPS_PRIOR_ROOT_H

#include <math.h>

/* root (d, stride) = R, lower triangular with precision (d, stride) = R^T R: row by row from the last one. */
static inline void prior_root(const float *precision, int d, int stride, float *root) {
    for (int r = d - 1; r >= 0; r--)
        for (int c = r; c >= 0; c--) {
            double sum = (double)precision[r * stride + c];
            for (int below = r + 1; below < d; below++)
                sum -= (double)root[below * stride + r] * (double)root[below * stride + c];
            root[r * stride + c] = (float)(c == r ? sqrt(sum) : sum / (double)root[r * stride + r]);
        }
}

#endif
