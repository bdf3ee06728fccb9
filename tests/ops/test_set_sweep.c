/* set_sweep: one sweep against a plain one in double precision, straight from the formulas in backend/gibbs_ops.h; the
 * same bits on every path and at any thread count; many sweeps against the posterior of all features together. */
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

struct machine {
    reel_context *ctx;
    struct backend *backend;
};

static struct machine machine_new(int threads, const char *simd) {
    struct machine machine;
    reel_context_options options;
    reel_error err;
    setenv("REEL_SIMD", simd, 1);
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    REQUIRE_OK(reel_context_new(&options, &machine.ctx, &err), err);
    REQUIRE_OK(context_backend(machine.ctx, &machine.backend, &err), err);
    return machine;
}

static void machine_free(struct machine *machine) {
    reel_context_free(machine->ctx);
    unsetenv("REEL_SIMD");
}

static void sweep(const struct problem *p, int threads, const char *simd) {
    struct machine machine = machine_new(threads, simd);
    struct set_sweep_args args = args_of(p);
    reel_error err;
    REQUIRE_OK(machine.backend->ops->set_sweep(machine.backend, &args, &err), err);
    machine_free(&machine);
}

enum { B = SET_SWEEP_BLOCK };

/* Coefficients of the block at `first` of column c. */
static void coefficients(const struct set_sweep_args *a, int first, int width, int32_t c, double *x) {
    for (int l = 0; l < width; l++)
        x[l] = first + l == a->k ? 1 : (double)a->column_vectors[(int64_t)c * a->stride + first + l];
}

/* precision (width, width) and pull of column c, everything summed afresh from the residuals. */
static void plain_normal(const struct set_sweep_args *a, int first, int width, int32_t c, const double *y,
                         const double *residual, double precision[B][B], double *pull) {
    for (int l = 0; l < width; l++) {
        for (int j = 0; j < width; j++) precision[l][j] = l == j ? (double)a->prior_precision[first + l] : 0;
        pull[l] = (double)a->prior_precision[first + l] * (double)a->prior_mean[first + l];
    }
    for (int64_t i = a->column_offsets[c]; i < a->column_offsets[c + 1]; i++) {
        int32_t row = a->column_rows[i];
        double n = (double)(a->offsets[row + 1] - a->offsets[row]), own = (double)a->alpha, x[B];
        for (int64_t at = a->offsets[row]; at < a->offsets[row + 1]; at++) {
            coefficients(a, first, width, a->columns[at], x);
            for (int l = 0; l < width; l++) {
                pull[l] += own * residual[at] * x[l] / sqrt(n);
                for (int j = 0; j < width; j++) {
                    precision[l][j] += own * x[l] * x[j] / n;
                    pull[l] += own * x[l] * x[j] / n * y[(int64_t)c * a->stride + first + j];
                }
            }
        }
    }
}

/* x = p^-1 pull + L^-T z with L L^T = p, which is overwritten with L. */
static void plain_draw(int width, double p[B][B], const double *pull, const double *z, double *x) {
    for (int i = 0; i < width; i++)
        for (int j = 0; j <= i; j++) {
            for (int l = 0; l < j; l++) p[i][j] -= p[i][l] * p[j][l];
            p[i][j] = i == j ? sqrt(p[i][i]) : p[i][j] / p[j][j];
        }
    for (int i = 0; i < width; i++) {
        x[i] = pull[i];
        for (int l = 0; l < i; l++) x[i] -= p[i][l] * x[l];
        x[i] /= p[i][i];
    }
    for (int i = 0; i < width; i++) x[i] += z[i];
    for (int i = width - 1; i >= 0; i--) {
        for (int l = i + 1; l < width; l++) x[i] -= p[l][i] * x[l];
        x[i] /= p[i][i];
    }
}

