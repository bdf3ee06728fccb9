/* als from saved models: where it starts, what it refuses, which bytes it writes; and which device a fit of factors
 * goes to. */
#include "tests/test.h"

#include <unistd.h>

#include "backend/backend_ops.h"
#include "model/factor_backend.h"
#include "planted.h"

static char folder[] = "/tmp/reel-test-warm-XXXXXX";

static reel_model *fit(reel_context *ctx, const struct planted *p, const char *name, const reel_param *params,
                       size_t n_params, struct fit_output *output) {
    reel_error err;
    reel_status status;
    reel_model *model = planted_fit(ctx, p, name, params, n_params, output, &status, &err);
    REQUIRE_OK(status, err);
    return model;
}

/* Fits and saves a model as NAME.reel; returns its test RMSE. The path goes to `path`. */
static double save_model(reel_context *ctx, const struct planted *p, const char *file, const char *name,
                         const reel_param *params, size_t n_params, char path[64]) {
    struct fit_output output;
    reel_error err;
    reel_metrics metrics;
    snprintf(path, 64, "%s/%s.reel", folder, file);
    reel_model *model = fit(ctx, p, name, params, n_params, &output);
    REQUIRE_OK(reel_model_save(ctx, model, path, &err), err);
    REQUIRE_OK(model_measure(ctx, model, &p->test, NULL, NULL, &metrics, &err), err);
    fit_output_free(&output);
    reel_model_free(model);
    return metrics.rmse;
}

static void starts_where_the_model_ended(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 300, 120, 30, 0.4f, 21);
    const struct {
        const char *name;
        reel_param params[4];
        size_t n_params;
        double slack; /* of the start against the saved model's RMSE */
    } starts[] = {
        {"als", {{"factors", "4"}, {"iterations", "12"}, {"regularization", "0.03"}}, 3, 1e-5},
        {"svd", {{"factors", "4"}, {"epochs", "40"}, {"learning_rate", "0.03"}}, 3, 1e-5},
        /* one sample is less than the average of sixteen, which the model scores by */
        {"bmf", {{"factors", "4"}, {"samples", "40"}}, 2, 0.2},
    };
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        double saved = save_model(ctx, &p, "start", starts[i].name, starts[i].params, starts[i].n_params, path);
        const reel_param params[] = {{"factors", "4"}, {"iterations", "3"}, {"regularization", "0.03"}, {"init", path}};
        struct fit_output warm, cold;
        reel_model_free(fit(ctx, &p, "als", params, 4, &warm));
        reel_model_free(fit(ctx, &p, "als", params, 3, &cold));
        printf("     from %s (%.4f): starts at %.4f, then %.4f; cold %.4f, then %.4f\n", starts[i].name, saved,
               warm.epochs[0].test_rmse, warm.epochs[1].test_rmse, cold.epochs[0].test_rmse, cold.epochs[1].test_rmse);
        CHECK_NEAR(warm.epochs[0].test_rmse, saved, starts[i].slack);
        CHECK(warm.epochs[1].test_rmse < cold.epochs[1].test_rmse);
        fit_output_free(&warm);
        fit_output_free(&cold);
        unlink(path);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

/* The bytes depend on the model that a fit starts from, not on its name or the number of threads. */
static void bytes_do_not_depend_on_the_path(void) {
    char path[64], files[3][64];
    for (int i = 0; i < 3; i++) {
        reel_context *ctx = context_of(1 + 2 * i);
        struct planted p = planted_new(ctx, 100, 60, 30, 0.5f, 22);
        const char *names[] = {"one", "another", "third"};
        (void)save_model(ctx, &p, names[i], "als", (reel_param[]){{"factors", "4"}, {"iterations", "2"}}, 2, path);
        const reel_param params[] = {{"factors", "4"}, {"iterations", "2"}, {"init", path}};
        char result[64];
        (void)save_model(ctx, &p, i == 0 ? "result0" : i == 1 ? "result1" : "result2", "als", params, 3, result);
        snprintf(files[i], sizeof files[i], "%s", result);
        unlink(path);
        planted_free(&p);
        reel_context_free(ctx);
    }
    for (int i = 1; i < 3; i++) {
        FILE *a = fopen(files[0], "rb"), *b = fopen(files[i], "rb");
        int x = 0, y = 0, same = a && b;
        while (same && x != EOF) {
            x = fgetc(a), y = fgetc(b);
            same = x == y;
        }
        CHECK(same);
        if (a) fclose(a);
        if (b) fclose(b);
    }
    for (int i = 0; i < 3; i++) unlink(files[i]);
}

/* A dataset that has grown: users and movies are found by id, others start as in a cold fit. */
static void binds_by_id(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 150, 60, 40, 0.4f, 23), other = planted_new(ctx, 200, 80, 40, 0.4f, 23);
    char path[64];
    (void)save_model(ctx, &p, "start", "als",
                     (reel_param[]){{"factors", "4"}, {"iterations", "8"}, {"regularization", "0.03"}}, 3, path);
    const reel_param params[] = {{"factors", "4"}, {"iterations", "0"}, {"regularization", "0.03"}, {"init", path}};
    struct fit_output output;
    reel_error err;
    reel_status status;
    reel_model *model = fit(ctx, &other, "als", params, 4, &output), *old;
    REQUIRE_OK(reel_model_open(ctx, path, &old, &err), err);
    int32_t user = 30, movie = 20;
    float a, b;
    REQUIRE_OK(model->algorithm->predict(model, 1, &user, &movie, NULL, &a, NULL, &err), err);
    REQUIRE_OK(old->algorithm->predict(old, 1, &user, &movie, NULL, &b, NULL, &err), err);
    double means = (double)*(const float *)tensor_set_find(model->set, "mean")->data -
                   (double)*(const float *)tensor_set_find(old->set, "mean")->data;
    CHECK_NEAR((double)a - (double)b, means, 1e-5);
    fit_output_free(&output);
    reel_model_free(model);
    reel_model_free(old);
    for (int32_t i = 0; i < 200; i++) other.ids[i] = 3 * i + 2;
    CHECK(planted_fit(ctx, &other, "als", params, 4, &output, &status, &err) == NULL);
    CHECK_INT(status, REEL_MISMATCH);
    CHECK(strstr(err.message, "knows none of the 80 movies") != NULL);
    unlink(path);
    planted_free(&other);
    planted_free(&p);
    reel_context_free(ctx);
}

