/* set_sweep's work on rows on CUDA: a warp a chunk of a row's ratings, a group of B lanes a rating. Included by
 * set_sweep.cu alone. */
#ifndef KERNELS_CUDA_SET_ROWS_H
#define KERNELS_CUDA_SET_ROWS_H

#include "kernels/cuda/set_params.h"

enum { ROW_PART = MATRIX + B };

static __device__ __forceinline__ float row_weight(const int64_t *offsets, int64_t row) {
    const int64_t n = offsets[row + 1] - offsets[row];
    return n ? 1 / sqrtf((float)n) : 0;
}

/* <change, x> over the group's lanes, on each of them. */
static __device__ __forceinline__ float group_dot(float change, float x) {
    const float product = change * x;
    float dot = fmaf(change, x, __shfl_down_sync(WHOLE_WARP, product, 4, B));
    dot += __shfl_down_sync(WHOLE_WARP, dot, 2, B);
    dot += __shfl_down_sync(WHOLE_WARP, dot, 1, B);
    return __shfl_sync(WHOLE_WARP, dot, 0, B);
}

/* Up to 32 ratings: takes the change out of their residuals, and adds residual x to `product` and the lane's row of
 * x x^T to `gram`. */
static __device__ __forceinline__ void add_ratings(const struct sweep_params &p, int64_t begin, int n, float change,
                                                   float &product, float (&gram)[B]) {
    const int lane = (int)threadIdx.x % 32, group = lane / B, j = lane % B;
    const int64_t own_column = lane < n ? p.columns[begin + lane] : 0;
    const float own_residual = lane < n ? p.residual[begin + lane] : 0;
#pragma unroll 4
    for (int four = 0; four < n; four += 32 / B) {
        const int i = four + group;
        const int64_t column = __shfl_sync(WHOLE_WARP, own_column, i);
        float residual = __shfl_sync(WHOLE_WARP, own_residual, i);
        const float last_x = i < n && p.last_width > 0 ? p.last_x[column * B + j] : 0;
        const float x = i < n && p.width > 0 ? p.x[column * B + j] : 0;
        if (p.last_width > 0) {
            residual -= group_dot(change, last_x);
            if (i < n && j == 0) p.residual[begin + i] = residual;
        }
        product = fmaf(residual, x, product);
#pragma unroll
        for (int l = 0; l < B; l++) gram[l] = fmaf(x, __shfl_sync(WHOLE_WARP, x, l, B), gram[l]);
    }
}

/* The block before goes into s and out of the residuals; h and q of this one. */
static __global__ void __launch_bounds__(THREADS) rows_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t chunk = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
    const int lane = (int)threadIdx.x % 32, group = lane / B, j = lane % B;
    if (chunk >= (uint32_t)p.row_chunks.first[p.n_rows]) return;
    const struct span span = span_of(p.row_chunks, chunk);
    const int64_t row = span.owner;
    const float weight = row_weight(p.offsets, row), change = p.last_width > 0 ? weight * p.moved[row * B + j] : 0;
    if (span.chunk == 0 && lane < p.last_width) p.row_sums[row * p.stride + p.first - B + lane] += change;
    float product = 0, gram[B] = {};
    for (int64_t at = span.begin; at < span.end; at += 32)
        add_ratings(p, at, smaller(span.end - at, 32), change, product, gram);
    if (p.width == 0) return;
    for (int by = 16; by >= B; by /= 2) {
        product += __shfl_xor_sync(WHOLE_WARP, product, by);
#pragma unroll
        for (int l = 0; l < B; l++) gram[l] += __shfl_xor_sync(WHOLE_WARP, gram[l], by);
    }
    float *parts = p.row_parts + (int64_t)span.slot * ROW_PART;
    float *q = span.chunks > 1 ? parts + MATRIX : p.q + row * B, *h = span.chunks > 1 ? parts : p.h + row * MATRIX;
    if (group == 0) q[j] = weight * product;
#pragma unroll
    for (int l = 0; l < B; l++)
        if (l / 2 == group) h[j * B + l] = weight * weight * gram[l];
}

/* Rows of several chunks; a warp a row. */
static __global__ void __launch_bounds__(THREADS) add_rows_kernel(const __grid_constant__ struct sweep_params p) {
    const int64_t row = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
    if (row >= p.n_rows) return;
    const uint64_t first = p.row_chunks.first[row];
    const uint32_t chunks = (uint32_t)p.row_chunks.first[row + 1] - (uint32_t)first;
    if (chunks == 1) return;
    for (int e = (int)threadIdx.x % 32; e < ROW_PART; e += 32) {
        const float *parts = p.row_parts + (int64_t)(first >> 32) * ROW_PART + e;
        float sum = 0;
#pragma unroll 8
        for (uint32_t i = 0; i < chunks; i++) sum += parts[(int64_t)i * ROW_PART];
        *(e < MATRIX ? p.h + row * MATRIX + e : p.q + row * B + e - MATRIX) = sum;
    }
}

#endif
