#include "model/svd_prior.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/dense.h"

enum { BLOCK = 8 }; /* rows of S a task sums at once */
#define LEAST_VARIANCE 1e-6
#define LEAST_NOISE    1e-4

struct prior_job {
    const float *rows;
    int64_t n_rows, n_sampled;
    int stride, k, bias_lane, d;
    double noise;
    double *moments; /* (d, d) sums, then S, then its Cholesky factor */
    float *precision;
};

/* The vector of sample i as doubles. */
static void sample(const struct prior_job *job, int64_t i, double *out) {
    const float *row = job->rows + i * job->n_rows / job->n_sampled * job->stride;
    for (int f = 0; f < job->k; f++) out[f] = (double)row[f];
    if (job->d > job->k) out[job->k] = (double)row[job->bias_lane];
}

/* Sums rows task * BLOCK ... of the lower triangle, each element over the samples in order. */
static void sum_block(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct prior_job *job = arg;
    int begin = (int)task * BLOCK, end = begin + BLOCK < job->d ? begin + BLOCK : job->d;
    double vector[1025];
    for (int64_t i = 0; i < job->n_sampled; i++) {
        sample(job, i, vector);
        for (int row = begin; row < end; row++) {
            double *sums = job->moments + (ptrdiff_t)row * job->d;
            for (int c = 0; c <= row; c++) sums[c] += vector[row] * vector[c];
        }
    }
}

/* Sums to S, shrunk towards its diagonal as if d more samples had uncorrelated entries. */
static void finish_moments(const struct prior_job *job) {
    double n = (double)job->n_sampled, keep = n / (n + job->d);
    for (int row = 0; row < job->d; row++) {
        double *sums = job->moments + (ptrdiff_t)row * job->d;
        for (int c = 0; c < row; c++) sums[c] *= keep / n;
        sums[row] = sums[row] / n + LEAST_VARIANCE;
    }
}

/* Column `task` of noise * S^-1, written below the diagonal and mirrored above it. */
static void invert_column(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct prior_job *job = arg;
    double column[1025] = {0};
    column[task] = 1;
    dense_forward(job->moments, job->d, column);
    dense_backward(job->moments, job->d, column);
    for (int64_t row = task; row < job->d; row++) {
        float value = (float)(job->noise * column[row]);
        job->precision[row * job->d + task] = job->precision[task * job->d + row] = value;
    }
}

reel_status svd_prior(reel_context *ctx, const float *rows, int32_t n_rows, int stride, int k, int bias_lane, int d,
                      double noise, float *precision, reel_error *err) {
    reel_status status = REEL_OK;
    struct prior_job job = {.rows = rows,
                            .n_rows = n_rows,
                            .n_sampled = n_rows < SVD_PRIOR_USERS ? n_rows : SVD_PRIOR_USERS,
                            .stride = stride,
                            .k = k,
                            .bias_lane = bias_lane,
                            .d = d,
                            .noise = fmax(noise, LEAST_NOISE),
                            .precision = precision};
    TRY_RETURN(MEM_NEW(&job.moments, (int64_t)d * d, err));
    thread_pool_run(ctx->pool, (d + BLOCK - 1) / BLOCK, sum_block, &job);
    finish_moments(&job);
    TRY(context_check(ctx, err));
    if (!dense_cholesky(job.moments, d)) {
        status = error_set(err, REEL_NUMERIC, "the second moments of the user factors are not positive definite");
        goto cleanup;
    }
    thread_pool_run(ctx->pool, d, invert_column, &job);
cleanup:
    mem_free(job.moments);
    return status;
}
