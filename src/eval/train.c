/* Training one model: what is held out, the fit, and the figures that go with the model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/pairs.h"
#include "data/split.h"
#include "eval/folds.h"

void reel_train_options_default(reel_train_options *options) {
    *options = (reel_train_options){.algorithm = "svd", .holdout_split = REEL_SPLIT_RANDOM, .checkpoint_every = 10};
}

void reel_train_report_free(reel_train_report *report) {
    if (!report) return;
    free(report->epochs);
    *report = (reel_train_report){0};
}

/* The training part (a view of the whole dataset where nothing is held out) and the test part. */
struct parts {
    struct ratings train;
    struct rating_pairs test;
    uint8_t *marks; /* (n_ratings,) 1 = held out */
};

static void parts_free(struct parts *parts) {
    ratings_free(&parts->train);
    rating_pairs_free(&parts->test);
    mem_free(parts->marks);
}

static reel_status hold_out(reel_context *ctx, const reel_dataset *dataset, const reel_train_options *options,
                            const struct candidate *candidate, struct parts *parts, reel_error *err) {
    struct ratings all;
    ratings_of_dataset(dataset, &all);
    if (options->test_file && options->holdout > 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "a test file and a held-out share exclude each other");
    parts->train = all;
    int ranged = options->users.min_ratings > 0 || options->users.max_ratings > 0;
    if (!options->test_file && options->holdout == 0 && !ranged) return REEL_OK;
    TRY_RETURN(MEM_NEW(&parts->marks, all.n_ratings, err));
    if (options->test_file) {
        TRY_RETURN(dataset_read_pairs(ctx, dataset, options->test_file, &parts->test, err));
        pairs_mark(ctx, &all, &parts->test, parts->marks);
    } else if (options->holdout != 0) {
        TRY_RETURN(
            split_holdout(ctx, &all, options->holdout_split, options->holdout, options->seed, parts->marks, err));
        split_drop_users(&all, options->users, 0, parts->marks);
        TRY_RETURN(ratings_pairs(ctx, &all, parts->marks, &parts->test, err));
    }
    split_drop_users(&all, options->users, 1, parts->marks);
    TRY_RETURN(ratings_subset(ctx, &all, parts->marks, candidate->algorithm->needs, &parts->train, err));
    mem_free(parts->marks);
    parts->marks = NULL;
    return REEL_OK;
}

static const char *split_name(reel_split_kind kind) {
    return kind == REEL_SPLIT_TIME ? "time" : kind == REEL_SPLIT_PER_USER ? "per-user" : "random";
}

/* The figures and how they came about; no paths, so that the bytes do not depend on where files lie. */
static reel_status put_metrics(struct tensor_set *set, const reel_train_options *options, const reel_metrics *test,
                               reel_error *err) {
    if (test->n == 0) return REEL_OK;
    if (options->test_file)
        TRY_RETURN(tensor_set_put(set, "holdout", "test file", err));
    else
        TRY_RETURN(
            tensor_set_putf(set, "holdout", err, "%s %.10g", split_name(options->holdout_split), options->holdout));
    TRY_RETURN(tensor_set_putf(set, "metrics.n", err, "%lld", (long long)test->n));
    TRY_RETURN(tensor_set_putf(set, "metrics.rmse", err, "%.9f", test->rmse));
    TRY_RETURN(tensor_set_putf(set, "metrics.mae", err, "%.9f", test->mae));
    return tensor_set_putf(set, "metrics.r2", err, "%.9f", test->r2);
}

static void fill_report(const struct parts *parts, const struct candidate *candidate, struct fit_output *output,
                        const reel_metrics *test, reel_train_report *report) {
    *report = (reel_train_report){.train = {0, NAN, NAN, NAN},
                                  .test = *test,
                                  .epochs = output->epochs,
                                  .n_epochs = output->n_epochs,
                                  .n_ratings = parts->train.n_ratings,
                                  .fit_seconds = output->fit_seconds,
                                  .peak_rss_bytes = peak_rss_bytes()};
    snprintf(report->algorithm, sizeof report->algorithm, "%s", candidate->algorithm->name);
    if (output->fit_seconds > 0) report->ratings_per_second = (double)output->visited / output->fit_seconds;
    output->epochs = NULL;
}

reel_status reel_train(reel_context *ctx, const reel_dataset *dataset, const reel_train_options *options,
                       reel_model **out, reel_train_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    struct candidate candidate;
    struct parts parts = {0};
    struct fit_output output = {0};
    reel_model *model = NULL;
    reel_metrics test = {0, NAN, NAN, NAN};
    *out = NULL;
    if (report) *report = (reel_train_report){0};
    TRY(candidate_init(options->algorithm, options->params, options->n_params, &candidate, err));
    TRY(hold_out(ctx, dataset, options, &candidate, &parts, err));
    struct fit_input input = {.dataset = dataset,
                              .ratings = &parts.train,
                              .test = parts.test.n ? &parts.test : NULL,
                              .params = &candidate.params,
                              .leak_means = options->leak_means,
                              .seed = options->seed,
                              .checkpoint = options->checkpoint,
                              .checkpoint_every = options->checkpoint_every,
                              .resume = options->resume,
                              .stage = ""};
    TRY(model_fit(ctx, candidate.algorithm, &input, &model, &output, err));
    if (parts.test.n) TRY(model_measure(ctx, model, &parts.test, output.test_predictions, NULL, &test, err));
    TRY(put_metrics(model->set, options, &test, err));
    if (report) fill_report(&parts, &candidate, &output, &test, report);
    *out = model;
    model = NULL;
cleanup:
    reel_model_free(model);
    free(output.epochs);
    free(output.test_predictions);
    parts_free(&parts);
    return status;
}
