#include "model/eigen_block.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/normal.h"

enum { B = SPECTRAL_BLOCK, BASIS_MAX = 160 };

reel_status eigen_dense(struct backend *backend, double *a, int n, double *values, double *vectors, reel_error *err) {
    reel_status status = REEL_OK;
    double *ascending = NULL;
    TRY(MEM_RAW(&ascending, n, err));
    struct eigen_symmetric_args args = {.n = n, .a = a, .values = ascending};
    TRY(backend->ops->eigen_symmetric(backend, &args, err));
    for (int j = 0; j < n; j++) {
        values[j] = ascending[n - 1 - j];
        for (int i = 0; i < n; i++)
            vectors[(size_t)i * (size_t)n + (size_t)j] = a[(size_t)i * (size_t)n + (size_t)(n - 1 - j)];
    }
cleanup:
    mem_free(ascending);
    return status;
}

/* ---- state ---- */

struct solver {
    reel_context *ctx;
    struct backend *backend;
    struct job_memory job;
    const struct eigen_problem *problem;
    int64_t n, ld;          /* rows; leading dimension of the basis */
    int m;                  /* basis columns, a multiple of B; the last B are the newest block */
    double *basis;          /* (n, ld) (dev) */
    double *other;          /* (n, ld) (dev) for restarts */
    double *block;          /* (n, B) (dev) the newest block, packed */
    double *product;        /* (n, B) (dev) */
    double *packed;         /* (n, B) (dev) scratch */
    const double *scale;    /* (n,) (dev) the problem's */
    double *host;           /* (n, B) a block on its way to or from the device */
    double *h;              /* (ld, ld) projection of N */
    double *coefficients;   /* (ld, B) */
    double coupling[B * B]; /* product = basis h + next block * coupling */
    uint64_t randoms;
    int products;
};

static reel_status dot(struct solver *s, const double *a, int columns, const double *b, double *out, reel_error *err) {
    struct block_dot_args args = {.n = s->n, .a_columns = columns, .a_ld = s->ld, .a = a, .b = b, .out = out};
    return s->backend->ops->block_dot(s->backend, &args, err);
}

static reel_status block_gram(struct solver *s, const double *block, double *out, reel_error *err) {
    struct block_dot_args args = {.n = s->n, .a_columns = B, .a_ld = B, .a = block, .b = block, .out = out};
    return s->backend->ops->block_dot(s->backend, &args, err);
}

static reel_status update(struct solver *s, const double *a, int64_t a_ld, int columns, const double *c, double alpha,
                          double beta, double *out, int64_t out_ld, reel_error *err) {
    struct block_update_args args = {.n = s->n,
                                     .a_columns = columns,
                                     .a_ld = a_ld,
                                     .out_ld = out_ld,
                                     .alpha = alpha,
                                     .beta = beta,
                                     .a = a,
                                     .c = c,
                                     .out = out};
    return s->backend->ops->block_update(s->backend, &args, err);
}

/* block -= basis (basis^T block), twice; the coefficients' sum goes to s->coefficients. */
static reel_status project_out(struct solver *s, double *block, reel_error *err) {
    double once[BASIS_MAX * B];
    memset(s->coefficients, 0, sizeof(double) * (size_t)s->m * B);
    for (int pass = 0; pass < 2 && s->m > 0; pass++) {
        TRY_RETURN(dot(s, s->basis, s->m, block, once, err));
        for (int i = 0; i < s->m * B; i++) s->coefficients[i] += once[i];
        TRY_RETURN(update(s, s->basis, s->ld, s->m, once, -1, 1, block, B, err));
    }
    return REEL_OK;
}

/* out (n, B; out_ld) = scale * in (n, B; in_ld), or a copy where scale is NULL. */
static reel_status scale_rows(struct solver *s, const double *scale, const double *in, int64_t in_ld, double *out,
                              int64_t out_ld, reel_error *err) {
    struct block_scale_args args = {.n = s->n, .in_ld = in_ld, .out_ld = out_ld, .scale = scale, .in = in, .out = out};
    return s->backend->ops->block_scale(s->backend, &args, err);
}

