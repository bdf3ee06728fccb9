/* set_sweep on the CPU. The columns of one block of dimensions must be drawn one after the other, because each draw
 * moves the rows that later ones see; the rest runs for all rows, or all columns, at once.
 *
 * For a block row r has h_r = w_r^2 sum x x^T and q_r = w_r sum residual x, as the draws so far left it. With P the
 * precision of column c, which no draw changes, and L L^T = P, z ~ N(0, 1), the draw changes y_c by
 *
 *     P^-1 (prior precision * mean + alpha sum_r h_r y_c) + L^-T z - y_c  +  alpha P^-1 sum_r q_r      ("shift",
 * "gain")
 *
 * and q_r by -h_r times that. Only sum_r q_r waits for the columns before: one addition a rating, and a product of
 * h_r with a vector after it. Meanwhile other threads make h, shift and gain of the next block. Where the bias is a
 * block of its own all h are 1. All sums run in orders that no thread count changes. */
#include <math.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "backend/gibbs_ops.h"
#include "core/doctor.h"
#include "core/error.h"
#include "core/threads.h"
#include "kernels/cpu/backend_cpu.h"
#include "kernels/cpu/cpu_factor.h"
#include "kernels/cpu/normal_lanes.h"
#include "kernels/cpu/set_kernels.h"

enum { ROWS_PER_TASK = 16, BLOCK = SET_BLOCK, SUMS = 8 };

/* What is made of a block before its draws. */
struct block {
    int first, width, bias; /* dimensions first .. first + width - 1; bias: it is the bias alone */
    const float *x;         /* (n_columns, BLOCK) coefficients */
    float *h;               /* (n_rows, BLOCK, BLOCK) */
    float *gain;            /* (n_columns, BLOCK, BLOCK), whole batches of SET_LANES */
    float *shift;           /* (n_columns, BLOCK), the same; the draws turn it into the change of y */
};

struct sweep_job {
    const struct set_sweep_args *args;
    const struct set_kernels *kernels;
    normal_lanes_fn normals;
    int d, n_blocks;
    struct block blocks[(FACTOR_K_MAX + 1 + BLOCK - 1) / BLOCK];
    const struct block *done, *next; /* rows_task: taken out of the residuals, summed up; or NULL */
    struct block *drawn, *prepared;  /* step_task: or NULL */
    atomic_llong rows_ready;         /* tasks of rows of `prepared` that are finished */
    float *q;                        /* (n_rows, BLOCK) */
    float *x;                        /* (n_blocks, n_columns, BLOCK) */
};

static int64_t tasks_of(int64_t n, int64_t per_task) {
    return (n + per_task - 1) / per_task;
}

static int64_t task_end(int64_t n, int64_t per_task, int64_t task) {
    return (task + 1) * per_task < n ? (task + 1) * per_task : n;
}

static float row_weight(const struct set_sweep_args *args, int64_t row) {
    int64_t n = args->offsets[row + 1] - args->offsets[row];
    return n ? 1 / sqrtf((float)n) : 0;
}

/* ---- rows: once a block ---- */

/* Where the coefficients are all 1. */
static float sum_residuals(const float *residual, int64_t n) {
    float sums[SUMS] = {0};
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int l = 0; l < SUMS; l++) sums[l] += residual[i + l];
    for (int l = 0; i < n; i++, l++) sums[l] += residual[i];
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/* Takes the last block's draws out of a row's residuals, and adds them to its s. */
static void take_block(const struct sweep_job *job, const struct block *block, int64_t row, float weight) {
    const struct set_sweep_args *args = job->args;
    const int64_t begin = args->offsets[row], n = args->offsets[row + 1] - begin;
    float change[BLOCK];
    job->kernels->sum_vectors(block->shift, args->columns + begin, n, change);
    for (int l = 0; l < BLOCK; l++) change[l] *= weight;
    for (int l = 0; l < block->width; l++) args->row_sums[row * args->stride + block->first + l] += change[l];
    if (!block->bias) {
        job->kernels->take_changes(block->x, change, args->columns + begin, n, args->residual + begin);
        return;
    }
    for (int64_t i = begin; i < begin + n; i++) args->residual[i] -= change[0];
}

