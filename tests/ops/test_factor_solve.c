/* factor_solve: the plain loops against a double-precision solution, every vector path and thread count
 * against the plain loops bit for bit, and the sampler's mean and covariance. factor_cg against factor_solve. */
#include <reel/context.h>

#include "backend/backend_ops.h"
#include "backend/factor_ops.h"
#include "core/context.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "ops/prior_root.h"
#include "test.h"

struct problem {
    int k, stride, biases;
    int32_t n_rows, n_columns;
    int64_t *offsets;
    int32_t *columns;
    uint8_t *ratings;
    float *residual, *column_vectors, *row_offsets, *prior, *root, *shift, *out;
};

static void *make(size_t n, size_t size) {
    void *pointer = NULL;
    reel_error err;
    REQUIRE_OK(mem_zero(&pointer, n, size, &err), err);
    return pointer;
}

static void fill_normals(float *out, int64_t n, uint64_t seed, uint32_t sub, float scale) {
    for (int64_t i = 0; i < n; i++) {
        float z[4];
        philox_normals(seed, philox_stream(PHILOX_TEST, sub), (uint64_t)i, z);
        out[i] = scale * z[0];
    }
}

/* Row lengths from `lengths`; columns drawn with repeats, which the operator does not mind. */
static struct problem problem_new(uint64_t seed, int k, int biases, int32_t n_columns, int32_t n_rows,
                                  const int64_t *lengths) {
    struct problem p = {.k = k, .stride = factor_stride(k), .biases = biases, .n_rows = n_rows, .n_columns = n_columns};
    p.offsets = make((size_t)n_rows + 1, sizeof *p.offsets);
    for (int32_t r = 0; r < n_rows; r++) p.offsets[r + 1] = p.offsets[r] + lengths[r];
    int64_t n = p.offsets[n_rows], stride = p.stride;
    p.columns = make((size_t)n, sizeof *p.columns);
    p.ratings = make((size_t)n, sizeof *p.ratings);
    p.residual = make((size_t)n, sizeof(float));
    p.column_vectors = make((size_t)(n_columns * stride), sizeof(float));
    p.row_offsets = make((size_t)(n_rows * stride), sizeof(float));
    p.prior = make((size_t)((k + 1) * stride), sizeof(float));
    p.shift = make((size_t)k + 1, sizeof(float));
    p.out = make((size_t)(n_rows * stride), sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        struct philox4 w = philox_block(seed, philox_stream(PHILOX_TEST, 0), (uint64_t)i);
        p.columns[i] = (int32_t)(w.v[0] % (uint32_t)n_columns);
        p.ratings[i] = (uint8_t)(1 + w.v[1] % 10);
        p.residual[i] = (float)(philox_uniform(w.v[2]) - 0.5);
    }
    for (int c = 0; c < n_columns; c++)
        fill_normals(p.column_vectors + c * stride, k + 1, seed, (uint32_t)(1 + c), 0.3f);
    for (int32_t r = 0; r < n_rows; r++)
        fill_normals(p.row_offsets + r * stride, k + biases, seed, (uint32_t)(1000 + r), 0.1f);
    for (int i = 0; i <= k; i++) {
        for (int j = 0; j <= k; j++) p.prior[i * stride + j] = i == j ? 3 : 0.1f / (1 + (float)abs(i - j));
        p.shift[i] = 0.05f * (float)(i % 5);
    }
    p.root = make((size_t)((k + 1) * stride), sizeof(float));
    prior_root(p.prior, k + biases, p.stride, p.root);
    return p;
}

static void problem_free(struct problem *p) {
    void *all[] = {p->offsets,     p->columns, p->ratings, p->residual, p->column_vectors,
                   p->row_offsets, p->prior,   p->root,    p->shift,    p->out};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
}

