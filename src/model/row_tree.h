/* Regression trees of any depth on the feature star, grown node by node over lists of ratings: for algorithms that
 * fit stars themselves (tree, forest, adaboost). tree_grow.h, which boosting uses, goes level by level over all ratings
 * instead, which is faster while nodes are few.
 *
 * The splits are scikit-learn's exact ones, as in tree_grow.h, but of equal ones a random one is taken, as there. A
 * node sums its ratings by user, movie and hour, then goes through each column's values in order: over all of them
 * where there are few, else over those of the users and movies that occur, sorted. Sums are integers (half stars times
 * copies), so a tree depends neither on threads nor on the order of ratings. */
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
    int32_t *users; /* (n_ratings,) */
    uint8_t *hours; /* (n_ratings,) */
};

struct row_limits {
    int depth; /* 1..FOREST_DEPTH_MAX */
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
/* The tree's mean for rating i. */
float row_tree_score(const struct row_data *data, const struct row_tree *tree, int64_t i);

#endif
