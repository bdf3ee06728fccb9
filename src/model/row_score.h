/* What a tree says of the ratings that it was grown on, and of those that it did not count.
 *
 * A tree of at most 64 leaves, numbered from left to right, is not walked: a row of a table has a bit for each leaf
 * that the tree's decisions on this table leave open, and the bits of a rating's three rows have one in common
 * (QuickScorer; Lucchese et al., SIGIR 2015). */
#ifndef MODEL_ROW_SCORE_H
#define MODEL_ROW_SCORE_H

#include "model/row_tree.h"

enum { ROW_SCORE_LEAVES = 64 };

struct row_scorer {
    const struct row_data *data;
    const struct row_tree *tree;
    int n_leaves; /* 0: too many, the tree is walked */
    float leaves[ROW_SCORE_LEAVES];
    uint64_t *masks[STAR_TABLES]; /* (rows of the training star,) */
};

/* `data` and `tree` must outlive it. Freed with row_scorer_free, whatever the result. */
reel_status row_scorer_new(reel_context *ctx, const struct row_data *data, const struct row_tree *tree,
                           struct row_scorer *scorer, reel_error *err);
void row_scorer_free(struct row_scorer *scorer);
/* scores (the user's ratings,) of the tree, in stars. */
void row_scorer_user(const struct row_scorer *scorer, int32_t user, float *scores);

#endif
