/* The factor operators of the CPU backend. */
#ifndef KERNELS_CPU_CPU_FACTOR_H
#define KERNELS_CPU_CPU_FACTOR_H

#include "backend/backend_ops.h"
#include "backend/gibbs_ops.h"

reel_status cpu_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
reel_status cpu_factor_cg(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
reel_status cpu_residuals(struct backend *backend, const struct residuals_args *args, reel_error *err);
reel_status cpu_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err);
reel_status cpu_group_sweep(struct backend *backend, const struct group_sweep_args *args, reel_error *err);
reel_status cpu_group_add(struct backend *backend, const struct group_add_args *args, reel_error *err);
reel_status cpu_moments(struct backend *backend, const struct moments_args *args, reel_error *err);
reel_status cpu_gather(struct backend *backend, const struct gather_args *args, reel_error *err);
reel_status cpu_add_vectors(struct backend *backend, const struct add_vectors_args *args, reel_error *err);
reel_status cpu_pair_scores(struct backend *backend, const struct pair_scores_args *args, reel_error *err);

#endif
