/* gbdt against a plain search over expanded rows; bytes at different thread counts; models that are broken. */
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/context.h"
#include "model/forest.h"
#include "planted.h"
#include "data/star.h"

static reel_context *new_context(int threads) {
    reel_context *ctx;
    reel_error err;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    return ctx;
}

static reel_model *fit(reel_context *ctx, const struct planted *p, const reel_param *params, size_t n,
                       struct fit_output *output) {
    reel_error err;
    reel_status status;
    reel_model *model = planted_fit(ctx, p, "gbdt", params, n, output, &status, &err);
    REQUIRE_OK(status, err);
    return model;
}

/* ---- the plain search ---- */

enum { ROWS_MAX = 4000, FEATURES = 10 };

struct rows {
    int n;
    float x[ROWS_MAX][FEATURES];
    double residual[ROWS_MAX];
    char in[ROWS_MAX];
};

static void expand(const struct planted *p, struct rows *rows) {
    struct star star;
    struct star_options options = {STAR_MOVIELENS, 0, 0};
    reel_error err;
    REQUIRE_OK(star_build(&p->dataset, &p->train, &options, &star, &err), err);
    CHECK_INT(star.n_columns, FEATURES);
    for (int32_t u = 0; u < p->train.n_users; u++)
        for (int64_t i = p->train.user_offsets[u]; i < p->train.user_offsets[u + 1]; i++) {
            int32_t at[STAR_TABLES] = {u, p->train.user_movies[i], star_hour(p->train.user_times[i])};
            for (int c = 0; c < FEATURES; c++) rows->x[rows->n][c] = star.columns[c].values[at[star.columns[c].table]];
            rows->residual[rows->n++] = 0.5 * p->train.user_ratings[i];
        }
    star_free(&star);
}

/* The best split's squared error over the rows of `in`, by trying every value of every column; the rows' own error
 * when none helps. Fills the column and threshold. */
static double best_split(const struct rows *rows, int *column, float *threshold) {
    double best = INFINITY;
    for (int c = 0; c < FEATURES; c++)
        for (int v = 0; v < rows->n; v++) {
            if (!rows->in[v]) continue;
            double sum[2] = {0, 0}, squares = 0, n[2] = {0, 0};
            for (int i = 0; i < rows->n; i++) {
                if (!rows->in[i]) continue;
                int side = rows->x[i][c] > rows->x[v][c];
                sum[side] += rows->residual[i];
                squares += rows->residual[i] * rows->residual[i];
                n[side]++;
            }
            if (n[0] < 1 || n[1] < 1) continue;
            double error = squares - sum[0] * sum[0] / n[0] - sum[1] * sum[1] / n[1];
            if (error < best - 1e-9) best = error, *column = c, *threshold = rows->x[v][c];
        }
    return best;
}

/* A stump's loss is that of the best split there is. */
static void test_first_split(void) {
    reel_context *ctx = new_context(2);
    struct planted p = planted_new(ctx, 60, 40, 30, 0.3f, 5);
    struct fit_output output;
    reel_param params[] = {{"n_estimators", "1"}, {"max_depth", "1"}, {"learning_rate", "1"}};
    reel_model *model = fit(ctx, &p, params, 3, &output);
    static struct rows rows;
    expand(&p, &rows);
    double mean = 0, threshold_error;
    for (int i = 0; i < rows.n; i++) rows.in[i] = 1, mean += rows.residual[i] / rows.n;
    for (int i = 0; i < rows.n; i++) rows.residual[i] -= mean;
    int column = -1;
    float low = 0;
    double error = best_split(&rows, &column, &low);
    const struct forest *forest = model->state;
    CHECK_INT(forest->nodes[0].column, column);
    float above = INFINITY;
    for (int i = 0; i < rows.n; i++)
        if (rows.x[i][column] > low && rows.x[i][column] < above) above = rows.x[i][column];
    threshold_error = fabs((double)forest->nodes[0].threshold - ((double)low + (double)above) / 2);
    CHECK_NEAR(threshold_error, 0, 1e-6);
    CHECK_NEAR(output.epochs[0].train_rmse, sqrt(error / rows.n), 1e-6);
    reel_model_free(model);
    fit_output_free(&output);
    planted_free(&p);
    reel_context_free(ctx);
}

