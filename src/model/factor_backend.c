#include "model/factor_backend.h"

#include <stdio.h>

#include "core/error.h"

reel_status factor_backend(reel_context *ctx, const char *algorithm, int k, int cg, struct backend **out,
                           reel_error *err) {
    char work[64];
    TRY_RETURN(context_backend(ctx, out, err));
    const struct backend_ops *ops = (*out)->ops;
    if (cg && !ops->factor_cg) {
        snprintf(work, sizeof work, "%s with solver=cg", algorithm);
        return context_fall_back(ctx, work, out, err);
    }
    if (ops->factor_solve && k <= ops->factor_k_max) return REEL_OK;
    snprintf(work, sizeof work, "%s with %d factors", algorithm, k);
    return context_fall_back(ctx, work, out, err);
}

reel_status factor_reserve(struct job_memory *job, const char *algorithm, const struct ratings *ratings, int stride,
                           int user_vectors, int movie_vectors, size_t more, reel_error *err) {
    const size_t n_users = (size_t)ratings->n_users, n_movies = (size_t)ratings->n_movies;
    const size_t vectors = n_users * (size_t)user_vectors + n_movies * (size_t)movie_vectors;
    const size_t offsets = (n_users + n_movies + 2) * sizeof(int64_t);
    const size_t sides = 2 * (size_t)ratings->n_ratings * (sizeof(int32_t) + sizeof(uint8_t));
    return job_reserve(job, algorithm, offsets + sides + vectors * (size_t)stride * sizeof(float) + more, err);
}