static struct factor_solve_args problem_args(const struct problem *p) {
    struct factor_solve_args args = {.k = p->k,
                                     .stride = p->stride,
                                     .biases = p->biases,
                                     .n_rows = p->n_rows,
                                     .n_columns = p->n_columns,
                                     .offsets = p->offsets,
                                     .columns = p->columns,
                                     .ratings = p->ratings,
                                     .residual = p->residual,
                                     .column_vectors = p->column_vectors,
                                     .row_offsets = p->row_offsets,
                                     .alpha = 1.7f,
                                     .ridge_per_rating = 0.01f,
                                     .prior_precision = p->prior,
                                     .prior_shift = p->shift,
                                     .row_vectors = p->out};
    for (int v = 0; v < FACTOR_VALUES; v++) {
        args.value[v] = 0.5f * (float)v - 3;
        args.weight[v] = 1 + 0.1f * (float)(v % 3);
    }
    return args;
}

/* The same with noise. */
static struct factor_solve_args noisy_args(const struct problem *p) {
    struct factor_solve_args args = problem_args(p);
    args.noise = 1;
    args.ridge_per_rating = 0;
    args.prior_root = p->root;
    args.seed = 5;
    args.stream = philox_stream(PHILOX_GIBBS, 1);
    return args;
}

static reel_context *open_cpu(int threads, struct backend **backend) {
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    reel_context *ctx;
    reel_error err;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    REQUIRE_OK(context_backend(ctx, backend, &err), err);
    return ctx;
}

/* Runs on `threads` threads at SIMD level `simd`. */
static void solve(const struct factor_solve_args *args, int threads, const char *simd) {
    setenv("REEL_SIMD", simd, 1);
    struct backend *backend;
    reel_context *ctx = open_cpu(threads, &backend);
    reel_error err;
    REQUIRE_OK(backend->ops->factor_solve(backend, args, &err), err);
    reel_context_free(ctx);
    unsetenv("REEL_SIMD");
}

/* Plain Gaussian elimination in double. a (n, n), b (n,) is replaced by the solution. */
static void solve_double(double *a, double *b, int n) {
    for (int i = 0; i < n; i++)
        for (int r = i + 1; r < n; r++) {
            double factor = a[r * n + i] / a[i * n + i];
            for (int c = i; c < n; c++) a[r * n + c] -= factor * a[i * n + c];
            b[r] -= factor * b[i];
        }
    for (int i = n - 1; i >= 0; i--) {
        for (int c = i + 1; c < n; c++) b[i] -= a[i * n + c] * b[c];
        b[i] /= a[i * n + i];
    }
}

/* Normal equations of row r in double: a (d, d), b (d,). */
static void normal_equations(const struct problem *p, const struct factor_solve_args *args, int32_t r, double *a,
                             double *b) {
    int d = p->k + p->biases;
    const float *offset = p->row_offsets + r * p->stride;
    double x[FACTOR_K_MAX + 1], ridge = (double)args->ridge_per_rating * (double)(p->offsets[r + 1] - p->offsets[r]);
    for (int i = 0; i < d; i++) {
        b[i] = (double)p->shift[i];
        for (int j = 0; j < d; j++) a[i * d + j] = (double)p->prior[i * p->stride + j] + (i == j ? ridge : 0);
    }
    for (int64_t n = p->offsets[r]; n < p->offsets[r + 1]; n++) {
        const float *column = p->column_vectors + p->columns[n] * p->stride;
        double w = (double)args->weight[p->ratings[n]] * (double)args->weight[p->ratings[n]] * (double)args->alpha;
        double target = (double)args->value[p->ratings[n]] - (double)column[p->k] - (double)p->residual[n];
        for (int i = 0; i < d; i++) {
            x[i] = i == p->k ? 1 : (double)column[i];
            if (args->row_offsets) target -= x[i] * (double)offset[i];
        }
        for (int i = 0; i < d; i++) {
            b[i] += w * target * x[i];
            for (int j = 0; j < d; j++) a[i * d + j] += w * x[i] * x[j];
        }
    }
}

