/* `adaboost`: AdaBoost.R2 (Drucker, "Improving regressors using boosting techniques", ICML 1997) over regression trees,
 * as scikit-learn's AdaBoostRegressor: each tree sees ratings drawn by weights that grow where the trees before erred,
 * and a score is the weighted median of the trees'. Tensors: see row_forest.h, with a base of 0, and "tree_weights"
 * F64 (T,), >= 0. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/common/philox.h"
#include "kernels/common/tree_walk.h"
#include "core/error.h"
#include "core/mem.h"
#include "model/row_forest.h"
#include "model/row_score.h"
#include "model/weighted_draw.h"

static const struct param_spec adaboost_params[] = {
    {"n_estimators", PARAM_INT, "50", 1, 1000, NULL, "trees at most; a tree without errors ends it"},
    {"learning_rate", PARAM_REAL, "1", 1e-6, 100, NULL, "how much a tree changes the weights"},
    {"loss", PARAM_CHOICE, "linear", 0, 0, "linear|square|exponential", "of an error as a share of the largest"},
    ROW_TREE_PARAMS("3"),
    FEATURE_PARAMS,
};
enum { RATINGS_A_TASK = 1 << 14, USERS_A_TASK = 256, TREES_MAX = 1000 };
enum adaboost_loss { LOSS_LINEAR, LOSS_SQUARE, LOSS_EXPONENTIAL };

struct boost {
    reel_context *ctx;
    const struct fit_input *input;
    struct row_forest forest;
    double learning_rate;
    enum adaboost_loss loss;
    double *weights;          /* (n_ratings,) */
    double total;             /* their sum */
    float *errors;            /* (n_ratings,) of the latest tree: stars, then losses 0..1 */
    uint16_t *copies;         /* (n_ratings,) */
    double *task_sums;        /* (tasks,) of ratings or users */
    struct row_scorer scorer; /* of the latest tree */
    double largest, log_beta;
    double tree_weights[TREES_MAX];
};

static int64_t n_tasks(const struct boost *boost) {
    return (boost->input->ratings->n_ratings + RATINGS_A_TASK - 1) / RATINGS_A_TASK;
}

static int64_t task_end(const struct boost *boost, int64_t task) {
    int64_t end = (task + 1) * RATINGS_A_TASK, n = boost->input->ratings->n_ratings;
    return end < n ? end : n;
}

static int64_t n_user_tasks(const struct boost *boost) {
    return ((int64_t)boost->input->ratings->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
}

/* ---- errors and weights ---- */

static void measure_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct boost *boost = arg;
    const struct ratings *ratings = boost->input->ratings;
    int64_t end = (task + 1) * USERS_A_TASK;
    double largest = 0;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < (end < ratings->n_users ? end : ratings->n_users);
         user++) {
        row_scorer_user(&boost->scorer, user, boost->errors + ratings->user_offsets[user]);
        for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
            boost->errors[i] = fabsf(boost->errors[i] - 0.5f * (float)ratings->user_ratings[i]);
            if (boost->weights[i] > 0 && (double)boost->errors[i] > largest) largest = (double)boost->errors[i];
        }
    }
    boost->task_sums[task] = largest;
}

static void loss_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct boost *boost = arg;
    double sum = 0;
    for (int64_t i = task * RATINGS_A_TASK; i < task_end(boost, task); i++) {
        double error = boost->largest > 0 ? (double)boost->errors[i] / boost->largest : 0;
        if (boost->loss == LOSS_SQUARE) error *= error;
        if (boost->loss == LOSS_EXPONENTIAL) error = 1 - exp(-error);
        boost->errors[i] = (float)error;
        sum += boost->weights[i] * error;
    }
    boost->task_sums[task] = sum;
}

/* weight / sum of weights * beta^((1 - loss) learning_rate). */
static void weight_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct boost *boost = arg;
    const double rate = boost->learning_rate * boost->log_beta, scale = 1 / boost->total;
    double sum = 0;
    for (int64_t i = task * RATINGS_A_TASK; i < task_end(boost, task); i++) {
        boost->weights[i] *= scale * exp((1 - (double)boost->errors[i]) * rate);
        sum += boost->weights[i];
    }
    boost->task_sums[task] = sum;
}

