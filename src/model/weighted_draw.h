/* Draws by weight, with replacement. */
#ifndef MODEL_WEIGHTED_DRAW_H
#define MODEL_WEIGHTED_DRAW_H

#include "core/context.h"

/* copies (n,) out: how often each of n things came up in n draws by weights (n,), >= 0 with a sum above 0; counts stop
 * at UINT16_MAX. Independent of threads. `gaps` (n,) is overwritten.
 *
 * n sorted uniform numbers, which are sums of exponential gaps (Devroye, "Non-Uniform Random Variate Generation", 1986,
 * V.3), run along the sums of weights. Chunks of a fixed size are summed first; then each chunk of weights finds the
 * numbers that fall into it. */
reel_status weighted_draw(reel_context *ctx, uint64_t seed, uint64_t stream, int64_t n, const double *weights,
                          float *gaps, uint16_t *copies, reel_error *err);

#endif
