#include "model/gibbs_prior.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/normal.h"

double draw_normal(struct draws *draws) {
    if (draws->used % 4 == 0) philox_normals(draws->seed, draws->stream, draws->index++, draws->normals);
    return (double)draws->normals[draws->used++ % 4];
}

static double draw_uniform(struct draws *draws) {
    return philox_uniform(philox_block(draws->seed, draws->stream, draws->index++).v[0]);
}

double draw_gamma(struct draws *draws, double shape, double rate) {
    if (shape < 1) return draw_gamma(draws, shape + 1, rate) * pow(draw_uniform(draws), 1 / shape);
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = draw_normal(draws), v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log(draw_uniform(draws)) < 0.5 * x * x + d * (1 - v + log(v))) return d * v / rate;
    }
}

reel_status normal_prior_new(int d, int stride, struct normal_prior *out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = (struct normal_prior){.d = d, .stride = stride};
    TRY(MEM_NEW(&out->precision, (size_t)d * (size_t)stride, err));
    TRY(MEM_NEW(&out->root, (size_t)d * (size_t)stride, err));
    TRY(MEM_NEW(&out->shift, d, err));
    TRY(MEM_NEW(&out->mean, d, err));
    TRY(MEM_NEW(&out->matrix, (size_t)d * (size_t)d, err));
    return REEL_OK;
cleanup:
    normal_prior_free(out);
    return status;
}

void normal_prior_free(struct normal_prior *prior) {
    mem_free(prior->precision);
    mem_free(prior->root);
    mem_free(prior->shift);
    mem_free(prior->mean);
    mem_free(prior->matrix);
    *prior = (struct normal_prior){0};
}

/* From mean and matrix to what factor_solve reads. */
static void publish(struct normal_prior *prior) {
    for (int i = 0; i < prior->d; i++) {
        double shift = 0;
        for (int j = 0; j < prior->d; j++) {
            double value = prior->matrix[(long)i * prior->d + j];
            prior->precision[(long)i * prior->stride + j] = (float)value;
            shift += value * prior->mean[j];
        }
        prior->shift[i] = (float)shift;
    }
}

void normal_prior_set_ridge(struct normal_prior *prior, double ridge, const double *matrix) {
    size_t bytes = sizeof(double) * (size_t)prior->d * (size_t)prior->d;
    memset(prior->mean, 0, sizeof(double) * (size_t)prior->d);
    if (matrix)
        memcpy(prior->matrix, matrix, bytes);
    else
        memset(prior->matrix, 0, bytes);
    for (int i = 0; i < prior->d; i++) prior->matrix[(long)i * prior->d + i] += ridge;
    prior->has_root = 0;
    publish(prior);
}

/* From the Cholesky factor of the matrix with its rows and columns in reverse. */
reel_status normal_prior_find_root(struct normal_prior *prior, reel_error *err) {
    const int d = prior->d;
    double *reversed;
    TRY_RETURN(MEM_RAW(&reversed, (size_t)d * (size_t)d, err));
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++) reversed[(long)i * d + j] = prior->matrix[(long)(d - 1 - i) * d + d - 1 - j];
    prior->has_root = dense_cholesky(reversed, d);
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++)
            prior->root[(long)i * prior->stride + j] = (float)reversed[(long)(d - 1 - j) * d + d - 1 - i];
    mem_free(reversed);
    return REEL_OK;
}

/* Posterior scale: W*^-1 = I + scatter - n m m^T + beta0 n / (beta0 + n) m m^T, as its Cholesky factor. */
static int posterior_scale(int d, int64_t n, double beta0, const double *sum, const double *scatter, double *lower) {
    double count = (double)n, shrink = n ? 1 / count - beta0 / ((beta0 + count) * count) : 0;
    for (int i = 0; i < d; i++)
        for (int j = 0; j < d; j++)
            lower[(long)i * d + j] = (i == j) + scatter[(long)i * d + j] - shrink * sum[i] * sum[j];
    return dense_cholesky(lower, d);
}

