/* The draws of set_sweep on CUDA: one launch for the batches of a group, a block for each part of the rows. Included by
 * set_sweep.cu alone.
 *
 * Per batch the blocks speak to each other three times:
 *
 *     sums      each part sums up q over its rows of each column; nobody else reads or writes the q of its rows
 *     pulls     the block of a column adds those up over the parts: s
 *     changes   it works out its column's rows of N s (set_columns.h) and hands the change of y to all parts, which
 *               take h times the changes of a row's columns off its q
 *
 * A word between blocks is a value with the number of the draw, stored and read as one: whoever finds the number it
 * waits for has the value, without barriers or fences. A word is written anew only after every reader has it: a part
 * sends sums of the next batch once it has all changes of this one, which were worked out of all pulls and sums.
 * No word of a column depends on a later column, so that one block can do several columns, or parts, in turn: sums
 * do not depend on the grid. */
#ifndef KERNELS_CUDA_SET_DRAWS_H
#define KERNELS_CUDA_SET_DRAWS_H

#include "kernels/cuda/set_params.h"

enum {
    DRAW_THREADS = 512,
    DRAW_WARPS = DRAW_THREADS / 32,
    GROUPS = DRAW_THREADS / B, /* a group of B lanes takes a vector, a lane an element */
    WARP_GROUPS = 32 / B,
    WARP_COLUMNS = BATCH / DRAW_WARPS,
    FIRST = 2 * WARP_GROUPS, /* ratings of each of a warp's columns that are summed up together */
    EACH = 4,                /* rows that a group moves at a time */
    ROUND = EACH * GROUPS,
    LANE_PARTS = PARTS / 32
};

/* ---- words between blocks ---- */

static __device__ __forceinline__ void hand_over(uint64_t *to, uint32_t number, float value) {
    *(volatile uint64_t *)to = (uint64_t)number << 32 | __float_as_uint(value);
}

static __device__ __forceinline__ uint64_t look_at(const uint64_t *from) {
    return *(const volatile uint64_t *)from;
}

static __device__ __forceinline__ float await(const uint64_t *from, uint32_t number, uint64_t word) {
    while ((uint32_t)(word >> 32) != number) {
        __nanosleep(20);
        word = look_at(from);
    }
    return __uint_as_float((uint32_t)word);
}

/* ---- sums ---- */

/* Of a part: where the ratings of this warp's columns begin, how many there are, and the lane's one of the first 32. */
struct sums_ahead {
    const int32_t *rows[WARP_COLUMNS];
    int n[WARP_COLUMNS];
    int32_t row[WARP_COLUMNS];
};

static __device__ __forceinline__ int64_t part_begin(const struct sweep_params &p, int part) {
    return p.offsets[p.part_row[part]];
}

static __device__ __forceinline__ struct sums_ahead fetch_sums(const struct sweep_params &p, int part, int32_t batch) {
    const uint32_t *begin = p.begin + (int64_t)part * (p.n_columns + 1);
    const int32_t *list = p.list_row + part_begin(p, part);
    const int lane = (int)threadIdx.x % 32;
    struct sums_ahead ahead;
#pragma unroll
    for (int s = 0; s < WARP_COLUMNS; s++) {
        const int64_t column = (int64_t)batch * BATCH + threadIdx.x / 32 + s * DRAW_WARPS;
        const uint32_t from = column < p.n_columns ? begin[column] : 0;
        ahead.rows[s] = list + from;
        ahead.n[s] = column < p.n_columns ? (int)(begin[column + 1] - from) : 0;
        ahead.row[s] = lane < ahead.n[s] ? ahead.rows[s][lane] : 0;
    }
    return ahead;
}

/* Of q of up to 32 rows, a lane each, those from the multiple `from` of FIRST on: the sum of the group's. */
static __device__ __forceinline__ float sum_lanes(const struct sweep_params &p, int32_t own, int from, int n) {
    const int lane = (int)threadIdx.x % 32, j = lane % B;
    float sum = 0;
    for (; from < 32 && from < n; from += FIRST) {
        const int i = from + lane / B;
        const int64_t low = __shfl_sync(WHOLE_WARP, own, i), high = __shfl_sync(WHOLE_WARP, own, i + WARP_GROUPS);
        const float a = i < n ? p.q[low * B + j] : 0, b = i + WARP_GROUPS < n ? p.q[high * B + j] : 0;
        sum += a + b;
    }
    return sum;
}

