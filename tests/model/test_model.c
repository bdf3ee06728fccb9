/* What every algorithm promises: same bytes at any thread count, an opened model scores as the trained one, no
 * NaN for the unknown, shares that add up, errors instead of nonsense. */
#include "tests/test.h"

#include <unistd.h>

#include "backend/backend_ops.h"
#include "planted.h"

static const char *const names[] = {"mean", "bias", "svd"};
enum { N_NAMES = 3 };
static char folder[] = "/tmp/reel-test-model-XXXXXX";

static reel_param quick[] = {{"factors", "7"}, {"epochs", "25"}, {"learning_rate", "0.02"}, {"bands", "4"}};

static reel_model *fit(reel_context *ctx, const struct planted *p, const char *name, struct fit_output *output) {
    reel_error err;
    reel_status status;
    int is_svd = strcmp(name, "svd") == 0;
    reel_model *model = planted_fit(ctx, p, name, quick, is_svd ? 4 : 0, output, &status, &err);
    REQUIRE_OK(status, err);
    return model;
}

static char *saved_bytes(reel_context *ctx, const reel_model *model, size_t *size) {
    char path[64];
    reel_error err;
    snprintf(path, sizeof path, "%s/model.reel", folder);
    REQUIRE_OK(reel_model_save(ctx, model, path, &err), err);
    FILE *file = fopen(path, "rb");
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    CHECK(fread(bytes, 1, *size, file) == *size);
    fclose(file);
    return bytes;
}

static void test_same_bytes(void) {
    for (int a = 0; a < N_NAMES; a++) {
        char *first = NULL;
        size_t first_size = 0;
        static const int threads[] = {1, 1, 2, 3, 8};
        for (size_t t = 0; t < sizeof threads / sizeof threads[0]; t++) {
            reel_context *ctx = context_of(threads[t]);
            struct planted p = planted_new(ctx, 200, 90, 30, 0.5f, 5);
            struct fit_output output;
            reel_model *model = fit(ctx, &p, names[a], &output);
            size_t size;
            char *bytes = saved_bytes(ctx, model, &size);
            if (!first) first = bytes, first_size = size;
            CHECK(size == first_size && memcmp(first, bytes, size) == 0);
            if (bytes != first) free(bytes);
            fit_output_free(&output);
            reel_model_free(model);
            planted_free(&p);
            reel_context_free(ctx);
        }
        free(first);
    }
}

static void test_learns(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 300, 120, 40, 0.3f, 6);
    double rmse[N_NAMES];
    for (int a = 0; a < N_NAMES; a++) {
        struct fit_output output;
        reel_model *model = fit(ctx, &p, names[a], &output);
        reel_metrics metrics;
        reel_error err;
        REQUIRE_OK(model_measure(ctx, model, &p.test, NULL, NULL, &metrics, &err), err);
        rmse[a] = metrics.rmse;
        CHECK_INT(metrics.n, p.test.n);
        CHECK(metrics.mae < metrics.rmse);
        if (output.n_epochs) { /* the trainer's own measure of the last epoch is the model's */
            CHECK_NEAR(output.epochs[output.n_epochs - 1].test_rmse, metrics.rmse, 1e-6);
            CHECK(output.epochs[output.n_epochs - 1].train_rmse < output.epochs[0].train_rmse);
            CHECK_INT(output.epochs[0].epoch, 0);
        }
        CHECK(output.visited > 0);
        fit_output_free(&output);
        reel_model_free(model);
    }
    printf("     test RMSE: mean %.4f bias %.4f svd %.4f\n", rmse[0], rmse[1], rmse[2]);
    CHECK(rmse[1] < 0.9 * rmse[0]);
    CHECK(rmse[2] < 0.8 * rmse[1]);
    planted_free(&p);
    reel_context_free(ctx);
}