/* Runs a task over all ratings and adds up what the parts left, in order. */
static double sum_tasks(struct boost *boost, task_fn task) {
    double sum = 0;
    thread_pool_run(boost->ctx->pool, n_tasks(boost), task, boost);
    for (int64_t t = 0; t < n_tasks(boost); t++) sum += boost->task_sums[t];
    return sum;
}

/* Weighs the latest tree, number `at`, and the ratings anew. *go_on = 0 ends the boosting; *keep = 0 drops the tree. */
static void weigh(struct boost *boost, int at, int *go_on, int *keep) {
    *go_on = 0;
    *keep = 1;
    thread_pool_run(boost->ctx->pool, n_user_tasks(boost), measure_task, boost);
    boost->largest = 0;
    for (int64_t t = 0; t < n_user_tasks(boost); t++) boost->largest = fmax(boost->largest, boost->task_sums[t]);
    double error = sum_tasks(boost, loss_task) / boost->total;
    boost->tree_weights[at] = 1;
    if (error <= 0) return;
    if (error >= 0.5) {
        *keep = at == 0;
        return;
    }
    boost->log_beta = log(error / (1 - error));
    boost->tree_weights[at] = -boost->learning_rate * boost->log_beta;
    boost->total = sum_tasks(boost, weight_task);
    *go_on = boost->total > 0;
}

/* ---- the fit ---- */

static reel_status boost_new(struct boost *boost, struct fit_output *output, reel_error *err) {
    const struct param_values *params = boost->input->params;
    int64_t n = boost->input->ratings->n_ratings;
    boost->learning_rate = params_number(params, "learning_rate");
    boost->loss = (enum adaboost_loss)params_number(params, "loss");
    TRY_RETURN(row_forest_new(boost->ctx, boost->input, &boost->forest, output, err));
    TRY_RETURN(MEM_RAW(&boost->weights, n, err));
    TRY_RETURN(MEM_RAW(&boost->errors, n, err));
    TRY_RETURN(MEM_RAW(&boost->copies, n, err));
    TRY_RETURN(MEM_NEW(&boost->task_sums, n_tasks(boost) + n_user_tasks(boost), err));
    for (int64_t i = 0; i < n; i++) boost->weights[i] = 1;
    boost->total = (double)n;
    return REEL_OK;
}

static void boost_free(struct boost *boost) {
    mem_free(boost->weights);
    mem_free(boost->errors);
    mem_free(boost->copies);
    mem_free(boost->task_sums);
    row_forest_free(&boost->forest);
    mem_free(boost);
}

static reel_status add_tree(struct boost *boost, int at, int *go_on, reel_error *err) {
    reel_status status = REEL_OK;
    const int64_t n = boost->input->ratings->n_ratings;
    struct row_forest *forest = &boost->forest;
    struct row_tree tree = {0};
    int keep;
    forest->limits.tree = (uint32_t)at;
    TRY(weighted_draw(boost->ctx, boost->input->seed, philox_stream(PHILOX_BOOTSTRAP, (uint32_t)at), n, boost->weights,
                      boost->errors, boost->copies, err));
    TRY(row_tree_grow(boost->ctx, &forest->data, boost->copies, &forest->limits, 0, &tree, err));
    TRY(row_scorer_new(boost->ctx, &forest->data, &tree, &boost->scorer, err));
    weigh(boost, at, go_on, &keep);
    if (keep) TRY(row_forest_add(forest, &tree, 0, 1, err));
cleanup:
    row_scorer_free(&boost->scorer);
    row_tree_free(&tree);
    return status;
}

static reel_status run(struct boost *boost, reel_error *err) {
    int n = (int)params_number(boost->input->params, "n_estimators"), go_on = 1;
    char stage[96];
    snprintf(stage, sizeof stage, "%.60sadaboost", boost->input->stage);
    for (int t = 0; t < n && go_on; t++) {
        TRY_RETURN(context_check(boost->ctx, err));
        context_progress(boost->ctx, stage, "trees", t, n, NULL, 0, 0);
        TRY_RETURN(add_tree(boost, t, &go_on, err));
    }
    context_progress(boost->ctx, stage, "trees", boost->forest.trees.n_trees, boost->forest.trees.n_trees, NULL, 0, 1);
    return REEL_OK;
}

