#include "model/warm_start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/sorted_ids.h"
#include "model/bmf.h"
#include "model/svd.h"

/* A bmf model lays its samples end to end: the last one is the chain's latest state. */
static void view_bmf(const struct bmf_view *view, struct warm_start *start) {
    const int last = view->samples - 1;
    start->k = view->k;
    start->scale = sqrtf((float)view->samples);
    start->factor_stride = (int64_t)view->samples * view->k;
    start->bias_stride = view->samples;
    start->user_factors = view->user_factors + (int64_t)last * view->k;
    start->movie_factors = view->movie_factors + (int64_t)last * view->k;
    start->user_bias = view->user_biases + last;
    start->movie_bias = view->movie_biases + last;
}

static int view_plain(const struct reel_model *model, struct warm_start *start) {
    struct factor_view view;
    if (!model->algorithm->factor_view || !model->algorithm->factor_view(model, &view)) return 0;
    start->k = view.k;
    start->scale = 1;
    start->factor_stride = view.stride;
    start->bias_stride = 1;
    start->user_factors = view.user_factors;
    start->movie_factors = view.movie_factors;
    start->user_bias = view.user_bias;
    start->movie_bias = view.movie_bias;
    return 1;
}

/* Implicit feedback is `als` alone, and its factors mean nothing to a fit of stars. */
static int is_implicit(const struct reel_model *model) {
    const char *implicit = tensor_set_get(model->set, "params.implicit");
    return implicit && strcmp(implicit, "true") == 0;
}

static reel_status check_kind(const struct warm_start *start, const char *path, int k, int biased, reel_error *err) {
    const char *name = start->model->algorithm->name;
    if (!start->user_factors || is_implicit(start->model) == biased)
        return error_set(err, REEL_INVALID_ARGUMENT, "%s: a fit of %s cannot start from this %s model", path,
                         biased ? "stars with biases" : "implicit feedback", name);
    if (start->k != k)
        return error_set(err, REEL_INVALID_ARGUMENT, "%s: the model to start from has %d factors, this fit has %d",
                         path, start->k, k);
    return REEL_OK;
}

static reel_status check_ids(reel_context *ctx, const struct warm_start *start, const char *path,
                             const struct fit_input *input, reel_error *err) {
    const struct reel_dataset *dataset = input->dataset;
    const struct reel_model *model = start->model;
    int32_t known = 0;
    for (int32_t m = 0; m < dataset->n_movies; m++)
        known += sorted_ids_find(model->movie_ids, model->n_movies, dataset->movie_ids[m]) >= 0;
    if (known == 0)
        return error_set(err, REEL_MISMATCH,
                         "%s: the model to start from knows none of the %d movies: it was trained on another dataset",
                         path, dataset->n_movies);
    context_log(ctx, REEL_LOG_INFO, "starting from %s, which knows %d of %d movies", path, known, dataset->n_movies);
    return REEL_OK;
}

static int same_number(const char *text, uint64_t number) {
    return text && strtoull(text, NULL, 10) == number;
}

/* With a part held out, only a model of the same split can be trusted not to have seen it. */
static void warn_of_leaks(reel_context *ctx, const struct warm_start *start, const char *path,
                          const struct fit_input *input) {
    const struct tensor_set *set = start->model->set;
    const char *fingerprint = tensor_set_get(set, "dataset.fingerprint");
    if (input->ratings->n_ratings == input->dataset->n_ratings) return;
    if (fingerprint && strcmp(fingerprint, input->dataset->fingerprint) == 0 &&
        same_number(tensor_set_get(set, "n_ratings"), (uint64_t)input->ratings->n_ratings) &&
        same_number(tensor_set_get(set, "seed"), input->seed))
        return;
    context_log(ctx, REEL_LOG_WARNING,
                "%s was not trained on this very training part: it may have seen held-out ratings, and their metrics "
                "be too good",
                path);
}

reel_status warm_start_open(reel_context *ctx, const char *path, const struct fit_input *input, int k, int biased,
                            struct warm_start *out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = (struct warm_start){0};
    TRY(reel_model_open(ctx, path, &out->model, err));
    if (out->model->algorithm == &algorithm_bmf)
        view_bmf(out->model->state, out);
    else if (out->model->algorithm == &algorithm_als || out->model->algorithm == &algorithm_svd)
        (void)view_plain(out->model, out);
    TRY(check_kind(out, path, k, biased, err));
    TRY(check_ids(ctx, out, path, input, err));
    warn_of_leaks(ctx, out, path, input);
    return REEL_OK;
cleanup:
    warm_start_close(out);
    return status;
}

reel_status warm_start_name(const struct warm_start *start, struct tensor_set *set, reel_error *err) {
    const char *hash = tensor_set_get(start->model->set, "header.xxh3");
    return tensor_set_putf(set, "params.init", err, "%s %s", start->model->algorithm->name, hash ? hash : "unhashed");
}

void warm_start_close(struct warm_start *start) {
    reel_model_free(start->model);
    *start = (struct warm_start){0};
}

void warm_start_fill(const struct warm_start *start, const struct fit_input *input, int movies, int stride, int biased,
                     float *vectors) {
    const struct reel_dataset *dataset = input->dataset;
    const struct reel_model *model = start->model;
    const int32_t n = movies ? dataset->n_movies : dataset->n_users,
                  n_known = movies ? model->n_movies : model->n_users;
    const int32_t *ids = movies ? dataset->movie_ids : dataset->user_ids;
    const int32_t *known_ids = movies ? model->movie_ids : model->user_ids;
    const int64_t *offsets = movies ? input->ratings->movie_offsets : input->ratings->user_offsets;
    const float *factors = movies ? start->movie_factors : start->user_factors;
    const float *biases = movies ? start->movie_bias : start->user_bias;
    for (int32_t row = 0; row < n; row++) {
        int64_t at = sorted_ids_find(known_ids, n_known, ids[row]);
        if (at < 0 || offsets[row + 1] == offsets[row]) continue;
        float *vector = vectors + (int64_t)row * stride;
        for (int f = 0; f < start->k; f++) vector[f] = start->scale * factors[at * start->factor_stride + f];
        if (biased) vector[start->k] = biases[at * start->bias_stride];
    }
}
