/* set_sweep on CUDA. The columns of one block of dimensions are drawn one after the other (backend/gibbs_ops.h), as on
 * the CPU, but what one draw does to a later one can be known beforehand: a column's change d moves sum_r q_r of column
 * c by -C d, C = sum of h_r over the rows that both have. So columns go in batches of BATCH:
 *
 *     sums      sum_r q_r of the batch's columns, all at once; the last block to finish then draws them in turn,
 *               each change taken off the sums of those behind it (C is made for all pairs of a batch beforehand)
 *     moves     q_r -= h_r times the changes of the row's columns in the batch, all rows at once
 *
 * which gives the draws of the sequential program but for the order of sums, with two launches a batch. */
#include "backend/gibbs_ops.h"
#include "core/error.h"
#include "kernels/common/normal.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/set_rows.h"

/* Blocks of THREADS for n elements, one a thread. */
static unsigned blocks_for(int64_t n) {
    return (unsigned)((n + THREADS - 1) / THREADS);
}

/* The group's lanes as a mask. */
static __device__ __forceinline__ unsigned group_mask(void) {
    return 0xffu << (threadIdx.x % 32 / B * B);
}

/* Element `threadIdx.x % B` of a symmetric matrix times the vector that the group holds, added up as on the CPU. */
static __device__ __forceinline__ float group_apply(const float *matrix, float v, unsigned mask) {
    const int j = (int)threadIdx.x % B;
    float even = 0, odd = 0;
#pragma unroll
    for (int l = 0; l < B; l += 2) {
        even = fmaf(matrix[l * B + j], __shfl_sync(mask, v, l, B), even);
        odd = fmaf(matrix[(l + 1) * B + j], __shfl_sync(mask, v, l + 1, B), odd);
    }
    return even + odd;
}

/* ---- once a sweep: where each rating of a column lies in its row ---- */

static __device__ uint32_t place_of(const struct sweep_params &p, int32_t row, int32_t column) {
    int64_t low = p.offsets[row], high = p.offsets[row + 1] - 1;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (p.columns[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)(low - p.offsets[row]);
}

/* A block a column. */
static __global__ void __launch_bounds__(THREADS) places_kernel(const __grid_constant__ struct sweep_params p) {
    const int32_t column = (int32_t)blockIdx.x, begin = column / BATCH * BATCH;
    for (int64_t i = p.column_offsets[column] + threadIdx.x; i < p.column_offsets[column + 1]; i += THREADS) {
        const int32_t row = p.column_rows[i];
        const uint32_t place = place_of(p, row, column);
        uint32_t before = 0;
        for (int64_t at = p.offsets[row] + place - 1; at >= p.offsets[row] && p.columns[at] >= begin; at--)
            before |= 1u << (p.columns[at] - begin);
        p.place[i] = place;
        p.before[i] = before;
    }
}

/* ---- columns, before their draws ---- */

/* x of the block: 1 for the bias, 0 past the last dimension. */
static __global__ void __launch_bounds__(THREADS) coefficients_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, column = at / B;
    const int f = p.first + (int)(at % B);
    if (column >= p.n_columns) return;
    const float bias = f == p.k && p.biases ? 1 : 0;
    p.x[at] = f < p.k ? p.column_vectors[column * p.stride + f] : bias;
}

struct column_tile {
    int32_t rows[THREADS];
    uint32_t before[THREADS];
};

/* Adds h of the tile's ratings: of all to this warp's part of the column's own sum, and of those whose row also has
 * column SLOT of the batch to that pair's; a warp has the slots warp, warp + WARPS, ... of them. */
