/* Cholesky factor and back substitution of a matrix in shared memory (gram_mma.h) by its thread block.
 *
 * The matrix is [A b] with `rows` rows and rows + 1 columns. Rows are done 16 at a time. Thread c owns column c: of two
 * times eight rows it factors the diagonal block in its registers, every thread the same one, and takes its own column
 * through the forward substitution. What is left below is updated by the tensor cores, X = the sixteen finished rows.
 * Four barriers for sixteen rows; a row's chain is a reciprocal root and two multiplications deep. */
#ifndef KERNELS_CUDA_GRAM_SOLVE_H
#define KERNELS_CUDA_GRAM_SOLVE_H

#include <float.h>

#include "kernels/cuda/gram_mma.h"

enum { DIAGONAL = 8 }; /* rows of a diagonal block */

typedef float diagonal_block[DIAGONAL][DIAGONAL];

/* The upper triangle of rows and columns j .. j + n - 1; past n the unit matrix. */
static __device__ __forceinline__ void load_diagonal(const float *matrix, int tiles, int j, int n, diagonal_block &u) {
    const float *row = matrix + gram_row(tiles, j) + j;
    const int pitch = gram_pitch(tiles, j / 16);
#pragma unroll
    for (int l = 0; l < DIAGONAL; l++)
#pragma unroll
        for (int q = l / 4; q < DIAGONAL / 4; q++) {
            const float4 four = l < n ? *(const float4 *)(row + l * pitch + 4 * q) : make_float4(0, 0, 0, 0);
            u[l][4 * q] = four.x;
            u[l][4 * q + 1] = four.y;
            u[l][4 * q + 2] = four.z;
            u[l][4 * q + 3] = four.w;
        }
    if (n == DIAGONAL) return;
#pragma unroll
    for (int e = 0; e < DIAGONAL * DIAGONAL; e++)
        if (e % DIAGONAL >= n) u[e / DIAGONAL][e % DIAGONAL] = e / DIAGONAL == e % DIAGONAL;
}

/* u = its Cholesky factor but for the diagonal, whose reciprocal is `scale`. 0 when a pivot is not positive and finite.
 */
static __device__ __forceinline__ int factor_diagonal(diagonal_block &u, float (&scale)[DIAGONAL]) {
    int good = 1;
#pragma unroll
    for (int l = 0; l < DIAGONAL; l++) {
        good &= u[l][l] > 0 && u[l][l] <= FLT_MAX;
        scale[l] = rsqrtf(u[l][l]); /* within two last places: as if the pivot were four off */
#pragma unroll
        for (int c = l + 1; c < DIAGONAL; c++) u[l][c] *= scale[l];
#pragma unroll
        for (int r = l + 1; r < DIAGONAL; r++)
#pragma unroll
            for (int c = r; c < DIAGONAL; c++) u[r][c] = fmaf(-u[l][r], u[l][c], u[r][c]);
    }
    return good;
}

/* Rows j .. j + n - 1 of column `column`, to and from registers. */
static __device__ __forceinline__ void load_column(const float *matrix, int tiles, int j, int n, int column,
                                                   float (&v)[DIAGONAL]) {
    const float *at = matrix + gram_row(tiles, j) + column;
    const int pitch = gram_pitch(tiles, j / 16);
#pragma unroll
    for (int l = 0; l < DIAGONAL; l++) v[l] = l < n ? at[l * pitch] : 0;
}

static __device__ __forceinline__ void store_column(float *matrix, int tiles, int j, int n, int column,
                                                    const float (&v)[DIAGONAL]) {
    float *at = matrix + gram_row(tiles, j) + column;
    const int pitch = gram_pitch(tiles, j / 16);
#pragma unroll
    for (int l = 0; l < DIAGONAL; l++)
        if (l < n) at[l * pitch] = v[l];
}

/* Finishes rows j .. j + n - 1: v gets this thread's column, `inverse` the pivots' reciprocal roots. Columns of the
 * diagonal block are stored behind the barrier, when nobody reads the block any more. */
static __device__ __forceinline__ int finish_rows(float *matrix, float *inverse, int tiles, int j, int n, int columns,
                                                  float (&v)[DIAGONAL]) {
    const int column = (int)threadIdx.x, active = column >= j && column < columns;
    int good = 1;
    if (active) {
        diagonal_block u;
        float scale[DIAGONAL];
        load_diagonal(matrix, tiles, j, n, u);
        load_column(matrix, tiles, j, n, column, v);
        good = factor_diagonal(u, scale);
#pragma unroll
        for (int l = 0; l < DIAGONAL; l++) {
            v[l] *= scale[l];
#pragma unroll
            for (int r = l + 1; r < DIAGONAL; r++) v[r] = fmaf(-u[l][r], v[l], v[r]);
        }
        if (column >= j + DIAGONAL) store_column(matrix, tiles, j, n, column, v);
#pragma unroll
        for (int l = 0; l < DIAGONAL; l++)
            if (column == j) inverse[j + l] = scale[l];
    }
    __syncthreads();
    if (active && column < j + DIAGONAL) store_column(matrix, tiles, j, n, column, v);
    return good;
}

