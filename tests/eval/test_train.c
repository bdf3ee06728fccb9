/* reel_train, reel_cv, reel_compare, reel_eval and reel_split through the public interface. */
#include <sys/stat.h>

#include "test.h"
#include "data/small_dataset.h"
#include "model/model.h"
#include <reel/reel.h>

static reel_error err;
static reel_context *ctx;
static reel_dataset *ds;

static const reel_param quick[] = {{"factors", "4"}, {"epochs", "3"}};

static reel_train_options quick_options(void) {
    reel_train_options options;
    reel_train_options_default(&options);
    options.params = quick;
    options.n_params = 2;
    return options;
}

static void train_reports_and_stores(void) {
    reel_train_options options = quick_options();
    reel_train_report report;
    reel_model *model;
    options.holdout = 0.2;
    REQUIRE_OK(reel_train(ctx, ds, &options, &model, &report, &err), err);
    CHECK_STR(report.algorithm, "svd");
    CHECK_INT(report.test.n, ds->n_ratings / 5);
    CHECK_INT(report.n_ratings, ds->n_ratings - report.test.n);
    CHECK_INT(report.n_epochs, 4);
    CHECK(report.test.rmse > 0 && report.test.mae > 0 && isfinite(report.test.r2));
    CHECK(isnan(report.train.rmse) && report.train.n == 0);
    CHECK_NEAR(atof(reel_model_metadata(model, "metrics.rmse")), report.test.rmse, 1e-9);
    CHECK_STR(reel_model_metadata(model, "holdout"), "random 0.2");
    CHECK(reel_model_metadata(model, "nothing") == NULL);
    reel_model_free(model);
    reel_train_report_free(&report);
    reel_train_report_free(NULL);
    options.holdout = 0;
    REQUIRE_OK(reel_train(ctx, ds, &options, &model, NULL, &err), err);
    CHECK(reel_model_metadata(model, "metrics.rmse") == NULL);
    reel_model_free(model);
}

static void train_refuses(void) {
    reel_train_options options = quick_options();
    reel_model *model = NULL;
    options.algorithm = "nonsense";
    CHECK_INT(reel_train(ctx, ds, &options, &model, NULL, &err), REEL_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "mean, bias, svd") != NULL);
    options = quick_options();
    options.holdout = 0.5;
    options.test_file = "x.csv";
    CHECK_INT(reel_train(ctx, ds, &options, &model, NULL, &err), REEL_INVALID_ARGUMENT);
    options.holdout = 0;
    CHECK_INT(reel_train(ctx, ds, &options, &model, NULL, &err), REEL_NOT_FOUND);
    options.test_file = NULL;
    options.holdout = 1;
    CHECK_INT(reel_train(ctx, ds, &options, &model, NULL, &err), REEL_INVALID_ARGUMENT);
    options.holdout = 0.1;
    reel_context_cancel(ctx);
    CHECK_INT(reel_train(ctx, ds, &options, &model, NULL, &err), REEL_CANCELLED);
    reel_context_resume(ctx);
    CHECK(model == NULL);
}

static void cancel_while_training(void *user_data, const reel_progress *progress) {
    (void)progress;
    reel_context_cancel(*(reel_context **)user_data);
}

/* A cancel in the middle of a fit, a cv or a comparison comes back as CANCELLED and frees everything. */
static void cancel_is_seen_midway(void) {
    reel_context *own = NULL;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 2;
    options.progress = cancel_while_training;
    options.user_data = &own;
    REQUIRE_OK(reel_context_new(&options, &own, &err), err);
    reel_train_options train = quick_options();
    reel_model *model = NULL;
    CHECK_INT(reel_train(own, ds, &train, &model, NULL, &err), REEL_CANCELLED);
    CHECK(model == NULL);
    reel_context_resume(own);
    reel_cv_options cv;
    reel_cv_options_default(&cv);
    reel_cv_report report;
    CHECK_INT(reel_cv(own, ds, &cv, &report, &err), REEL_CANCELLED);
    CHECK(report.folds == NULL);
    reel_context_resume(own);
    reel_compare_options compare;
    reel_compare_options_default(&compare);
    static const char *const names[] = {"svd", "bias"};
    compare.algorithms = names;
    compare.n_algorithms = 2;
    reel_compare_report compared;
    CHECK_INT(reel_compare(own, ds, &compare, &compared, &err), REEL_CANCELLED);
    CHECK(compared.models == NULL);
    reel_context_free(own);
}

