/* What boosting predicts for held-out pairs, stage by stage. */
#ifndef MODEL_STAGED_H
#define MODEL_STAGED_H

#include "model/forest.h"
#include "model/tree_leaves.h"

struct staged {
    const struct rating_pairs *pairs;
    const struct star *star; /* for scoring */
    float low, high;         /* the scale, stars */
    double *scores;          /* (pairs->n,) so far, not clipped */
    double *sums;            /* (tasks, 2): squared errors of clipped scores, losses */
    const struct forest_builder *trees;
    const struct tree_loss *loss;
    double rmse, mean_loss; /* after the latest stage; NaN without pairs */
};

/* `pairs` may be NULL or empty; `predictions` (pairs->n,) stars are what the trees are added to, NULL = 0, and `base`
 * comes on top. All but these must outlive it; freed with staged_free, whatever the result. */
reel_status staged_new(const struct rating_pairs *pairs, const struct star *star, const struct ratings *scale,
                       double base, const float *predictions, struct staged *staged, reel_error *err);
void staged_free(struct staged *staged);
/* Adds the latest tree and sets rmse and mean_loss; sums run in a fixed order. */
void staged_add(reel_context *ctx, struct staged *staged, const struct forest_builder *trees,
                const struct tree_loss *loss);

#endif
