/* `gbdt`: gradient boosting of regression trees (Friedman, Greedy function approximation, Annals of Statistics 2001)
 * on the feature star of data/star.h, with the exact splits of scikit-learn's GradientBoostingRegressor. Tensors: see
 * forest.h, and "train_loss" F64 (T,), the mean loss of the training ratings after each tree.
 *
 * A tree of depth d costs d passes over the ratings: the leaves of tree t are taken off the residuals in the pass that
 * sums up the root of tree t + 1, and leaf means come out of the last split search. */
#include <math.h>
#include <stdio.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/forest.h"
#include "model/tree_grow.h"

static const struct param_spec gbdt_params[] = {
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
    int32_t base;
    struct star star;
    struct tree_columns columns;
    struct tree_pass pass;
    struct forest_builder forest;
    double *train_loss; /* (n_trees,) */
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

static int32_t fixed(double stars) {
    return (int32_t)lrint(stars * TREE_ONE);
}

static int32_t mean_rating(const struct ratings *ratings) {
    int64_t sum = 0;
    for (int64_t i = 0; i < ratings->n_ratings; i++) sum += ratings->user_ratings[i];
    return fixed(0.5 * (double)sum / (double)ratings->n_ratings);
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
    boosting->base = mean_rating(input->ratings);
    boosting->reach = (int64_t)5 * TREE_ONE;
    TRY_RETURN(
        star_build(input->dataset, all ? &input->dataset->ratings : input->ratings, &options, &boosting->star, err));
    TRY_RETURN(tree_columns_new(ctx, &boosting->star, &boosting->columns, err));
    return tree_pass_new(ctx, input->ratings, boosting->limits.depth, boosting->base, &boosting->pass, err);
}

/* ---- a tree ---- */

/* What each heap leaf takes off its ratings' residuals; in `leaves` by number below the last level. */
static int32_t leaf_of_squares(const struct boosting *boosting, const struct tree_node *leaf) {
    return (int32_t)lrint(boosting->learning_rate * (double)leaf->sum / (double)leaf->count);
}

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

static reel_status set_leaves(struct boosting *boosting, reel_error *err) {
    int64_t largest = 0;
    for (int node = 0; node < 1 << boosting->tree.depth; node++) {
        const struct tree_node *leaf = &boosting->tree.nodes[tree_leaf_of(&boosting->tree, node)];
        boosting->leaves[node] = leaf->count ? leaf_of_squares(boosting, leaf) : 0;
        int64_t size = boosting->leaves[node] < 0 ? -(int64_t)boosting->leaves[node] : boosting->leaves[node];
        if (size > largest) largest = size;
    }
    /* A sum of bounds grows past the residuals themselves: look before giving up. */
    if (boosting->reach + largest > INT32_MAX) boosting->reach = measure_reach(boosting);
    if (boosting->reach + largest > INT32_MAX)
        return error_set(err, REEL_BAD_INPUT,
                         "gbdt diverged: a residual left +-32 stars; take a smaller learning_rate");
    boosting->reach += largest;
    boosting->pass.leaves = boosting->leaves;
    return REEL_OK;
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

static reel_status add_tree(struct boosting *boosting, reel_error *err) {
    int32_t root;
    TRY_RETURN(set_leaves(boosting, err));
    TRY_RETURN(forest_begin_tree(&boosting->forest, err));
    return put_node(boosting, 0, 0, 0, &root, err);
}

/* ---- the fit ---- */

static reel_status record(struct boosting *boosting, const struct fit_input *input, int stage, double seconds,
                          struct fit_output *output, reel_error *err) {
    double loss = boosting->pass.squared / (double)input->ratings->n_ratings;
    boosting->train_loss[stage - 1] = loss;
    reel_epoch epoch = {stage, sqrt(loss), NAN, seconds};
    return fit_output_epoch(output, epoch, err);
}

static reel_status run_stages(reel_context *ctx, const struct fit_input *input, struct boosting *boosting,
                              struct fit_output *output, reel_error *err) {
    char stage[96];
    snprintf(stage, sizeof stage, "%.60sgbdt", input->stage);
    double start = clock_seconds(), last = start;
    for (int t = 0; t <= boosting->n_trees; t++) {
        if (t == boosting->n_trees)
            tree_pass_run(ctx, &boosting->pass);
        else
            TRY_RETURN(tree_grow(ctx, &boosting->pass, &boosting->columns, &boosting->limits, &boosting->tree, err));
        double now = clock_seconds();
        if (t > 0) {
            /* The first pass of this stage took the leaves of the tree before off the residuals. */
            TRY_RETURN(record(boosting, input, t, now - last, output, err));
            context_progress(ctx, stage, "trees", t, boosting->n_trees, "rmse", sqrt(boosting->train_loss[t - 1]),
                             t == boosting->n_trees);
        }
        last = now;
        if (t < boosting->n_trees) TRY_RETURN(add_tree(boosting, err));
    }
    output->fit_seconds = clock_seconds() - start;
    output->visited = input->ratings->n_ratings * boosting->n_trees;
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
};
