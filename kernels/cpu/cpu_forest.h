/* Entries of the operator table; see backend/tree_ops.h. */
#ifndef KERNELS_CPU_CPU_FOREST_H
#define KERNELS_CPU_CPU_FOREST_H

#include "backend/backend_ops.h"
#include "backend/tree_ops.h"

reel_status cpu_forest_movies(struct backend *backend, const struct forest_movies_args *args, reel_error *err);
reel_status cpu_forest_pairs(struct backend *backend, const struct forest_pairs_args *args, reel_error *err);
reel_status cpu_forest_topk(struct backend *backend, const struct forest_topk_args *args, reel_error *err);
reel_status cpu_tree_sums(struct backend *backend, struct tree_sums_args *args, reel_error *err);
reel_status cpu_tree_splits(struct backend *backend, const struct tree_splits_args *args, reel_error *err);
reel_status cpu_tree_bits(struct backend *backend, const struct tree_bits_args *args, reel_error *err);

#endif
