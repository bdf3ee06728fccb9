#include "model/row_forest.h"

#include <math.h>

#include "core/error.h"

enum { LEVELS_FROM = 1 << 16 }; /* ratings from which the first levels go over all of them */

/* Sums by row and node take at most 8 bytes a rating, or those of four levels. */
static int levels_of(const struct ratings *ratings, const struct star *star) {
    int64_t rows = (int64_t)star->n_rows[STAR_USER] + star->n_rows[STAR_MOVIE];
    int levels = 4;
    if (ratings->n_ratings < LEVELS_FROM) return 0;
    while (levels < ROW_TOP_LEVELS && rows << levels <= ratings->n_ratings / 2) levels++;
    return levels;
}

static struct row_limits limits_of(const struct fit_input *input, const struct star *star) {
    double depth = params_number(input->params, "max_depth"); /* NaN where it is unset */
    int features = (int)(params_number(input->params, "max_features") * star->n_columns);
    return (struct row_limits){.levels = levels_of(input->ratings, star),
                               .depth = depth >= 1 ? (int)depth : FOREST_DEPTH_MAX,
                               .min_samples_split = (int64_t)params_number(input->params, "min_samples_split"),
                               .min_samples_leaf = (int64_t)params_number(input->params, "min_samples_leaf"),
                               .max_features = features < 1 ? 1 : features,
                               .seed = input->seed};
}

reel_status row_forest_new(reel_context *ctx, const struct fit_input *input, struct row_forest *forest,
                           struct fit_output *output, reel_error *err) {
    *forest = (struct row_forest){0};
    TRY_RETURN(features_new(ctx, input, &forest->features, output, err));
    forest->limits = limits_of(input, features_training(&forest->features));
    return row_data_new(ctx, input->ratings, &forest->features, &forest->data, err);
}

void row_forest_free(struct row_forest *forest) {
    features_free(&forest->features);
    row_data_free(&forest->data);
    forest_builder_free(&forest->trees);
    *forest = (struct row_forest){0};
}

static void add_importances(struct row_forest *forest, const struct row_tree *tree) {
    double total = 0;
    for (int c = 0; c < STAR_COLUMNS_MAX; c++) total += tree->importances[c];
    for (int c = 0; c < STAR_COLUMNS_MAX && total > 0; c++) forest->importances[c] += tree->importances[c] / total;
}

reel_status row_forest_add(struct row_forest *forest, struct row_tree *tree, double base, double scale,
                           reel_error *err) {
    int32_t shift = forest->trees.n_nodes, at;
    TRY_RETURN(forest_begin_tree(&forest->trees, err));
    for (int32_t i = 0; i < tree->nodes.n_nodes; i++) {
        struct forest_node node = tree->nodes.nodes[i];
        if (node.column < 0) {
            node.value = (float)(((double)node.value - base) * scale);
        } else if (node.left > INT32_MAX - shift || node.right > INT32_MAX - shift) {
            return error_set(err, REEL_UNSUPPORTED, "the forest has too many nodes (min_samples_leaf makes fewer)");
        } else {
            node.left += shift;
            node.right += shift;
        }
        TRY_RETURN(forest_add_node(&forest->trees, node, &at, err));
    }
    add_importances(forest, tree);
    row_tree_free(tree);
    return REEL_OK;
}

reel_status row_forest_put(const struct row_forest *forest, float base, struct tensor_set *set, reel_error *err) {
    TRY_RETURN(features_put_importances(&forest->features, forest->importances, set, err));
    TRY_RETURN(forest_put_columns(&forest->features.star, set, err));
    return forest_put_trees(&forest->trees, base, set, err);
}
