/* bench_sgd [DATASET | synthetic[:RATINGS] [KEY=VALUE ...]]: trains svd on four fifths of the ratings, measures on the
 * rest; rows: ratings/s of the median and the best epoch, seconds of fitting in all, test RMSE, peak memory.
 * Keys: svd's parameters; threads; fold (0..4: which fifth is the test); write=FOLDER puts both parts into
 * FOLDER/train.bin and FOLDER/test.bin for other programs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "core/doctor.h"
#include "core/mem.h"
#include "data/split.h"
#include "kernels/common/normal.h"
#include "model/model.h"

static reel_error error;

static void need(reel_status status) {
    if (status == REEL_OK) return;
    fprintf(stderr, "bench_sgd: %s\n", error.message);
    exit(1);
}

/* ---- synthetic ratings with MovieLens 20M's marginals, roughly ---- */

enum { N_MOVIES = 26744, FACTORS = 16 };

struct random {
    uint64_t index;
    int left;
    struct philox4 words;
};

static double uniform(struct random *random) {
    if (random->left == 0) {
        random->words = philox_block(1, philox_stream(PHILOX_TEST, 1), random->index++);
        random->left = 4;
    }
    return philox_uniform(random->words.v[--random->left]);
}

static float normal(uint64_t index) {
    float four[4];
    philox_normals(1, philox_stream(PHILOX_TEST, 2), index / 4, four);
    return four[index % 4];
}

static int compare_int32(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* Movies of one user, ascending and distinct; popularity is log-normal. */
static int32_t draw_movies(struct random *random, const double *cumulative, int32_t n, int32_t *movies) {
    for (int32_t i = 0; i < n; i++) {
        double target = uniform(random) * cumulative[N_MOVIES - 1];
        int32_t low = 0, high = N_MOVIES - 1;
        while (low < high) {
            int32_t middle = (low + high) / 2;
            if (cumulative[middle] < target)
                low = middle + 1;
            else
                high = middle;
        }
        movies[i] = low;
    }
    qsort(movies, (size_t)n, sizeof *movies, compare_int32);
    int32_t kept = 0;
    for (int32_t i = 0; i < n; i++)
        if (i == 0 || movies[i] != movies[i - 1]) movies[kept++] = movies[i];
    return kept;
}

static uint8_t draw_rating(int32_t user, int32_t movie, double noise) {
    uint64_t u = (uint64_t)(user + N_MOVIES) * 32, m = (uint64_t)movie * 32;
    double stars = 3.5 + 0.42 * (double)normal(u) + 0.5 * (double)normal(m) + 0.75 * noise;
    for (uint64_t f = 1; f <= FACTORS; f++) stars += 0.12 * (double)normal(u + f) * (double)normal(m + f);
    long half = lrint(2 * stars);
    return (uint8_t)(half < 1 ? 1 : half > 10 ? 10 : half);
}

static struct ratings synthetic(int64_t n_ratings) {
    struct ratings r = {.n_users = (int32_t)(n_ratings / 144), .n_movies = N_MOVIES, .scale_min = 1, .scale_max = 10};
    struct random random = {0};
    double *cumulative, sum = 0;
    int64_t *offsets, room = n_ratings + n_ratings / 4 + 20000;
    int32_t *movies;
    uint8_t *ratings;
    need(MEM_NEW(&cumulative, N_MOVIES, &error));
    need(MEM_NEW(&offsets, r.n_users + 1, &error));
    need(MEM_NEW(&movies, room, &error));
    need(MEM_NEW(&ratings, room, &error));
    for (int32_t m = 0; m < N_MOVIES; m++) cumulative[m] = sum += exp(2.2 * (double)normal(90000000 + (uint64_t)m));
    for (int32_t u = 0; u < r.n_users; u++) {
        double want = 20 + exp(3.87 + 1.38 * (double)normal(100000000 + (uint64_t)u));
        int64_t begin = offsets[u], most = room - begin;
        int32_t n = (int32_t)fmin(fmin(want, 9254), (double)most);
        n = draw_movies(&random, cumulative, n, movies + begin);
        for (int64_t i = begin; i < begin + n; i++)
            ratings[i] =
                draw_rating(u, movies[i], sqrt(-2 * log(uniform(&random))) * cos(6.2831853 * uniform(&random)));
        offsets[u + 1] = begin + n;
    }
    mem_free(cumulative);
    r.n_ratings = offsets[r.n_users];
    r.user_offsets = r.owned[0] = offsets;
    r.user_movies = r.owned[1] = movies;
    r.user_ratings = r.owned[2] = ratings;
    return r;
}

/* ---- the run ---- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void print_rows(const char *source, const struct fit_input *input, const struct fit_output *output,
                       const reel_metrics *test, int threads) {
    double *seconds;
    int n = output->n_epochs - 1;
    if (n < 1) return;
    need(MEM_NEW(&seconds, n, &error));
    for (int e = 1; e <= n; e++) seconds[e - 1] = output->epochs[e].seconds;
    qsort(seconds, (size_t)n, sizeof *seconds, compare_doubles);
    double ratings = (double)input->ratings->n_ratings;
    const char *slash = strrchr(source, '/');
    char what[200];
    snprintf(what, sizeof what, "%.60s k=%g epochs=%d bands=%g simd=%s", slash ? slash + 1 : source,
             params_number(input->params, "factors"), n, params_number(input->params, "bands"),
             simd_level_name(simd_level()));
    bench_row("svd epoch", threads, what, ratings / seconds[n / 2], "", NAN, "ratings/s");
    bench_row("svd best epoch", threads, what, ratings / seconds[0], "", NAN, "ratings/s");
    bench_row("svd fit", threads, what, output->fit_seconds, "", NAN, "s");
    bench_row("svd test", threads, what, test->rmse, "", NAN, "RMSE");
    bench_row("svd peak memory", threads, what, (double)peak_rss_bytes() / 1e6, "", NAN, "MB");
    mem_free(seconds);
}

/* (int32 user, int32 movie, float stars) a rating. */
static void write_pairs(const char *folder, const char *name, const struct ratings *all, const uint8_t *test,
                        int part) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    int failed = !file;
    for (int32_t u = 0; !failed && u < all->n_users; u++)
        for (int64_t i = all->user_offsets[u]; i < all->user_offsets[u + 1]; i++) {
            struct {
                int32_t user, movie;
                float stars;
            } node = {u, all->user_movies[i], 0.5f * all->user_ratings[i]};
            if ((test[i] != 0) == part) failed |= fwrite(&node, sizeof node, 1, file) != 1;
        }
    if (file) failed |= fclose(file) != 0;
    if (failed) {
        perror(path);
        exit(1);
    }
}

