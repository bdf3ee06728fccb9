/* residuals and moments: against the formulas in double precision, and the same bits on every path and thread count. */
#include <reel/context.h>

#include "backend/backend_ops.h"
#include "backend/gibbs_ops.h"
#include "core/context.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "test.h"

enum { ROWS = 200, COLUMNS = 90 };

static void *make(size_t n, size_t size) {
    void *pointer = NULL;
    reel_error err;
    REQUIRE_OK(mem_zero(&pointer, n, size, &err), err);
    return pointer;
}

/* n vectors of `used` normals each, zeros up to `stride`. */
static float *vectors_new(int n, int used, int stride, uint32_t sub) {
    float *out = make((size_t)n * (size_t)stride, sizeof *out);
    for (int i = 0; i < n * stride; i++) {
        float four[4];
        philox_normals(8, philox_stream(PHILOX_TEST, sub), (uint64_t)i, four);
        out[i] = i % stride < used ? 0.4f * four[0] : 0;
    }
    return out;
}

struct ratings_by_row {
    int64_t offsets[ROWS + 1];
    int32_t *columns;
    uint8_t *ratings;
    float *effects;
};

/* Rows of 0 to 49 ratings: whole groups, rests and none. */
static struct ratings_by_row ratings_new(void) {
    struct ratings_by_row r = {.columns = NULL};
    for (int row = 0; row < ROWS; row++) r.offsets[row + 1] = r.offsets[row] + row % 50;
    const size_t n = (size_t)r.offsets[ROWS];
    r.columns = make(n, sizeof *r.columns);
    r.ratings = make(n, 1);
    r.effects = make(n, sizeof *r.effects);
    for (size_t i = 0; i < n; i++) {
        const struct philox4 words = philox_block(8, philox_stream(PHILOX_TEST, 0), i);
        r.columns[i] = (int32_t)(words.v[0] % COLUMNS);
        r.ratings[i] = (uint8_t)(1 + words.v[1] % 10);
        r.effects[i] = (float)(philox_uniform(words.v[2]) - 0.5);
    }
    return r;
}

static struct backend *open_cpu(int threads, const char *simd, reel_context **ctx) {
    setenv("REEL_SIMD", simd, 1);
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    struct backend *backend;
    reel_error err;
    REQUIRE_OK(reel_context_new(&options, ctx, &err), err);
    REQUIRE_OK(context_backend(*ctx, &backend, &err), err);
    return backend;
}

static const char *const levels[] = {"generic", "avx2", "avx512"};
static const int thread_counts[] = {1, 2, 5};

/* A residual is a sum of k products and four more terms of at most 6: each rounds by 2^-24 of a partial sum below 16.
 */
static void check_residuals(const struct residuals_args *args, double sum_squares) {
    double sum = 0;
    for (int row = 0; row < ROWS; row++)
        for (int64_t i = args->offsets[row]; i < args->offsets[row + 1]; i++) {
            const float *u = args->row_vectors + row * args->stride;
            const float *c = args->column_vectors + args->columns[i] * args->stride;
            double error = (double)args->value[args->ratings[i]] - (double)u[args->k] - (double)c[args->k];
            for (int f = 0; f < args->k; f++) error -= (double)u[f] * (double)c[f];
            if (args->effects) error -= (double)args->effects[i];
            if (args->out) CHECK_NEAR((double)args->out[i], error, (args->k + 4) * 16 * 6e-8);
            sum += error * error;
        }
    CHECK_NEAR(sum_squares / sum, 1, 1e-5);
}

static void residuals_of(int k, int mode) {
    const int stride = factor_stride(k);
    struct ratings_by_row r = ratings_new();
    const size_t bytes = (size_t)r.offsets[ROWS] * sizeof(float);
    float *rows = vectors_new(ROWS, k + 1, stride, 1), *columns = vectors_new(COLUMNS, k + 1, stride, 2);
    float *out = make(bytes, 1), *first = make(bytes, 1);
    double sum_squares, first_sum = 0;
    struct residuals_args args = {.k = k,
                                  .stride = stride,
                                  .n_rows = ROWS,
                                  .offsets = r.offsets,
                                  .columns = r.columns,
                                  .ratings = r.ratings,
                                  .effects = mode & 1 ? r.effects : NULL,
                                  .row_vectors = rows,
                                  .column_vectors = columns,
                                  .out = mode & 2 ? out : NULL,
                                  .sum_squares = &sum_squares};
    for (int v = 0; v < FACTOR_VALUES; v++) args.value[v] = 0.5f * (float)v - 3;
    for (int run = 0; run < 9; run++) {
        reel_context *ctx;
        reel_error err;
        struct backend *backend = open_cpu(thread_counts[run % 3], levels[run / 3], &ctx);
        memset(out, 0, bytes);
        REQUIRE_OK(backend->ops->residuals(backend, &args, &err), err);
        if (run == 0) check_residuals(&args, sum_squares);
        if (run == 0) memcpy(first, out, bytes), first_sum = sum_squares;
        CHECK(memcmp(first, out, bytes) == 0 && memcmp(&first_sum, &sum_squares, sizeof first_sum) == 0);
        reel_context_free(ctx);
    }
    void *all[] = {rows, columns, out, first, r.columns, r.ratings, r.effects};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
}

static void residuals_follow_the_formula(void) {
    const int ks[] = {1, 14, 15, 32, 100};
    for (int i = 0; i < 5; i++)
        for (int mode = 0; mode < 4; mode++) residuals_of(ks[i], mode);
}

/* Sums of 256 vectors in single precision, relative to sums of their sizes: 256 * 2^-24. */
static void moments_of(int d, int n) {
    const int stride = factor_stride(d);
    const size_t size = (size_t)d * ((size_t)d + 1);
    float *vectors = vectors_new(n, d, stride, 3);
    double *found = make(3 * size, sizeof *found), *first = found + size, *sizes = found + 2 * size;
    for (int run = 0; run < 9; run++) {
        reel_context *ctx;
        reel_error err;
        struct backend *backend = open_cpu(thread_counts[run % 3], levels[run / 3], &ctx);
        struct moments_args args = {
            .d = d, .stride = stride, .n = n, .vectors = vectors, .sum = found, .scatter = found + d};
        REQUIRE_OK(backend->ops->moments(backend, &args, &err), err);
        if (run == 0) memcpy(first, found, size * sizeof *found);
        CHECK(memcmp(first, found, size * sizeof *found) == 0);
        reel_context_free(ctx);
    }
    for (int i = 0; i < n; i++)
        for (int f = 0; f < d; f++) {
            const double x = (double)vectors[i * stride + f];
            found[f] -= x;
            sizes[f] += fabs(x);
            for (int g = 0; g < d; g++) {
                found[d + f * d + g] -= x * (double)vectors[i * stride + g];
                sizes[d + f * d + g] += fabs(x * (double)vectors[i * stride + g]);
            }
        }
    for (size_t i = 0; i < size; i++) CHECK_NEAR(found[i], 0, (i < (size_t)d ? 1e-12 : 256 * 6e-8) * sizes[i]);
    mem_free(found);
    mem_free(vectors);
}

static void moments_follow_the_formula(void) {
    const int ds[] = {1, 16, 33, 101}, sizes[] = {0, 1, 255, 256, 257, 1000};
    for (int i = 0; i < 4; i++)
        for (int s = 0; s < 6; s++) moments_of(ds[i], sizes[s]);
    moments_of(3, 64 * 256 + 300); /* a second batch of sums */
}

int main(void) {
    RUN(residuals_follow_the_formula);
    RUN(moments_follow_the_formula);
    TEST_EXIT();
}
