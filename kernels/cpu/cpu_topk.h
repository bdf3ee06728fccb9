/* Entries of the operator table; see backend/topk_ops.h. */
#ifndef KERNELS_CPU_CPU_TOPK_H
#define KERNELS_CPU_CPU_TOPK_H

#include "backend/backend_ops.h"
#include "backend/topk_ops.h"

reel_status cpu_score_movies(struct backend *backend, const struct score_movies_args *args, reel_error *err);
reel_status cpu_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err);
reel_status cpu_predict_pairs(struct backend *backend, const struct predict_pairs_args *args, reel_error *err);

#endif
