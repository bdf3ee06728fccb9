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

/* 1 / sqrt(pivot). A pivot is never below the prior's precision; rounding must not bring it there. */
static inline set_lanes inverse_root(set_lanes pivot, float least) {
    float lanes[SET_LANES];
    store_lanes(lanes, pivot);
    for (int l = 0; l < SET_LANES; l++) lanes[l] = 1 / sqrtf(lanes[l] > least ? lanes[l] : least);
    return load_lanes(lanes);
}

/* m (lower) = L^-1 with L L^T = diag(prior precision) + alpha sum, a row at a time: of L only the row at work is
 * kept, for L_ij = sum_l P_il (L^-T)_lj. */
static inline void invert_root(const struct set_columns *c, set_lanes m[SET_BLOCK][SET_BLOCK]) {
    for (int i = 0; i < SET_BLOCK; i++) {
        set_lanes row[SET_BLOCK], pivot = load_lanes(c->sum[i][i]) * c->alpha + c->prior_precision[i];
        for (int j = 0; j < i; j++) {
            set_lanes sum = load_lanes(c->sum[i][0]) * m[j][0];
            for (int l = 1; l <= j; l++) sum += load_lanes(c->sum[i][l]) * m[j][l];
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

/* prior precision * prior mean + alpha sum y. */
static inline void right_hand_side(const struct set_columns *c, set_lanes b[SET_BLOCK]) {
    for (int i = 0; i < SET_BLOCK; i++) {
        set_lanes sum = load_lanes(c->sum[i][0]) * load_lanes(c->y[0]);
        for (int j = 1; j < SET_BLOCK; j++)
            sum += load_lanes(j <= i ? c->sum[i][j] : c->sum[j][i]) * load_lanes(c->y[j]);
        b[i] = sum * c->alpha + c->prior_precision[i] * c->prior_mean[i];
    }
}

static void loop_solve_columns(struct set_columns *c) {
    set_lanes m[SET_BLOCK][SET_BLOCK], b[SET_BLOCK], drawn[SET_BLOCK];
    invert_root(c, m);
    right_hand_side(c, b);
    for (int i = 0; i < SET_BLOCK; i++) {
        drawn[i] = load_lanes(c->noise[i]);
        for (int j = 0; j <= i; j++) drawn[i] += m[i][j] * b[j];
    }
    for (int j = 0; j < SET_BLOCK; j++) {
        set_lanes sum = m[j][j] * drawn[j];
        for (int i = j + 1; i < SET_BLOCK; i++) sum += m[i][j] * drawn[i];
        store_lanes(c->shift[j], sum - load_lanes(c->y[j]));
    }
    for (int i = 0; i < SET_BLOCK; i++)
        for (int j = 0; j <= i; j++) {
            set_lanes sum = m[i][i] * m[i][j];
            for (int l = i + 1; l < SET_BLOCK; l++) sum += m[l][i] * m[l][j];
            store_lanes(c->gain[i][j], sum * c->alpha);
        }
}

#endif
