/* The loops behind factor_batch_kernels, written once. The file that includes this one defines LANES, TILE, the vector
 * `lanes` with
 *
 *     lanes_all(x), lanes_fma(a, b, c) = a b + c, lanes_fnma(a, b, c) = c - a b, lanes_sqrt(a),
 *     lanes_bad(a): a bit a lane, set unless 0 < a < infinity, lanes_not_finite(a): a bit a lane,
 *     transpose(from, to, count): to[c * LANES + l] = from[l][c] for c < count <= LANES; reads LANES of each.
 */
#ifndef KERNELS_CPU_FACTOR_BATCH_LOOPS_H
#define KERNELS_CPU_FACTOR_BATCH_LOOPS_H

#include <math.h>
#include <string.h>

#include "kernels/cpu/factor_batch.h"

static inline lanes load_lanes(const float *from) {
    lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_lanes(float *to, lanes value) {
    memcpy(to, &value, sizeof value);
}

static inline int least(int a, int b) {
    return a < b ? a : b;
}

/* ---- Gram matrices ---- */

/* Rating number `p` of every row as the vector (x, t) times its weight, with its noise if that is not NULL; zeros where
 * a row has no such rating. */
static void pack_ratings(const struct factor_batch *batch, int64_t p, const float *noise, float *out) {
    static const float nothing[FACTOR_K_MAX + 2 * FACTOR_LANES];
    const struct factor_batch_shape *shape = batch->shape;
    const struct factor_solve_args *args = shape->args;
    const float *from[LANES];
    float one[LANES] = {0}, target[LANES] = {0}, weight[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
        const int64_t i = l < batch->n ? args->offsets[batch->rows[l]] + p : 0;
        from[l] = nothing;
        if (l >= batch->n || i >= args->offsets[batch->rows[l] + 1]) continue;
        from[l] = args->column_vectors + (int64_t)args->columns[i] * args->stride;
        one[l] = 1;
        target[l] = args->value[args->ratings[i]] - from[l][args->k];
        if (args->residual) target[l] -= args->residual[i];
        weight[l] = args->weight[args->ratings[i]];
    }
    for (int at = 0; at < args->k; at += LANES) {
        transpose(from, out + at * LANES, least(LANES, args->k - at));
        for (int l = 0; l < LANES; l++) from[l] += LANES;
    }
    if (args->biases) memcpy(out + args->k * LANES, one, sizeof one);
    memcpy(out + shape->solved * LANES, target, sizeof target);
    memset(out + (shape->solved + 1) * LANES, 0, sizeof(float) * LANES * (size_t)(shape->pitch - shape->solved - 1));
    for (int c = 0; shape->weighted && c <= shape->solved; c++)
        store_lanes(out + c * LANES, load_lanes(out + c * LANES) * load_lanes(weight));
    if (!noise) return;
    float *targets = out + shape->solved * LANES;
    for (int l = 0; l < LANES; l++)
        if (one[l] != 0) targets[l] = fmaf(noise[l], shape->noise_scale, targets[l]);
}

/* normals[f * LANES + l] = value first + f of row l's noise, n and a few more; `first` a multiple of four. */
static void batch_normals(const struct factor_batch *batch, int first, int n, float *normals) {
    enum { ABREAST = NORMAL_LANES / LANES }; /* blocks of one row in a call */
    const struct factor_solve_args *args = batch->shape->args;
    for (int f = 0; f < n; f += 4 * ABREAST) {
        uint64_t index[NORMAL_LANES];
        float out[4][NORMAL_LANES];
        for (int l = 0; l < NORMAL_LANES; l++) {
            const int32_t row = batch->rows[l % LANES < batch->n ? l % LANES : 0];
            index[l] = (uint64_t)(args->first_row + row) * 128 + (uint64_t)((first + f) / 4 + l / LANES);
        }
        batch->shape->normals(args->seed, args->stream, index, out);
        for (int block = 0; block < ABREAST; block++)
            for (int j = 0; j < 4; j++)
                memcpy(normals + (f + 4 * block + j) * LANES, out[j] + block * LANES, sizeof(float) * LANES);
    }
}

/* sums += (or -=) the products of `n` vectors' elements from `row` and from `column` on, in order. */
static inline __attribute__((always_inline)) void add_products(lanes sums[TILE][TILE], const float *vectors, int n,
                                                               int pitch, int row, int column, int subtract) {
    for (int p = 0; p < n; p++) {
        const float *x = vectors + (long)p * pitch * LANES;
        lanes right[TILE];
        for (int c = 0; c < TILE; c++) right[c] = load_lanes(x + (column + c) * LANES);
        for (int r = 0; r < TILE; r++) {
            const lanes left = load_lanes(x + (row + r) * LANES);
            for (int c = 0; c < TILE; c++)
                sums[r][c] = subtract ? lanes_fnma(left, right[c], sums[r][c]) : lanes_fma(left, right[c], sums[r][c]);
        }
    }
}

static void batch_sum(const struct factor_batch *batch) {
    const struct factor_batch_shape *shape = batch->shape;
    const int64_t *offsets = shape->args->offsets;
    const int pitch = shape->pitch;
    int64_t longest = 0;
    for (int l = 0; l < batch->n; l++) {
        const int64_t n = offsets[batch->rows[l] + 1] - offsets[batch->rows[l]];
        if (n > longest) longest = n;
    }
    float noise[(FACTOR_BATCH_PANEL + NORMAL_LANES) * LANES];
    if (batch->perturbed) batch_normals(batch, factor_target_noise(shape->solved), (int)longest, noise);
    for (int64_t p = 0; p < longest; p++)
        pack_ratings(batch, p, batch->perturbed ? noise + p * LANES : NULL, batch->panel + p * pitch * LANES);
    for (int row = 0; row < shape->solved; row += TILE)
        for (int column = row; column < pitch; column += TILE) {
            lanes sums[TILE][TILE];
            for (int r = 0; r < TILE; r++)
                for (int c = 0; c < TILE; c++) sums[r][c] = lanes_all(0);
            add_products(sums, batch->panel, (int)longest, pitch, row, column, 0);
            for (int r = 0; r < TILE; r++)
                for (int c = 0; c < TILE; c++)
                    store_lanes(batch->matrix + ((row + r) * pitch + column + c) * LANES, sums[r][c]);
        }
}

static void batch_collect(const struct factor_batch *batch, const float *grams) {
    const struct factor_batch_shape *shape = batch->shape;
    const int stride = shape->args->stride, pitch = shape->pitch, dim = shape->solved + 1;
    for (int row = 0; row < shape->solved; row++) {
        float *to = batch->matrix + row * pitch * LANES;
        const float *from[LANES];
        const int first = row / LANES * LANES;
        for (int l = 0; l < LANES; l++) from[l] = grams + ((long)(l < batch->n ? l : 0) * dim + row) * stride + first;
        for (int at = first; at < dim; at += LANES) {
            transpose(from, to + at * LANES, least(LANES, dim - at));
            for (int l = 0; l < LANES; l++) from[l] += LANES;
        }
        memset(to + dim * LANES, 0, sizeof(float) * LANES * (size_t)(pitch - dim));
    }
}

/* ---- from Gram matrices to solutions ---- */

/* right += sum_j x_j times row j of `matrix` (pitch, pitch), in order. */
static void add_rows(const struct factor_batch_shape *shape, const float *matrix, const float *x, float *right) {
    for (int i = 0; i < shape->solved; i += TILE) {
        lanes sums[TILE];
        for (int t = 0; t < TILE; t++) sums[t] = load_lanes(right + (i + t) * LANES);
        for (int j = 0; j < shape->solved; j++)
            for (int t = 0; t < TILE; t++)
                sums[t] = lanes_fma(load_lanes(x + j * LANES), lanes_all(matrix[j * shape->pitch + i + t]), sums[t]);
        for (int t = 0; t < TILE && i + t < shape->solved; t++) store_lanes(right + (i + t) * LANES, sums[t]);
    }
}

/* right[i] = what the prior adds to the right-hand side, as in factor_solve.c; fixed[i] = the fixed part of the
 * vectors. */
static void right_sides(const struct factor_batch *batch, lanes ridge, const float *normals, float *fixed,
                        float *right) {
    const struct factor_batch_shape *shape = batch->shape;
    const struct factor_solve_args *args = shape->args;
    const int solved = shape->solved;
    for (int i = 0; i < shape->pitch; i++)
        store_lanes(right + i * LANES, lanes_all(i < solved ? args->prior_shift[i] : 0));
    if (batch->perturbed) add_rows(shape, shape->root, normals, right);
    if (!args->row_offsets) return;
    for (int l = 0; l < LANES; l++) {
        const float *from = args->row_offsets + (int64_t)batch->rows[l < batch->n ? l : 0] * args->stride;
        for (int f = 0; f < solved; f++) fixed[f * LANES + l] = from[f];
    }
    add_rows(shape, shape->prior, fixed, right);
    for (int i = 0; i < solved; i++)
        store_lanes(right + i * LANES, lanes_fma(ridge, load_lanes(fixed + i * LANES), load_lanes(right + i * LANES)));
}

/* A tile of the normal equations from one of the Gram matrices. */
static inline __attribute__((always_inline)) void load_tile(const struct factor_batch *batch, lanes ridge,
                                                            const float *right, int row, int column, int on_diagonal,
                                                            lanes tile[TILE][TILE]) {
    const int pitch = batch->shape->pitch, solved = batch->shape->solved;
    const lanes alpha = lanes_all(batch->shape->args->alpha);
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < TILE; c++) {
            const int at = (row + r) * pitch + column + c;
            tile[r][c] = alpha * load_lanes(batch->matrix + at * LANES) + lanes_all(batch->shape->prior[at]);
            if (on_diagonal && r == c) tile[r][c] += ridge;
            if (column + c == solved) tile[r][c] += load_lanes(right + (row + r) * LANES);
        }
}

