/* The spectral operators on the CPU. Work is cut into pieces of fixed size whose sums are added in order. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "core/doctor.h"
#include "core/error.h"
#include "core/lapack.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/cpu/affinity_loops.h"
#include "kernels/cpu/cpu_spectral.h"

const struct affinity_kernels affinity_kernels_generic = AFFINITY_LOOPS;

enum { PIECES = SPECTRAL_PIECES, ROWS_PER_TASK = 1024 };

static const struct affinity_kernels *choose_kernels(void) {
#if defined(__x86_64__)
    enum simd_level level = simd_level();
    if (level == SIMD_AVX512) return &affinity_kernels_avx512;
    if (level == SIMD_AVX2) return &affinity_kernels_avx2;
#endif
    return &affinity_kernels_generic;
}

static int64_t tiles_of(int64_t n) {
    return (n + AFFINITY_ROWS - 1) / AFFINITY_ROWS;
}

struct affinity_job {
    const struct affinity_args *args;
    const struct affinity_kernels *kernels;
    double *tiles;   /* (tiles, d, AFFINITY_ROWS) x, tile by tile, zeros past the end */
    double *partial; /* (PIECES, n_monomials, SPECTRAL_BLOCK) */
    double *sums;    /* (n_monomials, SPECTRAL_BLOCK), weighted */
    double *scratch; /* (workers, n_monomials * AFFINITY_ROWS + 2 * AFFINITY_ROWS * SPECTRAL_BLOCK) */
    size_t scratch_size;
};

static void transpose_task(void *arg, int64_t tile, int worker) {
    (void)worker;
    const struct affinity_job *job = arg;
    const struct affinity_args *args = job->args;
    double *out = job->tiles + tile * args->d * AFFINITY_ROWS;
    for (int r = 0; r < AFFINITY_ROWS; r++)
        for (int f = 0; f < args->d; f++) {
            int64_t row = tile * AFFINITY_ROWS + r;
            out[f * AFFINITY_ROWS + r] = row < args->n ? args->x[row * args->d + f] : 0;
        }
}

/* v (AFFINITY_ROWS, SPECTRAL_BLOCK) of a tile, zeros past the end. */
static void load_block(const struct affinity_args *args, int64_t tile, double *v) {
    int64_t begin = tile * AFFINITY_ROWS, rows = args->n - begin < AFFINITY_ROWS ? args->n - begin : AFFINITY_ROWS;
    memset(v, 0, sizeof *v * AFFINITY_ROWS * SPECTRAL_BLOCK);
    memcpy(v, args->in + begin * SPECTRAL_BLOCK, sizeof *v * (size_t)rows * SPECTRAL_BLOCK);
}

/* ---- by the feature map ---- */

static void collect_task(void *arg, int64_t piece, int worker) {
    const struct affinity_job *job = arg;
    const struct affinity_args *args = job->args;
    double *z = job->scratch + (size_t)worker * job->scratch_size, *v = z + args->n_monomials * AFFINITY_ROWS;
    double *sums = job->partial + piece * args->n_monomials * SPECTRAL_BLOCK;
    memset(sums, 0, sizeof *sums * (size_t)args->n_monomials * SPECTRAL_BLOCK);
    int64_t tiles = tiles_of(args->n);
    for (int64_t tile = part_begin(tiles, PIECES, piece); tile < part_begin(tiles, PIECES, piece + 1); tile++) {
        load_block(args, tile, v);
        job->kernels->monomials(args, job->tiles + tile * args->d * AFFINITY_ROWS, z);
        job->kernels->collect(z, v, args->n_monomials, sums);
    }
}

/* out = out - self * in for the diagonal. */
static void finish_rows(const struct affinity_args *args, int64_t begin, int64_t rows, const double *values) {
    for (int64_t r = 0; r < rows; r++)
        for (int c = 0; c < SPECTRAL_BLOCK; c++)
            args->out[(begin + r) * SPECTRAL_BLOCK + c] =
                values[r * SPECTRAL_BLOCK + c] - args->self[begin + r] * args->in[(begin + r) * SPECTRAL_BLOCK + c];
}

static void spread_task(void *arg, int64_t tile, int worker) {
    const struct affinity_job *job = arg;
    const struct affinity_args *args = job->args;
    double *z = job->scratch + (size_t)worker * job->scratch_size, *values = z + args->n_monomials * AFFINITY_ROWS;
    job->kernels->monomials(args, job->tiles + tile * args->d * AFFINITY_ROWS, z);
    job->kernels->spread(z, job->sums, args->n_monomials, values);
    int64_t begin = tile * AFFINITY_ROWS;
    finish_rows(args, begin, args->n - begin < AFFINITY_ROWS ? args->n - begin : AFFINITY_ROWS, values);
}

