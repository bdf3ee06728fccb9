/* A row's normal equations on CUDA: the vectors of its ratings are brought to shared memory as halves, a panel at a
 * time, and added up by the tensor cores (gram_mma.h).
 *
 * A rating's vector is weight * (factors, 1, target - bias), each part scaled by a power of two (factor_halves.h) that
 * is taken off the sums at the end. The element of the bias and its right-hand side, sums of w^2 and w^2 t, are added
 * up beside the tensor cores, so that there is no row of pieces for one row. */
#ifndef KERNELS_CUDA_FACTOR_GRAM_H
#define KERNELS_CUDA_FACTOR_GRAM_H

#include "backend/factor_ops.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/factor_halves.h"

enum {
    PANEL_MAX = 32, /* ratings staged at a time; 16 where shared memory is short */
    PANELS = 3,     /* one is added up, the others are on their way */
    AHEAD = PANELS - 1
};

/* A row of more than FACTOR_CHUNK ratings: its chunks' sums start at `first`. */
struct long_row {
    int64_t first;
    int32_t row;
};

struct row_chunk {
    int32_t row, chunk;
};

/* Rows that are not long: those solved in their own unknowns, and the short ones by the shape of their launch. */
enum { DUAL_SHAPES = 5, ROW_KINDS = 1 + DUAL_SHAPES };

/* What the device tells the host, and kernels each other. */
struct solve_report {
    unsigned long long n_chunks;
    int n_long;
    int n_rows[ROW_KINDS];
    int failed_row; /* the lowest, INT_MAX = none */
    struct largest_elements largest, largest_in_basis;
};

/* How short rows are solved in as many unknowns as they have ratings (factor_dual.h). */
struct dual_params {
    int on;       /* the rows of this launch are; of the others only `unit` means something */
    int unit;     /* vectors are in the prior's coordinates; 0: its precision is (precision + ridge) I, its mean 0 */
    int centre;   /* rows have a prior mean other than 0 */
    int elements; /* of a vector in memory; a bias that is not among them is a 1 more */
    int pieces, width, part; /* halves_pieces(elements), as an even number, and as many as are staged at a time */
    int least, reach, kept; /* unknowns at least, vectors that products reach, where a struct dual_row's arrays begin */
    int target_noise;       /* factor_target_noise */
    float precision, noise_scale, diagonal; /* the last two: 1 / sqrt(alpha), 1 / alpha */
    const float *vectors;                   /* (n_columns, stride) */
    const uint4 *halves;                    /* of them */
    const float *mean;                      /* (d,) */
    const struct largest_elements *largest;
};

struct solve_params {
    int k, solved, stride, biases; /* solved = d */
    int tiles;                     /* of d + 1 columns */
    int panel, width, panels_at;   /* ratings staged at a time, gram_width, where panels begin in the matrix's floats */
    int solution;                  /* where in shared memory the factor ends and pivots, noise, right side follow */
    int pieces, passes, part;      /* all pieces, times the ratings are read, pieces a warp takes each time */
    int weighted;                  /* some weight is not 1 */
    const int64_t *offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    const float *residual, *column_vectors, *row_offsets;
    const uint4 *halves; /* (dev) of column_vectors */
    float value[FACTOR_VALUES];
    float weight[FACTOR_VALUES]; /* in units of weight_unit, a power of two: at most 1 */
    float weight_unit, largest_value;
    float alpha, ridge_per_rating;
    const float *prior_precision, *prior_shift; /* (dev) */
    int noise;
    int32_t first_row;
    uint64_t seed, stream;
    float *row_vectors;
    float *partial; /* matrices of the chunks */
    const struct long_row *long_rows;
    const struct row_chunk *chunks;
    const int32_t *rows; /* of a launch, unless they are long */
    struct dual_params dual;
    struct solve_report *report;
};

/* ---- one thread of the last warp a rating ---- */

/* A rating to come, as it is read. Past the end the column is -1. */
struct coming {
    int32_t column;
    int rating;
    float residual;
};

/* The ratings of a panel. Past the end the weight is 0. The target is in the units of its column of the panel. */
struct panel_index {
    int32_t column[PANEL_MAX];
    float weight[PANEL_MAX], target[PANEL_MAX];
};

static __device__ __forceinline__ struct coming load_rating(const struct solve_params &p, int64_t i, int64_t end) {
    if (i >= end) return {-1, 0, 0};
    return {p.columns[i], p.ratings[i], p.residual ? p.residual[i] : 0};
}

static __device__ __forceinline__ float load_bias(const struct solve_params &p, int32_t column) {
    return column < 0 ? 0 : p.column_vectors[(int64_t)column * p.stride + p.k];
}

/* Weight and target but for the bias. */
static __device__ __forceinline__ void list_rating(const struct solve_params &p, struct panel_index &index, int q,
                                                   const struct coming &rating) {
    index.weight[q] = rating.column < 0 ? 0 : p.weight[rating.rating];
    index.target[q] = p.value[rating.rating] - rating.residual;
}

