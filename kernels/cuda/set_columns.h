/* set_sweep's work on columns before their draws on CUDA. Included by set_sweep.cu alone.
 *
 * A batch's draws in turn are y_c's change d_c = shift_c + gain_c (sum_r q_r - sum of C_cb d_b over the columns b
 * before c in the batch), C_cb = sum of h_r over the rows that have both: with L the matrix of those C, G of the gains,
 *
 *     d = shift + N (sum_r q_r - L shift),  N = (G^-1 + L)^-1
 *
 * N is worked out in tiles of TILE_COLUMNS columns by substitution: N_jj first, then N_ij = -N_ii sum_l L_il N_lj. */
#ifndef KERNELS_CUDA_SET_COLUMNS_H
#define KERNELS_CUDA_SET_COLUMNS_H

#include "kernels/common/normal.h"
#include "kernels/cuda/set_params.h"

enum { SLOTS = BATCH / WARPS, HITS = 4, TILE_ROW = TILE + 4 };

/* x of the block: 1 for the bias, 0 past the last dimension. */
static __global__ void __launch_bounds__(THREADS) coefficients_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, column = at / B;
    const int f = p.first + (int)(at % B);
    if (column >= p.n_columns) return;
    const float bias = f == p.k && p.biases ? 1 : 0;
    p.x[at] = f < p.k ? p.column_vectors[column * p.stride + f] : bias;
}

/* ---- sums of h over a column's rows ---- */

struct column_tile {
    int32_t rows[THREADS];
    uint64_t before[THREADS];
    int column; /* in its batch */
};

/* A lane's two elements of h of a row; adds nothing where there is no row. */
static __device__ __forceinline__ float2 two_of(const struct sweep_params &p, int64_t row, int there) {
    return there ? ((const float2 *)(p.h + row * MATRIX))[threadIdx.x % 32] : make_float2(0, 0);
}

/* Adds h of this warp's share of the tile's ratings. */
static __device__ __forceinline__ void add_own(const struct sweep_params &p, const struct column_tile &tile, int n,
                                               float2 &own) {
    const int from = (int)threadIdx.x / 32 * 32;
    for (int at = from; at < n && at < from + 32; at += HITS) {
        float2 h[HITS];
#pragma unroll
        for (int u = 0; u < HITS; u++) h[u] = two_of(p, tile.rows[at + u], at + u < n);
#pragma unroll
        for (int u = 0; u < HITS; u++) {
            own.x += h[u].x;
            own.y += h[u].y;
        }
    }
}

/* Adds h of the ratings in `hits`, whose rows start at `rows`. */
static __device__ __forceinline__ void add_hits(const struct sweep_params &p, const int32_t *rows, unsigned hits,
                                                float2 &sum) {
    while (hits) {
        float2 h[HITS];
#pragma unroll
        for (int u = 0; u < HITS; u++) {
            h[u] = two_of(p, rows[hits ? __ffs((int)hits) - 1 : 0], hits != 0);
            hits &= hits - 1;
        }
#pragma unroll
        for (int u = 0; u < HITS; u++) {
            sum.x += h[u].x;
            sum.y += h[u].y;
        }
    }
}

/* Of the tile's ratings adds those whose row also has column warp + s WARPS of the batch to pair s. */
static __device__ __forceinline__ void add_pairs(const struct sweep_params &p, const struct column_tile &tile, int n,
                                                 float2 (&pairs)[SLOTS]) {
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    for (int from = 0; from < n; from += 32) {
        const uint64_t before = from + lane < n ? tile.before[from + lane] : 0;
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            if (s * WARPS >= tile.column) break;
            add_hits(p, tile.rows + from, __ballot_sync(WHOLE_WARP, before >> (warp + s * WARPS) & 1), pairs[s]);
        }
    }
}

/* Element `e` of the sum that column c of the batch has with column `other`; other = c: its own. */
static __device__ __forceinline__ float *sum_at(const struct sweep_params &p, int32_t column, int other, int e) {
    const int c = column % BATCH;
    if (other == c) return p.sum + (int64_t)column * MATRIX + e;
    return element_at(p.pairs, column / BATCH - p.batch, c * B + e / B, other * B + e % B);
}

static __device__ __forceinline__ void store_sum(const struct sweep_params &p, const struct span &span, int other,
                                                 float2 sum) {
    const int e = (int)threadIdx.x % 32 * 2;
    float *part = p.column_parts + ((int64_t)span.slot * BATCH + other) * MATRIX + e;
    *(float2 *)(span.chunks > 1 ? part : sum_at(p, span.owner, other, e)) = sum;
}

