/* factor_solve on CUDA: a thread block a row. The ratings' vectors are staged in shared memory a panel at a time, the
 * normal equations are added up by the tensor cores (gram_mma.h) and solved in shared memory (gram_solve.h). Long rows
 * are cut as on the CPU, their chunks' sums added in the same order. All sums have a fixed order, whatever the grid. */
#include <limits.h>

#include "core/error.h"
#include "kernels/common/normal.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/factor_inputs.h"
#include "kernels/cuda/gram_solve.h"

enum {
    PANEL_MAX = 32, /* ratings staged at a time; 16 or 8 where shared memory is short */
    WARPS_MAX = 16, /* of a block: 128 registers a thread, 16 warps a processor */
    FLUSH = 128     /* ratings whose sums stay in the tensor cores' registers: 48 sums cut instead of rounded (mma.h) */
};

/* A row of more than FACTOR_CHUNK ratings: its chunks' sums start at `first`. */
struct long_row {
    int64_t first;
    int32_t row;
};

struct row_chunk {
    int32_t row, chunk;
};

/* What the device tells the host. */
struct solve_report {
    unsigned long long n_chunks;
    int n_long;
    int failed_row; /* the lowest, INT_MAX = none */
};

struct solve_params {
    int k, solved, stride, biases; /* solved = d */
    int tiles, panel;              /* of d + 1 columns; ratings staged at a time */
    int weighted;                  /* some weight is not 1 */
    const int64_t *offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    const float *residual, *column_vectors, *row_offsets;
    float value[FACTOR_VALUES], weight[FACTOR_VALUES];
    float alpha, ridge_per_rating;
    const float *prior_precision, *prior_shift; /* (dev) */
    int noise;
    int32_t first_row;
    uint64_t seed, stream;
    float *row_vectors;
    float *partial; /* matrices of the chunks */
    const struct long_row *long_rows;
    const struct row_chunk *chunks;
    struct solve_report *report;
};

/* ---- long rows ---- */

/* Lists the long rows. Their order varies from run to run, what is computed for each does not. */
static __global__ void find_long_rows(const int64_t *offsets, int32_t n_rows, struct long_row *out,
                                      struct solve_report *report) {
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= n_rows) return;
    int64_t n = offsets[row + 1] - offsets[row];
    if (n <= FACTOR_CHUNK) return;
    int64_t first = (int64_t)atomicAdd(&report->n_chunks, (unsigned long long)((n + FACTOR_CHUNK - 1) / FACTOR_CHUNK));
    out[atomicAdd(&report->n_long, 1)] = {first, (int32_t)row};
}

static __global__ void cut_long_rows(const int64_t *offsets, const struct long_row *long_rows,
                                     struct row_chunk *chunks) {
    struct long_row row = long_rows[blockIdx.x];
    int64_t n = offsets[row.row + 1] - offsets[row.row];
    for (int64_t chunk = threadIdx.x; chunk * FACTOR_CHUNK < n; chunk += blockDim.x)
        chunks[row.first + chunk] = {row.row, (int32_t)chunk};
}

/* ---- staging ---- */

/* What one thread knows of a rating to come. Past the end the weight is 0 and the column -1. */
struct coming {
    int32_t column;
    float weight, target;
};

/* The ratings of a panel, for the warps that fetch its vectors. */
struct panel_index {
    int32_t column[PANEL_MAX];
    float weight[PANEL_MAX], target[PANEL_MAX];
};

static __device__ __forceinline__ struct coming load_rating(const struct solve_params &p, int64_t i, int64_t end) {
    if (i >= end) return {-1, 0, 0};
    const int rating = p.ratings[i];
    return {p.columns[i], p.weight[rating], p.value[rating] - (p.residual ? p.residual[i] : 0)};
}

static __device__ __forceinline__ void list_rating(struct panel_index &index, const struct coming &rating) {
    if ((int)threadIdx.x >= PANEL_MAX) return;
    index.column[threadIdx.x] = rating.column;
    index.weight[threadIdx.x] = rating.weight;
    index.target[threadIdx.x] = rating.target;
}

