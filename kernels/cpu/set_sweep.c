/* set_sweep on the CPU. The columns of one dimension must be drawn one after the other, because each draw moves the
 * rows that later ones see; the rest runs for all rows, or all columns, at once.
 *
 * Dimensions go in blocks of BLOCK. One pass over the ratings of row r takes the last block's changes out of the
 * residuals and sums up g = sum x x^T and e = sum residual x for this block; with these, what a draw in one dimension
 * does to the sums of the next ones is known without another pass: e_f falls by g_f'f times the change of s_rf'. In
 * dimension f, with a_r = w_r^2 g_ff and m_r the changes of the row's columns so far, column c is drawn around
 *
 *     (prior + alpha (sum_r w_r e_rf + y_c sum_r a_r - sum_r a_r m_r)) / precision_c, precision_c = prior + alpha sum_r
 * a_r:
 *
 * only sum_r a_r m_r waits for the columns before. All sums run in orders that no thread count changes. */
#include <math.h>
#include <string.h>

#include "backend/gibbs_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/common/normal.h"
#include "kernels/cpu/cpu_factor.h"
#include "kernels/cpu/set_kernels.h"

enum { ROWS_PER_TASK = 16, COLUMNS_PER_TASK = 16, BLOCK = SET_BLOCK, SUMS = 8 };

struct row_sums {
    float g[BLOCK][BLOCK], e[BLOCK], a[BLOCK]; /* a_f = w_r^2 g_ff */
    float change[BLOCK];                       /* of s_r */
};

struct row_state {
    float moved, a; /* m_r and a_r of the dimension at work */
};

struct sweep_job {
    const struct set_sweep_args *args;
    set_take_changes_fn take_changes;
    set_sum_row_fn sum_row;
    int f;                    /* dimension at work; between blocks the last one drawn */
    const float *last, *next; /* (n_columns, BLOCK) coefficients of the last block and of this one, NULL at the ends */
    float *precision;         /* (n_columns, BLOCK) sum_r a_r */
    float *base;              /* (n_columns,) the draw but for sum_r a_r m_r */
    float *pull;              /* (n_columns,) alpha / precision */
    struct row_sums *sums;    /* (n_rows,) */
    struct row_state *states; /* (n_rows,) */
    float *error;             /* (n_rows,) w_r e_rf */
};

static int64_t tasks_of(int64_t n, int64_t per_task) {
    return (n + per_task - 1) / per_task;
}

static int64_t task_end(int64_t n, int64_t per_task, int64_t task) {
    return (task + 1) * per_task < n ? (task + 1) * per_task : n;
}

static float add_up(const float sums[SUMS]) {
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

static float row_weight(const struct set_sweep_args *args, int64_t row) {
    int64_t n = args->offsets[row + 1] - args->offsets[row];
    return n ? 1 / sqrtf((float)n) : 0;
}

/* ---- rows: once a block ---- */

/* The plain loops; set_sweep_avx2.c has the same sums eight at a time. */
void set_take_changes_generic(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual) {
    for (int64_t i = 0; i < n; i++) {
        float products[SET_BLOCK];
        for (int l = 0; l < SET_BLOCK; l++) products[l] = change[l] * x[(int64_t)columns[i] * SET_BLOCK + l];
        residual[i] -= add_up(products);
    }
}

void set_sum_row_generic(const float *x, const float *residual, const int32_t *columns, int64_t n, float *g, float *e) {
    memset(g, 0, sizeof(float) * SET_BLOCK * SET_BLOCK);
    memset(e, 0, sizeof(float) * SET_BLOCK);
    for (int64_t i = 0; i < n; i++) {
        const float *own = x + (int64_t)columns[i] * SET_BLOCK;
        for (int l = 0; l < SET_BLOCK; l++) {
            e[l] = fmaf(residual[i], own[l], e[l]);
            for (int j = 0; j < SET_BLOCK; j++) g[l * SET_BLOCK + j] = fmaf(own[l], own[j], g[l * SET_BLOCK + j]);
        }
    }
}

static void block_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct sweep_job *job = arg;
    const struct set_sweep_args *args = job->args;
    const int64_t end = task_end(args->n_rows, ROWS_PER_TASK, task);
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++) {
        const int64_t begin = args->offsets[row], n = args->offsets[row + 1] - begin;
        const float weight = row_weight(args, row);
        struct row_sums *sums = &job->sums[row];
        if (job->last) {
            float *all = args->row_sums + row * args->stride;
            sums->change[job->f % BLOCK] = weight * job->states[row].moved;
            job->take_changes(job->last, sums->change, args->columns + begin, n, args->residual + begin);
            for (int f = job->f - job->f % BLOCK; f <= job->f; f++) all[f] += sums->change[f % BLOCK];
        }
        if (!job->next) continue;
        job->sum_row(job->next, args->residual + begin, args->columns + begin, n, sums->g[0], sums->e);
        memset(sums->change, 0, sizeof sums->change);
        for (int l = 0; l < BLOCK; l++) sums->a[l] = weight * weight * sums->g[l][l];
    }
}

