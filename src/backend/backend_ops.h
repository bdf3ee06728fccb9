/* The operator table: what trainers and scorers may ask of a device.
 *
 * A backend is one `static const struct backend_ops` plus its context (`struct backend` is the first
 * member of it). Each operator is one bulk step over the whole data with one argument struct; an entry
 * that is NULL is not offered. Pointers inside argument structs marked (dev) come from `alloc` of the same
 * backend; on the CPU they are plain memory. Operators return when their work is queued on the job's
 * stream; `sync`, `download` and the operators marked so wait. The plain loops in kernels/cpu are the
 * specification; every other path is compared with them in tests/ops. */
#ifndef BACKEND_BACKEND_OPS_H
#define BACKEND_BACKEND_OPS_H

#include <stddef.h>
#include <stdint.h>
#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct backend;

struct thread_pool;

/* One epoch of biased matrix factorization by SGD over a fixed grid of blocks (backend/sgd_ops.h). */
struct sgd_epoch_args;
/* One half-step of ALS or Gibbs sampling (backend/factor_ops.h). */
struct factor_solve_args;
/* Scores of factor models (backend/topk_ops.h). */
struct score_movies_args;
struct topk_users_args;
struct predict_pairs_args;
/* The sampler's residuals, implicit sets and grouped effects (backend/gibbs_ops.h). */
struct residuals_args;
struct set_sweep_args;
struct group_sweep_args;
struct group_add_args;
struct moments_args;
struct gather_args;
struct add_vectors_args;
struct pair_scores_args;
/* Spectral clustering (backend/spectral_ops.h). */
struct affinity_args;
struct block_dot_args;
struct block_update_args;
struct block_scale_args;
struct eigen_symmetric_args;
struct kmeans_assign_args;
/* Regression trees (backend/tree_ops.h). */
struct forest_movies_args;
struct forest_pairs_args;
struct forest_topk_args;
struct tree_order_args;
struct tree_sums_args;
struct tree_splits_args;
struct tree_bits_args;

struct backend_ops {
    const char *name;     /* "cpu", "cuda" */
    int uses_host_memory; /* 1: operators read host arrays as they are, nothing needs an upload */
    void (*close)(struct backend *backend);
    /* Memory for a job. */
    reel_status (*alloc)(struct backend *backend, void **out, size_t bytes, reel_error *err);
    void (*release)(struct backend *backend, void *pointer); /* takes NULL */
    reel_status (*upload)(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err);
    reel_status (*download)(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err);
    reel_status (*zero)(struct backend *backend, void *at, size_t bytes, reel_error *err);
    reel_status (*sync)(struct backend *backend, reel_error *err);
    /* Bytes of the device's own memory that are free now; NULL where jobs live in host memory. */
    reel_status (*free_memory)(struct backend *backend, size_t *bytes, reel_error *err);
    /* Operators. */
    reel_status (*sgd_epoch)(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err);
    reel_status (*factor_solve)(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
    int factor_k_max; /* factors that factor_solve takes, at most FACTOR_K_MAX */
    reel_status (*factor_cg)(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
    reel_status (*score_movies)(struct backend *backend, const struct score_movies_args *args, reel_error *err);
    reel_status (*topk_users)(struct backend *backend, const struct topk_users_args *args, reel_error *err);
    reel_status (*predict_pairs)(struct backend *backend, const struct predict_pairs_args *args, reel_error *err);
    reel_status (*residuals)(struct backend *backend, const struct residuals_args *args, reel_error *err);
    reel_status (*set_sweep)(struct backend *backend, const struct set_sweep_args *args, reel_error *err);
    reel_status (*group_sweep)(struct backend *backend, const struct group_sweep_args *args, reel_error *err);
    reel_status (*group_add)(struct backend *backend, const struct group_add_args *args, reel_error *err);
    reel_status (*moments)(struct backend *backend, const struct moments_args *args, reel_error *err);
    reel_status (*gather)(struct backend *backend, const struct gather_args *args, reel_error *err);
    reel_status (*add_vectors)(struct backend *backend, const struct add_vectors_args *args, reel_error *err);
    reel_status (*pair_scores)(struct backend *backend, const struct pair_scores_args *args, reel_error *err);
    reel_status (*affinity_apply)(struct backend *backend, const struct affinity_args *args, reel_error *err);
    reel_status (*block_dot)(struct backend *backend, const struct block_dot_args *args, reel_error *err);
    reel_status (*block_update)(struct backend *backend, const struct block_update_args *args, reel_error *err);
    reel_status (*block_scale)(struct backend *backend, const struct block_scale_args *args, reel_error *err);
    reel_status (*eigen_symmetric)(struct backend *backend, const struct eigen_symmetric_args *args, reel_error *err);
    reel_status (*kmeans_assign)(struct backend *backend, const struct kmeans_assign_args *args, reel_error *err);
    reel_status (*forest_movies)(struct backend *backend, const struct forest_movies_args *args, reel_error *err);
    reel_status (*forest_pairs)(struct backend *backend, const struct forest_pairs_args *args, reel_error *err);
    reel_status (*forest_topk)(struct backend *backend, const struct forest_topk_args *args, reel_error *err);
    reel_status (*tree_order)(struct backend *backend, const struct tree_order_args *args, reel_error *err);
    reel_status (*tree_sums)(struct backend *backend, struct tree_sums_args *args, reel_error *err);
    reel_status (*tree_splits)(struct backend *backend, const struct tree_splits_args *args, reel_error *err);
    reel_status (*tree_bits)(struct backend *backend, const struct tree_bits_args *args, reel_error *err);
};

struct backend {
    const struct backend_ops *ops;
    struct thread_pool *pool; /* the context's; CPU operators run on it */
    int several;              /* how many devices share the work; 0 = this is one */
    struct backend *first;    /* of several: the first alone, for work that has no entry here; else NULL */
};

#ifdef __cplusplus
}
#endif

#endif
