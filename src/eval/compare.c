/* Model comparison: several algorithms and parameter grids on the same folds. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "eval/compare_state.h"
#include "eval/folds.h"

enum { MODELS_MAX = 4096, OWN_PARAMS_MAX = 2 * PARAMS_MAX };

void reel_compare_options_default(reel_compare_options *options) {
    *options = (reel_compare_options){0};
    reel_protocol_default(&options->protocol);
}

/* ---- which models ---- */

/* One model of the comparison. */
struct contender {
    struct candidate candidate;
    reel_param params[OWN_PARAMS_MAX]; /* borrows the options' texts */
    size_t n_params;
};

struct comparison {
    const reel_compare_options *options;
    struct contender *contenders; /* (n,) */
    int n;
    int needs; /* what all of them need of the ratings */
    struct compare_state state;
};

/* The parameter that `key` means for the algorithm ("key" or "algorithm.key"), NULL if it is not meant for it. */
static const char *key_for(const struct algorithm *algorithm, const char *key) {
    const char *dot = strchr(key, '.');
    if (dot) {
        size_t length = (size_t)(dot - key);
        return strlen(algorithm->name) == length && memcmp(algorithm->name, key, length) == 0 ? dot + 1 : NULL;
    }
    for (size_t i = 0; i < algorithm->n_params; i++)
        if (strcmp(algorithm->params[i].key, key) == 0) return key;
    return NULL;
}

/* A key that none of the compared algorithms has is a slip of the pen, and tried nowhere if not reported here. */
static reel_status check_key(const reel_compare_options *options, const char *key, reel_error *err) {
    for (size_t a = 0; a < options->n_algorithms; a++) {
        const struct algorithm *algorithm = algorithm_find(options->algorithms[a]);
        if (algorithm && key_for(algorithm, key)) return REEL_OK;
    }
    struct strbuf known = {0};
    for (size_t a = 0; a < options->n_algorithms; a++) {
        const struct algorithm *algorithm = algorithm_find(options->algorithms[a]);
        for (size_t i = 0; algorithm && i < algorithm->n_params; i++)
            strbuf_printf(&known, "%s%s.%s", known.length ? ", " : "", algorithm->name, algorithm->params[i].key);
    }
    char *list = strbuf_take(&known);
    error_set(err, REEL_INVALID_ARGUMENT, "none of the algorithms has a parameter \"%.60s\" (known: %s)", key,
              list && *list ? list : "none");
    reel_string_free(list);
    return REEL_INVALID_ARGUMENT;
}

static reel_status check_options(const reel_compare_options *options, reel_error *err) {
    if (options->n_algorithms == 0) return error_set(err, REEL_INVALID_ARGUMENT, "no algorithms to compare were given");
    struct candidate unused;
    for (size_t a = 0; a < options->n_algorithms; a++)
        TRY_RETURN(candidate_init(options->algorithms[a], NULL, 0, &unused, err));
    for (size_t i = 0; i < options->n_params; i++) TRY_RETURN(check_key(options, options->params[i].key, err));
    for (size_t g = 0; g < options->n_grid; g++) {
        TRY_RETURN(check_key(options, options->grid[g].key, err));
        if (options->grid[g].n_values == 0)
            return error_set(err, REEL_INVALID_ARGUMENT, "the grid gives no values for %.60s", options->grid[g].key);
    }
    return REEL_OK;
}

static reel_status add_param(struct contender *contender, const char *key, const char *value, reel_error *err) {
    for (size_t i = 0; i < contender->n_params; i++) {
        if (strcmp(contender->params[i].key, key) != 0) continue;
        contender->params[i].value = value; /* the later one wins: the grid over -p */
        return REEL_OK;
    }
    if (contender->n_params == OWN_PARAMS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "too many parameters (at most %d)", OWN_PARAMS_MAX);
    contender->params[contender->n_params++] = (reel_param){key, value};
    return REEL_OK;
}

/* How many combinations the grid has for this algorithm: axes that are not meant for it count once. */
static int64_t combinations(const reel_compare_options *options, const struct algorithm *algorithm) {
    int64_t n = 1;
    for (size_t g = 0; g < options->n_grid; g++) {
        if (!key_for(algorithm, options->grid[g].key)) continue;
        n *= (int64_t)options->grid[g].n_values;
        if (n > MODELS_MAX) return MODELS_MAX + 1;
    }
    return n;
}