static void rows_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct sweep_job *job = arg;
    const struct set_sweep_args *args = job->args;
    const int64_t end = task_end(args->n_rows, ROWS_PER_TASK, task);
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++) {
        const int64_t begin = args->offsets[row], n = args->offsets[row + 1] - begin;
        const float weight = row_weight(args, row), *residual = args->residual + begin;
        if (job->done) take_block(job, job->done, row, weight);
        if (!job->next) continue;
        if (job->next->bias)
            job->q[row] = weight * sum_residuals(residual, n);
        else
            job->kernels->products(job->next->x, residual, args->columns + begin, n, weight, job->q + row * BLOCK);
    }
}

/* ---- a block before its draws ---- */

static void prepare_rows(const struct sweep_job *job, int64_t task) {
    const struct set_sweep_args *args = job->args;
    const int64_t end = task_end(args->n_rows, ROWS_PER_TASK, task);
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++) {
        const int64_t begin = args->offsets[row], n = args->offsets[row + 1] - begin;
        const float weight = row_weight(args, row);
        job->kernels->gram(job->prepared->x, args->columns + begin, n, weight * weight,
                           job->prepared->h + row * SET_MATRIX);
    }
}

/* Noise of dimensions f .. f + 3 for SET_LANES columns from c on: four Philox blocks a dimension. */
static void fill_noise(const struct sweep_job *job, int f, int64_t c, float out[4][SET_LANES]) {
    _Static_assert((int)NORMAL_LANES == (int)SET_LANES, "four dimensions fill the lanes");
    uint64_t index[NORMAL_LANES];
    float normals[4][NORMAL_LANES];
    for (int l = 0; l < NORMAL_LANES; l++) index[l] = ((uint64_t)(f + l / 4) << 32) | (uint64_t)(c / 4 + l % 4);
    job->normals(job->args->seed, job->args->stream, index, normals);
    for (int l = 0; l < NORMAL_LANES; l++)
        for (int j = 0; j < 4; j++) out[l / 4][l % 4 * 4 + j] = normals[j][l];
}

/* Noise, features and prior of `n` columns; `out` holds zeros. */
static void fill_columns(const struct sweep_job *job, int64_t c, int64_t n, struct set_columns *out) {
    const struct set_sweep_args *args = job->args;
    const struct block *block = job->prepared;
    out->alpha = args->alpha;
    for (int l = 0; l < BLOCK; l += 4)
        if (l < block->width) fill_noise(job, block->first + l, c, out->noise + l);
    for (int l = 0; l < BLOCK; l++) {
        const int f = block->first + l;
        out->prior_precision[l] = l < block->width ? args->prior_precision[f] : 1;
        out->prior_mean[l] = l < block->width ? args->prior_mean[f] : 0;
        if (l >= block->width) memset(out->noise[l], 0, sizeof out->noise[l]);
    }
    for (int64_t i = 0; i < n; i++)
        for (int l = 0; l < block->width; l++) out->y[l][i] = args->features[(c + i) * args->stride + block->first + l];
}

static void prepare_columns(const struct sweep_job *job, int64_t task) {
    const struct set_sweep_args *args = job->args;
    const struct block *block = job->prepared;
    const int64_t c = task * SET_LANES, n = task_end(args->n_columns, SET_LANES, task) - c;
    struct set_columns columns = {.gain = block->gain + c * SET_MATRIX, .shift = block->shift + c * BLOCK};
    fill_columns(job, c, n, &columns);
    for (int64_t i = 0; i < n; i++) {
        const int64_t begin = args->column_offsets[c + i], end = args->column_offsets[c + i + 1];
        job->kernels->sum_matrices(block->h, args->column_rows + begin, end - begin, columns.sum[i]);
    }
    job->kernels->solve_columns(&columns);
}

