/* Leading eigenpairs of the normalised affinity N = D^-1/2 W D^-1/2 by block Lanczos with full reorthogonalisation and
 * thick restarts (Wu and Simon, "Thick-restart Lanczos method for large symmetric eigenvalue problems", SIAM J. Matrix
 * Anal. Appl. 22, 2000; in blocks of SPECTRAL_BLOCK vectors). */
#ifndef MODEL_EIGEN_BLOCK_H
#define MODEL_EIGEN_BLOCK_H

#include "backend/job_memory.h"
#include "backend/spectral_ops.h"
#include "core/context.h"

struct eigen_problem {
    const struct affinity_args *affinity; /* arrays (dev); in and out are set here */
    const double *scale;                  /* (n,) host: 1 / sqrt(degree), 0 for isolated rows */
    int wanted;                           /* eigenpairs, 1..64 */
    double tolerance;                     /* of |N v - lambda v| */
    int max_products;
    uint64_t seed;
};

struct eigen_result {
    int n;             /* = wanted */
    double *values;    /* (n,) descending */
    double *residuals; /* (n,) */
    double *vectors;   /* (rows, n) row-major, orthonormal columns, host */
    int products;      /* block products used */
};

/* Degrees (n,) host: W 1. */
reel_status eigen_degrees(struct backend *backend, const struct affinity_args *affinity, double *degrees,
                          reel_error *err);
/* NUMERIC when max_products do not suffice. `wanted` must not exceed n. */
reel_status eigen_solve(reel_context *ctx, struct backend *backend, const struct eigen_problem *problem,
                        struct eigen_result *out, reel_error *err);
/* scikit-learn's convention: of each of the vectors (n, ...) the entry of largest size becomes positive. */
void eigen_fix_signs(reel_context *ctx, struct eigen_result *eigen, int64_t n);
void eigen_result_free(struct eigen_result *result);

/* All eigenpairs of a symmetric matrix a (n, n): values (n,) descending, vectors (n, n) with column j for value j.
 * The backend's eigen_symmetric. NUMERIC if it fails. */
reel_status eigen_dense(struct backend *backend, double *a, int n, double *values, double *vectors, reel_error *err);

#endif
