/* Small dense matrices in double: systems of one visitor, priors of a sampler (Golub and Van Loan, Matrix
 * Computations, 4.2). Plain loops, so that their bits depend on nothing but their input. */
#ifndef MODEL_DENSE_H
#define MODEL_DENSE_H

/* a (n, n) row-major symmetric positive definite -> lower Cholesky factor in place (upper part zeroed).
 * 0 if it is not positive definite. */
int dense_cholesky(double *a, int n);
/* Solves L x = b, and L^T x = b, in place. */
void dense_forward(const double *lower, int n, double *b);
void dense_backward(const double *lower, int n, double *b);

#endif
