/* tree, forest, adaboost and linear: bytes at different thread counts, trees against their own promises, broken models.
 */
#include "test.h"

#include <math.h>
#include <string.h>

#include "core/context.h"
#include "model/features.h"
#include "model/forest.h"
#include "planted.h"

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

static reel_model *fit(reel_context *ctx, const struct planted *p, const char *name, const reel_param *params,
                       size_t n) {
    reel_error err;
    reel_status status;
    struct fit_output output;
    reel_model *model = planted_fit(ctx, p, name, params, n, &output, &status, &err);
    REQUIRE_OK(status, err);
    fit_output_free(&output);
    return model;
}

static int same_tensors(const reel_model *a, const reel_model *b) {
    if (tensor_set_count(a->set) != tensor_set_count(b->set)) return 0;
    for (size_t i = 0; i < tensor_set_count(a->set); i++) {
        const struct tensor *x = tensor_set_at(a->set, i), *y = tensor_set_at(b->set, i);
        if (strcmp(x->name, y->name) != 0 || x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0) return 0;
    }
    return 1;
}

struct variant {
    const char *algorithm;
    size_t n;
    reel_param params[4];
};

/* More ratings than a node has that all threads search together, and enough to begin level by level. */
static void test_threads_do_not_matter(void) {
    static const struct variant variants[] = {
        {"tree", 0, {{0}}},
        {"tree", 3, {{"means", "loo"}, {"max_features", "0.4"}, {"min_samples_leaf", "7"}}},
        {"forest", 3, {{"n_estimators", "5"}, {"max_depth", "9"}, {"oob", "1"}}},
        {"forest", 3, {{"n_estimators", "3"}, {"bootstrap", "0"}, {"max_features", "0.3"}}},
        {"adaboost", 2, {{"n_estimators", "6"}, {"loss", "exponential"}}},
        {"linear", 1, {{"means", "loo"}}},
        {"linear", 0, {{0}}},
    };
    reel_context *one = new_context(1), *three = new_context(3);
    struct planted p = planted_new(one, 600, 400, 40, 0.4f, 6);
    CHECK(p.train.n_ratings > 1 << 16);
    for (size_t v = UNDER_TSAN; v < sizeof variants / sizeof variants[0]; v++) {
        const struct variant *variant = &variants[v];
        reel_model *a = fit(one, &p, variant->algorithm, variant->params, variant->n);
        reel_model *b = fit(three, &p, variant->algorithm, variant->params, variant->n);
        CHECK(same_tensors(a, b));
        reel_model_free(a);
        reel_model_free(b);
    }
    planted_free(&p);
    reel_context_free(one);
    reel_context_free(three);
}

static float score(const reel_model *model, int32_t user, int32_t movie, uint32_t time) {
    float out;
    reel_error err;
    REQUIRE_OK(model->algorithm->predict(model, 1, &user, &movie, &time, &out, NULL, &err), err);
    return out;
}

/* Ratings in a leaf of their own are predicted as they are; leaves are never smaller than asked for. */
static void test_leaves(void) {
    reel_context *ctx = new_context(2);
    struct planted p = planted_new(ctx, 60, 50, 30, 0.4f, 7);
    reel_param params[] = {{"min_samples_leaf", "20"}};
    reel_model *full = fit(ctx, &p, "tree", NULL, 0), *pruned = fit(ctx, &p, "tree", params, 1);
    int64_t exact = 0, n = p.train.n_ratings;
    const struct forest *forest = pruned->state;
    int leaves = 0;
    for (int32_t u = 0; u < p.train.n_users; u++)
        for (int64_t i = p.train.user_offsets[u]; i < p.train.user_offsets[u + 1]; i++)
            exact += fabsf(score(full, u, p.train.user_movies[i], p.train.user_times[i]) -
                           0.5f * (float)p.train.user_ratings[i]) < 1e-6f;
    CHECK(exact > n * 9 / 10);
    for (int32_t i = 0; i < forest->offsets[1]; i++) leaves += forest->nodes[i].column < 0;
    CHECK(leaves > 1 && leaves <= n / 20);
    CHECK(isfinite(score(full, -1, -1, 0)));
    reel_model_free(full);
    reel_model_free(pruned);
    planted_free(&p);
    reel_context_free(ctx);
}

/* ---- broken models ---- */

static void check_broken(const char *algorithm, const char *tensor, double value) {
    reel_context *ctx = new_context(1);
    struct planted p = planted_new(ctx, 60, 40, 30, 0.3f, 8);
    reel_model *model = fit(ctx, &p, algorithm, NULL, 0);
    reel_error err;
    *(double *)tensor_set_find(model->set, tensor)->data = value;
    model->algorithm->unbind(model);
    model->state = NULL;
    CHECK_INT(model->algorithm->bind(model, &err), REEL_CORRUPT);
    CHECK(strstr(err.message, tensor) != NULL);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

static void test_broken_models(void) {
    check_broken("adaboost", "tree_weights", -1);
    check_broken("adaboost", "tree_weights", NAN);
    check_broken("adaboost", "tree_weights", INFINITY);
    check_broken("linear", "coefficients", NAN);
    check_broken("linear", "intercept", INFINITY);
}

static void test_broken_init(void) {
    reel_context *ctx = new_context(1);
    struct planted p = planted_new(ctx, 60, 40, 30, 0.3f, 8);
    reel_param params[] = {{"init", "bias"}, {"n_estimators", "3"}};
    reel_model *model = fit(ctx, &p, "gbdt", params, 2);
    reel_error err;
    ((double *)tensor_set_find(model->set, "init_line")->data)[1] = NAN;
    model->algorithm->unbind(model);
    model->state = NULL;
    CHECK_INT(model->algorithm->bind(model, &err), REEL_CORRUPT);
    ((double *)tensor_set_find(model->set, "init_line")->data)[1] = 1;
    ((float *)tensor_set_find(model->set, "init.user_bias")->data)[3] = NAN;
    model->algorithm->unbind(model);
    model->state = NULL;
    CHECK_INT(model->algorithm->bind(model, &err), REEL_CORRUPT);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

int main(void) {
    RUN(test_threads_do_not_matter);
    RUN(test_leaves);
    RUN(test_broken_models);
    RUN(test_broken_init);
    TEST_EXIT();
}