static __device__ __forceinline__ void add_tile(const struct sweep_params &p, const struct column_tile &tile, int n,
                                                float (&own)[2], float (&pairs)[SLOTS][2]) {
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    for (int at = warp * 32; at < n && at < warp * 32 + 32; at++) {
        const float *h = p.h + (int64_t)tile.rows[at] * MATRIX + lane;
        own[0] += h[0];
        own[1] += h[32];
    }
    for (int from = 0; from < n; from += 32) {
        const uint32_t before = from + lane < n ? tile.before[from + lane] : 0;
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            unsigned hits = __ballot_sync(WHOLE_WARP, before >> (warp + s * WARPS) & 1);
            for (; hits; hits &= hits - 1) {
                const float *h = p.h + (int64_t)tile.rows[from + __ffs((int)hits) - 1] * MATRIX + lane;
                pairs[s][0] += h[0];
                pairs[s][1] += h[32];
            }
        }
    }
}

/* Place of the pair (c, before) of one batch. */
static __device__ __forceinline__ int64_t pair_place(int32_t batch, int c, int before) {
    return ((int64_t)batch * PAIRS + c * (c - 1) / 2 + before) * MATRIX;
}

/* A block a column: sum_r h_r over its rows, and over those that it shares with each column before it in the batch. */
static __global__ void __launch_bounds__(THREADS) column_sums_kernel(const __grid_constant__ struct sweep_params p) {
    __shared__ struct column_tile tile;
    __shared__ float parts[WARPS][MATRIX];
    const int32_t column = (int32_t)blockIdx.x;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, c = column % BATCH;
    const int64_t end = p.column_offsets[column + 1];
    float own[2] = {0, 0}, pairs[SLOTS][2] = {};
    for (int64_t begin = p.column_offsets[column]; begin < end; begin += THREADS) {
        const int n = end - begin < THREADS ? (int)(end - begin) : (int)THREADS;
        if ((int)threadIdx.x < n) {
            tile.rows[threadIdx.x] = p.column_rows[begin + threadIdx.x];
            tile.before[threadIdx.x] = p.before[begin + threadIdx.x];
        }
        __syncthreads();
        add_tile(p, tile, n, own, pairs);
        __syncthreads();
    }
    parts[warp][lane] = own[0];
    parts[warp][lane + 32] = own[1];
#pragma unroll
    for (int s = 0; s < SLOTS; s++) {
        const int before = warp + s * WARPS;
        if (before >= c) continue;
        float *cross = p.cross + pair_place(column / BATCH, c, before);
        cross[lane] = pairs[s][0];
        cross[lane + 32] = pairs[s][1];
    }
    __syncthreads();
    if (threadIdx.x >= MATRIX) return;
    float sum = 0;
    for (int w = 0; w < WARPS; w++) sum += parts[w][threadIdx.x];
    p.sum[(int64_t)column * MATRIX + threadIdx.x] = sum;
}

/* m (lower) = L^-1 with L L^T = diag(prior precision) + alpha sum, a row at a time (kernels/cpu/set_column_loops.h). */
static __device__ __forceinline__ void invert_root(const struct sweep_params &p, const float *sum, float (&m)[B][B]) {
#pragma unroll
    for (int i = 0; i < B; i++) {
        float row[B], pivot = sum[i * B + i] * p.alpha + p.prior_precision[i];
#pragma unroll
        for (int j = 0; j < i; j++) {
            float product = 0;
            for (int l = 0; l <= j; l++) product += sum[i * B + l] * m[j][l];
            row[j] = product * p.alpha;
            pivot -= row[j] * row[j];
        }
        /* a pivot is never below the prior's precision; rounding must not bring it there */
        const float root = 1 / sqrtf(pivot > p.prior_precision[i] ? pivot : p.prior_precision[i]);
#pragma unroll
        for (int j = 0; j < i; j++) {
            float product = 0;
            for (int l = j; l < i; l++) product += row[l] * m[l][j];
            m[i][j] = -root * product;
        }
        m[i][i] = root;
    }
}

static __device__ __forceinline__ float noise_of(const struct sweep_params &p, int f, int64_t column) {
    float z[4];
    philox_normals(p.seed, p.stream, ((uint64_t)f << 32) | (uint64_t)column / 4, z);
    const int at = (int)(column % 4);
    return at == 0 ? z[0] : at == 1 ? z[1] : at == 2 ? z[2] : z[3];
}

