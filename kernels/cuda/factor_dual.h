/* A short row's equations in as many unknowns as it has ratings (backend/factor_ops.h): not those of the prior's
 * precision and the sum of x x^T, but those of I / alpha + S W W^T S, where W has a row for each rating.
 *
 * The vectors are staged as halves, a part of their elements at a time, so that as many blocks fit a processor as their
 * registers allow, and the tensor cores multiply them with each other (gram_mma.h). The prior's mean, where it is not
 * 0, is one more vector: its products with the others belong to the right-hand side, and that is the column they are
 * in. What is left of the shape's least number of unknowns is idle: of weight 0 and solution 0. */
#ifndef KERNELS_CUDA_FACTOR_DUAL_H
#define KERNELS_CUDA_FACTOR_DUAL_H

#include "kernels/common/normal.h"
#include "kernels/cuda/factor_gram.h"
#include "kernels/cuda/gram_solve.h"

/* What a block keeps of its row besides the matrix, in shared memory. */
struct dual_row {
    int ratings, rows, tiles; /* unknowns, and tiles of one column more */
    int32_t *column;          /* (reach,) of each rating; -1: none */
    float *scale;             /* (reach,) the root of its weight */
    float *right;             /* (reach,) its target times that; once solved, the factor of its vector */
    float *mean, *centre;     /* (8 width,) of the row's own part, and of the whole vector */
    unsigned *largest;        /* (warps,) bits of the largest magnitude of `centre` that a warp saw */
};

/* Floats of all these. */
static inline __host__ __device__ int dual_row_floats(int reach, int width, int warps) {
    return 3 * reach + 16 * width + warps;
}

static __device__ __forceinline__ struct dual_row dual_row_of(const struct solve_params &p, int32_t row,
                                                              float *shared) {
    const struct dual_params &dual = p.dual;
    const int n = (int)(p.offsets[row + 1] - p.offsets[row]), rows = n > dual.least ? n : dual.least;
    float *at = shared + dual.kept, *mean = at + 3 * dual.reach, *centre = mean + 8 * dual.width;
    return {n,
            rows,
            gram_tiles(rows + 1),
            (int32_t *)at,
            at + dual.reach,
            at + 2 * dual.reach,
            mean,
            centre,
            (unsigned *)(centre + 8 * dual.width)};
}

/* ---- ratings and the prior's mean, a thread an element ---- */

static __device__ __forceinline__ float noise_value(const struct solve_params &p, int32_t row, int i) {
    float z[4];
    philox_normals(p.seed, p.stream, (uint64_t)(p.first_row + row) * 128 + (uint64_t)i / 4, z);
    return i % 4 < 2 ? (i % 2 ? z[1] : z[0]) : (i % 2 ? z[3] : z[2]);
}

static __device__ __forceinline__ void list_ratings(const struct solve_params &p, int32_t row,
                                                    const struct dual_row &d) {
    for (int q = (int)threadIdx.x; q < p.dual.reach; q += (int)blockDim.x) {
        const struct coming rating = load_rating(p, p.offsets[row] + q, p.offsets[row + 1]);
        const float bias = load_bias(p, rating.column);
        d.column[q] = rating.column;
        d.scale[q] = rating.column < 0 ? 0 : p.weight[rating.rating] * p.weight_unit;
        d.right[q] = d.scale[q] * (p.value[rating.rating] - rating.residual - bias);
        if (p.noise && rating.column >= 0)
            d.right[q] = fmaf(noise_value(p, row, p.dual.target_noise + q), p.dual.noise_scale, d.right[q]);
    }
}

static __device__ __forceinline__ void make_mean(const struct solve_params &p, int32_t row, const struct dual_row &d) {
    unsigned largest = 0;
    for (int f = (int)threadIdx.x; f < 8 * p.dual.width; f += (int)blockDim.x) {
        float mean = 0, fixed = 0;
        if (f < p.solved) mean = p.dual.mean[f];
        if (f < p.solved && p.noise) mean += noise_value(p, row, f);
        if (f < p.solved && p.row_offsets) fixed = p.row_vectors[(int64_t)row * p.stride + f];
        d.mean[f] = mean;
        d.centre[f] = mean + fixed;
        largest = max(largest, __float_as_uint(mean + fixed) & 0x7fffffffu);
    }
    largest = __reduce_max_sync(~0u, largest);
    if (threadIdx.x % 32 == 0) d.largest[threadIdx.x / 32] = largest;
}

