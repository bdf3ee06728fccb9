/* Pairs one by one: the specification, and all that the CPU needs. */
#include "backend/topk_ops.h"
#include "kernels/common/dot.h"
#include "kernels/cpu/cpu_topk.h"

static float score_pair(const struct predict_pairs_args *args, int32_t user, int32_t movie) {
    float score = args->mean;
    if (user >= 0) score += args->user_bias[user];
    if (movie >= 0) score += args->movie_bias[movie];
    if (user < 0 || movie < 0) return score;
    return score +
           dot_floats(args->user_factors + user * args->stride, args->movie_factors + movie * args->stride, args->k);
}

reel_status cpu_predict_pairs(struct backend *backend, const struct predict_pairs_args *args, reel_error *err) {
    (void)backend, (void)err;
    for (int64_t i = 0; i < args->n; i++) args->scores[i] = score_pair(args, args->users[i], args->movies[i]);
    return REEL_OK;
}
