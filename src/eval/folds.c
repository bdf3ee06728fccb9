#include "eval/folds.h"
#include "eval/ranking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/pairs.h"
#include "data/split.h"

void reel_protocol_default(reel_protocol *protocol) {
    *protocol = (reel_protocol){.folds = 5, .split = REEL_SPLIT_RANDOM};
}

static int has_files(const reel_protocol *protocol) {
    return protocol->n_files > 0;
}

static reel_status check_protocol(const reel_protocol *protocol, reel_error *err) {
    if (!has_files(protocol) && protocol->holdout == 0) return REEL_OK; /* split_folds checks the rest */
    if (has_files(protocol) && protocol->n_files > SPLIT_FOLDS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "at most %d pairs of fold files are possible (found %zu)",
                         SPLIT_FOLDS_MAX, protocol->n_files);
    if (has_files(protocol)) return REEL_OK;
    if (!(protocol->holdout > 0 && protocol->holdout < 1))
        return error_set(err, REEL_INVALID_ARGUMENT, "the held-out share must be above 0 and below 1 (found %g)",
                         protocol->holdout);
    if (protocol->folds < 1 || protocol->folds > SPLIT_FOLDS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "1..%d holdouts are possible (found %d)", SPLIT_FOLDS_MAX,
                         protocol->folds);
    return REEL_OK;
}

static int count_folds(const reel_protocol *protocol) {
    if (has_files(protocol)) return (int)protocol->n_files;
    return protocol->split == REEL_SPLIT_TIME ? 1 : protocol->folds;
}

reel_status folds_init(reel_context *ctx, const struct reel_dataset *dataset, const reel_protocol *protocol,
                       struct folds *folds, reel_error *err) {
    *folds = (struct folds){.dataset = dataset, .protocol = *protocol};
    ratings_of_dataset(dataset, &folds->all);
    TRY_RETURN(check_protocol(protocol, err));
    folds->n = count_folds(protocol);
    TRY_RETURN(MEM_RAW(&folds->marks, folds->all.n_ratings, err));
    if (has_files(protocol) || protocol->holdout > 0) return REEL_OK;
    TRY_RETURN(MEM_RAW(&folds->labels, folds->all.n_ratings, err));
    return split_folds(ctx, &folds->all, protocol->split, protocol->folds, protocol->seed, folds->labels, err);
}

void folds_free(struct folds *folds) {
    mem_free(folds->labels);
    mem_free(folds->marks);
    *folds = (struct folds){0};
}

/* Ready files: what the train file lists is trained on, the test file is taken as it stands. */
static reel_status load_files(reel_context *ctx, struct folds *folds, int fold, struct rating_pairs *test,
                              reel_error *err) {
    int64_t n = folds->all.n_ratings;
    memset(folds->marks, 0, (size_t)n);
    TRY_RETURN(pairs_mark_file(ctx, folds->dataset, folds->protocol.train_files[fold], folds->marks, err));
    for (int64_t i = 0; i < n; i++) folds->marks[i] ^= 1;
    return dataset_read_pairs(ctx, folds->dataset, folds->protocol.test_files[fold], test, err);
}

reel_status folds_load(reel_context *ctx, struct folds *folds, int fold, int needs, struct ratings *train,
                       struct rating_pairs *test, reel_error *err) {
    const reel_protocol *protocol = &folds->protocol;
    *train = (struct ratings){0};
    *test = (struct rating_pairs){0};
    if (has_files(protocol)) {
        TRY_RETURN(load_files(ctx, folds, fold, test, err));
        split_drop_users(&folds->all, protocol->users, 1, folds->marks);
        return ratings_subset(ctx, &folds->all, folds->marks, needs, train, err);
    }
    if (protocol->holdout > 0)
        TRY_RETURN(split_holdout(ctx, &folds->all, protocol->split, protocol->holdout, protocol->seed + (uint64_t)fold,
                                 folds->marks, err));
    else
        for (int64_t i = 0; i < folds->all.n_ratings; i++) folds->marks[i] = folds->labels[i] == fold;
    split_drop_users(&folds->all, protocol->users, 0, folds->marks);
    TRY_RETURN(ratings_pairs(ctx, &folds->all, folds->marks, test, err));
    split_drop_users(&folds->all, protocol->users, 1, folds->marks);
    return ratings_subset(ctx, &folds->all, folds->marks, needs, train, err);
}

/* ---- candidates ---- */

static reel_status unknown_algorithm(const char *name, reel_error *err) {
    struct strbuf known = {0};
    for (const char *const *each = reel_algorithms(); *each; each++)
        strbuf_printf(&known, "%s%s", known.length ? ", " : "", *each);
    char *list = strbuf_take(&known);
    error_set(err, REEL_INVALID_ARGUMENT, "there is no algorithm \"%.40s\" (known: %s)", name, list ? list : "?");
    reel_string_free(list);
    return REEL_INVALID_ARGUMENT;
}

reel_status candidate_init(const char *algorithm, const reel_param *params, size_t n_params, struct candidate *out,
                           reel_error *err) {
    out->algorithm = algorithm ? algorithm_find(algorithm) : NULL;
    if (!out->algorithm) return unknown_algorithm(algorithm ? algorithm : "", err);
    return params_parse(out->algorithm->params, out->algorithm->n_params, params, n_params, &out->params, err);
}

reel_status candidate_run(reel_context *ctx, const struct candidate *candidate, const struct reel_dataset *dataset,
                          const struct ratings *train, const struct rating_pairs *test, int leak_means, uint64_t seed,
                          const char *stage, reel_fold *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct reel_model *model = NULL;
    struct fit_output output = {0};
    /* The test part is not shown to the fit, so that nothing is tuned or stopped by it; only algorithms that average
     * its predictions while they fit get to see which pairs these are. */
    struct fit_input input = {.dataset = dataset,
                              .ratings = train,
                              .test = candidate->algorithm->predicts_test ? test : NULL,
                              .params = &candidate->params,
                              .leak_means = leak_means,
                              .seed = seed,
                              .stage = stage};
    char test_stage[96];
    snprintf(test_stage, sizeof test_stage, "%.80stest", stage);
    double begin = clock_seconds();
    TRY(model_fit(ctx, candidate->algorithm, &input, &model, &output, err));
    double fitted = clock_seconds();
    context_progress(ctx, test_stage, "ratings", 0, test->n, NULL, 0, 0);
    TRY(model_measure(ctx, model, test, output.test_predictions, NULL, &out->test, err));
    context_progress(ctx, test_stage, "ratings", test->n, test->n, "rmse", out->test.rmse, 1);
    out->fit_seconds = fitted - begin;
    out->test_seconds = clock_seconds() - fitted;
    if (candidate->ranking_n)
        TRY(ranking_measure(ctx, model, train, test, candidate->ranking_n, candidate->relevant, &out->ranking, err));
cleanup:
    free(output.epochs);
    free(output.test_predictions);
    reel_model_free(model);
    return status;
}
