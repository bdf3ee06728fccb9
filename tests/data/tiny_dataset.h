/* Hand-made datasets in memory for tests: struct reel_dataset over static arrays. */
#ifndef TESTS_DATA_TINY_DATASET_H
#define TESTS_DATA_TINY_DATASET_H

#include "data/random_ratings.h"
#include "data/dataset.h"

/* A text column over literals; freed with tiny_dataset_free through the dataset. */
static inline struct text_column tiny_texts(const char *const *texts, int64_t n) {
    size_t bytes = 1;
    for (int64_t i = 0; i < n; i++) bytes += strlen(texts[i]) + 1;
    char *pool = malloc(bytes);
    int64_t *offsets = malloc((size_t)(n + 1) * sizeof *offsets), at = 0;
    for (int64_t i = 0; i < n; i++) {
        offsets[i] = at;
        memcpy(pool + at, texts[i], strlen(texts[i]) + 1);
        at += (int64_t)strlen(texts[i]) + 1;
    }
    offsets[n] = at;
    return (struct text_column){offsets, pool};
}

/* One rating of a tiny dataset: indices, half stars, seconds. Given in by-user order. */
struct tiny_rating {
    int32_t user, movie;
    uint8_t rating;
    uint32_t time;
};

/* What a tiny dataset is made of; the arrays of ids, years and genres are borrowed. */
struct tiny_source {
    int32_t n_users, n_movies, n_genres;
    int64_t n_ratings;
    const int32_t *user_ids, *movie_ids;
    const char *const *titles, *const *genres;
    const int16_t *years;
    const uint64_t *genre_bits;
    const struct tiny_rating *ratings;
};

static inline void tiny_add_ratings(const struct tiny_source *source, struct ratings *r) {
    size_t n = (size_t)source->n_ratings;
    int64_t *offsets = calloc((size_t)source->n_users + 1, sizeof *offsets);
    int32_t *movies = malloc((n + 1) * sizeof *movies);
    uint8_t *ratings = malloc(n + 1);
    uint32_t *times = malloc((n + 1) * sizeof *times);
    *r = (struct ratings){.n_users = source->n_users,
                          .n_movies = source->n_movies,
                          .n_ratings = source->n_ratings,
                          .scale_min = 1,
                          .scale_max = 10};
    for (size_t i = 0; i < n; i++) {
        offsets[source->ratings[i].user + 1]++;
        movies[i] = source->ratings[i].movie;
        ratings[i] = source->ratings[i].rating;
        times[i] = source->ratings[i].time;
    }
    for (int32_t u = 0; u < source->n_users; u++) offsets[u + 1] += offsets[u];
    r->user_offsets = r->owned[0] = offsets;
    r->user_movies = r->owned[1] = movies;
    r->user_ratings = r->owned[2] = ratings;
    r->user_times = r->owned[3] = times;
    random_ratings_add_by_movie(r);
}

static inline struct reel_dataset tiny_dataset(const struct tiny_source *source) {
    struct reel_dataset ds = {.n_users = source->n_users,
                              .n_movies = source->n_movies,
                              .n_genres = source->n_genres,
                              .n_ratings = source->n_ratings,
                              .user_ids = source->user_ids,
                              .movie_ids = source->movie_ids,
                              .movie_years = source->years,
                              .movie_genres = source->genre_bits,
                              .fingerprint = "0123456789abcdef0123456789abcdef"};
    reel_error err;
    if (tensor_set_new(&ds.set, &err) != REEL_OK) exit(1);
    ds.titles = tiny_texts(source->titles, source->n_movies);
    ds.genres = tiny_texts(source->genres, source->n_genres);
    tiny_add_ratings(source, &ds.ratings);
    return ds;
}

static inline void tiny_dataset_free(struct reel_dataset *ds) {
    tensor_set_free(ds->set);
    free((void *)(uintptr_t)ds->titles.offsets), free((void *)(uintptr_t)ds->titles.text);
    free((void *)(uintptr_t)ds->genres.offsets), free((void *)(uintptr_t)ds->genres.text);
    ratings_free(&ds->ratings);
}

#endif