/* Combination `index` of the algorithm; the last axis runs fastest. */
static reel_status make_contender(const reel_compare_options *options, const struct algorithm *algorithm, int64_t index,
                                  struct contender *out, reel_error *err) {
    for (size_t i = 0; i < options->n_params; i++) {
        const char *key = key_for(algorithm, options->params[i].key);
        if (key) TRY_RETURN(add_param(out, key, options->params[i].value, err));
    }
    for (size_t g = options->n_grid; g-- > 0;) {
        const reel_grid_axis *axis = &options->grid[g];
        const char *key = key_for(algorithm, axis->key);
        if (!key || axis->n_values == 0) continue;
        TRY_RETURN(add_param(out, key, axis->values[(size_t)index % axis->n_values], err));
        index /= (int64_t)axis->n_values;
    }
    return candidate_init(algorithm->name, out->params, out->n_params, &out->candidate, err);
}

static reel_status comparison_init(const reel_compare_options *options, struct comparison *comparison,
                                   reel_error *err) {
    int64_t n = 0;
    comparison->options = options;
    TRY_RETURN(check_options(options, err));
    for (size_t a = 0; a < options->n_algorithms; a++)
        n += combinations(options, algorithm_find(options->algorithms[a]));
    if (n > MODELS_MAX) return error_set(err, REEL_INVALID_ARGUMENT, "the grid has more than %d models", MODELS_MAX);
    TRY_RETURN(MEM_NEW(&comparison->contenders, n, err));
    for (size_t a = 0; a < options->n_algorithms; a++) {
        const struct algorithm *algorithm = algorithm_find(options->algorithms[a]);
        int64_t each = combinations(options, algorithm);
        for (int64_t i = 0; i < each; i++)
            TRY_RETURN(make_contender(options, algorithm, i, &comparison->contenders[comparison->n++], err));
        comparison->needs |= algorithm->needs;
    }
    return REEL_OK;
}

/* ---- the report ---- */

static char *params_text_of(const struct contender *contender) {
    struct strbuf text = {0};
    for (size_t i = 0; i < contender->n_params; i++)
        strbuf_printf(&text, "%s%s=%s", i ? " " : "", contender->params[i].key, contender->params[i].value);
    return strbuf_take(&text);
}

static reel_status report_init(const struct comparison *comparison, int n_folds, reel_compare_report *report,
                               reel_error *err) {
    TRY_RETURN(MEM_NEW(&report->models, comparison->n, err));
    report->n_models = comparison->n;
    for (int i = 0; i < comparison->n; i++) {
        const struct contender *contender = &comparison->contenders[i];
        TRY_RETURN(cv_report_init(contender->candidate.algorithm->name, n_folds, &report->models[i].cv, err));
        report->models[i].params = params_text_of(contender);
        if (!report->models[i].params) return error_no_memory(err, 0);
    }
    return REEL_OK;
}

void reel_compare_report_free(reel_compare_report *report) {
    if (!report) return;
    for (int i = 0; i < report->n_models; i++) {
        reel_cv_report_free(&report->models[i].cv);
        reel_string_free(report->models[i].params);
    }
    mem_free(report->models);
    *report = (reel_compare_report){0};
}

static void void_figures(reel_cv_report *cv) {
    reel_metrics none = {0, NAN, NAN, NAN};
    for (int f = 0; f < cv->n_folds; f++)
        cv->folds[f] = (reel_fold){.test = none, .fit_seconds = NAN, .test_seconds = NAN};
    cv->mean = cv->std = none;
    cv->fit_seconds = cv->test_seconds = NAN;
}

/* Best first; what failed is last; ties keep the order in which they were given. */
static void rank(reel_compare_report *report) {
    for (int i = 1; i < report->n_models; i++) {
        reel_compared moved = report->models[i];
        int at = i;
        for (; at > 0; at--) {
            const reel_compared *before = &report->models[at - 1];
            int better =
                moved.status == REEL_OK && (before->status != REEL_OK || moved.cv.mean.rmse < before->cv.mean.rmse);
            if (!better) break;
            report->models[at] = *before;
        }
        report->models[at] = moved;
    }
}

/* ---- running ---- */

