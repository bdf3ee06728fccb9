/* `gbdt`: gradient boosting of regression trees (Friedman, Greedy function approximation, Annals of Statistics 2001)
 * on the feature star of data/star.h, with the exact splits of scikit-learn's GradientBoostingRegressor. Tensors: see
 * forest.h, and "train_loss" F64 (T,), the mean loss of the training ratings after each tree, and
 * "importances" F32 (C,), each column's share of the drop of the gradients' squared error.
 *
 * A tree of depth d costs d passes over the ratings: the leaves of tree t are taken off the residuals in the pass that
 * sums up the root of tree t + 1, and leaf means come out of the last split search. The other losses take a few passes
 * more for the medians or quantiles of the leaves (tree_leaves.h). */
#include <math.h>
#include <stdio.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/forest.h"
#include "model/tree_grow.h"
#include "model/tree_leaves.h"

static const struct param_spec gbdt_params[] = {
    {"loss", PARAM_CHOICE, "squared", 0, 0, "squared|absolute|huber|quantile", "what is minimised"},
    {"alpha", PARAM_REAL, "0.9", 0.001, 0.999, NULL, "the quantile; huber: share of errors that count squared"},
    {"n_estimators", PARAM_INT, "100", 1, 100000, NULL, "trees"},
    {"learning_rate", PARAM_REAL, "0.1", 1e-6, 1, NULL, "what a tree's leaves are multiplied by"},
    {"max_depth", PARAM_INT, "3", 1, TREE_DEPTH_MAX, NULL, "levels of splits of a tree"},
    {"min_samples_split", PARAM_INT, "2", 2, 1e9, NULL, "fewer ratings make a leaf"},
    {"min_samples_leaf", PARAM_INT, "1", 1, 1e9, NULL, "a split leaves at least this many ratings on each side"},
    {"means", PARAM_CHOICE, "train", 0, 0, "train|all", "ratings that the feature means are taken from; all leaks"},
    {"genres", PARAM_CHOICE, "movielens", 0, 0, "movielens|tmdb", "whose genres are features"},
    {"year", PARAM_BOOL, "0", 0, 1, NULL, "the movie's year as a feature"},
    {"hour", PARAM_BOOL, "0", 0, 1, NULL, "the hour of the day (UTC) as a feature"},
};
enum { N_PARAMS = sizeof gbdt_params / sizeof gbdt_params[0] };

struct boosting {
    struct tree_limits limits;
    double learning_rate;
    int n_trees;
    struct tree_loss loss;
    int32_t base;
    struct star star;
    struct tree_columns columns;
    struct tree_pass pass;
    struct forest_builder forest;
    double *train_loss; /* (n_trees,) */
    double importances[STAR_COLUMNS_MAX];
    int32_t leaves[TREE_LEAVES_MAX];
    struct tree tree;
    int64_t reach; /* no residual is farther from 0, fixed point */
};

static void boosting_free(struct boosting *boosting) {
    star_free(&boosting->star);
    tree_columns_free(&boosting->columns);
    tree_pass_free(&boosting->pass);
    forest_builder_free(&boosting->forest);
}

static struct star_options star_options_of(const struct param_values *params) {
    return (struct star_options){.genres = (enum star_genres)params_number(params, "genres"),
                                 .year = params_number(params, "year") != 0,
                                 .hour = params_number(params, "hour") != 0};
}

static reel_status boosting_new(reel_context *ctx, const struct fit_input *input, struct boosting *boosting,
                                reel_error *err) {
    const struct param_values *params = input->params;
    int all = input->leak_means || params_number(params, "means") != 0;
    struct star_options options = star_options_of(params);
    boosting->limits = (struct tree_limits){(int)params_number(params, "max_depth"),
                                            (int64_t)params_number(params, "min_samples_split"),
                                            (int64_t)params_number(params, "min_samples_leaf")};
    boosting->learning_rate = params_number(params, "learning_rate");
    boosting->n_trees = (int)params_number(params, "n_estimators");
    boosting->loss = (struct tree_loss){.kind = (enum tree_loss_kind)params_number(params, "loss"),
                                        .alpha = params_number(params, "alpha")};
    boosting->base = tree_loss_base(&boosting->loss, input->ratings);
    boosting->reach = (int64_t)5 * TREE_ONE;
    TRY_RETURN(
        star_build(input->dataset, all ? &input->dataset->ratings : input->ratings, &options, &boosting->star, err));
    TRY_RETURN(tree_columns_new(ctx, &boosting->star, &boosting->columns, err));
    return tree_pass_new(ctx, input->ratings, boosting->limits.depth, boosting->base, &boosting->pass, err);
}

