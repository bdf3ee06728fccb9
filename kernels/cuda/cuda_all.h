/* Several devices of one host as one backend ("cuda:all", "cuda:0+2").
 *
 * Memory is mirrored: an array lies on every device with the same content, and callers see the first device's pointers.
 * Operators that write arrays either run on every device, or each device does a part and the parts are exchanged
 * (kernels/cuda/cuda_links.h); in both cases the bits are those of one device. Operators that answer the host run on
 * the first device, or in parts. What has no operator here is left to `base.first`, the first device alone. */
#ifndef KERNELS_CUDA_CUDA_ALL_H
#define KERNELS_CUDA_CUDA_ALL_H

#include "core/threads.h"
#include "kernels/cuda/cuda_links.h"

struct mirror {
    char *at[CUDA_LINKS_MAX]; /* the array on each device */
    size_t bytes;
};

struct cuda_all {
    struct backend base; /* first, so that a struct backend * is one of these */
    struct backend_ops ops;
    char name[64];               /* "cuda:0+2" */
    struct cuda_links links;     /* and the devices */
    struct thread_pool *threads; /* one a device: operators that wait must not wait in turn */
    struct mirror *mirrors;      /* (n_mirrors,) ascending by at[0] */
    int n_mirrors, room;
};

static inline struct cuda_all *cuda_all_of(struct backend *backend) {
    return (struct cuda_all *)backend;
}

static inline struct backend *cuda_all_device(struct cuda_all *all, int device) {
    return &all->links.devices[device]->base;
}

/* DEVICE once any device was lost, naming it, or the way between them. */
reel_status cuda_all_use(struct cuda_all *all, reel_error *err);
/* Calls task(all, d, arg, err) for every device d: at the same time, a thread each, or one after the other, for tasks
 * that only queue. The error is that of the lowest device that failed. */
typedef reel_status (*cuda_all_task)(struct cuda_all *all, int device, const void *arg, reel_error *err);
reel_status cuda_all_at_once(struct cuda_all *all, cuda_all_task task, const void *arg, reel_error *err);
reel_status cuda_all_in_turn(struct cuda_all *all, cuda_all_task task, const void *arg, reel_error *err);
/* The place on `device` that mirrors `pointer`, which lies in an array of this backend or at its end; NULL for NULL.
 * Sets *unknown for a pointer that is none of ours. */
void *cuda_all_mirrored(const struct cuda_all *all, int device, const void *pointer, int *unknown);
/* cuda_links_exchange for the mirrored array at `pointer`. */
reel_status cuda_all_exchange(struct cuda_all *all, const void *pointer, const size_t cuts[], reel_error *err);

/* The operators, for the table (kernels/cuda/cuda_all_ops.cu). */
reel_status cuda_all_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
reel_status cuda_all_factor_cg(struct backend *backend, const struct factor_solve_args *args, reel_error *err);
reel_status cuda_all_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err);
reel_status cuda_all_predict_pairs(struct backend *backend, const struct predict_pairs_args *args, reel_error *err);
reel_status cuda_all_forest_topk(struct backend *backend, const struct forest_topk_args *args, reel_error *err);
reel_status cuda_all_forest_pairs(struct backend *backend, const struct forest_pairs_args *args, reel_error *err);
reel_status cuda_all_residuals(struct backend *backend, const struct residuals_args *args, reel_error *err);
reel_status cuda_all_pair_scores(struct backend *backend, const struct pair_scores_args *args, reel_error *err);
reel_status cuda_all_moments(struct backend *backend, const struct moments_args *args, reel_error *err);
reel_status cuda_all_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err);
reel_status cuda_all_group_sweep(struct backend *backend, const struct group_sweep_args *args, reel_error *err);
reel_status cuda_all_group_add(struct backend *backend, const struct group_add_args *args, reel_error *err);
reel_status cuda_all_gather(struct backend *backend, const struct gather_args *args, reel_error *err);
reel_status cuda_all_add_vectors(struct backend *backend, const struct add_vectors_args *args, reel_error *err);

#endif