/* ---- bytes ---- */

static int same_tensors(const reel_model *a, const reel_model *b) {
    if (tensor_set_count(a->set) != tensor_set_count(b->set)) return 0;
    for (size_t i = 0; i < tensor_set_count(a->set); i++) {
        const struct tensor *x = tensor_set_at(a->set, i), *y = tensor_set_at(b->set, i);
        if (strcmp(x->name, y->name) != 0 || x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0) return 0;
    }
    return 1;
}

static void test_threads_do_not_matter(void) {
    static const char *const depths[] = {"1", "3", "6", "3", "3", "8"};
    static const char *const losses[] = {"squared", "squared", "squared", "absolute", "huber", "quantile"};
    reel_context *one = new_context(1), *three = new_context(3);
    struct planted p = planted_new(one, 900, 120, 20, 0.4f, 6);
    for (size_t d = UNDER_TSAN; d < sizeof depths / sizeof depths[0]; d += 1 + UNDER_TSAN) {
        reel_param params[] = {{"n_estimators", "12"}, {"max_depth", depths[d]}, {"loss", losses[d]}};
        struct fit_output output, other;
        reel_model *a = fit(one, &p, params, 3, &output), *b = fit(three, &p, params, 3, &other);
        CHECK(same_tensors(a, b));
        const double *loss = tensor_set_find(a->set, "train_loss")->data;
        CHECK_INT(output.n_epochs, 12);
        /* huber's is measured with each stage's own delta */
        for (int e = 1; e < 12 && strcmp(losses[d], "huber") != 0; e++) CHECK(loss[e] < loss[e - 1] + 1e-9);
        reel_model_free(a);
        reel_model_free(b);
        fit_output_free(&output);
        fit_output_free(&other);
    }
    planted_free(&p);
    reel_context_free(one);
    reel_context_free(three);
}

/* The residuals of the fit and the scores of the model are the same thing. */
static void test_scores_match_the_fit(void) {
    reel_context *ctx = new_context(2);
    struct planted p = planted_new(ctx, 300, 80, 20, 0.4f, 7);
    reel_param params[] = {{"n_estimators", "30"}, {"max_depth", "4"}, {"min_samples_leaf", "5"}};
    struct fit_output output;
    reel_model *model = fit(ctx, &p, params, 3, &output);
    double squared = 0;
    reel_error err;
    for (int32_t u = 0; u < p.train.n_users; u++)
        for (int64_t i = p.train.user_offsets[u]; i < p.train.user_offsets[u + 1]; i++) {
            float score;
            REQUIRE_OK(model->algorithm->predict(model, 1, &u, &p.train.user_movies[i], &p.train.user_times[i], &score,
                                                 NULL, &err),
                       err);
            double error = (double)score - 0.5 * p.train.user_ratings[i];
            squared += error * error;
        }
    CHECK_NEAR(sqrt(squared / (double)p.train.n_ratings), output.epochs[output.n_epochs - 1].train_rmse, 1e-5);
    int32_t nobody = -1;
    float score;
    REQUIRE_OK(model->algorithm->predict(model, 1, &nobody, &nobody, NULL, &score, NULL, &err), err);
    CHECK(isfinite(score));
    reel_model_free(model);
    fit_output_free(&output);
    planted_free(&p);
    reel_context_free(ctx);
}

/* ---- broken models ---- */

struct fault {
    const char *tensor;
    int64_t at;
    float value; /* for F32 tensors */
    int32_t number;
};

