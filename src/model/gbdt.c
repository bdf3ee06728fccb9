/* `gbdt`: gradient boosting of regression trees (Friedman, Greedy function approximation, Annals of Statistics 2001;
 * with subsample, Stochastic gradient boosting, 2002) on the feature star of data/star.h, with the exact splits of
 * scikit-learn's GradientBoostingRegressor. Tensors: see forest.h, and "train_loss" F64 (T,), the mean loss of the
 * training ratings after each tree, "validation_loss" F64 (T,), that of the ratings kept back for early stopping, where
 * there are any, and "importances" F32 (C,), each column's share of the drop of the gradients' squared error.
 *
 * A tree of depth d costs d passes over the ratings: the leaves of tree t are taken off the residuals in the pass that
 * sums up the root of tree t + 1, and leaf means come out of the last split search. The other losses take a few passes
 * more for the medians or quantiles of the leaves (tree_leaves.h).
 *
 * With `init` the trees are added to another model's clipped scores times init_line[1] plus init_line[0] (F64 (2,));
 * its tensors lie under "init.". The line and the training residuals are those of out-of-fold predictions, as in
 * stacking (Wolpert, "Stacked generalization", Neural Networks 5, 1992): a model's errors on what it was fitted to are
 * too small to learn from, and its predictions too far apart. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/split.h"
#include "kernels/common/philox.h"
#include "model/checkpoint.h"
#include "model/gbdt.h"
#include "model/tree_quick.h"

static const struct param_spec gbdt_params[] = {
    {"loss", PARAM_CHOICE, "squared", 0, 0, "squared|absolute|huber|quantile", "what is minimised"},
    {"alpha", PARAM_REAL, "0.9", 0.001, 0.999, NULL, "the quantile; huber: share of errors that count squared"},
    {"n_estimators", PARAM_INT, "100", 1, 100000, NULL, "trees at most"},
    {"learning_rate", PARAM_REAL, "0.1", 1e-6, 1, NULL, "what a tree's leaves are multiplied by"},
    {"max_depth", PARAM_INT, "3", 1, TREE_DEPTH_MAX, NULL, "levels of splits of a tree"},
    {"min_samples_split", PARAM_INT, "2", 2, 1e9, NULL, "fewer ratings make a leaf"},
    {"min_samples_leaf", PARAM_INT, "1", 1, 1e9, NULL, "a split leaves at least this many ratings on each side"},
    {"subsample", PARAM_REAL, "1", 1e-6, 1, NULL, "share of the ratings, drawn anew, that a tree is fitted to"},
    {"max_features", PARAM_REAL, "1", 0.001, 1, NULL, "share of the features, drawn anew, that a split looks at"},
    {"n_iter_no_change", PARAM_INT, "", 1, 100000, NULL, "stop when so many trees brought nothing; unset: never"},
    {"validation_fraction", PARAM_REAL, "0.1", 0.001, 0.9, NULL, "share of the ratings kept back to tell by"},
    {"tol", PARAM_REAL, "0.0001", 0, 10, NULL, "what counts as something: a drop of the loss by more than this"},
    {"init", PARAM_TEXT, "", 0, 0, NULL,
     "add to this model: an algorithm, or a saved model whose algorithm and parameters are taken"},
    {"init_folds", PARAM_INT, "5", 2, 100, NULL, "folds of init's out-of-fold predictions"},
    FEATURE_PARAMS,
};
enum { N_PARAMS = sizeof gbdt_params / sizeof gbdt_params[0] };

static void boosting_free(struct boosting *boosting) {
    features_free(&boosting->features);
    tree_search_free(&boosting->search);
    tree_columns_free(&boosting->columns);
    tree_pass_free(&boosting->pass);
    forest_builder_free(&boosting->forest);
    staged_free(&boosting->on_validation);
    staged_free(&boosting->on_test);
    ratings_free(&boosting->kept);
    rating_pairs_free(&boosting->validation);
    reel_model_free(boosting->init_model);
    member_free(&boosting->init);
    mem_free(boosting->init_train);
    mem_free(boosting->init_validation);
    mem_free(boosting->init_test);
    mem_free(boosting->bag);
    mem_free(boosting->recent);
    mem_free(boosting->train_loss);
    mem_free(boosting->validation_loss);
    mem_free(boosting->test_rmse);
    mem_free(boosting);
}

/* ---- setting up ---- */

