/* eigen_symmetric on CUDA: cuSOLVER for matrices that are worth the way, LAPACK for the others.
 *
 * cuSOLVER is opened when it is first needed rather than linked: it weighs hundreds of megabytes, and a program that
 * names it would not start on a machine without it. Its four functions are declared here as cusolverDn.h (CUDA 8 to
 * 13) has them: enumerations are ints, handles are pointers, 0 means success. */
#include <dlfcn.h>
#include <stddef.h>

#include "backend/spectral_ops.h"
#include "core/error.h"
#include "core/lapack.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

/* Up to here LAPACK takes some milliseconds and so would the device; the projected problems of the eigensolver are
 * smaller still, and this way see the same bits on every backend. */
enum { LAPACK_SIZE = 256, VECTORS = 1, LOWER = 0 };

struct cusolver {
    void *library, *handle;
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, cudaStream_t stream);
    int (*room)(void *handle, int vectors, int triangle, int n, const double *a, int lda, const double *w, int *size);
    int (*solve)(void *handle, int vectors, int triangle, int n, double *a, int lda, double *w, double *work, int size,
                 int *info);
};

static void cusolver_close(struct cusolver *solver) {
    if (solver->handle) (void)solver->destroy(solver->handle);
    if (solver->library) dlclose(solver->library);
    *solver = {};
}

/* 0 where the library is not there or does not work. */
static int cusolver_open(struct cusolver *solver, cudaStream_t stream) {
    static const char *const names[] = {"libcusolver.so.12", "libcusolver.so.11", "libcusolver.so"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && !solver->library; i++)
        solver->library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!solver->library) return 0;
    *(void **)&solver->create = dlsym(solver->library, "cusolverDnCreate");
    *(void **)&solver->destroy = dlsym(solver->library, "cusolverDnDestroy");
    *(void **)&solver->set_stream = dlsym(solver->library, "cusolverDnSetStream");
    *(void **)&solver->room = dlsym(solver->library, "cusolverDnDsyevd_bufferSize");
    *(void **)&solver->solve = dlsym(solver->library, "cusolverDnDsyevd");
    if (solver->create && solver->destroy && solver->set_stream && solver->room && solver->solve &&
        solver->create(&solver->handle) == 0 && solver->set_stream(solver->handle, stream) == 0)
        return 1;
    cusolver_close(solver);
    return 0;
}

/* cuSOLVER is column-major: with both triangles filled the matrix reads the same either way, and its vectors come as
 * rows. */
static void mirror(int n, double *a) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = i + 1; j < n; j++) a[i * n + j] = a[j * n + i];
}

static void transpose(int n, double *a) {
    for (ptrdiff_t i = 0; i < n; i++)
        for (ptrdiff_t j = i + 1; j < n; j++) {
            const double upper = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = upper;
        }
}

static reel_status solve(struct cuda_backend *cuda, const struct cusolver *solver,
                         const struct eigen_symmetric_args *args, reel_error *err) {
    struct backend *backend = &cuda->base;
    const int n = args->n;
    const size_t count = (size_t)n, matrix = count * count * sizeof(double), values = count * sizeof(double);
    int size = 0, info = 0;
    double *a, *w, *work;
    int *device_info;
    TRY_RETURN(cuda_scratch(cuda, 0, matrix + values + 256, (void **)&a, err));
    w = a + count * count;
    device_info = (int *)(w + count);
    TRY_RETURN(backend->ops->upload(backend, a, args->a, matrix, err));
    if (solver->room(solver->handle, VECTORS, LOWER, n, a, n, w, &size) != 0)
        return error_set(err, REEL_DEVICE, "cuda:%d: cuSOLVER refused a matrix of size %d", cuda->device, n);
    TRY_RETURN(cuda_scratch(cuda, 1, (size_t)size * sizeof(double), (void **)&work, err));
    if (solver->solve(solver->handle, VECTORS, LOWER, n, a, n, w, work, size, device_info) != 0)
        return error_set(err, REEL_DEVICE, "cuda:%d: cuSOLVER failed on a matrix of size %d", cuda->device, n);
    TRY_RETURN(backend->ops->download(backend, &info, device_info, sizeof info, err));
    if (info != 0) return error_set(err, REEL_NUMERIC, "the eigenvalues of a matrix of size %d did not converge", n);
    TRY_RETURN(backend->ops->download(backend, args->values, w, values, err));
    return backend->ops->download(backend, args->a, a, matrix, err);
}

reel_status cuda_eigen_symmetric(struct backend *backend, const struct eigen_symmetric_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct cusolver solver = {};
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n <= LAPACK_SIZE || !cusolver_open(&solver, cuda->stream))
        return lapack_eigen_symmetric(args->n, args->a, args->values, err);
    mirror(args->n, args->a);
    reel_status status = solve(cuda, &solver, args, err);
    if (status == REEL_OK) transpose(args->n, args->a);
    cusolver_close(&solver);
    return status;
}
