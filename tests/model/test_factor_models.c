/* als and bmf on planted data: they learn, their bits do not depend on threads, saved models score alike,
 * visitors, error bars, odd data. */
#include "tests/test.h"

#include <unistd.h>

#include "planted.h"

struct kind {
    const char *name;
    reel_param params[6];
    size_t n_params;
    double most; /* RMSE as a share of the bias model's */
};
static const struct kind kinds[] = {
    {"als", {{"factors", "5"}, {"iterations", "12"}, {"regularization", "0.03"}}, 3, 0.8},
    {"als", {{"factors", "5"}, {"iterations", "12"}, {"regularization", "1"}, {"weighted", "false"}}, 4, 0.8},
    {"bmf", {{"factors", "5"}, {"samples", "40"}, {"burn_in", "20"}, {"keep", "40"}}, 4, 0.75},
    {"bmf",
     {{"factors", "5"}, {"samples", "40"}, {"keep", "8"}, {"time", "1"}, {"implicit_sets", "1"}, {"flipped", "1"}},
     6,
     0.8},
    {"svd", {{"factors", "5"}, {"epochs", "16"}, {"learning_rate", "0.03"}, {"early_stopping", "16"}}, 4, 0.8},
    {"svd", {{"factors", "5"}, {"epochs", "24"}, {"learning_rate", "0.03"}}, 3, 0.8},
    {"als", {{"factors", "5"}, {"iterations", "15"}, {"regularization", "0.03"}, {"solver", "cg"}}, 4, 0.8},
};
enum { N_KINDS = (int)(sizeof kinds / sizeof kinds[0]) };
static char folder[] = "/tmp/reel-test-factors-XXXXXX";

static const struct kind blend = {"blend", {{"models", "bias,svd,als"}, {"folds", "3"}}, 2, 0.8};

static reel_model *fit(reel_context *ctx, const struct planted *p, const struct kind *kind, struct fit_output *output) {
    reel_error err;
    reel_status status;
    reel_model *model = planted_fit(ctx, p, kind->name, kind->params, kind->n_params, output, &status, &err);
    REQUIRE_OK(status, err);
    return model;
}

/* All tensors of two models have the same bytes. */
static int same_tensors(const reel_model *a, const reel_model *b) {
    if (tensor_set_count(a->set) != tensor_set_count(b->set)) return 0;
    for (size_t i = 0; i < tensor_set_count(a->set); i++) {
        const struct tensor *x = tensor_set_at(a->set, i), *y = tensor_set_at(b->set, i);
        if (x->bytes != y->bytes || memcmp(x->data, y->data, x->bytes) != 0) return 0;
    }
    return 1;
}

static void same_bytes_at_any_thread_count(void) {
    for (int k = 0; k < N_KINDS; k++) {
        reel_model *first = NULL;
        const int threads[] = {1, 2, 5};
        for (int t = UNDER_TSAN; t < 3; t++) {
            reel_context *ctx = context_of(threads[t]);
            struct planted p = planted_new(ctx, UNDER_TSAN ? 150 : 300, 90, 30, 0.5f, 5);
            struct fit_output output;
            reel_model *model = fit(ctx, &p, &kinds[k], &output);
            if (first) CHECK(same_tensors(first, model));
            if (first)
                reel_model_free(model);
            else
                first = model;
            fit_output_free(&output);
            planted_free(&p);
            reel_context_free(ctx);
        }
        reel_model_free(first);
    }
}

