/* `blend`: the non-negative least-squares combination of other models (stacking: Breiman, "Stacked regressions",
 * Machine Learning 24, 1996). Each member is fitted on all folds but one and predicts the one left out; the weights
 * and an intercept minimise the squared error of these out-of-fold predictions; then each member is fitted on all
 * training ratings.
 *
 * Tensors: "weights" F64 (n,) >= 0 and "intercept" F64 (1,); member i's own tensors under "m<i>.<name>" (its ids are
 * the blend's), its metadata under "m<i>.<key>". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/split.h"
#include "model/member.h"

enum { MEMBERS_MAX = 16 };

static const struct param_spec blend_params[] = {
    {"models", PARAM_TEXT, "bias,svd", 0, 0, NULL,
     "comma-separated saved models (their algorithms and parameters are taken) or names of algorithms"},
    {"folds", PARAM_INT, "5", 2, 100, NULL, "folds of the out-of-fold predictions"},
};

struct blend_fit {
    reel_context *ctx;
    const struct fit_input *input;
    struct member members[MEMBERS_MAX];
    int n, folds;
    uint8_t *test;                                 /* (n_ratings,) */
    double gram[MEMBERS_MAX + 1][MEMBERS_MAX + 1]; /* of (predictions, 1) over all ratings */
    double right[MEMBERS_MAX + 1];                 /* with the stars */
    double weights[MEMBERS_MAX + 1];               /* the intercept last */
};

/* ---- members ---- */

static reel_status members_open(struct blend_fit *fit, reel_error *err) {
    reel_status status = REEL_OK;
    char *names = strdup(params_text(fit->input->params, "models")), *rest = NULL;
    if (!names) return error_no_memory(err, strlen(params_text(fit->input->params, "models")));
    for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        if (fit->n == MEMBERS_MAX) {
            status = error_set(err, REEL_INVALID_ARGUMENT, "a blend takes at most %d models", MEMBERS_MAX);
            goto cleanup;
        }
        struct member *member = &fit->members[fit->n++];
        TRY(member_open(member, name, fit->input->seed, err));
        if (strcmp(member->algorithm->name, "blend") == 0)
            status = error_set(err, REEL_INVALID_ARGUMENT, "%s: a blend cannot be part of a blend", name);
        if (status != REEL_OK) goto cleanup;
    }
    if (fit->n < 2)
        status = error_set(err, REEL_INVALID_ARGUMENT, "a blend needs at least two models (found %d)", fit->n);
cleanup:
    free(names);
    return status;
}

/* ---- out-of-fold predictions ---- */

/* Predictions (pairs->n,) of one member fitted without the pairs. */
static reel_status predict_fold(struct blend_fit *fit, int fold, const struct member *member,
                                const struct ratings *train, const struct rating_pairs *pairs, float *predictions,
                                struct fit_output *total, reel_error *err) {
    reel_status status = REEL_OK;
    struct reel_model *model = NULL;
    struct fit_output output = {0};
    reel_metrics metrics;
    char stage[96];
    snprintf(stage, sizeof stage, "%sblend fold %d/%d %s ", fit->input->stage, fold + 1, fit->folds,
             member->algorithm->name);
    TRY(member_fit(fit->ctx, member, fit->input->dataset, train, pairs, stage, &model, &output, err));
    TRY(model_measure(fit->ctx, model, pairs, output.test_predictions, predictions, &metrics, err));
    total->visited += output.visited;
    total->fit_seconds += output.fit_seconds;
cleanup:
    member_output_free(&output);
    reel_model_free(model);
    return status;
}

static void add_to_gram(struct blend_fit *fit, const struct rating_pairs *pairs, const float *predictions) {
    const int n = fit->n;
    for (int64_t i = 0; i < pairs->n; i++) {
        double x[MEMBERS_MAX + 1], stars = 0.5 * pairs->ratings[i];
        for (int m = 0; m < n; m++) x[m] = (double)predictions[(int64_t)m * pairs->n + i];
        x[n] = 1;
        for (int a = 0; a <= n; a++) {
            fit->right[a] += x[a] * stars;
            for (int b = 0; b <= n; b++) fit->gram[a][b] += x[a] * x[b];
        }
    }
}

static reel_status run_fold(struct blend_fit *fit, int fold, struct fit_output *total, reel_error *err) {
    reel_status status = REEL_OK;
    struct ratings train = {0};
    struct rating_pairs pairs = {0};
    float *predictions = NULL;
    const struct ratings *all = fit->input->ratings;
    TRY(split_fold(fit->ctx, all, REEL_SPLIT_RANDOM, fit->folds, fold, fit->input->seed, fit->test, err));
    TRY(ratings_subset(fit->ctx, all, fit->test, RATINGS_BY_MOVIE | RATINGS_TIMES, &train, err));
    TRY(ratings_pairs(fit->ctx, all, fit->test, &pairs, err));
    TRY(MEM_RAW(&predictions, (size_t)pairs.n * (size_t)fit->n, err));
    for (int m = 0; m < fit->n; m++)
        TRY(predict_fold(fit, fold, &fit->members[m], &train, &pairs, predictions + (int64_t)m * pairs.n, total, err));
    add_to_gram(fit, &pairs, predictions);
cleanup:
    mem_free(predictions);
    rating_pairs_free(&pairs);
    ratings_free(&train);
    return status;
}

