/* Cross-validation of one algorithm. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "eval/folds.h"

void reel_cv_options_default(reel_cv_options *options) {
    *options = (reel_cv_options){.algorithm = "svd", .relevant = 4};
    reel_protocol_default(&options->protocol);
}

/* ---- the report ---- */

reel_status cv_report_init(const char *algorithm, int n_folds, reel_cv_report *report, reel_error *err) {
    *report = (reel_cv_report){.n_folds = n_folds};
    snprintf(report->algorithm, sizeof report->algorithm, "%s", algorithm);
    return MEM_NEW(&report->folds, n_folds, err);
}

void reel_cv_report_free(reel_cv_report *report) {
    if (!report) return;
    mem_free(report->folds);
    *report = (reel_cv_report){0};
}

/* Mean and population standard deviation over the folds of one figure. */
static void spread(const reel_cv_report *report, size_t offset, double *mean, double *std) {
    double sum = 0, squares = 0, n = report->n_folds;
    for (int f = 0; f < report->n_folds; f++) {
        double value;
        memcpy(&value, (const char *)&report->folds[f] + offset, sizeof value);
        sum += value;
    }
    *mean = sum / n;
    for (int f = 0; f < report->n_folds; f++) {
        double value;
        memcpy(&value, (const char *)&report->folds[f] + offset, sizeof value);
        squares += (value - *mean) * (value - *mean);
    }
    if (std) *std = sqrt(squares / n);
}

void cv_report_finish(reel_cv_report *report) {
    report->mean.n = 0;
    for (int f = 0; f < report->n_folds; f++) report->mean.n += report->folds[f].test.n;
    report->std.n = report->mean.n;
    spread(report, offsetof(reel_fold, test.rmse), &report->mean.rmse, &report->std.rmse);
    spread(report, offsetof(reel_fold, test.mae), &report->mean.mae, &report->std.mae);
    spread(report, offsetof(reel_fold, test.r2), &report->mean.r2, &report->std.r2);
    spread(report, offsetof(reel_fold, fit_seconds), &report->fit_seconds, NULL);
    spread(report, offsetof(reel_fold, test_seconds), &report->test_seconds, NULL);
    report->peak_rss_bytes = peak_rss_bytes();
}

/* ---- running ---- */

static reel_status run_fold(reel_context *ctx, struct folds *folds, int fold, const struct candidate *candidate,
                            uint64_t seed, reel_fold *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct ratings train = {0};
    struct rating_pairs test = {0};
    char stage[48];
    snprintf(stage, sizeof stage, "fold %d/%d ", fold + 1, folds->n);
    TRY(context_check(ctx, err));
    TRY(folds_load(ctx, folds, fold, candidate->algorithm->needs, &train, &test, err));
    TRY(candidate_run(ctx, candidate, folds->dataset, &train, &test, folds->protocol.leak_means, seed, stage, out,
                      err));
cleanup:
    ratings_free(&train);
    rating_pairs_free(&test);
    return status;
}

reel_status reel_cv(reel_context *ctx, const reel_dataset *dataset, const reel_cv_options *options,
                    reel_cv_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    struct folds folds = {0};
    struct candidate candidate;
    *report = (reel_cv_report){0};
    TRY(candidate_init(options->algorithm, options->params, options->n_params, &candidate, err));
    candidate.ranking_n = options->ranking_n;
    candidate.relevant = options->relevant;
    TRY(folds_init(ctx, dataset, &options->protocol, &folds, err));
    TRY(cv_report_init(candidate.algorithm->name, folds.n, report, err));
    for (int f = 0; f < folds.n; f++) TRY(run_fold(ctx, &folds, f, &candidate, options->seed, &report->folds[f], err));
    cv_report_finish(report);
cleanup:
    folds_free(&folds);
    if (status != REEL_OK) reel_cv_report_free(report);
    return status;
}
