/* The spectral operators of the CPU backend. */
#ifndef KERNELS_CPU_CPU_SPECTRAL_H
#define KERNELS_CPU_CPU_SPECTRAL_H

#include "backend/backend_ops.h"
#include "backend/spectral_ops.h"

reel_status cpu_affinity_apply(struct backend *backend, const struct affinity_args *args, reel_error *err);
reel_status cpu_block_dot(struct backend *backend, const struct block_dot_args *args, reel_error *err);
reel_status cpu_block_update(struct backend *backend, const struct block_update_args *args, reel_error *err);
reel_status cpu_block_scale(struct backend *backend, const struct block_scale_args *args, reel_error *err);
reel_status cpu_eigen_symmetric(struct backend *backend, const struct eigen_symmetric_args *args, reel_error *err);
reel_status cpu_kmeans_assign(struct backend *backend, const struct kmeans_assign_args *args, reel_error *err);

#endif