static size_t block_bytes(const struct solver *s) {
    return sizeof(double) * (size_t)s->n * B;
}

static reel_status get_block(struct solver *s, const double *block, reel_error *err) {
    return s->backend->ops->download(s->backend, s->host, block, block_bytes(s), err);
}

static reel_status put_block(struct solver *s, double *block, reel_error *err) {
    return s->backend->ops->upload(s->backend, block, s->host, block_bytes(s), err);
}

enum { ROWS = 1024 };

static int64_t tasks_of(int64_t n) {
    return (n + ROWS - 1) / ROWS;
}

static int64_t task_end(int64_t n, int64_t task) {
    return (task + 1) * ROWS < n ? (task + 1) * ROWS : n;
}

struct random_job {
    const struct eigen_problem *problem;
    double *block;
    int64_t n;
    int from;
    uint32_t stream;
};

static void random_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct random_job *job = arg;
    for (int64_t row = task * ROWS; row < task_end(job->n, task); row++)
        for (int c = job->from; c < B; c++) {
            float z[4];
            philox_normals(job->problem->seed, philox_stream(PHILOX_LANCZOS, job->stream),
                           (uint64_t)row * B + (uint64_t)c, z);
            job->block[row * B + c] = job->problem->scale[row] > 0 ? (double)z[0] : 0;
        }
}

/* Random columns `from`..B-1 of a block. Made on the host: elementary functions differ from device to device. */
static reel_status randomise(struct solver *s, double *block, int from, reel_error *err) {
    if (from > 0) TRY_RETURN(get_block(s, block, err));
    struct random_job job = {s->problem, s->host, s->n, from, (uint32_t)s->randoms++};
    thread_pool_run(s->ctx->pool, tasks_of(s->n), random_task, &job);
    return put_block(s, block, err);
}

/* Orthonormalises a block that is already orthogonal to the basis: block = next * R, R (B, B) upper by Gram matrix and
 * eigenvalues, twice. Columns that vanish (an exhausted subspace) are replaced by random ones with zero rows in R. */
static reel_status orthonormalise(struct solver *s, double *block, double *r, reel_error *err) {
    double gram[B * B], values[B], vectors[B * B], transform[B * B], total[B * B];
    for (int i = 0; i < B * B; i++) total[i] = i % (B + 1) == 0;
    for (int pass = 0; pass < 3; pass++) {
        TRY_RETURN(block_gram(s, block, gram, err));
        TRY_RETURN(eigen_dense(s->backend, gram, B, values, vectors, err));
        /* columns shorter than 1e-13 of the longest, or than 1e-11 (N has norm 1), are rounding errors */
        int rank = 0;
        while (rank < B && values[rank] > 1e-26 * values[0] && values[rank] > 1e-22) rank++;
        double next[B * B] = {0};
        memset(transform, 0, sizeof transform);
        for (int j = 0; j < rank; j++)
            for (int i = 0; i < B; i++) {
                transform[i * B + j] = vectors[i * B + j] / sqrt(values[j]);
                for (int c = 0; c < B; c++) next[j * B + c] += sqrt(values[j]) * vectors[i * B + j] * total[i * B + c];
            }
        memcpy(total, next, sizeof total);
        TRY_RETURN(update(s, block, B, B, transform, 1, 0, s->packed, B, err));
        TRY_RETURN(scale_rows(s, NULL, s->packed, B, block, B, err));
        if (rank < B) TRY_RETURN(randomise(s, block, rank, err));
        if (pass == 2 || s->m == 0) continue;
        /* Scaling a short column up scales up what is left in it of the basis. */
        double kept[BASIS_MAX * B];
        memcpy(kept, s->coefficients, sizeof(double) * (size_t)s->m * B);
        TRY_RETURN(project_out(s, block, err));
        memcpy(s->coefficients, kept, sizeof(double) * (size_t)s->m * B);
    }
    memcpy(r, total, sizeof total);
    return REEL_OK;
}

/* Appends s->block to the basis. */
static reel_status append(struct solver *s, reel_error *err) {
    TRY_RETURN(scale_rows(s, NULL, s->block, B, s->basis + s->m, s->ld, err));
    s->m += B;
    return REEL_OK;
}

