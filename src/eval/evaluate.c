/* Metrics of a finished model on a file of ratings. */
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "data/pairs.h"
#include "eval/ranking.h"
#include "model/model.h"
#include <reel/eval.h>

/* map[i] = place of ids[i] among known (n_known,), or -1; both ascend. Returns how many are known. */
static int32_t match_ids(const int32_t *ids, int32_t n, const int32_t *known, int32_t n_known, int32_t *map) {
    int32_t at = 0, matched = 0;
    for (int32_t i = 0; i < n; i++) {
        while (at < n_known && known[at] < ids[i]) at++;
        map[i] = at < n_known && known[at] == ids[i] ? at : -1;
        matched += map[i] >= 0;
    }
    return matched;
}

static void translate(int32_t *indices, int64_t n, const int32_t *map) {
    for (int64_t i = 0; i < n; i++) indices[i] = indices[i] < 0 ? -1 : map[indices[i]];
}

/* Turns the dataset's indices of `pairs` into the model's. */
static reel_status rebind(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                          struct rating_pairs *pairs, reel_error *err) {
    reel_status status = REEL_OK;
    int32_t *users = NULL, *movies = NULL;
    TRY(MEM_RAW(&users, dataset->n_users, err));
    TRY(MEM_RAW(&movies, dataset->n_movies, err));
    int32_t n_users = match_ids(dataset->user_ids, dataset->n_users, model->user_ids, model->n_users, users);
    int32_t n_movies = match_ids(dataset->movie_ids, dataset->n_movies, model->movie_ids, model->n_movies, movies);
    if (n_users == 0 && n_movies == 0) {
        status = error_set(err, REEL_MISMATCH,
                           "the model knows none of the dataset's users and movies: it was trained on another dataset");
        goto cleanup;
    }
    context_log(ctx, REEL_LOG_WARNING,
                "the model was trained on another dataset; bound by id: %d of %d users, %d of %d movies", n_users,
                dataset->n_users, n_movies, dataset->n_movies);
    translate(pairs->owned[0], pairs->n, users);
    translate(pairs->owned[1], pairs->n, movies);
cleanup:
    mem_free(users);
    mem_free(movies);
    return status;
}

/* The pairs of a file by the model's indices. */
static reel_status read_pairs(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                              const char *test_file, struct rating_pairs *pairs, reel_error *err) {
    TRY_RETURN(dataset_read_pairs(ctx, dataset, test_file, pairs, err));
    const char *trained_on = tensor_set_get(model->set, "dataset.fingerprint");
    if (trained_on && strcmp(trained_on, dataset->fingerprint) == 0) return REEL_OK;
    return rebind(ctx, dataset, model, pairs, err);
}

reel_status reel_eval(reel_context *ctx, const reel_dataset *dataset, const reel_model *model, const char *test_file,
                      reel_metrics *metrics, reel_error *err) {
    reel_status status = REEL_OK;
    struct rating_pairs pairs = {0};
    TRY(read_pairs(ctx, dataset, model, test_file, &pairs, err));
    TRY(model_measure(ctx, model, &pairs, NULL, NULL, metrics, err));
cleanup:
    rating_pairs_free(&pairs);
    return status;
}

enum { INTERVAL_CHUNK = 1024 };

/* Adds pairs first .. first + n - 1; a model without deviations leaves NaN. */
static reel_status add_intervals(const reel_model *model, const struct rating_pairs *pairs, int64_t first, int64_t n,
                                 reel_intervals *sums, reel_error *err) {
    const double quantile = 1.6448536269514722; /* of 0.95: 90 % lie between it and its negative */
    float scores[INTERVAL_CHUNK], sds[INTERVAL_CHUNK];
    for (int64_t i = 0; i < n; i++) sds[i] = NAN;
    TRY_RETURN(model->algorithm->predict(model, n, pairs->users + first, pairs->movies + first,
                                         pairs->times ? pairs->times + first : NULL, scores, sds, err));
    for (int64_t i = 0; i < n && !isnan(sds[i]); i++) {
        double reach = quantile * (double)sds[i];
        sums->n++;
        sums->width += reach;
        sums->coverage += fabs((double)scores[i] - 0.5 * pairs->ratings[first + i]) <= reach;
    }
    return REEL_OK;
}

reel_status reel_eval_intervals(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                const char *test_file, reel_intervals *intervals, reel_error *err) {
    reel_status status = REEL_OK;
    struct rating_pairs pairs = {0};
    reel_intervals sums = {.level = 0.9};
    *intervals = (reel_intervals){.level = 0.9, .coverage = NAN, .width = NAN};
    TRY(read_pairs(ctx, dataset, model, test_file, &pairs, err));
    for (int64_t first = 0; first < pairs.n; first += INTERVAL_CHUNK) {
        TRY(context_check(ctx, err));
        int64_t n = pairs.n - first < INTERVAL_CHUNK ? pairs.n - first : INTERVAL_CHUNK;
        TRY(add_intervals(model, &pairs, first, n, &sums, err));
    }
    if (sums.n == 0) goto cleanup;
    *intervals = sums;
    intervals->coverage /= (double)sums.n;
    intervals->width /= (double)sums.n;
cleanup:
    rating_pairs_free(&pairs);
    return status;
}

reel_status reel_eval_ranking(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                              const char *test_file, int n, double relevant, reel_ranking *ranking, reel_error *err) {
    reel_status status = REEL_OK;
    struct rating_pairs pairs = {0};
    struct ratings train = {0};
    uint8_t *marks = NULL;
    const char *trained_on = tensor_set_get(model->set, "dataset.fingerprint");
    *ranking = (reel_ranking){0};
    if (!trained_on || strcmp(trained_on, dataset->fingerprint) != 0)
        return error_set(err, REEL_MISMATCH, "ranking metrics need the dataset that the model was trained on");
    TRY(dataset_read_pairs(ctx, dataset, test_file, &pairs, err));
    TRY(MEM_NEW(&marks, dataset->n_ratings, err));
    pairs_mark(ctx, &dataset->ratings, &pairs, marks);
    TRY(ratings_subset(ctx, &dataset->ratings, marks, 0, &train, err));
    TRY(ranking_measure(ctx, model, &train, &pairs, n, relevant, ranking, err));
cleanup:
    mem_free(marks);
    ratings_free(&train);
    rating_pairs_free(&pairs);
    return status;
}
