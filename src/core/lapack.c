#include "core/lapack.h"

#include <stddef.h>

#include "core/error.h"
#include "core/mem.h"

/* Fortran passes the lengths of its character arguments behind all others. */
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
             const int *lwork, int *iwork, const int *liwork, int *info, size_t jobz_length, size_t uplo_length);
void dgesvd_(const char *jobu, const char *jobvt, const int *m, const int *n, double *a, const int *lda, double *s,
             double *u, const int *ldu, double *vt, const int *ldvt, double *work, const int *lwork, int *info,
             size_t jobu_length, size_t jobvt_length);

/* LAPACK is column-major: with both triangles filled a symmetric matrix reads the same either way. */
static void mirror(int n, double *a) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = i + 1; j < n; j++) a[i * n + j] = a[j * n + i];
}

static void transpose(int n, double *a) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = i + 1; j < n; j++) {
            double upper = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = upper;
        }
}

/* OpenBLAS's own threads cost more than they save on matrices of this size, and would make the bits depend on the
 * machine's core count. Other LAPACK libraries lack the function. */
extern void openblas_set_num_threads(int threads) __attribute__((weak));

static void keep_to_one_thread(void) {
    if (openblas_set_num_threads) openblas_set_num_threads(1);
}

reel_status lapack_eigen_symmetric(int n, double *a, double *values, reel_error *err) {
    keep_to_one_thread();
    reel_status status = REEL_OK;
    double *work = NULL, work_size;
    int *integers = NULL, integers_size, ask = -1, info = 0;
    if (n == 0) return REEL_OK;
    mirror(n, a);
    dsyevd_("V", "L", &n, a, &n, values, &work_size, &ask, &integers_size, &ask, &info, 1, 1);
    int size = (int)work_size;
    TRY(MEM_RAW(&work, size, err));
    TRY(MEM_RAW(&integers, integers_size, err));
    dsyevd_("V", "L", &n, a, &n, values, work, &size, integers, &integers_size, &info, 1, 1);
    if (info != 0)
        status = error_set(err, REEL_NUMERIC, "the eigenvalues of a matrix of size %d did not converge", n);
    else
        transpose(n, a);
cleanup:
    mem_free(work);
    mem_free(integers);
    return status;
}

/* Column-major LAPACK sees a^T = v sigma u^T: its first factor, read by rows, is vt, and its second one u. */
reel_status lapack_svd(int n, double *a, double *u, double *sigma, double *vt, reel_error *err) {
    keep_to_one_thread();
    reel_status status = REEL_OK;
    double *work = NULL, work_size;
    int ask = -1, info = 0;
    if (n == 0) return REEL_OK;
    dgesvd_("A", "A", &n, &n, a, &n, sigma, vt, &n, u, &n, &work_size, &ask, &info, 1, 1);
    int size = (int)work_size;
    TRY(MEM_RAW(&work, size, err));
    dgesvd_("A", "A", &n, &n, a, &n, sigma, vt, &n, u, &n, work, &size, &info, 1, 1);
    if (info != 0)
        status = error_set(err, REEL_NUMERIC, "the singular values of a matrix of size %d did not converge", n);
cleanup:
    mem_free(work);
    return status;
}