/* Draws one block of one column; sums and residuals follow. */
static void plain_column(const struct set_sweep_args *a, int first, int width, int32_t c, double *y, double *sums,
                         double *residual) {
    double precision[B][B], pull[B], z[B], drawn[B], x[B], *own = y + (int64_t)c * a->stride + first;
    plain_normal(a, first, width, c, y, residual, precision, pull);
    for (int l = 0; l < width; l++) {
        float four[4];
        philox_normals(a->seed, a->stream, ((uint64_t)(first + l) << 32) | (uint64_t)c / 4, four);
        z[l] = (double)four[c % 4];
    }
    plain_draw(width, precision, pull, z, drawn);
    for (int64_t i = a->column_offsets[c]; i < a->column_offsets[c + 1]; i++) {
        int32_t row = a->column_rows[i];
        double weight = 1 / sqrt((double)(a->offsets[row + 1] - a->offsets[row]));
        for (int l = 0; l < width; l++) sums[(int64_t)row * a->stride + first + l] += weight * (drawn[l] - own[l]);
        for (int64_t at = a->offsets[row]; at < a->offsets[row + 1]; at++) {
            coefficients(a, first, width, a->columns[at], x);
            for (int l = 0; l < width; l++) residual[at] -= weight * (drawn[l] - own[l]) * x[l];
        }
    }
    for (int l = 0; l < width; l++) own[l] = drawn[l];
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
        for (int f = 0, d = p.k + p.biases; f < d; f += B)
            for (int32_t c = 0; c < args.n_columns; c++)
                plain_column(&args, f, d - f < B ? d - f : B, c, y, sums, residual);
        sweep(&p, 2, "generic");
        CHECK(worst(y, p.features, n_features) < 5e-5);
        CHECK(worst(sums, p.row_sums, n_sums) < 5e-5);
        CHECK(worst(residual, p.residual, (size_t)p.ratings.n_ratings) < 2e-4);
        free(y), free(sums), free(residual);
        problem_free(&p);
    }
}

/* Features, row sums and residuals, one after the other. */
static float *outcome(const struct problem *p, size_t *n) {
    const size_t n_features = (size_t)p->ratings.n_movies * (size_t)p->stride;
    const size_t n_sums = (size_t)p->ratings.n_users * (size_t)p->stride, n_ratings = (size_t)p->ratings.n_ratings;
    *n = n_features + n_sums + n_ratings;
    float *out = malloc(*n * sizeof *out);
    memcpy(out, p->features, n_features * sizeof *out);
    memcpy(out + n_features, p->row_sums, n_sums * sizeof *out);
    memcpy(out + n_features + n_sums, p->residual, n_ratings * sizeof *out);
    return out;
}