/* Takes each finished row of a tile off those below it and scales it. `corner` is the tile on the diagonal: finished,
 * with its scales, or this one. */
static inline __attribute__((always_inline)) void finish_tile(lanes tile[TILE][TILE], lanes corner[TILE][TILE],
                                                              lanes scale[TILE], int on_diagonal) {
    for (int r = 0; r < TILE; r++) {
        for (int above = 0; above < r; above++)
            for (int c = on_diagonal ? r : 0; c < TILE; c++)
                tile[r][c] = lanes_fnma(corner[above][r], tile[above][c], tile[r][c]);
        if (on_diagonal) scale[r] = lanes_all(1) / lanes_sqrt(tile[r][r]);
        for (int c = on_diagonal ? r : 0; c < TILE; c++) tile[r][c] *= scale[r];
    }
}

static inline __attribute__((always_inline)) void store_tile(const struct factor_batch *batch, int row, int column,
                                                             lanes tile[TILE][TILE]) {
    for (int r = 0; r < TILE; r++)
        for (int c = 0; c < TILE; c++)
            store_lanes(batch->matrix + ((row + r) * batch->shape->pitch + column + c) * LANES, tile[r][c]);
}

/* The matrices become U with A = U^T U, and U^-T b in column `solved`. A bit for each lane where a pivot is not
 * positive and finite: its diagonal, pivot over its root, shows that too. */
