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
 * do not depend on the grid.
 *
 * Blocks that wait for each other must all be running: a cooperative launch starts all of them or none, and where the
 * GPU is shared or taken away for a while they stop and go on together. */
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
    EACH = 2,                /* rows that a group moves at a time */
    ROUND = EACH * GROUPS,
    HALF = BATCH / 2, /* columns whose members are one word */
    /* of the changes' memory: no change, and those of half the columns */
    HALF_CHANGES = (1 + HALF) * B
};

/* ---- words between blocks ---- */

static __device__ __forceinline__ void hand_over(uint64_t *to, uint32_t number, float value) {
    *(volatile uint64_t *)to = (uint64_t)number << 32 | __float_as_uint(value);
}

static __device__ __forceinline__ uint64_t look_at(const uint64_t *from) {
    return *(const volatile uint64_t *)from;
}

static __device__ __forceinline__ float await(const uint64_t *from, uint32_t number) {
    uint64_t word = look_at(from);
    while ((uint32_t)(word >> 32) != number) {
        __nanosleep(20);
        word = look_at(from);
    }
    return __uint_as_float((uint32_t)word);
}

/* The sum of two; both are asked for at once. */
static __device__ __forceinline__ float await_two(const uint64_t *from, const uint64_t *other, uint32_t number) {
    uint64_t word = look_at(from), second = look_at(other);
    while ((uint32_t)(word >> 32) != number || (uint32_t)(second >> 32) != number) {
        __nanosleep(20);
        word = look_at(from);
        second = look_at(other);
    }
    return __uint_as_float((uint32_t)word) + __uint_as_float((uint32_t)second);
}

/* ---- sums ---- */

/* Of a part: where its lists begin. */
struct part {
    int32_t number;
    int64_t begin;
};

static __device__ __forceinline__ struct part part_at(const struct sweep_params &p, int number) {
    return {number, p.offsets[p.part_row[number]]};
}

/* Of a part: where the ratings of this warp's columns begin, and the lane's one of the first 32 of each. */
struct sums_ahead {
    uint32_t begin[WARP_COLUMNS + 1];
    int32_t row[WARP_COLUMNS];
};

static __device__ __forceinline__ int sums_of(const struct sums_ahead &ahead, int s) {
    return (int)(ahead.begin[s + 1] - ahead.begin[s]);
}

static __device__ __forceinline__ void fetch_begins(const struct sweep_params &p, const struct part &part,
                                                    int32_t batch, struct sums_ahead &ahead) {
    const uint32_t *begin = p.begin + (int64_t)part.number * (p.n_columns + 1);
    const int64_t first = (int64_t)batch * BATCH + (int)threadIdx.x / 32 * WARP_COLUMNS;
#pragma unroll
    for (int s = 0; s <= WARP_COLUMNS; s++) ahead.begin[s] = begin[smaller(first + s, p.n_columns)];
}

static __device__ __forceinline__ void fetch_rows(const struct sweep_params &p, const struct part &part,
                                                  struct sums_ahead &ahead) {
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int s = 0; s < WARP_COLUMNS; s++)
        ahead.row[s] = lane < sums_of(ahead, s) ? p.list_row[part.begin + ahead.begin[s] + lane] : 0;
}

static __device__ __forceinline__ float element_of(const struct sweep_params &p, int64_t row, int there) {
    return there ? p.q[row * B + threadIdx.x % B] : 0;
}

/* The sums of long columns from rating FIRST on. */
static __device__ __forceinline__ float sum_rest(const struct sweep_params &p, const int32_t *rows, int n) {
    const int lane = (int)threadIdx.x % 32, group = lane / B;
    int32_t own = FIRST + lane < n ? rows[FIRST + lane] : 0;
    float sum = 0;
    for (int first = FIRST; first < n; first += 32) {
        const int32_t next = first + 32 + lane < n ? rows[first + 32 + lane] : 0;
        float values[32 / WARP_GROUPS];
#pragma unroll
        for (int u = 0; u < 32 / WARP_GROUPS; u++) {
            const int i = u * WARP_GROUPS + group;
            values[u] = element_of(p, __shfl_sync(WHOLE_WARP, own, i), first + i < n);
        }
#pragma unroll
        for (int u = 0; u < 32 / WARP_GROUPS; u++) sum += values[u];
        own = next;
    }
    return sum;
}

