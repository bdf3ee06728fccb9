/* Symmetric matrices of one thread block in shared memory, and the sums that make them by the tensor cores (mma.h).
 *
 * Of a matrix of `rows` rows and more columns the upper triangle is kept, in strips of 16 rows one after another: a
 * strip begins at its own diagonal, so that its row r holds columns 16 (r / 16) and up. With T = tiles | 1, tiles =
 * columns / 8 rounded up, a row of strip I has 8 (T - 2 I) floats: an odd number of eights, so that four rows' same
 * tile lies in all 32 banks. */
#ifndef KERNELS_CUDA_GRAM_MMA_H
#define KERNELS_CUDA_GRAM_MMA_H

#include "kernels/cuda/mma.h"

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

/* ---- sums of products ----
 *
 * The sum of x x^T over vectors x that lie in shared memory as halves, or the products of the vectors with each other:
 * sixteen bytes hold eight elements of a vector, the leading halves of `width` such tiles come first, then the trailing
 * ones. An odd number of tiles from one vector to the next: eight vectors' same tile then lies in all 32 banks. The
 * triangle is cut into pieces of 32 rows by 16 columns, numbered row of pieces by row of pieces; a warp takes up to
 * GRAM_PIECES neighbouring ones, of at most two rows of pieces, and keeps their sums in registers. For sixteen vectors
 * a piece takes twelve products and two loads, and four loads where a row of pieces begins. */

enum { GRAM_PIECES = 3, GRAM_DEPTH = 16 /* vectors at a time */ };

/* Tiles to keep of the leading halves: what the pieces reach. */
static inline __host__ __device__ int gram_width(int tiles, int rows) {
    const int reached = (rows + 31) / 32 * 4, even = (tiles + 1) / 2 * 2;
    return reached > even ? reached : even;
}

/* Bytes from one vector to the next. */
static inline __host__ __device__ int gram_vector_bytes(int width) {
    return 16 * (2 * width + 1);
}

/* Pieces of the first `rows` rows. */
static inline __host__ __device__ int gram_pieces(int tiles, int rows) {
    int pieces = 0;
    for (int row = 0; row < rows; row += 32) pieces += (tiles + 1) / 2 - row / 16;
    return pieces;
}

/* One warp's: `count` pieces from (32 strip, 16 column) on; piece `cut` begins the next row of pieces. */
struct gram_part {
    int strip, column, count, cut;
};

/* `most` pieces from piece `first` on, or as many as there are of all `pieces`. */
static __device__ __forceinline__ struct gram_part gram_part_of(int tiles, int pieces, int first, int most) {
    const int left = pieces - first;
    struct gram_part part = {0, 0, left < most ? left : most, GRAM_PIECES};
    if (part.count <= 0) return part;
    int length = (tiles + 1) / 2;
    for (; first >= length; length -= 2, part.strip++) first -= length;
    part.column = 2 * part.strip + first;
    if (length - first < part.count) part.cut = length - first;
    return part;
}

typedef float gram_piece[2][2][4]; /* sixteen rows, eight columns */

/* What is summed: the products of the vectors' elements (x x^T, a row and a column an element), or those of the
 * vectors (x^T x, a row and a column a vector). */
enum gram_kind { GRAM_OF_ELEMENTS, GRAM_OF_VECTORS };

/* A lane's places: of its row of a left factor and of a right one, rows and columns 0 and up. */
struct gram_place {
    shared_address left, right;
};

template <enum gram_kind KIND>
static __device__ __forceinline__ struct gram_place gram_place_of(const void *vectors, int width) {
    const int lane = (int)threadIdx.x % 32, bytes = gram_vector_bytes(width);
    const shared_address at = shared_address_of(vectors);
    if (KIND == GRAM_OF_ELEMENTS)
        return {at + (lane % 8 + lane / 16 * 8) * bytes + lane / 8 % 2 * 16,
                at + lane % 16 * bytes + lane / 16 * 16 * width};
    return {at + lane % 16 * bytes + lane / 16 * 16,
            at + lane % 8 * bytes + lane / 8 % 2 * 16 + lane / 16 * 16 * width};
}

/* Bytes from sixteen rows or columns to the next, and from GRAM_DEPTH summands to the next. */
template <enum gram_kind KIND> static __device__ __forceinline__ int gram_piece_step(int width) {
    return KIND == GRAM_OF_ELEMENTS ? 32 : 16 * gram_vector_bytes(width);
}

template <enum gram_kind KIND> static __device__ __forceinline__ int gram_depth_step(int width) {
    return KIND == GRAM_OF_ELEMENTS ? GRAM_DEPTH * gram_vector_bytes(width) : 32;
}

template <enum gram_kind KIND> static __device__ __forceinline__ void gram_load(uint32_t (&out)[4], shared_address at) {
    if (KIND == GRAM_OF_ELEMENTS)
        half_load(out, at);
    else
        half_load_rows(out, at);
}

template <enum gram_kind KIND>
static __device__ __forceinline__ void gram_load_left(struct half_left (&a)[2], shared_address at, int width) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        gram_load<KIND>(a[i].hi, at + i * gram_piece_step<KIND>(width));
        gram_load<KIND>(a[i].lo, at + i * gram_piece_step<KIND>(width) + 16 * width);
    }
}