static const int64_t mixed_lengths[] = {0, 1, 2, 63, 64, 65, 1000, FACTOR_CHUNK, FACTOR_CHUNK + 1, 3 * FACTOR_CHUNK + 7,
                                        5};
enum { N_MIXED = (int)(sizeof mixed_lengths / sizeof mixed_lengths[0]) };

/* Single precision: sums of up to 25,000 terms whose rounding errors have random signs lose some
 * sqrt(25,000) * 2^-24 = 1e-5 of their size, times a condition number below 10 here. */
static void matches_double_precision(void) {
    const int ks[] = {1, 7, 32, 100};
    double a[101 * 101], b[101];
    for (size_t i = 0; i < (UNDER_TSAN ? 2 : 4); i++) /* one thread: no races */
        for (int biases = 0; biases <= 1; biases++) {
            struct problem p = problem_new(i, ks[i], biases, 50, N_MIXED, mixed_lengths);
            struct factor_solve_args args = problem_args(&p);
            solve(&args, 1, "generic");
            double worst = 0;
            for (int32_t r = 0; r < p.n_rows; r++) {
                int d = p.k + biases;
                normal_equations(&p, &args, r, a, b);
                solve_double(a, b, d);
                double largest = 1e-6;
                for (int f = 0; f < d; f++) largest = fmax(largest, fabs(b[f]));
                for (int f = 0; f < d; f++) worst = fmax(worst, fabs(b[f] - (double)p.out[r * p.stride + f]) / largest);
            }
            if (!(worst < 2e-4)) fprintf(stderr, "k=%d biases=%d: worst %g\n", ks[i], biases, worst);
            CHECK(worst < 2e-4);
            problem_free(&p);
        }
}

/* Every vector width and thread count against the plain loops. `mode`: noise, row offsets and weights by bits. */
static void compare_paths(int k, int biases, int mode, int32_t n_rows, const int64_t *lengths) {
    const char *levels[] = {"generic", "avx2", "avx512"};
    const int threads[] = {1, 2, 3, 8};
    struct problem p = problem_new(100 + (uint64_t)k + (uint64_t)mode, k, biases, 40, n_rows, lengths);
    struct factor_solve_args args = mode & 1 ? noisy_args(&p) : problem_args(&p);
    if (!(mode & 2)) args.row_offsets = NULL;
    for (int v = 0; !(mode & 4) && v < FACTOR_VALUES; v++) args.weight[v] = 1;
    size_t bytes = (size_t)p.n_rows * (size_t)p.stride * sizeof(float);
    memset(p.out, 0, bytes);
    solve(&args, 1, "generic");
    float *expected = make(bytes, 1);
    memcpy(expected, p.out, bytes);
    for (int l = 0; l < 3; l++)
        for (int t = l > 0 && UNDER_TSAN; t < (l == 0 ? 1 : 4); t++) {
            memset(p.out, 0, bytes);
            solve(&args, threads[t], levels[l]);
            int same = memcmp(expected, p.out, bytes) == 0;
            if (!same) fprintf(stderr, "k=%d mode=%d rows=%d %s threads=%d\n", k, mode, n_rows, levels[l], threads[t]);
            CHECK(same);
        }
    mem_free(expected);
    problem_free(&p);
}

/* Races do not depend on k: every fourth will do, and long rows of the small ones. */
enum { K_STEP = UNDER_TSAN ? 4 : 1, K_LONG = UNDER_SANITIZER ? 16 : 100 };

static void same_bits_on_every_path(void) {
    const int ks[] = {1, 7, 14, 15, 16, 32, 33, 64, 100, 128, 256};
    for (int i = 0; i < (int)(sizeof ks / sizeof ks[0]); i += K_STEP)
        compare_paths(ks[i], i % 2, 7, ks[i] > K_LONG ? 8 : N_MIXED, mixed_lengths);
}