static void test_broken_models(void) {
    static const struct fault faults[] = {
        {"node_lefts", 0, 0, 0},        {"node_lefts", 0, 0, -5},         {"node_rights", 0, 0, 1 << 30},
        {"node_columns", 0, 0, 99},     {"node_columns", 0, 0, -2},       {"node_values", 3, NAN, 0},
        {"node_thresholds", 0, NAN, 0}, {"tree_offsets", 1, 0, 0},        {"tree_offsets", 1, 0, 1 << 30},
        {"base", 0, INFINITY, 0},       {"user_columns", 2, INFINITY, 0}, {"node_rights", 0, 0, 1},
    };
    reel_context *ctx = new_context(1);
    struct planted p = planted_new(ctx, 100, 50, 30, 0.3f, 8);
    reel_param params[] = {{"n_estimators", "2"}};
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        struct fit_output output;
        reel_model *model = fit(ctx, &p, params, 1, &output);
        const struct tensor *tensor = tensor_set_find(model->set, faults[f].tensor);
        if (tensor->dtype == DTYPE_F32)
            ((float *)tensor->data)[faults[f].at] = faults[f].value;
        else
            ((int32_t *)tensor->data)[faults[f].at] = faults[f].number;
        forest_unbind(model);
        model->state = NULL;
        reel_error err;
        CHECK_INT(forest_bind(model, &err), REEL_CORRUPT);
        CHECK(strlen(err.message) > 10);
        reel_model_free(model);
        fit_output_free(&output);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

/* A path of more than FOREST_DEPTH_MAX nodes, every child behind its parent. */
static void test_absurd_depth(void) {
    reel_context *ctx = new_context(1);
    struct planted p = planted_new(ctx, 40, 30, 30, 0.3f, 9);
    reel_param params[] = {{"n_estimators", "20"}, {"max_depth", "3"}};
    struct fit_output output;
    reel_error err;
    reel_model *model = fit(ctx, &p, params, 2, &output);
    int32_t n = (int32_t)tensor_set_find(model->set, "node_lefts")->n;
    int32_t *offsets = tensor_set_find(model->set, "tree_offsets")->data;
    int32_t *lefts = tensor_set_find(model->set, "node_lefts")->data;
    int32_t *rights = tensor_set_find(model->set, "node_rights")->data;
    int32_t *columns = tensor_set_find(model->set, "node_columns")->data;
    CHECK(n > 2 * FOREST_DEPTH_MAX);
    for (int t = 1; t < 20; t++) offsets[t] = n - 20 + t;
    /* A chain: even nodes split, to an odd leaf and to the next one. */
    for (int32_t i = 0; i < n; i++) {
        lefts[i] = i + 1, rights[i] = i + 2;
        columns[i] = i % 2 == 0 && i < n - 20 ? 0 : -1;
    }
    forest_unbind(model);
    model->state = NULL;
    CHECK_INT(forest_bind(model, &err), REEL_CORRUPT);
    CHECK(strstr(err.message, "deeper") != NULL);
    reel_model_free(model);
    fit_output_free(&output);
    planted_free(&p);
    reel_context_free(ctx);
}

/* ---- checkpoints ---- */

/* Cancels the fit once `left` trees were reported. */
struct interrupter {
    reel_context *ctx;
    int left;
};

static void interrupt(void *user_data, const reel_progress *progress) {
    struct interrupter *interrupter = user_data;
    if (strcmp(progress->unit, "trees") == 0 && interrupter->left > 0 && --interrupter->left == 0)
        reel_context_cancel(interrupter->ctx);
}

static reel_model *fit_with(reel_context *ctx, const struct planted *p, const reel_param *params, size_t n,
                            const char *folder, int resume, struct fit_output *output, reel_status *status) {
    const struct algorithm *algorithm = algorithm_find("gbdt");
    struct param_values values;
    reel_model *model = NULL;
    reel_error err;
    REQUIRE_OK(params_parse(algorithm->params, algorithm->n_params, params, n, &values, &err), err);
    struct fit_input input = {.dataset = &p->dataset,
                              .ratings = &p->train,
                              .test = &p->test,
                              .params = &values,
                              .seed = 42,
                              .checkpoint = folder,
                              .checkpoint_every = 4,
                              .resume = resume,
                              .stage = ""};
    *status = model_fit(ctx, algorithm, &input, &model, output, &err);
    return model;
}

static void remove_checkpoints(const char *folder) {
    for (int i = 0; i < 2; i++) {
        char path[80];
        snprintf(path, sizeof path, "%s/checkpoint-%d.reel", folder, i);
        remove(path);
    }
}

/* Interrupted and resumed, a fit ends with the same bits and the same records. */
static void test_resumed_fits(void) {
    static const char *const variants[][2] = {
        {"loss", "squared"}, {"loss", "huber"}, {"subsample", "0.6"}, {"n_iter_no_change", "30"}, {"init", "bias"}};
    char folder[] = "/tmp/reel-test-gbdt-XXXXXX";
    struct interrupter interrupter = {0};
    reel_context_options options;
    reel_context *ctx;
    reel_error err;
    CHECK(mkdtemp(folder) != NULL);
    reel_context_options_default(&options);
    options.threads = 2;
    options.device = "cpu";
    options.progress = interrupt;
    options.user_data = &interrupter;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    interrupter.ctx = ctx;
    struct planted p = planted_new(ctx, 200, 80, 30, 0.5f, 16);
    for (size_t v = 0; v < sizeof variants / sizeof variants[0]; v++) {
        reel_param params[] = {{"n_estimators", "15"}, {variants[v][0], variants[v][1]}};
        struct fit_output whole_output, output;
        reel_status status;
        reel_model *whole = fit_with(ctx, &p, params, 2, folder, 0, &whole_output, &status);
        CHECK_INT(status, REEL_OK);
        remove_checkpoints(folder);
        interrupter.left = 10;
        CHECK(fit_with(ctx, &p, params, 2, folder, 0, &output, &status) == NULL);
        CHECK_INT(status, REEL_CANCELLED);
        reel_context_resume(ctx);
        reel_model *resumed = fit_with(ctx, &p, params, 2, folder, 1, &output, &status);
        CHECK_INT(status, REEL_OK);
        CHECK(same_tensors(whole, resumed));
        CHECK_INT(output.n_epochs, whole_output.n_epochs);
        for (int i = 0; i < output.n_epochs; i++) {
            CHECK_NEAR(output.epochs[i].train_rmse, whole_output.epochs[i].train_rmse, 0);
            CHECK_NEAR(output.epochs[i].test_rmse, whole_output.epochs[i].test_rmse, 0);
        }
        reel_model_free(whole);
        reel_model_free(resumed);
        fit_output_free(&whole_output);
        fit_output_free(&output);
        remove_checkpoints(folder);
    }
    rmdir(folder);
    planted_free(&p);
    reel_context_free(ctx);
}

/* Fits with checkpoints sum by the pass's own loops, others by the backend's tree_sums: the trees are the same. */
static void test_both_ways_to_sums(void) {
    static const char *const means[] = {"train", "loo"}, *const trees[] = {"node_columns", "node_thresholds",
                                                                           "node_values", "tree_offsets"};
    char folder[] = "/tmp/reel-gbdt-XXXXXX";
    reel_context *ctx = new_context(3);
    struct planted p = planted_new(ctx, 700, 90, 30, 0.5f, 17);
    CHECK(mkdtemp(folder) != NULL);
    for (int depth = 1; depth <= 3; depth++)
        for (int v = 0; v < 2; v++) {
            const char depths[] = {(char)('0' + depth), 0};
            reel_param params[] = {{"n_estimators", "12"}, {"means", means[v]}, {"max_depth", depths}};
            struct fit_output output;
            reel_status status;
            reel_model *own = fit_with(ctx, &p, params, 3, folder, 0, &output, &status);
            CHECK_INT(status, REEL_OK);
            fit_output_free(&output);
            reel_model *quick = fit_with(ctx, &p, params, 3, NULL, 0, &output, &status);
            CHECK_INT(status, REEL_OK);
            fit_output_free(&output);
            for (size_t t = 0; t < sizeof trees / sizeof trees[0]; t++) {
                const struct tensor *a = tensor_set_find(own->set, trees[t]);
                const struct tensor *b = tensor_set_find(quick->set, trees[t]);
                CHECK(a->bytes == b->bytes && memcmp(a->data, b->data, a->bytes) == 0);
            }
            reel_model_free(own);
            reel_model_free(quick);
            remove_checkpoints(folder);
        }
    rmdir(folder);
    planted_free(&p);
    reel_context_free(ctx);
}

int main(void) {
    RUN(test_resumed_fits);
    RUN(test_both_ways_to_sums);
    RUN(test_first_split);
    RUN(test_threads_do_not_matter);
    RUN(test_scores_match_the_fit);
    RUN(test_broken_models);
    RUN(test_absurd_depth);
    TEST_EXIT();
}