template <enum gram_kind KIND>
static __device__ __forceinline__ void gram_load_right(struct half_right (&b)[2], shared_address at, int width) {
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t words[4];
        gram_load<KIND>(words, at + i * (gram_piece_step<KIND>(width) / 2));
        b[i] = {{words[0], words[1]}, {words[2], words[3]}};
    }
}

/* products = those of 32 columns by 16, the smallest first. */
static __device__ __forceinline__ void gram_multiply(gram_piece &products, const struct half_left (&a)[2],
                                                     const struct half_right (&b)[2]) {
#pragma unroll
    for (int q = 0; q < 4; q++) mma_half_first(products[q / 2][q % 2], a[q / 2].lo, b[q % 2].hi);
#pragma unroll
    for (int q = 0; q < 4; q++) mma_half(products[q / 2][q % 2], a[q / 2].hi, b[q % 2].lo);
#pragma unroll
    for (int q = 0; q < 4; q++) mma_half(products[q / 2][q % 2], a[q / 2].hi, b[q % 2].hi);
}

/* The part's sums += those of GRAM_DEPTH * steps summands. */
template <enum gram_kind KIND, int COUNT, int CUT>
static __device__ __forceinline__ void gram_add_part(gram_piece (&sums)[GRAM_PIECES], struct gram_place place,
                                                     int width, int steps, const struct gram_part &part) {
    const int next = gram_depth_step<KIND>(width), one = gram_piece_step<KIND>(width);
#pragma unroll 1
    for (int step = 0; step < steps; step++, place.left += next, place.right += next) {
        struct half_left a[2];
        gram_load_left<KIND>(a, place.left + 2 * one * part.strip, width);
        shared_address right = place.right + one * part.column;
#pragma unroll
        for (int piece = 0; piece < COUNT; piece++, right += one) {
            if (piece == CUT) {
                right = place.right + 2 * one * (part.strip + 1);
                gram_load_left<KIND>(a, place.left + 2 * one * (part.strip + 1), width);
            }
            struct half_right b[2];
            gram_load_right<KIND>(b, right, width);
            gram_piece products;
            gram_multiply(products, a, b);
#pragma unroll
            for (int e = 0; e < 16; e++) sums[piece][e / 8][e / 4 % 2][e % 4] += products[e / 8][e / 4 % 2][e % 4];
        }
    }
}

template <enum gram_kind KIND>
static __device__ __forceinline__ void gram_add_vectors(gram_piece (&sums)[GRAM_PIECES], const struct gram_place &place,
                                                        int width, int steps, const struct gram_part &part) {
    switch (part.count > 0 ? 4 * part.count + part.cut : 0) {
    case 4 + GRAM_PIECES:
        return gram_add_part<KIND, 1, GRAM_PIECES>(sums, place, width, steps, part);
    case 8 + 1:
        return gram_add_part<KIND, 2, 1>(sums, place, width, steps, part);
    case 8 + GRAM_PIECES:
        return gram_add_part<KIND, 2, GRAM_PIECES>(sums, place, width, steps, part);
    case 12 + 1:
        return gram_add_part<KIND, 3, 1>(sums, place, width, steps, part);
    case 12 + 2:
        return gram_add_part<KIND, 3, 2>(sums, place, width, steps, part);
    case 12 + GRAM_PIECES:
        return gram_add_part<KIND, 3, GRAM_PIECES>(sums, place, width, steps, part);
    }
}

/* All sums = 0. */
static __device__ __forceinline__ void gram_clear(gram_piece (&sums)[GRAM_PIECES]) {
#pragma unroll
    for (int e = 0; e < GRAM_PIECES * 16; e++) sums[e / 16][e / 8 % 2][e / 4 % 2][e % 4] = 0;
}

/* Units of the sums: what a column's numbers were divided by. Columns 0 .. rows - 1 are factors. */
struct gram_units {
    float factor, weight, target;
    int target_column; /* the last one; of weights are those between */
};

static __device__ __forceinline__ float gram_unit(const struct gram_units &units, int rows, int column) {
    return column < rows ? units.factor : column < units.target_column ? units.weight : units.target;
}

/* matrix = the part's sums. */
static __device__ __forceinline__ void gram_store_part(float *matrix, const gram_piece (&sums)[GRAM_PIECES], int tiles,
                                                       int rows, const struct gram_part &part,
                                                       const struct gram_units &units) {
    const int lane = (int)threadIdx.x % 32;
    int strip = part.strip, at = part.column;
#pragma unroll
    for (int piece = 0; piece < GRAM_PIECES; piece++, at++) {
        if (piece >= part.count) break;
        if (piece == part.cut) at = 2 * ++strip;
#pragma unroll
        for (int q = 0; q < 4; q++) {
            const int half = 2 * strip + q / 2, tile = 2 * at + q % 2, column = 8 * tile + 2 * (lane % 4);
            if (tile < 2 * half || tile >= tiles) continue;
            const float first = gram_unit(units, rows, column), second = gram_unit(units, rows, column + 1);
            float *to = matrix + gram_row(tiles, 16 * half) + lane / 4 * gram_pitch(tiles, half) + column;
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const float *sum = sums[piece][q / 2][q % 2] + 2 * e;
                if (16 * half + lane / 4 + 8 * e < rows)
                    *(float2 *)(to + 8 * e * gram_pitch(tiles, half)) =
                        make_float2(sum[0] * units.factor * first, sum[1] * units.factor * second);
            }
        }
    }
}

#endif