/* Keeps the validation part back. */
static reel_status keep_back(struct boosting *boosting, reel_error *err) {
    reel_status status = REEL_OK;
    const struct ratings *all = boosting->input.ratings;
    const struct param_values *params = boosting->input.params;
    double patience = params_number(params, "n_iter_no_change"); /* NaN where it is unset */
    uint8_t *marks = NULL;
    if (!(patience >= 1)) return REEL_OK;
    boosting->patience = (int)patience;
    boosting->tolerance = params_number(params, "tol");
    TRY(MEM_RAW(&boosting->recent, boosting->patience, err));
    for (int i = 0; i < boosting->patience; i++) boosting->recent[i] = INFINITY;
    TRY(MEM_RAW(&marks, all->n_ratings, err));
    TRY(split_holdout(boosting->ctx, all, REEL_SPLIT_RANDOM, params_number(params, "validation_fraction"),
                      boosting->input.seed, marks, err));
    TRY(ratings_pairs(boosting->ctx, all, marks, &boosting->validation, err));
    if (boosting->validation.n == 0 || boosting->validation.n == all->n_ratings) {
        status = error_set(err, REEL_BAD_INPUT, "%lld ratings are too few to keep some back for early stopping",
                           (long long)all->n_ratings);
        goto cleanup;
    }
    TRY(ratings_subset(boosting->ctx, all, marks, RATINGS_TIMES, &boosting->kept, err));
    boosting->input.ratings = &boosting->kept;
cleanup:
    mem_free(marks);
    return status;
}

/* The least-squares line from predictions to stars; sums in order. Puts the predictions on it. */
static void fit_line(struct boosting *boosting, float *predictions) {
    const struct ratings *ratings = boosting->input.ratings;
    double n = (double)ratings->n_ratings, x = 0, y = 0, xx = 0, xy = 0, *line = boosting->init_line;
    for (int64_t i = 0; i < ratings->n_ratings; i++) x += (double)predictions[i], y += 0.5 * ratings->user_ratings[i];
    for (int64_t i = 0; i < ratings->n_ratings; i++) {
        double distance = (double)predictions[i] - x / n;
        xx += distance * distance;
        xy += distance * (0.5 * ratings->user_ratings[i] - y / n);
    }
    line[1] = xx > 1e-9 * n ? xy / xx : 0;
    line[0] = (y - line[1] * x) / n;
    for (int64_t i = 0; i < ratings->n_ratings; i++)
        predictions[i] = (float)(line[0] + line[1] * (double)predictions[i]);
}

static reel_status predict_pairs(struct boosting *boosting, const struct rating_pairs *pairs, float **predictions,
                                 reel_error *err) {
    reel_metrics metrics;
    if (!pairs || pairs->n == 0) return REEL_OK;
    TRY_RETURN(MEM_RAW(predictions, pairs->n, err));
    TRY_RETURN(model_measure(boosting->ctx, boosting->init_model, pairs, NULL, *predictions, &metrics, err));
    for (int64_t i = 0; i < pairs->n; i++)
        (*predictions)[i] = (float)(boosting->init_line[0] + boosting->init_line[1] * (double)(*predictions)[i]);
    return REEL_OK;
}

