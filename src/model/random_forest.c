/* `forest`: the mean of regression trees that each saw another bootstrap sample of the ratings (Breiman, "Random
 * forests", Machine Learning 45, 2001), as scikit-learn's RandomForestRegressor. Tensors: see row_forest.h. Metadata
 * "oob.rmse" with oob=1: the error of each rating under the trees that did not see it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/common/philox.h"
#include "core/error.h"
#include "core/mem.h"
#include "model/baseline.h"
#include "model/row_forest.h"
#include "model/row_score.h"

static const struct param_spec forest_params[] = {
    {"n_estimators", PARAM_INT, "100", 1, 100000, NULL, "trees"},
    ROW_TREE_PARAMS(""),
    {"bootstrap", PARAM_BOOL, "1", 0, 1, NULL, "each tree sees ratings drawn with replacement"},
    {"max_samples", PARAM_REAL, "1", 1e-6, 1, NULL, "how many are drawn, as a share of the ratings"},
    {"oob", PARAM_BOOL, "0", 0, 1, NULL, "measure on the ratings that a tree did not see"},
    FEATURE_PARAMS,
};
enum {
    WAVE = 16,
    ALONE_BELOW = 1 << 21, /* ratings from which trees grow one after another, each on all threads */
    RATINGS_A_TASK = 1 << 14,
    USERS_A_TASK = 256
};

struct bagging {
    reel_context *ctx;
    const struct fit_input *input;
    struct row_forest forest;
    int n_trees, bootstrap;
    double base; /* mean of all ratings */
    int alone;   /* 1: trees grow side by side, each on one thread; 0: one after another on all of them */
    int n_copies;
    uint16_t **copies; /* (n_copies, n_ratings), by worker if alone */
    struct row_tree trees[WAVE];
    int first; /* number of trees[0] */
    reel_status statuses[WAVE];
    reel_error errors[WAVE];
    /* out of bag */
    double *sums;    /* (n_ratings,) of trees' scores, NULL = not asked for */
    uint32_t *seen;  /* (n_ratings,) trees in a sum */
    double *squares; /* (tasks, 2): squared errors, ratings */
};

/* ---- trees ---- */

struct drawing {
    const struct bagging *bagging;
    int tree;
    int64_t n;        /* draws */
    uint16_t *copies; /* (n_ratings,) */
};

/* Threads draw side by side: sums of ones do not depend on their order. Nothing comes up 2^16 times. */
static void draw_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct drawing *drawing = arg;
    const struct fit_input *input = drawing->bagging->input;
    const uint64_t n = (uint64_t)input->ratings->n_ratings;
    const uint64_t stream = philox_stream(PHILOX_BOOTSTRAP, (uint32_t)drawing->tree);
    int64_t begin = task * RATINGS_A_TASK, end = begin + RATINGS_A_TASK;
    struct philox4 words = {{0}};
    for (int64_t i = begin; i < (end < drawing->n ? end : drawing->n); i++) {
        if (i % 4 == 0) words = philox_block(input->seed, stream, (uint64_t)i / 4);
        __atomic_fetch_add(&drawing->copies[(uint64_t)words.v[i % 4] * n >> 32], 1, __ATOMIC_RELAXED);
    }
}

/* How often each rating is drawn for a tree; with `alone` on the calling thread. */
static void draw_copies(const struct bagging *bagging, int tree, int alone, uint16_t *copies) {
    const int64_t n = bagging->input->ratings->n_ratings;
    struct drawing drawing = {bagging, tree, llrint(params_number(bagging->input->params, "max_samples") * (double)n),
                              copies};
    if (drawing.n < 1) drawing.n = 1;
    int64_t n_draw_tasks = (drawing.n + RATINGS_A_TASK - 1) / RATINGS_A_TASK;
    memset(copies, 0, (size_t)n * sizeof *copies);
    if (!alone) thread_pool_run(bagging->ctx->pool, n_draw_tasks, draw_task, &drawing);
    for (int64_t task = 0; alone && task < n_draw_tasks; task++) draw_task(&drawing, task, 0);
}