/* Starts the copies of the factors of the first n ratings of a panel, a warp a rating; zeros past the end. */
static __device__ __forceinline__ void copy_factors(const struct solve_params &p, const struct panel_index &index,
                                                    int n, float *panel) {
    const int lane = (int)threadIdx.x % 32, fours = p.k / 4;
    for (int q = (int)threadIdx.x / 32; q < n; q += (int)blockDim.x / 32) {
        const int32_t column = index.column[q];
        const float *from = p.column_vectors + (int64_t)(column < 0 ? 0 : column) * p.stride;
        float *to = panel + q * gram_pitch(p.tiles, 0);
        for (int f = lane; f < fours; f += 32) async_copy<4>(to + 4 * f, from + 4 * f, column >= 0);
        if (lane < p.k % 4) async_copy<1>(to + 4 * fours + lane, from + 4 * fours + lane, column >= 0);
    }
}

/* Multiplies what this thread copied by the ratings' weights. */
static __device__ __forceinline__ void scale_factors(const struct solve_params &p, const struct panel_index &index,
                                                     int n, float *panel) {
    const int lane = (int)threadIdx.x % 32, fours = p.k / 4;
    for (int q = (int)threadIdx.x / 32; q < n; q += (int)blockDim.x / 32) {
        const float weight = index.weight[q];
        float *at = panel + q * gram_pitch(p.tiles, 0);
        for (int f = lane; f < fours; f += 32) {
            float4 *four = (float4 *)at + f;
            *four = make_float4(four->x * weight, four->y * weight, four->z * weight, four->w * weight);
        }
        if (lane < p.k % 4) at[4 * fours + lane] *= weight;
    }
}

/* ---- the normal equations ---- */

/* matrix = the sums of the ratings begin .. end - 1, at most FACTOR_CHUNK. While one panel is added up the next is on
 * its way, and the ratings of the one after it: one barrier a panel. A matrix of more slots than the block's registers
 * hold takes several passes over the ratings. Ends with a barrier. */
static __device__ __forceinline__ void add_ratings(const struct solve_params &p, int64_t begin, int64_t end,
                                                   float *matrix, float *panels) {
    __shared__ struct panel_index index[2];
    const int thread = (int)threadIdx.x, pitch = gram_pitch(p.tiles, 0), n_ratings = (int)(end - begin);
    const int n_panels = (n_ratings + p.panel - 1) / p.panel, owner = thread < p.panel;
    const int warps = (int)blockDim.x / 32, passes = gram_passes(p.tiles, p.solved, 0, warps);
    for (int pass = 0; pass < passes; pass++) {
        const struct gram_share share = gram_share_of(p.tiles, p.solved, 0, pass * warps + thread / 32, passes * warps);
        gram_sums sums;
        float stored = 0; /* 1: the matrix holds sums already */
        gram_clear(sums);
        list_rating(index[0], load_rating(p, begin + thread, owner ? end : begin));
        __syncthreads();
        for (int turn = 0; turn <= n_panels; turn++) {
            const int now = turn % 2;
            float *next = panels + now * p.panel * pitch, *last = panels + (1 - now) * p.panel * pitch;
            const int left = n_ratings - turn * p.panel, before = left + p.panel;
            const int n = left < 0 ? 0 : left < p.panel ? (left + 7) / 8 * 8 : p.panel;
            copy_factors(p, index[now], n, next);
            const int64_t after = begin + (int64_t)(turn + 1) * p.panel + thread;
            const struct coming following = load_rating(p, after, owner ? end : begin);
            const int32_t column = thread < n ? index[now].column[thread] : -1;
            const float bias = column < 0 ? 0 : p.column_vectors[(int64_t)column * p.stride + p.k];
            if (turn > 0)
                gram_add(sums, last, pitch, ((before < p.panel ? before : p.panel) + 7) / 8, p.tiles, 0, share);
            if (turn > 0 && turn * p.panel % FLUSH == 0 && left > 0) {
                gram_store(matrix, sums, stored, 1, p.tiles, p.solved, 0, share);
                gram_clear(sums);
                stored = 1;
            }
            if (thread < n) {
                const float weight = index[now].weight[thread];
                if (p.biases) next[thread * pitch + p.k] = weight;
                next[thread * pitch + p.solved] = (index[now].target[thread] - bias) * weight;
            }
            list_rating(index[1 - now], following);
            async_copy_wait();
            if (p.weighted) scale_factors(p, index[now], n, next);
            __syncthreads();
        }
        gram_store(matrix, sums, stored, 1, p.tiles, p.solved, 0, share);
    }
    __syncthreads();
}