/* product = scale W scale block. */
static reel_status apply(struct solver *s, reel_error *err) {
    struct affinity_args args = *s->problem->affinity;
    TRY_RETURN(scale_rows(s, s->scale, s->block, B, s->packed, B, err));
    args.in = s->packed;
    args.out = s->product;
    TRY_RETURN(s->backend->ops->affinity_apply(s->backend, &args, err));
    s->products++;
    return scale_rows(s, s->scale, s->product, B, s->product, B, err);
}

/* One step: extends h by the newest block's columns and makes the next block. */
static reel_status step(struct solver *s, reel_error *err) {
    TRY_RETURN(apply(s, err));
    TRY_RETURN(project_out(s, s->product, err));
    for (int i = 0; i < s->m; i++)
        for (int c = 0; c < B; c++) {
            int column = s->m - B + c;
            s->h[(int64_t)i * s->ld + column] = s->h[(int64_t)column * s->ld + i] = s->coefficients[i * B + c];
        }
    TRY_RETURN(orthonormalise(s, s->product, s->coupling, err));
    double *swap = s->block;
    s->block = s->product;
    s->product = swap;
    return REEL_OK;
}

/* Ritz pairs of the basis: values (m,) descending, vectors (m, m); residuals of the first `wanted`. */
static reel_status ritz(struct solver *s, double *values, double *vectors, double *residuals, reel_error *err) {
    reel_status status = REEL_OK;
    double *h = NULL;
    TRY(MEM_RAW(&h, (size_t)s->m * (size_t)s->m, err));
    for (int i = 0; i < s->m; i++)
        for (int j = 0; j < s->m; j++) h[i * s->m + j] = 0.5 * (s->h[i * s->ld + j] + s->h[j * s->ld + i]);
    TRY(eigen_dense(s->backend, h, s->m, values, vectors, err));
    for (int j = 0; j < s->problem->wanted && j < s->m; j++) {
        double sum = 0;
        for (int i = 0; i < B; i++) {
            double part = 0;
            for (int c = 0; c < B; c++) part += s->coupling[i * B + c] * vectors[(s->m - B + c) * s->m + j];
            sum += part * part;
        }
        residuals[j] = sqrt(sum);
    }
cleanup:
    mem_free(h);
    return status;
}

/* out (n, keep) = basis vectors[:, :keep], keep a multiple of B. */
static reel_status rotate(struct solver *s, const double *vectors, int keep, double *out, reel_error *err) {
    double c[BASIS_MAX * B];
    for (int from = 0; from < keep; from += B) {
        for (int i = 0; i < s->m; i++) memcpy(c + i * B, vectors + i * s->m + from, sizeof(double) * B);
        TRY_RETURN(update(s, s->basis, s->ld, s->m, c, 1, 0, out + from, s->ld, err));
    }
    return REEL_OK;
}

/* Keeps the leading Ritz vectors; the next block couples to them through h, filled in by the coming step. */
static reel_status restart(struct solver *s, const double *values, const double *vectors, int keep, reel_error *err) {
    TRY_RETURN(rotate(s, vectors, keep, s->other, err));
    double *swap = s->basis;
    s->basis = s->other;
    s->other = swap;
    s->m = keep;
    memset(s->h, 0, sizeof(double) * (size_t)(s->ld * s->ld));
    for (int i = 0; i < keep; i++) s->h[i * s->ld + i] = values[i];
    return REEL_OK;
}

static int round_up(int value) {
    return (value + B - 1) / B * B;
}

struct copy_job {
    const double *from;
    double *to;
    int64_t n, from_ld, to_ld;
    int columns, width;
};

static void copy_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct copy_job *job = arg;
    for (int64_t row = task * ROWS; row < task_end(job->n, task); row++) {
        double *to = job->to + row * job->to_ld;
        memcpy(to, job->from + row * job->from_ld, sizeof(double) * (size_t)job->columns);
        for (int c = job->columns; c < job->width; c++) to[c] = 0;
    }
}