/* Fits the model that is added to: on parts of the ratings for their own predictions, on all of them for others'. */
static reel_status fit_init(struct boosting *boosting, struct fit_output *total, reel_error *err) {
    reel_status status = REEL_OK;
    const struct fit_input *input = &boosting->input;
    const char *name = params_text(input->params, "init");
    struct ratings own = {0};
    struct fit_output output = {0};
    uint8_t *marks = NULL;
    char stage[96];
    if (!*name) return REEL_OK;
    TRY(member_open(&boosting->init, name, input->seed, err));
    snprintf(stage, sizeof stage, "%.40sgbdt init ", input->stage);
    TRY(MEM_RAW(&boosting->init_train, input->ratings->n_ratings, err));
    TRY(member_predict_out_of_fold(boosting->ctx, &boosting->init, input->dataset, input->ratings,
                                   (int)params_number(input->params, "init_folds"), input->seed, stage,
                                   boosting->init_train, total, err));
    fit_line(boosting, boosting->init_train);
    /* Its algorithm may need the ratings by movie. */
    TRY(MEM_NEW(&marks, input->ratings->n_ratings, err));
    TRY(ratings_subset(boosting->ctx, input->ratings, marks, boosting->init.algorithm->needs, &own, err));
    TRY(member_fit(boosting->ctx, &boosting->init, input->dataset, &own, NULL, stage, &boosting->init_model, &output,
                   err));
    total->visited += output.visited;
    total->fit_seconds += output.fit_seconds;
    TRY(predict_pairs(boosting, &boosting->validation, &boosting->init_validation, err));
    TRY(predict_pairs(boosting, input->test, &boosting->init_test, err));
cleanup:
    mem_free(marks);
    member_output_free(&output);
    ratings_free(&own);
    return status;
}

static void read_params(struct boosting *boosting) {
    const struct param_values *params = boosting->input.params;
    boosting->limits = (struct tree_limits){.depth = (int)params_number(params, "max_depth"),
                                            .min_samples_split = (int64_t)params_number(params, "min_samples_split"),
                                            .min_samples_leaf = (int64_t)params_number(params, "min_samples_leaf"),
                                            .seed = boosting->input.seed};
    boosting->learning_rate = params_number(params, "learning_rate");
    boosting->n_trees = (int)params_number(params, "n_estimators");
    boosting->subsample = params_number(params, "subsample");
    boosting->loss = (struct tree_loss){.kind = (enum tree_loss_kind)params_number(params, "loss"),
                                        .alpha = params_number(params, "alpha")};
}

static reel_status make_staged(struct boosting *boosting, reel_error *err) {
    const struct fit_input *input = &boosting->input;
    double base = (double)boosting->base / TREE_ONE;
    TRY_RETURN(staged_new(&boosting->validation, &boosting->features.star, input->ratings, base,
                          boosting->init_validation, &boosting->on_validation, err));
    return staged_new(input->test, &boosting->features.star, input->ratings, base, boosting->init_test,
                      &boosting->on_test, err);
}

/* The search over the sums of the pass's own loops, in host memory; or both on the backend, the quick way. Checkpoints
 * keep residuals, which that way has on the backend. */
static reel_status make_search(struct boosting *boosting, reel_error *err) {
    static const int32_t *const same[STAR_TABLES];
    struct tree_pass *pass = &boosting->pass;
    struct tree_search *search = &boosting->search;
    struct backend *host;
    int32_t rows[STAR_TABLES];
    if (!boosting->input.checkpoint && boosting->loss.kind == TREE_SQUARED && tree_quick_can(pass, &boosting->limits))
        return tree_quick_new(boosting->ctx, pass, &boosting->columns, search, err);
    TRY_RETURN(context_host_backend(boosting->ctx, &host, err));
    for (int t = 0; t < STAR_TABLES; t++) rows[t] = (int32_t)pass->n_rows[t];
    TRY_RETURN(tree_search_new(boosting->ctx, host, &boosting->columns, rows, same, 1 << (boosting->limits.depth - 1),
                               search, err));
    for (int t = 0; t < STAR_TABLES; t++) search->sums[t] = (const struct tree_total *)pass->sums[t];
    return REEL_OK;
}