/* sum_r a_r of a block's dimensions. */
static void precision_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct sweep_job *job = arg;
    const struct set_sweep_args *args = job->args;
    const int64_t end = task_end(args->n_columns, COLUMNS_PER_TASK, task);
    for (int64_t c = task * COLUMNS_PER_TASK; c < end; c++) {
        float sums[BLOCK] = {0};
        for (int64_t i = args->column_offsets[c]; i < args->column_offsets[c + 1]; i++) {
            const float *a = job->sums[args->column_rows[i]].a;
            for (int l = 0; l < BLOCK; l++) sums[l] += a[l];
        }
        memcpy(job->precision + c * BLOCK, sums, sizeof sums);
    }
}

/* ---- one dimension ---- */

/* The row's sums as the block's earlier dimensions left them. */
static void states_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct sweep_job *job = arg;
    const struct set_sweep_args *args = job->args;
    const int l = job->f % BLOCK;
    const int64_t end = task_end(args->n_rows, ROWS_PER_TASK, task);
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++) {
        struct row_sums *sums = &job->sums[row];
        float weight = row_weight(args, row), e = sums->e[l];
        if (l > 0) sums->change[l - 1] = weight * job->states[row].moved;
        for (int before = 0; before < l; before++) e -= sums->change[before] * sums->g[before][l];
        job->states[row] = (struct row_state){0, sums->a[l]};
        job->error[row] = weight * e;
    }
}

/* What of each draw does not wait for the columns before it. */
static void columns_task(void *arg, int64_t task, int worker) {
    (void)worker;
    struct sweep_job *job = arg;
    const struct set_sweep_args *args = job->args;
    const int f = job->f;
    const int64_t end = task_end(args->n_columns, COLUMNS_PER_TASK, task);
    float normals[4] = {0};
    for (int64_t c = task * COLUMNS_PER_TASK; c < end; c++) {
        const int32_t *rows = args->column_rows + args->column_offsets[c];
        const int64_t n = args->column_offsets[c + 1] - args->column_offsets[c];
        float sums[SUMS] = {0};
        int64_t i = 0;
        for (; i + SUMS <= n; i += SUMS)
            for (int l = 0; l < SUMS; l++) sums[l] += job->error[rows[i + l]];
        for (int l = 0; i < n; i++, l++) sums[l] += job->error[rows[i]];
        if (c % 4 == 0) philox_normals(args->seed, args->stream, ((uint64_t)f << 32) | (uint64_t)c / 4, normals);
        float a = job->precision[c * BLOCK + f % BLOCK], y = args->features[c * args->stride + f];
        float precision = args->prior_precision[f] + args->alpha * a;
        float mean =
            (args->prior_precision[f] * args->prior_mean[f] + args->alpha * (add_up(sums) + a * y)) / precision;
        job->base[c] = mean + normals[c % 4] / sqrtf(precision);
        job->pull[c] = args->alpha / precision;
    }
}

static float sum_moved(const struct row_state *states, const int32_t *rows, int64_t n) {
    float sums[SUMS] = {0};
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int l = 0; l < SUMS; l++) sums[l] += states[rows[i + l]].a * states[rows[i + l]].moved;
    for (int l = 0; i < n; i++, l++) sums[l] += states[rows[i]].a * states[rows[i]].moved;
    return add_up(sums);
}