/* A thread a column: gain in place of sum, and shift. */
static __global__ void __launch_bounds__(THREADS) solve_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t column = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (column >= p.n_columns) return;
    float *sum = p.sum + column * MATRIX, *y = p.features + column * p.stride + p.first;
    float m[B][B], b[B], drawn[B], old[B];
    invert_root(p, sum, m);
#pragma unroll
    for (int i = 0; i < B; i++) old[i] = i < p.width ? y[i] : 0;
#pragma unroll
    for (int i = 0; i < B; i++) {
        float product = 0;
        for (int j = 0; j < B; j++) product += sum[i * B + j] * old[j];
        b[i] = product * p.alpha + p.prior_precision[i] * p.prior_mean[i];
    }
#pragma unroll
    for (int i = 0; i < B; i++) {
        drawn[i] = i < p.width ? noise_of(p, p.first + i, column) : 0;
        for (int j = 0; j <= i; j++) drawn[i] += m[i][j] * b[j];
    }
#pragma unroll
    for (int j = 0; j < B; j++) {
        float value = 0;
        for (int i = j; i < B; i++) value += m[i][j] * drawn[i];
        p.shift[column * B + j] = value - old[j];
    }
#pragma unroll
    for (int i = 0; i < B; i++)
        for (int j = 0; j <= i; j++) {
            float product = 0;
            for (int l = i; l < B; l++) product += m[l][i] * m[l][j];
            p.gain[column * MATRIX + i * B + j] = p.gain[column * MATRIX + j * B + i] = product * p.alpha;
        }
}

/* ---- the draws of a batch ---- */

/* Draws the batch's columns in turn; a thread holds one element of one column's sum_r q_r. */
static __device__ __forceinline__ void draw_batch(const struct sweep_params &p, int32_t batch) {
    __shared__ float changes[2][B];
    const int own = (int)threadIdx.x / B, j = (int)threadIdx.x % B;
    const int64_t column = (int64_t)batch * BATCH + own;
    const int n = p.n_columns - batch * BATCH < BATCH ? (int)(p.n_columns - batch * BATCH) : (int)BATCH;
    const volatile float *partial = p.partial + own * PARTS * B + j;
    float sum = 0, cross[TOGETHER][B];
    for (int part = 0; part < PARTS; part++) sum += partial[part * B];
    for (int first = 0; first < n; first += TOGETHER) {
#pragma unroll
        for (int t = 0; t < TOGETHER; t++) {
            if (own >= n || own <= first + t) continue;
            const float *matrix = p.cross + pair_place(batch, own, first + t) + j;
#pragma unroll
            for (int l = 0; l < B; l++) cross[t][l] = matrix[l * B];
        }
#pragma unroll
        for (int t = 0; t < TOGETHER; t++) {
            const int c = first + t; /* the other buffer is read until all have passed the next barrier */
            if (c >= n) break;
            if (own == c) {
                const float change = p.shift[column * B + j] + group_apply(p.gain + column * MATRIX, sum, group_mask());
                changes[t % 2][j] = change;
                p.shift[column * B + j] = change;
                if (j < p.width) p.features[column * p.stride + p.first + j] += change;
            }
            __syncthreads();
            if (own >= n || own <= c) continue;
#pragma unroll
            for (int l = 0; l < B; l++) sum = fmaf(-cross[t][l], changes[t % 2][l], sum);
        }
    }
}

