/* What a visitor's factors look like before any rating: for folding in. */
#ifndef MODEL_SVD_PRIOR_H
#define MODEL_SVD_PRIOR_H

#include "core/context.h"

/* Writes the precision (d, d) = noise * S^-1 of the prior N(0, S / noise) in units of the noise, S the second moments
 * of the trained users' vectors (k factors, then the bias if d = k + 1). User row i has its factors at rows + i *
 * stride and its bias at lane `bias_lane`. Up to SVD_PRIOR_USERS rows, evenly spaced, are looked at; few users against
 * d shrink S towards its diagonal. `noise` is the mean squared training error, stars^2. */
enum { SVD_PRIOR_USERS = 16384 };
reel_status svd_prior(reel_context *ctx, const float *rows, int32_t n_rows, int stride, int k, int bias_lane, int d,
                      double noise, float *precision, reel_error *err);

#endif