/* ---- a tree ---- */

/* The farthest residual from 0. */
static int64_t measure_reach(const struct boosting *boosting) {
    const struct tree_rows *rows = &boosting->pass.rows;
    int64_t reach = 0;
    for (int64_t i = 0; i < rows->ratings->n_ratings; i++) {
        int64_t size = rows->residuals[i] < 0 ? -(int64_t)rows->residuals[i] : rows->residuals[i];
        reach = size > reach ? size : reach;
    }
    return reach;
}

/* What each leaf takes off its ratings' residuals, by number below the last level. */
static reel_status set_leaves(reel_context *ctx, struct boosting *boosting, reel_error *err) {
    int64_t largest = 0;
    int n = 1 << boosting->tree.depth, means = boosting->loss.kind == TREE_SQUARED;
    if (!means) TRY_RETURN(tree_loss_leaves(ctx, &boosting->loss, &boosting->pass, n, boosting->leaves, err));
    for (int node = 0; node < n; node++) {
        const struct tree_node *leaf = &boosting->tree.nodes[tree_leaf_of(&boosting->tree, node)];
        double value = !means ? boosting->leaves[node] : leaf->count ? (double)leaf->sum / (double)leaf->count : 0;
        boosting->leaves[node] = (int32_t)lrint(boosting->learning_rate * value);
        int64_t size = boosting->leaves[node] < 0 ? -(int64_t)boosting->leaves[node] : boosting->leaves[node];
        if (size > largest) largest = size;
    }
    /* A sum of bounds grows past the residuals themselves: look before giving up. */
    if (boosting->reach + largest > INT32_MAX) boosting->reach = measure_reach(boosting);
    if (boosting->reach + largest > INT32_MAX)
        return error_set(err, REEL_BAD_INPUT,
                         "gbdt diverged: a residual left +-32 stars; take a smaller learning_rate");
    boosting->reach += largest;
    if (means) boosting->pass.leaves = boosting->leaves;
    return REEL_OK;
}

static void add_importances(struct boosting *boosting) {
    const struct tree *tree = &boosting->tree;
    for (int i = 0; i < (2 << tree->depth) - 1; i++)
        if (tree->nodes[i].column >= 0) boosting->importances[tree->nodes[i].column] += tree->nodes[i].gain;
}

/* Appends heap node `at` and what is below; `number` and `level` say where it stands. */
static reel_status put_node(struct boosting *boosting, int at, int level, int number, int32_t *index, reel_error *err) {
    const struct tree *tree = &boosting->tree;
    const struct tree_node *node = &tree->nodes[at];
    int leaf = number << (tree->depth - level);
    float value = node->column < 0 ? (float)boosting->leaves[leaf] / (float)TREE_ONE : node->threshold;
    TRY_RETURN(forest_add_node(&boosting->forest, (struct forest_node){node->column, 0, 0, value}, index, err));
    if (node->column < 0) return REEL_OK;
    int32_t left, right;
    TRY_RETURN(put_node(boosting, 2 * at + 1, level + 1, 2 * number, &left, err));
    TRY_RETURN(put_node(boosting, 2 * at + 2, level + 1, 2 * number + 1, &right, err));
    boosting->forest.nodes[*index].left = left;
    boosting->forest.nodes[*index].right = right;
    return REEL_OK;
}

static reel_status add_tree(reel_context *ctx, struct boosting *boosting, reel_error *err) {
    int32_t root;
    TRY_RETURN(set_leaves(ctx, boosting, err));
    add_importances(boosting);
    TRY_RETURN(forest_begin_tree(&boosting->forest, err));
    return put_node(boosting, 0, 0, 0, &root, err);
}

/* ---- the fit ---- */

/* Where a fit stands, for its records. */
struct stages {
    const struct fit_input *input;
    struct fit_output *output;
    char name[96];
    double last; /* clock at the last record */
};