static void same_bits_on_every_path(void) {
    const char *levels[] = {"generic", "avx2", "avx512"};
    const int threads[] = {1, 2, 5};
    const struct {
        int32_t rows, columns;
        int k, biases;
    } cases[] = {{150, 90, 1, 0}, {150, 90, 15, 1}, {150, 90, 16, 1}, {90, 150, 32, 0}, {1, 1, 9, 1}, {7, 33, 8, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float *expected = NULL;
        for (int l = 0; l < 3; l++)
            for (int t = 0; t < 3; t++) {
                struct problem p = problem_new(cases[i].rows, cases[i].columns, 50, cases[i].k, cases[i].biases);
                size_t n;
                sweep(&p, threads[t], levels[l]);
                float *found = outcome(&p, &n);
                if (!expected) expected = found;
                CHECK(memcmp(expected, found, n * sizeof *found) == 0);
                if (found != expected) free(found);
                problem_free(&p);
            }
        free(expected);
    }
}

/* ---- the stationary distribution ---- */

enum { SMALL_COLUMNS = 4, SMALL_D = 3, JOINT = SMALL_COLUMNS * SMALL_D, SWEEPS = 40000 };

/* Precision and pull of all features together where all of them are 0 now: rating i depends on y_c by w x_i for every c
 * in its row. */
static void joint_normal(const struct set_sweep_args *a, const float *residual, double p[JOINT][JOINT], double *pull) {
    memset(p, 0, sizeof(double) * JOINT * JOINT);
    for (int i = 0; i < JOINT; i++) {
        p[i][i] = (double)a->prior_precision[i % SMALL_D];
        pull[i] = p[i][i] * (double)a->prior_mean[i % SMALL_D];
    }
    for (int32_t row = 0; row < a->n_rows; row++)
        for (int64_t at = a->offsets[row]; at < a->offsets[row + 1]; at++) {
            double along[JOINT] = {0}, x[SMALL_D], alpha = (double)a->alpha;
            coefficients(a, 0, SMALL_D, a->columns[at], x);
            for (int64_t other = a->offsets[row]; other < a->offsets[row + 1]; other++)
                for (int l = 0; l < SMALL_D; l++)
                    along[a->columns[other] * SMALL_D + l] =
                        x[l] / sqrt((double)(a->offsets[row + 1] - a->offsets[row]));
            for (int i = 0; i < JOINT; i++) {
                pull[i] += alpha * along[i] * (double)residual[at];
                for (int j = 0; j < JOINT; j++) p[i][j] += alpha * along[i] * along[j];
            }
        }
}

/* Gauss and Jordan: p is overwritten with its inverse. */
static void invert(double p[JOINT][JOINT]) {
    for (int i = 0; i < JOINT; i++) {
        double pivot = 1 / p[i][i];
        p[i][i] = 1;
        for (int j = 0; j < JOINT; j++) p[i][j] *= pivot;
        for (int l = 0; l < JOINT; l++) {
            double factor = p[l][i];
            if (l == i) continue;
            p[l][i] = 0;
            for (int j = 0; j < JOINT; j++) p[l][j] -= factor * p[i][j];
        }
    }
}

/* Many sweeps, one after the other, have the mean and covariance of the posterior of all features together. One sweep's
 * features correlate with the last one's by 0.25 at most here, so that 40,000 are worth 24,000 independent draws: means
 * are good to 0.0065 standard deviations, covariances to 0.0092 of the deviations' product. Five times that is let
 * pass. */
static void draws_from_the_posterior(void) {
    struct problem p = problem_new(12, SMALL_COLUMNS, 60, SMALL_D - 1, 1);
    struct set_sweep_args args = args_of(&p);
    double covariance[JOINT][JOINT], pull[JOINT], mean[JOINT] = {0}, sums[JOINT] = {0}, squares[JOINT][JOINT] = {{0}};
    memset(p.features, 0, sizeof(float) * SMALL_COLUMNS * (size_t)p.stride);
    joint_normal(&args, p.residual, covariance, pull);
    invert(covariance);
    for (int i = 0; i < JOINT; i++)
        for (int j = 0; j < JOINT; j++) mean[i] += covariance[i][j] * pull[j];
    struct machine machine = machine_new(1, "avx512");
    reel_error err;
    for (uint32_t at = 0; at < SWEEPS; at++) {
        args.stream = philox_stream(PHILOX_TEST, 1000 + at);
        REQUIRE_OK(machine.backend->ops->set_sweep(machine.backend, &args, &err), err);
        double off[JOINT];
        for (int i = 0; i < JOINT; i++) off[i] = (double)p.features[i / SMALL_D * p.stride + i % SMALL_D] - mean[i];
        for (int i = 0; i < JOINT; i++) {
            sums[i] += off[i] / SWEEPS;
            for (int j = 0; j < JOINT; j++) squares[i][j] += off[i] * off[j] / SWEEPS;
        }
    }
    for (int i = 0; i < JOINT; i++) {
        CHECK(fabs(sums[i]) < 0.033 * sqrt(covariance[i][i]));
        for (int j = 0; j < JOINT; j++)
            CHECK(fabs(squares[i][j] - covariance[i][j]) < 0.046 * sqrt(covariance[i][i] * covariance[j][j]));
    }
    machine_free(&machine);
    problem_free(&p);
}

int main(void) {
    RUN(follows_the_formulas);
    RUN(same_bits_on_every_path);
    if (!UNDER_TSAN) RUN(draws_from_the_posterior); /* one thread */
    TEST_EXIT();
}
