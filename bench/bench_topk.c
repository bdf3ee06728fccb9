/* bench_topk [USERS MOVIES K N THREADS]: the top N of many users beside the bare product by OpenBLAS on as many
 * threads, and one user's scores. The product is timed on a tile of users at a time, as anybody would have to do it,
 * without biases, masks or selection. CPU seconds tell on a machine that others use. */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <reel/context.h>
#include "backend/backend_ops.h"
#include "backend/topk_ops.h"
#include "bench/bench.h"
#include "core/context.h"
#include "core/doctor.h"
#include "core/mem.h"
#include "kernels/common/normal.h"

static void *make(int64_t n, size_t size) {
    void *pointer = NULL;
    reel_error err;
    if (mem_zero(&pointer, (size_t)n, size, &err) == REEL_OK) return pointer;
    fprintf(stderr, "bench_topk: %s\n", err.message);
    exit(1);
}

static int64_t n_users = 138493, n_movies = 27278, top_n = 150;
static int k = 100;

/* Rows (n, k) of normal factors whose dot products have the standard deviation of real models' (about 0.4). */
static float *factors_of(int64_t n, uint64_t seed) {
    float *factors = make(n * k + 4, sizeof *factors), scale = sqrtf(0.4f / sqrtf((float)k));
    for (int64_t i = 0; i < n * k; i += 4) philox_normals(seed, 0, (uint64_t)i, factors + i);
    for (int64_t i = 0; i < n * k; i++) factors[i] *= scale;
    return factors;
}

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double seconds_of_product(const float *users, const float *movies, int threads, double *cpu) {
    enum { TILE = 768 };
    float *out = make(TILE * n_movies, sizeof *out);
    openblas_set_num_threads(threads);
    double start = clock_seconds(), cpu_start = cpu_seconds();
    for (int64_t u = 0; u < n_users; u += TILE)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)(n_users - u < TILE ? n_users - u : TILE),
                    (int)n_movies, k, 1, users + u * k, k, movies, k, 0, out, (int)n_movies);
    double seconds = clock_seconds() - start;
    *cpu = fmin(*cpu, cpu_seconds() - cpu_start);
    mem_free(out);
    return seconds;
}

/* Movies in falling order of bias, as the scorer packs them. */
static struct factor_panels pack(const float *movies) {
    int64_t n_panels = (n_movies + TOPK_PANEL - 1) / TOPK_PANEL;
    float *packed = make(n_panels * k * TOPK_PANEL, sizeof *packed), *bias = make(n_panels * TOPK_PANEL, sizeof *bias);
    int32_t *order = make(n_panels * TOPK_PANEL, sizeof *order), *positions = make(n_movies, sizeof *positions);
    for (int64_t m = 0; m < n_movies; m++) {
        order[m] = positions[m] = (int32_t)m;
        bias[m] = 0.5f - (float)m / (float)n_movies; /* biases of real movies spread about that much */
        for (int f = 0; f < k; f++) packed[(m / TOPK_PANEL * k + f) * TOPK_PANEL + m % TOPK_PANEL] = movies[m * k + f];
    }
    return (struct factor_panels){(int32_t)n_movies, k, n_panels, packed, bias, order, positions};
}

static void run(struct backend *backend, int threads) {
    float *users = factors_of(n_users, 1), *movies = factors_of(n_movies, 2);
    struct factor_panels panels = pack(movies);
    int32_t *rows = make(n_users, sizeof *rows), *seen = make(n_users * 144, sizeof *seen);
    int64_t *offsets = make(n_users + 1, sizeof *offsets);
    for (int64_t u = 0; u < n_users; u++) {
        rows[u] = (int32_t)u;
        offsets[u + 1] = offsets[u] + 144; /* ratings a user in MovieLens 20M */
        for (int64_t i = 0; i < 144; i++) seen[offsets[u] + i] = (int32_t)((u * 31 + i * i * 7) % n_movies);
    }
    struct topk_users_args args = {.panels = &panels,
                                   .n_users = n_users,
                                   .rows = rows,
                                   .user_factors = users,
                                   .stride = k,
                                   .user_bias = make(n_users, sizeof(float)),
                                   .seen_rows = rows,
                                   .seen_offsets = offsets,
                                   .seen_movies = seen,
                                   .n = (int)top_n,
                                   .movies = make(n_users * top_n, sizeof(int32_t)),
                                   .scores = make(n_users * top_n, sizeof(float))};
    float *scores = make(n_movies, sizeof *scores);
    double product = INFINITY, topk = INFINITY, one = INFINITY, product_cpu = INFINITY, topk_cpu = INFINITY;
    reel_error err;
    for (int repeat = 0; repeat < 3; repeat++) {
        product = fmin(product, seconds_of_product(users, movies, threads, &product_cpu));
        double start = clock_seconds(), cpu_start = cpu_seconds();
        if (backend->ops->topk_users(backend, &args, &err) != REEL_OK) fprintf(stderr, "%s\n", err.message);
        topk = fmin(topk, clock_seconds() - start);
        topk_cpu = fmin(topk_cpu, cpu_seconds() - cpu_start);
        start = clock_seconds();
        for (int i = 0; i < 200; i++) {
            struct score_movies_args one_args = {.panels = &panels, .factors = users + i * k, .scores = scores};
            if (backend->ops->score_movies(backend, &one_args, &err) != REEL_OK) fprintf(stderr, "%s\n", err.message);
        }
        one = fmin(one, (clock_seconds() - start) / 200);
    }
    double flops = 2.0 * (double)n_users * (double)n_movies * k;
    char shape[96];
    snprintf(shape, sizeof shape, "users=%lld movies=%lld k=%d n=%lld simd=%s", (long long)n_users, (long long)n_movies,
             k, (long long)top_n, simd_level_name(simd_level()));
    bench_row("topk_users", threads, shape, 1e-9 * flops / topk, "OpenBLAS sgemm alone", 1e-9 * flops / product,
              "GFLOP/s");
    bench_row("topk_users CPU time", threads, shape, topk_cpu, "OpenBLAS sgemm alone", product_cpu, "s");
    bench_row("score_movies", 1, shape, 1e6 * one, "", NAN, "us");
}

int main(int argc, char **argv) {
    int threads = 0;
    if (argc > 1) n_users = atoll(argv[1]);
    if (argc > 2) n_movies = atoll(argv[2]);
    if (argc > 3) k = atoi(argv[3]);
    if (argc > 4) top_n = atoll(argv[4]);
    if (argc > 5) threads = atoi(argv[5]);
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    reel_context *ctx;
    struct backend *backend;
    reel_error err;
    if (reel_context_new(&options, &ctx, &err) != REEL_OK || context_backend(ctx, &backend, &err) != REEL_OK) {
        fprintf(stderr, "bench_topk: %s\n", err.message);
        return 1;
    }
    run(backend, reel_context_threads(ctx));
    reel_context_free(ctx);
    return 0;
}
