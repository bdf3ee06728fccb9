/* set_sweep: one sweep against a plain one in double precision, straight from the formulas in backend/gibbs_ops.h; the
 * same bits on every path and at any thread count. */
#include <stdio.h>

#include <reel/context.h>

#include "backend/backend_ops.h"
#include "backend/gibbs_ops.h"
#include "core/context.h"
#include "core/mem.h"
#include "data/random_ratings.h"
#include "kernels/common/normal.h"
#include "test.h"

struct problem {
    struct ratings ratings;
    int k, biases, stride;
    float *column_vectors, *features, *row_sums, *residual;
    float mean[FACTOR_K_MAX + 1], precision[FACTOR_K_MAX + 1];
};

static float *normals(size_t n, uint32_t sub, float scale) {
    float *out = malloc((n + 4) * sizeof *out);
    for (size_t i = 0; i < n; i += 4) philox_normals(4, philox_stream(PHILOX_TEST, sub), i / 4, out + i);
    for (size_t i = 0; i < n; i++) out[i] *= scale;
    return out;
}

/* Every 7th row has no ratings. */
static struct problem problem_new(int32_t n_rows, int32_t n_columns, uint32_t percent, int k, int biases) {
    struct problem p = {.ratings = random_ratings(n_rows, n_columns, percent, 3), .k = k, .biases = biases};
    p.stride = factor_stride(k);
    p.column_vectors = normals((size_t)n_columns * (size_t)p.stride, 1, 0.4f);
    p.features = normals((size_t)n_columns * (size_t)p.stride, 2, 0.2f);
    p.row_sums = normals((size_t)n_rows * (size_t)p.stride, 3, 0.3f);
    p.residual = normals((size_t)p.ratings.n_ratings, 4, 0.9f);
    for (int f = 0; f <= k; f++) {
        p.mean[f] = 0.01f * (float)(f % 7) - 0.03f;
        p.precision[f] = 5 + (float)(f % 3);
    }
    return p;
}

static void problem_free(struct problem *p) {
    ratings_free(&p->ratings);
    free(p->column_vectors), free(p->features), free(p->row_sums), free(p->residual);
}

static struct set_sweep_args args_of(const struct problem *p) {
    const struct ratings *r = &p->ratings;
    return (struct set_sweep_args){.k = p->k,
                                   .stride = p->stride,
                                   .biases = p->biases,
                                   .n_rows = r->n_users,
                                   .n_columns = r->n_movies,
                                   .offsets = r->user_offsets,
                                   .columns = r->user_movies,
                                   .column_offsets = r->movie_offsets,
                                   .column_rows = r->movie_users,
                                   .column_vectors = p->column_vectors,
                                   .features = p->features,
                                   .row_sums = p->row_sums,
                                   .residual = p->residual,
                                   .alpha = 1.3f,
                                   .prior_mean = p->mean,
                                   .prior_precision = p->precision,
                                   .seed = 9,
                                   .stream = philox_stream(PHILOX_GIBBS, 3)};
}

static void sweep(const struct problem *p, int threads, const char *simd) {
    setenv("REEL_SIMD", simd, 1);
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    reel_context *ctx;
    reel_error err;
    struct backend *backend;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    struct set_sweep_args args = args_of(p);
    REQUIRE_OK(backend->ops->set_sweep(backend, &args, &err), err);
    reel_context_free(ctx);
    unsetenv("REEL_SIMD");
}