static __device__ __forceinline__ void list_bias(struct panel_index &index, int q, float bias, float scale) {
    index.target[q] = (index.target[q] - bias) * index.weight[q] * scale;
}

/* This thread's part of the sums of weight^2 and weight * target. */
struct bias_sums {
    float weights, targets;
};

/* Puts weight and target behind the factors, which this thread's copies may have written zeros to. */
static __device__ __forceinline__ void put_target(const struct solve_params &p, const struct panel_index &index, int q,
                                                  char *panel, struct bias_sums &sums) {
    const float weight = index.weight[q], target = index.target[q];
    const struct half_pair pair = half_split(weight * (1 << WEIGHT_EXPONENT), target);
    uint16_t *leading = (uint16_t *)(panel + q * gram_vector_bytes(p.width)), *trailing = leading + 8 * p.width;
    if (p.biases) leading[p.k] = (uint16_t)pair.hi;
    if (p.biases) trailing[p.k] = (uint16_t)pair.lo;
    leading[p.solved] = (uint16_t)(pair.hi >> 16);
    trailing[p.solved] = (uint16_t)(pair.lo >> 16);
    sums.weights = fmaf(weight, weight, sums.weights);
    sums.targets = fmaf(weight, target, sums.targets);
}

/* ---- half a warp a rating ---- */

/* Eight factors of a rating, to a panel; zeros past the end. */
static __device__ __forceinline__ void copy_piece(const struct solve_params &p, const struct panel_index &index, int q,
                                                  int piece, char *panel) {
    const int32_t column = index.column[q];
    const int pieces = halves_pieces(p.k);
    const uint4 *from = p.halves + (int64_t)(column < 0 ? 0 : column) * (2 * pieces) + piece;
    uint4 *to = (uint4 *)(panel + q * gram_vector_bytes(p.width)) + piece;
    async_copy<4>((float *)to, (const float *)from, column >= 0);
    async_copy<4>((float *)(to + p.width), (const float *)(from + pieces), column >= 0);
}

/* Starts the copies of the factors of the first n ratings of a panel. The last few factors, where k is no multiple of
 * eight, are copied by the thread that puts the target behind them. */
static __device__ __forceinline__ void copy_factors(const struct solve_params &p, const struct panel_index &index,
                                                    int n, int owned, char *panel) {
#pragma unroll 1
    for (int q = (int)threadIdx.x / 16; q < n; q += (int)blockDim.x / 16)
#pragma unroll 1
        for (int piece = (int)threadIdx.x % 16; piece < p.k / 8; piece += 16) copy_piece(p, index, q, piece, panel);
    if (p.k % 8 && owned < n) copy_piece(p, index, owned, p.k / 8, panel);
}

/* Both halves of two numbers times a weight. */
static __device__ __forceinline__ void scale_pair(uint32_t &hi, uint32_t &lo, float weight) {
    const struct half_pair pair =
        half_split((half_first(hi) + half_first(lo)) * weight, (half_second(hi) + half_second(lo)) * weight);
    hi = pair.hi;
    lo = pair.lo;
}

static __device__ __forceinline__ void scale_piece(const struct solve_params &p, float weight, int q, int piece,
                                                   char *panel) {
    uint4 *at = (uint4 *)(panel + q * gram_vector_bytes(p.width)) + piece, hi = at[0], lo = at[p.width];
    scale_pair(hi.x, lo.x, weight);
    scale_pair(hi.y, lo.y, weight);
    scale_pair(hi.z, lo.z, weight);
    scale_pair(hi.w, lo.w, weight);
    at[0] = hi;
    at[p.width] = lo;
}

/* Multiplies what this thread copied by the ratings' weights. */
static __device__ __forceinline__ void scale_factors(const struct solve_params &p, const struct panel_index &index,
                                                     int n, int owned, char *panel) {
#pragma unroll 1
    for (int q = (int)threadIdx.x / 16; q < n; q += (int)blockDim.x / 16)
#pragma unroll 1
        for (int piece = (int)threadIdx.x % 16; piece < p.k / 8; piece += 16)
            scale_piece(p, index.weight[q], q, piece, panel);
    if (p.k % 8 && owned < n) scale_piece(p, index.weight[owned], owned, p.k / 8, panel);
}

/* ---- the sums ---- */

/* What the numbers of a panel were divided by: units.target is the factor of the target's column. */
static __device__ __forceinline__ struct gram_units units_of(const struct solve_params &p) {
    const struct largest_elements &largest = p.report->largest;
    const float target = p.largest_value + __uint_as_float(largest.bias);
    return {p.weight_unit * power_of_two(-scale_to(__uint_as_float(largest.factor), FACTOR_EXPONENT)),
            p.weight_unit / (1 << WEIGHT_EXPONENT), p.weight_unit * power_of_two(-scale_to(target, TARGET_EXPONENT)),
            p.solved};
}