/* This warp's columns of the batch over the part's rows; each lane hands over an element of one. */
static __device__ __forceinline__ void hand_sums(const struct sweep_params &p, const struct part &part, uint32_t number,
                                                 const struct sums_ahead &ahead) {
    const int group = (int)threadIdx.x % 32 / B;
    float sums[WARP_COLUMNS], own = 0;
#pragma unroll
    for (int s = 0; s < WARP_COLUMNS; s++) {
        const int64_t low = __shfl_sync(WHOLE_WARP, ahead.row[s], group);
        const int64_t high = __shfl_sync(WHOLE_WARP, ahead.row[s], group + WARP_GROUPS);
        sums[s] = element_of(p, low, group < sums_of(ahead, s));
        sums[s] += element_of(p, high, group + WARP_GROUPS < sums_of(ahead, s));
    }
#pragma unroll
    for (int s = 0; s < WARP_COLUMNS; s++) {
        if (sums_of(ahead, s) > FIRST)
            sums[s] += sum_rest(p, p.list_row + part.begin + ahead.begin[s], sums_of(ahead, s));
        for (int by = 16; by >= B; by /= 2) sums[s] += __shfl_xor_sync(WHOLE_WARP, sums[s], by);
        if (s % WARP_GROUPS == group) own = sums[s];
    }
    static_assert((int)WARP_COLUMNS == (int)WARP_GROUPS, "a lane has one element");
    hand_over(p.partial + (int64_t)part.number * SIDE + threadIdx.x, number, own);
}

/* ---- a column ---- */

/* Element j of the column's s, by thread j; each warp adds up PARTS / DRAW_WARPS parts. */
static __device__ __forceinline__ void hand_pulls(const struct sweep_params &p, int64_t batch, int c, uint32_t number) {
    __shared__ float sums[DRAW_WARPS][B];
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    static_assert(PARTS == 2 * DRAW_WARPS * WARP_GROUPS, "a lane has two words");
    const uint64_t *from = p.partial + (int64_t)(warp * 2 * WARP_GROUPS + lane / B) * SIDE + c * B + lane % B;
    const float pull = threadIdx.x < B ? p.pull[batch * SIDE + c * B + threadIdx.x] : 0;
    float sum = await_two(from, from + WARP_GROUPS * SIDE, number);
    __syncwarp();
    for (int by = 16; by >= B; by /= 2) sum += __shfl_xor_sync(WHOLE_WARP, sum, by);
    if (lane < B) sums[warp][lane] = sum;
    __syncthreads();
    if (threadIdx.x >= B) return;
    float even = 0, odd = 0;
#pragma unroll
    for (int w = 0; w < DRAW_WARPS; w += 2) {
        even += sums[w][threadIdx.x];
        odd += sums[w + 1][threadIdx.x];
    }
    hand_over(p.pulls + c * B + threadIdx.x, number, even + odd - pull);
}

/* Column c of the batch, by a block whose warps w < B have an element each. */
static __device__ __forceinline__ void draw_column(const struct sweep_params &p, int32_t batch, int c,
                                                   uint32_t number) {
    __shared__ __align__(8) float pulls[SIDE];
    const int j = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, row = c * B + j, n = (c + 1) * B;
    float2 inverse[TILES] = {};
    float shift = 0, dot = 0;
    if (j < B) {
        shift = p.shift[(int64_t)batch * SIDE + row];
#pragma unroll
        for (int t = 0; t < TILES; t++)
            if (t * TILE + lane * 2 < n)
                inverse[t] = *(const float2 *)element_at(p.inverse, batch - p.batch, row, t * TILE + lane * 2);
    }
    hand_pulls(p, batch, c, number);
    if ((int)threadIdx.x < n) pulls[threadIdx.x] = await(p.pulls + threadIdx.x, number);
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
            /* nobody else adds to it; no answer to wait for */
            if (j < p.width) atomicAdd(p.features + ((int64_t)batch * BATCH + c) * p.stride + p.first + j, shift + dot);
        }
    }
    __syncthreads();
}

