/* The Gibbs sampler's smaller operators on CUDA. Sums run in orders fixed by the data alone: not by the chip, the grid
 * or the moment. */
#include <string.h>

#include "backend/gibbs_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/common/normal.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/gram_tile.h"

enum { THREADS = 256 };

static struct cuda_backend *self(struct backend *backend) {
    return (struct cuda_backend *)backend;
}

/* Blocks of THREADS for n elements, one a thread. */
static unsigned blocks_for(int64_t n) {
    return (unsigned)((n + THREADS - 1) / THREADS);
}

/* <a, b> by the sixteen lanes of half a warp: the running sums and the tree of the CPU's dot. On lane 0 of the half. */
static __device__ __forceinline__ float half_warp_dot(const float *a, const float *b, int k, int stride,
                                                      unsigned mask) {
    const int lane = (int)threadIdx.x % FACTOR_LANES;
    float sum = 0;
    for (int at = lane; at < stride; at += FACTOR_LANES) sum = fmaf(at == k ? 0 : a[at], b[at], sum);
    for (int half = FACTOR_LANES / 2; half > 0; half /= 2) sum += __shfl_down_sync(mask, sum, half, FACTOR_LANES);
    return sum;
}

static __device__ __forceinline__ unsigned half_warp_mask(void) {
    return threadIdx.x % 32 < FACTOR_LANES ? 0x0000ffffu : 0xffff0000u;
}

/* ---- residuals ---- */

enum { PARTS = CUDA_RESIDUAL_PARTS, HALVES = (int)THREADS / (int)FACTOR_LANES }; /* a run of ratings each half warp */

struct residuals_params {
    int k, stride;
    int32_t n_rows;
    const int64_t *offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    float value[FACTOR_VALUES];
    const float *effects, *row_vectors, *column_vectors;
    float *out;
    int first_part;
    double *sums; /* of the parts from first_part on */
};