/* What the mean is multiplied with to be staged, as a power of two. */
static __device__ __forceinline__ int mean_scale(const struct solve_params &p, const struct dual_row &d) {
    unsigned largest = 0;
    for (int warp = 0; p.dual.centre && warp < (int)blockDim.x / 32; warp++) largest = max(largest, d.largest[warp]);
    return scale_to(__uint_as_float(largest), FACTOR_EXPONENT);
}

/* ---- products ---- */

/* Starts the copies of `part` pieces of every vector from piece `first` on; zeros where there is none. Eight lanes a
 * vector, as many as a line has pieces: a part is seldom longer than ten. */
static __device__ __forceinline__ void copy_part(const struct solve_params &p, const struct dual_row &d, int first,
                                                 char *panel) {
    const int pieces = p.dual.pieces, part = p.dual.part, bytes = gram_vector_bytes(part);
#pragma unroll 1
    for (int v = (int)threadIdx.x / 8; v < p.dual.reach; v += (int)blockDim.x / 8) {
        const int32_t column = d.column[v];
        if (p.dual.centre && v == d.rows) continue;
#pragma unroll 1
        for (int piece = (int)threadIdx.x % 8; piece < part; piece += 8) {
            const int there = column >= 0 && first + piece < pieces;
            const uint4 *from = p.dual.halves + (there ? (int64_t)column * (2 * pieces) + first + piece : 0);
            uint4 *to = (uint4 *)(panel + v * bytes) + piece;
            async_copy<4>((float *)to, (const float *)from, there);
            async_copy<4>((float *)(to + part), (const float *)(from + (there ? pieces : 0)), there);
        }
    }
}

/* The same of the prior's mean, a thread a piece. */
static __device__ __forceinline__ void put_mean(const struct solve_params &p, const struct dual_row &d, int first,
                                                float scale, char *panel) {
    for (int piece = (int)threadIdx.x; piece < p.dual.part; piece += (int)blockDim.x) {
        struct half_pair pairs[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int f = 8 * (first + piece) + 2 * e, there = f < 8 * p.dual.width;
            pairs[e] = half_split(there ? d.centre[f] * scale : 0, there ? d.centre[f + 1] * scale : 0);
        }
        uint4 *to = (uint4 *)(panel + d.rows * gram_vector_bytes(p.dual.part)) + piece;
        to[0] = make_uint4(pairs[0].hi, pairs[1].hi, pairs[2].hi, pairs[3].hi);
        to[p.dual.part] = make_uint4(pairs[0].lo, pairs[1].lo, pairs[2].lo, pairs[3].lo);
    }
}

/* matrix = the products of the row's vectors with each other, and in the last column those with the mean. Ends with a
 * barrier. */
template <int WARPS>
static __device__ __forceinline__ void multiply_vectors(const struct solve_params &p, int32_t row,
                                                        const struct dual_row &d, float *matrix) {
    const int warp = (int)threadIdx.x / 32, pieces = gram_pieces(d.tiles, d.rows), most = (pieces + WARPS - 1) / WARPS;
    const struct gram_part part = gram_part_of(d.tiles, pieces, warp * most, most);
    const struct gram_place place = gram_place_of<GRAM_OF_VECTORS>(matrix, p.dual.part);
    gram_piece sums[GRAM_PIECES];
    gram_clear(sums);
    list_ratings(p, row, d);
    if (p.dual.centre) make_mean(p, row, d);
    __syncthreads();
    const int scale = mean_scale(p, d);
    for (int first = 0; first < p.dual.width; first += p.dual.part) {
        const int left = p.dual.width - first;
        copy_part(p, d, first, (char *)matrix);
        if (p.dual.centre) put_mean(p, d, first, power_of_two(scale), (char *)matrix);
        async_copy_wait();
        __syncthreads();
        gram_add_vectors<GRAM_OF_VECTORS>(sums, place, p.dual.part, (left < p.dual.part ? left : p.dual.part) / 2,
                                          part);
        __syncthreads();
    }
    const float unit = power_of_two(-scale_to(__uint_as_float(p.dual.largest->factor), FACTOR_EXPONENT));
    gram_store_part(matrix, sums, d.tiles, d.rows, part, {unit, 0, power_of_two(-scale), d.rows});
    __syncthreads();
}

