/* The inner loops of forest scoring, one set a SIMD level. Sums are of integers, so all sets give the same bits. */
#ifndef KERNELS_CPU_FOREST_KERNELS_H
#define KERNELS_CPU_FOREST_KERNELS_H

#include "backend/tree_ops.h"
#include "core/doctor.h"

struct forest_kernels {
    /* Adds `value` to the cells (64 words,) of `table` whose bits are set. */
    void (*add_set)(int32_t *table, const uint64_t *set, int64_t words, int32_t value);
    /* Brings the filled tables (cells,) of one user into the form that `block` reads, in place; NULL = they are. */
    void (*pack)(const struct forest_plan *plan, int32_t *tables);
    /* Scores (FOREST_BLOCK,) of movies first .. first + FOREST_BLOCK - 1 from one user's tables. */
    void (*block)(const struct forest_plan *plan, const int32_t *tables, int64_t first, float *scores);
};

/* NULL for a level that was not compiled in. */
const struct forest_kernels *forest_kernels(enum simd_level level);

extern const struct forest_kernels forest_kernels_avx2, forest_kernels_avx512;

#endif
