/* sgd_epoch of the CPU backend, and its inner loop at each SIMD level. */
#ifndef KERNELS_CPU_SGD_TILE_H
#define KERNELS_CPU_SGD_TILE_H

#include "backend/backend_ops.h"
#include "backend/sgd_ops.h"

reel_status cpu_sgd_epoch(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err);

/* Each visits one tile and returns its sum of squared errors. */
double sgd_tile_generic(const struct sgd_epoch_args *args, const struct sgd_tile *tile);

#if defined(__x86_64__)
double sgd_tile_avx2(const struct sgd_epoch_args *args, const struct sgd_tile *tile);
double sgd_tile_avx512(const struct sgd_epoch_args *args, const struct sgd_tile *tile);
#endif

#endif
