#include "model/scorer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

/* ---- binding ---- */

/* *out = index in `model_ids` of each of `ids`, both ascending; NULL if the lists are the same. Counts the known. */
static reel_status map_ids(const int32_t *ids, int32_t n, const int32_t *model_ids, int32_t n_model, int32_t **out,
                           int32_t *n_known, reel_error *err) {
    *out = NULL;
    *n_known = n;
    if (n == n_model && (n == 0 || memcmp(ids, model_ids, (size_t)n * sizeof *ids) == 0)) return REEL_OK;
    TRY_RETURN(MEM_RAW(out, n, err));
    *n_known = 0;
    for (int32_t i = 0, at = 0; i < n; i++) {
        while (at < n_model && model_ids[at] < ids[i]) at++;
        (*out)[i] = at < n_model && model_ids[at] == ids[i] ? at : -1;
        *n_known += (*out)[i] >= 0;
    }
    return REEL_OK;
}

static reel_status bind_ids(struct reel_scorer *scorer, reel_error *err) {
    const struct reel_dataset *dataset = scorer->dataset;
    const struct reel_model *model = scorer->model;
    int32_t users, movies;
    TRY_RETURN(
        map_ids(dataset->user_ids, dataset->n_users, model->user_ids, model->n_users, &scorer->user_map, &users, err));
    TRY_RETURN(map_ids(dataset->movie_ids, dataset->n_movies, model->movie_ids, model->n_movies, &scorer->movie_map,
                       &movies, err));
    if (dataset->n_movies > 0 && model->n_movies > 0 && movies == 0)
        return error_set(err, REEL_MISMATCH, "the model %s knows none of the dataset's %d movies",
                         tensor_set_path(model->set), dataset->n_movies);
    if (users < dataset->n_users || movies < dataset->n_movies)
        context_log(scorer->ctx, REEL_LOG_INFO, "the model knows %d of %d users and %d of %d movies of the dataset",
                    users, dataset->n_users, movies, dataset->n_movies);
    return REEL_OK;
}

reel_status reel_scorer_new(reel_context *ctx, const reel_dataset *dataset, const reel_model *model, reel_scorer **out,
                            reel_error *err) {
    reel_status status = REEL_OK;
    struct reel_scorer *scorer = NULL;
    *out = NULL;
    TRY(MEM_NEW(&scorer, 1, err));
    *scorer = (struct reel_scorer){.ctx = ctx, .dataset = dataset, .model = model};
    TRY(bind_ids(scorer, err));
    TRY(context_host_backend(ctx, &scorer->backend, err));
    TRY(context_backend(ctx, &scorer->device, err));
    const struct algorithm *algorithm = model->algorithm;
    scorer->has_panels =
        algorithm->factor_view && scorer->backend->ops->score_movies && algorithm->factor_view(model, &scorer->view);
    if (scorer->has_panels) TRY(scorer_pack(scorer, err));
    if (algorithm->forest_view && algorithm->forest_view(model) && scorer->backend->ops->forest_movies)
        TRY(forest_plan_new(ctx, model, algorithm->forest_view(model), dataset->n_movies, scorer->movie_map,
                            &scorer->planned, err));
    *out = scorer;
    scorer = NULL;
cleanup:
    reel_scorer_free(scorer);
    return status;
}

void reel_scorer_free(reel_scorer *scorer) {
    if (!scorer) return;
    scorer_pack_free(scorer);
    forest_plan_free(scorer->planned);
    mem_free(scorer->user_map);
    mem_free(scorer->movie_map);
    mem_free(scorer);
}

reel_status scorer_check_trees(const struct reel_scorer *scorer, reel_error *err) {
    const struct algorithm *algorithm = scorer->model->algorithm;
    struct backend *backend = scorer->device;
    if (scorer->device == scorer->backend || scorer->planned) return REEL_OK;
    if (!algorithm->forest_view || !algorithm->forest_view(scorer->model)) return REEL_OK;
    return context_fall_back(scorer->ctx, "scoring by trees of so many leaves", &backend, err);
}

/* ---- one user's scores ---- */

/* Scores of model movies (n_model,) laid out by dataset movie; the movies that the model does not know get
 * `unknown`. */
static void scatter(const struct reel_scorer *scorer, const float *by_model, float unknown, float *by_dataset) {
    for (int32_t m = 0; m < scorer->dataset->n_movies; m++) {
        int32_t at = scorer->movie_map[m];
        by_dataset[m] = at < 0 ? unknown : by_model[at];
    }
}

/* score_movies, or predict in a loop for algorithms without it. */
static reel_status model_scores(const struct reel_model *model, int32_t user, uint32_t time, float *scores, float *sds,
                                reel_error *err) {
    if (model->algorithm->score_movies) return model->algorithm->score_movies(model, user, time, scores, sds, err);
    enum { CHUNK = 1024 };
    int32_t users[CHUNK], movies[CHUNK];
    uint32_t times[CHUNK];
    for (int32_t first = 0; first < model->n_movies; first += CHUNK) {
        int32_t n = model->n_movies - first < CHUNK ? model->n_movies - first : CHUNK;
        for (int32_t i = 0; i < n; i++) users[i] = user, movies[i] = first + i, times[i] = time;
        TRY_RETURN(
            model->algorithm->predict(model, n, users, movies, times, scores + first, sds ? sds + first : NULL, err));
    }
    return REEL_OK;
}

