/* The device for a fit of factors. */
#ifndef MODEL_FACTOR_BACKEND_H
#define MODEL_FACTOR_BACKEND_H

#include "backend/job_memory.h"
#include "core/context.h"
#include "data/ratings.h"

/* *out = the context's backend, or under "auto" its CPU, with one line of notice, where the device does not solve for
 * k factors or, with `cg`, offers no conjugate gradients. UNSUPPORTED where it was asked for by name. */
reel_status factor_backend(reel_context *ctx, const char *algorithm, int k, int cg, struct backend **out,
                           reel_error *err);
/* Asks for what a fit keeps on the device: both sides' ratings, so many vectors of `stride` floats a user and a movie,
 * and `more` bytes. NO_MEMORY as job_reserve says it. Operators ask for their working memory themselves. */
reel_status factor_reserve(struct job_memory *job, const char *algorithm, const struct ratings *ratings, int stride,
                           int user_vectors, int movie_vectors, size_t more, reel_error *err);

#endif