/* The sums of long columns from rating FIRST on. */
static __device__ __forceinline__ float sum_rest(const struct sweep_params &p, const int32_t *rows, int n,
                                                 int32_t own) {
    const int lane = (int)threadIdx.x % 32;
    float sum = 0;
    for (int first = 0; first < n; first += 32) {
        const int32_t next = first + 32 + lane < n ? rows[first + 32 + lane] : 0;
        sum += sum_lanes(p, own, first ? 0 : (int)FIRST, n - first);
        own = next;
    }
    return sum;
}

/* This warp's columns of the batch over the part's rows; each lane hands over an element of one. */
static __device__ __forceinline__ void hand_sums(const struct sweep_params &p, int part, uint32_t number,
                                                 const struct sums_ahead &ahead) {
    const int lane = (int)threadIdx.x % 32, group = lane / B, j = lane % B;
    float sums[WARP_COLUMNS], own = 0;
#pragma unroll
    for (int s = 0; s < WARP_COLUMNS; s++) {
        const int64_t low = __shfl_sync(WHOLE_WARP, ahead.row[s], group);
        const int64_t high = __shfl_sync(WHOLE_WARP, ahead.row[s], group + WARP_GROUPS);
        const float a = group < ahead.n[s] ? p.q[low * B + j] : 0;
        const float b = group + WARP_GROUPS < ahead.n[s] ? p.q[high * B + j] : 0;
        sums[s] = a + b;
    }
#pragma unroll
    for (int s = 0; s < WARP_COLUMNS; s++) {
        if (ahead.n[s] > FIRST) sums[s] += sum_rest(p, ahead.rows[s], ahead.n[s], ahead.row[s]);
        for (int by = 16; by >= B; by /= 2) sums[s] += __shfl_xor_sync(WHOLE_WARP, sums[s], by);
        if (s % WARP_GROUPS == group) own = sums[s];
    }
    static_assert((int)WARP_COLUMNS == (int)WARP_GROUPS, "a lane has one element");
    const int column = (int)threadIdx.x / 32 + group * DRAW_WARPS;
    hand_over(p.partial + ((int64_t)column * B + j) * PARTS + part, number, own);
}

/* ---- a column ---- */

/* Warp w < B: element w of the column's s. */
static __device__ __forceinline__ void hand_pull(const struct sweep_params &p, int64_t batch, int c, uint32_t number) {
    const int element = c * B + (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const uint64_t *from = p.partial + (int64_t)element * PARTS + lane;
    const float pull = p.pull[batch * SIDE + element];
    uint64_t words[LANE_PARTS];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < LANE_PARTS; i++) words[i] = look_at(from + i * 32);
#pragma unroll
    for (int i = 0; i < LANE_PARTS; i++) sum += await(from + i * 32, number, words[i]);
    for (int by = 16; by > 0; by /= 2) sum += __shfl_xor_sync(WHOLE_WARP, sum, by);
    if (lane == 0) hand_over(p.pulls + element, number, sum - pull);
}