/* Draws y_cf, everything summed afresh from the residuals. */
static void plain_draw(const struct set_sweep_args *a, int f, int32_t c, double *y, double *sums, double *residual) {
    double own = (double)a->alpha, x, precision = (double)a->prior_precision[f],
           pull = precision * (double)a->prior_mean[f];
    for (int64_t i = a->column_offsets[c]; i < a->column_offsets[c + 1]; i++) {
        int32_t row = a->column_rows[i];
        double n = (double)(a->offsets[row + 1] - a->offsets[row]), squares = 0, products = 0;
        for (int64_t j = a->offsets[row]; j < a->offsets[row + 1]; j++) {
            x = f == a->k ? 1 : (double)a->column_vectors[(int64_t)a->columns[j] * a->stride + f];
            squares += x * x;
            products += residual[j] * x;
        }
        precision += own * squares / n;
        pull += own * (products / sqrt(n) + squares / n * y[(int64_t)c * a->stride + f]);
    }
    float z[4];
    philox_normals(a->seed, a->stream, ((uint64_t)f << 32) | (uint64_t)c / 4, z);
    double drawn = pull / precision + (double)z[c % 4] / sqrt(precision),
           change = drawn - y[(int64_t)c * a->stride + f];
    y[(int64_t)c * a->stride + f] = drawn;
    for (int64_t i = a->column_offsets[c]; i < a->column_offsets[c + 1]; i++) {
        int32_t row = a->column_rows[i];
        double moved = change / sqrt((double)(a->offsets[row + 1] - a->offsets[row]));
        sums[(int64_t)row * a->stride + f] += moved;
        for (int64_t j = a->offsets[row]; j < a->offsets[row + 1]; j++) {
            x = f == a->k ? 1 : (double)a->column_vectors[(int64_t)a->columns[j] * a->stride + f];
            residual[j] -= moved * x;
        }
    }
}

static double *doubles(const float *values, size_t n) {
    double *out = malloc((n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (double)values[i];
    return out;
}

static double worst(const double *expected, const float *found, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(expected[i] - (double)found[i]));
    return most;
}

/* Values are of size 1; sums of some 50 terms and 40 dimensions one after the other lose a few hundred units in the
 * last place of 6e-8. */
static void follows_the_formulas(void) {
    const struct { int k, biases; } rows[] = {{1, 0}, {7, 1}, {8, 1}, {16, 0}, {33, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct problem p = problem_new(40, 30, 40, rows[i].k, rows[i].biases);
        struct set_sweep_args args = args_of(&p);
        size_t n_features = (size_t)args.n_columns * (size_t)p.stride, n_sums = (size_t)args.n_rows * (size_t)p.stride;
        double *y = doubles(p.features, n_features), *sums = doubles(p.row_sums, n_sums);
        double *residual = doubles(p.residual, (size_t)p.ratings.n_ratings);
        for (int f = 0; f < p.k + p.biases; f++)
            for (int32_t c = 0; c < args.n_columns; c++) plain_draw(&args, f, c, y, sums, residual);
        sweep(&p, 2, "generic");
        CHECK(worst(y, p.features, n_features) < 5e-5);
        CHECK(worst(sums, p.row_sums, n_sums) < 5e-5);
        CHECK(worst(residual, p.residual, (size_t)p.ratings.n_ratings) < 2e-4);
        free(y), free(sums), free(residual);
        problem_free(&p);
    }
}

static void same_bits_on_every_path(void) {
    const char *levels[] = {"generic", "avx2", "avx512"};
    const int threads[] = {1, 2, 5};
    const int ks[] = {1, 15, 32};
    for (int i = 0; i < 3; i++) {
        float *expected = NULL;
        for (int l = 0; l < 3; l++)
            for (int t = 0; t < 3; t++) {
                struct problem p = problem_new(150, 90, 50, ks[i], i % 2);
                size_t n = (size_t)p.ratings.n_movies * (size_t)p.stride;
                sweep(&p, threads[t], levels[l]);
                if (expected)
                    CHECK(memcmp(expected, p.features, n * sizeof *expected) == 0);
                else {
                    expected = malloc(n * sizeof *expected);
                    memcpy(expected, p.features, n * sizeof *expected);
                }
                problem_free(&p);
            }
        free(expected);
    }
}

int main(void) {
    RUN(follows_the_formulas);
    RUN(same_bits_on_every_path);
    TEST_EXIT();
}
