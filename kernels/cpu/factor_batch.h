/* Solving rows side by side, one a lane of a vector: the many small systems of factor_solve cost a fraction of what
 * they cost one after the other, whose steps wait for each other. Every element sees the operations of the plain loops
 * in factor_solve.c in their order, so the bits are the same. */
#ifndef KERNELS_CPU_FACTOR_BATCH_H
#define KERNELS_CPU_FACTOR_BATCH_H

#include "backend/factor_ops.h"
#include "kernels/cpu/normal_lanes.h"

enum {
    FACTOR_BATCH_LANES = 16, /* at most */
    FACTOR_BATCH_PANEL = 128 /* longest rows that `sum` takes */
};

/* What the batches of one call share. */
struct factor_batch_shape {
    const struct factor_solve_args *args;
    int solved;         /* d */
    int pitch;          /* columns of a matrix: d, the right-hand side, zeros up to a whole tile */
    int weighted;       /* 0: all weights are 1 */
    const float *prior; /* (pitch, pitch) prior_precision, then zeros */
    const float *root;  /* likewise prior_root, with noise */
    float noise_scale;  /* of a target's noise */
    normal_lanes_fn normals;
};

/* Element (i, c), c >= i, of lane l's matrix is matrix[(i * pitch + c) * lanes + l]; those left of the diagonal mean
 * nothing. Lanes from n on are idle. */
struct factor_batch {
    const struct factor_batch_shape *shape;
    const int32_t *rows; /* (n,) */
    int n, perturbed;    /* 1: the rows' noise is on the right (backend/factor_ops.h) */
    float *matrix;       /* (pitch, pitch, lanes) */
    float *panel;        /* (FACTOR_BATCH_PANEL, pitch, lanes) scratch of `sum` */
};

struct factor_batch_kernels {
    int lanes, tile;
    /* matrix = the Gram matrices of the rows' ratings, at most FACTOR_BATCH_PANEL each. */
    void (*sum)(const struct factor_batch *batch);
    /* matrix = grams, each (d + 1, stride) as struct factor_kernels has them, one after the other. */
    void (*collect)(const struct factor_batch *batch, const float *grams);
    /* From Gram matrices to solutions: writes the rows' vectors. Bit l of the result: lane l's matrix was not positive
     * definite, and its vector is left alone. */
    uint32_t (*solve)(const struct factor_batch *batch);
};

extern const struct factor_batch_kernels factor_batch_avx2, factor_batch_avx512;

#endif