/* ---- moves ---- */

/* This group's rows of a round, and which columns of the batch they have: none past the last row. */
struct round {
    int32_t row[EACH];
    uint64_t members[EACH];
};

/* What a part has to move in a batch: where it is listed from the part's begin on, and how many rows it is. */
struct moves {
    uint32_t begin, n;
};

/* Of a round: a lane's row of h, and element of q, of each row. */
struct moved {
    float4 h[EACH][2];
    float q[EACH];
};

static __device__ __forceinline__ struct round fetch_round(const struct sweep_params &p, const struct part &part,
                                                           const struct moves &moves, uint32_t from) {
    struct round round;
#pragma unroll
    for (unsigned a = 0; a < EACH; a++) {
        const uint32_t i = from + threadIdx.x / B + a * GROUPS;
        const int64_t at = part.begin + moves.begin + i;
        round.row[a] = i < moves.n ? p.moved_row[at] : 0;
        round.members[a] = i < moves.n ? p.moved_members[at] : 0;
    }
    return round;
}

static __device__ __forceinline__ struct moves fetch_moves(const struct sweep_params &p, const struct part &part,
                                                           int32_t batch) {
    const int32_t n_batches = batches_of(p.n_columns);
    if (batch >= n_batches) return {0, 0};
    return {p.begin[(int64_t)part.number * (p.n_columns + 1) + (int64_t)batch * BATCH],
            p.n_moved[(int64_t)part.number * n_batches + batch]};
}