/* matrix = the chunk sums of a long row, added in order. */
static __device__ void add_chunks(const struct solve_params &p, int64_t first, int64_t n_chunks, float *matrix) {
    const int size = gram_size(p.tiles, p.solved);
    for (int e = (int)threadIdx.x; e < size; e += (int)blockDim.x) {
        float sum = p.partial[first * size + e];
        for (int64_t chunk = first + 1; chunk < first + n_chunks; chunk++) sum += p.partial[chunk * size + e];
        matrix[e] = sum;
    }
    __syncthreads();
}

/* The fixed part of a row's vector, or NULL. */
static __device__ __forceinline__ const float *fixed_part(const struct solve_params &p, int32_t row) {
    return p.row_offsets ? p.row_offsets + (int64_t)row * p.stride : NULL;
}

/* right = the prior's shift, and with a fixed part s also (prior + ridge) s: the solution is then s more (as on the
 * CPU). A thread an element. */
static __device__ void right_side(const struct solve_params &p, const float *fixed, float ridge, float *right) {
    const int i = (int)threadIdx.x;
    if (i < p.solved) {
        float sum = p.prior_shift[i];
#pragma unroll 8
        for (int j = 0; fixed && j < p.solved; j++) sum = fmaf(fixed[j], p.prior_precision[j * p.stride + i], sum);
        right[i] = fixed ? fmaf(ridge, fixed[i], sum) : sum;
    }
    __syncthreads();
}

/* Scales by alpha, adds the prior. A thread a column, eight rows at a time. */
static __device__ void add_prior(const struct solve_params &p, float ridge, const float *right, float *matrix) {
    const int column = (int)threadIdx.x;
    if (column <= p.solved)
        for (int i = 0; i <= column && i < p.solved; i += 8) {
            float *at = matrix + gram_row(p.tiles, i) + column, prior[8];
            const int pitch = gram_pitch(p.tiles, i / 16);
#pragma unroll
            for (int l = 0; l < 8; l++)
                if (i + l <= column && i + l < p.solved)
                    prior[l] = column == p.solved ? right[i + l] : p.prior_precision[(i + l) * p.stride + column];
#pragma unroll
            for (int l = 0; l < 8; l++)
                if (i + l <= column && i + l < p.solved)
                    at[l * pitch] = p.alpha * at[l * pitch] + prior[l] + (i + l == column ? ridge : 0);
        }
    __syncthreads();
}

/* ---- the solution ---- */

/* x = standard normal variates, (solved,). */
static __device__ void draw_noise(const struct solve_params &p, int32_t row, float *x) {
    for (int f = 4 * (int)threadIdx.x; f < p.solved; f += 4 * (int)blockDim.x) {
        float z[4];
        philox_normals(p.seed, p.stream, (uint64_t)(p.first_row + row) * 128 + (uint64_t)f / 4, z);
        for (int l = 0; l < 4 && f + l < p.solved; l++) x[f + l] = z[l];
    }
}

static __device__ void store_solution(const struct solve_params &p, int32_t row, const float *x) {
    const float *fixed = fixed_part(p, row);
    float *out = p.row_vectors + (int64_t)row * p.stride;
    for (int f = (int)threadIdx.x % 32; f < p.stride; f += 32)
        if (f < p.solved)
            out[f] = fixed ? x[f] - fixed[f] : x[f];
        else if (p.biases || f != p.k)
            out[f] = 0;
}

/* Solves the normal equations of a row; what the panels held is free by now. */
static __device__ __forceinline__ void solve_row(const struct solve_params &p, int32_t row, float *matrix,
                                                 float *panels) {
    __shared__ int solvable;
    float *inverse = panels, *x = panels + 8 * gram_tiles(p.solved);
    const float ridge = p.ridge_per_rating * (float)(p.offsets[row + 1] - p.offsets[row]);
    right_side(p, fixed_part(p, row), ridge, x);
    add_prior(p, ridge, x, matrix);
    if (p.noise) draw_noise(p, row, x);
    int good = gram_cholesky(matrix, inverse, p.tiles, p.solved, (int)blockDim.x / 32);
    if ((int)threadIdx.x == p.solved) solvable = good;
    __syncthreads();
    if (threadIdx.x >= 32) return;
    for (int f = (int)threadIdx.x; f < p.solved; f += 32)
        x[f] = matrix[gram_row(p.tiles, f) + p.solved] + (p.noise ? x[f] : 0);
    __syncwarp();
    if (solvable && gram_back_substitute(matrix, inverse, p.tiles, p.solved, x))
        store_solution(p, row, x);
    else if (threadIdx.x == 0)
        atomicMin(&p.report->failed_row, row);
}