/* Both sides of the longest short row, summed in lanes and, from 172 unknowns on, by themselves. */
static void same_bits_around_the_longest_short_row(void) {
    const int ks[] = {1, 2, 3, 16, 33, 64, 129, 170, 172, 256};
    for (int i = 0; i < (int)(sizeof ks / sizeof ks[0]); i += K_STEP)
        for (int mode = 1; mode < 8; mode += UNDER_SANITIZER ? 6 : 2) {
            const int most = factor_short_row(ks[i] + i % 2);
            const int64_t lengths[] = {most + 2, most + 1, most, most > 0 ? most - 1 : 0, most / 2, 1, 0};
            compare_paths(ks[i], i % 2, mode, 7, lengths);
        }
}

/* Rows that are solved side by side, with and without idle lanes, summed in lanes or each on its own. */
static void same_bits_in_batches(void) {
    const int ks[] = {1, 2, 3, 13, 14, 15, 16, 17, 30, 31, 32, 33, 47, 48, 64};
    const int32_t sizes[] = {1, 7, 8, 9, 15, 16, 17, 100};
    int64_t lengths[100];
    for (int i = 0; i < (int)(sizeof ks / sizeof ks[0]); i += K_STEP)
        for (int s = 0; s < (int)(sizeof sizes / sizeof sizes[0]); s++) {
            for (int r = 0; r < sizes[s]; r++)
                lengths[r] =
                    philox_block(6, philox_stream(PHILOX_TEST, (uint32_t)s), (uint64_t)r).v[0] % (r % 5 ? 40 : 300);
            compare_paths(ks[i], (i + s) % 2, (i + s) % 8, sizes[s], lengths);
        }
}

/* Rows solved in parts, as several devices do: the bits of all at once. */
static void parts_of_the_rows_are_rows(void) {
    const int32_t cuts[] = {0, 1, 6, 6, 9, N_MIXED};
    struct problem p = problem_new(17, 20, 1, 40, N_MIXED, mixed_lengths);
    struct factor_solve_args args = noisy_args(&p), part = args;
    size_t bytes = (size_t)p.n_rows * (size_t)p.stride * sizeof(float);
    solve(&args, 2, "avx512");
    float *expected = make(bytes, 1);
    memcpy(expected, p.out, bytes);
    memset(p.out, 0, bytes);
    for (int i = 0; i + 1 < (int)(sizeof cuts / sizeof cuts[0]); i++) {
        const int64_t at = (int64_t)cuts[i] * p.stride;
        part.first_row = cuts[i];
        part.n_rows = cuts[i + 1] - cuts[i];
        part.offsets = args.offsets + cuts[i];
        part.row_offsets = args.row_offsets + at;
        part.row_vectors = args.row_vectors + at;
        solve(&part, 2, "avx512");
    }
    CHECK(memcmp(expected, p.out, bytes) == 0);
    mem_free(expected);
    problem_free(&p);
}

/* Draws have mean A^-1 b and covariance A^-1: with 20,000 equal rows the standard error of a normalised second
 * moment is 1/sqrt(20,000) = 0.007 times a factor of a few. */
