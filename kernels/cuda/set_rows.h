/* set_sweep's parameters on CUDA, and its work on rows: a warp each, in the orders of adding of
 * kernels/cpu/set_kernels.c. Included by set_sweep.cu alone. */
#ifndef KERNELS_CUDA_SET_ROWS_H
#define KERNELS_CUDA_SET_ROWS_H

#include "backend/gibbs_ops.h"

enum {
    B = SET_SWEEP_BLOCK,
    MATRIX = B * B,
    THREADS = 256,
    WARPS = THREADS / 32,
    GROUPS = THREADS / B, /* a group of B lanes takes a vector, a lane an element */
    BATCH = GROUPS,       /* columns: when they are drawn each has a group; and bits of a word */
    PAIRS = BATCH * (BATCH - 1) / 2,
    PARTS = 16,   /* in which a column's ratings are cut when a batch is summed or moved */
    TOGETHER = 4, /* columns whose C are fetched in one go */
    SLOTS = BATCH / WARPS
};

struct sweep_params {
    int k, d, stride, biases;
    int32_t n_rows, n_columns;
    const int64_t *offsets, *column_offsets;
    const int32_t *columns, *column_rows;
    const float *column_vectors;
    float *features, *row_sums, *residual;
    float alpha;
    uint64_t seed, stream;
    /* of the ratings by column: place in the row's list; which columns of the batch the row has before this one */
    uint32_t *place, *before;
    /* of the block at work: dimensions first .. first + width - 1; width 0 when all are drawn */
    int first, width, last_width; /* last_width: of the block before; 0 when there is none */
    float prior_mean[B], prior_precision[B];
    float *x, *last_x;  /* (n_columns, B) coefficients, and those of the block before */
    float *h, *q;       /* (n_rows, B, B), (n_rows, B) */
    float *sum, *gain;  /* (n_columns, B, B): one array, gain takes the place of sum */
    float *shift;       /* (n_columns, B); the draws turn it into the change of y */
    float *cross;       /* (batches, PAIRS, B, B) */
    float *partial;     /* (BATCH, PARTS, B) */
    unsigned *finished; /* blocks of the batch at work that have their partial sums */
};

static const unsigned WHOLE_WARP = 0xffffffffu;

static __device__ __forceinline__ float row_weight(const int64_t *offsets, int64_t row) {
    const int64_t n = offsets[row + 1] - offsets[row];
    return n ? 1 / sqrtf((float)n) : 0;
}

/* The change of s_r by the block before: four running sums over the row's columns, one a group. */
static __device__ __forceinline__ float row_change(const struct sweep_params &p, int64_t begin, int64_t end,
                                                   float weight) {
    const int group = (int)threadIdx.x % 32 / B, j = (int)threadIdx.x % B;
    float sum = 0;
    for (int64_t i = begin + group; i < end; i += 32 / B) sum += p.shift[(int64_t)p.columns[i] * B + j];
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 16);
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 8);
    return weight * sum;
}

/* Takes the change out of the residuals and sums up residual x of this block: four ratings at a time, one a group. */
static __device__ __forceinline__ float row_products(const struct sweep_params &p, int64_t begin, int64_t end,
                                                     float change, float weight) {
    const int group = (int)threadIdx.x % 32 / B, j = (int)threadIdx.x % B;
    float sum = 0;
    for (int64_t four = begin; four < end; four += 32 / B) {
        const int64_t i = four + group;
        const int64_t column = i < end ? p.columns[i] : -1;
        float residual = i < end ? p.residual[i] : 0;
        if (p.last_width > 0) {
            const float x = i < end ? p.last_x[column * B + j] : 0, product = change * x;
            float dot = fmaf(change, x, __shfl_down_sync(WHOLE_WARP, product, 4, B));
            dot += __shfl_down_sync(WHOLE_WARP, dot, 2, B);
            dot += __shfl_down_sync(WHOLE_WARP, dot, 1, B);
            residual -= __shfl_sync(WHOLE_WARP, dot, 0, B);
            if (i < end && j == 0) p.residual[i] = residual;
        }
        if (p.width > 0 && i < end) sum = fmaf(residual, p.x[column * B + j], sum);
    }
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 16);
    sum += __shfl_xor_sync(WHOLE_WARP, sum, 8);
    return weight * sum;
}

/* h_r: a lane holds two elements of the same column, of each the sums over even and over odd ratings. */
static __device__ __forceinline__ void row_gram(const struct sweep_params &p, int64_t row, int64_t begin, int64_t end,
                                                float weight) {
    const int lane = (int)threadIdx.x % 32, i = lane / B, j = lane % B;
    float low[2] = {0, 0}, high[2] = {0, 0};
    for (int64_t two = begin; two < end; two += 2)
#pragma unroll
        for (int odd = 0; odd < 2; odd++) {
            if (two + odd >= end) break;
            const float x = p.x[(int64_t)p.columns[two + odd] * B + j];
            low[odd] = fmaf(__shfl_sync(WHOLE_WARP, x, i, B), x, low[odd]);
            high[odd] = fmaf(__shfl_sync(WHOLE_WARP, x, i + B / 2, B), x, high[odd]);
        }
    p.h[row * MATRIX + lane] = weight * (low[0] + low[1]);
    p.h[row * MATRIX + lane + 32] = weight * (high[0] + high[1]);
}

/* The block before goes into s and out of the residuals; h and q of this one. */
static __global__ void __launch_bounds__(THREADS) rows_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t row = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
    const int lane = (int)threadIdx.x % 32;
    if (row >= p.n_rows) return;
    const int64_t begin = p.offsets[row], end = p.offsets[row + 1];
    const float weight = row_weight(p.offsets, row);
    float change = 0;
    if (p.last_width > 0) {
        change = row_change(p, begin, end, weight);
        if (lane < p.last_width) p.row_sums[row * p.stride + p.first - B + lane] += change;
    }
    const float products = row_products(p, begin, end, change, weight);
    if (p.width == 0) return;
    if (lane < B) p.q[row * B + lane] = products;
    row_gram(p, row, begin, end, weight * weight);
}

#endif