static reel_status adaboost_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                                struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct boost *boost = NULL;
    void *weights;
    TRY_RETURN(MEM_NEW(&boost, 1, err));
    boost->ctx = ctx;
    boost->input = input;
    TRY(boost_new(boost, output, err));
    double start = clock_seconds();
    TRY(run(boost, err));
    output->fit_seconds += clock_seconds() - start;
    output->visited += input->ratings->n_ratings * boost->forest.trees.n_trees;
    TRY(tensor_set_add1(set, "tree_weights", DTYPE_F64, boost->forest.trees.n_trees, &weights, err));
    memcpy(weights, boost->tree_weights, sizeof(double) * (size_t)boost->forest.trees.n_trees);
    TRY(row_forest_put(&boost->forest, 0, set, err));
cleanup:
    boost_free(boost);
    return status;
}

/* ---- scoring ---- */

static const double *weights_of(const struct reel_model *model) {
    return tensor_set_find(model->set, "tree_weights")->data;
}

static reel_status adaboost_bind(struct reel_model *model, reel_error *err) {
    const struct tensor *weights;
    TRY_RETURN(forest_bind(model, err));
    int64_t n = ((const struct forest *)model->state)->n_trees;
    TRY_RETURN(tensor_set_require(model->set, "tree_weights", DTYPE_F64, 1, &n, &weights, err));
    double total = 0;
    for (int64_t t = 0; t < n; t++) {
        double weight = ((const double *)weights->data)[t];
        if (!(weight >= 0 && weight < 1e9))
            return error_set(err, REEL_CORRUPT, "%s: tree_weights must be finite and not negative (tree %lld: %g)",
                             tensor_set_path(model->set), (long long)t, weight);
        total += weight;
    }
    if (n < 1 || n > TREES_MAX || !(total > 0))
        return error_set(err, REEL_CORRUPT, "%s: 1..%d trees with weights are possible (found %lld)",
                         tensor_set_path(model->set), TREES_MAX, (long long)n);
    return REEL_OK;
}

/* The smallest score with half of all weight at or below it. */
static float weighted_median(const struct forest *forest, const double *weights, const float *row) {
    float scores[TREES_MAX];
    int32_t order[TREES_MAX], n = forest->n_trees;
    double total = 0, below = 0;
    for (int32_t t = 0; t < n; t++) {
        int32_t at = t;
        float score = tree_walk(forest->nodes, forest->offsets[t], row)->threshold;
        for (; at > 0 && scores[at - 1] > score; at--) scores[at] = scores[at - 1], order[at] = order[at - 1];
        scores[at] = score;
        order[at] = t;
        total += weights[t];
    }
    for (int32_t i = 0; i < n; i++) {
        below += weights[order[i]];
        if (below >= 0.5 * total) return scores[i];
    }
    return scores[n - 1];
}

static reel_status adaboost_predict(const struct reel_model *model, int64_t n, const int32_t *users,
                                    const int32_t *movies, const uint32_t *times, float *scores, float *sds,
                                    reel_error *err) {
    (void)sds, (void)err;
    const struct forest *forest = model->state;
    float row[STAR_COLUMNS_MAX];
    for (int64_t i = 0; i < n; i++) {
        forest_fetch_row(model, &forest->columns, users[i], movies[i], star_hour(times ? times[i] : 0), row);
        scores[i] = weighted_median(forest, weights_of(model), row);
    }
    return REEL_OK;
}

static float score_median(const struct reel_model *model, const float *row) {
    return weighted_median(model->state, weights_of(model), row);
}

static reel_status adaboost_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies,
                                    const float *stars, uint32_t time, float *scores, float *sds, reel_error *err) {
    (void)movies, (void)sds, (void)err;
    forest_score_visitor(model, n, stars, time, score_median, scores);
    return REEL_OK;
}

const struct algorithm algorithm_adaboost = {
    .name = "adaboost",
    .summary = "AdaBoost.R2: regression trees on what the ones before got wrong, their weighted median",
    .params = adaboost_params,
    .n_params = sizeof adaboost_params / sizeof adaboost_params[0],
    .needs = RATINGS_TIMES,
    .fit = adaboost_fit,
    .bind = adaboost_bind,
    .unbind = forest_unbind,
    .predict = adaboost_predict,
    .fold_in = adaboost_fold_in,
};