static void check_moments(int n_ratings, int fixed) {
    enum { ROWS = 20000, K = 3, D = K + 1 };
    int64_t *lengths = make(ROWS, sizeof *lengths);
    for (int r = 0; r < ROWS; r++) lengths[r] = n_ratings;
    struct problem p = problem_new(9, K, 1, 10, ROWS, lengths);
    for (int64_t i = n_ratings; i < (int64_t)n_ratings * ROWS; i++) {
        p.columns[i] = p.columns[i % n_ratings];
        p.ratings[i] = p.ratings[i % n_ratings];
        p.residual[i] = p.residual[i % n_ratings];
    }
    for (int r = 1; r < ROWS; r++)
        memcpy(p.row_offsets + r * p.stride, p.row_offsets, (size_t)p.stride * sizeof(float));
    struct factor_solve_args args = noisy_args(&p);
    if (!fixed) args.row_offsets = NULL;
    args.seed = 11;
    solve(&args, 2, "avx512");
    double a[D * D], mean[D], covariance[D][D] = {{0}}, average[D] = {0}, copy[D * D];
    normal_equations(&p, &args, 0, a, mean);
    memcpy(copy, a, sizeof a);
    solve_double(copy, mean, D);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < D; i++) {
            const float *x = p.out + r * p.stride;
            average[i] += (double)x[i] / ROWS;
            for (int j = 0; j < D; j++) covariance[i][j] += ((double)x[i] - mean[i]) * ((double)x[j] - mean[j]) / ROWS;
        }
    for (int i = 0; i < D; i++) {
        CHECK_NEAR(average[i], mean[i], 0.02);
        for (int j = 0; j < D; j++) {
            double product = 0;
            for (int f = 0; f < D; f++) product += a[i * D + f] * covariance[f][j];
            CHECK_NEAR(product, i == j ? 1 : 0, 0.06);
        }
    }
    mem_free(lengths);
    problem_free(&p);
}

/* Short rows, whose noise is on the right side, and others. */
static void samples_have_the_posterior_moments(void) {
    const int short_row = factor_short_row(4);
    check_moments(0, 0);
    check_moments(short_row, 0);
    check_moments(short_row, 1);
    check_moments(short_row + 1, 0);
    check_moments(2 * short_row, 1);
}

static void noise_needs_a_root(void) {
    struct problem p = problem_new(3, 4, 1, 10, N_MIXED, mixed_lengths);
    struct factor_solve_args args = noisy_args(&p);
    struct backend *backend;
    reel_context *ctx = open_cpu(1, &backend);
    reel_error err;
    args.prior_root = NULL;
    CHECK_INT(backend->ops->factor_solve(backend, &args, &err), REEL_INTERNAL);
    args.prior_root = p.root;
    args.ridge_per_rating = 1;
    CHECK_INT(backend->ops->factor_solve(backend, &args, &err), REEL_INTERNAL);
    reel_context_free(ctx);
    problem_free(&p);
}

static void indefinite_is_an_error(void) {
    struct problem p = problem_new(3, 4, 1, 10, N_MIXED, mixed_lengths);
    memset(p.prior, 0, (size_t)(p.k + 1) * (size_t)p.stride * sizeof(float));
    struct factor_solve_args args = problem_args(&p);
    args.ridge_per_rating = 0;
    struct backend *backend;
    reel_context *ctx = open_cpu(2, &backend);
    reel_error err;
    CHECK_INT(backend->ops->factor_solve(backend, &args, &err), REEL_NUMERIC);
    CHECK(strncmp(err.message, "row 0: ", 7) == 0); /* the first of several that fail */
    int64_t no_offsets[1] = {0};
    args.n_rows = 0;
    args.offsets = no_offsets;
    CHECK_INT(backend->ops->factor_solve(backend, &args, &err), REEL_OK);
    reel_context_free(ctx);
    problem_free(&p);
}

/* ---- factor_cg ---- */

static reel_status solve_cg(const struct factor_solve_args *args, int threads, const char *simd, reel_error *err) {
    setenv("REEL_SIMD", simd, 1);
    struct backend *backend;
    reel_context *ctx = open_cpu(threads, &backend);
    reel_status status = backend->ops->factor_cg(backend, args, err);
    reel_context_free(ctx);
    unsetenv("REEL_SIMD");
    return status;
}