/* Coordinate descent on the normal equations; the intercept is free. The problem is convex and small: it runs until
 * nothing moves. */
static void solve_weights(struct blend_fit *fit) {
    const int n = fit->n;
    for (int m = 0; m <= n; m++) fit->weights[m] = m < n ? 1.0 / n : 0;
    for (int sweep = 0; sweep < 100000; sweep++) {
        double moved = 0;
        for (int a = 0; a <= n; a++) {
            if (!(fit->gram[a][a] > 0)) continue;
            double gradient = fit->right[a];
            for (int b = 0; b <= n; b++) gradient -= fit->gram[a][b] * fit->weights[b];
            double next = fit->weights[a] + gradient / fit->gram[a][a];
            if (a < n && next < 0) next = 0;
            moved = fmax(moved, fabs(next - fit->weights[a]));
            fit->weights[a] = next;
        }
        if (moved < 1e-12) break;
    }
}

/* ---- the model ---- */

static const char *prefix_of(int index, char prefix[16]) {
    snprintf(prefix, 16, "m%d.", index);
    return prefix;
}

static reel_status fit_members(struct blend_fit *fit, struct tensor_set *set, struct fit_output *total,
                               reel_error *err) {
    for (int m = 0; m < fit->n; m++) {
        struct reel_model *model = NULL;
        struct fit_output output = {0};
        char stage[96], prefix[16];
        snprintf(stage, sizeof stage, "%sblend %s ", fit->input->stage, fit->members[m].algorithm->name);
        reel_status status = member_fit(fit->ctx, &fit->members[m], fit->input->dataset, fit->input->ratings, NULL,
                                        stage, &model, &output, err);
        if (status == REEL_OK) status = member_put(prefix_of(m, prefix), model, set, err);
        total->visited += output.visited;
        total->fit_seconds += output.fit_seconds;
        member_output_free(&output);
        reel_model_free(model);
        if (status != REEL_OK) return status;
    }
    return REEL_OK;
}

static reel_status put_weights(const struct blend_fit *fit, struct tensor_set *set, reel_error *err) {
    void *data;
    TRY_RETURN(tensor_set_add1(set, "weights", DTYPE_F64, fit->n, &data, err));
    memcpy(data, fit->weights, sizeof(double) * (size_t)fit->n);
    TRY_RETURN(tensor_set_add1(set, "intercept", DTYPE_F64, 1, &data, err));
    *(double *)data = fit->weights[fit->n];
    for (int m = 0; m < fit->n; m++)
        context_log(fit->ctx, REEL_LOG_INFO, "blend: weight %.4f of %s", fit->weights[m],
                    fit->members[m].algorithm->name);
    return REEL_OK;
}

static reel_status blend_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                             struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct blend_fit fit = {.ctx = ctx, .input = input, .folds = (int)params_number(input->params, "folds")};
    TRY(members_open(&fit, err));
    TRY(MEM_RAW(&fit.test, input->ratings->n_ratings, err));
    for (int fold = 0; fold < fit.folds; fold++) TRY(run_fold(&fit, fold, output, err));
    solve_weights(&fit);
    TRY(put_weights(&fit, set, err));
    TRY(fit_members(&fit, set, output, err));
cleanup:
    for (int m = 0; m < fit.n; m++) member_free(&fit.members[m]);
    mem_free(fit.test);
    return status;
}

/* ---- scoring ---- */

struct blend_state {
    int n;
    const double *weights;
    double intercept;
    struct reel_model *members[MEMBERS_MAX];
};

static reel_status bind_member(const struct reel_model *model, int index, struct reel_model **out, reel_error *err) {
    char prefix[16], key[32];
    snprintf(key, sizeof key, "%salgorithm", prefix_of(index, prefix));
    const char *name = tensor_set_get(model->set, key);
    if (name && strcmp(name, "blend") == 0)
        return error_set(err, REEL_CORRUPT, "%s: a blend within a blend", tensor_set_path(model->set));
    return member_bind(model, prefix, out, err);
}