static reel_status apply_features(struct backend *backend, struct affinity_job *job, reel_error *err) {
    const struct affinity_args *args = job->args;
    const size_t size = (size_t)args->n_monomials * SPECTRAL_BLOCK;
    TRY_RETURN(MEM_RAW(&job->partial, PIECES * size, err));
    TRY_RETURN(MEM_NEW(&job->sums, size, err));
    thread_pool_run(backend->pool, PIECES, collect_task, job);
    for (int piece = 0; piece < PIECES; piece++)
        for (size_t i = 0; i < size; i++) job->sums[i] += job->partial[(size_t)piece * size + i];
    for (size_t i = 0; i < size; i++) job->sums[i] *= args->monomial_weights[i / SPECTRAL_BLOCK];
    thread_pool_run(backend->pool, tiles_of(args->n), spread_task, job);
    return REEL_OK;
}

/* ---- by tiles of the kernel ---- */

static void kernel_rows_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct affinity_job *job = arg;
    const struct affinity_args *args = job->args;
    _Alignas(64) double v[AFFINITY_ROWS * SPECTRAL_BLOCK];
    _Alignas(64) double values[AFFINITY_ROWS * SPECTRAL_BLOCK] = {0};
    int64_t begin = task * AFFINITY_ROWS;
    int64_t rows = args->n - begin < AFFINITY_ROWS ? args->n - begin : AFFINITY_ROWS;
    for (int64_t tile = 0; tile < tiles_of(args->n); tile++) {
        load_block(args, tile, v);
        for (int64_t r = 0; r < rows; r++)
            job->kernels->tile(args, args->x + (begin + r) * args->d, job->tiles + tile * args->d * AFFINITY_ROWS, v,
                               values + r * SPECTRAL_BLOCK);
    }
    finish_rows(args, begin, rows, values);
}

/* ---- stored sparse ---- */

static void sparse_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct affinity_args *args = ((const struct affinity_job *)arg)->args;
    int64_t end = (task + 1) * ROWS_PER_TASK < args->n ? (task + 1) * ROWS_PER_TASK : args->n;
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++) {
        double sum[SPECTRAL_BLOCK] = {0};
        for (int64_t i = args->sparse_offsets[row]; i < args->sparse_offsets[row + 1]; i++)
            for (int c = 0; c < SPECTRAL_BLOCK; c++)
                sum[c] += args->sparse_values[i] * args->in[(int64_t)args->sparse_columns[i] * SPECTRAL_BLOCK + c];
        memcpy(args->out + row * SPECTRAL_BLOCK, sum, sizeof sum);
    }
}

reel_status cpu_affinity_apply(struct backend *backend, const struct affinity_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    struct affinity_job job = {.args = args, .kernels = choose_kernels()};
    if (args->kind == AFFINITY_SPARSE) {
        thread_pool_run(backend->pool, (args->n + ROWS_PER_TASK - 1) / ROWS_PER_TASK, sparse_task, &job);
        return REEL_OK;
    }
    job.scratch_size = (size_t)args->n_monomials * AFFINITY_ROWS + AFFINITY_ROWS * SPECTRAL_BLOCK;
    TRY(MEM_RAW(&job.tiles, (size_t)tiles_of(args->n) * (size_t)args->d * AFFINITY_ROWS, err));
    TRY(MEM_RAW(&job.scratch, job.scratch_size * (size_t)thread_pool_size(backend->pool), err));
    thread_pool_run(backend->pool, tiles_of(args->n), transpose_task, &job);
    if (args->n_monomials)
        TRY(apply_features(backend, &job, err));
    else
        thread_pool_run(backend->pool, tiles_of(args->n), kernel_rows_task, &job);
cleanup:
    mem_free(job.scratch);
    mem_free(job.sums);
    mem_free(job.partial);
    mem_free(job.tiles);
    return status;
}

/* ---- block products ---- */

struct dot_job {
    const struct block_dot_args *args;
    const struct affinity_kernels *kernels;
    double *partial; /* (PIECES, a_columns, SPECTRAL_BLOCK) */
};

static void dot_task(void *arg, int64_t piece, int worker) {
    (void)worker;
    const struct dot_job *job = arg;
    const struct block_dot_args *args = job->args;
    size_t size = (size_t)args->a_columns * SPECTRAL_BLOCK;
    double *out = job->partial + (size_t)piece * size;
    int64_t begin = part_begin(args->n, PIECES, piece), end = part_begin(args->n, PIECES, piece + 1);
    memset(out, 0, size * sizeof *out);
    job->kernels->dot(args->a + begin * args->a_ld, args->a_ld, args->a_columns, args->b + begin * SPECTRAL_BLOCK,
                      end - begin, out);
}

reel_status cpu_block_dot(struct backend *backend, const struct block_dot_args *args, reel_error *err) {
    struct dot_job job = {.args = args, .kernels = choose_kernels()};
    size_t size = (size_t)args->a_columns * SPECTRAL_BLOCK;
    TRY_RETURN(MEM_RAW(&job.partial, PIECES * size, err));
    thread_pool_run(backend->pool, PIECES, dot_task, &job);
    memset(args->out, 0, size * sizeof *args->out);
    for (int piece = 0; piece < PIECES; piece++)
        for (size_t i = 0; i < size; i++) args->out[i] += job.partial[(size_t)piece * size + i];
    mem_free(job.partial);
    return REEL_OK;
}

struct update_job {
    const struct block_update_args *args;
    const struct affinity_kernels *kernels;
};