static void move_rows(struct row_state *states, const int32_t *rows, int64_t n, float change) {
    int64_t i = 0;
    for (; i + SUMS <= n; i += SUMS)
        for (int l = 0; l < SUMS; l++) states[rows[i + l]].moved += change;
    for (; i < n; i++) states[rows[i]].moved += change;
}

/* The columns one after the other: each draw sees the rows as the earlier draws left them. */
static void draw_columns(struct sweep_job *job) {
    const struct set_sweep_args *args = job->args;
    struct row_state *states = job->states;
    for (int32_t c = 0; c < args->n_columns; c++) {
        const int32_t *rows = args->column_rows + args->column_offsets[c];
        const int64_t n = args->column_offsets[c + 1] - args->column_offsets[c];
        float *y = args->features + (int64_t)c * args->stride + job->f;
        float drawn = job->base[c] - job->pull[c] * sum_moved(states, rows, n), change = drawn - *y;
        *y = drawn;
        move_rows(states, rows, n, change);
    }
}

/* Coefficients (n_columns, BLOCK) of the block from dimension `first`: 1 for the bias, 0 past it. */
static void copy_coefficients(const struct set_sweep_args *args, int first, float *out) {
    for (int64_t c = 0; c < args->n_columns; c++)
        for (int l = 0; l < BLOCK; l++) {
            int f = first + l;
            float bias = f == args->k && args->biases ? 1 : 0;
            out[c * BLOCK + l] = f < args->k ? args->column_vectors[c * args->stride + f] : bias;
        }
}

static void draw_dimension(struct sweep_job *job, struct thread_pool *pool) {
    thread_pool_run(pool, tasks_of(job->args->n_rows, ROWS_PER_TASK), states_task, job);
    thread_pool_run(pool, tasks_of(job->args->n_columns, COLUMNS_PER_TASK), columns_task, job);
    draw_columns(job);
}

reel_status cpu_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    struct sweep_job job = {.args = args, .take_changes = set_take_changes_generic, .sum_row = set_sum_row_generic};
#if defined(__x86_64__)
    if (simd_level() != SIMD_GENERIC) {
        job.take_changes = set_take_changes_avx2;
        job.sum_row = set_sum_row_avx2;
    }
#endif
    float *x[2] = {NULL, NULL};
    const int d = args->k + (args->biases ? 1 : 0);
    const int64_t row_tasks = tasks_of(args->n_rows, ROWS_PER_TASK);
    const size_t n_rows = (size_t)args->n_rows, n_columns = (size_t)args->n_columns;
    TRY(MEM_RAW(&x[0], n_columns * BLOCK, err));
    TRY(MEM_RAW(&x[1], n_columns * BLOCK, err));
    TRY(MEM_RAW(&job.precision, n_columns * BLOCK, err));
    TRY(MEM_RAW(&job.base, n_columns, err));
    TRY(MEM_RAW(&job.pull, n_columns, err));
    TRY(MEM_RAW(&job.sums, n_rows, err));
    TRY(MEM_RAW(&job.states, n_rows, err));
    TRY(MEM_RAW(&job.error, n_rows, err));
    for (int first = 0; first < d; first += BLOCK) {
        float *coefficients = x[first / BLOCK % 2];
        copy_coefficients(args, first, coefficients);
        job.next = coefficients;
        thread_pool_run(backend->pool, row_tasks, block_task, &job);
        thread_pool_run(backend->pool, tasks_of(args->n_columns, COLUMNS_PER_TASK), precision_task, &job);
        for (job.f = first; job.f < d && job.f < first + BLOCK; job.f++) draw_dimension(&job, backend->pool);
        job.f--;
        job.last = coefficients;
    }
    job.next = NULL;
    thread_pool_run(backend->pool, row_tasks, block_task, &job);
cleanup:
    mem_free(job.error);
    mem_free(job.states);
    mem_free(job.sums);
    mem_free(job.pull);
    mem_free(job.base);
    mem_free(job.precision);
    mem_free(x[1]);
    mem_free(x[0]);
    return status;
}
