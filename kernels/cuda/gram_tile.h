/* Gram matrices in register tiles: a thread block adds up panel^T panel, each thread one TILE x TILE tile of the
 * upper triangle. Every element is one chain of fused multiply-adds in row order, as on the CPU: the same bits.
 *
 * A vector of `width` floats (dim rounded up to whole tiles, zeros past dim) lies in shared memory with the first
 * four elements of every tile side by side, then the second four: threads of neighbouring tiles then read
 * neighbouring 16 bytes, which touches each bank once. */
#ifndef KERNELS_CUDA_GRAM_TILE_H
#define KERNELS_CUDA_GRAM_TILE_H

#include <cuda_runtime.h>
#include <stdint.h>

enum {
    GRAM_DIM_MAX = 257,     /* 256 factors and the bias */
    GRAM_THREADS_MAX = 576, /* 33 tiles of 8 a side: 561 of the upper triangle */
    GRAM_PANEL = 32         /* vectors staged in shared memory at a time */
};

static inline __host__ __device__ int gram_tile_rows(int dim, int tile) {
    return (dim + tile - 1) / tile;
}

/* Threads of a block: one a tile of the upper triangle, in whole warps. */
static inline __host__ __device__ int gram_threads(int dim, int tile) {
    int rows = gram_tile_rows(dim, tile);
    return (rows * (rows + 1) / 2 + 31) / 32 * 32;
}

/* Where element f of a vector of `width` lies. */
template <int TILE> static __device__ __forceinline__ int gram_position(int f, int width) {
    return f % TILE / 4 * (width / TILE * 4) + f / TILE * 4 + f % 4;
}

/* The tile of this thread. */
struct gram_tile {
    int i, j;   /* tile row and column, i <= j */
    int active; /* 0: a spare thread of the last warp, which repeats tile (0, 0) and writes nothing */
};

static __device__ __forceinline__ struct gram_tile gram_tile_of_thread(int rows) {
    int rest = (int)threadIdx.x, i = 0;
    for (; i < rows && rest >= rows - i; i++) rest -= rows - i;
    if (i == rows) return {0, 0, 0};
    return {i, i + rest, 1};
}

/* The TILE elements of tile t of a vector. */
template <int TILE>
static __device__ __forceinline__ void gram_load(const float *vector, int width, int t, float (&out)[TILE]) {
#pragma unroll
    for (int q = 0; q < TILE / 4; q++) {
        float4 four = *(const float4 *)(vector + q * (width / TILE * 4) + t * 4);
        out[4 * q] = four.x;
        out[4 * q + 1] = four.y;
        out[4 * q + 2] = four.z;
        out[4 * q + 3] = four.w;
    }
}

/* sums += the tile's part of panel^T panel for n vectors. */
template <int TILE>
static __device__ __forceinline__ void gram_add(float (&sums)[TILE][TILE], const float *panel, int n, int width,
                                                struct gram_tile tile) {
    for (int p = 0; p < n; p++, panel += width) {
        float a[TILE], b[TILE];
        gram_load<TILE>(panel, width, tile.i, a);
        gram_load<TILE>(panel, width, tile.j, b);
#pragma unroll
        for (int r = 0; r < TILE; r++)
#pragma unroll
            for (int c = 0; c < TILE; c++) sums[r][c] = fmaf(a[r], b[c], sums[r][c]);
    }
}

/* Floats of one block's tiles in global memory, and the place of one element: neighbouring threads side by side. */
template <int TILE> static __device__ __forceinline__ int64_t gram_stored(int64_t block, int element) {
    return (block * (TILE * TILE) + element) * blockDim.x + threadIdx.x;
}

template <int TILE>
static __device__ __forceinline__ void gram_store(const float (&sums)[TILE][TILE], float *out, int64_t block) {
#pragma unroll
    for (int e = 0; e < TILE * TILE; e++) out[gram_stored<TILE>(block, e)] = sums[e / TILE][e % TILE];
}

#endif