static uint32_t batch_cholesky(const struct factor_batch *batch, lanes ridge, const float *right) {
    const int solved = batch->shape->solved, pitch = batch->shape->pitch;
    uint32_t bad = 0;
    for (int row = 0; row < solved; row += TILE) {
        lanes corner[TILE][TILE], scale[TILE];
        load_tile(batch, ridge, right, row, row, 1, corner);
        add_products(corner, batch->matrix, row, pitch, row, row, 1);
        finish_tile(corner, corner, scale, 1);
        store_tile(batch, row, row, corner);
        for (int r = 0; r < TILE && row + r < solved; r++) bad |= lanes_bad(corner[r][r]);
        for (int column = row + TILE; column < pitch; column += TILE) {
            lanes tile[TILE][TILE];
            load_tile(batch, ridge, right, row, column, 0, tile);
            add_products(tile, batch->matrix, row, pitch, row, column, 1);
            finish_tile(tile, corner, scale, 0);
            store_tile(batch, row, column, tile);
        }
    }
    return bad;
}

/* The plain loops' dot product of the solved part of a row with the solution: sums by column modulo FACTOR_LANES, added
 * up as a tree. Columns up to `i` and from `solved` on would add zeros. */
static lanes dot_solved(const float *u, const float *x, int i, int solved) {
    lanes sums[FACTOR_LANES];
    for (int l = 0; l < FACTOR_LANES; l++) sums[l] = lanes_all(0);
    for (int c = i + 1; c < solved; c++)
        sums[c % FACTOR_LANES] =
            lanes_fma(load_lanes(u + c * LANES), load_lanes(x + c * LANES), sums[c % FACTOR_LANES]);
    for (int half = FACTOR_LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) sums[l] += sums[l + half];
    return sums[0];
}

