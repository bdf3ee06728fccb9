/* Top N for one user or visitor, and why. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"
#include "model/scorer.h"

void reel_recommend_query_default(reel_recommend_query *query) {
    *query = (reel_recommend_query){.user = -1, .n = 10};
}

/* ---- checks ---- */

static reel_status check_range(const char *name, int64_t value, int64_t lowest, int64_t highest, reel_error *err) {
    if (value >= lowest && value <= highest) return REEL_OK;
    return error_set(err, REEL_INVALID_ARGUMENT, "%s must be %lld..%lld (found %lld)", name, (long long)lowest,
                     (long long)highest, (long long)value);
}

static int compare_movies(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static reel_status check_no_duplicates(const struct reel_scorer *scorer, int64_t n, const int32_t *movies,
                                       reel_error *err) {
    reel_status status = REEL_OK;
    int32_t *sorted = NULL;
    TRY(MEM_RAW(&sorted, n, err));
    for (int64_t i = 0; i < n; i++) sorted[i] = movies[i];
    qsort(sorted, (size_t)n, sizeof *sorted, compare_movies);
    for (int64_t i = 1; i < n; i++)
        if (sorted[i] == sorted[i - 1])
            TRY(error_set(err, REEL_INVALID_ARGUMENT, "movie %d is rated twice",
                          scorer->dataset->movie_ids[sorted[i]]));
cleanup:
    mem_free(sorted);
    return status;
}

static reel_status check_visitor(const struct reel_scorer *scorer, const reel_recommend_query *query, reel_error *err) {
    TRY_RETURN(check_range("n_rated", query->n_rated, 0, scorer->dataset->n_movies, err));
    TRY_RETURN(
        scorer_check_indices("rated movie", query->n_rated, query->rated_movies, 0, scorer->dataset->n_movies, err));
    for (int64_t i = 0; i < query->n_rated; i++) {
        float half_stars = query->rated_stars[i] * 2;
        if (!(half_stars >= 1 && half_stars <= 10) || half_stars != floorf(half_stars))
            return error_set(err, REEL_INVALID_ARGUMENT, "a rating must be 0.5..5 stars in half steps (found %g)",
                             (double)query->rated_stars[i]);
    }
    return check_no_duplicates(scorer, query->n_rated, query->rated_movies, err);
}

static reel_status check_query(const struct reel_scorer *scorer, const reel_recommend_query *query, reel_error *err) {
    TRY_RETURN(check_range("n", query->n, 1, INT32_MAX, err));
    TRY_RETURN(check_range("offset", query->offset, 0, INT32_MAX, err));
    TRY_RETURN(check_range("explain", query->explain, 0, REEL_EXPLAIN_MAX, err));
    TRY_RETURN(check_range("user", query->user, -1, scorer->dataset->n_users - 1, err));
    if (query->explain > 0 && !scorer->model->algorithm->explain)
        return error_set(err, REEL_UNSUPPORTED, "algorithm %s cannot explain its scores",
                         scorer->model->algorithm->name);
    return query->user < 0 ? check_visitor(scorer, query, err) : REEL_OK;
}

/* ---- selection ---- */

int scorer_movie_passes(const struct reel_scorer *scorer, const reel_recommend_query *query, int32_t movie) {
    const struct reel_dataset *dataset = scorer->dataset;
    if (query->genre_any && !(dataset->movie_genres[movie] & query->genre_any)) return 0;
    int year = dataset->movie_years[movie];
    if (query->year_from && year < query->year_from) return 0;
    if (query->year_to && (year == 0 || year > query->year_to)) return 0;
    const int64_t *offsets = dataset->ratings.movie_offsets;
    if (query->min_ratings > 0 && offsets[movie + 1] - offsets[movie] < query->min_ratings) return 0;
    return !query->candidates || query->candidates[movie];
}

static void select_movies(const struct reel_scorer *scorer, const reel_recommend_query *query, const float *scores,
                          struct top_n *top) {
    for (int32_t m = 0; m < scorer->dataset->n_movies; m++)
        if (scores[m] >= top->floor && scorer_movie_passes(scorer, query, m)) top_n_offer(top, scores[m], (uint32_t)m);
}

/* ---- why ---- */

/* The ratings that explain: the visitor's own, or a known user's. Only movies that the model knows. */
struct rated {
    int64_t n;
    int32_t *movies;       /* (n,) dataset indices */
    int32_t *model_movies; /* (n,) */
    float *stars;          /* (n,) */
    float *shares;         /* (n,) scratch */
};

static void rated_add(const struct reel_scorer *scorer, int32_t movie, float stars, struct rated *rated) {
    int32_t row = scorer_model_movie(scorer, movie);
    if (row < 0) return;
    rated->movies[rated->n] = movie;
    rated->model_movies[rated->n] = row;
    rated->stars[rated->n++] = stars;
}

static void rated_free(struct rated *rated) {
    mem_free(rated->movies);
    mem_free(rated->model_movies);
    mem_free(rated->stars);
    mem_free(rated->shares);
}

static reel_status rated_of_query(const struct reel_scorer *scorer, const reel_recommend_query *query,
                                  struct rated *rated, reel_error *err) {
    const struct ratings *all = &scorer->dataset->ratings;
    int64_t first = query->user < 0 ? 0 : all->user_offsets[query->user];
    int64_t n = query->user < 0 ? query->n_rated : all->user_offsets[query->user + 1] - first;
    *rated = (struct rated){0};
    /* The score of a user whom the model does not know rests on none of the user's ratings. */
    if (query->user >= 0 && scorer_model_user(scorer, query->user) < 0) n = 0;
    TRY_RETURN(MEM_RAW(&rated->movies, n, err));
    TRY_RETURN(MEM_RAW(&rated->model_movies, n, err));
    TRY_RETURN(MEM_RAW(&rated->stars, n, err));
    TRY_RETURN(MEM_RAW(&rated->shares, n, err));
    for (int64_t i = 0; i < n; i++)
        if (query->user < 0)
            rated_add(scorer, query->rated_movies[i], query->rated_stars[i], rated);
        else
            rated_add(scorer, all->user_movies[first + i], 0.5f * (float)all->user_ratings[first + i], rated);
    return REEL_OK;
}

/* The `wanted` strongest shares, whatever their sign, ties by movie. */
static reel_status explain_item(const struct reel_scorer *scorer, struct rated *rated, int wanted,
                                reel_recommendation *item, reel_error *err) {
    int32_t row = scorer_model_movie(scorer, item->movie);
    if (row < 0 || rated->n == 0) return REEL_OK;
    TRY_RETURN(scorer->model->algorithm->explain(scorer->model, rated->n, rated->model_movies, rated->stars, row,
                                                 rated->shares, err));
    for (int64_t i = 0; i < rated->n; i++) {
        float share = rated->shares[i];
        int at = item->n_explain;
        while (at > 0 &&
               (fabsf(item->explain_share[at - 1]) < fabsf(share) ||
                (fabsf(item->explain_share[at - 1]) == fabsf(share) && item->explain_movie[at - 1] > rated->movies[i])))
            at--;
        if (at >= wanted) continue;
        if (item->n_explain < wanted) item->n_explain++;
        for (int j = item->n_explain - 1; j > at; j--) {
            item->explain_movie[j] = item->explain_movie[j - 1];
            item->explain_share[j] = item->explain_share[j - 1];
        }
        item->explain_movie[at] = rated->movies[i];
        item->explain_share[at] = share;
    }
    return REEL_OK;
}

static reel_status explain_items(const struct reel_scorer *scorer, const reel_recommend_query *query,
                                 reel_recommendation *items, int n_items, reel_error *err) {
    reel_status status = REEL_OK;
    struct rated rated;
    TRY(rated_of_query(scorer, query, &rated, err));
    for (int i = 0; i < n_items; i++) TRY(explain_item(scorer, &rated, query->explain, &items[i], err));
cleanup:
    rated_free(&rated);
    return status;
}

/* Models scored by panels tell their deviations one pair at a time, so only those of the chosen are asked for. */
static reel_status add_deviations(const struct reel_scorer *scorer, int32_t user, reel_recommendation *items, int n,
                                  reel_error *err) {
    reel_status status = REEL_OK;
    int32_t *users = NULL, *movies = NULL;
    float *scores = NULL, *sds = NULL;
    TRY(MEM_RAW(&users, n, err));
    TRY(MEM_RAW(&movies, n, err));
    TRY(MEM_RAW(&scores, n, err));
    TRY(MEM_RAW(&sds, n, err));
    for (int i = 0; i < n; i++) {
        users[i] = user;
        movies[i] = items[i].movie;
    }
    TRY(reel_scorer_predict(scorer, n, users, movies, NULL, scores, sds, err));
    for (int i = 0; i < n; i++) items[i].sd = sds[i];
cleanup:
    mem_free(users);
    mem_free(movies);
    mem_free(scores);
    mem_free(sds);
    return status;
}

/* ---- the call ---- */

static reel_status query_scores(const struct reel_scorer *scorer, const reel_recommend_query *query, float *scores,
                                float *sds, reel_error *err) {
    if (query->user >= 0) {
        TRY_RETURN(scorer_user_scores(scorer, query->user, query->time, scores, sds, err));
        if (!query->include_seen) scorer_mask_seen(scorer, query->user, scores);
        return REEL_OK;
    }
    TRY_RETURN(scorer_visitor_scores(scorer, query->n_rated, query->rated_movies, query->rated_stars, query->time,
                                     scores, sds, err));
    for (int64_t i = 0; !query->include_seen && i < query->n_rated; i++) scores[query->rated_movies[i]] = -INFINITY;
    return REEL_OK;
}

reel_status reel_scorer_recommend(const reel_scorer *scorer, const reel_recommend_query *query,
                                  reel_recommendation *items, int *n_items, reel_error *err) {
    reel_status status = REEL_OK;
    float *scores = NULL, *sds = NULL;
    uint64_t *keys = NULL;
    *n_items = 0;
    TRY_RETURN(check_query(scorer, query, err));
    const struct reel_dataset *dataset = scorer->dataset;
    if (query->offset >= dataset->n_movies) return REEL_OK;
    int64_t wanted = (int64_t)query->offset + query->n;
    if (wanted > dataset->n_movies) wanted = dataset->n_movies;
    TRY(MEM_RAW(&scores, dataset->n_movies, err));
    /* A visitor's scores never come from panels. */
    if (!scorer->has_panels || query->user < 0) TRY(MEM_RAW(&sds, dataset->n_movies, err));
    TRY(MEM_RAW(&keys, top_n_capacity((size_t)wanted), err));
    TRY(query_scores(scorer, query, scores, sds, err));
    struct top_n top;
    top_n_init(&top, keys, (size_t)wanted);
    select_movies(scorer, query, scores, &top);
    int found = (int)top_n_finish(&top), n = found > query->offset ? found - query->offset : 0;
    for (int i = 0; i < n; i++) {
        int32_t movie = (int32_t)top_n_rank(keys[query->offset + i]);
        items[i] = (reel_recommendation){.movie = movie,
                                         .score = scorer_clip(scorer, scores[movie]),
                                         .raw_score = scores[movie],
                                         .sd = sds ? sds[movie] : NAN};
    }
    if (query->explain > 0) TRY(explain_items(scorer, query, items, n, err));
    if (query->explain > 0 && !sds && query->user >= 0) TRY(add_deviations(scorer, query->user, items, n, err));
    *n_items = n;
cleanup:
    mem_free(scores);
    mem_free(sds);
    mem_free(keys);
    return status;
}