/* The row that rating i belongs to: the last whose offset is not past it and that is not empty. */
static __device__ int32_t row_of(const int64_t *offsets, int32_t n_rows, int64_t i) {
    int32_t low = 0, high = n_rows - 1;
    while (low < high) {
        int32_t middle = low + (high - low + 1) / 2;
        if (offsets[middle] <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static __global__ void __launch_bounds__(THREADS) residuals_kernel(const __grid_constant__ struct residuals_params p) {
    __shared__ double sums[HALVES];
    const int half = (int)threadIdx.x / FACTOR_LANES, lane = (int)threadIdx.x % FACTOR_LANES;
    const unsigned mask = half_warp_mask();
    const int64_t n = p.offsets[p.n_rows], part = (int64_t)(p.first_part + (int)blockIdx.x) * HALVES + half;
    const int64_t whole = n / (PARTS * HALVES), rest = n % (PARTS * HALVES); /* part_begin of core/threads.h */
    const int64_t begin = part * whole + (part < rest ? part : rest), end = begin + whole + (part < rest);
    int32_t row = begin < end ? row_of(p.offsets, p.n_rows, begin) : 0;
    double sum = 0;
    for (int64_t i = begin; i < end; i++) {
        while (i >= p.offsets[row + 1]) row++;
        const float *u = p.row_vectors + (int64_t)row * p.stride;
        const float *column = p.column_vectors + (int64_t)p.columns[i] * p.stride;
        float dot = half_warp_dot(u, column, p.k, p.stride, mask);
        if (lane > 0) continue;
        float error = p.value[p.ratings[i]] - u[p.k] - column[p.k] - dot;
        if (p.effects) error -= p.effects[i];
        if (p.out) p.out[i] = error;
        sum += (double)error * (double)error;
    }
    if (lane == 0) sums[half] = sum;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int h = 1; h < HALVES; h++) sum += sums[h];
    p.sums[blockIdx.x] = sum;
}

int64_t cuda_residual_begin(int64_t n, int part) {
    return part_begin(n, PARTS * HALVES, part * HALVES);
}

reel_status cuda_residual_parts(struct backend *backend, const struct residuals_args *args, int first, int n_parts,
                                double *sums, reel_error *err) {
    struct cuda_backend *cuda = self(backend);
    const size_t bytes = (size_t)n_parts * sizeof *sums;
    struct residuals_params p = {.k = args->k,
                                 .stride = args->stride,
                                 .n_rows = args->n_rows,
                                 .offsets = args->offsets,
                                 .columns = args->columns,
                                 .ratings = args->ratings,
                                 .effects = args->effects,
                                 .row_vectors = args->row_vectors,
                                 .column_vectors = args->column_vectors,
                                 .out = args->out,
                                 .first_part = first};
    memset(sums, 0, bytes);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0 || n_parts == 0) return REEL_OK;
    memcpy(p.value, args->value, sizeof p.value);
    TRY_RETURN(cuda_scratch(cuda, 0, bytes, (void **)&p.sums, err));
    residuals_kernel<<<(unsigned)n_parts, THREADS, 0, cuda->stream>>>(p);
    TRY_RETURN(cuda_launched(cuda, "residuals_kernel", err));
    return backend->ops->download(backend, sums, p.sums, bytes, err);
}

reel_status cuda_residuals(struct backend *backend, const struct residuals_args *args, reel_error *err) {
    double sums[PARTS];
    *args->sum_squares = 0;
    TRY_RETURN(cuda_residual_parts(backend, args, 0, PARTS, sums, err));
    for (int part = 0; part < PARTS; part++) *args->sum_squares += sums[part];
    return REEL_OK;
}

/* ---- grouped effects ---- */

/* A thread a group, its ratings in order, as on the CPU. */
static __global__ void __launch_bounds__(THREADS)
    group_sweep_kernel(const __grid_constant__ struct group_sweep_args p) {
    const int64_t g = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (g >= p.n_groups) return;
    const int64_t begin = p.offsets[g], end = p.offsets[g + 1];
    const float old = p.effects[g];
    float sum = 0, normals[4];
    for (int64_t i = begin; i < end; i++) sum += p.residual[p.positions[i]] + old;
    philox_normals(p.seed, p.stream, (uint64_t)g / 4, normals);
    const int at = (int)(g % 4);
    const float normal = at == 0 ? normals[0] : at == 1 ? normals[1] : at == 2 ? normals[2] : normals[3];
    const float precision = p.prior_precision + p.alpha * (float)(end - begin);
    const float drawn = p.alpha * sum / precision + normal / sqrtf(precision);
    p.effects[g] = drawn;
    for (int64_t i = begin; i < end; i++) p.residual[p.positions[i]] += old - drawn;
}

reel_status cuda_group_sweep(struct backend *backend, const struct group_sweep_args *args, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    if (args->n_groups == 0) return REEL_OK;
    group_sweep_kernel<<<blocks_for(args->n_groups), THREADS, 0, self(backend)->stream>>>(*args);
    return cuda_launched(self(backend), "group_sweep_kernel", err);
}

static __global__ void __launch_bounds__(THREADS) group_add_kernel(const __grid_constant__ struct group_add_args p) {
    const int64_t g = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (g >= p.n_groups) return;
    const float effect = p.effects[g];
    for (int64_t i = p.offsets[g]; i < p.offsets[g + 1]; i++) p.out[p.positions[i]] += effect;
}

reel_status cuda_group_add(struct backend *backend, const struct group_add_args *args, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    if (args->n_groups == 0) return REEL_OK;
    group_add_kernel<<<blocks_for(args->n_groups), THREADS, 0, self(backend)->stream>>>(*args);
    return cuda_launched(self(backend), "group_add_kernel", err);
}

/* ---- moments ---- */

enum { VECTORS_PER_PART = 256, MOMENT_TILE = 8 }; /* parts as on the CPU: each summed in single precision */

struct moments_params {
    int d, stride, width;
    int64_t n, n_parts;
    const float *vectors;
    float *grams;   /* (n_parts,) tiles */
    double *sums;   /* (n_parts, d) */
    double *result; /* (threads, tile) scatter, then (d,) sum */
};

static __global__ void __launch_bounds__(GRAM_THREADS_MAX)
    moments_kernel(const __grid_constant__ struct moments_params p) {
    extern __shared__ float4 shared[];
    float *panel = (float *)shared, sums[MOMENT_TILE][MOMENT_TILE] = {};
    const struct gram_tile tile = gram_tile_of_thread(p.width / MOMENT_TILE);
    const int64_t begin = (int64_t)blockIdx.x * VECTORS_PER_PART;
    const int64_t end = begin + VECTORS_PER_PART < p.n ? begin + VECTORS_PER_PART : p.n;
    for (int64_t at = begin; at < end; at += GRAM_PANEL) {
        const int n = end - at < GRAM_PANEL ? (int)(end - at) : GRAM_PANEL;
        for (int e = (int)threadIdx.x; e < n * p.width; e += (int)blockDim.x) {
            const int q = e / p.width, f = e % p.width;
            panel[q * p.width + gram_position<MOMENT_TILE>(f, p.width)] =
                f < p.d ? p.vectors[(at + q) * p.stride + f] : 0;
        }
        __syncthreads();
        gram_add<MOMENT_TILE>(sums, panel, n, p.width, tile);
        __syncthreads();
    }
    gram_store<MOMENT_TILE>(sums, p.grams, blockIdx.x);
    for (int f = (int)threadIdx.x; f < p.d; f += (int)blockDim.x) {
        double sum = 0;
        for (int64_t i = begin; i < end; i++) sum += (double)p.vectors[i * p.stride + f];
        p.sums[(int64_t)blockIdx.x * p.d + f] = sum;
    }
}

/* Adds the parts in order, a thread an element: `n_elements` of the tiles, then d of the sums. */
static __global__ void __launch_bounds__(THREADS)
    add_parts_kernel(const __grid_constant__ struct moments_params p, int n_elements) {
    const int element = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (element >= n_elements + p.d) return;
    double sum = 0;
    for (int64_t part = 0; part < p.n_parts; part++)
        sum += element < n_elements ? (double)p.grams[part * n_elements + element]
                                    : p.sums[part * p.d + element - n_elements];
    p.result[element] = sum;
}

/* result (tile elements, threads) -> scatter (d, d). */
static void spread_tiles(const double *result, int d, int threads, double *scatter) {
    const int rows = gram_tile_rows(d, MOMENT_TILE);
    int thread = 0;
    for (int ti = 0; ti < rows; ti++)
        for (int tj = ti; tj < rows; tj++, thread++)
            for (int e = 0; e < MOMENT_TILE * MOMENT_TILE; e++) {
                const int i = ti * MOMENT_TILE + e / MOMENT_TILE, j = tj * MOMENT_TILE + e % MOMENT_TILE;
                if (i >= d || j >= d || j < i) continue;
                scatter[i * d + j] = scatter[j * d + i] = result[e * threads + thread];
            }
}

static reel_status queue_moments(struct cuda_backend *cuda, struct moments_params *p, int threads, reel_error *err) {
    const int n_elements = threads * MOMENT_TILE * MOMENT_TILE;
    const size_t parts = (size_t)p->n_parts, grams = parts * (size_t)n_elements * sizeof(float);
    const size_t sums = parts * (size_t)p->d * sizeof(double), result = (size_t)(n_elements + p->d) * sizeof(double);
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 0, grams + sums + result, (void **)&at, err)); /* grams: a multiple of 256 bytes */
    p->grams = (float *)at;
    p->sums = (double *)(at + grams);
    p->result = (double *)(at + grams + sums);
    moments_kernel<<<(unsigned)p->n_parts, (unsigned)threads, GRAM_PANEL *(size_t)p->width * sizeof(float),
                     cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "moments_kernel", err));
    add_parts_kernel<<<blocks_for(n_elements + p->d), THREADS, 0, cuda->stream>>>(*p, n_elements);
    return cuda_launched(cuda, "add_parts_kernel", err);
}

