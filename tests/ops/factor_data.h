/* Ratings, vectors and priors for the tests of factor_solve and the sampler's operators on a device. */
#ifndef TESTS_OPS_FACTOR_DATA_H
#define TESTS_OPS_FACTOR_DATA_H

#include "backend/gibbs_ops.h"
#include "ops/device.h"
#include "ops/prior_root.h"

static const int64_t short_lengths[] = {0, 1, 2, 31, 32, 33, 64, 65, 300};
enum { N_SHORT = (int)(sizeof short_lengths / sizeof short_lengths[0]) };

/* Ratings by row, each row's columns distinct and ascending, and the same by column. */
struct data {
    int k, stride, biases;
    int unweighted; /* all weights 1 */
    int rooted;     /* the prior has its root and rows no ridge, also without noise */
    int32_t n_rows, n_columns;
    int64_t n;
    int64_t *offsets, *column_offsets;
    int32_t *columns, *column_rows;
    uint8_t *ratings;
    float *residual, *row_vectors, *column_vectors, *row_offsets, *prior, *root, *shift;
};

static inline void by_column(struct data *p) {
    int64_t *next = make(p->n_columns + 1, sizeof *next);
    for (int64_t i = 0; i < p->n; i++) p->column_offsets[p->columns[i] + 1]++;
    for (int32_t c = 0; c < p->n_columns; c++) p->column_offsets[c + 1] += p->column_offsets[c];
    memcpy(next, p->column_offsets, (size_t)(p->n_columns + 1) * sizeof *next);
    for (int32_t r = 0; r < p->n_rows; r++)
        for (int64_t i = p->offsets[r]; i < p->offsets[r + 1]; i++) p->column_rows[next[p->columns[i]]++] = r;
    mem_free(next);
}

static inline void fill_vectors(float *out, int32_t n, int stride, int used, uint32_t sub) {
    for (int32_t r = 0; r < n; r++) fill_normals(out + (int64_t)r * stride, used, sub + (uint32_t)r, 0.3f);
}

/* Row r has about lengths[r % n_lengths] ratings, at most n_columns. */
static inline struct data data_new(int k, int biases, int32_t n_rows, int32_t n_columns, const int64_t *lengths,
                                   int n_lengths) {
    struct data p = {.k = k, .stride = factor_stride(k), .biases = biases, .n_rows = n_rows, .n_columns = n_columns};
    p.offsets = make(n_rows + 1, sizeof *p.offsets);
    p.column_offsets = make(n_columns + 1, sizeof *p.column_offsets);
    int64_t most = 0;
    for (int32_t r = 0; r < n_rows; r++) most += lengths[r % n_lengths];
    p.columns = make(most, sizeof *p.columns);
    p.column_rows = make(most, sizeof *p.column_rows);
    p.ratings = make(most, sizeof *p.ratings);
    p.residual = make(most, sizeof(float));
    for (int32_t r = 0; r < n_rows; r++) {
        int64_t left = lengths[r % n_lengths] < n_columns ? lengths[r % n_lengths] : n_columns;
        for (int32_t c = 0; c < n_columns && left > 0; c++) /* a sample of `left` of the columns still to come */
            if ((int64_t)(draw(1, (int64_t)r * n_columns + c) % (uint32_t)(n_columns - c)) < left) {
                p.columns[p.n++] = c;
                left--;
            }
        p.offsets[r + 1] = p.n;
    }
    for (int64_t i = 0; i < p.n; i++) p.ratings[i] = (uint8_t)(1 + draw(2, i) % 10);
    by_column(&p);
    fill_normals(p.residual, p.n, 3, 0.5f);
    p.row_vectors = make((int64_t)n_rows * p.stride, sizeof(float));
    p.row_offsets = make((int64_t)n_rows * p.stride, sizeof(float));
    p.column_vectors = make((int64_t)n_columns * p.stride, sizeof(float));
    fill_vectors(p.row_vectors, n_rows, p.stride, k + 1, 1 << 20);
    fill_vectors(p.row_offsets, n_rows, p.stride, k + biases, 2 << 20);
    fill_vectors(p.column_vectors, n_columns, p.stride, k + 1, 3 << 20);
    p.prior = make((int64_t)(k + 1) * p.stride, sizeof(float));
    p.shift = make(k + 1, sizeof(float));
    for (int i = 0; i <= k; i++) {
        for (int j = 0; j <= k; j++) p.prior[i * p.stride + j] = i == j ? 3 : 0.1f / (1 + (float)abs(i - j));
        p.shift[i] = 0.05f * (float)(i % 5);
    }
    p.root = make((int64_t)(k + 1) * p.stride, sizeof(float));
    prior_root(p.prior, k + biases, p.stride, p.root);
    return p;
}

