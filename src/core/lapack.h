/* The two LAPACK routines that Reel needs, by their Fortran names, which every OpenBLAS has: its C wrapper (LAPACKE)
 * is a library of its own in Debian and drags in three more. Matrices are row-major. */
#ifndef CORE_LAPACK_H
#define CORE_LAPACK_H

#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Eigenvalues, ascending, values (n,), and eigenvectors of the symmetric a (n, n), of which the lower triangle is
 * read; on return column j of a is the vector of value j. NUMERIC where the iteration does not converge, NO_MEMORY. */
reel_status lapack_eigen_symmetric(int n, double *a, double *values, reel_error *err);
/* a (n, n) = u diag(sigma) vt, singular values descending; a is overwritten. Errors as above. */
reel_status lapack_svd(int n, double *a, double *u, double *sigma, double *vt, reel_error *err);

#ifdef __cplusplus
}
#endif

#endif