/* Rows of R = L C^-1 in place of those of L: R_i C = L_i from the back. Columns past i are 0 in all three. */
static void divide_by_factor(double *l, const double *c, int d) {
    for (int i = 0; i < d; i++) {
        double *row = l + (long)i * d;
        for (int f = i; f >= 0; f--) {
            const double *above = c + (long)f * d, value = row[f] /= above[f];
            for (int j = 0; j < f; j++) row[j] -= value * above[j];
        }
    }
}

/* The precision R^T R and its root. */
static void set_root(struct normal_prior *prior, const double *root) {
    const int d = prior->d;
    double *matrix = prior->matrix;
    memset(matrix, 0, sizeof(double) * (size_t)d * (size_t)d);
    for (int r = 0; r < d; r++) {
        const double *row = root + (long)r * d;
        for (int i = 0; i <= r; i++)
            for (int j = 0; j <= i; j++) matrix[(long)i * d + j] += row[i] * row[j];
        for (int j = 0; j < d; j++) prior->root[(long)r * prior->stride + j] = (float)row[j];
    }
    for (int i = 0; i < d; i++)
        for (int j = i + 1; j < d; j++) matrix[(long)i * d + j] = matrix[(long)j * d + i];
    prior->has_root = 1;
    publish(prior);
}

reel_status normal_prior_draw(struct normal_prior *prior, int64_t n, const double *sum, const double *scatter,
                              struct draws *draws, reel_error *err) {
    /* BPMF's vague hyper-hyper-parameters: mu0 = 0, beta0 = 2, W0 = I, nu0 = d. */
    const double beta0 = 2, beta = beta0 + (double)n, nu = (double)prior->d + (double)n;
    const int d = prior->d;
    reel_status status = REEL_OK;
    double *lower = NULL, *root = NULL, *z = NULL;
    TRY(MEM_RAW(&lower, (size_t)d * (size_t)d, err));
    TRY(MEM_NEW(&root, (size_t)d * (size_t)d, err));
    TRY(MEM_RAW(&z, d, err));
    if (!posterior_scale(d, n, beta0, sum, scatter, lower)) {
        status = error_set(err, REEL_NUMERIC, "the factors left their range while sampling their prior");
        goto cleanup;
    }
    /* Bartlett, from the last row on: L lower triangular, L_ii^2 chi-squared with nu - i degrees of freedom,
     * makes L^T L a Wishart draw of scale I. With W* = C^-T C^-1 the draw is R^T R, R = L C^-1. */
    for (int i = 0; i < d; i++) {
        root[(long)i * d + i] = sqrt(2 * draw_gamma(draws, 0.5 * (nu - (d - 1 - i)), 1));
        for (int j = 0; j < i; j++) root[(long)i * d + j] = draw_normal(draws);
    }
    /* mean = mean* + (beta R^T R)^(-1/2) z = mean* + C L^-1 z / sqrt(beta) */
    for (int i = 0; i < d; i++) z[i] = draw_normal(draws) / sqrt(beta);
    dense_forward(root, d, z);
    for (int i = 0; i < d; i++) {
        prior->mean[i] = sum[i] / beta;
        for (int j = 0; j <= i; j++) prior->mean[i] += lower[(long)i * d + j] * z[j];
    }
    divide_by_factor(root, lower, d);
    set_root(prior, root);
cleanup:
    mem_free(z);
    mem_free(root);
    mem_free(lower);
    return status;
}

void feature_prior_draw(int64_t n, int d, const double *sum, const double *scatter, struct draws *draws, float *mean,
                        float *precision) {
    /* mean ~ N(0, 1/precision) with one pseudo-observation, precision ~ Gamma(1, rate) a priori. While the features are
     * near 0 their variance is about 2 rate / n. A rate that grows with n makes that 0.017^2 for few and many features
     * alike: with a fixed one, few features are held too wide, and many leave 0 too slowly. */
    const double beta = 1 + (double)n, rate = (double)n / 7000;
    for (int f = 0; f < d; f++) {
        double squares = scatter[(long)f * d + f] - sum[f] * sum[f] / beta;
        double drawn = draw_gamma(draws, 1 + 0.5 * (double)n, rate + 0.5 * (squares > 0 ? squares : 0));
        precision[f] = (float)drawn;
        mean[f] = (float)(sum[f] / beta + draw_normal(draws) / sqrt(beta * drawn));
    }
}