static void learn_the_planted_factors(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 400, 150, 40, 0.3f, 6);
    struct fit_output output;
    reel_metrics metrics;
    reel_error err;
    reel_model *bias = fit(ctx, &p, &(struct kind){.name = "bias"}, &output);
    REQUIRE_OK(model_measure(ctx, bias, &p.test, NULL, NULL, &metrics, &err), err);
    double base = metrics.rmse;
    fit_output_free(&output);
    reel_model_free(bias);
    for (int k = 0; k < N_KINDS; k += UNDER_TSAN ? N_KINDS : 1) {
        reel_model *model = fit(ctx, &p, &kinds[k], &output);
        REQUIRE_OK(model_measure(ctx, model, &p.test, output.test_predictions, NULL, &metrics, &err), err);
        printf("     %s %d: test RMSE %.4f, bias alone %.4f\n", kinds[k].name, k, metrics.rmse, base);
        CHECK(metrics.rmse < kinds[k].most * base);
        CHECK_NEAR(output.epochs[output.n_epochs - 1].test_rmse, metrics.rmse, 1e-6);
        /* what is saved is close to the running average */
        REQUIRE_OK(model_measure(ctx, model, &p.test, NULL, NULL, &metrics, &err), err);
        CHECK_NEAR(output.epochs[output.n_epochs - 1].test_rmse, metrics.rmse, 0.02);
        fit_output_free(&output);
        reel_model_free(model);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

static void saved_models_score_alike(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 100, 60, 30, 0.5f, 8);
    char path[64];
    snprintf(path, sizeof path, "%s/model.reel", folder);
    for (int k = 0; k < N_KINDS; k++) {
        struct fit_output output;
        reel_error err;
        reel_model *model = fit(ctx, &p, &kinds[k], &output), *opened = NULL;
        REQUIRE_OK(reel_model_save(ctx, model, path, &err), err);
        REQUIRE_OK(reel_model_open(ctx, path, &opened, &err), err);
        int32_t users[] = {0, 99, 6, -1, 5, -1}, movies[] = {0, 59, 3, 7, -1, -1}; /* user 6 has no ratings */
        uint32_t times[6] = {1000000000, 0, 7, 4000000000u, 0, 1};
        float one[6], two[6], sds[6], all[60];
        for (int with_times = 0; with_times < 2; with_times++) {
            const uint32_t *when = with_times ? times : NULL;
            REQUIRE_OK(model->algorithm->predict(model, 6, users, movies, when, one, NULL, &err), err);
            REQUIRE_OK(opened->algorithm->predict(opened, 6, users, movies, when, two, sds, &err), err);
            CHECK(memcmp(one, two, sizeof one) == 0);
            for (int i = 0; i < 6; i++) CHECK(isfinite(one[i]) && one[i] > 0 && one[i] < 6);
            if (strcmp(kinds[k].name, "bmf") == 0)
                for (int i = 0; i < 6; i++) CHECK(isfinite(sds[i]) && sds[i] > 0.1f && sds[i] < 3);
        }
        uint32_t zero = 0;
        for (int32_t user = -1; user < 7; user++) {
            REQUIRE_OK(opened->algorithm->score_movies(opened, user, 0, all, NULL, &err), err);
            for (int32_t m = 0; m < 60; m++) {
                float score;
                REQUIRE_OK(opened->algorithm->predict(opened, 1, &user, &m, &zero, &score, NULL, &err), err);
                CHECK(score == all[m]);
            }
        }
        fit_output_free(&output);
        reel_model_free(opened);
        reel_model_free(model);
    }
    unlink(path);
    planted_free(&p);
    reel_context_free(ctx);
}

/* A user's own ratings folded in come near the trained scores; the shares explain how scores depend on ratings:
 * one rating changed by one star moves a score by share / target, which linearity lets us check. */