/* compare's row of an algorithm is cv's report of it. */
static void compare_equals_cv(void) {
    static const char *const names[] = {"mean", "svd"}, *const values[] = {"1", "3"};
    const reel_grid_axis axis = {"epochs", values, 2};
    reel_compare_options options;
    reel_compare_options_default(&options);
    options.algorithms = names;
    options.n_algorithms = 2;
    options.params = (const reel_param[]){{"svd.factors", "4"}};
    options.n_params = 1;
    options.grid = &axis;
    options.n_grid = 1;
    options.protocol.folds = 3;
    options.protocol.seed = options.seed = 5;
    reel_compare_report report;
    int met = 0;
    REQUIRE_OK(reel_compare(ctx, ds, &options, &report, &err), err);
    CHECK_INT(report.n_models, 3);
    for (int i = 0; i < report.n_models; i++) {
        const reel_compared *model = &report.models[i];
        CHECK_INT(model->status, REEL_OK);
        CHECK(i == 0 || report.models[i - 1].cv.mean.rmse <= model->cv.mean.rmse);
        if (strcmp(model->params, "factors=4 epochs=3") != 0) continue;
        met++;
        reel_cv_options cv = {
            .algorithm = "svd", .params = quick, .n_params = 2, .protocol = options.protocol, .seed = 5};
        reel_cv_report alone;
        REQUIRE_OK(reel_cv(ctx, ds, &cv, &alone, &err), err);
        CHECK_NEAR(alone.mean.rmse, model->cv.mean.rmse, 0);
        CHECK_NEAR(alone.folds[2].test.mae, model->cv.folds[2].test.mae, 0);
        reel_cv_report_free(&alone);
    }
    CHECK_INT(met, 1);
    reel_compare_report_free(&report);
    reel_compare_report_free(NULL);
    options.n_algorithms = 0;
    CHECK_INT(reel_compare(ctx, ds, &options, &report, &err), REEL_INVALID_ARGUMENT);
}

static void saved_model_gives_the_same_figures(void) {
    char folder[512], test_path[600], model_path[600];
    snprintf(folder, sizeof folder, "%s", scratch_path("split"));
    snprintf(test_path, sizeof test_path, "%s/fold2.test.csv", folder);
    snprintf(model_path, sizeof model_path, "%s/model.reel", folder);
    reel_split_report split;
    REQUIRE_OK(reel_split(ctx, ds, REEL_SPLIT_RANDOM, 2, 1, folder, &split, &err), err);
    reel_train_options options = quick_options();
    options.test_file = test_path;
    reel_train_report report;
    reel_model *model, *opened;
    reel_metrics metrics;
    REQUIRE_OK(reel_train(ctx, ds, &options, &model, &report, &err), err);
    CHECK_INT(report.test.n, split.test_counts[1]);
    CHECK_INT(report.n_ratings, split.train_counts[1]);
    REQUIRE_OK(reel_model_save(ctx, model, model_path, &err), err);
    REQUIRE_OK(reel_model_open(ctx, model_path, &opened, &err), err);
    REQUIRE_OK(reel_eval(ctx, ds, opened, test_path, &metrics, &err), err);
    CHECK_INT(metrics.n, report.test.n);
    CHECK_NEAR(metrics.rmse, report.test.rmse, 0);
    CHECK_NEAR(metrics.mae, report.test.mae, 0);
    CHECK_NEAR(metrics.r2, report.test.r2, 0);
    reel_model_free(model);
    reel_model_free(opened);
    reel_train_report_free(&report);
    reel_split_report_free(&split);
    unlink(model_path);
    for (int file = 0; file < 4; file++) {
        snprintf(test_path, sizeof test_path, "%s/fold%d.%s.csv", folder, file / 2 + 1, file % 2 ? "test" : "train");
        CHECK(unlink(test_path) == 0);
    }
    CHECK(rmdir(folder) == 0); /* nothing else was left there */
}

int main(void) {
    static const struct small_dataset_fault no_fault;
    ctx = context_of(2);
    struct ratings r = random_ratings(120, 50, 50, 41);
    REQUIRE_OK(open_set(ctx, small_dataset_set(&r, &no_fault), &ds, &err), err);
    RUN(train_reports_and_stores);
    RUN(train_refuses);
    RUN(compare_equals_cv);
    RUN(saved_model_gives_the_same_figures);
    RUN(cancel_is_seen_midway);
    reel_dataset_free(ds);
    ratings_free(&r);
    reel_context_free(ctx);
    TEST_EXIT();
}
