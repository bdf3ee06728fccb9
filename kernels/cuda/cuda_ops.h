/* The operators of the CUDA backend, for its table. Each mirrors the file of the same name in kernels/cpu, which is
 * its specification; docs/gpu.md says how each is laid out and what it should cost. */
#ifndef KERNELS_CUDA_CUDA_OPS_H
#define KERNELS_CUDA_CUDA_OPS_H

#include "backend/backend_ops.h"

/* factor_solve.cu. Waits, since it answers for matrices that are not positive definite. */
reel_status cuda_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
/* factor_cg.cu. Waits too. */
reel_status cuda_factor_cg(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
/* gibbs.cu */
reel_status cuda_residuals(struct backend *backend, const struct residuals_args *args, reel_error *err);
reel_status cuda_group_sweep(struct backend *backend, const struct group_sweep_args *args, reel_error *err);
reel_status cuda_group_add(struct backend *backend, const struct group_add_args *args, reel_error *err);
reel_status cuda_moments(struct backend *backend, const struct moments_args *args, reel_error *err);
reel_status cuda_gather(struct backend *backend, const struct gather_args *args, reel_error *err);
reel_status cuda_add_vectors(struct backend *backend, const struct add_vectors_args *args, reel_error *err);
reel_status cuda_pair_scores(struct backend *backend, const struct pair_scores_args *args, reel_error *err);
/* residuals for a part of the ratings, as several devices share them: they are cut in CUDA_RESIDUAL_PARTS parts, part p
 * from rating cuda_residual_begin(n, p) on. sums (n_parts,) host = the sums of squares of parts first .. first +
 * n_parts - 1; residuals adds those of all parts in order. Waits. */
enum { CUDA_RESIDUAL_PARTS = 1024 };
int64_t cuda_residual_begin(int64_t n, int part);
reel_status cuda_residual_parts(struct backend *backend, const struct residuals_args *args, int first, int n_parts,
                                double *sums, reel_error *err);
/* set_sweep.cu. Waits for the number of ratings. */
reel_status cuda_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err);
/* sgd_epoch.cu */
reel_status cuda_sgd_epoch(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err);
/* topk_users.cu. There is no score_movies: a single request is too small to be worth the way. */
reel_status cuda_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err);
/* predict_pairs.cu */
reel_status cuda_predict_pairs(struct backend *backend, const struct predict_pairs_args *args, reel_error *err);
/* forest_score.cu. There is no forest_movies, likewise. */
reel_status cuda_forest_topk(struct backend *backend, const struct forest_topk_args *args, reel_error *err);
reel_status cuda_forest_pairs(struct backend *backend, const struct forest_pairs_args *args, reel_error *err);
/* tree_sums.cu */
reel_status cuda_tree_order(struct backend *backend, const struct tree_order_args *args, reel_error *err);
reel_status cuda_tree_sums(struct backend *backend, struct tree_sums_args *args, reel_error *err);
/* tree_splits.cu */
reel_status cuda_tree_splits(struct backend *backend, const struct tree_splits_args *args, reel_error *err);
reel_status cuda_tree_bits(struct backend *backend, const struct tree_bits_args *args, reel_error *err);
/* affinity.cu */
reel_status cuda_affinity_apply(struct backend *backend, const struct affinity_args *args, reel_error *err);
reel_status cuda_block_dot(struct backend *backend, const struct block_dot_args *args, reel_error *err);
reel_status cuda_block_update(struct backend *backend, const struct block_update_args *args, reel_error *err);
reel_status cuda_block_scale(struct backend *backend, const struct block_scale_args *args, reel_error *err);
reel_status cuda_kmeans_assign(struct backend *backend, const struct kmeans_assign_args *args, reel_error *err);
/* eigen_symmetric.cu */
reel_status cuda_eigen_symmetric(struct backend *backend, const struct eigen_symmetric_args *args, reel_error *err);

#endif
