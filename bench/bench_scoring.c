/* bench_scoring [DATASET MODEL [THREADS]]: what scoring costs, from opening the files to similar movies; without
 * arguments on the embedded data and an svd model of it. Wall time, the fastest of three runs each, and CPU time, which
 * tells on a machine that others use. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <reel/reel.h>
#include "bench/bench.h"
#include "core/context.h"
#include "core/doctor.h"

struct bench {
    reel_context *ctx;
    const char *dataset_path, *model_path;
    reel_dataset *dataset;
    reel_model *model;
    reel_scorer *scorer;
    reel_similar_index *index;
    reel_dataset_info info;
    char parameters[128];
    int64_t n_pairs;
    int32_t *users, *movies; /* (n_pairs,) every rating, in by-user order */
    int32_t *out;
    float *scores;
};
enum { TOP = 150, ONE_BY_ONE = 500 };

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void must(reel_status status, const reel_error *err) {
    if (status == REEL_OK) return;
    fprintf(stderr, "bench_scoring: %s\n", err->message);
    exit(1);
}

static void *room(int64_t n, size_t size) {
    void *out = calloc((size_t)n + 1, size);
    if (out) return out;
    fprintf(stderr, "bench_scoring: out of memory\n");
    exit(1);
}

/* `count` things of a `run`, in time a thing or things a second. */
static void row(struct bench *bench, const char *what, int64_t count, const char *unit, void (*run)(struct bench *)) {
    double wall = INFINITY, cpu = INFINITY;
    for (int repeat = 0; repeat < 3; repeat++) {
        double start = clock_seconds(), cpu_start = cpu_seconds();
        run(bench);
        wall = fmin(wall, clock_seconds() - start);
        cpu = fmin(cpu, cpu_seconds() - cpu_start);
    }
    int as_rate = unit[strlen(unit) - 1] == 's' && strchr(unit, '/');
    double scale = strcmp(unit, "ms") == 0 ? 1e3 : 1, n = (double)count;
    char name[64];
    snprintf(name, sizeof name, "%s CPU time", what);
    bench_row(what, reel_context_threads(bench->ctx), bench->parameters, as_rate ? n / wall : scale * wall / n, "", NAN,
              unit);
    bench_row(name, reel_context_threads(bench->ctx), bench->parameters, as_rate ? cpu : scale * cpu / n, "", NAN,
              as_rate ? "s" : unit);
}

static void open_dataset(struct bench *bench) {
    reel_error err;
    reel_dataset_free(bench->dataset);
    must(reel_dataset_open(bench->ctx, bench->dataset_path, &bench->dataset, &err), &err);
}

static void open_model(struct bench *bench) {
    reel_error err;
    reel_model_free(bench->model);
    must(reel_model_open(bench->ctx, bench->model_path, &bench->model, &err), &err);
}

static void bind(struct bench *bench) {
    reel_error err;
    reel_scorer_free(bench->scorer);
    must(reel_scorer_new(bench->ctx, bench->dataset, bench->model, &bench->scorer, &err), &err);
}

static void recommend(struct bench *bench, int explain) {
    static reel_recommendation items[TOP];
    reel_recommend_query query;
    reel_error err;
    int n;
    reel_recommend_query_default(&query);
    query.n = explain ? 10 : TOP;
    query.explain = explain;
    for (int i = 0; i < ONE_BY_ONE; i++) {
        query.user = (int32_t)((int64_t)i * 7919 % bench->info.n_users);
        must(reel_scorer_recommend(bench->scorer, &query, items, &n, &err), &err);
    }
}

static void recommend_one(struct bench *bench) {
    recommend(bench, 0);
}

static void explain_one(struct bench *bench) {
    recommend(bench, 3);
}

static void recommend_visitor(struct bench *bench) {
    static reel_recommendation items[TOP];
    reel_error err;
    for (int i = 0; i < ONE_BY_ONE; i++) {
        const int32_t *movies;
        const uint8_t *ratings;
        int32_t user = (int32_t)((int64_t)i * 7919 % bench->info.n_users);
        int64_t n_rated = reel_dataset_user_ratings(bench->dataset, user, &movies, &ratings, NULL);
        float stars[50];
        if (n_rated > 50) n_rated = 50;
        for (int64_t j = 0; j < n_rated; j++) stars[j] = 0.5f * (float)ratings[j];
        reel_recommend_query query;
        reel_recommend_query_default(&query);
        query.n_rated = n_rated, query.rated_movies = movies, query.rated_stars = stars, query.n = TOP;
        int n;
        must(reel_scorer_recommend(bench->scorer, &query, items, &n, &err), &err);
    }
}

static void recommend_all(struct bench *bench) {
    reel_error err;
    int32_t *users = room(bench->info.n_users, sizeof *users);
    for (int32_t u = 0; u < bench->info.n_users; u++) users[u] = u;
    must(reel_scorer_recommend_many(bench->scorer, bench->info.n_users, users, TOP, NULL, bench->out, bench->scores,
                                    &err),
         &err);
    free(users);
}

