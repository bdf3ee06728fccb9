/* The Gibbs sampler's smaller operators on the CPU. All sums run in orders that no thread count changes. */
#include <math.h>
#include <string.h>

#include "backend/gibbs_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/common/normal.h"
#include "kernels/cpu/cpu_factor.h"
#include "kernels/cpu/factor_kernels.h"

enum { ROWS_PER_TASK = 64, GROUPS_PER_TASK = 1024 };

static int64_t tasks_of(int64_t n, int64_t per_task) {
    return (n + per_task - 1) / per_task;
}

/* ---- residuals ---- */

struct residuals_job {
    const struct residuals_args *args;
    const struct factor_kernels *kernels;
    double *sums; /* (tasks,) */
};

/* The ratings begin..end-1 of a row, in groups whose dot products go together; returns the sum of squares so far. */
static double row_residuals(const struct residuals_job *job, int64_t begin, int64_t end, const float *row_vector,
                            float bias, double sum) {
    const struct residuals_args *args = job->args;
    const float *columns[FACTOR_GROUP];
    float dots[FACTOR_GROUP];
    for (int64_t at = begin; at < end; at += FACTOR_GROUP) {
        const int n = end - at < FACTOR_GROUP ? (int)(end - at) : FACTOR_GROUP;
        for (int j = 0; j < FACTOR_GROUP; j++)
            columns[j] = args->column_vectors + (int64_t)args->columns[j < n ? at + j : at] * args->stride;
        job->kernels->dots(dots, row_vector, columns, args->stride);
        for (int j = 0; j < n; j++) {
            float error = args->value[args->ratings[at + j]] - bias - columns[j][args->k] - dots[j];
            if (args->effects) error -= args->effects[at + j];
            if (args->out) args->out[at + j] = error;
            sum += (double)error * (double)error;
        }
    }
    return sum;
}

static void residuals_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct residuals_job *job = arg;
    const struct residuals_args *args = job->args;
    const int k = args->k, stride = args->stride;
    _Alignas(64) float row_vector[FACTOR_K_MAX + 2 * FACTOR_LANES];
    double sum = 0;
    int64_t last = (task + 1) * ROWS_PER_TASK < args->n_rows ? (task + 1) * ROWS_PER_TASK : args->n_rows;
    for (int64_t row = task * ROWS_PER_TASK; row < last; row++) {
        memcpy(row_vector, args->row_vectors + row * stride, sizeof(float) * (size_t)stride);
        float bias = row_vector[k];
        row_vector[k] = 0; /* so that the dot product takes the factors only */
        sum = row_residuals(job, args->offsets[row], args->offsets[row + 1], row_vector, bias, sum);
    }
    job->sums[task] = sum;
}

reel_status cpu_residuals(struct backend *backend, const struct residuals_args *args, reel_error *err) {
    struct residuals_job job = {.args = args, .kernels = factor_kernels_choose()};
    int64_t n_tasks = tasks_of(args->n_rows, ROWS_PER_TASK);
    TRY_RETURN(MEM_RAW(&job.sums, n_tasks, err));
    thread_pool_run(backend->pool, n_tasks, residuals_task, &job);
    *args->sum_squares = 0;
    for (int64_t task = 0; task < n_tasks; task++) *args->sum_squares += job.sums[task];
    mem_free(job.sums);
    return REEL_OK;
}

/* ---- group_sweep ---- */

static void group_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct group_sweep_args *args = arg;
    int64_t last = (task + 1) * GROUPS_PER_TASK < args->n_groups ? (task + 1) * GROUPS_PER_TASK : args->n_groups;
    float normals[4] = {0};
    for (int64_t g = task * GROUPS_PER_TASK; g < last; g++) {
        int64_t begin = args->offsets[g], end = args->offsets[g + 1];
        float sum = 0, old = args->effects[g];
        for (int64_t i = begin; i < end; i++) sum += args->residual[args->positions[i]] + old;
        if (g % 4 == 0) philox_normals(args->seed, args->stream, (uint64_t)g / 4, normals);
        float precision = args->prior_precision + args->alpha * (float)(end - begin);
        float drawn = args->alpha * sum / precision + normals[g % 4] / sqrtf(precision);
        args->effects[g] = drawn;
        for (int64_t i = begin; i < end; i++) args->residual[args->positions[i]] += old - drawn;
    }
}

reel_status cpu_group_sweep(struct backend *backend, const struct group_sweep_args *args, reel_error *err) {
    (void)err;
    thread_pool_run(backend->pool, tasks_of(args->n_groups, GROUPS_PER_TASK), group_task, (void *)(uintptr_t)args);
    return REEL_OK;
}

static void group_add_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct group_add_args *args = arg;
    int64_t last = (task + 1) * GROUPS_PER_TASK < args->n_groups ? (task + 1) * GROUPS_PER_TASK : args->n_groups;
    for (int64_t g = task * GROUPS_PER_TASK; g < last; g++)
        for (int64_t i = args->offsets[g]; i < args->offsets[g + 1]; i++)
            args->out[args->positions[i]] += args->effects[g];
}

reel_status cpu_group_add(struct backend *backend, const struct group_add_args *args, reel_error *err) {
    (void)err;
    thread_pool_run(backend->pool, tasks_of(args->n_groups, GROUPS_PER_TASK), group_add_task, (void *)(uintptr_t)args);
    return REEL_OK;
}

/* ---- moments ---- */

enum { VECTORS_PER_TASK = 256 };