/* to (n, width; to_ld) = from (n, columns; from_ld) and zeros behind it, on the host. */
static void copy_columns(struct solver *s, const double *from, int64_t from_ld, int columns, double *to, int64_t to_ld,
                         int width) {
    struct copy_job job = {from, to, s->n, from_ld, to_ld, columns, width};
    thread_pool_run(s->ctx->pool, tasks_of(s->n), copy_task, &job);
}

struct residual_job {
    const struct solver *s; /* its host block = N times the vectors from `from` on */
    struct eigen_result *out;
    int from;
};

static void residual_task(void *arg, int64_t c, int worker) {
    (void)worker;
    const struct residual_job *job = arg;
    struct eigen_result *out = job->out;
    const int64_t column = job->from + c;
    double sum = 0;
    for (int64_t row = 0; row < job->s->n; row++) {
        double part = job->s->host[row * B + c] - out->values[column] * out->vectors[row * out->n + column];
        sum += part * part;
    }
    out->residuals[column] = sqrt(sum);
}

/* |N v - lambda v| by applying the affinity once more: what is reported is measured, not estimated. */
static reel_status true_residuals(struct solver *s, struct eigen_result *out, reel_error *err) {
    for (int from = 0; from < out->n; from += B) {
        int columns = out->n - from < B ? out->n - from : B;
        copy_columns(s, out->vectors + from, out->n, columns, s->host, B, B);
        TRY_RETURN(put_block(s, s->block, err));
        TRY_RETURN(apply(s, err));
        TRY_RETURN(get_block(s, s->product, err));
        struct residual_job job = {s, out, from};
        thread_pool_run(s->ctx->pool, columns, residual_task, &job);
    }
    out->products = s->products;
    return REEL_OK;
}

static reel_status finish(struct solver *s, const double *values, const double *vectors, struct eigen_result *out,
                          reel_error *err) {
    const int wanted = s->problem->wanted;
    out->n = wanted;
    TRY_RETURN(MEM_RAW(&out->values, wanted, err));
    TRY_RETURN(MEM_RAW(&out->residuals, wanted, err));
    TRY_RETURN(MEM_RAW(&out->vectors, (size_t)s->n * (size_t)wanted, err));
    TRY_RETURN(rotate(s, vectors, round_up(wanted) < s->m ? round_up(wanted) : s->m, s->other, err));
    memcpy(out->values, values, sizeof(double) * (size_t)wanted);
    for (int from = 0; from < wanted; from += B) {
        int columns = wanted - from < B ? wanted - from : B;
        TRY_RETURN(scale_rows(s, NULL, s->other + from, s->ld, s->packed, B, err));
        TRY_RETURN(get_block(s, s->packed, err));
        copy_columns(s, s->host, B, columns, out->vectors + from, wanted, columns);
    }
    return true_residuals(s, out, err);
}

static reel_status iterate(struct solver *s, struct eigen_result *out, reel_error *err) {
    reel_status status = REEL_OK;
    const int wanted = s->problem->wanted;
    double *values = NULL, *vectors = NULL, residuals[BASIS_MAX];
    TRY(MEM_RAW(&values, s->ld, err));
    TRY(MEM_RAW(&vectors, (size_t)(s->ld * s->ld), err));
    TRY(randomise(s, s->block, 0, err));
    TRY(orthonormalise(s, s->block, s->coupling, err));
    while (s->products < s->problem->max_products) {
        TRY(context_check(s->ctx, err));
        TRY(append(s, err));
        TRY(step(s, err));
        TRY(ritz(s, values, vectors, residuals, err));
        double worst = s->m < wanted ? INFINITY : 0;
        for (int j = 0; j < wanted && j < s->m; j++) worst = fmax(worst, residuals[j]);
        context_progress(s->ctx, "eigenvectors", "products", s->products, 0, "residual", worst,
                         worst <= s->problem->tolerance);
        if (worst <= s->problem->tolerance || s->m + B > s->n) {
            status = finish(s, values, vectors, out, err);
            goto cleanup;
        }
        if (s->m + B > s->ld) TRY(restart(s, values, vectors, round_up(wanted) + 2 * B, err));
    }
    status = error_set(err, REEL_NUMERIC, "the eigenvectors did not converge to %g in %d products with the affinity",
                       s->problem->tolerance, s->products);
cleanup:
    mem_free(vectors);
    mem_free(values);
    return status;
}

