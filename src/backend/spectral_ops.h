/* Arguments of the spectral operators. All numbers are double: eigenvalues are asked for to 1e-8. Matrices are
 * row-major with a leading dimension (elements from one row to the next).
 *
 * What every implementation gives bit for bit (kernels/common/spectral_math.h): products and sums are rounded one by
 * one; a sum over rows is one chain a piece, begun at zero, rows ascending, and the pieces are added in order to zero.
 * There are SPECTRAL_PIECES pieces of rows, equal +-1; for a feature map, of tiles of SPECTRAL_TILE rows. Sums over
 * features, monomials and neighbours, and over all rows for one row of tiles of the kernel, are one ascending chain. */
#ifndef BACKEND_SPECTRAL_OPS_H
#define BACKEND_SPECTRAL_OPS_H

#include <stdint.h>

enum {
    SPECTRAL_BLOCK = 8, /* vectors at a time: one AVX-512 register of doubles a row */
    SPECTRAL_PIECES = 64,
    SPECTRAL_TILE = 32
};

enum affinity_kind {
    AFFINITY_LINEAR,     /* <x, y> */
    AFFINITY_COSINE,     /* <x, y> / (|x| |y|); rows come normalised, so it is LINEAR here */
    AFFINITY_POLYNOMIAL, /* (gamma <x, y> + coef0)^degree */
    AFFINITY_RBF,        /* exp(-gamma |x - y|^2) */
    AFFINITY_SPARSE      /* a stored symmetric sparse matrix (nearest neighbours) */
};

/* A monomial feature is another one times a variable; the first is the constant 1. */
struct monomial {
    int32_t parent, variable;
};

/* `affinity_apply`: out = W in, W_ij = K(x_i, x_j) with zero diagonal (scipy's convention for graph Laplacians),
 * without storing W. With a feature map K(x, y) = sum_f weight_f z_f(x) z_f(y), it costs O(n features b); otherwise
 * tiles of W are made on the fly, O(n^2 (d + b)). Waits. */
struct affinity_args {
    enum affinity_kind kind;
    int64_t n;
    int d;           /* columns of x */
    const double *x; /* (n, d) (dev) */
    double gamma, coef0;
    int degree;
    int64_t n_monomials;              /* 0 = tiles; POLYNOMIAL only */
    const struct monomial *monomials; /* (n_monomials,) (dev) */
    const double *monomial_weights;   /* (n_monomials,) (dev) */
    const double *self;               /* (n,) (dev) K(x_i, x_i) */
    const int64_t *sparse_offsets;    /* (n + 1,) (dev) SPARSE: rows without their diagonal */
    const int32_t *sparse_columns;
    const double *sparse_values;
    const double *in; /* (n, SPECTRAL_BLOCK) (dev) */
    double *out;      /* (n, SPECTRAL_BLOCK) (dev) */
};

/* `block_dot`: out (a_columns, SPECTRAL_BLOCK) host = a^T b over n rows, in a fixed order. Waits. */
struct block_dot_args {
    int64_t n;
    int a_columns;
    int64_t a_ld;
    const double *a; /* (n, a_columns) (dev) */
    const double *b; /* (n, SPECTRAL_BLOCK) (dev) */
    double *out;
};

/* `block_update`: out = beta out + alpha a c for c (a_columns, SPECTRAL_BLOCK) host; out must not overlap a. */
struct block_update_args {
    int64_t n;
    int a_columns;
    int64_t a_ld, out_ld;
    double alpha, beta;
    const double *a; /* (n, a_columns) (dev) */
    const double *c;
    double *out; /* (n, SPECTRAL_BLOCK) (dev) */
};

/* `block_scale`: out row r = scale[r] * in row r, or a copy where scale is NULL. out may be in. */
struct block_scale_args {
    int64_t n;
    int64_t in_ld, out_ld;
    const double *scale; /* (n,) (dev) or NULL */
    const double *in;    /* (n, SPECTRAL_BLOCK) (dev) */
    double *out;         /* (n, SPECTRAL_BLOCK) (dev) */
};

/* `eigen_symmetric`: as lapack_eigen_symmetric in core/lapack.h. Waits. */
struct eigen_symmetric_args {
    int n;
    double *a;      /* (n, n) host; in: the lower triangle is read; out: column j is the vector of value j */
    double *values; /* (n,) host, ascending */
};

/* `kmeans_assign`: the nearest of k centers of each point (ties: the lower index), and for the next centers the sum
 * and count of each one's points; inertia = sum of squared distances. For several sets of centers at once, each as if
 * it were alone. Sums in a fixed order. Waits. */
struct kmeans_assign_args {
    int64_t n;
    int d, k, sets;
    const double *points;  /* (n, d) (dev) */
    const double *centers; /* (sets, k, d) host */
    int32_t *labels;       /* (sets, n) (dev) */
    double *sums;          /* (sets, k, d) host */
    int64_t *counts;       /* (sets, k) host */
    double *inertia;       /* (sets,) host */
};

#endif