/* The bias alone: a column's precision is prior + alpha times the number of its rows. */
static void prepare_biases(const struct sweep_job *job, int64_t task) {
    const struct set_sweep_args *args = job->args;
    const struct block *block = job->prepared;
    const int f = block->first;
    const float prior = args->prior_precision[f];
    const int64_t first = task * SET_LANES, end = task_end(args->n_columns, SET_LANES, task);
    float noise[4][SET_LANES];
    fill_noise(job, f, first, noise);
    for (int64_t c = first; c < end; c++) {
        const float n = (float)(args->column_offsets[c + 1] - args->column_offsets[c]);
        const float precision = prior + args->alpha * n, y = args->features[c * args->stride + f];
        const float mean = (prior * args->prior_mean[f] + args->alpha * n * y) / precision;
        float *shift = block->shift + c * BLOCK;
        memset(shift, 0, sizeof *shift * BLOCK);
        shift[0] = mean + noise[0][c - first] / sqrtf(precision) - y;
        block->gain[c * SET_MATRIX] = args->alpha / precision;
    }
}

/* ---- the draws ---- */

static float draw_bias(float *q, const int32_t *rows, int64_t n, float gain, float shift) {
    float sums[SUMS] = {0};
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int l = 0; l < SUMS; l++) sums[l] += q[rows[i + l]];
    for (int l = 0; i < n; i++, l++) sums[l] += q[rows[i]];
    const float sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
    const float change = shift + gain * sum;
    for (i = 0; i < n; i++) q[rows[i]] -= change;
    return change;
}

/* The columns one after the other: each draw sees the rows as the earlier draws left them. */
static void draw_block(struct sweep_job *job) {
    const struct set_sweep_args *args = job->args;
    const struct block *block = job->drawn;
    for (int64_t c = 0; c < args->n_columns; c++) {
        const int32_t *rows = args->column_rows + args->column_offsets[c];
        const int64_t n = args->column_offsets[c + 1] - args->column_offsets[c];
        float *change = block->shift + c * BLOCK, *y = args->features + c * args->stride + block->first;
        const float *gain = block->gain + c * SET_MATRIX;
        if (block->bias)
            *change = draw_bias(job->q, rows, n, *gain, *change);
        else
            job->kernels->draw_column(job->q, block->h, rows, n, gain, change);
        for (int l = 0; l < block->width; l++) y[l] += change[l];
    }
}

/* Task 0 draws one block; the others prepare another, rows first. Tasks start in order, so that whoever waits for the
 * rows waits for threads that are at work. */
static void step_task(void *arg, int64_t task, int worker) {
    (void)worker;
    struct sweep_job *job = arg;
    const int64_t n_rows = tasks_of(job->args->n_rows, ROWS_PER_TASK);
    if (task == 0) {
        if (job->drawn) draw_block(job);
    } else if (task <= n_rows) {
        if (!job->prepared->bias) prepare_rows(job, task - 1);
        atomic_fetch_add_explicit(&job->rows_ready, 1, memory_order_release);
    } else {
        while (atomic_load_explicit(&job->rows_ready, memory_order_acquire) < n_rows) sched_yield();
        (job->prepared->bias ? prepare_biases : prepare_columns)(job, task - 1 - n_rows);
    }
}

static void step(struct sweep_job *job, struct thread_pool *pool, struct block *drawn, struct block *prepared) {
    const struct set_sweep_args *args = job->args;
    int64_t n_tasks = 1;
    if (prepared) n_tasks += tasks_of(args->n_rows, ROWS_PER_TASK) + tasks_of(args->n_columns, SET_LANES);
    job->drawn = drawn;
    job->prepared = prepared;
    atomic_init(&job->rows_ready, 0);
    thread_pool_run(pool, n_tasks, step_task, job);
}