/* ---- kernels ---- */

/* Warps of a block: at least d + 1 threads, and one pass for up to 200 columns. */
static int threads_for(const struct solve_params *p) {
    const int slots = gram_slots(p->tiles, p->solved, 0);
    int warps = p->tiles <= 4 ? 1 : 2;
    while (warps < WARPS_MAX && slots > warps * GRAM_SLOTS) warps *= 2;
    return 32 * warps;
}

/* The sums of one chunk of a long row. */
static __global__ void __launch_bounds__(32 * WARPS_MAX) chunk_kernel(const __grid_constant__ struct solve_params p) {
    extern __shared__ float4 shared[];
    const int size = gram_size(p.tiles, p.solved);
    float *matrix = (float *)shared;
    const struct row_chunk chunk = p.chunks[blockIdx.x];
    const int64_t begin = p.offsets[chunk.row] + (int64_t)chunk.chunk * FACTOR_CHUNK;
    const int64_t last = p.offsets[chunk.row + 1], end = begin + FACTOR_CHUNK < last ? begin + FACTOR_CHUNK : last;
    add_ratings(p, begin, end, matrix, matrix + size);
    for (int e = (int)threadIdx.x; e < size; e += (int)blockDim.x)
        p.partial[(int64_t)blockIdx.x * size + e] = matrix[e];
}

/* One row: of `long_rows` if that is not NULL, else row blockIdx.x unless it is long. */
static __global__ void __launch_bounds__(32 * WARPS_MAX) row_kernel(const __grid_constant__ struct solve_params p) {
    extern __shared__ float4 shared[];
    float *matrix = (float *)shared, *panels = matrix + gram_size(p.tiles, p.solved);
    int32_t row = (int32_t)blockIdx.x;
    if (p.long_rows) {
        row = p.long_rows[blockIdx.x].row;
        int64_t n = p.offsets[row + 1] - p.offsets[row];
        add_chunks(p, p.long_rows[blockIdx.x].first, (n + FACTOR_CHUNK - 1) / FACTOR_CHUNK, matrix);
    } else {
        if (p.offsets[row + 1] - p.offsets[row] > FACTOR_CHUNK) return;
        add_ratings(p, p.offsets[row], p.offsets[row + 1], matrix, panels);
    }
    solve_row(p, row, matrix, panels);
}

/* ---- the operator ---- */

static size_t shared_bytes(const struct solve_params *p) {
    return ((size_t)gram_size(p->tiles, p->solved) + (size_t)2 * (size_t)p->panel * (size_t)gram_pitch(p->tiles, 0)) *
           sizeof(float);
}

/* The longest panel that fits a block of this device: at k = 256 32 ratings on Hopper, 8 on Ampere. */
static reel_status choose_panel(struct cuda_backend *cuda, struct solve_params *p, reel_error *err) {
    const int for_the_compiler = 1 << 10;
    int most;
    TRY_RETURN(cuda_status(cuda, cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, cuda->device),
                           "asking for the shared memory of a block", err));
    for (p->panel = PANEL_MAX; shared_bytes(p) > (size_t)(most - for_the_compiler); p->panel /= 2)
        if (p->panel == 8)
            return error_set(err, REEL_UNSUPPORTED, "cuda:%d: %d factors take %zu bytes of shared memory, it has %d",
                             cuda->device, p->k, shared_bytes(p), most - for_the_compiler);
    return REEL_OK;
}

