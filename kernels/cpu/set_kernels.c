/* The plain loops of set_sweep. Their orders of adding are those of vectors of 8 and 16 elements. */
#include "kernels/cpu/set_kernels.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/set_column_loops.h"

enum { B = SET_BLOCK, SUMS = 4 };

static const float *vector_of(const float *vectors, int32_t index) {
    return vectors + (int64_t)index * B;
}

/* out = weight ((s0 + s2) + (s1 + s3)) */
static void add_up(float s[SUMS][B], float weight, float *out) {
    for (int l = 0; l < B; l++) out[l] = weight * ((s[0][l] + s[2][l]) + (s[1][l] + s[3][l]));
}

/* out = even columns of the symmetric matrix times the even elements of v, plus the odd ones. */
static void apply(const float *matrix, const float *v, float *out) {
    for (int l = 0; l < B; l++) {
        float sums[2] = {0};
        for (int j = 0; j < B; j++) sums[j % 2] = fmaf(matrix[j * B + l], v[j], sums[j % 2]);
        out[l] = sums[0] + sums[1];
    }
}

static void sum_vectors(const float *vectors, const int32_t *index, int64_t n, float *out) {
    float sums[SUMS][B] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int l = 0; l < B; l++) sums[i % SUMS][l] += vector_of(vectors, index[i])[l];
    add_up(sums, 1, out);
}

static void sum_matrices(const float *matrices, const int32_t *index, int64_t n, float *out) {
    memset(out, 0, sizeof(float) * SET_MATRIX);
    for (int64_t i = 0; i < n; i++)
        for (int l = 0; l < SET_MATRIX; l++) out[l] += matrices[(int64_t)index[i] * SET_MATRIX + l];
}

static void gram(const float *x, const int32_t *columns, int64_t n, float weight, float *gram) {
    float sums[2][B][B] = {{{0}}};
    for (int64_t i = 0; i < n; i++) {
        const float *own = vector_of(x, columns[i]);
        for (int l = 0; l < B; l++)
            for (int j = 0; j < B; j++) sums[i % 2][l][j] = fmaf(own[l], own[j], sums[i % 2][l][j]);
    }
    for (int l = 0; l < SET_MATRIX; l++) gram[l] = weight * (sums[0][l / B][l % B] + sums[1][l / B][l % B]);
}

static void products(const float *x, const float *residual, const int32_t *columns, int64_t n, float weight,
                     float *out) {
    float sums[SUMS][B] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int l = 0; l < B; l++)
            sums[i % SUMS][l] = fmaf(residual[i], vector_of(x, columns[i])[l], sums[i % SUMS][l]);
    add_up(sums, weight, out);
}

static void take_changes(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual) {
    for (int64_t i = 0; i < n; i++) {
        const float *own = vector_of(x, columns[i]);
        float s[B / 2];
        for (int l = 0; l < B / 2; l++) s[l] = fmaf(change[l], own[l], change[l + B / 2] * own[l + B / 2]);
        residual[i] -= (s[0] + s[2]) + (s[1] + s[3]);
    }
}

static void draw_column(float *q, const float *h, const int32_t *rows, int64_t n, const float *gain, float *change) {
    float sum[B], move[B];
    sum_vectors(q, rows, n, sum);
    apply(gain, sum, move);
    for (int l = 0; l < B; l++) change[l] += move[l];
    for (int64_t i = 0; i < n; i++) {
        float *own = q + (int64_t)rows[i] * B;
        apply(h + (int64_t)rows[i] * SET_MATRIX, change, move);
        for (int l = 0; l < B; l++) own[l] -= move[l];
    }
}

const struct set_kernels set_kernels_generic = {.sum_vectors = sum_vectors,
                                                .sum_matrices = sum_matrices,
                                                .gram = gram,
                                                .products = products,
                                                .take_changes = take_changes,
                                                .solve_columns = loop_solve_columns,
                                                .draw_column = draw_column};