/* Column c of the batch, by a block whose warps w < B have an element each. */
static __device__ __forceinline__ void draw_column(const struct sweep_params &p, int32_t batch, int c,
                                                   uint32_t number) {
    __shared__ __align__(8) float pulls[SIDE];
    const int j = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, row = c * B + j, n = (c + 1) * B;
    const int64_t at = (int64_t)batch * SIDE + row;
    float2 inverse[TILES] = {};
    float shift = 0, dot = 0;
    if (j < B) {
        shift = p.shift[at];
#pragma unroll
        for (int t = 0; t < TILES; t++)
            if (t * TILE + lane * 2 < n)
                inverse[t] = *(const float2 *)element_at(p.inverse, batch - p.batch, row, t * TILE + lane * 2);
        hand_pull(p, batch, c, number);
    }
    if ((int)threadIdx.x < n) pulls[threadIdx.x] = await(p.pulls + threadIdx.x, number, look_at(p.pulls + threadIdx.x));
    __syncthreads();
    if (j < B) {
#pragma unroll
        for (int t = 0; t < TILES; t++) {
            if (t * TILE + lane * 2 >= n) break;
            const float2 pull = *(const float2 *)&pulls[t * TILE + lane * 2];
            dot = fmaf(inverse[t].x, pull.x, fmaf(inverse[t].y, pull.y, dot));
        }
        for (int by = 16; by > 0; by /= 2) dot += __shfl_xor_sync(WHOLE_WARP, dot, by);
        if (lane == 0) {
            hand_over(p.changes + row, number, shift + dot);
            if (j < p.width) p.features[((int64_t)batch * BATCH + c) * p.stride + p.first + j] += shift + dot;
        }
    }
    __syncthreads();
}

/* ---- moves ---- */

/* Of a part: the batch's ratings. */
struct ratings {
    int64_t begin;
    int n;
};

/* This group's rows of a round, and which columns of the batch they have: none where another rating has the row. */
struct round {
    int32_t row[EACH];
    uint64_t members[EACH];
};

static __device__ __forceinline__ struct ratings ratings_of(const struct sweep_params &p, int part, int32_t batch) {
    const uint32_t *begin = p.begin + (int64_t)part * (p.n_columns + 1);
    const int64_t first = (int64_t)batch * BATCH, end = first + BATCH < p.n_columns ? first + BATCH : p.n_columns;
    if (first >= end) return {0, 0};
    return {part_begin(p, part) + begin[first], (int)(begin[end] - begin[first])};
}

static __device__ __forceinline__ struct round fetch_round(const struct sweep_params &p, const struct ratings &ratings,
                                                           int from) {
    struct round round;
#pragma unroll
    for (int a = 0; a < EACH; a++) {
        const int i = from + (int)threadIdx.x / B + a * GROUPS;
        round.row[a] = i < ratings.n ? p.list_row[ratings.begin + i] : 0;
        round.members[a] = i < ratings.n ? p.list_members[ratings.begin + i] : 0;
    }
    return round;
}

/* A lane's row of h of each. */
struct matrices {
    float4 h[EACH][2];
};

static __device__ __forceinline__ struct matrices fetch_matrices(const struct sweep_params &p,
                                                                 const struct round &round) {
    struct matrices matrices;
#pragma unroll
    for (int a = 0; a < EACH; a++) {
        const float4 *from = (const float4 *)(p.h + (int64_t)round.row[a] * MATRIX + threadIdx.x % B * B);
        matrices.h[a][0] = round.members[a] ? from[0] : make_float4(0, 0, 0, 0);
        matrices.h[a][1] = round.members[a] ? from[1] : make_float4(0, 0, 0, 0);
    }
    return matrices;
}

/* Row j of the symmetric h times the vector that the group holds. */
static __device__ __forceinline__ float group_apply(const float4 (&h)[2], float v) {
    float even = h[0].x * __shfl_sync(WHOLE_WARP, v, 0, B), odd = h[0].y * __shfl_sync(WHOLE_WARP, v, 1, B);
    even = fmaf(h[0].z, __shfl_sync(WHOLE_WARP, v, 2, B), even);
    odd = fmaf(h[0].w, __shfl_sync(WHOLE_WARP, v, 3, B), odd);
    even = fmaf(h[1].x, __shfl_sync(WHOLE_WARP, v, 4, B), even);
    odd = fmaf(h[1].y, __shfl_sync(WHOLE_WARP, v, 5, B), odd);
    even = fmaf(h[1].z, __shfl_sync(WHOLE_WARP, v, 6, B), even);
    odd = fmaf(h[1].w, __shfl_sync(WHOLE_WARP, v, 7, B), odd);
    return even + odd;
}