static reel_status boosting_new(struct boosting *boosting, struct fit_output *output, reel_error *err) {
    const struct fit_input *input = &boosting->input;
    read_params(boosting);
    TRY_RETURN(keep_back(boosting, err));
    TRY_RETURN(fit_init(boosting, output, err));
    /* What is added to a model starts from nothing. */
    boosting->base = boosting->init_model ? 0 : tree_loss_base(&boosting->loss, input->ratings);
    boosting->reach = (int64_t)5 * TREE_ONE;
    TRY_RETURN(features_new(boosting->ctx, input, &boosting->features, output, err));
    int n = boosting->features.star.n_columns, drawn = (int)(params_number(input->params, "max_features") * n);
    boosting->limits.max_features = drawn < 1 ? 1 : drawn;
    TRY_RETURN(tree_columns_new(boosting->ctx, features_training(&boosting->features), &boosting->columns, err));
    TRY_RETURN(tree_pass_new(boosting->ctx, input->ratings, boosting->features.stride, boosting->limits.depth,
                             boosting->base, boosting->init_train, &boosting->pass, err));
    TRY_RETURN(make_staged(boosting, err));
    if (boosting->subsample < 1) TRY_RETURN(MEM_RAW(&boosting->bag, input->ratings->n_ratings, err));
    boosting->pass.bag = boosting->bag;
    TRY_RETURN(MEM_NEW(&boosting->train_loss, boosting->n_trees, err));
    TRY_RETURN(MEM_NEW(&boosting->validation_loss, boosting->n_trees, err));
    TRY_RETURN(MEM_NEW(&boosting->test_rmse, boosting->n_trees, err));
    return make_search(boosting, err);
}

/* ---- a tree ---- */

/* The farthest residual from 0. */
static int64_t measure_reach(const struct boosting *boosting) {
    const struct tree_rows *rows = &boosting->pass.rows;
    int64_t reach = 0;
    if (boosting->pass.quick) return tree_quick_reach(&boosting->pass);
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
    struct fit_output *output;
    char name[96];
    double last; /* clock at the last record */
};

static reel_status record(struct boosting *boosting, struct stages *stages, int stage, double loss, double squared,
                          reel_error *err) {
    double now = clock_seconds();
    reel_epoch epoch = {stage, sqrt(squared), NAN, now - stages->last};
    stages->last = now;
    boosting->train_loss[stage - 1] = loss;
    context_progress(boosting->ctx, stages->name, "trees", stage, boosting->n_trees, "rmse", epoch.train_rmse,
                     stage == boosting->n_trees);
    return fit_output_epoch(stages->output, epoch, err);
}

/* Of squared errors: what the latest root pass left over, when it took the leaves of tree `stage` off. */
static reel_status record_squares(struct boosting *boosting, struct stages *stages, int stage, reel_error *err) {
    double squared = boosting->pass.squared / (double)boosting->input.ratings->n_ratings;
    return record(boosting, stages, stage, squared, squared, err);
}

struct draw {
    uint8_t *bag;
    uint64_t key;
    int64_t n, drawn;
};
enum { DRAW_TASK = 1 << 16 };

static void draw_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct draw *draw = arg;
    int64_t end = (task + 1) * DRAW_TASK < draw->n ? (task + 1) * DRAW_TASK : draw->n;
    for (int64_t i = task * DRAW_TASK; i < end; i++) draw->bag[i] = split_permute(draw->key, draw->n, i) < draw->drawn;
}

/* The ratings that tree `stage` is fitted to: so many of them, without replacement. */
static void draw_bag(struct boosting *boosting, int stage) {
    if (!boosting->bag) return;
    uint64_t stream = philox_stream(PHILOX_BOOTSTRAP, (uint32_t)stage);
    struct philox4 words = philox_block(boosting->input.seed, stream, 0);
    struct draw draw = {
        .bag = boosting->bag, .key = (uint64_t)words.v[0] << 32 | words.v[1], .n = boosting->input.ratings->n_ratings};
    draw.drawn = (int64_t)(boosting->subsample * (double)draw.n);
    if (draw.drawn < 1) draw.drawn = 1;
    thread_pool_run(boosting->ctx->pool, (draw.n + DRAW_TASK - 1) / DRAW_TASK, draw_task, &draw);
}

/* Test and validation figures after the latest tree, number `stage`; *stop = 1 when it is time to, as scikit-learn
 * has it: none of the last `patience` kept losses is above this one by more than the tolerance. */