struct moments_job {
    const struct moments_args *args;
    const struct factor_kernels *kernels;
    int64_t first; /* vector of task 0 */
    float *grams;  /* (tasks, d, stride) */
    double *sums;  /* (tasks, d) */
};

static void moments_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct moments_job *job = arg;
    const struct moments_args *args = job->args;
    int64_t begin = job->first + task * VECTORS_PER_TASK;
    int64_t end = begin + VECTORS_PER_TASK < args->n ? begin + VECTORS_PER_TASK : args->n;
    size_t size = (size_t)args->d * (size_t)args->stride;
    float *gram = job->grams + (size_t)task * size;
    memset(gram, 0, size * sizeof *gram);
    job->kernels->gram(gram, args->vectors + begin * args->stride, (int)(end - begin), args->d, args->stride);
    double *sums = job->sums + (size_t)task * (size_t)args->d;
    memset(sums, 0, sizeof *sums * (size_t)args->d);
    for (int64_t n = begin; n < end; n++)
        for (int f = 0; f < args->d; f++) sums[f] += (double)args->vectors[n * args->stride + f];
}

reel_status cpu_moments(struct backend *backend, const struct moments_args *args, reel_error *err) {
    const int d = args->d;
    struct moments_job job = {.args = args, .kernels = factor_kernels_choose()};
    const int64_t batch = 64; /* tasks whose sums are held at a time; their sums are added in order */
    reel_status status = REEL_OK;
    TRY(MEM_RAW(&job.grams, (size_t)batch * (size_t)d * (size_t)args->stride, err));
    TRY(MEM_RAW(&job.sums, (size_t)batch * (size_t)d, err));
    memset(args->sum, 0, sizeof(double) * (size_t)d);
    memset(args->scatter, 0, sizeof(double) * (size_t)d * (size_t)d);
    for (; job.first < args->n; job.first += batch * VECTORS_PER_TASK) {
        int64_t n_tasks = tasks_of(args->n - job.first, VECTORS_PER_TASK);
        if (n_tasks > batch) n_tasks = batch;
        thread_pool_run(backend->pool, n_tasks, moments_task, &job);
        for (int64_t task = 0; task < n_tasks; task++) {
            const float *gram = job.grams + (size_t)task * (size_t)d * (size_t)args->stride;
            for (int i = 0; i < d; i++) {
                args->sum[i] += job.sums[task * d + i];
                for (int j = i; j < d; j++) args->scatter[(long)i * d + j] += (double)gram[(long)i * args->stride + j];
            }
        }
    }
    for (int i = 0; i < d; i++)
        for (int j = 0; j < i; j++) args->scatter[(long)i * d + j] = args->scatter[(long)j * d + i];
cleanup:
    mem_free(job.sums);
    mem_free(job.grams);
    return status;
}

/* ---- element-wise ---- */

enum { ELEMENTS_PER_TASK = 1 << 16 };

static void gather_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct gather_args *args = arg;
    int64_t last = (task + 1) * ELEMENTS_PER_TASK < args->n ? (task + 1) * ELEMENTS_PER_TASK : args->n;
    for (int64_t i = task * ELEMENTS_PER_TASK; i < last; i++) args->out[i] = args->in[args->index[i]];
}

reel_status cpu_gather(struct backend *backend, const struct gather_args *args, reel_error *err) {
    (void)err;
    thread_pool_run(backend->pool, tasks_of(args->n, ELEMENTS_PER_TASK), gather_task, (void *)(uintptr_t)args);
    return REEL_OK;
}

static void add_vectors_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct add_vectors_args *args = arg;
    int64_t last = (task + 1) * ELEMENTS_PER_TASK < args->n ? (task + 1) * ELEMENTS_PER_TASK : args->n;
    for (int64_t i = task * ELEMENTS_PER_TASK; i < last; i++) args->out[i] = args->a[i] + (args->b ? args->b[i] : 0);
}

reel_status cpu_add_vectors(struct backend *backend, const struct add_vectors_args *args, reel_error *err) {
    (void)err;
    thread_pool_run(backend->pool, tasks_of(args->n, ELEMENTS_PER_TASK), add_vectors_task, (void *)(uintptr_t)args);
    return REEL_OK;
}

/* ---- pair_scores ---- */

struct pair_scores_job {
    const struct pair_scores_args *args;
    const struct factor_kernels *kernels;
};

static void pair_scores_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct pair_scores_job *job = arg;
    const struct pair_scores_args *args = job->args;
    const int k = args->k, stride = args->stride;
    int64_t last = (task + 1) * ELEMENTS_PER_TASK < args->n ? (task + 1) * ELEMENTS_PER_TASK : args->n;
    for (int64_t i = task * ELEMENTS_PER_TASK; i < last; i++) {
        const float *row = args->rows[i] < 0 ? NULL : args->row_vectors + (int64_t)args->rows[i] * stride;
        const float *column = args->columns[i] < 0 ? NULL : args->column_vectors + (int64_t)args->columns[i] * stride;
        float score = (row ? row[k] : 0) + (column ? column[k] : 0);
        /* the dot product also multiplies the biases; that product is taken off again */
        if (row && column) score += job->kernels->dot(row, column, stride) - row[k] * column[k];
        args->out[i] = score;
    }
}

reel_status cpu_pair_scores(struct backend *backend, const struct pair_scores_args *args, reel_error *err) {
    (void)err;
    struct pair_scores_job job = {args, factor_kernels_choose()};
    thread_pool_run(backend->pool, tasks_of(args->n, ELEMENTS_PER_TASK), pair_scores_task, &job);
    return REEL_OK;
}
