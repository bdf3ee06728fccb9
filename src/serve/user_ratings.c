#include "serve/user_ratings.h"

#include <stdlib.h>

#include "core/error.h"
#include "core/sorted_ids.h"

int user_has_live(const struct service *service, int64_t user_id) {
    return service->store && user_id <= INT32_MAX && store_user_ratings(service->store, (int32_t)user_id, NULL, 0) > 0;
}

/* *out: the user's live ratings, ascending movie ids. They may grow between two looks. */
static reel_status load_live(const struct service *service, int64_t user_id, struct store_rating **out, int64_t *n,
                             reel_error *err) {
    *out = NULL;
    *n = 0;
    if (!service->store || user_id > INT32_MAX) return REEL_OK;
    int64_t there = store_user_ratings(service->store, (int32_t)user_id, NULL, 0);
    while (there > *n) {
        *n = there;
        mem_free(*out);
        TRY_RETURN(MEM_RAW(out, *n, err));
        there = store_user_ratings(service->store, (int32_t)user_id, *out, *n);
    }
    *n = there;
    return REEL_OK;
}

static void append(struct user_ratings *ratings, int32_t movie, uint8_t half_stars) {
    if (half_stars == 0) return;
    ratings->movies[ratings->n] = movie;
    ratings->half_stars[ratings->n] = half_stars;
    ratings->stars[ratings->n++] = 0.5f * (float)half_stars;
}

/* Both lists ascend by movie id, hence by index. */
static void merge(const struct reel_dataset *dataset, const struct store_rating *live, int64_t n_live,
                  struct user_ratings *ratings) {
    const int32_t *movies = NULL;
    const uint8_t *half_stars = NULL;
    int64_t n = ratings->user < 0 ? 0 : reel_dataset_user_ratings(dataset, ratings->user, &movies, &half_stars, NULL);
    int64_t at = 0;
    for (int64_t i = 0; i < n_live; i++) {
        int32_t movie = reel_dataset_movie_index(dataset, live[i].movie_id);
        if (movie < 0) continue;
        for (; at < n && movies[at] < movie; at++) append(ratings, movies[at], half_stars[at]);
        at += at < n && movies[at] == movie;
        append(ratings, movie, live[i].half_stars);
    }
    for (; at < n; at++) append(ratings, movies[at], half_stars[at]);
}

reel_status user_ratings_load(const struct service *service, const struct snapshot *snapshot, int64_t user_id,
                              struct user_ratings *out, reel_error *err) {
    reel_status status = REEL_OK;
    const struct reel_dataset *dataset = snapshot->dataset;
    struct store_rating *live = NULL;
    int64_t n_live, n;
    *out = (struct user_ratings){.user_id = user_id, .user = reel_dataset_user_index(dataset, user_id)};
    TRY(load_live(service, user_id, &live, &n_live, err));
    out->live = n_live > 0;
    n = n_live + (out->user < 0 ? 0 : reel_dataset_user_ratings(dataset, out->user, NULL, NULL, NULL));
    TRY(MEM_RAW(&out->movies, n, err));
    TRY(MEM_RAW(&out->stars, n, err));
    TRY(MEM_RAW(&out->half_stars, n, err));
    merge(dataset, live, n_live, out);
    if (out->user < 0 && out->n == 0) TRY(error_set(err, REEL_NOT_FOUND, "there is no user %lld", (long long)user_id));
cleanup:
    mem_free(live);
    if (status != REEL_OK) user_ratings_free(out);
    return status;
}

void user_ratings_free(struct user_ratings *ratings) {
    mem_free(ratings->movies);
    mem_free(ratings->stars);
    mem_free(ratings->half_stars);
    *ratings = (struct user_ratings){0};
}

int user_ratings_find(const struct user_ratings *ratings, int32_t movie) {
    int64_t at = sorted_ids_find(ratings->movies, ratings->n, movie);
    return at < 0 ? 0 : ratings->half_stars[at];
}
