/* A dataset in memory with planted biases and factors, for tests of models. */
#ifndef TESTS_MODEL_PLANTED_H
#define TESTS_MODEL_PLANTED_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/mem.h"
#include "data/random_ratings.h"
#include "data/split.h"
#include "model/model.h"

enum { PLANTED_FACTORS = 3 };

struct planted {
    struct reel_dataset dataset;
    struct ratings train;
    struct rating_pairs test;
    int32_t *ids;
};

static float planted_value(uint64_t seed, uint64_t index) {
    return (float)((double)random_word(seed, index) / 2147483648.0 - 1); /* -1..1 */
}

/* Ratings of random_ratings, replaced by half stars of 3.5 + biases + a product of 3 factors + noise. */
static inline void planted_ratings(struct ratings *all, uint64_t seed, float noise) {
    uint8_t *ratings = (uint8_t *)(uintptr_t)all->user_ratings;
    for (int32_t u = 0; u < all->n_users; u++)
        for (int64_t i = all->user_offsets[u]; i < all->user_offsets[u + 1]; i++) {
            uint64_t m = (uint64_t)all->user_movies[i], user_at = 1000 + 8 * (uint64_t)u, movie_at = 5000000 + 8 * m;
            float stars = 3.5f + 0.7f * planted_value(seed, user_at) + 0.7f * planted_value(seed, movie_at);
            for (uint64_t f = 1; f <= PLANTED_FACTORS; f++)
                stars += 0.9f * planted_value(seed, user_at + f) * planted_value(seed, movie_at + f);
            stars += noise * planted_value(seed, 90000000 + (uint64_t)i);
            long half = lrintf(2 * stars);
            ratings[i] = (uint8_t)(half < 1 ? 1 : half > 10 ? 10 : half);
        }
}

/* Every 7th user has no ratings; a tenth is held out. */
static inline struct planted planted_new(reel_context *ctx, int32_t n_users, int32_t n_movies, uint32_t percent,
                                         float noise, uint64_t seed) {
    struct planted p = {.dataset = {.n_users = n_users, .n_movies = n_movies}};
    reel_error err;
    struct ratings all = random_ratings(n_users, n_movies, percent, seed);
    planted_ratings(&all, seed, noise);
    for (int i = 4; i < 7; i++) free(all.owned[i]);
    random_ratings_add_by_movie(&all);
    uint8_t *test = malloc((size_t)all.n_ratings + 1);
    int needs = RATINGS_BY_MOVIE | RATINGS_TIMES;
    if (split_holdout(ctx, &all, REEL_SPLIT_RANDOM, 0.1, seed, test, &err) != REEL_OK ||
        ratings_subset(ctx, &all, test, needs, &p.train, &err) != REEL_OK ||
        ratings_pairs(ctx, &all, test, &p.test, &err) != REEL_OK) {
        fprintf(stderr, "planted: %s\n", err.message);
        exit(1);
    }
    free(test);
    p.ids = malloc((size_t)(n_users > n_movies ? n_users : n_movies) * sizeof *p.ids);
    for (int32_t i = 0; i < n_users || i < n_movies; i++) p.ids[i] = 3 * i + 1;
    p.dataset.user_ids = p.dataset.movie_ids = p.ids;
    p.dataset.fingerprint = "00112233445566778899aabbccddeeff";
    p.dataset.ratings = all;
    p.dataset.n_ratings = all.n_ratings;
    return p;
}

static inline void planted_free(struct planted *p) {
    ratings_free(&p->dataset.ratings);
    ratings_free(&p->train);
    rating_pairs_free(&p->test);
    free(p->ids);
}

/* Fits `name` on the training part; NULL when *status is a failure. */
static inline reel_model *planted_fit(reel_context *ctx, const struct planted *p, const char *name,
                                      const reel_param *params, size_t n_params, struct fit_output *output,
                                      reel_status *status, reel_error *err) {
    const struct algorithm *algorithm = algorithm_find(name);
    struct param_values values;
    reel_model *model = NULL;
    *output = (struct fit_output){0};
    *status = params_parse(algorithm->params, algorithm->n_params, params, n_params, &values, err);
    if (*status != REEL_OK) return NULL;
    struct fit_input input = {
        .dataset = &p->dataset, .ratings = &p->train, .test = &p->test, .params = &values, .seed = 42, .stage = ""};
    *status = model_fit(ctx, algorithm, &input, &model, output, err);
    return model;
}

static inline void fit_output_free(struct fit_output *output) {
    free(output->epochs);
    free(output->test_predictions);
    *output = (struct fit_output){0};
}

#endif