/* Block (part, c): that part of the sum of q over column c of the batch. The last block of all draws. */
static __global__ void __launch_bounds__(THREADS)
    batch_sums_kernel(const __grid_constant__ struct sweep_params p, int32_t batch) {
    __shared__ float sums[WARPS][B];
    __shared__ int last;
    const int64_t column = (int64_t)batch * BATCH + blockIdx.y;
    const int group = (int)threadIdx.x / B, j = (int)threadIdx.x % B, lane = (int)threadIdx.x % 32;
    float sum = 0;
    if (column < p.n_columns) {
        const int64_t begin = p.column_offsets[column], n = p.column_offsets[column + 1] - begin;
        const int64_t end = begin + n * (blockIdx.x + 1) / PARTS;
#pragma unroll 4
        for (int64_t i = begin + n * blockIdx.x / PARTS + group; i < end; i += GROUPS)
            sum += p.q[(int64_t)p.column_rows[i] * B + j];
    }
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 16);
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 8);
    if (lane < B) sums[threadIdx.x / 32][j] = sum;
    __syncthreads();
    if (threadIdx.x < B) {
        for (int w = 1; w < WARPS; w++) sum += sums[w][j];
        p.partial[(blockIdx.y * PARTS + blockIdx.x) * B + j] = sum;
        __threadfence();
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(p.finished, 1u) == (unsigned)PARTS * BATCH - 1;
        if (last) *p.finished = 0;
        __threadfence();
    }
    __syncthreads();
    if (last) draw_batch(p, batch);
}

/* Block (part, c): rows of that part of column c of the batch, unless an earlier column of the batch has them: q_r -=
 * h_r times the changes of all the row's columns in the batch. */
static __global__ void __launch_bounds__(THREADS)
    batch_moves_kernel(const __grid_constant__ struct sweep_params p, int32_t batch) {
    const int64_t column = (int64_t)batch * BATCH + blockIdx.y;
    if (column >= p.n_columns) return;
    const int group = (int)threadIdx.x / B, j = (int)threadIdx.x % B;
    const int64_t begin = p.column_offsets[column], n = p.column_offsets[column + 1] - begin;
    const int64_t end = begin + n * (blockIdx.x + 1) / PARTS;
#pragma unroll 1
    for (int64_t i = begin + n * blockIdx.x / PARTS + group; i < end; i += GROUPS) {
        if (p.before[i]) continue;
        const int32_t row = p.column_rows[i];
        float change = 0;
        for (int64_t at = p.offsets[row] + p.place[i]; at < p.offsets[row + 1]; at++) {
            const int64_t other = p.columns[at];
            if (other >= ((int64_t)batch + 1) * BATCH) break;
            change += p.shift[other * B + j];
        }
        p.q[(int64_t)row * B + j] -= group_apply(p.h + (int64_t)row * MATRIX, change, group_mask());
    }
}

/* ---- the operator ---- */

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* Working memory, 256-byte aligned arrays. */
static reel_status place_arrays(struct cuda_backend *cuda, struct sweep_params *p, int64_t n_ratings, reel_error *err) {
    const size_t n_rows = (size_t)p->n_rows, n_columns = (size_t)p->n_columns, n = (size_t)n_ratings;
    const size_t n_batches = (n_columns + BATCH - 1) / BATCH;
    const size_t sizes[] = {aligned(n * sizeof *p->place),
                            aligned(n * sizeof *p->before),
                            aligned(n_columns * B * sizeof(float)),
                            aligned(n_columns * B * sizeof(float)),
                            aligned(n_rows * MATRIX * sizeof(float)),
                            aligned(n_rows * B * sizeof(float)),
                            aligned(n_columns * MATRIX * sizeof(float)),
                            aligned(n_columns * B * sizeof(float)),
                            aligned(n_batches * PAIRS * MATRIX * sizeof(float)),
                            aligned((size_t)BATCH * PARTS * B * sizeof(float)),
                            aligned(sizeof *p->finished)};
    enum { N = sizeof sizes / sizeof sizes[0] };
    size_t bytes = 0;
    void *at[N];
    char *memory;
    for (int i = 0; i < N; i++) bytes += sizes[i];
    TRY_RETURN(cuda_scratch(cuda, 0, bytes, (void **)&memory, err));
    for (int i = 0; i < N; memory += sizes[i], i++) at[i] = memory;
    p->place = (uint32_t *)at[0];
    p->before = (uint32_t *)at[1];
    p->x = (float *)at[2];
    p->last_x = (float *)at[3];
    p->h = (float *)at[4];
    p->q = (float *)at[5];
    p->sum = p->gain = (float *)at[6];
    p->shift = (float *)at[7];
    p->cross = (float *)at[8];
    p->partial = (float *)at[9];
    p->finished = (unsigned *)at[10];
    return cuda->base.ops->zero(&cuda->base, p->finished, sizeof *p->finished, err);
}

