/* Regression trees of any depth on the feature star: for algorithms that fit stars themselves (tree, forest, adaboost).
 * tree_grow.h, which boosting uses, knows at most TREE_DEPTH_MAX levels, and no copies.
 *
 * The splits are scikit-learn's exact ones, as in tree_grow.h, but of equal ones a random one is taken, as there. The
 * first levels, where nodes are few, go level by level over all ratings (row_top.h), those below node by node over
 * lists (row_lists.h). Sums are integers (half stars times copies), so a tree depends neither on threads nor on the
 * order of ratings nor on where the lists begin. */
#ifndef MODEL_ROW_TREE_H
#define MODEL_ROW_TREE_H

#include "model/features.h"
#include "model/forest.h"
#include "model/tree_grow.h"

/* What the trees of a fit share. */
struct row_data {
    const struct ratings *ratings;
    const struct star *star; /* features_training */
    struct tree_columns columns;
    int stride;     /* of features_row */
    uint8_t *hours; /* (n_ratings,) */
};

enum { ROW_TOP_LEVELS = 6 };

struct row_limits {
    int levels; /* the first ones, that go over all ratings: 0..ROW_TOP_LEVELS; the tree does not depend on it */
    int depth;  /* 1..FOREST_DEPTH_MAX */
    int64_t min_samples_split, min_samples_leaf;
    int max_features; /* columns that vary which a split looks at, drawn anew for each node */
    uint64_t seed;    /* of these draws */
    uint32_t tree;    /* their sub-stream */
};

/* A grown tree: nodes, parents before children, leaves with their mean in stars. */
struct row_tree {
    struct forest_builder nodes;
    double importances[STAR_COLUMNS_MAX]; /* drop of the squared error, summed by column */
};

/* `star` and the ratings must outlive it. UNSUPPORTED for more than 2^31 - 1 ratings. Freed with row_data_free,
 * whatever the result. */
reel_status row_data_new(reel_context *ctx, const struct ratings *ratings, const struct features *features,
                         struct row_data *data, reel_error *err);
void row_data_free(struct row_data *data);

/* Grows a tree on the ratings with copies[i] > 0, each counted so many times; NULL = each once. With `alone` it runs on
 * the calling thread only, which may then be a worker of the pool. Freed with row_tree_free, whatever the result. */
reel_status row_tree_grow(reel_context *ctx, const struct row_data *data, const uint16_t *copies,
                          const struct row_limits *limits, int alone, struct row_tree *tree, reel_error *err);
void row_tree_free(struct row_tree *tree);

#endif