static reel_status allow_shared(struct cuda_backend *cuda, size_t bytes, reel_error *err) {
    TRY_RETURN(cuda_status(cuda,
                           cudaFuncSetAttribute(chunk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                           "shared memory of factor_solve", err));
    return cuda_status(cuda, cudaFuncSetAttribute(row_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                       "shared memory of factor_solve", err);
}

/* Chunks of the long rows first: they take longest. p->long_rows is set for the last launch. */
static reel_status solve_long_rows(struct cuda_backend *cuda, struct solve_params *p, const struct long_row *long_rows,
                                   const struct solve_report *found, reel_error *err) {
    const size_t lists = factor_aligned(found->n_chunks * sizeof(struct row_chunk)), bytes = shared_bytes(p);
    const size_t size = (size_t)gram_size(p->tiles, p->solved) * sizeof(float);
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 1, lists + found->n_chunks * size, (void **)&at, err));
    p->chunks = (const struct row_chunk *)at;
    p->partial = (float *)(at + lists);
    cut_long_rows<<<(unsigned)found->n_long, 32, 0, cuda->stream>>>(p->offsets, long_rows, (struct row_chunk *)at);
    TRY_RETURN(cuda_launched(cuda, "cut_long_rows", err));
    chunk_kernel<<<(unsigned)found->n_chunks, (unsigned)threads_for(p), bytes, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "chunk_kernel", err));
    p->long_rows = long_rows;
    row_kernel<<<(unsigned)found->n_long, (unsigned)threads_for(p), bytes, cuda->stream>>>(*p);
    p->long_rows = NULL;
    return cuda_launched(cuda, "row_kernel of long rows", err);
}

static reel_status solve_rows(struct cuda_backend *cuda, struct solve_params *p, int32_t n_rows,
                              struct long_row *long_rows, reel_error *err) {
    struct solve_report found;
    find_long_rows<<<(unsigned)(((int64_t)n_rows + 255) / 256), 256, 0, cuda->stream>>>(p->offsets, n_rows, long_rows,
                                                                                        p->report);
    TRY_RETURN(cuda_launched(cuda, "find_long_rows", err));
    TRY_RETURN(cuda->base.ops->download(&cuda->base, &found, p->report, sizeof found, err));
    TRY_RETURN(allow_shared(cuda, shared_bytes(p), err));
    if (found.n_long > 0) TRY_RETURN(solve_long_rows(cuda, p, long_rows, &found, err));
    row_kernel<<<(unsigned)n_rows, (unsigned)threads_for(p), shared_bytes(p), cuda->stream>>>(*p);
    return cuda_launched(cuda, "row_kernel", err);
}

static struct solve_params params_of(const struct factor_solve_args *args) {
    struct solve_params p = {.k = args->k,
                             .solved = args->k + (args->biases ? 1 : 0),
                             .stride = args->stride,
                             .biases = args->biases,
                             .offsets = args->offsets,
                             .columns = args->columns,
                             .ratings = args->ratings,
                             .residual = args->residual,
                             .column_vectors = args->column_vectors,
                             .row_offsets = args->row_offsets,
                             .alpha = args->alpha,
                             .ridge_per_rating = args->ridge_per_rating,
                             .noise = args->noise,
                             .first_row = args->first_row,
                             .seed = args->seed,
                             .stream = args->stream,
                             .row_vectors = args->row_vectors};
    p.tiles = gram_tiles(p.solved + 1);
    for (int v = 0; v < FACTOR_VALUES; v++) {
        p.value[v] = args->value[v];
        p.weight[v] = args->weight[v];
        p.weighted |= args->weight[v] != 1;
    }
    return p;
}

reel_status cuda_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0) return REEL_OK;
    struct solve_params p = params_of(args);
    struct factor_inputs inputs;
    struct solve_report report = {.failed_row = INT_MAX};
    TRY_RETURN(choose_panel(cuda, &p, err));
    TRY_RETURN(factor_inputs_place(cuda, args, &report, sizeof report, sizeof(struct long_row), &inputs, err));
    p.report = (struct solve_report *)inputs.report;
    p.prior_precision = inputs.prior_precision;
    p.prior_shift = inputs.prior_shift;
    TRY_RETURN(solve_rows(cuda, &p, args->n_rows, (struct long_row *)inputs.list, err));
    TRY_RETURN(backend->ops->download(backend, &report, p.report, sizeof report, err));
    if (report.failed_row == INT_MAX) return REEL_OK;
    return error_set(err, REEL_NUMERIC,
                     "row %d: the normal equations are not positive definite in single precision; "
                     "raise the regularization",
                     args->first_row + report.failed_row);
}
