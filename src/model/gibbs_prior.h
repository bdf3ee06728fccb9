/* Hyper-priors of the Gibbs sampler: Normal-Wishart over the vectors of users and of movies (Salakhutdinov and
 * Mnih, "Bayesian probabilistic matrix factorization using Markov chain Monte Carlo", ICML 2008, eq. 14), and
 * normal-gamma over each dimension of a set's feature vectors. */
#ifndef MODEL_GIBBS_PRIOR_H
#define MODEL_GIBBS_PRIOR_H

#include <stdint.h>
#include <reel/status.h>
#include "model/dense.h"

/* A sequence of random numbers: Philox blocks 0, 1, 2 ... of one stream. */
struct draws {
    uint64_t seed, stream, index;
    float normals[4];
    int used; /* of normals */
};
double draw_normal(struct draws *draws);
/* Gamma(shape, rate), shape > 0, rate > 0 (Marsaglia and Tsang, "A simple method for generating gamma variables",
 * ACM TOMS 26, 2000; shapes below 1 by their section 6). */
double draw_gamma(struct draws *draws, double shape, double rate);

/* What factor_solve takes as its prior. */
struct normal_prior {
    int d, stride;
    float *precision; /* (d, stride) */
    float *root; /* (d, stride) R, lower triangular: precision = R^T R; means nothing while !has_root. A draw has it */
    int has_root;
    float *shift;   /* (d,) precision * mean */
    double *mean;   /* (d,) */
    double *matrix; /* (d, d) the precision in double */
};
reel_status normal_prior_new(int d, int stride, struct normal_prior *out, reel_error *err);
void normal_prior_free(struct normal_prior *prior);
/* Draws mean and precision given n vectors with this sum (d,) and scatter sum x x^T (d, d). NUMERIC if the scatter
 * is not finite. */
reel_status normal_prior_draw(struct normal_prior *prior, int64_t n, const double *sum, const double *scatter,
                              struct draws *draws, reel_error *err);
/* precision = ridge * I (+ matrix (d, d), may be NULL), mean 0: plain regularization. The root is not known. */
void normal_prior_set_ridge(struct normal_prior *prior, double ridge, const double *matrix);
/* The root, if the precision is positive definite. NO_MEMORY. */
reel_status normal_prior_find_root(struct normal_prior *prior, reel_error *err);

/* mean (d,) and precision (d,) of each dimension given its sum (d,) and the scatter (d, d) of n features. */
void feature_prior_draw(int64_t n, int d, const double *sum, const double *scatter, struct draws *draws, float *mean,
                        float *precision);

#endif