/* Takes the finished rows j .. j + 7 (of which v is this thread's column) off the n rows behind them. Ends with a
 * barrier. */
static __device__ __forceinline__ void update_next_rows(float *matrix, int tiles, int j, int n, int columns,
                                                        float (&v)[DIAGONAL]) {
    const int column = (int)threadIdx.x, next = j + DIAGONAL;
    if (column >= next && column < columns) {
        const float *row = matrix + gram_row(tiles, j) + next;
        float w[DIAGONAL];
        load_column(matrix, tiles, next, n, column, w);
#pragma unroll
        for (int l = 0; l < DIAGONAL; l++, row += gram_pitch(tiles, j / 16))
#pragma unroll
            for (int q = 0; q < DIAGONAL / 4; q++) {
                const float4 four = *(const float4 *)(row + 4 * q);
                w[4 * q] = fmaf(-four.x, v[l], w[4 * q]);
                w[4 * q + 1] = fmaf(-four.y, v[l], w[4 * q + 1]);
                w[4 * q + 2] = fmaf(-four.z, v[l], w[4 * q + 2]);
                w[4 * q + 3] = fmaf(-four.w, v[l], w[4 * q + 3]);
            }
        store_column(matrix, tiles, next, n, column, w);
    }
    __syncthreads();
}

/* Takes the finished rows first - 16 .. first - 1 off all rows from `first` on. Ends with a barrier. */
static __device__ __forceinline__ void update_rest(float *matrix, int tiles, int rows, int first, int warps) {
    const float *x = matrix + gram_row(tiles, first - 16);
    const int pitch = gram_pitch(tiles, first / 16 - 1), warp = (int)threadIdx.x / 32;
    const int passes = gram_passes(tiles, rows, first, warps);
    for (int pass = 0; pass < passes; pass++) {
        const struct gram_share share = gram_share_of(tiles, rows, first, pass * warps + warp, passes * warps);
        gram_sums sums;
        gram_clear(sums);
        gram_add(sums, x, pitch, 2, tiles, first, share);
        gram_store(matrix, sums, 1, -1, tiles, rows, first, share);
    }
    __syncthreads();
}

/* Turns [A b] into [U y], A = U^T U and U^T y = b, but for the diagonal of U, whose reciprocal is inverse (rows rounded
 * up to 8,). At least rows + 1 threads, `warps` warps. Thread `rows` returns 0 when A is not positive definite. */
static __device__ __noinline__ int gram_cholesky(float *matrix, float *inverse, int tiles, int rows, int warps) {
    int good = 1;
    for (int j = 0; j < rows; j += 2 * DIAGONAL) {
        const int left = rows - j, next = j + DIAGONAL;
        float v[DIAGONAL];
        good &= finish_rows(matrix, inverse, tiles, j, left < DIAGONAL ? left : DIAGONAL, rows + 1, v);
        if (next < rows) {
            const int n = rows - next < DIAGONAL ? rows - next : DIAGONAL;
            update_next_rows(matrix, tiles, j, n, rows + 1, v);
            good &= finish_rows(matrix, inverse, tiles, next, n, rows + 1, v);
        }
        if (next + DIAGONAL < rows) update_rest(matrix, tiles, rows, next + DIAGONAL, warps);
    }
    return good;
}

/* U x = y by one warp, eight rows at a time, in place of x = y. 0 when an element is not finite. */
static __device__ __forceinline__ int gram_back_substitute(const float *matrix, const float *inverse, int tiles,
                                                           int rows, float *x) {
    const int lane = (int)threadIdx.x % 32;
    int good = 1;
    for (int j = (rows - 1) / DIAGONAL * DIAGONAL; j >= 0; j -= DIAGONAL) {
        const int n = rows - j < DIAGONAL ? rows - j : DIAGONAL;
        diagonal_block u;
        float v[DIAGONAL];
        load_diagonal(matrix, tiles, j, n, u);
#pragma unroll
        for (int l = 0; l < DIAGONAL; l++) v[l] = l < n ? x[j + l] : 0;
#pragma unroll
        for (int l = DIAGONAL - 1; l >= 0; l--) {
            v[l] *= inverse[j + l];
            good &= isfinite(v[l]);
#pragma unroll
            for (int r = 0; r < l; r++) v[r] = fmaf(-u[r][l], v[l], v[r]);
        }
        __syncwarp();
#pragma unroll
        for (int l = 0; l < DIAGONAL; l++)
            if (lane == 0 && l < n) x[j + l] = v[l];
        for (int i = lane; i < j; i += 32) {
            const float *row = matrix + gram_row(tiles, i) + j;
            float sum = x[i];
#pragma unroll
            for (int l = 0; l < DIAGONAL; l++)
                if (l < n) sum = fmaf(-row[l], v[l], sum);
            x[i] = sum;
        }
        __syncwarp();
    }
    return good;
}

#endif