static void grow_task(void *arg, int64_t task, int worker) {
    struct bagging *bagging = arg;
    struct row_limits limits = bagging->forest.limits;
    uint16_t *copies = bagging->bootstrap ? bagging->copies[worker] : NULL;
    limits.tree = (uint32_t)(bagging->first + (int)task);
    bagging->statuses[task] = context_check(bagging->ctx, &bagging->errors[task]);
    if (bagging->statuses[task] != REEL_OK) return;
    if (copies) draw_copies(bagging, bagging->first + (int)task, bagging->alone, copies);
    bagging->statuses[task] = row_tree_grow(bagging->ctx, &bagging->forest.data, copies, &limits, bagging->alone,
                                            &bagging->trees[task], &bagging->errors[task]);
}

/* ---- out of bag ---- */

struct unseen {
    struct bagging *bagging;
    struct row_scorer scorer;
    float *scores;          /* (n_ratings,) */
    const uint16_t *copies; /* (n_ratings,) */
};

static void add_unseen(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct unseen *unseen = arg;
    struct bagging *bagging = unseen->bagging;
    const struct ratings *ratings = bagging->input->ratings;
    int64_t end = (task + 1) * USERS_A_TASK;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < (end < ratings->n_users ? end : ratings->n_users);
         user++) {
        row_scorer_user(&unseen->scorer, user, unseen->scores + ratings->user_offsets[user]);
        for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
            if (unseen->copies[i]) continue;
            bagging->sums[i] += (double)unseen->scores[i];
            bagging->seen[i]++;
        }
    }
}