/* Makes `first` the block at work; the one before becomes the last. */
static void next_block(const struct set_sweep_args *args, struct sweep_params *p, int first) {
    float *x = p->last_x;
    p->last_x = p->x;
    p->x = x;
    p->last_width = p->width;
    p->first = first;
    p->width = p->d - first < B ? p->d - first : (int)B;
    if (p->width < 0) p->width = 0;
    for (int l = 0; l < B; l++) {
        p->prior_mean[l] = l < p->width ? args->prior_mean[first + l] : 0;
        p->prior_precision[l] = l < p->width ? args->prior_precision[first + l] : 1;
    }
}

static reel_status queue_rows(struct cuda_backend *cuda, const struct sweep_params *p, reel_error *err) {
    if (p->width > 0) {
        coefficients_kernel<<<blocks_for((int64_t)p->n_columns * B), THREADS, 0, cuda->stream>>>(*p);
        TRY_RETURN(cuda_launched(cuda, "coefficients_kernel", err));
    }
    rows_kernel<<<blocks_for((int64_t)p->n_rows * 32), THREADS, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "rows_kernel", err);
}

static reel_status queue_draws(struct cuda_backend *cuda, const struct sweep_params *p, reel_error *err) {
    column_sums_kernel<<<(unsigned)p->n_columns, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "column_sums_kernel", err));
    solve_kernel<<<blocks_for(p->n_columns), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "solve_kernel", err));
    const dim3 grid(PARTS, BATCH);
    for (int32_t batch = 0; batch < (p->n_columns + BATCH - 1) / BATCH; batch++) {
        batch_sums_kernel<<<grid, THREADS, 0, cuda->stream>>>(*p, batch);
        TRY_RETURN(cuda_launched(cuda, "batch_sums_kernel", err));
        batch_moves_kernel<<<grid, THREADS, 0, cuda->stream>>>(*p, batch);
        TRY_RETURN(cuda_launched(cuda, "batch_moves_kernel", err));
    }
    return REEL_OK;
}

reel_status cuda_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct sweep_params p = {.k = args->k,
                             .d = args->k + (args->biases ? 1 : 0),
                             .stride = args->stride,
                             .biases = args->biases,
                             .n_rows = args->n_rows,
                             .n_columns = args->n_columns,
                             .offsets = args->offsets,
                             .column_offsets = args->column_offsets,
                             .columns = args->columns,
                             .column_rows = args->column_rows,
                             .column_vectors = args->column_vectors,
                             .features = args->features,
                             .row_sums = args->row_sums,
                             .residual = args->residual,
                             .alpha = args->alpha,
                             .seed = args->seed,
                             .stream = args->stream};
    int64_t n_ratings;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0 || args->n_columns == 0) return REEL_OK;
    TRY_RETURN(backend->ops->download(backend, &n_ratings, args->offsets + args->n_rows, sizeof n_ratings, err));
    TRY_RETURN(place_arrays(cuda, &p, n_ratings, err));
    places_kernel<<<(unsigned)p.n_columns, THREADS, 0, cuda->stream>>>(p);
    TRY_RETURN(cuda_launched(cuda, "places_kernel", err));
    for (int first = 0; first < p.d; first += B) {
        next_block(args, &p, first);
        TRY_RETURN(queue_rows(cuda, &p, err));
        TRY_RETURN(queue_draws(cuda, &p, err));
    }
    next_block(args, &p, (p.d + B - 1) / B * B);
    return queue_rows(cuda, &p, err);
}