reel_status cuda_moments(struct backend *backend, const struct moments_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    struct cuda_backend *cuda = self(backend);
    const int d = args->d, threads = gram_threads(d, MOMENT_TILE), n_elements = threads * MOMENT_TILE * MOMENT_TILE;
    double *host = NULL;
    struct moments_params p = {.d = d,
                               .stride = args->stride,
                               .width = gram_tile_rows(d, MOMENT_TILE) * MOMENT_TILE,
                               .n = args->n,
                               .n_parts = (args->n + VECTORS_PER_PART - 1) / VECTORS_PER_PART,
                               .vectors = args->vectors};
    memset(args->sum, 0, (size_t)d * sizeof *args->sum);
    memset(args->scatter, 0, (size_t)d * (size_t)d * sizeof *args->scatter);
    if (d > GRAM_DIM_MAX)
        return error_set(err, REEL_UNSUPPORTED, "the CUDA backend takes vectors of at most %d elements (found %d)",
                         GRAM_DIM_MAX, d);
    TRY(cuda_backend_use(cuda, err));
    if (args->n == 0) return REEL_OK;
    TRY(MEM_RAW(&host, n_elements + d, err));
    TRY(queue_moments(cuda, &p, threads, err));
    TRY(backend->ops->download(backend, host, p.result, (size_t)(n_elements + d) * sizeof *host, err));
    spread_tiles(host, d, threads, args->scatter);
    memcpy(args->sum, host + n_elements, (size_t)d * sizeof *host);
cleanup:
    mem_free(host);
    return status;
}

