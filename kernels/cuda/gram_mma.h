/* Symmetric matrices of one thread block in shared memory, and updates of them by the tensor cores.
 *
 * Of a matrix of `rows` rows and more columns the upper triangle is kept, in strips of 16 rows one after another: a
 * strip begins at its own diagonal, so that its row r holds columns 16 (r / 16) and up. With T = tiles | 1, tiles =
 * columns / 8 rounded up, a row of strip I has 8 (T - 2 I) floats: an odd number of eights. The 32 lanes of a fragment
 * (mma.h) then read four rows at banks 8 apart and eight neighbours in each: no bank twice.
 *
 * An update adds X^T X for vectors X (n, columns). Its result is cut into slots of 32 x 8 elements, 32 rows of the
 * triangle by one tile of columns, numbered row of slots by row of slots; a warp takes up to GRAM_SLOTS neighbouring
 * ones and keeps their sums in registers. A slot costs six products of 16 x 8 x 8 for eight vectors, a split of two
 * floats of X a lane, and of eight where a row of slots begins. */
#ifndef KERNELS_CUDA_GRAM_MMA_H
#define KERNELS_CUDA_GRAM_MMA_H

#include "kernels/cuda/mma.h"

enum { GRAM_SLOTS = 6 };

/* ---- the matrix ---- */

static inline __host__ __device__ int gram_tiles(int columns) {
    return (columns + 7) / 8;
}

/* Floats of one row of strip `strip`; 0: of a vector. */
static inline __host__ __device__ int gram_pitch(int tiles, int strip) {
    return 8 * ((tiles | 1) - 2 * strip);
}

/* Element (row, column) of the upper triangle lies at matrix[gram_row(tiles, row) + column]; gram_row(tiles, rows) + 16
 * * (rows / 16) is the size of a matrix. */
static inline __host__ __device__ int gram_row(int tiles, int row) {
    const int strip = row / 16;
    return 128 * strip * ((tiles | 1) - (strip - 1)) + row % 16 * gram_pitch(tiles, strip) - 16 * strip;
}

static inline __host__ __device__ int gram_size(int tiles, int rows) {
    return gram_row(tiles, rows) + rows / 16 * 16;
}

/* ---- the slots ---- */

/* Slots of the rows from `first_row`, a multiple of 16, on. */
static inline __host__ __device__ int gram_slots(int tiles, int rows, int first_row) {
    int slots = 0;
    for (int row = first_row; row < rows; row = row / 32 * 32 + 32) slots += tiles - row / 8;
    return slots;
}

/* How often `warps` warps must take a share each. */
static inline __host__ __device__ int gram_passes(int tiles, int rows, int first_row, int warps) {
    return (gram_slots(tiles, rows, first_row) + warps * GRAM_SLOTS - 1) / (warps * GRAM_SLOTS);
}

/* One warp's: `count` slots from tile `tile` of the row of slots `strip` on, counted in 32 rows. */
struct gram_share {
    int strip, tile, count;
};

/* The share `index` of `parts` equal ones. */
static __device__ __forceinline__ struct gram_share gram_share_of(int tiles, int rows, int first_row, int index,
                                                                  int parts) {
    const int slots = gram_slots(tiles, rows, first_row), each = (slots + parts - 1) / parts;
    int at = index * each, row = first_row;
    struct gram_share share = {0, 0, slots - at < each ? slots - at : each};
    if (share.count <= 0) return share;
    for (; at >= tiles - row / 8; row = row / 32 * 32 + 32) at -= tiles - row / 8;
    share.strip = row / 32;
    share.tile = row / 8 + at;
    return share;
}

/* ---- updates ---- */

typedef float gram_sums[GRAM_SLOTS][2][4];

static __device__ __forceinline__ void gram_clear(gram_sums &sums) {
#pragma unroll
    for (int e = 0; e < GRAM_SLOTS * 8; e++) sums[e / 8][e / 4 % 2][e % 4] = 0;
}

/* Columns 8 tile .. 8 tile + 7 of eight vectors. */
static __device__ __forceinline__ struct mma_b load_b(const float *x, int pitch, int tile) {
    const int lane = (int)threadIdx.x % 32;
    const float *at = x + lane % 4 * pitch + 8 * tile + lane / 4;
    return {{tf32_split(at[0]), tf32_split(at[4 * pitch])}};
}

/* Columns 16 half .. 16 half + 15 of eight vectors, transposed: two tiles side by side. */
static __device__ __forceinline__ struct mma_a load_a(const float *x, int pitch, int half, int tiles) {
    const struct mma_b left = load_b(x, pitch, 2 * half);
    struct mma_b right = {};
    if (2 * half + 1 < tiles) right = load_b(x, pitch, 2 * half + 1);
    return {{left.at[0], right.at[0], left.at[1], right.at[1]}};
}

/* sums += the share of X^T X for 8 n vectors `pitch` floats apart, rows of the result from `first_row` on. */
static __device__ __forceinline__ void gram_add(gram_sums &sums, const float *x, int pitch, int n, int tiles,
                                                int first_row, struct gram_share share) {
#pragma unroll 1
    for (int step = 0; step < n; step++, x += 8 * pitch) {
        int strip = share.strip, tile = share.tile;
        struct mma_a a[2];
#pragma unroll
        for (int slot = 0; slot < GRAM_SLOTS; slot++) {
            if (slot >= share.count) break;
            if (slot == 0 || tile == 4 * strip) {
                if (32 * strip >= first_row) a[0] = load_a(x, pitch, 2 * strip, tiles);
                if (tiles > 4 * strip + 2) a[1] = load_a(x, pitch, 2 * strip + 1, tiles);
            }
            const struct mma_b b = load_b(x, pitch, tile);
            if (32 * strip >= first_row) mma_single(sums[slot][0], a[0], b);
            if (tile >= 4 * strip + 2) mma_single(sums[slot][1], a[1], b);
            if (++tile == tiles) tile = 4 * ++strip;
        }
    }
}

/* matrix = base * matrix + sign * the share; with base 0 nothing is read. */
static __device__ __forceinline__ void gram_store(float *matrix, const gram_sums &sums, float base, float sign,
                                                  int tiles, int rows, int first_row, struct gram_share share) {
    const int lane = (int)threadIdx.x % 32;
    int strip = share.strip, tile = share.tile;
#pragma unroll
    for (int slot = 0; slot < GRAM_SLOTS; slot++) {
        if (slot >= share.count) break;
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int half = 2 * strip + e / 2, row = 16 * half + lane / 4 + 8 * (e % 2);
            if (16 * half < first_row || tile < 2 * half || row >= rows) continue;
            float2 *at = (float2 *)(matrix + gram_row(tiles, row) + 8 * tile + 2 * (lane % 4));
            const float *sum = sums[slot][e / 2] + e % 2 * 2;
            const float2 old = base != 0 ? *at : make_float2(0, 0);
            *at = make_float2(old.x + sign * sum[0], old.y + sign * sum[1]);
        }
        if (++tile == tiles) tile = 4 * ++strip;
    }
}

#endif