static void write_rows(const struct factor_batch *batch, const float *x, uint32_t bad) {
    const struct factor_solve_args *args = batch->shape->args;
    const int solved = batch->shape->solved;
    for (int l = 0; l < batch->n; l++) {
        if (bad >> l & 1) continue;
        float *out = args->row_vectors + (int64_t)batch->rows[l] * args->stride;
        for (int f = 0; f < solved; f++) out[f] = x[f * LANES + l];
        for (int f = solved; f < args->stride; f++)
            if (args->biases || f != args->k) out[f] = 0;
    }
}

/* x = U^-1 (U^-T b + normals), or without them if NULL. A bit for each lane that left the range of floats. */
static uint32_t back_substitute(const struct factor_batch *batch, const float *normals, float *x) {
    const struct factor_batch_shape *shape = batch->shape;
    const int solved = shape->solved;
    uint32_t bad = 0;
    for (int i = solved - 1; i >= 0; i--) {
        const float *u = batch->matrix + i * shape->pitch * LANES;
        lanes right = load_lanes(u + solved * LANES);
        if (normals) right += load_lanes(normals + i * LANES);
        const lanes value = (right - dot_solved(u, x, i, solved)) / load_lanes(u + i * LANES);
        store_lanes(x + i * LANES, value);
        bad |= lanes_not_finite(value);
    }
    return bad;
}

static uint32_t batch_solve(const struct factor_batch *batch) {
    const struct factor_solve_args *args = batch->shape->args;
    float ridge[LANES] = {0}, x[(FACTOR_K_MAX + 1) * LANES], fixed[(FACTOR_K_MAX + 1) * LANES];
    float right[(FACTOR_K_MAX + 1 + TILE) * LANES], normals[(FACTOR_K_MAX + 2 * NORMAL_LANES) * LANES];
    for (int l = 0; l < batch->n; l++) {
        const int64_t *offsets = args->offsets + batch->rows[l];
        ridge[l] = args->ridge_per_rating * (float)(offsets[1] - offsets[0]);
    }
    if (args->noise) batch_normals(batch, 0, batch->shape->solved, normals);
    right_sides(batch, load_lanes(ridge), normals, fixed, right);
    uint32_t bad = batch_cholesky(batch, load_lanes(ridge), right);
    bad |= back_substitute(batch, args->noise && !batch->perturbed ? normals : NULL, x);
    for (int i = 0; args->row_offsets && i < batch->shape->solved; i++)
        store_lanes(x + i * LANES, load_lanes(x + i * LANES) - load_lanes(fixed + i * LANES));
    write_rows(batch, x, bad);
    return bad & ((1u << batch->n) - 1);
}

#define FACTOR_BATCH_LOOPS \
    { LANES, TILE, batch_sum, batch_collect, batch_solve }

#endif
