/* What tree, forest and adaboost share: parameters, and the trees of a fit on their way into a model. Tensors: see
 * forest.h, and "importances" F32 (C,), each column's share of the drop of squared error, as scikit-learn has it. */
#ifndef MODEL_ROW_FOREST_H
#define MODEL_ROW_FOREST_H

#include "model/row_tree.h"

/* The parameters of a single tree; `depth` is the default depth, "" = as deep as trees get. */
#define ROW_TREE_PARAMS(depth)                                                                                        \
    {"max_depth", PARAM_INT, depth, 1, FOREST_DEPTH_MAX, NULL, "levels of splits; unset: as many as it takes"},       \
        {"min_samples_split", PARAM_INT, "2", 2, 1e9, NULL, "fewer ratings make a leaf"},                             \
        {"min_samples_leaf", PARAM_INT, "1", 1, 1e9, NULL, "a split leaves at least this many ratings on each side"}, \
    {                                                                                                                 \
        "max_features", PARAM_REAL, "1", 0.001, 1, NULL, "share of the features, drawn anew, that a split looks at"   \
    }

struct row_forest {
    struct features features;
    struct row_data data;
    struct row_limits limits; /* but for `tree` */
    struct forest_builder trees;
    double importances[STAR_COLUMNS_MAX]; /* sums of the trees' shares */
};

/* `output` as in features_new. Freed with row_forest_free, whatever the result. */
reel_status row_forest_new(reel_context *ctx, const struct fit_input *input, struct row_forest *forest,
                           struct fit_output *output, reel_error *err);
void row_forest_free(struct row_forest *forest);
/* Appends a tree with its leaves (leaf - base) * scale, and frees it. */
reel_status row_forest_add(struct row_forest *forest, struct row_tree *tree, double base, double scale,
                           reel_error *err);
/* Adds all tensors. */
reel_status row_forest_put(const struct row_forest *forest, float base, struct tensor_set *set, reel_error *err);

#endif