static void fit(reel_context *ctx, const char *source, const struct ratings *all, const struct param_values *params,
                int fold, const char *folder) {
    struct ratings train;
    struct rating_pairs test;
    uint8_t *marks;
    need(MEM_NEW(&marks, all->n_ratings, &error));
    need(split_fold(ctx, all, REEL_SPLIT_RANDOM, 5, fold, 1, marks, &error));
    need(ratings_subset(ctx, all, marks, 0, &train, &error));
    need(ratings_pairs(ctx, all, marks, &test, &error));
    if (folder) {
        write_pairs(folder, "train.bin", all, marks, 0);
        write_pairs(folder, "test.bin", all, marks, 1);
    }
    mem_free(marks);
    int32_t *ids;
    need(MEM_NEW(&ids, all->n_users > all->n_movies ? all->n_users : all->n_movies, &error));
    for (int32_t i = 0; i < all->n_users || i < all->n_movies; i++) ids[i] = i;
    struct reel_dataset dataset = {.n_users = all->n_users,
                                   .n_movies = all->n_movies,
                                   .user_ids = ids,
                                   .movie_ids = ids,
                                   .fingerprint = "00000000000000000000000000000000"};
    struct fit_input input = {
        .dataset = &dataset, .ratings = &train, .test = &test, .params = params, .seed = 1, .stage = ""};
    struct fit_output output;
    reel_model *model;
    reel_metrics metrics;
    need(model_fit(ctx, algorithm_find("svd"), &input, &model, &output, &error));
    need(model_measure(ctx, model, &test, NULL, NULL, &metrics, &error));
    print_rows(source, &input, &output, &metrics, reel_context_threads(ctx));
    free(output.epochs);
    reel_model_free(model);
    ratings_free(&train);
    rating_pairs_free(&test);
    mem_free(ids);
}

int main(int argc, char **argv) {
    reel_param given[PARAMS_MAX];
    size_t n = 0;
    const char *folder = NULL;
    int fold = 0; /* of five */
    reel_context_options options;
    reel_context_options_default(&options);
    options.device = "cpu";
    for (int i = 2; i < argc; i++) {
        char *equals = strchr(argv[i], '=');
        if (!equals || n == PARAMS_MAX) {
            fprintf(stderr, "bench_sgd: key=value expected (found %s)\n", argv[i]);
            return 2;
        }
        *equals = '\0';
        if (strcmp(argv[i], "threads") == 0)
            options.threads = atoi(equals + 1);
        else if (strcmp(argv[i], "fold") == 0)
            fold = atoi(equals + 1);
        else if (strcmp(argv[i], "write") == 0)
            folder = equals + 1;
        else
            given[n++] = (reel_param){argv[i], equals + 1};
    }
    const struct algorithm *svd = algorithm_find("svd");
    struct param_values params;
    reel_context *ctx;
    need(params_parse(svd->params, svd->n_params, given, n, &params, &error));
    need(reel_context_new(&options, &ctx, &error));
    const char *source = argc > 1 ? argv[1] : "synthetic";
    if (strncmp(source, "synthetic", 9) == 0) {
        double wanted = source[9] == ':' ? atof(source + 10) : 20e6;
        struct ratings all = synthetic((int64_t)wanted);
        fit(ctx, source, &all, &params, fold, folder);
        ratings_free(&all);
    } else {
        reel_dataset *dataset;
        need(reel_dataset_open(ctx, source, &dataset, &error));
        fit(ctx, source, &dataset->ratings, &params, fold, folder);
        reel_dataset_free(dataset);
    }
    reel_context_free(ctx);
    return 0;
}