static double largest_difference(const struct problem *p, const float *a, const float *b) {
    double worst = 0;
    for (int64_t i = 0; i < (int64_t)p->n_rows * p->stride; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

/* d steps solve d equations, but for rounding; each step comes closer, and a start near the solution helps. */
static void conjugate_gradients_end_at_the_solution(void) {
    const int ks[] = {1, 7, 33};
    reel_error err;
    for (size_t i = 0; i < (UNDER_TSAN ? 2 : 3); i++)
        for (int biases = 0; biases <= 1; biases++) {
            struct problem p = problem_new(i, ks[i], biases, 50, N_MIXED, mixed_lengths);
            struct factor_solve_args args = problem_args(&p);
            args.row_offsets = NULL;
            size_t bytes = (size_t)p.n_rows * (size_t)p.stride * sizeof(float);
            solve(&args, 1, "generic");
            float *exact = make(bytes, 1);
            memcpy(exact, p.out, bytes);
            double last = INFINITY;
            for (int steps = 1; steps <= 64; steps *= 4) {
                memset(p.out, 0, bytes);
                args.cg_steps = steps;
                REQUIRE_OK(solve_cg(&args, 2, "generic", &err), err);
                double off = largest_difference(&p, p.out, exact);
                CHECK(off <= last + 1e-5);
                last = off;
            }
            CHECK(last < 1e-4);
            args.cg_steps = 1; /* from the solution: stays there */
            REQUIRE_OK(solve_cg(&args, 1, "generic", &err), err);
            CHECK(largest_difference(&p, p.out, exact) < 1e-4);
            mem_free(exact);
            problem_free(&p);
        }
}

static void conjugate_gradients_have_the_same_bits(void) {
    const char *levels[] = {"generic", "avx2", "avx512"};
    const int ks[] = {1, 15, 64, 256}, threads[] = {1, 2, 5};
    reel_error err;
    for (size_t i = 0; i < (UNDER_TSAN ? 3 : 4); i++) {
        struct problem p = problem_new(7 + i, ks[i], (int)(i % 2), 40, N_MIXED, mixed_lengths);
        struct factor_solve_args args = problem_args(&p);
        args.row_offsets = NULL;
        args.cg_steps = 3;
        size_t bytes = (size_t)p.n_rows * (size_t)p.stride * sizeof(float);
        float *expected = make(bytes, 1);
        REQUIRE_OK(solve_cg(&args, 1, "generic", &err), err);
        memcpy(expected, p.out, bytes);
        for (int l = 0; l < 3; l++)
            for (int t = UNDER_TSAN; t < 3; t++) {
                memset(p.out, 0, bytes);
                REQUIRE_OK(solve_cg(&args, threads[t], levels[l], &err), err);
                CHECK(memcmp(expected, p.out, bytes) == 0);
            }
        mem_free(expected);
        problem_free(&p);
    }
}

static void conjugate_gradients_refuse(void) {
    struct problem p = problem_new(3, 4, 1, 10, N_MIXED, mixed_lengths);
    reel_error err;
    struct factor_solve_args args = problem_args(&p);
    args.cg_steps = 2;
    CHECK_INT(solve_cg(&args, 1, "generic", &err), REEL_INTERNAL); /* row offsets */
    args.row_offsets = NULL;
    args.cg_steps = 0;
    CHECK_INT(solve_cg(&args, 1, "generic", &err), REEL_INTERNAL);
    args.cg_steps = 2;
    for (int f = 0; f <= p.k; f++) p.prior[f * p.stride + f] = -1000000;
    CHECK_INT(solve_cg(&args, 1, "generic", &err), REEL_NUMERIC);
    problem_free(&p);
}

int main(void) {
    RUN(matches_double_precision);
    RUN(same_bits_on_every_path);
    RUN(same_bits_around_the_longest_short_row);
    RUN(same_bits_in_batches);
    RUN(parts_of_the_rows_are_rows);
    RUN(samples_have_the_posterior_moments);
    RUN(noise_needs_a_root);
    RUN(indefinite_is_an_error);
    RUN(conjugate_gradients_end_at_the_solution);
    RUN(conjugate_gradients_have_the_same_bits);
    RUN(conjugate_gradients_refuse);
    TEST_EXIT();
}