/* Adds what tree i of the wave says of the ratings that it did not see. */
static reel_status score_unseen(struct bagging *bagging, int i, reel_error *err) {
    reel_status status = REEL_OK;
    const struct ratings *ratings = bagging->input->ratings;
    struct unseen unseen = {.bagging = bagging, .copies = bagging->copies[0]};
    int64_t n_user_tasks = ((int64_t)ratings->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
    if (bagging->alone) draw_copies(bagging, bagging->first + i, 0, bagging->copies[0]);
    TRY(MEM_RAW(&unseen.scores, ratings->n_ratings, err));
    TRY(row_scorer_new(bagging->ctx, &bagging->forest.data, &bagging->trees[i], &unseen.scorer, err));
    thread_pool_run(bagging->ctx->pool, n_user_tasks, add_unseen, &unseen);
cleanup:
    row_scorer_free(&unseen.scorer);
    mem_free(unseen.scores);
    return status;
}

static int64_t n_tasks(const struct bagging *bagging) {
    return (bagging->input->ratings->n_ratings + RATINGS_A_TASK - 1) / RATINGS_A_TASK;
}

static void measure_unseen(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct bagging *bagging = arg;
    const struct ratings *ratings = bagging->input->ratings;
    int64_t n = ratings->n_ratings, end = (task + 1) * RATINGS_A_TASK < n ? (task + 1) * RATINGS_A_TASK : n;
    double squared = 0, count = 0;
    for (int64_t i = task * RATINGS_A_TASK; i < end; i++) {
        if (bagging->seen[i] == 0) continue;
        double error = bagging->sums[i] / bagging->seen[i] - 0.5 * ratings->user_ratings[i];
        squared += error * error;
        count++;
    }
    bagging->squares[2 * task] = squared;
    bagging->squares[2 * task + 1] = count;
}

static reel_status put_unseen(struct bagging *bagging, struct tensor_set *set, reel_error *err) {
    double squared = 0, count = 0;
    if (!bagging->sums) return REEL_OK;
    TRY_RETURN(MEM_RAW(&bagging->squares, 2 * n_tasks(bagging), err));
    thread_pool_run(bagging->ctx->pool, n_tasks(bagging), measure_unseen, bagging);
    for (int64_t t = 0; t < n_tasks(bagging); t++) {
        squared += bagging->squares[2 * t];
        count += bagging->squares[2 * t + 1];
    }
    if (count == 0) return REEL_OK;
    context_log(bagging->ctx, REEL_LOG_INFO, "forest: out-of-bag RMSE %.4f", sqrt(squared / count));
    return tensor_set_putf(set, "oob.rmse", err, "%.9f", sqrt(squared / count));
}

/* ---- the fit ---- */

static reel_status run_wave(struct bagging *bagging, int n, reel_error *err) {
    if (bagging->alone)
        thread_pool_run(bagging->ctx->pool, n, grow_task, bagging);
    else
        for (int i = 0; i < n; i++) grow_task(bagging, i, 0);
    for (int i = 0; i < n; i++) {
        if (bagging->statuses[i] != REEL_OK) {
            if (err) *err = bagging->errors[i];
            return bagging->statuses[i];
        }
        if (bagging->sums) TRY_RETURN(score_unseen(bagging, i, err));
        TRY_RETURN(row_forest_add(&bagging->forest, &bagging->trees[i], bagging->base, 1.0 / bagging->n_trees, err));
    }
    return REEL_OK;
}

static reel_status bagging_new(struct bagging *bagging, struct fit_output *output, reel_error *err) {
    const struct param_values *params = bagging->input->params;
    int64_t n = bagging->input->ratings->n_ratings;
    bagging->alone = n < ALONE_BELOW;
    bagging->n_copies = bagging->alone ? thread_pool_size(bagging->ctx->pool) : 1;
    bagging->n_trees = (int)params_number(params, "n_estimators");
    bagging->bootstrap = params_number(params, "bootstrap") != 0;
    bagging->base = baseline_mean(bagging->input->ratings);
    TRY_RETURN(row_forest_new(bagging->ctx, bagging->input, &bagging->forest, output, err));
    if (params_number(params, "oob") != 0) {
        if (!bagging->bootstrap)
            return error_set(err, REEL_INVALID_ARGUMENT, "oob=1 needs bootstrap=1: else each tree sees every rating");
        TRY_RETURN(MEM_NEW(&bagging->sums, n, err));
        TRY_RETURN(MEM_NEW(&bagging->seen, n, err));
    }
    if (!bagging->bootstrap) return REEL_OK;
    TRY_RETURN(MEM_NEW(&bagging->copies, bagging->n_copies, err));
    for (int w = 0; w < bagging->n_copies; w++) TRY_RETURN(MEM_RAW(&bagging->copies[w], n, err));
    return REEL_OK;
}

static void bagging_free(struct bagging *bagging) {
    for (int i = 0; i < WAVE; i++) row_tree_free(&bagging->trees[i]);
    for (int w = 0; bagging->copies && w < bagging->n_copies; w++) mem_free(bagging->copies[w]);
    mem_free(bagging->copies);
    mem_free(bagging->sums);
    mem_free(bagging->seen);
    mem_free(bagging->squares);
    row_forest_free(&bagging->forest);
    mem_free(bagging);
}

static reel_status forest_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                              struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct bagging *bagging = NULL;
    char stage[96];
    snprintf(stage, sizeof stage, "%.60sforest", input->stage);
    TRY_RETURN(MEM_NEW(&bagging, 1, err));
    bagging->ctx = ctx;
    bagging->input = input;
    TRY(bagging_new(bagging, output, err));
    double start = clock_seconds();
    for (int first = 0, n; first < bagging->n_trees; first += n) {
        n = bagging->alone ? WAVE : 1;
        if (n > bagging->n_trees - first) n = bagging->n_trees - first;
        bagging->first = first;
        context_progress(ctx, stage, "trees", first, bagging->n_trees, NULL, 0, 0);
        TRY(run_wave(bagging, n, err));
    }
    context_progress(ctx, stage, "trees", bagging->n_trees, bagging->n_trees, NULL, 0, 1);
    output->fit_seconds += clock_seconds() - start;
    output->visited += input->ratings->n_ratings * bagging->n_trees;
    TRY(put_unseen(bagging, set, err));
    TRY(row_forest_put(&bagging->forest, (float)bagging->base, set, err));
cleanup:
    bagging_free(bagging);
    return status;
}

const struct algorithm algorithm_forest = {
    .name = "forest",
    .summary = "the mean of many regression trees on bootstrap samples (random forest)",
    .params = forest_params,
    .n_params = sizeof forest_params / sizeof forest_params[0],
    .needs = RATINGS_TIMES,
    .fit = forest_fit,
    .bind = forest_bind,
    .unbind = forest_unbind,
    .predict = forest_predict,
    .fold_in = forest_fold_in,
    .forest_view = forest_view,
};