static void update_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct update_job *job = arg;
    const struct block_update_args *args = job->args;
    int64_t end = (task + 1) * ROWS_PER_TASK < args->n ? (task + 1) * ROWS_PER_TASK : args->n;
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++)
        job->kernels->update(args->a + row * args->a_ld, args->c, args->a_columns, args->alpha, args->beta,
                             args->out + row * args->out_ld);
}

reel_status cpu_block_update(struct backend *backend, const struct block_update_args *args, reel_error *err) {
    (void)err;
    struct update_job job = {args, choose_kernels()};
    thread_pool_run(backend->pool, (args->n + ROWS_PER_TASK - 1) / ROWS_PER_TASK, update_task, &job);
    return REEL_OK;
}

static void scale_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct block_scale_args *args = arg;
    int64_t end = (task + 1) * ROWS_PER_TASK < args->n ? (task + 1) * ROWS_PER_TASK : args->n;
    for (int64_t row = task * ROWS_PER_TASK; row < end; row++) {
        const double *in = args->in + row * args->in_ld;
        double *out = args->out + row * args->out_ld;
        for (int c = 0; c < SPECTRAL_BLOCK; c++) out[c] = args->scale ? args->scale[row] * in[c] : in[c];
    }
}

reel_status cpu_block_scale(struct backend *backend, const struct block_scale_args *args, reel_error *err) {
    (void)err;
    struct block_scale_args job = *args;
    thread_pool_run(backend->pool, (args->n + ROWS_PER_TASK - 1) / ROWS_PER_TASK, scale_task, &job);
    return REEL_OK;
}

reel_status cpu_eigen_symmetric(struct backend *backend, const struct eigen_symmetric_args *args, reel_error *err) {
    (void)backend;
    return lapack_eigen_symmetric(args->n, args->a, args->values, err);
}

/* ---- k-means ---- */

struct kmeans_job {
    const struct kmeans_assign_args *args;
    double *sums;    /* (sets, PIECES, k, d) */
    int64_t *counts; /* (sets, PIECES, k) */
    double *inertia; /* (sets, PIECES) */
};

/* A piece of the points for one set of centers; d is a constant in the copies below, so that the loops over it
 * unroll. */
static inline __attribute__((always_inline)) void assign_points(struct kmeans_job *job, int64_t task, const int d) {
    const struct kmeans_assign_args *args = job->args;
    const int k = args->k;
    const int64_t set = task / PIECES, piece = task % PIECES;
    const double *centers = args->centers + set * k * d;
    int32_t *labels = args->labels + set * args->n;
    double *sums = job->sums + task * k * d, inertia = 0;
    int64_t *counts = job->counts + task * k;
    const int64_t end = part_begin(args->n, PIECES, piece + 1);
    for (int64_t i = part_begin(args->n, PIECES, piece); i < end; i++) {
        const double *point = args->points + i * d;
        double best = INFINITY;
        int label = 0;
        for (int c = 0; c < k; c++) {
            const double *center = centers + (ptrdiff_t)c * d;
            double distance = 0;
            for (int f = 0; f < d; f++) distance += (point[f] - center[f]) * (point[f] - center[f]);
            label = distance < best ? c : label;
            best = distance < best ? distance : best;
        }
        labels[i] = label;
        counts[label]++;
        for (int f = 0; f < d; f++) sums[label * d + f] += point[f];
        inertia += best;
    }
    job->inertia[task] = inertia;
}

static void kmeans_task(void *arg, int64_t task, int worker) {
    (void)worker;
    struct kmeans_job *job = arg;
    switch (job->args->d) {
    case 2:
        assign_points(job, task, 2);
        break;
    case 3:
        assign_points(job, task, 3);
        break;
    case 4:
        assign_points(job, task, 4);
        break;
    case 8:
        assign_points(job, task, 8);
        break;
    default:
        assign_points(job, task, job->args->d);
    }
}

reel_status cpu_kmeans_assign(struct backend *backend, const struct kmeans_assign_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    struct kmeans_job job = {.args = args};
    const int k = args->k, size = k * args->d, tasks = args->sets * PIECES;
    TRY(MEM_NEW(&job.sums, tasks * size, err));
    TRY(MEM_NEW(&job.counts, tasks * k, err));
    TRY(MEM_NEW(&job.inertia, tasks, err));
    thread_pool_run(backend->pool, tasks, kmeans_task, &job);
    memset(args->sums, 0, sizeof *args->sums * (size_t)(args->sets * size));
    memset(args->counts, 0, sizeof *args->counts * (size_t)(args->sets * k));
    memset(args->inertia, 0, sizeof *args->inertia * (size_t)args->sets);
    for (int task = 0; task < tasks; task++) {
        const int set = task / PIECES;
        for (int i = 0; i < size; i++) args->sums[set * size + i] += job.sums[task * size + i];
        for (int c = 0; c < k; c++) args->counts[set * k + c] += job.counts[task * k + c];
        args->inertia[set] += job.inertia[task];
    }
cleanup:
    mem_free(job.inertia);
    mem_free(job.counts);
    mem_free(job.sums);
    return status;
}
