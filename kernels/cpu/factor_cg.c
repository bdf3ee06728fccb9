/* factor_cg on the CPU: conjugate gradients for every row, the matrix applied rating by rating and never formed. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/backend_ops.h"
#include "backend/factor_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/cpu/cpu_factor.h"
#include "kernels/cpu/factor_kernels.h"

enum { ROWS_PER_TASK = 16, N_VECTORS = 5 };

struct cg_job {
    const struct factor_solve_args *args;
    const struct factor_kernels *kernels;
    int solved;            /* d */
    float *scratch;        /* N_VECTORS vectors for each worker */
    atomic_int failed_row; /* -1 = none */
};

/* One worker's vectors, (stride,) each. */
struct cg_vectors {
    float *x, *residual, *direction, *product, *factors;
};

/* The factors of ratings at..at+n-1, at most FACTOR_GROUP; the rest of the group repeats the last. */
static void group_columns(const struct factor_solve_args *args, int64_t at, int n, const float **columns) {
    for (int j = 0; j < FACTOR_GROUP; j++)
        columns[j] = args->column_vectors + (int64_t)args->columns[at + (j < n ? j : n - 1)] * args->stride;
}

/* The vectors of a group, before the processor needs them. */
static void prefetch_group(const struct factor_solve_args *args, int64_t at, int64_t end, int width) {
    for (int64_t i = at; i < end && i < at + FACTOR_GROUP; i++) {
        const float *column = args->column_vectors + (int64_t)args->columns[i] * args->stride;
        for (int f = 0; f < width; f += FACTOR_LANES) __builtin_prefetch(column + f);
    }
}

/* product = alpha sum_c w (target_c - <x_c, v>) x_c, with target_c = 0 and the sign turned where `targets` is 0. */
static void sum_ratings(const struct cg_job *job, int32_t row, int targets, const float *v,
                        const struct cg_vectors *vectors) {
    const struct factor_solve_args *args = job->args;
    const int k = args->k, stride = args->stride, width = (k + FACTOR_LANES - 1) / FACTOR_LANES * FACTOR_LANES;
    const int64_t end = args->offsets[row + 1];
    const float own_bias = args->biases ? v[k] : 0;
    const float *columns[FACTOR_GROUP];
    float factors[FACTOR_GROUP], bias_sum = 0;
    memcpy(vectors->factors, v, sizeof(float) * (size_t)stride);
    vectors->factors[k] = 0; /* the columns hold their own biases there */
    memset(vectors->product, 0, sizeof(float) * (size_t)stride);
    for (int64_t at = args->offsets[row]; at < end; at += FACTOR_GROUP) {
        const int n = end - at < FACTOR_GROUP ? (int)(end - at) : FACTOR_GROUP;
        group_columns(args, at, n, columns);
        prefetch_group(args, at + FACTOR_GROUP, end, width);
        job->kernels->dots(factors, vectors->factors, columns, width);
        for (int j = 0; j < n; j++) {
            const uint8_t rating = args->ratings[at + j];
            factors[j] += own_bias;
            if (targets) {
                float target = args->value[rating] - columns[j][k];
                factors[j] = target - (args->residual ? args->residual[at + j] : 0) - factors[j];
            }
            factors[j] *= args->weight[rating] * args->weight[rating];
            bias_sum += factors[j];
        }
        job->kernels->axpys(vectors->product, factors, columns, n, width);
    }
    vectors->product[k] = args->biases ? bias_sum : 0;
    for (int f = 0; f < job->solved; f++) vectors->product[f] *= args->alpha;
}

/* product += sign (prior + ridge) v */
static void add_prior(const struct cg_job *job, float ridge, float sign, const float *v, float *product) {
    const struct factor_solve_args *args = job->args;
    for (int at = 0; at < job->solved; at += FACTOR_GROUP) {
        const int n = job->solved - at < FACTOR_GROUP ? job->solved - at : FACTOR_GROUP;
        const float *rows[FACTOR_GROUP];
        float factors[FACTOR_GROUP];
        for (int j = 0; j < n; j++) {
            rows[j] = args->prior_precision + (long)(at + j) * args->stride;
            factors[j] = sign * v[at + j];
        }
        job->kernels->axpys(product, factors, rows, n, args->stride);
    }
    job->kernels->axpy(product, sign * ridge, v, args->stride);
    if (!args->biases) product[args->k] = 0;
}

