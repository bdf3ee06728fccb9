/* `tree`: one regression tree on the feature star (Breiman, Friedman, Olshen and Stone, "Classification and Regression
 * Trees", 1984), as scikit-learn's DecisionTreeRegressor. Tensors: see row_forest.h. */
#include <stdio.h>

#include "core/error.h"
#include "model/row_forest.h"

static const struct param_spec tree_params[] = {ROW_TREE_PARAMS(""), FEATURE_PARAMS};

static reel_status grow_tree(reel_context *ctx, const struct fit_input *input, struct row_forest *forest,
                             reel_error *err) {
    struct row_tree tree = {0};
    char stage[96];
    snprintf(stage, sizeof stage, "%.60stree", input->stage);
    context_progress(ctx, stage, "trees", 0, 1, NULL, 0, 0);
    reel_status status = row_tree_grow(ctx, &forest->data, NULL, &forest->limits, 0, &tree, err);
    if (status == REEL_OK) status = row_forest_add(forest, &tree, 0, 1, err);
    row_tree_free(&tree);
    if (status == REEL_OK) context_progress(ctx, stage, "trees", 1, 1, NULL, 0, 1);
    return status;
}

static reel_status tree_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                            struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct row_forest forest;
    TRY(row_forest_new(ctx, input, &forest, output, err));
    double start = clock_seconds();
    TRY(grow_tree(ctx, input, &forest, err));
    output->fit_seconds += clock_seconds() - start;
    output->visited += input->ratings->n_ratings;
    TRY(row_forest_put(&forest, 0, set, err));
cleanup:
    row_forest_free(&forest);
    return status;
}

const struct algorithm algorithm_tree = {
    .name = "tree",
    .summary = "one regression tree on hand-made features, exact splits",
    .params = tree_params,
    .n_params = sizeof tree_params / sizeof tree_params[0],
    .needs = RATINGS_TIMES,
    .fit = tree_fit,
    .bind = forest_bind,
    .unbind = forest_unbind,
    .predict = forest_predict,
    .fold_in = forest_fold_in,
    .forest_view = forest_view,
};