static inline void data_free(struct data *p) {
    void *all[] = {p->offsets,     p->column_offsets, p->columns,        p->column_rows, p->ratings, p->residual,
                   p->row_vectors, p->row_offsets,    p->column_vectors, p->prior,       p->root,    p->shift};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
}

/* ---- on a backend ---- */

/* noise: sample; fixed: with residuals and a fixed part of the rows' vectors. */
static inline struct factor_solve_args place_solve(struct job_memory *job, const struct data *p, int noise, int fixed) {
    struct factor_solve_args args = {.k = p->k,
                                     .stride = p->stride,
                                     .biases = p->biases,
                                     .n_rows = p->n_rows,
                                     .n_columns = p->n_columns,
                                     .offsets = PUT(job, p->offsets, p->n_rows + 1),
                                     .columns = PUT(job, p->columns, p->n),
                                     .ratings = PUT(job, p->ratings, p->n),
                                     .residual = fixed ? PUT(job, p->residual, p->n) : NULL,
                                     .column_vectors = PUT(job, p->column_vectors, p->n_columns * p->stride),
                                     .row_offsets = fixed ? PUT(job, p->row_offsets, p->n_rows * p->stride) : NULL,
                                     .alpha = 1.7f,
                                     .ridge_per_rating = noise || p->rooted ? 0 : 0.01f,
                                     .prior_precision = p->prior,
                                     .prior_root = noise || p->rooted ? p->root : NULL,
                                     .prior_shift = p->shift,
                                     .noise = noise,
                                     .seed = seed,
                                     .stream = philox_stream(PHILOX_GIBBS, 3),
                                     .row_vectors = PUT(job, p->row_vectors, p->n_rows * p->stride)};
    for (int v = 0; v < FACTOR_VALUES; v++) {
        args.value[v] = 0.5f * (float)v - 3;
        args.weight[v] = p->unweighted ? 1 : 1 + 0.1f * (float)(v % 3);
    }
    return args;
}

static inline struct residuals_args place_residuals(struct job_memory *job, const struct data *p, int fixed,
                                                    double *sum) {
    struct residuals_args args = {.k = p->k,
                                  .stride = p->stride,
                                  .n_rows = p->n_rows,
                                  .offsets = PUT(job, p->offsets, p->n_rows + 1),
                                  .columns = PUT(job, p->columns, p->n),
                                  .ratings = PUT(job, p->ratings, p->n),
                                  .effects = fixed ? PUT(job, p->residual, p->n) : NULL,
                                  .row_vectors = PUT(job, p->row_vectors, p->n_rows * p->stride),
                                  .column_vectors = PUT(job, p->column_vectors, p->n_columns * p->stride),
                                  .out = PUT(job, p->residual, p->n),
                                  .sum_squares = sum};
    for (int v = 0; v < FACTOR_VALUES; v++) args.value[v] = 0.5f * (float)v - 3;
    return args;
}

/* One sweep over features that start as the columns' vectors, from priors of k + 1 elements on the host. */
static inline struct set_sweep_args place_sets(struct job_memory *job, const struct data *p, const float *mean,
                                               const float *precision) {
    return (struct set_sweep_args){.k = p->k,
                                   .stride = p->stride,
                                   .biases = p->biases,
                                   .n_rows = p->n_rows,
                                   .n_columns = p->n_columns,
                                   .offsets = PUT(job, p->offsets, p->n_rows + 1),
                                   .columns = PUT(job, p->columns, p->n),
                                   .column_offsets = PUT(job, p->column_offsets, p->n_columns + 1),
                                   .column_rows = PUT(job, p->column_rows, p->n),
                                   .column_vectors = PUT(job, p->column_vectors, p->n_columns * p->stride),
                                   .features = PUT(job, p->column_vectors, p->n_columns * p->stride),
                                   .row_sums = PUT(job, p->row_offsets, p->n_rows * p->stride),
                                   .residual = PUT(job, p->residual, p->n),
                                   .alpha = 1.3f,
                                   .prior_mean = mean,
                                   .prior_precision = precision,
                                   .seed = seed,
                                   .stream = philox_stream(PHILOX_GIBBS, 4)};
}

#endif