/* The fold-in's scores; of a visitor without a rating that the model knows, those of an unknown user. */
static reel_status fold_in_scores(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                                  uint32_t time, float *scores, float *sds, reel_error *err) {
    if (n == 0) return model_scores(model, -1, time, scores, sds, err);
    return model->algorithm->fold_in(model, n, movies, stars, time, scores, sds, err);
}

struct visit {
    int32_t user; /* model index, used when `visitor` is 0 */
    int visitor;
    int64_t n;
    const int32_t *movies; /* model indices */
    const float *stars;
    uint32_t time;
};

static reel_status visit_scores(const struct reel_scorer *scorer, const struct visit *visit, float *scores, float *sds,
                                reel_error *err) {
    const struct reel_model *model = scorer->model;
    if (visit->visitor)
        return fold_in_scores(model, visit->n, visit->movies, visit->stars, visit->time, scores, sds, err);
    return model_scores(model, visit->user, visit->time, scores, sds, err);
}

static void fill_nan(float *values, int32_t n) {
    for (int32_t i = 0; values && i < n; i++) values[i] = NAN;
}

static const float *planned_user(const struct forest_planned *planned, int32_t user) {
    int64_t row = user < 0 ? planned->plan.n_users : user;
    return planned->rows[STAR_USER] + row * planned->plan.n_columns[STAR_USER];
}

/* Scores of a visit by dataset index, from trees. */
static reel_status planned_scores(const struct reel_scorer *scorer, const struct visit *visit, float *scores,
                                  reel_error *err) {
    const struct forest_planned *planned = scorer->planned;
    float values[FOREST_COLUMNS_MAX];
    int32_t hour = star_hour(visit->time);
    if (visit->visitor) forest_plan_visitor(planned, visit->n, visit->stars, values);
    struct forest_movies_args args = {.plan = &planned->plan,
                                      .n_users = 1,
                                      .user_values = visit->visitor ? values : planned_user(planned, visit->user),
                                      .hours = &hour,
                                      .scores = scores};
    return scorer->backend->ops->forest_movies(scorer->backend, &args, err);
}

/* Scores of a visit by dataset index. */
static reel_status visit_scores_by_dataset(const struct reel_scorer *scorer, const struct visit *visit, float *scores,
                                           float *sds, reel_error *err) {
    if (scorer->planned || !scorer->movie_map) fill_nan(sds, scorer->dataset->n_movies);
    if (scorer->planned) return planned_scores(scorer, visit, scores, err);
    if (!scorer->movie_map) return visit_scores(scorer, visit, scores, sds, err);
    reel_status status = REEL_OK;
    const struct reel_model *model = scorer->model;
    float *by_model = NULL, *sds_by_model = NULL, unknown, unknown_sd = NAN;
    TRY(MEM_RAW(&by_model, model->n_movies, err));
    if (sds) TRY(MEM_RAW(&sds_by_model, model->n_movies, err));
    fill_nan(sds_by_model, model->n_movies);
    TRY(visit_scores(scorer, visit, by_model, sds_by_model, err));
    int32_t nobody = -1, user = visit->visitor ? -1 : visit->user;
    TRY(model->algorithm->predict(model, 1, &user, &nobody, &visit->time, &unknown, sds ? &unknown_sd : NULL, err));
    scatter(scorer, by_model, unknown, scores);
    if (sds) scatter(scorer, sds_by_model, unknown_sd, sds);
cleanup:
    mem_free(by_model);
    mem_free(sds_by_model);
    return status;
}

static uint32_t time_or_newest(const struct reel_scorer *scorer, uint32_t time) {
    return time ? time : scorer->dataset->newest_time;
}

reel_status scorer_user_scores(const struct reel_scorer *scorer, int32_t user, uint32_t time, float *scores, float *sds,
                               reel_error *err) {
    int32_t at = scorer_model_user(scorer, user);
    if (!scorer->has_panels) {
        struct visit visit = {.user = at, .time = time_or_newest(scorer, time)};
        return visit_scores_by_dataset(scorer, &visit, scores, sds, err);
    }
    /* A model that is a sum of factors and biases is a point estimate: it has no deviations. */
    fill_nan(sds, scorer->dataset->n_movies);
    const struct factor_view *view = &scorer->view;
    struct score_movies_args args = {.panels = &scorer->panels,
                                     .factors =
                                         at < 0 ? scorer->zeros : view->user_factors + (int64_t)at * view->stride,
                                     .base = at < 0 ? view->mean : view->mean + view->user_bias[at],
                                     .scores = scores};
    return scorer->backend->ops->score_movies(scorer->backend, &args, err);
}

