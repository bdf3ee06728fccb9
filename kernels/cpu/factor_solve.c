/* factor_solve on the CPU: the driver, and the plain inner loops that specify every other path. */
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
#include "kernels/cpu/normal_lanes.h"

/* ---- the plain inner loops ---- */

static void gram_generic(float *gram, const float *panel, int n, int dim, int stride) {
    for (int p = 0; p < n; p++) {
        const float *x = panel + (long)p * stride;
        for (int i = 0; i < dim; i++)
            for (int j = i; j < dim; j++) gram[i * stride + j] = fmaf(x[i], x[j], gram[i * stride + j]);
    }
}

static int cholesky_generic(float *a, int rank, int dim, int stride) {
    for (int i = 0; i < rank; i++) {
        float *row = a + (long)i * stride;
        for (int j = 0; j < i; j++) {
            const float *above = a + (long)j * stride;
            for (int c = i; c < dim; c++) row[c] = fmaf(-above[i], above[c], row[c]);
        }
        if (!(row[i] > 0) || !isfinite(row[i])) return 0;
        float inverse = 1.0f / sqrtf(row[i]);
        for (int c = i; c < dim; c++) row[c] *= inverse;
    }
    return 1;
}

static float dot_generic(const float *a, const float *b, int stride) {
    float lanes[FACTOR_LANES] = {0};
    for (int at = 0; at < stride; at += FACTOR_LANES)
        for (int l = 0; l < FACTOR_LANES; l++) lanes[l] = fmaf(a[at + l], b[at + l], lanes[l]);
    for (int half = FACTOR_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lanes[l] += lanes[l + half];
    return lanes[0];
}

static void axpy_generic(float *y, float a, const float *x, int stride) {
    for (int at = 0; at < stride; at++) y[at] = fmaf(a, x[at], y[at]);
}

static void dots_generic(float *dots, const float *v, const float *const *x, int width) {
    for (int j = 0; j < FACTOR_GROUP; j++) dots[j] = dot_generic(v, x[j], width);
}

static void axpys_generic(float *y, const float *a, const float *const *x, int n, int width) {
    for (int j = 0; j < n; j++) axpy_generic(y, a[j], x[j], width);
}

const struct factor_kernels factor_kernels_generic = {gram_generic, cholesky_generic, dot_generic, axpy_generic,
                                                      dots_generic, axpys_generic,    NULL};

/* ---- one row ---- */

enum { PANEL = 64 }; /* ratings packed at a time: 64 x 80 floats stay in the L1 cache */

struct job {
    const struct factor_solve_args *args;
    const struct factor_kernels *kernels;
    normal_lanes_fn normals;
    int solved, dim;                           /* d, and d + 1 with the target */
    const float *prior_rows[FACTOR_K_MAX + 1]; /* of prior_precision */
    const float *root_rows[FACTOR_K_MAX + 1];  /* of prior_root, with noise */
    int perturbed;     /* rows of at most so many ratings have their noise on the right; -1: none */
    float noise_scale; /* of a target's noise: 1 / sqrt(alpha) */
    struct factor_batch_shape shape;
    int32_t *short_rows;          /* (n_short,) the longest first */
    int64_t n_short, n_perturbed; /* the last so many of them are perturbed */
    const struct unit *units;     /* of a batch of long rows */
    float *scratch;               /* for each worker */
    size_t scratch_size;
    float *partial;        /* (units, dim, stride) */
    atomic_int failed_row; /* the first that failed; -1 = none */
};

/* A chunk of one long row. */
struct unit {
    int32_t row;
    int64_t begin, end; /* its ratings */
};

/* Packs ratings begin..end-1 (at most PANEL) as rows (x, t) times their weight, and the targets' noise, if not NULL. */
static void pack_panel(const struct job *job, int64_t begin, int64_t end, const float *noise, float *panel) {
    const struct factor_solve_args *args = job->args;
    const int stride = args->stride, k = args->k, solved = job->solved;
    for (int64_t i = begin; i < end; i++) {
        const float *column = args->column_vectors + (int64_t)args->columns[i] * stride;
        float *x = panel + (i - begin) * stride;
        if (i + 8 < end) __builtin_prefetch(args->column_vectors + (int64_t)args->columns[i + 8] * stride);
        memcpy(x, column, sizeof(float) * (size_t)stride);
        float target = args->value[args->ratings[i]] - column[k];
        if (args->residual) target -= args->residual[i];
        if (args->biases) x[k] = 1;
        x[solved] = target;
        float weight = args->weight[args->ratings[i]];
        if (weight != 1)
            for (int f = 0; f <= solved; f++) x[f] *= weight;
        if (noise) x[solved] = fmaf(noise[i - begin], job->noise_scale, x[solved]);
    }
}

/* gram += the ratings begin..end-1 of one row, with their noise, if not NULL. */
static void add_ratings(const struct job *job, int64_t begin, int64_t end, const float *noise, float *gram,
                        float *panel) {
    for (int64_t at = begin; at < end; at += PANEL) {
        int64_t stop = at + PANEL < end ? at + PANEL : end;
        pack_panel(job, at, stop, noise ? noise + (at - begin) : NULL, panel);
        job->kernels->gram(gram, panel, (int)(stop - at), job->dim, job->args->stride);
    }
}

/* prior_shift, of a perturbed row with its noise z (else NULL), and with a fixed part s of the row's vector also
 * (prior_precision + ridge) s: the solution is then that of the whole vector, A^-1 b + s. So the matrix need not be
 * multiplied with s. */
static void right_side(const struct job *job, const float *fixed, float ridge, const float *noise, float *out) {
    const struct factor_solve_args *args = job->args;
    memset(out, 0, sizeof(float) * (size_t)args->stride);
    memcpy(out, args->prior_shift, sizeof(float) * (size_t)job->solved);
    if (noise) job->kernels->axpys(out, noise, job->root_rows, job->solved, args->stride);
    if (!fixed) return;
    job->kernels->axpys(out, fixed, job->prior_rows, job->solved, args->stride);
    for (int i = 0; i < job->solved; i++) out[i] = fmaf(ridge, fixed[i], out[i]);
}

/* The fixed part of a row's vector, or NULL. */
static const float *fixed_part(const struct factor_solve_args *args, int32_t row) {
    return args->row_offsets ? args->row_offsets + (int64_t)row * args->stride : NULL;
}

/* Scales by alpha and adds the prior. */
static void add_prior(const struct job *job, int32_t row, int64_t n, const float *noise, float *gram) {
    const struct factor_solve_args *args = job->args;
    const int stride = args->stride, solved = job->solved;
    const float ridge = args->ridge_per_rating * (float)n;
    float right[FACTOR_K_MAX + FACTOR_LANES];
    right_side(job, fixed_part(args, row), ridge, noise, right);
    for (int i = 0; i < solved; i++) {
        float *a = gram + (long)i * stride;
        const float *prior = args->prior_precision + (long)i * stride;
        for (int j = i; j < solved; j++) a[j] = args->alpha * a[j] + prior[j];
        a[i] += ridge;
        a[solved] = args->alpha * a[solved] + right[i];
    }
}

/* out = values of the row's noise from the `first`-th on, a multiple of four, `n` and up to 4 NORMAL_LANES more. */
static void row_normals(const struct job *job, int32_t row, int first, int n, float *out) {
    uint64_t index[NORMAL_LANES];
    float blocks[4][NORMAL_LANES];
    const uint64_t begin = (uint64_t)(job->args->first_row + row) * 128 + (uint64_t)first / 4;
    for (int f = 0; f < n; f += 4 * NORMAL_LANES) {
        for (int l = 0; l < NORMAL_LANES; l++) index[l] = begin + (uint64_t)(f / 4 + l);
        job->normals(job->args->seed, job->args->stream, index, blocks);
        for (int l = 0; l < NORMAL_LANES; l++)
            for (int j = 0; j < 4; j++) out[f + 4 * l + j] = blocks[j][l];
    }
}

/* Factors gram and writes the row's vector. 0 when the matrix is not positive definite. */
static int solve_row(const struct job *job, int32_t row, int64_t n, float *gram, float *x) {
    const struct factor_solve_args *args = job->args;
    const int stride = args->stride, solved = job->solved, perturbed = n <= job->perturbed;
    float normal[FACTOR_K_MAX + 4 * NORMAL_LANES];
    if (args->noise) row_normals(job, row, 0, solved, normal);
    add_prior(job, row, n, perturbed ? normal : NULL, gram);
    if (!job->kernels->cholesky(gram, solved, job->dim, stride)) return 0;
    memset(x, 0, sizeof(float) * (size_t)stride);
    for (int i = solved - 1; i >= 0; i--) {
        const float *u = gram + (long)i * stride;
        float right = u[solved];
        if (args->noise && !perturbed) right += normal[i];
        /* whole lanes from the one of i: x is 0 up to there */
        const int from = i / FACTOR_LANES * FACTOR_LANES;
        x[i] = (right - job->kernels->dot(u + from, x + from, stride - from)) / u[i];
        if (!isfinite(x[i])) return 0;
    }
    const float *fixed = fixed_part(args, row);
    for (int i = 0; fixed && i < solved; i++) x[i] -= fixed[i];
    float *out = args->row_vectors + (int64_t)row * stride;
    if (!args->biases) x[args->k] = out[args->k];
    memcpy(out, x, sizeof(float) * (size_t)stride);
    return 1;
}

/* ---- all rows ---- */

static void fail_row(struct job *job, int32_t row) {
    int seen = atomic_load(&job->failed_row);
    while ((seen < 0 || row < seen) && !atomic_compare_exchange_weak(&job->failed_row, &seen, row)) continue;
}

/* The Gram matrix of a row of at most FACTOR_CHUNK ratings. */
static void sum_row(const struct job *job, int32_t row, float *gram, float *panel) {
    const int64_t begin = job->args->offsets[row], end = job->args->offsets[row + 1];
    const int perturbed = end - begin <= job->perturbed;
    float noise[FACTOR_SHORT_MAX + 4 * NORMAL_LANES];
    if (perturbed) row_normals(job, row, factor_target_noise(job->solved), (int)(end - begin), noise);
    memset(gram, 0, (size_t)job->dim * (size_t)job->args->stride * sizeof *gram);
    add_ratings(job, begin, end, perturbed ? noise : NULL, gram, panel);
}

static void solve_one_by_one(struct job *job, const int32_t *rows, int n, float *scratch) {
    float *x = scratch + (size_t)job->dim * (size_t)job->args->stride, *panel = x + job->args->stride;
    for (int i = 0; i < n; i++) {
        sum_row(job, rows[i], scratch, panel);
        int64_t n_ratings = job->args->offsets[rows[i] + 1] - job->args->offsets[rows[i]];
        if (!solve_row(job, rows[i], n_ratings, scratch, x)) fail_row(job, rows[i]);
    }
}

/* Rows in lanes. Those of few ratings are summed in lanes too; for the others each row's own tiles are faster. */
static void solve_batch(struct job *job, const int32_t *rows, int n, float *scratch) {
    const size_t matrix_size = (size_t)job->shape.pitch * (size_t)job->shape.pitch * FACTOR_BATCH_LANES;
    const int64_t longest = job->args->offsets[rows[0] + 1] - job->args->offsets[rows[0]];
    struct factor_batch batch = {.shape = &job->shape,
                                 .rows = rows,
                                 .n = n,
                                 .perturbed = longest <= job->perturbed,
                                 .matrix = scratch,
                                 .panel = scratch + matrix_size};
    if (longest <= FACTOR_BATCH_PANEL) {
        job->kernels->batch->sum(&batch);
    } else {
        const size_t gram_size = (size_t)job->dim * (size_t)job->args->stride;
        float *grams = scratch + matrix_size, *panel = grams + gram_size * FACTOR_BATCH_LANES;
        for (int i = 0; i < n; i++) sum_row(job, rows[i], grams + (size_t)i * gram_size, panel);
        job->kernels->batch->collect(&batch, grams);
    }
    const uint32_t bad = job->kernels->batch->solve(&batch);
    for (int i = 0; i < n; i++)
        if (bad >> i & 1) fail_row(job, rows[i]);
}

static int64_t rows_per_task(const struct job *job) {
    return job->kernels->batch ? job->kernels->batch->lanes : FACTOR_BATCH_LANES;
}

/* Tasks of the rows that are not perturbed; the others follow, so that a batch has rows of one kind. */
static int64_t plain_tasks(const struct job *job) {
    return (job->n_short - job->n_perturbed + rows_per_task(job) - 1) / rows_per_task(job);
}

static void short_rows_task(void *arg, int64_t task, int worker) {
    struct job *job = arg;
    const int64_t per_task = rows_per_task(job), n_plain = job->n_short - job->n_perturbed, plain = plain_tasks(job);
    const int64_t first = task < plain ? task * per_task : n_plain + (task - plain) * per_task;
    const int64_t end = task < plain ? n_plain : job->n_short;
    const int n = (int)(first + per_task < end ? per_task : end - first);
    float *scratch = job->scratch + (size_t)worker * job->scratch_size;
    if (job->kernels->batch)
        solve_batch(job, job->short_rows + first, n, scratch);
    else
        solve_one_by_one(job, job->short_rows + first, n, scratch);
}

static void long_chunk_task(void *arg, int64_t task, int worker) {
    struct job *job = arg;
    size_t gram_size = (size_t)job->dim * (size_t)job->args->stride;
    float *gram = job->partial + (size_t)task * gram_size;
    float *panel = job->scratch + (size_t)worker * job->scratch_size;
    memset(gram, 0, gram_size * sizeof *gram);
    add_ratings(job, job->units[task].begin, job->units[task].end, NULL, gram, panel);
}

/* Adds the chunk sums of one long row in order and solves it. `task` counts the long rows of the batch. */
struct long_rows {
    struct job *job;
    const int64_t *starts; /* (n + 1,) first unit of each long row, from the batch's first unit */
};

static void long_row_task(void *arg, int64_t task, int worker) {
    const struct long_rows *rows = arg;
    struct job *job = rows->job;
    size_t gram_size = (size_t)job->dim * (size_t)job->args->stride;
    float *sum = job->partial + (size_t)rows->starts[task] * gram_size;
    for (int64_t chunk = rows->starts[task] + 1; chunk < rows->starts[task + 1]; chunk++) {
        const float *more = job->partial + (size_t)chunk * gram_size;
        for (size_t i = 0; i < gram_size; i++) sum[i] += more[i];
    }
    float *x = job->scratch + (size_t)worker * job->scratch_size;
    int32_t row = job->units[rows->starts[task]].row;
    int64_t n = job->args->offsets[row + 1] - job->args->offsets[row];
    if (!solve_row(job, row, n, sum, x)) fail_row(job, row);
}

/* The rows of at most FACTOR_CHUNK ratings, the longest first: batches of like lengths, and no long task at the end. */
static reel_status sort_short_rows(struct job *job, reel_error *err) {
    const struct factor_solve_args *args = job->args;
    int32_t *next = NULL; /* by length: how many rows, then the next place of one */
    reel_status status = REEL_OK;
    TRY(MEM_NEW(&next, FACTOR_CHUNK + 1, err));
    TRY(MEM_RAW(&job->short_rows, args->n_rows, err));
    for (int32_t row = 0; row < args->n_rows; row++) {
        int64_t n = args->offsets[row + 1] - args->offsets[row];
        if (n <= FACTOR_CHUNK) next[n]++;
    }
    for (int n = FACTOR_CHUNK; n >= 0; n--) {
        int32_t count = next[n];
        next[n] = (int32_t)job->n_short;
        job->n_short += count;
        if (n <= job->perturbed) job->n_perturbed += count;
    }
    for (int32_t row = 0; row < args->n_rows; row++) {
        int64_t n = args->offsets[row + 1] - args->offsets[row];
        if (n <= FACTOR_CHUNK) job->short_rows[next[n]++] = row;
    }
cleanup:
    mem_free(next);
    return status;
}

/* What batches share, and the scratch that a worker needs for one, or for one row. */
static reel_status prepare_short_rows(struct job *job, float **prior, reel_error *err) {
    const struct factor_solve_args *args = job->args;
    const size_t stride = (size_t)args->stride, gram = (size_t)job->dim * stride, panel = PANEL * stride;
    job->scratch_size = gram + stride + panel;
    if (!job->kernels->batch) return REEL_OK;
    const int tile = job->kernels->batch->tile, pitch = (job->dim + tile - 1) / tile * tile;
    TRY_RETURN(MEM_NEW(prior, 2 * (size_t)pitch * (size_t)pitch, err));
    for (int i = 0; i < job->solved; i++)
        memcpy(*prior + i * pitch, job->prior_rows[i], sizeof(float) * (size_t)job->solved);
    for (int i = 0; args->noise && i < job->solved; i++)
        memcpy(*prior + (pitch + i) * pitch, job->root_rows[i], sizeof(float) * (size_t)job->solved);
    job->shape = (struct factor_batch_shape){.args = args,
                                             .solved = job->solved,
                                             .pitch = pitch,
                                             .prior = *prior,
                                             .root = *prior + pitch * pitch,
                                             .noise_scale = job->noise_scale,
                                             .normals = job->normals};
    for (int v = 0; v < FACTOR_VALUES; v++) job->shape.weighted |= args->weight[v] != 1;
    const size_t vector = (size_t)pitch * FACTOR_BATCH_LANES, direct = FACTOR_BATCH_PANEL * vector;
    const size_t collected = gram * FACTOR_BATCH_LANES + panel;
    job->scratch_size = (size_t)pitch * vector + (direct > collected ? direct : collected);
    return REEL_OK;
}

/* Chunks of the long rows from *row on, until `most` units; moves *row on. starts gets the first unit of each. */
static int64_t cut_long_units(const struct factor_solve_args *args, int32_t *row, int64_t most, struct unit *units,
                              int64_t *starts, int64_t *n_rows) {
    int64_t n_units = 0;
    *n_rows = 0;
    for (; *row < args->n_rows; (*row)++) {
        int64_t begin = args->offsets[*row], end = args->offsets[*row + 1];
        if (end - begin <= FACTOR_CHUNK) continue;
        int64_t chunks = (end - begin + FACTOR_CHUNK - 1) / FACTOR_CHUNK;
        if (n_units > 0 && n_units + chunks > most) break;
        starts[(*n_rows)++] = n_units;
        for (int64_t at = begin; at < end; at += FACTOR_CHUNK)
            units[n_units++] = (struct unit){*row, at, at + FACTOR_CHUNK < end ? at + FACTOR_CHUNK : end};
    }
    starts[*n_rows] = n_units;
    return n_units;
}

/* Long units of one batch: at least those of the longest row, else as many as fit 64 MiB of sums. */
static int64_t long_batch(const struct factor_solve_args *args, int dim) {
    int64_t longest = 0;
    for (int32_t row = 0; row < args->n_rows; row++) {
        int64_t n = args->offsets[row + 1] - args->offsets[row];
        if (n > FACTOR_CHUNK && n > longest) longest = n;
    }
    if (longest == 0) return 0;
    int64_t least = (longest + FACTOR_CHUNK - 1) / FACTOR_CHUNK;
    int64_t fit = (int64_t)(64 << 20) / ((int64_t)dim * args->stride * (int64_t)sizeof(float));
    return fit > least ? fit : least;
}

const struct factor_kernels *factor_kernels_choose(void) {
#if defined(__x86_64__)
    enum simd_level level = simd_level();
    if (level == SIMD_AVX512) return &factor_kernels_avx512;
    if (level == SIMD_AVX2) return &factor_kernels_avx2;
#endif
    return &factor_kernels_generic;
}

static reel_status solve_long_rows(struct backend *backend, struct job *job, reel_error *err) {
    const struct factor_solve_args *args = job->args;
    reel_status status = REEL_OK;
    struct unit *units = NULL;
    int64_t *starts = NULL;
    const int64_t batch = long_batch(args, job->dim);
    if (batch == 0) return REEL_OK;
    TRY(MEM_RAW(&units, batch, err));
    TRY(MEM_RAW(&job->partial, (size_t)batch * (size_t)job->dim * (size_t)args->stride, err));
    TRY(MEM_RAW(&starts, batch + 1, err));
    job->units = units;
    for (int32_t row = 0; row < args->n_rows;) {
        int64_t n_rows;
        int64_t n_units = cut_long_units(args, &row, batch, units, starts, &n_rows);
        thread_pool_run(backend->pool, n_units, long_chunk_task, job);
        thread_pool_run(backend->pool, n_rows, long_row_task, &(struct long_rows){job, starts});
    }
cleanup:
    mem_free(starts);
    mem_free(job->partial);
    mem_free(units);
    return status;
}

reel_status cpu_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    float *prior = NULL;
    struct job job = {.args = args, .kernels = factor_kernels_choose(), .normals = normal_lanes_choose()};
    TRY(factor_solve_check(args, err));
    job.solved = args->k + (args->biases ? 1 : 0);
    job.dim = job.solved + 1;
    job.perturbed = args->noise ? factor_short_row(job.solved) : -1;
    job.noise_scale = 1 / sqrtf(args->alpha);
    for (int i = 0; i < job.solved; i++) {
        job.prior_rows[i] = args->prior_precision + (long)i * args->stride;
        if (args->noise) job.root_rows[i] = args->prior_root + (long)i * args->stride;
    }
    atomic_init(&job.failed_row, -1);
    TRY(prepare_short_rows(&job, &prior, err));
    TRY(sort_short_rows(&job, err));
    TRY(MEM_RAW(&job.scratch, job.scratch_size * (size_t)thread_pool_size(backend->pool), err));
    const int64_t per_task = rows_per_task(&job), perturbed_tasks = (job.n_perturbed + per_task - 1) / per_task;
    thread_pool_run(backend->pool, plain_tasks(&job) + perturbed_tasks, short_rows_task, &job);
    TRY(solve_long_rows(backend, &job, err));
    if (atomic_load(&job.failed_row) >= 0)
        status = error_set(err, REEL_NUMERIC,
                           "row %d: the normal equations are not positive definite in single precision; "
                           "raise the regularization",
                           args->first_row + atomic_load(&job.failed_row));
cleanup:
    mem_free(job.scratch);
    mem_free(job.short_rows);
    mem_free(prior);
    return status;
}
