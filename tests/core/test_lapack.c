/* Eigenvalues and singular values of matrices made of known ones, sizes 0, 1, odd and larger. */
#include "core/lapack.h"

#include "core/mem.h"
#include "kernels/common/normal.h"
#include "test.h"

enum { LARGEST = 130 };
static const int sizes[] = {0, 1, 2, 7, 64, LARGEST};
static double a[LARGEST * LARGEST], saved[LARGEST * LARGEST], u[LARGEST * LARGEST], vt[LARGEST * LARGEST];
static double values[LARGEST];

static void fill(int n) {
    for (int i = 0; i < n * n; i += 4) {
        float z[4];
        philox_normals(3, philox_stream(PHILOX_TEST, (uint32_t)n), (uint64_t)i / 4, z);
        for (int l = 0; l < 4 && i + l < n * n; l++) a[i + l] = (double)z[l];
    }
}

/* Errors of a backward stable method are some n * 2^-53 times the norm, which is about 2 sqrt(n) <= 23 here:
 * 130 * 1.1e-16 * 23 = 3e-13, and a constant of a few. */
static const double tolerance = 3e-12;

static void eigenvectors_give_the_matrix_back(void) {
    reel_error err;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int n = sizes[s];
        fill(n);
        for (int i = 0; i < n; i++)
            for (int j = 0; j <= i; j++) saved[i * n + j] = saved[j * n + i] = a[i * n + j];
        REQUIRE_OK(lapack_eigen_symmetric(n, a, values, &err), err);
        double worst = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int f = 0; f < n; f++) sum += a[i * n + f] * values[f] * a[j * n + f];
                worst = fmax(worst, fabs(sum - saved[i * n + j]));
            }
        CHECK_NEAR(worst, 0, tolerance);
        for (int f = 1; f < n; f++) CHECK(values[f - 1] <= values[f]);
    }
}

static void singular_vectors_give_the_matrix_back(void) {
    reel_error err;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int n = sizes[s];
        fill(n);
        memcpy(saved, a, sizeof a);
        REQUIRE_OK(lapack_svd(n, a, u, values, vt, &err), err);
        double worst = 0, away = 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double sum = 0, scalar = 0;
                for (int f = 0; f < n; f++) sum += u[i * n + f] * values[f] * vt[f * n + j];
                for (int f = 0; f < n; f++) scalar += u[f * n + i] * u[f * n + j];
                worst = fmax(worst, fabs(sum - saved[i * n + j]));
                away = fmax(away, fabs(scalar - (i == j)));
            }
        CHECK_NEAR(worst, 0, tolerance);
        CHECK_NEAR(away, 0, tolerance);
        for (int f = 1; f < n; f++) CHECK(values[f - 1] >= values[f] && values[f] >= 0);
    }
}

static void not_a_number_is_an_error_or_stays_one(void) {
    reel_error err;
    fill(7);
    for (int i = 0; i < 49; i++) a[i] = NAN;
    reel_status status = lapack_eigen_symmetric(7, a, values, &err);
    CHECK(status == REEL_NUMERIC || isnan(values[0]));
}

int main(void) {
    RUN(eigenvectors_give_the_matrix_back);
    RUN(singular_vectors_give_the_matrix_back);
    RUN(not_a_number_is_an_error_or_stays_one);
    TEST_EXIT();
}