static void visitors(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 300, 80, 50, 0.3f, 9);
    for (int k = 0; k < 3; k++) {
        struct fit_output output;
        reel_error err;
        reel_model *model = fit(ctx, &p, &kinds[k], &output);
        const struct algorithm *algorithm = model->algorithm;
        int32_t user = 4;
        int64_t begin = p.train.user_offsets[user], n = p.train.user_offsets[user + 1] - begin;
        float stars[80], shares[80], more[80], scores[80], moved[80], trained[80], stranger[80];
        for (int64_t i = 0; i < n; i++) stars[i] = 0.5f * p.train.user_ratings[begin + i];
        const int32_t *rated = p.train.user_movies + begin;
        REQUIRE_OK(algorithm->fold_in(model, n, rated, stars, 0, scores, NULL, &err), err);
        REQUIRE_OK(algorithm->score_movies(model, user, 0, trained, NULL, &err), err);
        REQUIRE_OK(algorithm->score_movies(model, -1, 0, stranger, NULL, &err), err);
        double far = 0, base = 0;
        for (int32_t m = 0; m < 80; m++) {
            far += pow((double)scores[m] - (double)trained[m], 2);
            base += pow((double)stranger[m] - (double)trained[m], 2);
        }
        printf("     %s %d: folded-in against trained scores %.3f stars, stranger %.3f\n", kinds[k].name, k,
               sqrt(far / 80), sqrt(base / 80));
        CHECK(far < 0.1 * base);
        REQUIRE_OK(algorithm->explain(model, n, rated, stars, 7, shares, &err), err);
        stars[3] += 1;
        REQUIRE_OK(algorithm->fold_in(model, n, rated, stars, 0, moved, NULL, &err), err);
        REQUIRE_OK(algorithm->explain(model, n, rated, stars, 7, more, &err), err);
        CHECK_NEAR((double)moved[7] - (double)scores[7], (double)more[3] - (double)shares[3], 1e-4);
        for (int64_t i = 0; i < n; i++)
            if (i != 3) CHECK_NEAR((double)more[i], (double)shares[i], 1e-5);
        float sds[80];
        REQUIRE_OK(algorithm->fold_in(model, 0, NULL, NULL, 0, scores, sds, &err), err);
        for (int32_t m = 0; m < 80; m++) CHECK(isfinite(scores[m]));
        fit_output_free(&output);
        reel_model_free(model);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

/* 90 % predictive intervals cover 90 % of the held-out ratings, give or take the rounding to half stars. */
static void error_bars_are_honest(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 500, 200, 40, 2.0f, 10);
    struct fit_output output;
    reel_error err;
    reel_model *model = fit(ctx, &p, &kinds[2], &output);
    float *scores = malloc((size_t)p.test.n * sizeof *scores), *sds = malloc((size_t)p.test.n * sizeof *sds);
    REQUIRE_OK(model->algorithm->predict(model, p.test.n, p.test.users, p.test.movies, NULL, scores, sds, &err), err);
    int64_t inside = 0;
    for (int64_t i = 0; i < p.test.n; i++)
        inside += fabs((double)scores[i] - 0.5 * p.test.ratings[i]) < 1.645 * (double)sds[i];
    double coverage = (double)inside / (double)p.test.n;
    printf("     coverage %.3f of %lld\n", coverage, (long long)p.test.n);
    CHECK_NEAR(coverage, 0.9, 0.03);
    free(scores);
    free(sds);
    fit_output_free(&output);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

/* Implicit feedback: rated movies rank above others (0.5 would be random; who rates what is drawn at random here,
 * so there is nothing but the ratings themselves to learn). */
static void implicit_ranks_with(const char *solver) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 400, 150, 12, 0.5f, 13);
    struct kind kind = {
        "als",
        {{"factors", "8"}, {"implicit", "1"}, {"iterations", "8"}, {"regularization", "1"}, {"solver", solver}},
        5,
        0};
    struct fit_output output;
    reel_error err;
    reel_model *model = fit(ctx, &p, &kind, &output);
    CHECK(isnan(output.epochs[output.n_epochs - 1].train_rmse));
    float scores[150], folded[150], stars[150];
    double wins = 0, n = 0, agree = 0;
    for (int32_t u = 0; u < 400; u++) {
        int64_t begin = p.train.user_offsets[u], rated = p.train.user_offsets[u + 1] - begin;
        if (!rated) continue;
        REQUIRE_OK(model->algorithm->score_movies(model, u, 0, scores, NULL, &err), err);
        for (int64_t i = 0; i < rated; i++) {
            stars[i] = 0.5f * p.train.user_ratings[begin + i];
            for (int32_t m = 0; m < 150; m += 7) {
                wins += scores[p.train.user_movies[begin + i]] > scores[m];
                n++;
            }
        }
        REQUIRE_OK(model->algorithm->fold_in(model, rated, p.train.user_movies + begin, stars, 0, folded, NULL, &err),
                   err);
        for (int32_t m = 0; m < 150; m++) agree = fmax(agree, fabs((double)folded[m] - (double)scores[m]));
    }
    printf("     rated above others %.3f of the time; folded in, scores differ by at most %.3f\n", wins / n, agree);
    CHECK(wins / n > 0.65);
    CHECK(agree < 0.3); /* the last half-step moved the movies, not the users */
    fit_output_free(&output);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

