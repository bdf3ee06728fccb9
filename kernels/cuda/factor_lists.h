/* Which rows of factor_solve take which way: long ones, short ones by the shape of their launch, and the others. */
#ifndef KERNELS_CUDA_FACTOR_LISTS_H
#define KERNELS_CUDA_FACTOR_LISTS_H

#include "kernels/cuda/factor_gram.h"

struct list_params {
    const int64_t *offsets;
    int32_t n_rows;
    int short_row;              /* ratings of the longest short row */
    int most[DUAL_SHAPES];      /* of those that a shape of short rows takes */
    struct long_row *long_rows; /* (n_rows,) out */
    int32_t *rows;              /* (ROW_KINDS, n_rows) out */
    struct solve_report *report;
};

/* -1: a long row. */
static __device__ __forceinline__ int kind_of_row(const struct list_params &p, int64_t n) {
    if (n > FACTOR_CHUNK) return -1;
    if (n > p.short_row) return 0;
    int shape = 0;
#pragma unroll
    for (int s = 0; s < DUAL_SHAPES; s++) shape += n > p.most[s];
    return 1 + shape;
}

/* Lists the rows of each kind. Their order varies from run to run, what is computed for each does not. */
static __global__ void list_rows(const __grid_constant__ struct list_params p) {
    __shared__ int counts[ROW_KINDS], begins[ROW_KINDS];
    const int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    const int64_t n = row < p.n_rows ? p.offsets[row + 1] - p.offsets[row] : 0;
    const int kind = row < p.n_rows ? kind_of_row(p, n) : -1;
    if (threadIdx.x < ROW_KINDS) counts[threadIdx.x] = 0;
    __syncthreads();
    const int place = kind < 0 ? 0 : atomicAdd(&counts[kind], 1);
    __syncthreads();
    if (threadIdx.x < ROW_KINDS) begins[threadIdx.x] = atomicAdd(&p.report->n_rows[threadIdx.x], counts[threadIdx.x]);
    __syncthreads();
    if (kind >= 0) p.rows[(int64_t)kind * p.n_rows + begins[kind] + place] = (int32_t)row;
    if (n <= FACTOR_CHUNK) return;
    const int64_t first =
        (int64_t)atomicAdd(&p.report->n_chunks, (unsigned long long)((n + FACTOR_CHUNK - 1) / FACTOR_CHUNK));
    p.long_rows[atomicAdd(&p.report->n_long, 1)] = {first, (int32_t)row};
}

static __global__ void cut_long_rows(const int64_t *offsets, const struct long_row *long_rows,
                                     struct row_chunk *chunks) {
    struct long_row row = long_rows[blockIdx.x];
    int64_t n = offsets[row.row + 1] - offsets[row.row];
    for (int64_t chunk = threadIdx.x; chunk * FACTOR_CHUNK < n; chunk += blockDim.x)
        chunks[row.first + chunk] = {row.row, (int32_t)chunk};
}

#endif