static void refuses(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 60, 40, 40, 0.4f, 24);
    char stars[64], ranks[64], biases[64], unbiased[64];
    (void)save_model(ctx, &p, "stars", "als", (reel_param[]){{"factors", "4"}}, 1, stars);
    (void)save_model(ctx, &p, "ranks", "als", (reel_param[]){{"factors", "4"}, {"implicit", "1"}}, 2, ranks);
    (void)save_model(ctx, &p, "biases", "bias", NULL, 0, biases);
    (void)save_model(ctx, &p, "unbiased", "svd", (reel_param[]){{"factors", "4"}, {"biased", "0"}}, 2, unbiased);
    const struct {
        const char *init, *factors, *implicit, *says;
        reel_status status;
    } rows[] = {{stars, "5", "0", "has 4 factors, this fit has 5", REEL_INVALID_ARGUMENT},
                {ranks, "4", "0", "cannot start from this als model", REEL_INVALID_ARGUMENT},
                {stars, "4", "1", "cannot start from this als model", REEL_INVALID_ARGUMENT},
                {biases, "4", "0", "cannot start from this bias model", REEL_INVALID_ARGUMENT},
                {unbiased, "4", "0", "cannot start from this svd model", REEL_INVALID_ARGUMENT},
                {"/nowhere/model.reel", "4", "0", "/nowhere/model.reel", REEL_NOT_FOUND}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const reel_param params[] = {
            {"factors", rows[i].factors}, {"implicit", rows[i].implicit}, {"init", rows[i].init}};
        struct fit_output output;
        reel_error err;
        reel_status status;
        CHECK(planted_fit(ctx, &p, "als", params, 3, &output, &status, &err) == NULL);
        CHECK_INT(status, rows[i].status);
        if (!strstr(err.message, rows[i].says)) fprintf(stderr, "row %zu: %s\n", i, err.message);
        CHECK(strstr(err.message, rows[i].says) != NULL);
    }
    /* like from like */
    const reel_param params[] = {{"factors", "4"}, {"implicit", "1"}, {"init", ranks}};
    struct fit_output output;
    reel_model_free(fit(ctx, &p, "als", params, 3, &output));
    fit_output_free(&output);
    unlink(stars), unlink(ranks), unlink(biases), unlink(unbiased);
    planted_free(&p);
    reel_context_free(ctx);
}

/* ---- the device ---- */

static int notices;
static void count_notices(void *user_data, reel_log_level level, const char *message) {
    (void)user_data, (void)level;
    if (strstr(message, "working on the CPU")) notices++;
}

/* A device that solves for at most 128 factors and knows no conjugate gradients: under "auto" the fit goes to the CPU
 * with one notice; asked for by name it is refused. */
static void devices_with_limits(void) {
    const char *names[] = {"auto", "cpu"};
    for (int i = 0; i < 2; i++) {
        reel_context_options options;
        reel_context_options_default(&options);
        options.device = names[i];
        options.log = count_notices;
        reel_context *ctx;
        reel_error err;
        struct backend *found;
        REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
        REQUIRE_OK(context_backend(ctx, &found, &err), err);
        const struct backend_ops *own = found->ops;
        struct backend_ops limited = *own;
        limited.name = "limited";
        limited.factor_k_max = 128;
        limited.factor_cg = NULL;
        ctx->backend->ops = &limited;
        notices = 0;
        REQUIRE_OK(factor_backend(ctx, "als", 128, 0, &found, &err), err);
        CHECK(found->ops == &limited && notices == 0);
        const struct {
            int k, cg;
            const char *work;
        } rows[] = {{129, 0, "als with 129 factors"}, {16, 1, "als with solver=cg"}};
        for (int row = 0; row < 2; row++) {
            notices = 0;
            reel_status status = factor_backend(ctx, "als", rows[row].k, rows[row].cg, &found, &err);
            CHECK_INT(status, i ? REEL_UNSUPPORTED : REEL_OK);
            if (i)
                CHECK(strstr(err.message, rows[row].work) != NULL);
            else
                CHECK(found == ctx->cpu && strcmp(found->ops->name, "cpu") == 0);
            CHECK_INT(notices, i ? 0 : 1);
        }
        if (i == 0) { /* whole fits */
            struct planted p = planted_new(ctx, 30, 20, 40, 0.4f, 25);
            const char *algorithms[] = {"als", "bmf"};
            for (int a = 0; a < 2; a++) {
                const reel_param params[] = {{"factors", "130"}, {a ? "samples" : "iterations", "1"}};
                struct fit_output output;
                notices = 0;
                reel_model_free(fit(ctx, &p, algorithms[a], params, 2, &output));
                CHECK_INT(notices, 1);
                fit_output_free(&output);
            }
            planted_free(&p);
        }
        ctx->backend->ops = own;
        reel_context_free(ctx);
    }
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    RUN(starts_where_the_model_ended);
    RUN(bytes_do_not_depend_on_the_path);
    RUN(binds_by_id);
    RUN(refuses);
    RUN(devices_with_limits);
    rmdir(folder);
    TEST_EXIT();
}