/* ---- element-wise ---- */

static __global__ void __launch_bounds__(THREADS) gather_kernel(const __grid_constant__ struct gather_args p) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < p.n) p.out[i] = p.in[p.index[i]];
}

reel_status cuda_gather(struct backend *backend, const struct gather_args *args, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    if (args->n == 0) return REEL_OK;
    gather_kernel<<<blocks_for(args->n), THREADS, 0, self(backend)->stream>>>(*args);
    return cuda_launched(self(backend), "gather_kernel", err);
}

static __global__ void __launch_bounds__(THREADS)
    add_vectors_kernel(const __grid_constant__ struct add_vectors_args p) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < p.n) p.out[i] = p.a[i] + (p.b ? p.b[i] : 0);
}

reel_status cuda_add_vectors(struct backend *backend, const struct add_vectors_args *args, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    if (args->n == 0) return REEL_OK;
    add_vectors_kernel<<<blocks_for(args->n), THREADS, 0, self(backend)->stream>>>(*args);
    return cuda_launched(self(backend), "add_vectors_kernel", err);
}

/* ---- pair_scores ---- */

/* Half a warp a pair. */
static __global__ void __launch_bounds__(THREADS)
    pair_scores_kernel(const __grid_constant__ struct pair_scores_args p) {
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / FACTOR_LANES;
    if (i >= p.n) return;
    const float *row = p.rows[i] < 0 ? NULL : p.row_vectors + (int64_t)p.rows[i] * p.stride;
    const float *column = p.columns[i] < 0 ? NULL : p.column_vectors + (int64_t)p.columns[i] * p.stride;
    float score = (row ? row[p.k] : 0) + (column ? column[p.k] : 0);
    if (row && column) score += half_warp_dot(row, column, p.k, p.stride, half_warp_mask());
    if (threadIdx.x % FACTOR_LANES == 0) p.out[i] = score;
}

reel_status cuda_pair_scores(struct backend *backend, const struct pair_scores_args *args, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    if (args->n == 0) return REEL_OK;
    pair_scores_kernel<<<blocks_for(args->n * FACTOR_LANES), THREADS, 0, self(backend)->stream>>>(*args);
    return cuda_launched(self(backend), "pair_scores_kernel", err);
}