reel_status scorer_visitor_scores(const struct reel_scorer *scorer, int64_t n, const int32_t *movies,
                                  const float *stars, uint32_t time, float *scores, float *sds, reel_error *err) {
    reel_status status = REEL_OK;
    int32_t *known = NULL;
    float *known_stars = NULL;
    const struct algorithm *algorithm = scorer->model->algorithm;
    if (n > 0 && !algorithm->fold_in)
        return error_set(err, REEL_UNSUPPORTED, "algorithm %s cannot fold in a new user's ratings", algorithm->name);
    TRY(MEM_RAW(&known, n, err));
    TRY(MEM_RAW(&known_stars, n, err));
    struct visit visit = {.visitor = 1, .movies = known, .stars = known_stars, .time = time_or_newest(scorer, time)};
    for (int64_t i = 0; i < n; i++) {
        int32_t movie = scorer_model_movie(scorer, movies[i]);
        if (movie < 0) continue;
        known[visit.n] = movie;
        known_stars[visit.n++] = stars[i];
    }
    TRY(visit_scores_by_dataset(scorer, &visit, scores, sds, err));
cleanup:
    mem_free(known);
    mem_free(known_stars);
    return status;
}

void scorer_mask_seen(const struct reel_scorer *scorer, int32_t user, float *scores) {
    const struct ratings *ratings = &scorer->dataset->ratings;
    for (int64_t at = ratings->user_offsets[user]; at < ratings->user_offsets[user + 1]; at++)
        scores[ratings->user_movies[at]] = -INFINITY;
}

/* ---- pairs ---- */

reel_status scorer_check_indices(const char *what, int64_t n, const int32_t *indices, int32_t lowest, int32_t end,
                                 reel_error *err) {
    int bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= indices[i] < lowest || indices[i] >= end;
    if (!bad) return REEL_OK;
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < lowest || indices[i] >= end)
            return error_set(err, REEL_INVALID_ARGUMENT, "%s %lld has index %d, allowed are %d..%d", what, (long long)i,
                             indices[i], lowest, end - 1);
    return REEL_INTERNAL;
}

reel_status scorer_check_pairs(const struct reel_scorer *scorer, int64_t n, const int32_t *users, const int32_t *movies,
                               reel_error *err) {
    TRY_RETURN(scorer_check_indices("user", n, users, -1, scorer->dataset->n_users, err));
    return scorer_check_indices("movie", n, movies, -1, scorer->dataset->n_movies, err);
}

enum { PREDICT_CHUNK = 4096 };

/* Pairs of model users (-1 = unknown) and dataset movies (likewise), from trees. */
static reel_status planned_pairs(const struct reel_scorer *scorer, int64_t n, const int32_t *users,
                                 const int32_t *movies, const uint32_t *times, float *scores, reel_error *err) {
    const struct forest_plan *plan = &scorer->planned->plan;
    int32_t rows[3][PREDICT_CHUNK];
    for (int64_t i = 0; i < n; i++) {
        rows[0][i] = users[i] < 0 ? plan->n_users : users[i];
        rows[1][i] = movies[i] < 0 ? plan->n_movies : movies[i];
        rows[2][i] = star_hour(times ? times[i] : 0);
    }
    struct forest_pairs_args args = {plan, n, rows[0], rows[1], rows[2], scores};
    return scorer->backend->ops->forest_pairs(scorer->backend, &args, err);
}

static reel_status predict_chunk(const struct reel_scorer *scorer, int64_t n, const int32_t *users,
                                 const int32_t *movies, const uint32_t *times, float *scores, float *sds,
                                 reel_error *err) {
    int32_t model_users[PREDICT_CHUNK], model_movies[PREDICT_CHUNK];
    TRY_RETURN(scorer_check_pairs(scorer, n, users, movies, err));
    for (int64_t i = 0; scorer->user_map && i < n; i++) model_users[i] = scorer_model_user(scorer, users[i]);
    for (int64_t i = 0; scorer->movie_map && i < n; i++) model_movies[i] = scorer_model_movie(scorer, movies[i]);
    for (int64_t i = 0; sds && i < n; i++) sds[i] = NAN;
    const int32_t *known_users = scorer->user_map ? model_users : users;
    const int32_t *known_movies = scorer->movie_map ? model_movies : movies;
    if (scorer->planned)
        TRY_RETURN(planned_pairs(scorer, n, known_users, movies, times, scores, err));
    else
        TRY_RETURN(
            scorer->model->algorithm->predict(scorer->model, n, known_users, known_movies, times, scores, sds, err));
    for (int64_t i = 0; i < n; i++) scores[i] = scorer_clip(scorer, scores[i]);
    return REEL_OK;
}

reel_status reel_scorer_predict(const reel_scorer *scorer, int64_t n, const int32_t *users, const int32_t *movies,
                                const uint32_t *times, float *scores, float *sds, reel_error *err) {
    if (n < 0) return error_set(err, REEL_INVALID_ARGUMENT, "n must be >= 0 (found %lld)", (long long)n);
    for (int64_t first = 0; first < n; first += PREDICT_CHUNK)
        TRY_RETURN(predict_chunk(scorer, n - first < PREDICT_CHUNK ? n - first : PREDICT_CHUNK, users + first,
                                 movies + first, times ? times + first : NULL, scores + first, sds ? sds + first : NULL,
                                 err));
    return REEL_OK;
}
