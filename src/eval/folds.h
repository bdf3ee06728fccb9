/* A protocol turned into training and test parts, one fold at a time. Cross-validation and model comparison go
 * through here, so that both see the same folds. */
#ifndef EVAL_FOLDS_H
#define EVAL_FOLDS_H

#include <reel/eval.h>
#include "data/dataset.h"
#include "data/ratings.h"
#include "model/model.h"

struct folds {
    const struct reel_dataset *dataset;
    struct ratings all; /* borrowed from the dataset */
    reel_protocol protocol;
    int n;
    uint8_t *labels; /* (n_ratings,) the fold a rating is tested in; NULL for holdouts and ready files */
    uint8_t *marks;  /* (n_ratings,) scratch: 1 = not trained on in this fold */
};

/* Checks the protocol and splits. INVALID_ARGUMENT. The struct is freed with folds_free, whatever the result. */
reel_status folds_init(reel_context *ctx, const struct reel_dataset *dataset, const reel_protocol *protocol,
                       struct folds *folds, reel_error *err);
void folds_free(struct folds *folds);
/* The two parts of fold 0 <= fold < n; `needs` as in ratings_subset. Both are the caller's to free, also on failure.
 * BAD_INPUT where a ready file has a rating that the dataset lacks. */
reel_status folds_load(reel_context *ctx, struct folds *folds, int fold, int needs, struct ratings *train,
                       struct rating_pairs *test, reel_error *err);

/* An algorithm with its parameters, ready to be fitted. */
struct candidate {
    const struct algorithm *algorithm;
    struct param_values params; /* borrows the texts of the reel_param array it was parsed from */
    int ranking_n;              /* > 0: measure lists of this length too */
    double relevant;
};

/* INVALID_ARGUMENT for a name that is none (lists the known ones) and for bad parameters. */
reel_status candidate_init(const char *algorithm, const reel_param *params, size_t n_params, struct candidate *out,
                           reel_error *err);
/* Fits on `train` and measures on `test`; progress stages begin with `stage`. `leak_means` as in fit_input. */
reel_status candidate_run(reel_context *ctx, const struct candidate *candidate, const struct reel_dataset *dataset,
                          const struct ratings *train, const struct rating_pairs *test, int leak_means, uint64_t seed,
                          const char *stage, reel_fold *out, reel_error *err);

/* Makes a report of n_folds zeroed folds. */
reel_status cv_report_init(const char *algorithm, int n_folds, reel_cv_report *report, reel_error *err);
/* Fills mean, std, seconds and peak_rss_bytes from the folds. */
void cv_report_finish(reel_cv_report *report);

#endif
