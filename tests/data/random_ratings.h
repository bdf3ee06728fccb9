/* Random ratings in both orders for tests, made the plain way. */
#ifndef TESTS_DATA_RANDOM_RATINGS_H
#define TESTS_DATA_RANDOM_RATINGS_H

#include <stdlib.h>

#include "data/ratings.h"
#include "kernels/common/philox.h"

static uint32_t random_word(uint64_t seed, uint64_t index) {
    return philox_block(seed, philox_stream(PHILOX_TEST, 0), index).v[0];
}

/* The by-movie order of `r`, whose by-user order is complete. */
static inline void random_ratings_add_by_movie(struct ratings *r) {
    int64_t *offsets = calloc((size_t)r->n_movies + 1, sizeof *offsets);
    int32_t *users = malloc((size_t)(r->n_ratings + 1) * sizeof *users);
    uint8_t *ratings = malloc((size_t)r->n_ratings + 1);
    int64_t n = 0;
    for (int32_t m = 0; m < r->n_movies; m++) {
        offsets[m] = n;
        for (int32_t u = 0; u < r->n_users; u++)
            for (int64_t i = r->user_offsets[u]; i < r->user_offsets[u + 1]; i++)
                if (r->user_movies[i] == m) users[n] = u, ratings[n++] = r->user_ratings[i];
    }
    offsets[r->n_movies] = n;
    r->movie_offsets = r->owned[4] = offsets;
    r->movie_users = r->owned[5] = users;
    r->movie_ratings = r->owned[6] = ratings;
}

/* About `percent` of all pairs are rated; every 7th user has no ratings. Freed with ratings_free. */
static inline struct ratings random_ratings(int32_t n_users, int32_t n_movies, uint32_t percent, uint64_t seed) {
    struct ratings r = {.n_users = n_users, .n_movies = n_movies, .scale_min = 1, .scale_max = 10};
    size_t room = (size_t)n_users * (size_t)n_movies + 1;
    int64_t *offsets = calloc((size_t)n_users + 1, sizeof *offsets);
    int32_t *movies = malloc(room * sizeof *movies);
    uint8_t *ratings = malloc(room);
    uint32_t *times = malloc(room * sizeof *times);
    int64_t n = 0;
    for (int32_t u = 0; u < n_users; u++) {
        offsets[u] = n;
        for (int32_t m = 0; u % 7 != 6 && m < n_movies; m++) {
            uint32_t word = random_word(seed, (uint64_t)u * (uint64_t)n_movies + (uint64_t)m);
            if (word % 100 >= percent) continue;
            movies[n] = m;
            ratings[n] = (uint8_t)(1 + (word >> 8) % 10);
            times[n++] = 1000 + (word >> 16) % 50; /* many ties */
        }
    }
    offsets[n_users] = r.n_ratings = n;
    r.user_offsets = r.owned[0] = offsets;
    r.user_movies = r.owned[1] = movies;
    r.user_ratings = r.owned[2] = ratings;
    r.user_times = r.owned[3] = times;
    random_ratings_add_by_movie(&r);
    return r;
}

/* On the CPU, whatever else the machine has. */
static inline reel_context *context_of(int threads) {
    reel_context_options options;
    reel_context_options_default(&options);
    options.device = "cpu";
    options.threads = threads;
    reel_error err;
    reel_context *ctx = NULL;
    if (reel_context_new(&options, &ctx, &err) != REEL_OK) {
        fprintf(stderr, "context: %s\n", err.message);
        exit(1);
    }
    return ctx;
}

#endif
