/* The inner loops of top-N scoring, one set a SIMD level; all sets follow the order of sums that
 * backend/topk_ops.h lays down. */
#ifndef KERNELS_CPU_TOPK_KERNELS_H
#define KERNELS_CPU_TOPK_KERNELS_H

#include <stdint.h>
#include "backend/topk_ops.h"
#include "core/doctor.h"

enum { TOPK_TILE = 12 }; /* users a tile: 12 x 2 accumulators fill the AVX-512 register file */

struct topk_kernels {
    /* Scores of TOPK_TILE users, factors (k, TOPK_TILE), for one panel (k, TOPK_PANEL): writes scores
     * (TOPK_TILE, TOPK_PANEL), and hits (TOPK_TILE,): bit j = movie j's score is not below floors[u] (never for
     * NaN). `bias` (TOPK_PANEL,), `base` and `floors` (TOPK_TILE,). */
    void (*tile)(int k, const float *panel, const float *bias, const float *users, const float *base,
                 const float *floors, float *scores, uint32_t *hits);
    /* Scores (TOPK_PANEL,) of one user, factors (k,). */
    void (*row)(int k, const float *panel, const float *bias, const float *user, float base, float *scores);
};

/* NULL for a level that was not compiled in. */
const struct topk_kernels *topk_kernels(enum simd_level level);

extern const struct topk_kernels topk_kernels_avx2, topk_kernels_avx512;

#endif