static __device__ __forceinline__ struct moved fetch_moved(const struct sweep_params &p, const struct round &round) {
    struct moved moved;
#pragma unroll
    for (int a = 0; a < EACH; a++) {
        const float4 *from = (const float4 *)(p.h + (int64_t)round.row[a] * MATRIX + threadIdx.x % B * B);
        moved.h[a][0] = round.members[a] ? from[0] : make_float4(0, 0, 0, 0);
        moved.h[a][1] = round.members[a] ? from[1] : make_float4(0, 0, 0, 0);
        moved.q[a] = element_of(p, round.row[a], round.members[a] != 0);
    }
    return moved;
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

/* The next of `members`: adds its change, or none when there is no more. */
static __device__ __forceinline__ void add_next(const float *changes, unsigned &members, float &sum) {
    sum += changes[__ffs((int)members) * B];
    members &= members - 1;
}

/* Element j of the sums of the members' changes, those of either half of the batch in order. */
static __device__ __forceinline__ void add_changes(const float *changes, const uint64_t (&members)[EACH],
                                                   float (&sums)[EACH]) {
    const float *own = changes + threadIdx.x % B;
    unsigned low[EACH], high[EACH], left = 0;
    float second[EACH] = {};
#pragma unroll
    for (int a = 0; a < EACH; a++) {
        low[a] = (unsigned)members[a];
        high[a] = (unsigned)(members[a] >> 32);
        left |= low[a] | high[a];
    }
    while (left) {
        left = 0;
#pragma unroll
        for (int a = 0; a < EACH; a++) {
            add_next(own, low[a], sums[a]);
            add_next(own + HALF_CHANGES, high[a], second[a]);
            left |= low[a] | high[a];
        }
    }
#pragma unroll
    for (int a = 0; a < EACH; a++) sums[a] += second[a];
}

static __device__ __forceinline__ void move_rows(const struct sweep_params &p, const float *changes,
                                                 const struct round &round, const struct moved &moved) {
    const int j = (int)threadIdx.x % B;
    float sums[EACH] = {};
    add_changes(changes, round.members, sums);
    __syncwarp();
#pragma unroll
    for (int a = 0; a < EACH; a++) {
        const float move = group_apply(moved.h[a], sums[a]);
        if (!round.members[a]) continue;
        p.q[(int64_t)round.row[a] * B + j] = moved.q[a] - move;
        /* nobody else adds to this row; no answer to wait for */
        atomicAdd(p.moved + (int64_t)round.row[a] * B + j, sums[a]);
    }
    __syncwarp();
}

/* All rounds of a part: `round`, whose h and q are `moved`, is the first, `next` the second. */
static __device__ __forceinline__ void move_part(const struct sweep_params &p, const float *changes,
                                                 const struct part &part, const struct moves &moves, struct round round,
                                                 struct moved moved, struct round next) {
    for (uint32_t from = 0; from < moves.n; from += ROUND) {
        const struct round after = fetch_round(p, part, moves, from + 2 * ROUND);
        const struct moved ahead = fetch_moved(p, next);
        move_rows(p, changes, round, moved);
        round = next;
        next = after;
        moved = ahead;
    }
}

/* ---- the batches in turn ---- */

/* The parts that this block has beyond its first: nothing is fetched ahead. */
static __device__ __forceinline__ void hand_other_sums(const struct sweep_params &p, int32_t batch, uint32_t number) {
    for (int i = (int)(blockIdx.x + gridDim.x); i < PARTS; i += (int)gridDim.x) {
        const struct part part = part_at(p, i);
        struct sums_ahead sums;
        fetch_begins(p, part, batch, sums);
        fetch_rows(p, part, sums);
        hand_sums(p, part, number, sums);
    }
}

static __device__ __forceinline__ void move_other_parts(const struct sweep_params &p, int32_t batch,
                                                        const float *changes) {
    for (int i = (int)(blockIdx.x + gridDim.x); i < PARTS; i += (int)gridDim.x) {
        const struct part part = part_at(p, i);
        const struct moves moves = fetch_moves(p, part, batch);
        const struct round round = fetch_round(p, part, moves, 0);
        move_part(p, changes, part, moves, round, fetch_moved(p, round), fetch_round(p, part, moves, ROUND));
    }
}

/* Two halves of the changes, each after B zeros that stand for no change. */
static __device__ __forceinline__ void fetch_changes(const struct sweep_params &p, int columns, uint32_t number,
                                                     float *changes) {
    for (int e = (int)threadIdx.x; e < columns * B; e += DRAW_THREADS)
        changes[e / (HALF * B) * HALF_CHANGES + B + e % (HALF * B)] = await(p.changes + e, number);
}

static __global__ void __launch_bounds__(DRAW_THREADS, 1) draws_kernel(const __grid_constant__ struct sweep_params p) {
    __shared__ float changes[2 * HALF_CHANGES];
    const struct part part = part_at(p, (int)blockIdx.x);
    struct moves moves = fetch_moves(p, part, p.batch);
    struct round round = fetch_round(p, part, moves, 0);
    struct sums_ahead sums;
    fetch_begins(p, part, p.batch, sums);
    fetch_rows(p, part, sums);
    if (threadIdx.x < B) changes[threadIdx.x] = changes[HALF_CHANGES + threadIdx.x] = 0;
    for (int32_t batch = p.batch; batch < p.batch + p.n_batches; batch++) {
        const uint32_t number = p.number + (uint32_t)(batch - p.batch);
        const int columns = smaller(p.n_columns - (int64_t)batch * BATCH, BATCH);
        hand_sums(p, part, number, sums);
        hand_other_sums(p, batch, number);
        /* what is asked for here and there comes while words are on their way */
        const struct moved moved = fetch_moved(p, round);
        const struct moves next = fetch_moves(p, part, batch + 1);
        fetch_begins(p, part, batch + 1, sums);
        for (int c = part.number; c < columns; c += (int)gridDim.x) draw_column(p, batch, c, number);
        const struct round second = fetch_round(p, part, moves, ROUND);
        const struct round next_round = fetch_round(p, part, next, 0);
        fetch_rows(p, part, sums);
        fetch_changes(p, columns, number, changes);
        __syncthreads();
        move_part(p, changes, part, moves, round, moved, second);
        move_other_parts(p, batch, changes);
        moves = next;
        round = next_round;
        __syncthreads();
    }
}

#endif
