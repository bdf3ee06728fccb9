/* The sampler's priors: a root squares to its precision, and draws have the moments of the Normal-Wishart. */
#include "model/gibbs_prior.h"

#include <math.h>
#include <string.h>

#include "core/mem.h"
#include "kernels/common/philox.h"
#include "test.h"

enum { D = 4, STRIDE = 16, N = 20, DRAWS = 20000 };

static void check_root(const struct normal_prior *prior, double bound) {
    CHECK(prior->has_root);
    for (int i = 0; i < D; i++)
        for (int j = 0; j < STRIDE; j++) {
            double product = 0;
            for (int r = 0; r < D; r++)
                product += (double)prior->root[r * STRIDE + i] * (double)prior->root[r * STRIDE + j];
            CHECK_NEAR(product, (double)prior->precision[i * STRIDE + j], bound);
            if (j > i) CHECK(prior->root[i * STRIDE + j] == 0);
        }
}

/* Sum (D,) and scatter (D, D) of N vectors. */
static void make_vectors(double *sum, double *scatter) {
    memset(sum, 0, D * sizeof *sum);
    memset(scatter, 0, D * D * sizeof *scatter);
    for (uint64_t n = 0; n < N; n++) {
        double x[D];
        for (int i = 0; i < D; i++)
            x[i] = 0.3 * i + philox_uniform(philox_block(7, philox_stream(PHILOX_TEST, (uint32_t)i), n).v[0]) +
                   0.4 * (i ? x[0] : 0);
        for (int i = 0; i < D; i++) {
            sum[i] += x[i];
            for (int j = 0; j < D; j++) scatter[i * D + j] += x[i] * x[j];
        }
    }
}

static void a_ridge_has_a_root(void) {
    struct normal_prior prior;
    reel_error err;
    double sum[D], scatter[D * D];
    REQUIRE_OK(normal_prior_new(D, STRIDE, &prior, &err), err);
    make_vectors(sum, scatter);
    normal_prior_set_ridge(&prior, 2, scatter);
    CHECK(!prior.has_root);
    REQUIRE_OK(normal_prior_find_root(&prior, &err), err);
    check_root(&prior, 1e-5);
    CHECK_NEAR((double)prior.precision[0], 2 + scatter[0], 1e-5);
    normal_prior_set_ridge(&prior, 2, NULL);
    CHECK(!prior.has_root);
    REQUIRE_OK(normal_prior_find_root(&prior, &err), err);
    check_root(&prior, 1e-6);
    for (int i = 0; i < D; i++) scatter[i * D + i] -= 100;
    normal_prior_set_ridge(&prior, 2, scatter);
    REQUIRE_OK(normal_prior_find_root(&prior, &err), err);
    CHECK(!prior.has_root); /* not positive definite */
    normal_prior_free(&prior);
}

/* c += x y^T / DRAWS */
static void add_product(double *c, const double *x, const double *y) {
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) c[i * D + j] += x[i] * y[j] / DRAWS;
}

/* With W^-1 the posterior's scale and nu = D + N degrees of freedom the precision has mean nu W, so that its product
 * with W^-1 / nu is I, with standard errors of some sqrt(2 / nu / DRAWS) = 0.2 %; and R (mean - mean*) sqrt(beta) is
 * standard normal, its second moments sqrt(2 / DRAWS) = 1 % off. */
static void draws_have_their_moments(void) {
    const double beta0 = 2, beta = beta0 + N, nu = D + N;
    struct draws draws = {.seed = 3, .stream = philox_stream(PHILOX_TEST, 100)};
    struct normal_prior prior;
    reel_error err;
    double sum[D], scatter[D * D], scale[D * D], precision[D * D] = {0}, second[D * D] = {0}, first[D] = {0};
    REQUIRE_OK(normal_prior_new(D, STRIDE, &prior, &err), err);
    make_vectors(sum, scatter);
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++)
            scale[i * D + j] = (i == j) + scatter[i * D + j] - sum[i] * sum[j] / N + beta0 / beta * sum[i] * sum[j] / N;
    for (int n = 0; n < DRAWS; n++) {
        double z[D] = {0};
        REQUIRE_OK(normal_prior_draw(&prior, N, sum, scatter, &draws, &err), err);
        if (n < 3) check_root(&prior, 1e-5 * (double)prior.precision[0]);
        for (int i = 0; i < D * D; i++) precision[i] += prior.matrix[i] / DRAWS;
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++)
                z[i] += (double)prior.root[i * STRIDE + j] * (prior.mean[j] - sum[j] / beta) * sqrt(beta);
        add_product(second, z, z);
        for (int i = 0; i < D; i++) first[i] += z[i] / DRAWS;
    }
    for (int i = 0; i < D; i++) {
        CHECK_NEAR(first[i], 0, 0.03);
        for (int j = 0; j < D; j++) {
            double product = 0;
            for (int f = 0; f < D; f++) product += precision[i * D + f] * scale[f * D + j] / nu;
            CHECK_NEAR(product, i == j, 0.02);
            CHECK_NEAR(second[i * D + j], i == j, 0.05);
        }
    }
    normal_prior_free(&prior);
}

int main(void) {
    RUN(a_ridge_has_a_root);
    RUN(draws_have_their_moments);
    TEST_EXIT();
}