static reel_status blend_bind(struct reel_model *model, reel_error *err) {
    struct blend_state *state;
    const struct tensor *weights, *intercept;
    int64_t any = -1, one = 1;
    TRY_RETURN(MEM_NEW(&state, 1, err));
    model->state = state;
    TRY_RETURN(tensor_set_require(model->set, "weights", DTYPE_F64, 1, &any, &weights, err));
    TRY_RETURN(tensor_set_require(model->set, "intercept", DTYPE_F64, 1, &one, &intercept, err));
    state->weights = weights->data;
    state->intercept = *(const double *)intercept->data;
    if (weights->n < 1 || weights->n > MEMBERS_MAX)
        return error_set(err, REEL_CORRUPT, "%s: a blend of %lld models", tensor_set_path(model->set),
                         (long long)weights->n);
    for (int64_t m = 0; m < weights->n; m++)
        if (!(state->weights[m] >= 0 && isfinite(state->weights[m])) || !isfinite(state->intercept))
            return error_set(err, REEL_CORRUPT, "%s: weights must be finite and not negative",
                             tensor_set_path(model->set));
    for (; state->n < weights->n; state->n++) TRY_RETURN(bind_member(model, state->n, &state->members[state->n], err));
    return REEL_OK;
}

static void blend_unbind(struct reel_model *model) {
    struct blend_state *state = model->state;
    for (int m = 0; state && m < state->n; m++) reel_model_free(state->members[m]);
    mem_free(state);
}

/* Calls score(member) for each member and adds up weight * clipped score; `sds` stays as it is. */
struct blend_call {
    int64_t n; /* scores */
    const int32_t *users, *movies;
    const uint32_t *times;
    int64_t n_rated;
    const int32_t *rated;
    const float *stars;
    int32_t user;
    uint32_t time;
};
typedef reel_status (*member_fn)(const struct reel_model *member, const struct blend_call *call, float *scores,
                                 reel_error *err);

static reel_status add_up(const struct reel_model *model, const struct blend_call *call, member_fn score, float *scores,
                          reel_error *err) {
    reel_status status = REEL_OK;
    const struct blend_state *state = model->state;
    float *own = NULL;
    TRY(MEM_RAW(&own, call->n, err));
    for (int64_t i = 0; i < call->n; i++) scores[i] = (float)state->intercept;
    for (int m = 0; m < state->n; m++) {
        TRY(score(state->members[m], call, own, err));
        /* the weights were fitted to clipped predictions */
        for (int64_t i = 0; i < call->n; i++)
            scores[i] += (float)state->weights[m] * fminf(fmaxf(own[i], model->scale_min), model->scale_max);
    }
cleanup:
    mem_free(own);
    return status;
}

static reel_status member_predict(const struct reel_model *member, const struct blend_call *call, float *scores,
                                  reel_error *err) {
    return member->algorithm->predict(member, call->n, call->users, call->movies, call->times, scores, NULL, err);
}

static reel_status member_score_movies(const struct reel_model *member, const struct blend_call *call, float *scores,
                                       reel_error *err) {
    if (member->algorithm->score_movies)
        return member->algorithm->score_movies(member, call->user, call->time, scores, NULL, err);
    for (int32_t m = 0; m < member->n_movies; m++)
        TRY_RETURN(member->algorithm->predict(member, 1, &call->user, &m, &call->time, scores + m, NULL, err));
    return REEL_OK;
}

static reel_status member_fold_in(const struct reel_model *member, const struct blend_call *call, float *scores,
                                  reel_error *err) {
    if (!member->algorithm->fold_in)
        return error_set(err, REEL_UNSUPPORTED, "%s, a part of this blend, cannot fold visitors in",
                         member->algorithm->name);
    return member->algorithm->fold_in(member, call->n_rated, call->rated, call->stars, call->time, scores, NULL, err);
}

static reel_status blend_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                                 const uint32_t *times, float *scores, float *sds, reel_error *err) {
    (void)sds;
    struct blend_call call = {.n = n, .users = users, .movies = movies, .times = times};
    return add_up(model, &call, member_predict, scores, err);
}

static reel_status blend_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores,
                                      float *sds, reel_error *err) {
    (void)sds;
    struct blend_call call = {.n = model->n_movies, .user = user, .time = time};
    return add_up(model, &call, member_score_movies, scores, err);
}

static reel_status blend_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                                 uint32_t time, float *scores, float *sds, reel_error *err) {
    (void)sds;
    struct blend_call call = {.n = model->n_movies, .n_rated = n, .rated = movies, .stars = stars, .time = time};
    return add_up(model, &call, member_fold_in, scores, err);
}

const struct algorithm algorithm_blend = {
    .name = "blend",
    .summary = "the best non-negative combination of other models, weighted by out-of-fold predictions",
    .params = blend_params,
    .n_params = sizeof blend_params / sizeof blend_params[0],
    .needs = RATINGS_BY_MOVIE | RATINGS_TIMES,
    .fit = blend_fit,
    .bind = blend_bind,
    .unbind = blend_unbind,
    .predict = blend_predict,
    .score_movies = blend_score_movies,
    .fold_in = blend_fold_in,
};
