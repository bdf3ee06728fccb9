/* bench_factor_solve [USERS MOVIES RATINGS THREADS K...]: seconds of one factor_solve half-step by users and by
 * movies on synthetic ratings with MovieLens-like skew; rows as in bench.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/context.h>
#include "backend/backend_ops.h"
#include "backend/factor_ops.h"
#include "bench/bench.h"
#include "core/context.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/common/normal.h"

struct side {
    int32_t n;
    int64_t *offsets;
    int32_t *columns;
    uint8_t *ratings;
    float *vectors;
};

static void *make(size_t n, size_t size) {
    void *pointer = NULL;
    reel_error err;
    if (mem_zero(&pointer, n, size, &err) == REEL_OK) return pointer;
    fprintf(stderr, "bench_factor_solve: %s\n", err.message);
    exit(1);
}

/* Weights like rank^-exponent, drawn by inverting the cumulative sum. */
static int32_t draw(const double *cumulative, int32_t n, double uniform) {
    double target = uniform * cumulative[n - 1];
    int32_t low = 0, high = n - 1;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (cumulative[middle] < target)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static double *skewed(int32_t n, double shift, double exponent) {
    double *cumulative = make((size_t)n, sizeof *cumulative), sum = 0;
    for (int32_t i = 0; i < n; i++) cumulative[i] = sum += pow((double)i + shift, -exponent);
    return cumulative;
}

static void bucket(struct side *side, int32_t n, int64_t n_ratings, const int32_t *rows, const int32_t *columns) {
    side->n = n;
    side->offsets = make((size_t)n + 2, sizeof *side->offsets);
    side->columns = make((size_t)n_ratings, sizeof *side->columns);
    side->ratings = make((size_t)n_ratings, 1);
    for (int64_t i = 0; i < n_ratings; i++) side->offsets[rows[i] + 2]++;
    for (int32_t r = 0; r < n; r++) side->offsets[r + 2] += side->offsets[r + 1];
    for (int64_t i = 0; i < n_ratings; i++) {
        int64_t at = side->offsets[rows[i] + 1]++;
        side->columns[at] = columns[i];
        side->ratings[at] = (uint8_t)(1 + (rows[i] + columns[i]) % 10);
    }
}

static void run(struct backend *backend, const struct side *rows, const struct side *columns, int k, const char *by) {
    int stride = factor_stride(k);
    float *prior = make((size_t)(k + 1) * (size_t)stride, sizeof(float)), *shift = make((size_t)k + 1, sizeof(float));
    float *root = make((size_t)(k + 1) * (size_t)stride, sizeof(float));
    for (int f = 0; f <= k; f++) prior[f * stride + f] = 4, root[f * stride + f] = 2;
    struct factor_solve_args args = {.k = k,
                                     .stride = stride,
                                     .biases = 1,
                                     .n_rows = rows->n,
                                     .n_columns = columns->n,
                                     .offsets = rows->offsets,
                                     .columns = rows->columns,
                                     .ratings = rows->ratings,
                                     .column_vectors = columns->vectors,
                                     .alpha = 1.5f,
                                     .prior_precision = prior,
                                     .prior_root = root,
                                     .prior_shift = shift,
                                     .noise = 1,
                                     .seed = 1,
                                     .stream = philox_stream(PHILOX_GIBBS, 0),
                                     .row_vectors = rows->vectors};
    for (int v = 0; v < FACTOR_VALUES; v++) args.value[v] = 0.5f * (float)v - 3.5f, args.weight[v] = 1;
    double best = 1e30;
    for (int repeat = 0; repeat < 3; repeat++) {
        reel_error err;
        double start = clock_seconds();
        if (backend->ops->factor_solve(backend, &args, &err) != REEL_OK) fprintf(stderr, "%s\n", err.message);
        double seconds = clock_seconds() - start;
        if (seconds < best) best = seconds;
    }
    double flops = (double)rows->offsets[rows->n] * (k + 2) * (k + 3) + (double)rows->n * pow(k + 2, 3) / 3;
    char parameters[128];
    snprintf(parameters, sizeof parameters, "k=%d by=%s rows=%d ratings=%lld", k, by, rows->n,
             (long long)rows->offsets[rows->n]);
    bench_row("factor_solve", thread_pool_size(backend->pool), parameters, best, "", NAN, "s");
    bench_row("factor_solve rate", thread_pool_size(backend->pool), parameters, 1e-9 * flops / best, "", NAN,
              "GFLOP/s");
    mem_free(prior), mem_free(root), mem_free(shift);
}

int main(int argc, char **argv) {
    int32_t n_users = argc > 1 ? atoi(argv[1]) : 138493, n_movies = argc > 2 ? atoi(argv[2]) : 26744;
    int64_t n_ratings = argc > 3 ? atoll(argv[3]) : 20000263;
    reel_context *ctx;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = argc > 4 ? atoi(argv[4]) : 0;
    options.device = "cpu";
    struct backend *backend;
    reel_error err;
    if (reel_context_new(&options, &ctx, &err) != REEL_OK || context_backend(ctx, &backend, &err) != REEL_OK) {
        fprintf(stderr, "bench_factor_solve: %s\n", err.message);
        return 1;
    }
    double *by_user = skewed(n_users, 300, 0.75), *by_movie = skewed(n_movies, 100, 1.1);
    int32_t *users = make((size_t)n_ratings, sizeof *users), *movies = make((size_t)n_ratings, sizeof *movies);
    for (int64_t i = 0; i < n_ratings; i++) {
        struct philox4 w = philox_block(1, philox_stream(PHILOX_TEST, 0), (uint64_t)i);
        users[i] = (int32_t)(((int64_t)draw(by_user, n_users, philox_uniform(w.v[0])) * 48271) % n_users);
        movies[i] = (int32_t)(((int64_t)draw(by_movie, n_movies, philox_uniform(w.v[1])) * 7919) % n_movies);
    }
    struct side user_side, movie_side;
    bucket(&user_side, n_users, n_ratings, users, movies);
    bucket(&movie_side, n_movies, n_ratings, movies, users);
    static const int default_ks[] = {32, 64, 128};
    for (int i = 0; i < (argc > 5 ? argc - 5 : 3); i++) {
        int k = argc > 5 ? atoi(argv[5 + i]) : default_ks[i], stride = factor_stride(k);
        user_side.vectors = make((size_t)n_users * (size_t)stride, sizeof(float));
        movie_side.vectors = make((size_t)n_movies * (size_t)stride, sizeof(float));
        for (int32_t m = 0; m < n_movies; m++)
            for (int f = 0; f < k; f += 4)
                philox_normals(2, 0, (uint64_t)m * 128 + (uint64_t)f, movie_side.vectors + (int64_t)m * stride + f);
        run(backend, &user_side, &movie_side, k, "users");
        run(backend, &movie_side, &user_side, k, "movies");
        mem_free(user_side.vectors), mem_free(movie_side.vectors);
    }
    reel_context_free(ctx);
    return 0;
}