static void implicit_ranks(void) {
    implicit_ranks_with("cholesky");
    implicit_ranks_with("cg");
}

/* Equal ratings (every score is near them: the kept samples of a few dozen ratings spread a little) and users with
 * one rating or none. */
static void odd_data_gives_finite_answers(void) {
    reel_context *ctx = context_of(2);
    for (int odd = 0; odd < 2; odd++) {
        struct planted p = planted_new(ctx, 40, 30, odd ? 2 : 30, 0.5f, 14); /* 2 %: most users have one rating */
        uint8_t *ratings = (uint8_t *)(uintptr_t)p.train.user_ratings,
                *by_movie = (uint8_t *)(uintptr_t)p.train.movie_ratings;
        if (!odd) memset(ratings, 7, (size_t)p.train.n_ratings), memset(by_movie, 7, (size_t)p.train.n_ratings);
        for (int k = 0; k < N_KINDS; k++) {
            struct fit_output output;
            reel_error err;
            reel_model *model = fit(ctx, &p, &kinds[k], &output);
            float scores[30];
            for (int32_t u = -1; u < 40; u++) {
                REQUIRE_OK(model->algorithm->score_movies(model, u, 5, scores, NULL, &err), err);
                for (int m = 0; m < 30; m++) CHECK(odd ? isfinite(scores[m]) : fabsf(scores[m] - 3.5f) < 0.5f);
            }
            fit_output_free(&output);
            reel_model_free(model);
        }
        planted_free(&p);
    }
    reel_context_free(ctx);
}

