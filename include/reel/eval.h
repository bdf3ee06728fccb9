/* Splits, cross-validation, model comparison and evaluation. */
#ifndef REEL_EVAL_H
#define REEL_EVAL_H

#include <reel/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_cv_options {
    const char *algorithm;
    const reel_param *params; /* (n_params,) */
    size_t n_params;
    int folds; /* >= 2 for random and per-user splits; time has one fold */
    reel_split_kind split;
    uint64_t seed;
    const char *const *train_files; /* ready folds: (n_files,) CSVs, NULL = split here */
    const char *const *test_files;  /* (n_files,) */
    size_t n_files;
} reel_cv_options;

typedef struct reel_fold {
    reel_metrics test;
    double fit_seconds, test_seconds;
} reel_fold;

typedef struct reel_cv_report {
    char algorithm[32];
    reel_fold *folds; /* (n_folds,), owned by the report */
    int n_folds;
    reel_metrics mean;                /* mean over folds; n = rows tested in all */
    reel_metrics std;                 /* population standard deviation over folds */
    double fit_seconds, test_seconds; /* mean a fold */
    int64_t peak_rss_bytes;
} reel_cv_report;

REEL_API void reel_cv_options_default(reel_cv_options *options);
REEL_API reel_status reel_cv(reel_context *ctx, const reel_dataset *dataset, const reel_cv_options *options,
                             reel_cv_report *report, reel_error *err);
REEL_API void reel_cv_report_free(reel_cv_report *report);

typedef struct reel_split_report {
    int n_folds;
    int64_t *train_counts, *test_counts; /* (n_folds,), owned by the report */
} reel_split_report;

/* Writes fold<i>.train.csv and fold<i>.test.csv (userId,movieId,rating,timestamp) for i = 1..folds. */
REEL_API reel_status reel_split(reel_context *ctx, const reel_dataset *dataset, reel_split_kind kind, int folds,
                                uint64_t seed, const char *out_dir, reel_split_report *report, reel_error *err);
REEL_API void reel_split_report_free(reel_split_report *report);

/* Metrics of a model on a CSV of ratings. */
REEL_API reel_status reel_eval(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                               const char *test_file, reel_metrics *metrics, reel_error *err);

#ifdef __cplusplus
}
#endif
#endif