static reel_status record(reel_context *ctx, struct boosting *boosting, struct stages *stages, int stage, double loss,
                          double squared, reel_error *err) {
    double now = clock_seconds();
    reel_epoch epoch = {stage, sqrt(squared), NAN, now - stages->last};
    stages->last = now;
    boosting->train_loss[stage - 1] = loss;
    context_progress(ctx, stages->name, "trees", stage, boosting->n_trees, "rmse", epoch.train_rmse,
                     stage == boosting->n_trees);
    return fit_output_epoch(stages->output, epoch, err);
}

/* Of squared errors: what the latest root pass left over, when it took the leaves of tree `stage` off. */
static reel_status record_squares(reel_context *ctx, struct boosting *boosting, struct stages *stages, int stage,
                                  reel_error *err) {
    double squared = boosting->pass.squared / (double)stages->input->ratings->n_ratings;
    return record(ctx, boosting, stages, stage, squared, squared, err);
}

static reel_status run_stage(reel_context *ctx, struct boosting *boosting, struct stages *stages, int stage,
                             reel_error *err) {
    double loss, squared;
    int means = boosting->loss.kind == TREE_SQUARED;
    TRY_RETURN(tree_loss_gradient(ctx, &boosting->loss, &boosting->pass, err));
    TRY_RETURN(tree_grow(ctx, &boosting->pass, &boosting->columns, &boosting->limits, &boosting->tree, err));
    if (means && stage > 1) TRY_RETURN(record_squares(ctx, boosting, stages, stage - 1, err));
    TRY_RETURN(add_tree(ctx, boosting, err));
    if (means) return REEL_OK;
    TRY_RETURN(tree_loss_update(ctx, &boosting->loss, &boosting->pass, boosting->leaves, &loss, &squared, err));
    return record(ctx, boosting, stages, stage, loss, squared, err);
}

static reel_status run_stages(reel_context *ctx, const struct fit_input *input, struct boosting *boosting,
                              struct fit_output *output, reel_error *err) {
    double start = clock_seconds();
    struct stages stages = {.input = input, .output = output, .last = start};
    snprintf(stages.name, sizeof stages.name, "%.60sgbdt", input->stage);
    for (int stage = 1; stage <= boosting->n_trees; stage++) TRY_RETURN(run_stage(ctx, boosting, &stages, stage, err));
    if (boosting->loss.kind == TREE_SQUARED) {
        tree_pass_run(ctx, &boosting->pass);
        TRY_RETURN(record_squares(ctx, boosting, &stages, boosting->n_trees, err));
    }
    output->fit_seconds = clock_seconds() - start;
    output->visited = input->ratings->n_ratings * boosting->n_trees;
    return REEL_OK;
}

static reel_status put_importances(const struct boosting *boosting, struct tensor_set *set, reel_error *err) {
    void *shares;
    double total = 0;
    int n = boosting->star.n_columns;
    TRY_RETURN(tensor_set_add1(set, "importances", DTYPE_F32, n, &shares, err));
    for (int c = 0; c < n; c++) total += boosting->importances[c];
    for (int c = 0; c < n && total > 0; c++) ((float *)shares)[c] = (float)(boosting->importances[c] / total);
    return REEL_OK;
}

static reel_status gbdt_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                            struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct boosting *boosting = NULL;
    void *losses;
    TRY(MEM_NEW(&boosting, 1, err));
    TRY(boosting_new(ctx, input, boosting, err));
    TRY(tensor_set_add1(set, "train_loss", DTYPE_F64, boosting->n_trees, &losses, err));
    boosting->train_loss = losses;
    TRY(run_stages(ctx, input, boosting, output, err));
    TRY(put_importances(boosting, set, err));
    TRY(forest_put_columns(&boosting->star, set, err));
    TRY(forest_put_trees(&boosting->forest, (float)boosting->base / (float)TREE_ONE, set, err));
cleanup:
    if (boosting) boosting_free(boosting);
    mem_free(boosting);
    return status;
}

const struct algorithm algorithm_gbdt = {
    .name = "gbdt",
    .summary = "gradient boosted regression trees on hand-made features, exact splits",
    .params = gbdt_params,
    .n_params = N_PARAMS,
    .needs = RATINGS_TIMES,
    .fit = gbdt_fit,
    .bind = forest_bind,
    .unbind = forest_unbind,
    .predict = forest_predict,
    .fold_in = forest_fold_in,
    .forest_view = forest_view,
};