static void predict(struct bench *bench) {
    reel_error err;
    must(reel_scorer_predict_many(bench->scorer, bench->n_pairs, bench->users, bench->movies, NULL, bench->scores, NULL,
                                  &err),
         &err);
}

static void query_index(struct bench *bench) {
    static reel_similar_movie items[100];
    reel_error err;
    int n;
    for (int i = 0; i < 100; i++)
        must(reel_similar_index_query(bench->index, (int32_t)((int64_t)i * 271 % bench->info.n_movies), 100, items, &n,
                                      &err),
             &err);
}

static void similar_rows(struct bench *bench) {
    static const char *const names[] = {"similar_genre", "similar_factors", "similar_genome", "similar_ratings"};
    for (int by = 0; by < 4; by++) {
        reel_error err;
        if (reel_similar_index_new(bench->ctx, bench->dataset, bench->model, (reel_similarity)by, &bench->index,
                                   &err) != REEL_OK)
            continue; /* no genome here, no factors there */
        row(bench, names[by], 100, "ms", query_index);
        reel_similar_index_free(bench->index);
    }
}

static void list_pairs(struct bench *bench) {
    int64_t items = (int64_t)bench->info.n_users * TOP;
    bench->n_pairs = bench->info.n_ratings;
    bench->users = room(bench->n_pairs, sizeof *bench->users);
    bench->movies = room(bench->n_pairs, sizeof *bench->movies);
    bench->out = room(items, sizeof *bench->out);
    bench->scores = room(items > bench->n_pairs ? items : bench->n_pairs, sizeof *bench->scores);
    int64_t at = 0;
    for (int32_t u = 0; u < bench->info.n_users; u++) {
        const int32_t *movies;
        int64_t n = reel_dataset_user_ratings(bench->dataset, u, &movies, NULL, NULL);
        for (int64_t i = 0; i < n; i++, at++) bench->users[at] = u, bench->movies[at] = movies[i];
    }
}

/* The embedded data and a model of it, as files in a folder of their own. */
static void make_files(struct bench *bench, const char *folder, char *dataset, char *model, size_t size) {
    reel_import_options import;
    reel_train_options train;
    reel_error err;
    snprintf(dataset, size, "%s/small.reel", folder);
    snprintf(model, size, "%s/svd.model", folder);
    reel_import_options_default(&import);
    must(reel_dataset_import(bench->ctx, "data/ml-latest-small", &import, dataset, NULL, &err), &err);
    must(reel_dataset_open(bench->ctx, dataset, &bench->dataset, &err), &err);
    reel_train_options_default(&train);
    train.algorithm = "svd";
    must(reel_train(bench->ctx, bench->dataset, &train, &bench->model, NULL, &err), &err);
    must(reel_model_save(bench->ctx, bench->model, model, &err), &err);
    bench->dataset_path = dataset, bench->model_path = model;
}

static void run_all(struct bench *bench) {
    row(bench, "open_dataset", 1, "ms", open_dataset);
    row(bench, "open_model", 1, "ms", open_model);
    row(bench, "scorer_new", 1, "ms", bind);
    reel_dataset_get_info(bench->dataset, &bench->info);
    list_pairs(bench);
    row(bench, "recommend_one", ONE_BY_ONE, "ms", recommend_one);
    row(bench, "explain_one", ONE_BY_ONE, "ms", explain_one);
    row(bench, "recommend_visitor", ONE_BY_ONE, "ms", recommend_visitor);
    row(bench, "recommend_many", bench->info.n_users, "users/s", recommend_all);
    row(bench, "predict_many", bench->n_pairs, "pairs/s", predict);
    similar_rows(bench);
}

int main(int argc, char **argv) {
    struct bench bench = {0};
    char folder[] = "/tmp/reel-bench-XXXXXX", dataset[64], model[64];
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = argc > 3 ? atoi(argv[3]) : 0;
    options.device = "cpu";
    reel_error err;
    must(reel_context_new(&options, &bench.ctx, &err), &err);
    if (argc > 2) {
        bench.dataset_path = argv[1], bench.model_path = argv[2];
    } else {
        if (!mkdtemp(folder)) return 1;
        make_files(&bench, folder, dataset, model, sizeof dataset);
    }
    open_dataset(&bench);
    open_model(&bench);
    reel_dataset_get_info(bench.dataset, &bench.info);
    snprintf(bench.parameters, sizeof bench.parameters, "users=%d movies=%d ratings=%lld model=%s n=%d simd=%s",
             bench.info.n_users, bench.info.n_movies, (long long)bench.info.n_ratings,
             reel_model_algorithm(bench.model), TOP, simd_level_name(simd_level()));
    run_all(&bench);
    free(bench.users), free(bench.movies), free(bench.out), free(bench.scores);
    reel_scorer_free(bench.scorer);
    reel_model_free(bench.model);
    reel_dataset_free(bench.dataset);
    reel_context_free(bench.ctx);
    if (argc <= 2) unlink(dataset), unlink(model), rmdir(folder);
    return 0;
}