/* One cell of models x folds. A model that cannot be fitted drops out; what concerns the whole run does not. */
static reel_status run_cell(reel_context *ctx, struct comparison *comparison, int index, const struct folds *folds,
                            int fold, const struct ratings *train, const struct rating_pairs *test, reel_compared *out,
                            reel_error *err) {
    const struct contender *contender = &comparison->contenders[index];
    if (out->status != REEL_OK || compare_state_find(&comparison->state, index, fold, out)) return REEL_OK;
    TRY_RETURN(context_check(ctx, err));
    char stage[64];
    snprintf(stage, sizeof stage, "%.20s %d/%d fold %d/%d ", contender->candidate.algorithm->name, index + 1,
             comparison->n, fold + 1, folds->n);
    reel_error reason = {0};
    reel_status status =
        candidate_run(ctx, &contender->candidate, folds->dataset, train, test, folds->protocol.leak_means,
                      comparison->options->seed, stage, &out->cv.folds[fold], &reason);
    if (status == REEL_NUMERIC || status == REEL_UNSUPPORTED) {
        out->status = status;
        snprintf(out->message, sizeof out->message, "%s", reason.message);
        return compare_state_keep(&comparison->state, index, fold, out, err);
    }
    if (status != REEL_OK) {
        if (err) *err = reason;
        return status;
    }
    return compare_state_keep(&comparison->state, index, fold, out, err);
}

/* 1 if an earlier run left nothing of the fold to do; takes over what it found. */
static int find_fold(const struct comparison *comparison, int fold, reel_compare_report *report) {
    for (int i = 0; i < comparison->n; i++) {
        reel_compared *out = &report->models[i];
        if (out->status == REEL_OK && !compare_state_find(&comparison->state, i, fold, out)) return 0;
    }
    return 1;
}

static reel_status run_fold(reel_context *ctx, struct comparison *comparison, struct folds *folds, int fold,
                            reel_compare_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    struct ratings train = {0};
    struct rating_pairs test = {0};
    if (find_fold(comparison, fold, report)) return REEL_OK;
    TRY(folds_load(ctx, folds, fold, comparison->needs, &train, &test, err));
    for (int i = 0; i < comparison->n; i++)
        TRY(run_cell(ctx, comparison, i, folds, fold, &train, &test, &report->models[i], err));
cleanup:
    ratings_free(&train);
    rating_pairs_free(&test);
    return status;
}

/* What two runs must have in common for one to go on from the other. */
static json_t *identity_of(const struct comparison *comparison, const reel_dataset *dataset, int n_folds,
                           const reel_compare_report *report) {
    const reel_protocol *protocol = &comparison->options->protocol;
    json_t *files = json_array(), *models = json_array();
    int good = files && models;
    for (size_t f = 0; good && f < protocol->n_files; f++)
        good = json_array_append_new(files, json_string(protocol->train_files[f])) == 0 &&
               json_array_append_new(files, json_string(protocol->test_files[f])) == 0;
    for (int i = 0; good && i < comparison->n; i++)
        good = json_array_append_new(models, json_pack("{s:s,s:s}", "algorithm", report->models[i].cv.algorithm,
                                                       "params", report->models[i].params)) == 0;
    char seeds[64];
    snprintf(seeds, sizeof seeds, "%llu %llu", (unsigned long long)protocol->seed,
             (unsigned long long)comparison->options->seed);
    json_t *identity =
        good ? json_pack("{s:s,s:i,s:i,s:f,s:s,s:[I,I],s:i,s:O,s:O}", "dataset", dataset->fingerprint, "folds", n_folds,
                         "split", (int)protocol->split, "holdout", protocol->holdout, "seeds", seeds, "users",
                         (json_int_t)protocol->users.min_ratings, (json_int_t)protocol->users.max_ratings, "leak_means",
                         protocol->leak_means, "files", files, "models", models)
             : NULL;
    json_decref(files);
    json_decref(models);
    return identity;
}

reel_status reel_compare(reel_context *ctx, const reel_dataset *dataset, const reel_compare_options *options,
                         reel_compare_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    struct comparison comparison = {0};
    struct folds folds = {0};
    double begin = clock_seconds();
    *report = (reel_compare_report){0};
    TRY(comparison_init(options, &comparison, err));
    TRY(folds_init(ctx, dataset, &options->protocol, &folds, err));
    TRY(report_init(&comparison, folds.n, report, err));
    TRY(compare_state_open(options->resume, identity_of(&comparison, dataset, folds.n, report), comparison.n, folds.n,
                           &comparison.state, err));
    for (int f = 0; f < folds.n; f++) TRY(run_fold(ctx, &comparison, &folds, f, report, err));
    for (int i = 0; i < report->n_models; i++) {
        cv_report_finish(&report->models[i].cv);
        if (report->models[i].status != REEL_OK) void_figures(&report->models[i].cv);
    }
    rank(report);
    report->seconds = clock_seconds() - begin;
    report->peak_rss_bytes = peak_rss_bytes();
cleanup:
    folds_free(&folds);
    compare_state_close(&comparison.state);
    mem_free(comparison.contenders);
    if (status != REEL_OK) reel_compare_report_free(report);
    return status;
}
