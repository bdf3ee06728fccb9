/* Inside of a boosting fit: what gbdt.c and its checkpoints share. */
#ifndef MODEL_GBDT_H
#define MODEL_GBDT_H

#include "model/features.h"
#include "model/forest.h"
#include "model/member.h"
#include "model/staged.h"
#include "model/tree_grow.h"
#include "model/tree_leaves.h"

struct boosting {
    reel_context *ctx;
    struct fit_input input; /* `ratings` are those that are fitted to */
    struct tree_limits limits;
    double learning_rate;
    int n_trees; /* at most */
    struct tree_loss loss;
    int32_t base;
    struct features features;
    struct tree_columns columns;
    struct tree_pass pass;
    struct tree_search search;
    struct forest_builder forest;
    double *train_loss, *validation_loss, *test_rmse; /* (n_trees,) */
    double importances[STAR_COLUMNS_MAX];
    int32_t leaves[TREE_LEAVES_MAX];
    struct tree tree;
    int64_t reach; /* no residual is farther from 0, fixed point */
    uint8_t *bag;  /* (n_ratings,) of the tree at work; NULL without subsample */
    double subsample;
    /* Early stopping. */
    int patience;              /* 0 = none */
    double tolerance, *recent; /* (patience,) losses that a new one is held against */
    struct ratings kept;
    struct rating_pairs validation;
    struct staged on_validation, on_test;
    double staged_seconds; /* spent on them */
    /* The model that is added to. */
    struct member init;
    struct reel_model *init_model;
    double init_line[2];                             /* stars = [0] + [1] * its prediction */
    float *init_train, *init_validation, *init_test; /* its predictions, on that line */
};

/* Writes what is needed to go on after `stage` trees: residuals, trees, losses, scores of held-out pairs. The leaves of
 * the latest tree are taken off the residuals first, in a pass of their own. */
reel_status gbdt_checkpoint_write(struct boosting *boosting, const struct fit_output *output, int stage,
                                  reel_error *err);
/* Takes over the newest good checkpoint of this fit, if one is asked for and there: *stage trees are done then. */
reel_status gbdt_checkpoint_read(struct boosting *boosting, struct fit_output *output, int *stage, reel_error *err);

#endif