/* The metrics against a plain loop. */
static void test_measure(void) {
    reel_context *ctx = context_of(3);
    struct planted p = planted_new(ctx, 700, 300, 70, 0.5f, 7);
    struct fit_output output;
    reel_error err;
    reel_model *model = fit(ctx, &p, "bias", &output);
    float *predictions = malloc((size_t)p.test.n * sizeof *predictions);
    reel_metrics metrics;
    REQUIRE_OK(model_measure(ctx, model, &p.test, NULL, predictions, &metrics, &err), err);
    double squared = 0, absolute = 0, sum = 0, spread = 0;
    for (int64_t i = 0; i < p.test.n; i++) {
        double error = (double)predictions[i] - 0.5 * p.test.ratings[i];
        CHECK(predictions[i] >= 0.5f && predictions[i] <= 5.0f);
        squared += error * error;
        absolute += fabs(error);
        sum += 0.5 * p.test.ratings[i];
    }
    for (int64_t i = 0; i < p.test.n; i++) spread += pow(0.5 * p.test.ratings[i] - sum / (double)p.test.n, 2);
    CHECK(p.test.n > 10000); /* several chunks */
    CHECK_NEAR(metrics.rmse, sqrt(squared / (double)p.test.n), 1e-12);
    CHECK_NEAR(metrics.mae, absolute / (double)p.test.n, 1e-12);
    CHECK_NEAR(metrics.r2, 1 - squared / spread, 1e-10);
    reel_metrics again;
    REQUIRE_OK(model_measure(ctx, model, &p.test, predictions, NULL, &again, &err), err);
    CHECK(again.rmse == metrics.rmse);
    struct rating_pairs none = {0};
    REQUIRE_OK(model_measure(ctx, model, &none, NULL, NULL, &again, &err), err);
    CHECK(again.n == 0 && isnan(again.rmse));
    reel_context_cancel(ctx);
    CHECK_INT(model_measure(ctx, model, &p.test, NULL, NULL, &again, &err), REEL_CANCELLED);
    free(predictions);
    fit_output_free(&output);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

static void test_saved_and_unknown(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 100, 60, 30, 0.5f, 8);
    for (int a = 0; a < N_NAMES; a++) {
        struct fit_output output;
        reel_error err;
        reel_model *model = fit(ctx, &p, names[a], &output), *opened = NULL;
        size_t size;
        free(saved_bytes(ctx, model, &size));
        char path[64];
        snprintf(path, sizeof path, "%s/model.reel", folder);
        REQUIRE_OK(reel_model_open(ctx, path, &opened, &err), err);
        CHECK_STR(reel_model_algorithm(opened), names[a]);
        CHECK_STR(reel_model_metadata(opened, "seed"), "42");
        CHECK(reel_model_metadata(opened, "nothing") == NULL);
        /* user 6 has no ratings (random_ratings) */
        int32_t users[] = {0, 99, 6, -1, 5, -1}, movies[] = {0, 59, 3, 7, -1, -1};
        float one[6], two[6], all[60];
        REQUIRE_OK(model->algorithm->predict(model, 6, users, movies, NULL, one, NULL, &err), err);
        REQUIRE_OK(opened->algorithm->predict(opened, 6, users, movies, NULL, two, NULL, &err), err);
        CHECK(memcmp(one, two, sizeof one) == 0);
        for (int i = 0; i < 6; i++) CHECK(isfinite(one[i]) && one[i] > 0 && one[i] < 6);
        for (int32_t user = -1; user < 7; user++) {
            REQUIRE_OK(opened->algorithm->score_movies(opened, user, 0, all, NULL, &err), err);
            for (int32_t m = 0; m < 60; m++) {
                float score;
                REQUIRE_OK(opened->algorithm->predict(opened, 1, &user, &m, NULL, &score, NULL, &err), err);
                CHECK(score == all[m]);
            }
        }
        fit_output_free(&output);
        reel_model_free(opened);
        reel_model_free(model);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

/* Fold-in scores = baseline + shares; a user's own ratings folded in come near the trained scores. */
static void test_fold_in(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 300, 80, 50, 0.3f, 9);
    for (int a = 1; a < N_NAMES; a++) {
        struct fit_output output;
        reel_error err;
        reel_model *model = fit(ctx, &p, names[a], &output);
        const struct algorithm *algorithm = model->algorithm;
        int32_t user = 4;
        int64_t begin = p.train.user_offsets[user], n = p.train.user_offsets[user + 1] - begin;
        float stars[80], shares[80], scores[80], trained[80], stranger[80];
        for (int64_t i = 0; i < n; i++) stars[i] = 0.5f * p.train.user_ratings[begin + i];
        const int32_t *rated = p.train.user_movies + begin;
        REQUIRE_OK(algorithm->fold_in(model, n, rated, stars, 0, scores, NULL, &err), err);
        REQUIRE_OK(algorithm->score_movies(model, user, 0, trained, NULL, &err), err);
        REQUIRE_OK(algorithm->score_movies(model, -1, 0, stranger, NULL, &err), err);
        double far = 0, base = 0;
        for (int32_t m = 0; m < 80; m++) {
            REQUIRE_OK(algorithm->explain(model, n, rated, stars, m, shares, &err), err);
            double sum = (double)stranger[m]; /* mean + movie bias: what is known of a stranger */
            for (int64_t i = 0; i < n; i++) sum += (double)shares[i];
            CHECK_NEAR((double)scores[m], sum, 1e-4);
            far += pow((double)scores[m] - (double)trained[m], 2);
            base += pow((double)stranger[m] - (double)trained[m], 2);
        }
        printf("     %s: folded-in against trained scores %.3f stars, stranger %.3f\n", names[a], sqrt(far / 80),
               sqrt(base / 80));
        CHECK(far < 0.25 * base);
        REQUIRE_OK(algorithm->fold_in(model, 0, NULL, NULL, 0, scores, NULL, &err), err);
        CHECK(memcmp(scores, stranger, sizeof scores) == 0);
        fit_output_free(&output);
        reel_model_free(model);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

/* Three ratings bring a visitor nearer to the user who gave them, not further away by fitting their noise. */
static void test_few_ratings(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 300, 80, 50, 0.6f, 13);
    struct fit_output output;
    reel_error err;
    reel_model *model = fit(ctx, &p, "svd", &output);
    double visitor = 0, stranger = 0;
    for (int32_t user = 0; user < 300; user++) {
        int64_t begin = p.train.user_offsets[user];
        if (p.train.user_offsets[user + 1] - begin < 3) continue;
        float stars[3], scores[80], trained[80], unknown[80];
        for (int64_t i = 0; i < 3; i++) stars[i] = 0.5f * p.train.user_ratings[begin + i];
        const int32_t *rated = p.train.user_movies + begin;
        REQUIRE_OK(model->algorithm->fold_in(model, 3, rated, stars, 0, scores, NULL, &err), err);
        REQUIRE_OK(model->algorithm->score_movies(model, user, 0, trained, NULL, &err), err);
        REQUIRE_OK(model->algorithm->score_movies(model, -1, 0, unknown, NULL, &err), err);
        for (int32_t m = 0; m < 80; m++) {
            visitor += pow((double)scores[m] - (double)trained[m], 2);
            stranger += pow((double)unknown[m] - (double)trained[m], 2);
        }
    }
    printf("     squared distance to the trained scores: %.0f after 3 ratings, %.0f after none\n", visitor, stranger);
    CHECK(visitor < 0.9 * stranger);
    fit_output_free(&output);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

/* A model's set, copied with one thing spoilt, must be refused. */
enum spoil { SPOIL_NOTHING, SPOIL_IDS, SPOIL_NAN, SPOIL_SCALE, SPOIL_ALGORITHM, SPOIL_SHAPE, SPOIL_PARAM, SPOILS };

static struct tensor_set *spoilt_copy(const struct tensor_set *set, enum spoil spoil) {
    struct tensor_set *copy;
    reel_error err;
    const char *key, *value;
    REQUIRE_OK(tensor_set_new(&copy, &err), err);
    for (size_t i = 0; tensor_set_metadata_at(set, i, &key, &value); i++)
        REQUIRE_OK(tensor_set_put(copy, key, value, &err), err);
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *tensor = tensor_set_at(set, i);
        int64_t shape[TENSOR_DIMS_MAX];
        memcpy(shape, tensor->shape, sizeof shape);
        int movies = strcmp(tensor->name, "movie_factors") == 0;
        if (movies && spoil == SPOIL_SHAPE) shape[1]--;
        void *data;
        REQUIRE_OK(tensor_set_add(copy, tensor->name, tensor->dtype, tensor->n_dims, shape, &data, &err), err);
        memcpy(data, tensor->data, movies && spoil == SPOIL_SHAPE ? 4 : tensor->bytes);
        if (movies && spoil == SPOIL_NAN) ((float *)data)[tensor->n - 1] = NAN;
        if (spoil == SPOIL_IDS && strcmp(tensor->name, "user_ids") == 0) ((int32_t *)data)[5] = 1;
    }
    if (spoil == SPOIL_SCALE) REQUIRE_OK(tensor_set_put(copy, "scale.max", "11", &err), err);
    if (spoil == SPOIL_ALGORITHM) REQUIRE_OK(tensor_set_put(copy, "algorithm", "magic", &err), err);
    if (spoil == SPOIL_PARAM) REQUIRE_OK(tensor_set_put(copy, "params.factors", "100000", &err), err);
    return copy;
}

static void test_corrupt(void) {
    reel_context *ctx = context_of(1);
    struct planted p = planted_new(ctx, 50, 40, 30, 0.5f, 10);
    struct fit_output output;
    reel_model *model = fit(ctx, &p, "svd", &output);
    for (int spoil = 0; spoil < SPOILS; spoil++) {
        reel_model *again = NULL;
        reel_error err = {.message = ""};
        reel_status status = model_from_set(spoilt_copy(model->set, (enum spoil)spoil), &again, &err);
        CHECK_INT(status, spoil == SPOIL_NOTHING ? REEL_OK : REEL_CORRUPT);
        CHECK((status == REEL_OK) == (again != NULL));
        reel_model_free(again);
    }
    fit_output_free(&output);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

static void test_errors(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 100, 60, 50, 0.5f, 11);
    struct fit_output output;
    reel_error err;
    reel_status status;
    reel_param wild[] = {{"learning_rate", "40"}, {"factors", "10"}};
    CHECK(planted_fit(ctx, &p, "svd", wild, 2, &output, &status, &err) == NULL);
    CHECK_INT(status, REEL_NUMERIC);
    CHECK(strstr(err.message, "learning_rate") != NULL);
    reel_context_cancel(ctx);
    for (int a = 0; a < N_NAMES; a++) {
        CHECK(planted_fit(ctx, &p, names[a], NULL, 0, &output, &status, &err) == NULL);
        CHECK_INT(status, REEL_CANCELLED);
    }
    reel_context_resume(ctx);
    p.train.n_ratings = 0;
    CHECK(planted_fit(ctx, &p, "mean", NULL, 0, &output, &status, &err) == NULL);
    CHECK_INT(status, REEL_BAD_INPUT);
    planted_free(&p);
    reel_context_free(ctx);
}

static void close_nothing(struct backend *backend) {
    (void)backend;
}

/* A device without sgd_epoch: the CPU does it if the device was our choice, else an error says so. */
static void test_other_device(void) {
    static const struct backend_ops ops = {.name = "toaster", .close = close_nothing};
    struct backend toaster = {.ops = &ops};
    reel_context *ctx, *plain = context_of(2);
    reel_context_options options;
    reel_error err;
    reel_context_options_default(&options); /* "auto": no backend is open yet */
    options.threads = 2;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    struct planted p = planted_new(ctx, 100, 60, 50, 0.5f, 14);
    struct fit_output output, expected_output;
    reel_status status;
    ctx->backend = &toaster;
    reel_model *model = fit(ctx, &p, "svd", &output), *expected = fit(plain, &p, "svd", &expected_output);
    CHECK(output.epochs[25].train_rmse == expected_output.epochs[25].train_rmse);
    strcpy(ctx->device, "toaster");
    fit_output_free(&output);
    CHECK(planted_fit(ctx, &p, "svd", NULL, 0, &output, &status, &err) == NULL);
    CHECK_INT(status, REEL_UNSUPPORTED);
    CHECK_STR(err.message, "the toaster backend does not offer svd (use --device cpu)");
    fit_output_free(&expected_output);
    reel_model_free(model);
    reel_model_free(expected);
    planted_free(&p);
    reel_context_free(ctx);
    reel_context_free(plain);
}

/* Early stopping returns the best epoch's factors. */
static void test_early_stopping(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 150, 60, 30, 2.0f, 12);
    reel_param params[] = {{"factors", "20"},
                           {"epochs", "200"},
                           {"learning_rate", "0.05"},
                           {"regularization", "0.0"},
                           {"early_stopping", "3"}};
    struct fit_output output;
    reel_error err;
    reel_status status;
    reel_model *model = planted_fit(ctx, &p, "svd", params, 5, &output, &status, &err);
    REQUIRE_OK(status, err);
    reel_metrics metrics;
    REQUIRE_OK(model_measure(ctx, model, &p.test, NULL, NULL, &metrics, &err), err);
    double best = INFINITY;
    for (int e = 0; e < output.n_epochs; e++) best = fmin(best, output.epochs[e].test_rmse);
    CHECK(output.n_epochs < 201);
    CHECK_NEAR(metrics.rmse, best, 1e-6);
    CHECK(output.epochs[output.n_epochs - 1].test_rmse > best);
    CHECK(reel_model_metadata(model, "best_epoch") != NULL);
    fit_output_free(&output);
    reel_model_free(model);
    p.test.n = 0;
    CHECK(planted_fit(ctx, &p, "svd", params, 5, &output, &status, &err) == NULL);
    CHECK_INT(status, REEL_INVALID_ARGUMENT);
    planted_free(&p);
    reel_context_free(ctx);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    RUN(test_same_bytes);
    RUN(test_learns);
    RUN(test_measure);
    RUN(test_saved_and_unknown);
    RUN(test_fold_in);
    RUN(test_few_ratings);
    RUN(test_corrupt);
    RUN(test_errors);
    RUN(test_other_device);
    RUN(test_early_stopping);
    char path[64];
    snprintf(path, sizeof path, "%s/model.reel", folder);
    unlink(path);
    rmdir(folder);
    TEST_EXIT();
}
