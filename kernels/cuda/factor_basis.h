/* Vectors in the coordinates y = R x of a prior, where its precision R^T R is the identity (backend/factor_ops.h). */
#ifndef KERNELS_CUDA_FACTOR_BASIS_H
#define KERNELS_CUDA_FACTOR_BASIS_H

#include <cuda_runtime.h>
#include <string.h>

#include "core/mem.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/factor_inputs.h"

/* ---- on the host ---- */

/* What takes vectors there and back, each (d, stride) and stored transposed for change_basis, and the prior's mean. */
struct basis {
    float *columns; /* of R^-T: a column's vector, which meets x in a product */
    float *rows;    /* of R */
    float *back;    /* of R^-1 */
    float *mean;    /* (d,) R^-T shift */
};

/* Floats of all four, one after the other. */
static inline size_t basis_floats(int d, int stride) {
    return (3 * (size_t)d + 1) * (size_t)stride;
}

static inline struct basis basis_at(float *memory, int d, int stride) {
    const size_t matrix = (size_t)d * (size_t)stride;
    return {memory, memory + matrix, memory + 2 * matrix, memory + 3 * matrix};
}

/* inverse (d, d) = R^-1, row by row. */
static inline void invert_root(const float *root, int d, int stride, double *inverse) {
    memset(inverse, 0, (size_t)d * (size_t)d * sizeof *inverse);
    for (int i = 0; i < d; i++) {
        double *row = inverse + (size_t)i * d;
        for (int m = 0; m < i; m++) {
            const double value = (double)root[(size_t)i * stride + m], *above = inverse + (size_t)m * d;
            for (int j = 0; j <= m; j++) row[j] -= value * above[j];
        }
        row[i] = 1;
        for (int j = 0; j <= i; j++) row[j] /= (double)root[(size_t)i * stride + i];
    }
}

/* All of `memory`, basis_floats. `inverse` (d, d) is scratch. */
static inline void basis_fill(const struct factor_solve_args *args, int d, double *inverse, float *memory) {
    const size_t stride = (size_t)args->stride;
    const struct basis basis = basis_at(memory, d, args->stride);
    invert_root(args->prior_root, d, args->stride, inverse);
    memset(memory, 0, basis_floats(d, args->stride) * sizeof *memory);
    for (int f = 0; f < d; f++) {
        double mean = 0;
        for (int j = 0; j < d; j++) {
            basis.columns[j * stride + f] = (float)inverse[(size_t)j * d + f];
            basis.rows[j * stride + f] = args->prior_root[f * stride + j];
            basis.back[j * stride + f] = (float)inverse[(size_t)f * d + j];
            mean += inverse[(size_t)j * d + f] * (double)args->prior_shift[j];
        }
        basis.mean[f] = (float)mean;
    }
}

/* ---- on the device ---- */

enum { BASIS_ROWS = 16, BASIS_PITCH = 20 /* floats: float4s side by side, and few rows in one bank */ };

struct basis_change {
    const float *matrix; /* (d, stride): out_f = sum_j in_j matrix_jf */
    const float *in;     /* (rows, stride) */
    float *out;          /* likewise, may be `in` */
    const int32_t *rows; /* (n,) which of them; NULL: all */
    int32_t n;
    int d, stride;
    int one;   /* the element of `in` that counts as 1, whatever it is; -1: none */
    int clear; /* 1: zeros behind the d-th element */
};

/* A block BASIS_ROWS rows, a thread an element of them. */
static __global__ void change_basis(const __grid_constant__ struct basis_change p) {
    extern __shared__ float4 shared[];
    float *in = (float *)shared;
    const int first = (int)blockIdx.x * BASIS_ROWS, left = p.n - first < BASIS_ROWS ? p.n - first : BASIS_ROWS;
    for (int r = (int)threadIdx.x / 32; r < BASIS_ROWS; r += (int)blockDim.x / 32) {
        const int64_t at = r < left ? (int64_t)(p.rows ? p.rows[first + r] : first + r) * p.stride : -1;
        for (int f = (int)threadIdx.x % 32; f < p.d; f += 32)
            in[f * BASIS_PITCH + r] = at < 0 ? 0 : f == p.one ? 1 : p.in[at + f];
    }
    __syncthreads();
    const int f = (int)threadIdx.x;
    float sums[BASIS_ROWS] = {};
#pragma unroll 4
    for (int j = 0; f < p.d && j < p.d; j++) {
        const float factor = p.matrix[j * p.stride + f];
#pragma unroll
        for (int r = 0; r < BASIS_ROWS; r += 4) {
            const float4 x = shared[(j * BASIS_PITCH + r) / 4];
            sums[r] = fmaf(factor, x.x, sums[r]);
            sums[r + 1] = fmaf(factor, x.y, sums[r + 1]);
            sums[r + 2] = fmaf(factor, x.z, sums[r + 2]);
            sums[r + 3] = fmaf(factor, x.w, sums[r + 3]);
        }
    }
    if (f >= (p.clear ? p.stride : p.d)) return;
#pragma unroll
    for (int r = 0; r < BASIS_ROWS; r++)
        if (r < left) p.out[(int64_t)(p.rows ? p.rows[first + r] : first + r) * p.stride + f] = sums[r];
}

/* out = in or what change->rows lists of it, times the matrix. */
static inline reel_status basis_launch(struct cuda_backend *cuda, const struct basis_change *change,
                                       const float *matrix, float *out, reel_error *err) {
    struct basis_change p = *change;
    const unsigned threads = (unsigned)(p.stride + 31) / 32 * 32;
    if (p.n == 0) return REEL_OK;
    p.matrix = matrix;
    p.out = out;
    change_basis<<<(unsigned)((p.n + BASIS_ROWS - 1) / BASIS_ROWS), threads, (size_t)p.d * BASIS_PITCH * sizeof(float),
                   cuda->stream>>>(p);
    return cuda_launched(cuda, "change_basis", err);
}

/* Copies the matrices to working memory, in slot 3, with `more` bytes behind them. */
static inline reel_status basis_place(struct cuda_backend *cuda, const struct factor_solve_args *args, int d,
                                      size_t more, struct basis *basis, char **behind, reel_error *err) {
    const size_t bytes = basis_floats(d, args->stride) * sizeof(float);
    reel_status status = REEL_OK;
    double *inverse = NULL;
    float *filled = NULL;
    char *at;
    TRY(MEM_RAW(&inverse, (size_t)d * (size_t)d, err));
    TRY(MEM_RAW(&filled, basis_floats(d, args->stride), err));
    TRY(cuda_scratch(cuda, 3, factor_aligned(bytes) + more, (void **)&at, err));
    basis_fill(args, d, inverse, filled);
    TRY(cuda->base.ops->upload(&cuda->base, at, filled, bytes, err));
    *basis = basis_at((float *)at, d, args->stride);
    *behind = at + factor_aligned(bytes);
cleanup:
    mem_free(filled);
    mem_free(inverse);
    return status;
}

#endif