static void look(struct boosting *boosting, int stage, int *stop) {
    double start = clock_seconds();
    *stop = boosting->patience > 0;
    staged_add(boosting->ctx, &boosting->on_test, &boosting->forest, &boosting->loss);
    boosting->test_rmse[stage - 1] = boosting->on_test.rmse;
    staged_add(boosting->ctx, &boosting->on_validation, &boosting->forest, &boosting->loss);
    double loss = boosting->validation_loss[stage - 1] = boosting->on_validation.mean_loss;
    for (int i = 0; i < boosting->patience; i++) *stop &= !(loss + boosting->tolerance < boosting->recent[i]);
    if (boosting->patience && !*stop) boosting->recent[(stage - 1) % boosting->patience] = loss;
    boosting->staged_seconds += clock_seconds() - start;
}

static reel_status run_stage(struct boosting *boosting, struct stages *stages, int stage, int *stop, reel_error *err) {
    double loss, squared;
    reel_context *ctx = boosting->ctx;
    int means = boosting->loss.kind == TREE_SQUARED;
    draw_bag(boosting, stage);
    boosting->limits.tree = (uint32_t)stage;
    TRY_RETURN(tree_loss_gradient(ctx, &boosting->loss, &boosting->pass, err));
    TRY_RETURN(tree_grow(ctx, &boosting->pass, &boosting->search, &boosting->limits, &boosting->tree, err));
    if (means && stage > 1) TRY_RETURN(record_squares(boosting, stages, stage - 1, err));
    TRY_RETURN(add_tree(ctx, boosting, err));
    if (!means) {
        TRY_RETURN(tree_loss_update(ctx, &boosting->loss, &boosting->pass, boosting->leaves, &loss, &squared, err));
        TRY_RETURN(record(boosting, stages, stage, loss, squared, err));
    }
    look(boosting, stage, stop);
    return REEL_OK;
}

static reel_status run_stages(struct boosting *boosting, struct fit_output *output, reel_error *err) {
    double start = clock_seconds();
    struct stages stages = {.output = output, .last = start};
    int stage = 0, stop = 0;
    snprintf(stages.name, sizeof stages.name, "%.60sgbdt", boosting->input.stage);
    TRY_RETURN(gbdt_checkpoint_read(boosting, output, &stage, err));
    while (stage < boosting->n_trees && !stop) {
        TRY_RETURN(run_stage(boosting, &stages, ++stage, &stop, err));
        if (!stop && checkpoint_due(&boosting->input, stage, boosting->n_trees))
            TRY_RETURN(gbdt_checkpoint_write(boosting, output, stage, err));
    }
    boosting->n_trees = stage;
    if (boosting->loss.kind == TREE_SQUARED) {
        TRY_RETURN(tree_pass_run(boosting->ctx, &boosting->pass, err));
        TRY_RETURN(record_squares(boosting, &stages, stage, err));
    }
    for (int i = 0; i < stage; i++) output->epochs[i].test_rmse = boosting->test_rmse[i];
    output->fit_seconds += clock_seconds() - start - boosting->staged_seconds;
    output->visited += boosting->input.ratings->n_ratings * stage;
    return REEL_OK;
}

static reel_status put_losses(const struct boosting *boosting, struct tensor_set *set, reel_error *err) {
    void *losses;
    size_t bytes = sizeof(double) * (size_t)boosting->n_trees;
    TRY_RETURN(tensor_set_add1(set, "train_loss", DTYPE_F64, boosting->n_trees, &losses, err));
    memcpy(losses, boosting->train_loss, bytes);
    if (!boosting->patience) return REEL_OK;
    TRY_RETURN(tensor_set_add1(set, "validation_loss", DTYPE_F64, boosting->n_trees, &losses, err));
    memcpy(losses, boosting->validation_loss, bytes);
    return REEL_OK;
}

static reel_status put_init(const struct boosting *boosting, struct tensor_set *set, reel_error *err) {
    void *line;
    if (!boosting->init_model) return REEL_OK;
    TRY_RETURN(tensor_set_add1(set, "init_line", DTYPE_F64, 2, &line, err));
    memcpy(line, boosting->init_line, sizeof boosting->init_line);
    return member_put("init.", boosting->init_model, set, err);
}