/* Element j of the sum of the members' changes, those of either half of the batch in order. */
static __device__ __forceinline__ float change_of(const float *changes, uint64_t members) {
    const float *own = changes + threadIdx.x % B;
    float low = 0, high = 0;
    unsigned first = (unsigned)members, second = (unsigned)(members >> 32);
    while (first | second) {
        if (first) low += own[(__ffs((int)first) - 1) * B];
        if (second) high += own[(__ffs((int)second) + 31) * B];
        first &= first - 1;
        second &= second - 1;
    }
    return low + high;
}

static __device__ __forceinline__ void move_rows(const struct sweep_params &p, const float *changes,
                                                 const struct round &round, const struct matrices &matrices) {
    const int j = (int)threadIdx.x % B;
    float old[EACH];
#pragma unroll
    for (int a = 0; a < EACH; a++) old[a] = round.members[a] ? p.q[(int64_t)round.row[a] * B + j] : 0;
#pragma unroll
    for (int a = 0; a < EACH; a++) {
        if (!__any_sync(WHOLE_WARP, round.members[a] != 0)) continue;
        const float change = change_of(changes, round.members[a]);
        __syncwarp();
        const float move = group_apply(matrices.h[a], change);
        if (!round.members[a]) continue;
        p.q[(int64_t)round.row[a] * B + j] = old[a] - move;
        /* nobody else adds to this row; no answer to wait for */
        atomicAdd(p.moved + (int64_t)round.row[a] * B + j, change);
    }
    __syncwarp();
}

/* All rounds of a part; `round` and `matrices` are the first. */
static __device__ __forceinline__ void move_part(const struct sweep_params &p, const float *changes,
                                                 const struct ratings &ratings, struct round round,
                                                 struct matrices matrices) {
    for (int from = 0; from < ratings.n; from += ROUND) {
        const struct round next = fetch_round(p, ratings, from + ROUND);
        if (from > 0) matrices = fetch_matrices(p, round);
        move_rows(p, changes, round, matrices);
        round = next;
    }
}

/* ---- the batches in turn ---- */

/* The parts that this block has beyond its first: nothing is fetched ahead. */
static __device__ __forceinline__ void hand_other_sums(const struct sweep_params &p, int32_t batch, uint32_t number) {
    for (int part = (int)(blockIdx.x + gridDim.x); part < PARTS; part += (int)gridDim.x)
        hand_sums(p, part, number, fetch_sums(p, part, batch));
}

static __device__ __forceinline__ void move_other_parts(const struct sweep_params &p, int32_t batch,
                                                        const float *changes) {
    for (int part = (int)(blockIdx.x + gridDim.x); part < PARTS; part += (int)gridDim.x) {
        const struct ratings ratings = ratings_of(p, part, batch);
        const struct round round = fetch_round(p, ratings, 0);
        move_part(p, changes, ratings, round, fetch_matrices(p, round));
    }
}

static __global__ void __launch_bounds__(DRAW_THREADS, 1) draws_kernel(const __grid_constant__ struct sweep_params p) {
    __shared__ float changes[SIDE];
    const int part = (int)blockIdx.x;
    struct sums_ahead sums = fetch_sums(p, part, p.batch);
    struct ratings ratings = ratings_of(p, part, p.batch);
    struct round round = fetch_round(p, ratings, 0);
    for (int32_t batch = p.batch; batch < p.batch + p.n_batches; batch++) {
        const uint32_t number = p.number + (uint32_t)(batch - p.batch);
        const int columns = smaller(p.n_columns - (int64_t)batch * BATCH, BATCH);
        hand_sums(p, part, number, sums);
        hand_other_sums(p, batch, number);
        const struct matrices matrices = fetch_matrices(p, round);
        for (int c = part; c < columns; c += (int)gridDim.x) draw_column(p, batch, c, number);
        sums = fetch_sums(p, part, batch + 1);
        const struct ratings next = ratings_of(p, part, batch + 1);
        const struct round next_round = fetch_round(p, next, 0);
        for (int e = (int)threadIdx.x; e < columns * B; e += DRAW_THREADS)
            changes[e] = await(p.changes + e, number, look_at(p.changes + e));
        __syncthreads();
        move_part(p, changes, ratings, round, matrices);
        move_other_parts(p, batch, changes);
        ratings = next;
        round = next_round;
        __syncthreads();
    }
}

#endif
