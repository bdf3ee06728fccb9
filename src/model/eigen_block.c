#include "model/eigen_block.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/lapack.h"
#include "core/mem.h"
#include "kernels/common/normal.h"

enum { B = SPECTRAL_BLOCK, BASIS_MAX = 160 };

reel_status eigen_dense(double *a, int n, double *values, double *vectors, reel_error *err) {
    reel_status status = REEL_OK;
    double *ascending = NULL;
    TRY(MEM_RAW(&ascending, n, err));
    TRY(lapack_eigen_symmetric(n, a, ascending, err));
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
    const struct eigen_problem *problem;
    int64_t n, ld;          /* rows; leading dimension of the basis */
    int m;                  /* basis columns, a multiple of B; the last B are the newest block */
    double *basis;          /* (n, ld) device-side = host-side on backends that share memory */
    double *other;          /* (n, ld) for restarts */
    double *block;          /* (n, B) the newest block, packed */
    double *product;        /* (n, B) */
    double *packed;         /* (n, B) scratch */
    double *h;              /* (ld, ld) projection of N */
    double *coefficients;   /* (ld, B) */
    double coupling[B * B]; /* product = basis h + next block * coupling */
    uint64_t randoms;
    int products;
};

/* The block arrays below live in host memory: a backend with memory of its own copies them in its operators' wrappers.
 */
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

/* Random columns `from`..B-1 of a block. */
static void randomise(struct solver *s, double *block, int from) {
    for (int64_t row = 0; row < s->n; row++)
        for (int c = from; c < B; c++) {
            float z[4];
            philox_normals(s->problem->seed, philox_stream(PHILOX_LANCZOS, (uint32_t)s->randoms),
                           (uint64_t)row * B + (uint64_t)c, z);
            block[row * B + c] = s->problem->scale[row] > 0 ? (double)z[0] : 0;
        }
    s->randoms++;
}

/* Orthonormalises a block that is already orthogonal to the basis: block = next * R, R (B, B) upper by Gram matrix and
 * eigenvalues, twice. Columns that vanish (an exhausted subspace) are replaced by random ones with zero rows in R. */
static reel_status orthonormalise(struct solver *s, double *block, double *r, reel_error *err) {
    double gram[B * B], values[B], vectors[B * B], transform[B * B], total[B * B];
    for (int i = 0; i < B * B; i++) total[i] = i % (B + 1) == 0;
    for (int pass = 0; pass < 3; pass++) {
        TRY_RETURN(block_gram(s, block, gram, err));
        TRY_RETURN(eigen_dense(gram, B, values, vectors, err));
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
        memcpy(block, s->packed, sizeof(double) * (size_t)s->n * B);
        if (rank < B) randomise(s, block, rank);
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
static void append(struct solver *s) {
    for (int64_t row = 0; row < s->n; row++)
        memcpy(s->basis + row * s->ld + s->m, s->block + row * B, sizeof(double) * B);
    s->m += B;
}

/* product = scale W scale block. */
static reel_status apply(struct solver *s, reel_error *err) {
    const double *scale = s->problem->scale;
    struct affinity_args args = *s->problem->affinity;
    for (int64_t row = 0; row < s->n; row++)
        for (int c = 0; c < B; c++) s->packed[row * B + c] = scale[row] * s->block[row * B + c];
    args.in = s->packed;
    args.out = s->product;
    TRY_RETURN(s->backend->ops->affinity_apply(s->backend, &args, err));
    for (int64_t row = 0; row < s->n; row++)
        for (int c = 0; c < B; c++) s->product[row * B + c] *= scale[row];
    s->products++;
    return REEL_OK;
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
    TRY(eigen_dense(h, s->m, values, vectors, err));
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

/* |N v - lambda v| by applying the affinity once more: what is reported is measured, not estimated. */
static reel_status true_residuals(struct solver *s, struct eigen_result *out, reel_error *err) {
    for (int from = 0; from < out->n; from += B) {
        int columns = out->n - from < B ? out->n - from : B;
        memset(s->block, 0, sizeof(double) * (size_t)s->n * B);
        for (int64_t row = 0; row < s->n; row++)
            memcpy(s->block + row * B, out->vectors + row * out->n + from, sizeof(double) * (size_t)columns);
        TRY_RETURN(apply(s, err));
        for (int c = 0; c < columns; c++) {
            double sum = 0;
            for (int64_t row = 0; row < s->n; row++) {
                double part = s->product[row * B + c] - out->values[from + c] * s->block[row * B + c];
                sum += part * part;
            }
            out->residuals[from + c] = sqrt(sum);
        }
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
    for (int64_t row = 0; row < s->n; row++)
        memcpy(out->vectors + row * wanted, s->other + row * s->ld, sizeof(double) * (size_t)wanted);
    return true_residuals(s, out, err);
}

static reel_status iterate(struct solver *s, struct eigen_result *out, reel_error *err) {
    reel_status status = REEL_OK;
    const int wanted = s->problem->wanted;
    double *values = NULL, *vectors = NULL, residuals[BASIS_MAX];
    TRY(MEM_RAW(&values, s->ld, err));
    TRY(MEM_RAW(&vectors, (size_t)(s->ld * s->ld), err));
    randomise(s, s->block, 0);
    TRY(orthonormalise(s, s->block, s->coupling, err));
    while (s->products < s->problem->max_products) {
        TRY(context_check(s->ctx, err));
        append(s);
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
    struct solver s = {.ctx = ctx, .backend = backend, .problem = problem, .n = problem->affinity->n};
    /* Narrow problems restart late, so that memory stays at two bases of some 100 columns. */
    s.ld = round_up(problem->wanted) + 8 * B;
    if (s.ld > BASIS_MAX) s.ld = BASIS_MAX;
    TRY(MEM_NEW(&s.basis, s.n * s.ld, err));
    TRY(MEM_NEW(&s.other, s.n * s.ld, err));
    TRY(MEM_NEW(&s.block, s.n * B, err));
    TRY(MEM_NEW(&s.product, s.n * B, err));
    TRY(MEM_NEW(&s.packed, s.n * B, err));
    TRY(MEM_NEW(&s.h, s.ld * s.ld, err));
    TRY(MEM_NEW(&s.coefficients, s.ld * B, err));
    TRY(iterate(&s, out, err));
cleanup:
    if (status != REEL_OK) eigen_result_free(out);
    mem_free(s.coefficients);
    mem_free(s.h);
    mem_free(s.packed);
    mem_free(s.product);
    mem_free(s.block);
    mem_free(s.other);
    mem_free(s.basis);
    return status;
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
    double *ones = NULL, *sums = NULL;
    const size_t n = (size_t)affinity->n;
    TRY(MEM_NEW(&ones, n * B, err));
    TRY(MEM_NEW(&sums, n * B, err));
    for (size_t row = 0; row < n; row++) ones[row * B] = 1;
    struct affinity_args args = *affinity;
    args.in = ones;
    args.out = sums;
    TRY(backend->ops->affinity_apply(backend, &args, err));
    for (size_t row = 0; row < n; row++) degrees[row] = sums[row * B];
cleanup:
    mem_free(sums);
    mem_free(ones);
    return status;
}