/* One chunk, by a block: sum of h over its rows, and over those that it shares with each column before. */
static __device__ __forceinline__ void sum_chunk(const struct sweep_params &p, const struct span &span) {
    __shared__ struct column_tile tile;
    __shared__ float2 parts[WARPS][32];
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, c = span.owner % BATCH;
    const uint64_t earlier = ((uint64_t)1 << c) - 1;
    float2 own = {0, 0}, pairs[SLOTS] = {};
    for (int64_t begin = span.begin; begin < span.end; begin += THREADS) {
        const int n = smaller(span.end - begin, THREADS);
        __syncthreads();
        tile.rows[threadIdx.x] = (int)threadIdx.x < n ? p.column_rows[begin + threadIdx.x] : 0;
        tile.before[threadIdx.x] = (int)threadIdx.x < n ? p.members[begin + threadIdx.x] & earlier : 0;
        if (threadIdx.x == 0) tile.column = c;
        __syncthreads();
        add_own(p, tile, n, own);
        add_pairs(p, tile, n, pairs);
    }
    __syncthreads(); /* a chunk may be empty: the first warp has read the parts of the one before */
    parts[warp][lane] = own;
    __syncthreads();
#pragma unroll
    for (int s = 0; s < SLOTS; s++)
        if (warp + s * WARPS < c) store_sum(p, span, warp + s * WARPS, pairs[s]);
    if (warp > 0) return;
    for (int w = 1; w < WARPS; w++) {
        own.x += parts[w][lane].x;
        own.y += parts[w][lane].y;
    }
    store_sum(p, span, c, own);
}

/* First column of the batches at work, and the one past the last. */
static __device__ __forceinline__ int32_t column_begin(const struct sweep_params &p) {
    return p.batch * BATCH;
}

static __device__ __forceinline__ int32_t column_end(const struct sweep_params &p) {
    return smaller(((int64_t)p.batch + p.n_batches) * BATCH, p.n_columns);
}

static __global__ void __launch_bounds__(THREADS) column_sums_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t end = (uint32_t)p.column_chunks.first[column_end(p)];
    for (int64_t chunk = (uint32_t)p.column_chunks.first[column_begin(p)] + blockIdx.x; chunk < end; chunk += gridDim.x)
        sum_chunk(p, span_of(p.column_chunks, chunk));
}

/* Columns of several chunks; a block a column. */
static __global__ void __launch_bounds__(THREADS) add_columns_kernel(const __grid_constant__ struct sweep_params p) {
    const int32_t column = column_begin(p) + (int32_t)blockIdx.x;
    const uint64_t first = p.column_chunks.first[column];
    const uint32_t chunks = (uint32_t)p.column_chunks.first[column + 1] - (uint32_t)first;
    if (chunks == 1) return;
    for (int e = (int)threadIdx.x; e < (column % BATCH + 1) * MATRIX; e += THREADS) {
        const float *parts = p.column_parts + (int64_t)(first >> 32) * BATCH * MATRIX + e;
        float sum = 0;
#pragma unroll 8
        for (uint32_t i = 0; i < chunks; i++) sum += parts[(int64_t)i * BATCH * MATRIX];
        *sum_at(p, column, e / MATRIX, e % MATRIX) = sum;
    }
}

/* ---- gain and shift ---- */

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
    const int64_t column = column_begin(p) + (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (column >= column_end(p)) return;
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

/* ---- a batch's draws as one product ---- */

/* A warp an element of L shift. */
static __global__ void __launch_bounds__(THREADS) pulls_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t at = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
    const int64_t batch = at / SIDE, column = column_begin(p) + at / B;
    const int row = (int)(at % SIDE), lane = (int)threadIdx.x % 32;
    if (column >= column_end(p)) return;
    const float *shift = p.shift + (p.batch + batch) * SIDE;
    float sum = 0;
    for (int e = lane; e < row / B * B; e += 32) sum = fmaf(*element_at(p.pairs, batch, row, e), shift[e], sum);
    for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(WHOLE_WARP, sum, by);
    if (lane == 0) p.pull[column * B + row % B] = sum;
}