reel_status eigen_solve(reel_context *ctx, struct backend *backend, const struct eigen_problem *problem,
                        struct eigen_result *out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = (struct eigen_result){0};
    struct solver s = {
        .ctx = ctx, .backend = backend, .job = {.backend = backend}, .problem = problem, .n = problem->affinity->n};
    /* Narrow problems restart late, so that memory stays at two bases of some 100 columns. */
    s.ld = round_up(problem->wanted) + 8 * B;
    if (s.ld > BASIS_MAX) s.ld = BASIS_MAX;
    TRY(job_reserve(&s.job, "the eigensolver", (2 * (size_t)s.ld + 3 * B) * (size_t)s.n * sizeof(double), err));
    TRY(JOB_ZEROS(&s.job, &s.basis, s.n * s.ld, err));
    TRY(JOB_ZEROS(&s.job, &s.other, s.n * s.ld, err));
    TRY(JOB_ZEROS(&s.job, &s.block, s.n * B, err));
    TRY(JOB_ZEROS(&s.job, &s.product, s.n * B, err));
    TRY(JOB_ZEROS(&s.job, &s.packed, s.n * B, err));
    TRY(JOB_CONSTANT(&s.job, &s.scale, problem->scale, s.n, err));
    TRY(MEM_NEW(&s.host, s.n * B, err));
    TRY(MEM_NEW(&s.h, s.ld * s.ld, err));
    TRY(MEM_NEW(&s.coefficients, s.ld * B, err));
    TRY(iterate(&s, out, err));
cleanup:
    if (status != REEL_OK) eigen_result_free(out);
    mem_free(s.coefficients);
    mem_free(s.h);
    mem_free(s.host);
    job_memory_free(&s.job);
    return status;
}

struct sign_job {
    struct eigen_result *eigen;
    int64_t n;
    double signs[BASIS_MAX];
};

static void find_sign_task(void *arg, int64_t j, int worker) {
    (void)worker;
    struct sign_job *job = arg;
    double largest = 0;
    for (int64_t row = 0; row < job->n; row++) {
        double value = job->eigen->vectors[row * job->eigen->n + j];
        if (fabs(value) > fabs(largest)) largest = value;
    }
    job->signs[j] = largest < 0 ? -1 : 1;
}

static void set_sign_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct sign_job *job = arg;
    const int columns = job->eigen->n;
    for (int64_t row = task * ROWS; row < task_end(job->n, task); row++)
        for (int j = 0; j < columns; j++) job->eigen->vectors[row * columns + j] *= job->signs[j];
}

void eigen_fix_signs(reel_context *ctx, struct eigen_result *eigen, int64_t n) {
    struct sign_job job = {.eigen = eigen, .n = n};
    thread_pool_run(ctx->pool, eigen->n, find_sign_task, &job);
    thread_pool_run(ctx->pool, tasks_of(n), set_sign_task, &job);
}

void eigen_result_free(struct eigen_result *result) {
    mem_free(result->values);
    mem_free(result->residuals);
    mem_free(result->vectors);
    *result = (struct eigen_result){0};
}

reel_status eigen_degrees(struct backend *backend, const struct affinity_args *affinity, double *degrees,
                          reel_error *err) {
    reel_status status = REEL_OK;
    struct job_memory job = {.backend = backend};
    struct affinity_args args = *affinity;
    double *host = NULL;
    const size_t n = (size_t)affinity->n;
    TRY(MEM_NEW(&host, n * B, err));
    for (size_t row = 0; row < n; row++) host[row * B] = 1;
    TRY(JOB_CONSTANT(&job, &args.in, host, n * B, err));
    TRY(JOB_ZEROS(&job, &args.out, n * B, err));
    TRY(backend->ops->affinity_apply(backend, &args, err));
    TRY(backend->ops->download(backend, host, args.out, n * B * sizeof *host, err));
    for (size_t row = 0; row < n; row++) degrees[row] = host[row * B];
cleanup:
    job_memory_free(&job);
    mem_free(host);
    return status;
}