/* Coefficients of all blocks, densely: 1 for the bias, 0 past it. */
static void copy_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct sweep_job *job = arg;
    const struct set_sweep_args *args = job->args;
    const int64_t end = task_end(args->n_columns, SET_LANES, task);
    for (int b = 0; b < job->n_blocks; b++)
        for (int64_t c = task * SET_LANES; c < end; c++)
            for (int l = 0; l < BLOCK; l++) {
                const int f = b * BLOCK + l;
                const float bias = f == args->k && args->biases ? 1 : 0;
                job->x[((int64_t)b * args->n_columns + c) * BLOCK + l] =
                    f < args->k ? args->column_vectors[c * args->stride + f] : bias;
            }
}

static const struct set_kernels *choose_kernels(void) {
#if defined(__x86_64__)
    enum simd_level level = simd_level();
    if (level == SIMD_AVX512) return &set_kernels_avx512;
    if (level == SIMD_AVX2) return &set_kernels_avx2;
#endif
    return &set_kernels_generic;
}

/* The next `n` floats of the working memory; whole cache lines. */
static float *next_floats(float **at, size_t n) {
    float *floats = *at;
    *at += (n + 15) / 16 * 16;
    return floats;
}

/* Lays out the working memory. Two blocks are at work at a time: one is drawn, one prepared. */
static reel_status lay_out(struct sweep_job *job, struct backend *backend, reel_error *err) {
    const size_t n_rows = (size_t)job->args->n_rows, n_columns = (size_t)job->args->n_columns;
    const size_t padded = (n_columns + SET_LANES - 1) / SET_LANES * SET_LANES;
    const size_t a_row = BLOCK + 2 * SET_MATRIX, a_column = 2 * SET_MATRIX + (size_t)(2 + job->n_blocks) * BLOCK;
    const size_t ends = (size_t)8 * 16; /* eight arrays fill their last line */
    void *memory;
    TRY_RETURN(cpu_scratch(backend, (n_rows * a_row + padded * a_column + ends) * sizeof(float), &memory, err));
    float *at = memory;
    job->q = next_floats(&at, n_rows * BLOCK);
    job->x = next_floats(&at, n_columns * BLOCK * (size_t)job->n_blocks);
    for (int b = 0; b < job->n_blocks; b++) {
        struct block *block = &job->blocks[b];
        block->first = b * BLOCK;
        block->width = job->d - block->first < BLOCK ? job->d - block->first : BLOCK;
        block->bias = block->first == job->args->k;
        block->x = job->x + (size_t)b * n_columns * BLOCK;
        block->h = b < 2 ? next_floats(&at, n_rows * SET_MATRIX) : job->blocks[b - 2].h;
        block->gain = b < 2 ? next_floats(&at, padded * SET_MATRIX) : job->blocks[b - 2].gain;
        block->shift = b < 2 ? next_floats(&at, padded * BLOCK) : job->blocks[b - 2].shift;
    }
    return REEL_OK;
}

reel_status cpu_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err) {
    struct sweep_job job = {.args = args, .kernels = choose_kernels(), .normals = normal_lanes_choose()};
    const int64_t row_tasks = tasks_of(args->n_rows, ROWS_PER_TASK);
    job.d = args->k + (args->biases ? 1 : 0);
    job.n_blocks = (job.d + BLOCK - 1) / BLOCK;
    TRY_RETURN(lay_out(&job, backend, err));
    thread_pool_run(backend->pool, tasks_of(args->n_columns, SET_LANES), copy_task, &job);
    step(&job, backend->pool, NULL, &job.blocks[0]);
    for (int b = 0; b <= job.n_blocks; b++) {
        job.done = b > 0 ? &job.blocks[b - 1] : NULL;
        job.next = b < job.n_blocks ? &job.blocks[b] : NULL;
        thread_pool_run(backend->pool, row_tasks, rows_task, &job);
        if (job.next) step(&job, backend->pool, &job.blocks[b], b + 1 < job.n_blocks ? &job.blocks[b + 1] : NULL);
    }
    return REEL_OK;
}