static void bad_parameters(void) {
    reel_context *ctx = context_of(1);
    struct planted p = planted_new(ctx, 40, 30, 30, 0.5f, 15);
    const struct kind bad[] = {{"als", {{"factors", "0"}}, 1, 0},
                               {"als", {{"factors", "257"}}, 1, 0},
                               {"als", {{"regularization", "-1"}}, 1, 0},
                               {"als", {{"alpha", "nan"}}, 1, 0},
                               {"als", {{"solver", "lu"}}, 1, 0},
                               {"als", {{"cg_steps", "0"}}, 1, 0},
                               {"als", {{"implicit", "1"}, {"early_stopping", "2"}}, 2, 0},
                               {"bmf", {{"factors", "257"}}, 1, 0},
                               {"bmf", {{"samples", "0"}}, 1, 0},
                               {"bmf", {{"burn_in", "-1"}}, 1, 0},
                               {"bmf", {{"lambda", "1"}}, 1, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct fit_output output;
        reel_error err;
        reel_status status;
        CHECK(planted_fit(ctx, &p, bad[i].name, bad[i].params, bad[i].n_params, &output, &status, &err) == NULL);
        CHECK_INT(status, REEL_INVALID_ARGUMENT);
    }
    planted_free(&p);
    reel_context_free(ctx);
}

static void early_stopping_keeps_the_best(void) {
    reel_context *ctx = context_of(2);
    struct planted p = planted_new(ctx, 150, 60, 30, 2.0f, 12);
    struct kind kind = {
        "als", {{"factors", "20"}, {"iterations", "100"}, {"regularization", "0.001"}, {"early_stopping", "2"}}, 4, 0};
    struct fit_output output;
    reel_metrics metrics;
    reel_error err;
    reel_model *model = fit(ctx, &p, &kind, &output);
    double best = INFINITY;
    for (int i = 0; i < output.n_epochs; i++) best = fmin(best, output.epochs[i].test_rmse);
    CHECK(output.n_epochs < 101);
    REQUIRE_OK(model_measure(ctx, model, &p.test, NULL, NULL, &metrics, &err), err);
    CHECK_NEAR(metrics.rmse, best, 1e-5);
    fit_output_free(&output);
    reel_model_free(model);
    planted_free(&p);
    reel_context_free(ctx);
}

/* A blend is at least as good as its best member, has the same bits at any thread count, and scores alike when saved.
 */
static void blends(void) {
    reel_model *first = NULL;
    char path[64];
    snprintf(path, sizeof path, "%s/blend.reel", folder);
    for (int threads = UNDER_TSAN ? 3 : 1; threads <= 3; threads += 2) {
        reel_context *ctx = context_of(threads);
        struct planted p = planted_new(ctx, UNDER_TSAN ? 100 : 300, 120, 40, 0.3f, 17);
        struct fit_output output;
        reel_metrics blended, single;
        reel_error err;
        reel_model *model = fit(ctx, &p, &blend, &output), *opened;
        fit_output_free(&output);
        REQUIRE_OK(model_measure(ctx, model, &p.test, NULL, NULL, &blended, &err), err);
        const char *const names[] = {"bias", "svd", "als"};
        for (int m = 0; m < 3 && !UNDER_TSAN; m++) {
            reel_model *member = fit(ctx, &p, &(struct kind){.name = names[m]}, &output);
            fit_output_free(&output);
            REQUIRE_OK(model_measure(ctx, member, &p.test, NULL, NULL, &single, &err), err);
            printf("     %s %.4f, blend %.4f\n", names[m], single.rmse, blended.rmse);
            CHECK(blended.rmse < single.rmse + 0.002);
            reel_model_free(member);
        }
        REQUIRE_OK(reel_model_save(ctx, model, path, &err), err);
        REQUIRE_OK(reel_model_open(ctx, path, &opened, &err), err);
        REQUIRE_OK(model_measure(ctx, opened, &p.test, NULL, NULL, &single, &err), err);
        CHECK(single.rmse == blended.rmse);
        float scores[120], folded[120];
        REQUIRE_OK(opened->algorithm->score_movies(opened, 3, 0, scores, NULL, &err), err);
        REQUIRE_OK(opened->algorithm->fold_in(opened, 1, &(int32_t){5}, &(float){4.5f}, 0, folded, NULL, &err), err);
        for (int m = 0; m < 120; m++) CHECK(isfinite(scores[m]) && isfinite(folded[m]));
        /* a saved model as a member: its parameters are taken, its training data are not */
        struct kind nested = {"blend", {{"models", path}}, 1, 0};
        reel_status status;
        CHECK(planted_fit(ctx, &p, "blend", nested.params, 1, &output, &status, &err) == NULL);
        CHECK_INT(status, REEL_INVALID_ARGUMENT);
        reel_model_free(opened);
        if (first) CHECK(same_tensors(first, model));
        if (first)
            reel_model_free(model);
        else
            first = model;
        planted_free(&p);
        reel_context_free(ctx);
    }
    reel_model_free(first);
    unlink(path);
}

/* Progress callback that interrupts the fit at its n-th report. */
struct interrupter {
    reel_context *ctx;
    int left;
};
static void interrupt(void *user_data, const reel_progress *progress) {
    (void)progress;
    struct interrupter *interrupter = user_data;
    if (--interrupter->left == 0) reel_context_cancel(interrupter->ctx);
}

static reel_model *fit_from(reel_context *ctx, const struct planted *p, const struct kind *kind, int resume, int every,
                            reel_status *status, reel_error *err) {
    const struct algorithm *algorithm = algorithm_find(kind->name);
    struct param_values values;
    struct fit_output output;
    reel_model *model = NULL;
    REQUIRE_OK(params_parse(algorithm->params, algorithm->n_params, kind->params, kind->n_params, &values, err), *err);
    struct fit_input input = {.dataset = &p->dataset,
                              .ratings = &p->train,
                              .test = &p->test,
                              .params = &values,
                              .seed = 42,
                              .stage = "",
                              .checkpoint = folder,
                              .checkpoint_every = every,
                              .resume = resume};
    *status = model_fit(ctx, algorithm, &input, &model, &output, err);
    fit_output_free(&output);
    return model;
}

static void remove_checkpoints(void) {
    char path[64];
    for (int generation = 0; generation < 2; generation++) {
        snprintf(path, sizeof path, "%s/checkpoint-%d.reel", folder, generation);
        unlink(path);
    }
}

/* Interrupted at several places and resumed, also past a damaged newest checkpoint, a fit ends with the same bits. */
static void resumed_fits_end_with_the_same_bits(void) {
    struct interrupter interrupter = {0};
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 2;
    options.device = "cpu";
    options.progress = interrupt;
    options.user_data = &interrupter;
    reel_context *ctx;
    reel_error err;
    reel_status status;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    interrupter.ctx = ctx;
    struct planted p = planted_new(ctx, 200, 80, 30, 0.5f, 16);
    for (int k = 0; k < N_KINDS; k += UNDER_TSAN ? 3 : 1) {
        struct fit_output output;
        reel_context_resume(ctx);
        reel_model *whole = fit(ctx, &p, &kinds[k], &output);
        fit_output_free(&output);
        const int stops[] = {4, 9, 11};
        for (int i = 0; i < 3; i++) {
            interrupter.left = stops[i];
            CHECK(fit_from(ctx, &p, &kinds[k], 0, 3, &status, &err) == NULL);
            CHECK_INT(status, REEL_CANCELLED);
            reel_context_resume(ctx);
            if (i == 2) { /* spoil the newest of the two */
                char path[64];
                snprintf(path, sizeof path, "%s/checkpoint-%d.reel", folder, 9 / 3 % 2);
                FILE *file = fopen(path, "r+b");
                CHECK(file && fseek(file, -5, SEEK_END) == 0 && fputc(0x5a, file) == 0x5a && fclose(file) == 0);
            }
            reel_model *resumed = fit_from(ctx, &p, &kinds[k], 1, 3, &status, &err);
            REQUIRE_OK(status, err);
            CHECK(same_tensors(whole, resumed));
            reel_model_free(resumed);
            if (i < 2) remove_checkpoints();
        }
        /* another run's checkpoint is refused */
        struct kind other = kinds[k];
        other.params[0].value = "6";
        CHECK(fit_from(ctx, &p, &other, 1, 3, &status, &err) == NULL);
        CHECK_INT(status, REEL_MISMATCH);
        remove_checkpoints();
        reel_model_free(whole);
    }
    CHECK(fit_from(ctx, &p, &(struct kind){.name = "bias"}, 0, 3, &status, &err) == NULL);
    CHECK_INT(status, REEL_UNSUPPORTED);
    planted_free(&p);
    reel_context_free(ctx);
}

int main(void) {
    if (!mkdtemp(folder)) return 1;
    RUN(same_bytes_at_any_thread_count);
    RUN(learn_the_planted_factors);
    RUN(saved_models_score_alike);
    RUN(visitors);
    RUN(error_bars_are_honest);
    RUN(implicit_ranks);
    RUN(odd_data_gives_finite_answers);
    RUN(bad_parameters);
    RUN(early_stopping_keeps_the_best);
    RUN(blends);
    RUN(resumed_fits_end_with_the_same_bits);
    rmdir(folder);
    TEST_EXIT();
}
