/* Ranking metrics of a model on held-out ratings. */
#ifndef EVAL_RANKING_H
#define EVAL_RANKING_H

#include <reel/eval.h>
#include "data/ratings.h"
#include "model/model.h"

/* For each user with a relevant held-out movie (rated `relevant` stars or more), ranks all movies the user has no
 * rating of in `train` by raw score (ties: the lower index) and compares the n best with the relevant ones. Indices
 * are the model's. Threads do not change the result. */
reel_status ranking_measure(reel_context *ctx, const struct reel_model *model, const struct ratings *train,
                            const struct rating_pairs *test, int n, double relevant, reel_ranking *out,
                            reel_error *err);

#endif