static reel_status gbdt_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                            struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct boosting *boosting = NULL;
    TRY_RETURN(MEM_NEW(&boosting, 1, err));
    boosting->ctx = ctx;
    boosting->input = *input;
    TRY(boosting_new(boosting, output, err));
    TRY(run_stages(boosting, output, err));
    TRY(put_losses(boosting, set, err));
    TRY(features_put_importances(&boosting->features, boosting->importances, set, err));
    TRY(forest_put_columns(&boosting->features.star, set, err));
    TRY(forest_put_trees(&boosting->forest, (float)boosting->base / (float)TREE_ONE, set, err));
    TRY(put_init(boosting, set, err));
cleanup:
    boosting_free(boosting);
    return status;
}

/* ---- scoring ---- */

static const struct reel_model *init_of(const struct reel_model *model) {
    return ((const struct forest *)model->state)->init;
}

static reel_status gbdt_bind(struct reel_model *model, reel_error *err) {
    const struct tensor *line;
    int64_t two = 2;
    TRY_RETURN(forest_bind(model, err));
    if (!tensor_set_get(model->set, "init.algorithm")) return REEL_OK;
    struct forest *forest = model->state;
    TRY_RETURN(tensor_set_require(model->set, "init_line", DTYPE_F64, 1, &two, &line, err));
    memcpy(forest->init_line, line->data, sizeof forest->init_line);
    if (!isfinite(forest->init_line[0]) || !isfinite(forest->init_line[1]))
        return error_set(err, REEL_CORRUPT, "%s: init_line holds a value that is not finite",
                         tensor_set_path(model->set));
    return member_bind(model, "init.", &forest->init, err);
}

/* scores (n,) of the trees += the clipped ones of the model below them, on their line. */
static void add_clipped(const struct reel_model *model, int64_t n, const float *init, float *scores) {
    const double *line = ((const struct forest *)model->state)->init_line;
    for (int64_t i = 0; i < n; i++) {
        float clipped = fminf(fmaxf(init[i], model->scale_min), model->scale_max);
        scores[i] += (float)(line[0] + line[1] * (double)clipped);
    }
}

static reel_status gbdt_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                                const uint32_t *times, float *scores, float *sds, reel_error *err) {
    const struct reel_model *init = init_of(model);
    float *own = NULL;
    TRY_RETURN(forest_predict(model, n, users, movies, times, scores, sds, err));
    if (!init) return REEL_OK;
    TRY_RETURN(MEM_RAW(&own, n, err));
    reel_status status = init->algorithm->predict(init, n, users, movies, times, own, NULL, err);
    if (status == REEL_OK) add_clipped(model, n, own, scores);
    mem_free(own);
    return status;
}

static reel_status gbdt_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                                uint32_t time, float *scores, float *sds, reel_error *err) {
    const struct reel_model *init = init_of(model);
    float *own = NULL;
    if (init && !init->algorithm->fold_in)
        return error_set(err, REEL_UNSUPPORTED, "%s, which these trees are added to, cannot fold visitors in",
                         init->algorithm->name);
    TRY_RETURN(forest_fold_in(model, n, movies, stars, time, scores, sds, err));
    if (!init) return REEL_OK;
    TRY_RETURN(MEM_RAW(&own, model->n_movies, err));
    reel_status status = init->algorithm->fold_in(init, n, movies, stars, time, own, NULL, err);
    if (status == REEL_OK) add_clipped(model, model->n_movies, own, scores);
    mem_free(own);
    return status;
}

const struct algorithm algorithm_gbdt = {
    .name = "gbdt",
    .summary = "gradient boosted regression trees on hand-made features, exact splits",
    .params = gbdt_params,
    .n_params = N_PARAMS,
    .needs = RATINGS_TIMES,
    .checkpoints = 1,
    .fit = gbdt_fit,
    .bind = gbdt_bind,
    .unbind = forest_unbind,
    .predict = gbdt_predict,
    .fold_in = gbdt_fold_in,
    .forest_view = forest_view,
};