/* The last row's sums, by the last warp. */
static __device__ __forceinline__ void store_bias_sums(const struct solve_params &p, struct bias_sums sums,
                                                       const struct gram_units &units, float *matrix) {
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
        sums.weights += __shfl_xor_sync(~0u, sums.weights, distance);
        sums.targets += __shfl_xor_sync(~0u, sums.targets, distance);
    }
    if (threadIdx.x % 32 > 0) return;
    float *row = matrix + gram_row(p.tiles, p.k);
    row[p.k] = sums.weights * p.weight_unit * p.weight_unit;
    row[p.solved] = sums.targets * p.weight_unit * units.target;
}

/* One pass over n_ratings ratings from `begin` on. While one panel is added up the next AHEAD are on their way, and the
 * ratings of the one after them: one barrier a panel. `owned`: this thread's rating of a panel, or PANEL_MAX. */
static __device__ __forceinline__ void add_panels(const struct solve_params &p, int64_t begin, int n_ratings, int owned,
                                                  char *panels, struct panel_index *index, const struct gram_part &part,
                                                  const float scale, gram_piece (&sums)[GRAM_PIECES],
                                                  struct bias_sums &bias_sums) {
    const int bytes = gram_vector_bytes(p.width), owner = owned < p.panel, panel_bytes = p.panel * bytes;
    const int64_t end = owner ? begin + n_ratings : 0;
    const struct gram_place place = gram_place_of<GRAM_OF_ELEMENTS>(panels, p.width);
    for (int panel = 0; owner && panel < AHEAD; panel++) {
        const struct coming rating = load_rating(p, begin + panel * p.panel + owned, end);
        index[panel].column[owned] = rating.column;
        list_rating(p, index[panel], owned, rating);
    }
    struct coming next = load_rating(p, begin + AHEAD * p.panel + owned, end);
    __syncthreads();
    for (int panel = 0; panel < AHEAD; panel++) {
        const int left = n_ratings - panel * p.panel;
        copy_factors(p, index[panel], left < p.panel ? (left + 15) / 16 * 16 : p.panel, owned,
                     panels + panel * panel_bytes);
        async_copy_commit();
        if (owner) list_bias(index[panel], owned, load_bias(p, index[panel].column[owned]), scale);
    }
    int now = 0, then = AHEAD;
    for (int left = n_ratings; left > 0; left -= p.panel) {
        const int n = left < p.panel ? (left + 15) / 16 * 16 : p.panel, later = left - AHEAD * p.panel;
        char *panel = panels + now * panel_bytes;
        async_copy_wait_but<AHEAD - 1>();
        if (p.weighted) scale_factors(p, index[now], n, owned, panel);
        if (owned < n) put_target(p, index[now], owned, panel, bias_sums);
        if (owner) index[then].column[owned] = next.column;
        if (owner) list_rating(p, index[then], owned, next);
        __syncthreads();
        copy_factors(p, index[then], later < p.panel ? (later + 15) / 16 * 16 : p.panel, owned,
                     panels + then * panel_bytes);
        async_copy_commit();
        const float bias = load_bias(p, owner ? next.column : -1);
        next = load_rating(p, begin + n_ratings - later + p.panel + owned, end);
        gram_add_vectors<GRAM_OF_ELEMENTS>(sums, {place.left + now * panel_bytes, place.right + now * panel_bytes},
                                           p.width, n / GRAM_DEPTH, part);
        if (owner) list_bias(index[then], owned, bias, scale);
        now = now + 1 == PANELS ? 0 : now + 1;
        then = then + 1 == PANELS ? 0 : then + 1;
    }
}

/* matrix = the sums of the ratings begin .. end - 1, at most FACTOR_CHUNK. A matrix of more pieces than the block's
 * registers hold takes several passes over the ratings; panels lie where only the last one writes. Ends with a barrier.
 */
static __device__ __forceinline__ void add_ratings(const struct solve_params &p, int64_t begin, int64_t end,
                                                   float *matrix) {
    __shared__ struct panel_index index[PANELS];
    const int warp = (int)threadIdx.x / 32, warps = (int)blockDim.x / 32, last = warp == warps - 1;
    const struct gram_units units = units_of(p);
    for (int pass = 0; pass < p.passes; pass++) {
        const struct gram_part part = gram_part_of(p.tiles, p.pieces, (pass * warps + warp) * p.part, p.part);
        struct bias_sums bias = {0, 0};
        gram_piece sums[GRAM_PIECES];
        gram_clear(sums);
        add_panels(p, begin, (int)(end - begin), last ? (int)threadIdx.x % 32 : PANEL_MAX,
                   (char *)(matrix + p.panels_at), index, part, p.weight_unit / units.target, sums, bias);
        __syncthreads();
        gram_store_part(matrix, sums, p.tiles, p.k, part, units);
        if (last && p.biases && pass == p.passes - 1) store_bias_sums(p, bias, units, matrix);
    }
    __syncthreads();
}

#endif
