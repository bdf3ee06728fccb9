/* bench_forest_score DATASET MODEL [USERS [THREADS]]: scores of all movies for many users by a model that is trees: the
 * scores alone, the best 150 of them, and single pairs. Three rounds each, the fastest counts. With a fifth argument
 * FILE the scores of the first eight users go there, floats in rows, for comparison with others'. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <reel/reel.h>
#include "bench/bench.h"
#include "core/context.h"
#include "core/doctor.h"
#include "core/mem.h"
#include "model/scorer.h"

static void must(reel_status status, const reel_error *err) {
    if (status == REEL_OK) return;
    fprintf(stderr, "bench_forest_score: %s\n", err->message);
    exit(1);
}

static void *room(int64_t n, size_t size) {
    void *out;
    reel_error err;
    must(mem_zero(&out, (size_t)n, size, &err), &err);
    return out;
}

enum { TILE = 8, TOP = 150 };

struct tiles {
    struct reel_scorer *scorer;
    int64_t n_users;
    float *scores; /* (threads, TILE, M) */
    double *checks;
};

/* Scores of one tile of users; their sum is kept, so that none is left out. */
static void tile_task(void *arg, int64_t task, int worker) {
    const struct tiles *tiles = arg;
    const struct forest_planned *planned = tiles->scorer->planned;
    int64_t width = planned->plan.n_columns[0], n_movies = planned->plan.n_movies, first = task * TILE;
    int32_t hours[TILE] = {0};
    float *scores = tiles->scores + worker * TILE * n_movies;
    for (int u = 0; u < TILE; u++) hours[u] = (int32_t)((first + u) % STAR_HOURS);
    int64_t left = tiles->n_users - first;
    struct forest_movies_args args = {&planned->plan, left < TILE ? (int)left : TILE,
                                      planned->rows[STAR_USER] + first * width, hours, scores};
    reel_error err;
    must(tiles->scorer->backend->ops->forest_movies(tiles->scorer->backend, &args, &err), &err);
    tiles->checks[task] = (double)scores[task % n_movies];
}

static double all_scores(struct tiles *tiles) {
    double start = clock_seconds();
    thread_pool_run(tiles->scorer->ctx->pool, (tiles->n_users + TILE - 1) / TILE, tile_task, tiles);
    return clock_seconds() - start;
}

static double best_scores(struct tiles *tiles, const int32_t *users, int32_t *movies, float *scores) {
    reel_error err;
    double start = clock_seconds();
    must(reel_scorer_recommend_many(tiles->scorer, tiles->n_users, users, TOP, NULL, movies, scores, &err), &err);
    return clock_seconds() - start;
}

static double pair_scores(struct tiles *tiles, int64_t n, float *scores) {
    const struct ratings *ratings = &tiles->scorer->dataset->ratings;
    int32_t *users = room(n, sizeof *users);
    for (int32_t u = 0; u < ratings->n_users; u++)
        for (int64_t i = ratings->user_offsets[u]; i < ratings->user_offsets[u + 1] && i < n; i++) users[i] = u;
    reel_error err;
    double start = clock_seconds();
    must(reel_scorer_predict_many(tiles->scorer, n, users, ratings->user_movies, ratings->user_times, scores, NULL,
                                  &err),
         &err);
    double seconds = clock_seconds() - start;
    mem_free(users);
    return seconds;
}

static void dump(const struct tiles *tiles, const char *path) {
    const struct forest_planned *planned = tiles->scorer->planned;
    int32_t hours[TILE] = {0};
    size_t n = (size_t)planned->plan.n_movies * TILE;
    struct forest_movies_args args = {&planned->plan, TILE, planned->rows[STAR_USER], hours, tiles->scores};
    reel_error err;
    must(tiles->scorer->backend->ops->forest_movies(tiles->scorer->backend, &args, &err), &err);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(tiles->scores, sizeof(float), n, file) != n || fclose(file) != 0) {
        fprintf(stderr, "bench_forest_score: cannot write %s\n", path);
        exit(1);
    }
}

static void run(struct reel_scorer *scorer, int64_t n_users, int threads, const char *path) {
    const struct forest_plan *plan = &scorer->planned->plan;
    int64_t n_pairs = scorer->dataset->ratings.n_ratings < 4000000 ? scorer->dataset->ratings.n_ratings : 4000000;
    struct tiles tiles = {scorer, n_users, room((int64_t)threads * TILE * plan->n_movies, sizeof(float)),
                          room(n_users / TILE + 1, sizeof(double))};
    int32_t *users = room(n_users, sizeof *users), *movies = room(n_users * TOP, sizeof *movies);
    float *scores = room(n_users * TOP > n_pairs ? n_users * TOP : n_pairs, sizeof *scores);
    double all = INFINITY, best = INFINITY, pairs = INFINITY;
    for (int64_t u = 0; u < n_users; u++) users[u] = (int32_t)u;
    if (path) dump(&tiles, path);
    for (int repeat = 0; repeat < 3; repeat++) {
        all = fmin(all, all_scores(&tiles));
        best = fmin(best, best_scores(&tiles, users, movies, scores));
        pairs = fmin(pairs, pair_scores(&tiles, n_pairs, scores));
    }
    char shape[160];
    double n = (double)n_users * (double)plan->n_movies;
    snprintf(shape, sizeof shape, "users=%lld movies=%d trees=%d groups=%d simd=%s", (long long)n_users, plan->n_movies,
             plan->n_trees, plan->n_groups, simd_level_name(simd_level()));
    bench_row("forest_movies", threads, shape, n / all, "", NAN, "pairs/s");
    bench_row("forest_topk n=150", threads, shape, n / best, "", NAN, "pairs/s");
    bench_row("forest_pairs", threads, shape, (double)n_pairs / pairs, "", NAN, "pairs/s");
    mem_free(tiles.scores), mem_free(tiles.checks), mem_free(users), mem_free(movies), mem_free(scores);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: bench_forest_score DATASET MODEL [USERS [THREADS [FILE]]]\n");
        return 2;
    }
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = argc > 4 ? atoi(argv[4]) : 0;
    options.device = "cpu";
    reel_context *ctx;
    reel_dataset *dataset;
    reel_model *model;
    reel_scorer *scorer;
    reel_error err;
    must(reel_context_new(&options, &ctx, &err), &err);
    must(reel_dataset_open(ctx, argv[1], &dataset, &err), &err);
    must(reel_model_open(ctx, argv[2], &model, &err), &err);
    double start = clock_seconds();
    must(reel_scorer_new(ctx, dataset, model, &scorer, &err), &err);
    bench_row("forest_plan", reel_context_threads(ctx), "", 1e3 * (clock_seconds() - start), "", NAN, "ms");
    int64_t n_users = argc > 3 ? atoll(argv[3]) : 20000;
    if (!scorer->planned || n_users < TILE || dataset->n_users < n_users) {
        fprintf(stderr, "bench_forest_score: no plan for this model, or not that many users\n");
        return 1;
    }
    run(scorer, n_users, reel_context_threads(ctx), argc > 5 ? argv[5] : NULL);
    reel_scorer_free(scorer);
    reel_model_free(model);
    reel_dataset_free(dataset);
    reel_context_free(ctx);
    return 0;
}