/* 0 when the matrix is not positive definite. */
static int solve_row(const struct cg_job *job, int32_t row, const struct cg_vectors *vectors) {
    const struct factor_solve_args *args = job->args;
    const struct factor_kernels *kernels = job->kernels;
    const int stride = args->stride;
    const size_t bytes = sizeof(float) * (size_t)stride;
    float *out = args->row_vectors + (int64_t)row * stride, left = out[args->k];
    float ridge = args->ridge_per_rating * (float)(args->offsets[row + 1] - args->offsets[row]);
    memcpy(vectors->x, out, bytes);
    if (!args->biases) vectors->x[args->k] = 0;
    sum_ratings(job, row, 1, vectors->x, vectors);
    add_prior(job, ridge, -1, vectors->x, vectors->product);
    for (int f = 0; f < job->solved; f++) vectors->product[f] += args->prior_shift[f];
    memcpy(vectors->residual, vectors->product, bytes);
    memcpy(vectors->direction, vectors->product, bytes);
    float squares = kernels->dot(vectors->residual, vectors->residual, stride);
    const float enough = fmaxf(1e-14f * squares, 1e-30f); /* past it there is only rounding */
    for (int step = 0; step < args->cg_steps && squares > enough; step++) {
        sum_ratings(job, row, 0, vectors->direction, vectors);
        add_prior(job, ridge, 1, vectors->direction, vectors->product);
        float length = squares / kernels->dot(vectors->direction, vectors->product, stride);
        if (!(length > 0) || !isfinite(length)) return 0;
        kernels->axpy(vectors->x, length, vectors->direction, stride);
        kernels->axpy(vectors->residual, -length, vectors->product, stride);
        float next = kernels->dot(vectors->residual, vectors->residual, stride), share = next / squares;
        for (int f = 0; f < stride; f++) vectors->direction[f] = vectors->residual[f] + share * vectors->direction[f];
        squares = next;
    }
    if (!isfinite(squares)) return 0;
    if (!args->biases) vectors->x[args->k] = left;
    memcpy(out, vectors->x, bytes);
    return 1;
}

static void rows_task(void *arg, int64_t task, int worker) {
    struct cg_job *job = arg;
    const int64_t stride = job->args->stride;
    float *own = job->scratch + worker * N_VECTORS * stride;
    const struct cg_vectors vectors = {own, own + stride, own + 2 * stride, own + 3 * stride, own + 4 * stride};
    int64_t begin = task * ROWS_PER_TASK, end = begin + ROWS_PER_TASK;
    for (int64_t row = begin; row < end && row < job->args->n_rows; row++) {
        int none = -1;
        if (!solve_row(job, (int32_t)row, &vectors)) atomic_compare_exchange_strong(&job->failed_row, &none, (int)row);
    }
}

reel_status cpu_factor_cg(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct cg_job job = {.args = args, .kernels = factor_kernels_choose(), .solved = args->k + (args->biases ? 1 : 0)};
    size_t size = (size_t)N_VECTORS * (size_t)args->stride;
    if (args->noise || args->row_offsets || args->cg_steps < 1)
        return error_set(err, REEL_INTERNAL, "factor_cg: noise, row offsets and %d steps are not for it",
                         args->cg_steps);
    atomic_init(&job.failed_row, -1);
    TRY_RETURN(MEM_NEW(&job.scratch, size * (size_t)thread_pool_size(backend->pool), err));
    thread_pool_run(backend->pool, (args->n_rows + (int64_t)ROWS_PER_TASK - 1) / ROWS_PER_TASK, rows_task, &job);
    mem_free(job.scratch);
    if (atomic_load(&job.failed_row) < 0) return REEL_OK;
    return error_set(err, REEL_NUMERIC, "row %d: conjugate gradients met a matrix that is not positive definite",
                     args->first_row + atomic_load(&job.failed_row));
}
