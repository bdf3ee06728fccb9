/* Metrics of predictions, in parallel and with sums in a fixed order. */
#ifndef MODEL_MEASURE_H
#define MODEL_MEASURE_H

#include <reel/model.h>
#include "data/ratings.h"

/* Writes unclipped scores (stars) of pairs begin .. begin+n-1 to scores (n,). Called from several threads. */
typedef reel_status (*measure_fn)(const void *arg, const struct rating_pairs *pairs, int64_t begin, int64_t n,
                                  float *scores, reel_error *err);

/* Scores all pairs in chunks whose size does not depend on the threads, clips to scale_min..scale_max (stars) and
 * fills *metrics; `predictions` (pairs->n,), clipped, may be NULL. Sums are in double: within a chunk in order,
 * then over the chunks in order. R2 of constant ratings is 1 for exact predictions, else 0. */
reel_status measure_pairs(reel_context *ctx, const struct rating_pairs *pairs, float scale_min, float scale_max,
                          measure_fn score, const void *arg, float *predictions, reel_metrics *metrics,
                          reel_error *err);

#endif