/* N's tiles on the diagonal, a block each; a thread has two elements of each of TILE_COLUMNS columns' blocks. */
static __global__ void __launch_bounds__(THREADS) diagonal_kernel(const __grid_constant__ struct sweep_params p) {
    __shared__ float pairs[TILE][TILE], out[TILE][TILE], gain[TILE][B], right[B][TILE];
    const int64_t batch = blockIdx.x / TILES;
    const int tile = (int)blockIdx.x % TILES, column = (int)threadIdx.x % TILE, row = (int)threadIdx.x / TILE * 2;
    const float *from = tile_at(p.pairs, batch, tile, tile);
    const float *gains = p.gain + ((p.batch + batch) * BATCH + tile * TILE_COLUMNS) * MATRIX;
    for (int e = (int)threadIdx.x; e < TILE * TILE; e += THREADS) {
        pairs[e / TILE][e % TILE] = from[e];
        out[e / TILE][e % TILE] = 0;
    }
    for (int e = (int)threadIdx.x; e < TILE * B; e += THREADS) gain[e / B][e % B] = gains[e];
    __syncthreads();
    for (int a = 0; a < TILE; a += B) {
        float low = a + row == column ? 1 : 0, high = a + row + 1 == column ? 1 : 0;
        for (int l = 0; l < a; l++) {
            low -= pairs[a + row][l] * out[l][column];
            high -= pairs[a + row + 1][l] * out[l][column];
        }
        right[row][column] = low;
        right[row + 1][column] = high;
        __syncthreads();
        low = high = 0;
#pragma unroll
        for (int l = 0; l < B; l++) {
            low += gain[a + row][l] * right[l][column];
            high += gain[a + row + 1][l] * right[l][column];
        }
        out[a + row][column] = low;
        out[a + row + 1][column] = high;
        __syncthreads();
    }
    float *to = tile_at(p.inverse, batch, tile, tile);
    for (int e = (int)threadIdx.x; e < TILE * TILE; e += THREADS) to[e] = out[e / TILE][e % TILE];
}

static __device__ __forceinline__ void load_tile(float (&to)[TILE][TILE_ROW], const float *from) {
#pragma unroll
    for (int e = (int)threadIdx.x * 4; e < TILE * TILE; e += THREADS * 4)
        *(float4 *)&to[e / TILE][e % TILE] = *(const float4 *)(from + e);
}

/* sums += left right; thread (r, c) has rows 4 r .. 4 r + 3 of columns 4 c .. 4 c + 3. */
static __device__ __forceinline__ void multiply(const float (&left)[TILE][TILE_ROW],
                                                const float (&right)[TILE][TILE_ROW], float (&sums)[4][4]) {
    const int row = (int)threadIdx.x / 16 * 4, column = (int)threadIdx.x % 16 * 4;
#pragma unroll 4
    for (int l = 0; l < TILE; l += 4) {
        float4 a[4], b[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            a[i] = *(const float4 *)&left[row + i][l];
            b[i] = *(const float4 *)&right[l + i][column];
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float four[4] = {a[i].x, a[i].y, a[i].z, a[i].w};
#pragma unroll
            for (int m = 0; m < 4; m++) {
                sums[i][0] = fmaf(four[m], b[m].x, sums[i][0]);
                sums[i][1] = fmaf(four[m], b[m].y, sums[i][1]);
                sums[i][2] = fmaf(four[m], b[m].z, sums[i][2]);
                sums[i][3] = fmaf(four[m], b[m].w, sums[i][3]);
            }
        }
    }
}

static __device__ __forceinline__ void store_four(float *to, const float (&row)[4], float sign) {
    *(float4 *)to = make_float4(sign * row[0], sign * row[1], sign * row[2], sign * row[3]);
}

/* N's tiles below the diagonal: a block has column j of a batch's tiles, and reads what it wrote. */
static __global__ void __launch_bounds__(THREADS) inverse_kernel(const __grid_constant__ struct sweep_params p) {
    __shared__ __align__(16) float left[TILE][TILE_ROW], right[TILE][TILE_ROW];
    const int64_t batch = blockIdx.x / (TILES - 1);
    const int j = (int)blockIdx.x % (TILES - 1), row = (int)threadIdx.x / 16 * 4, column = (int)threadIdx.x % 16 * 4;
    for (int i = j + 1; i < TILES; i++) {
        float sums[4][4] = {}, products[4][4] = {};
        for (int l = j; l < i; l++) {
            __syncthreads();
            load_tile(left, tile_at(p.pairs, batch, i, l));
            load_tile(right, tile_at(p.inverse, batch, l, j));
            __syncthreads();
            multiply(left, right, sums);
        }
        __syncthreads();
        load_tile(left, tile_at(p.inverse, batch, i, i));
#pragma unroll
        for (int r = 0; r < 4; r++) store_four(&right[row + r][column], sums[r], 1);
        __syncthreads();
        multiply(left, right, products);
        float *to = tile_at(p.inverse, batch, i, j) + row * TILE + column;
#pragma unroll
        for (int r = 0; r < 4; r++) store_four(to + r * TILE, products[r], -1);
    }
}

#endif