/* ---- equations ---- */

/* The prior's variance, the same for all elements: 1 in its own coordinates. */
static __device__ __forceinline__ float prior_variance(const struct solve_params &p, const struct dual_row &d) {
    return p.dual.unit ? 1 : 1 / fmaf(p.ridge_per_rating, (float)d.ratings, p.dual.precision);
}

/* Takes the equations to registers, as hold_equations does. */
template <int WARPS, int LEAST, int TILES>
static __device__ __forceinline__ void hold_dual(const struct solve_params &p, const struct dual_row &d,
                                                 const float *matrix, const struct held_place &place,
                                                 held_matrix<WARPS, LEAST, TILES> &held) {
    typedef held_matrix<WARPS, LEAST, TILES> shape;
    const int end = d.rows - 1;
    const float variance = prior_variance(p, d), bias = !p.dual.unit && p.biases ? 1 : 0;
#pragma unroll
    for (int r = 0; r < shape::ROW_TILES; r++) {
        const int exact = shape::TILE_ROWS * r + place.row, row = exact < end ? exact : end;
        const float *products = matrix + gram_row(d.tiles, row), scale = d.scale[row] * variance;
        const float last = fmaf(-d.scale[row], products[d.rows], d.right[row]);
#pragma unroll
        for (int c = shape::first(r); c < TILES; c++) {
            const int column = 8 * c + place.column, sure = c + 1 < shape::SURE;
            const int there = sure || column < end ? column : end;
            float value = scale * d.scale[there] * (products[there] + bias);
            if (!sure && column >= d.rows) value = column == d.rows ? last : 0;
            if (c == shape::first(r) && row == column) value += p.dual.diagonal;
            held.element[shape::at(r, c)] = value;
        }
    }
    __syncthreads();
}

/* ---- the solution ---- */

/* The row's vector from the factors of its ratings' vectors. A warp every so many of these, a lane an element of 32;
 * `sums`: SPAN floats a warp of shared memory. */
template <int WARPS>
static __device__ __forceinline__ void add_vectors(const struct solve_params &p, int32_t row, const struct dual_row &d,
                                                   float *sums) {
    enum { EACH = 5, SPAN = 32 * EACH };
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const float variance = prior_variance(p, d);
    float *out = p.row_vectors + (int64_t)row * p.stride;
    for (int first = 0; first < p.stride; first += SPAN) {
        float sum[EACH] = {};
#pragma unroll 4
        for (int q = warp; q < d.ratings; q += WARPS) {
            const float factor = d.right[q], *vector = p.dual.vectors + (int64_t)d.column[q] * p.stride + first + lane;
#pragma unroll
            for (int e = 0; e < EACH; e++) {
                const int f = first + 32 * e + lane;
                sum[e] = fmaf(factor, f < p.dual.elements ? vector[32 * e] : f < p.solved ? 1 : 0, sum[e]);
            }
        }
        __syncthreads();
#pragma unroll
        for (int e = 0; e < EACH; e++) sums[SPAN * warp + 32 * e + lane] = sum[e];
        __syncthreads();
        for (int at = (int)threadIdx.x; at < SPAN && first + at < p.stride; at += 32 * WARPS) {
            const int f = first + at;
            float total = sums[at];
            for (int other = 1; other < WARPS; other++) total += sums[SPAN * other + at];
            total *= variance;
            if (f < p.solved) out[f] = p.dual.centre ? total + d.mean[f] : total;
            if (f >= p.solved && (p.biases || f != p.k)) out[f] = 0;
        }
    }
}

#endif
