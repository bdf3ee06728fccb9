/* solve_columns of set_kernels, written once in vectors of a batch of columns, which the compiler splits to fit the
 * instructions it may use. Included by one file a vector width. Products and sums are rounded one by one. */
#ifndef KERNELS_CPU_SET_COLUMN_LOOPS_H
#define KERNELS_CPU_SET_COLUMN_LOOPS_H

#include <math.h>
#include <string.h>

#include "kernels/cpu/set_kernels.h"

typedef float set_lanes __attribute__((vector_size(SET_LANES * sizeof(float))));

static inline set_lanes load_lanes(const float *from) {
    set_lanes value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_lanes(float *to, set_lanes value) {
    memcpy(to, &value, sizeof value);
}

/* Rows and columns of 16 x 16 elements change places: four times, row i and row i + 8 are shuffled together like the
 * halves of a pack of cards. */
static inline void transpose_lanes(set_lanes rows[SET_LANES]) {
    for (int round = 0; round < 4; round++) {
        set_lanes mixed[SET_LANES];
        for (int i = 0; i < SET_LANES / 2; i++) {
            const set_lanes a = rows[i], b = rows[i + SET_LANES / 2];
            mixed[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            mixed[2 * i + 1] =
                __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(rows, mixed, sizeof mixed);
    }
}

/* 1 / sqrt(pivot). A pivot is never below the prior's precision; rounding must not bring it there. */
static inline set_lanes inverse_root(set_lanes pivot, float least) {
    float lanes[SET_LANES];
    store_lanes(lanes, pivot);
    for (int l = 0; l < SET_LANES; l++) lanes[l] = 1 / sqrtf(lanes[l] > least ? lanes[l] : least);
    return load_lanes(lanes);
}

/* Between matrices one after the other and their elements side by side. */
static inline void matrices_to_lanes(const float *matrices, set_lanes out[SET_MATRIX]) {
    for (int from = 0; from < SET_MATRIX; from += SET_LANES) {
        for (int l = 0; l < SET_LANES; l++) out[from + l] = load_lanes(matrices + l * SET_MATRIX + from);
        transpose_lanes(out + from);
    }
}

static inline void lanes_to_matrices(set_lanes in[SET_MATRIX], float *matrices) {
    for (int from = 0; from < SET_MATRIX; from += SET_LANES) {
        transpose_lanes(in + from);
        for (int l = 0; l < SET_LANES; l++) store_lanes(matrices + l * SET_MATRIX + from, in[from + l]);
    }
}

/* m (lower) = L^-1 with L L^T = diag(prior precision) + alpha sum, a row at a time: of L only the row at work is
 * kept, for L_ij = sum_l P_il (L^-T)_lj. */
static inline void invert_root(const struct set_columns *c, const set_lanes *sums, set_lanes m[SET_BLOCK][SET_BLOCK]) {
    for (int i = 0; i < SET_BLOCK; i++) {
        const set_lanes *own = sums + i * SET_BLOCK;
        set_lanes row[SET_BLOCK], pivot = own[i] * c->alpha + c->prior_precision[i];
        for (int j = 0; j < i; j++) {
            set_lanes sum = own[0] * m[j][0];
            for (int l = 1; l <= j; l++) sum += own[l] * m[j][l];
            row[j] = sum * c->alpha;
            pivot -= row[j] * row[j];
        }
        set_lanes root = inverse_root(pivot, c->prior_precision[i]);
        for (int j = 0; j < i; j++) {
            set_lanes sum = row[j] * m[j][j];
            for (int l = j + 1; l < i; l++) sum += row[l] * m[l][j];
            m[i][j] = -root * sum;
        }
        m[i][i] = root;
    }
}

/* The draw where sum_r q_r = 0, less y. */
static inline void draw_shift(const struct set_columns *c, const set_lanes *sums, set_lanes m[SET_BLOCK][SET_BLOCK]) {
    set_lanes b[SET_BLOCK], drawn[SET_BLOCK], shift[SET_LANES];
    memset(shift, 0, sizeof shift);
    for (int i = 0; i < SET_BLOCK; i++) {
        set_lanes sum = sums[i * SET_BLOCK] * load_lanes(c->y[0]);
        for (int j = 1; j < SET_BLOCK; j++) sum += sums[i * SET_BLOCK + j] * load_lanes(c->y[j]);
        b[i] = sum * c->alpha + c->prior_precision[i] * c->prior_mean[i];
    }
    for (int i = 0; i < SET_BLOCK; i++) {
        drawn[i] = load_lanes(c->noise[i]);
        for (int j = 0; j <= i; j++) drawn[i] += m[i][j] * b[j];
    }
    for (int j = 0; j < SET_BLOCK; j++) {
        set_lanes sum = m[j][j] * drawn[j];
        for (int i = j + 1; i < SET_BLOCK; i++) sum += m[i][j] * drawn[i];
        shift[j] = sum - load_lanes(c->y[j]);
    }
    transpose_lanes(shift);
    for (int l = 0; l < SET_LANES; l++) memcpy(c->shift + l * SET_BLOCK, shift + l, sizeof(float) * SET_BLOCK);
}

static void loop_solve_columns(const struct set_columns *c) {
    set_lanes sums[SET_MATRIX], m[SET_BLOCK][SET_BLOCK];
    matrices_to_lanes(c->sum[0], sums);
    invert_root(c, sums, m);
    draw_shift(c, sums, m);
    for (int i = 0; i < SET_BLOCK; i++)
        for (int j = 0; j <= i; j++) {
            set_lanes sum = m[i][i] * m[i][j];
            for (int l = i + 1; l < SET_BLOCK; l++) sum += m[l][i] * m[l][j];
            sums[i * SET_BLOCK + j] = sums[j * SET_BLOCK + i] = sum * c->alpha;
        }
    lanes_to_matrices(sums, c->gain);
}

#endif
