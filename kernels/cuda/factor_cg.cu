/* factor_cg on CUDA: a team of warps a row, one for few ratings and sixteen for many. Lane l holds elements l, l + 32,
 * ... of the row's vectors in registers; the matrix is never formed. The warps of a team take four ratings in turn and
 * add their sums up in order, so that the bits do not depend on the grid. */
#include <limits.h>

#include "core/error.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/factor_inputs.h"

enum {
    BATCH = 4,      /* ratings that a warp takes at a time */
    TEAM = 16,      /* warps of a long row */
    LONG_ROW = 512, /* ratings from which a row is long */
    LONG_BLOCKS = 1024
};

/* What the device tells the host. */
struct cg_report {
    int n_long;
    int failed_row; /* the lowest, INT_MAX = none */
};

struct cg_params {
    struct factor_solve_args args; /* with the prior on the device */
    int solved;
    int diagonal;       /* the prior's precision has nothing off its diagonal */
    int32_t *long_rows; /* in any order */
    struct cg_report *report;
};

static __global__ void find_long_rows(const __grid_constant__ struct cg_params p) {
    const int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= p.args.n_rows || p.args.offsets[row + 1] - p.args.offsets[row] < LONG_ROW) return;
    p.long_rows[atomicAdd(&p.report->n_long, 1)] = (int32_t)row;
}

/* ---- vectors over a warp ---- */

/* Lane 8 b gets the sum of dots[b] over the warp, and so do the seven lanes behind it. */
static __device__ __forceinline__ float sum_batch(const float (&dots)[BATCH]) {
    const int lane = (int)threadIdx.x % 32, upper = lane & 16, odd = lane & 8;
    float pair[2];
#pragma unroll
    for (int b = 0; b < 2; b++)
        pair[b] = (upper ? dots[b + 2] : dots[b]) + __shfl_xor_sync(0xffffffffu, upper ? dots[b] : dots[b + 2], 16);
    float sum = (odd ? pair[1] : pair[0]) + __shfl_xor_sync(0xffffffffu, odd ? pair[0] : pair[1], 8);
    for (int half = 4; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
    return sum;
}

template <int EACH> static __device__ __forceinline__ float dot(const float (&a)[EACH], const float (&b)[EACH]) {
    float sum = 0;
#pragma unroll
    for (int e = 0; e < EACH; e++) sum = fmaf(a[e], b[e], sum);
    for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
    return sum;
}

/* ---- the matrix ---- */

/* x_c = (factors, 1), this lane's elements. */
template <int EACH>
static __device__ __forceinline__ void load_column(const struct cg_params &p, int64_t rating, float (&x)[EACH]) {
    const float *column = p.args.column_vectors + (int64_t)p.args.columns[rating] * p.args.stride;
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int f = e * 32 + (int)threadIdx.x % 32;
        x[e] = f < p.args.k ? column[f] : f < p.solved ? 1 : 0;
    }
}

/* The factor of one rating's x_c in the sum: w <x_c, v>, or w (target - <x_c, v>). */
static __device__ __forceinline__ float rating_factor(const struct cg_params &p, int64_t rating, int targets,
                                                      float product) {
    const int value = p.args.ratings[rating];
    const float weight = p.args.weight[value] * p.args.weight[value];
    if (!targets) return weight * product;
    float target =
        p.args.value[value] - p.args.column_vectors[(int64_t)p.args.columns[rating] * p.args.stride + p.args.k];
    if (p.args.residual) target -= p.args.residual[rating];
    return weight * (target - product);
}

/* sum = this warp's share of the sum over a row's ratings. */
template <int EACH, int WARPS>
static __device__ __forceinline__ void sum_ratings(const struct cg_params &p, int32_t row, int targets,
                                                   const float (&v)[EACH], float (&sum)[EACH]) {
    const int64_t end = p.args.offsets[row + 1];
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int e = 0; e < EACH; e++) sum[e] = 0;
    for (int64_t at = p.args.offsets[row] + (int)threadIdx.x / 32 * BATCH; at < end; at += WARPS * BATCH) {
        float x[BATCH][EACH], dots[BATCH] = {};
#pragma unroll
        for (int b = 0; b < BATCH; b++) load_column<EACH>(p, at + b < end ? at + b : end - 1, x[b]);
#pragma unroll
        for (int e = 0; e < EACH; e++)
#pragma unroll
            for (int b = 0; b < BATCH; b++) dots[b] = fmaf(x[b][e], v[e], dots[b]);
        const int64_t own = at + lane / 8;
        const float product = sum_batch(dots), factor = own < end ? rating_factor(p, own, targets, product) : 0;
#pragma unroll
        for (int b = 0; b < BATCH; b++) {
            const float scale = __shfl_sync(0xffffffffu, factor, 8 * b);
#pragma unroll
            for (int e = 0; e < EACH; e++) sum[e] = fmaf(scale, x[b][e], sum[e]);
        }
    }
}

/* sum += sign * this warp's share of (prior + ridge) v; `whole` holds all of v. */
template <int EACH, int WARPS>
static __device__ __forceinline__ void add_prior(const struct cg_params &p, float ridge, float sign,
                                                 const float (&v)[EACH], const float *whole, float (&sum)[EACH]) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int f = e * 32 + lane;
        if (warp != 0 || f >= p.solved) continue;
        const float own = p.diagonal ? p.args.prior_precision[(int64_t)f * p.args.stride + f] + ridge : ridge;
        sum[e] = fmaf(sign * own, v[e], sum[e]);
    }
    if (p.diagonal) return;
    for (int j = warp; j < p.solved; j += WARPS) {
        const float *row = p.args.prior_precision + (int64_t)j * p.args.stride, scale = sign * whole[j];
#pragma unroll
        for (int e = 0; e < EACH; e++)
            if (e * 32 + lane < p.solved) sum[e] = fmaf(scale, row[e * 32 + lane], sum[e]);
    }
}

/* product = A v, or with `targets` b - A v but for the prior's shift; the same on every warp of the team. */
template <int EACH, int WARPS>
static __device__ __forceinline__ void apply(const struct cg_params &p, int32_t row, int targets,
                                             const float (&v)[EACH], float (&product)[EACH]) {
    __shared__ float whole[EACH * 32], parts[WARPS][EACH * 32];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const float ridge = p.args.ridge_per_rating * (float)(p.args.offsets[row + 1] - p.args.offsets[row]);
    sum_ratings<EACH, WARPS>(p, row, targets, v, product);
    __syncthreads(); /* nobody reads the last call's any more */
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        product[e] *= p.args.alpha;
        if (warp == 0) whole[e * 32 + lane] = v[e];
    }
    __syncthreads();
    add_prior<EACH, WARPS>(p, ridge, targets ? -1.0f : 1.0f, v, whole, product);
#pragma unroll
    for (int e = 0; e < EACH; e++) parts[warp][e * 32 + lane] = product[e];
    __syncthreads();
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        product[e] = 0;
        for (int w = 0; w < WARPS; w++) product[e] += parts[w][e * 32 + lane];
    }
}

/* ---- one row ---- */

/* x comes closer to the solution. 0 when the matrix is not positive definite. */
template <int EACH, int WARPS>
static __device__ __forceinline__ int descend(const struct cg_params &p, int32_t row, float (&x)[EACH]) {
    float residual[EACH], direction[EACH], product[EACH];
    apply<EACH, WARPS>(p, row, 1, x, residual);
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int f = e * 32 + (int)threadIdx.x % 32;
        if (f < p.solved) residual[e] += p.args.prior_shift[f];
        direction[e] = residual[e];
    }
    float squares = dot<EACH>(residual, residual);
    const float enough = fmaxf(1e-14f * squares, 1e-30f); /* past it there is only rounding */
    for (int step = 0; step < p.args.cg_steps && squares > enough; step++) {
        apply<EACH, WARPS>(p, row, 0, direction, product);
        const float length = squares / dot<EACH>(direction, product);
        if (!(length > 0) || !isfinite(length)) return 0;
#pragma unroll
        for (int e = 0; e < EACH; e++) {
            x[e] = fmaf(length, direction[e], x[e]);
            residual[e] = fmaf(-length, product[e], residual[e]);
        }
        const float next = dot<EACH>(residual, residual), share = next / squares;
#pragma unroll
        for (int e = 0; e < EACH; e++) direction[e] = fmaf(share, direction[e], residual[e]);
        squares = next;
    }
    return isfinite(squares);
}

template <int EACH, int WARPS>
static __device__ __forceinline__ void solve_row(const struct cg_params &p, int32_t row) {
    float *out = p.args.row_vectors + (int64_t)row * p.args.stride, x[EACH];
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int e = 0; e < EACH; e++) x[e] = e * 32 + lane < p.solved ? out[e * 32 + lane] : 0;
    const int good = descend<EACH, WARPS>(p, row, x);
    if (threadIdx.x >= 32) return;
    if (!good && lane == 0) atomicMin(&p.report->failed_row, row);
#pragma unroll
    for (int e = 0; e < EACH; e++)
        if (good && e * 32 + lane < p.solved) out[e * 32 + lane] = x[e];
}

/* ---- kernels ---- */

template <int EACH>
static __global__ void __launch_bounds__(TEAM * 32) long_rows_kernel(const __grid_constant__ struct cg_params p) {
    for (int i = (int)blockIdx.x; i < p.report->n_long; i += (int)gridDim.x) {
        solve_row<EACH, TEAM>(p, p.long_rows[i]);
        __syncthreads();
    }
}

template <int EACH>
static __global__ void __launch_bounds__(32, EACH > 5 ? 16 : 24)
    short_rows_kernel(const __grid_constant__ struct cg_params p) {
    const int32_t row = (int32_t)blockIdx.x;
    if (p.args.offsets[row + 1] - p.args.offsets[row] < LONG_ROW) solve_row<EACH, 1>(p, row);
}

template <int EACH>
static reel_status solve_rows(struct cuda_backend *cuda, const struct cg_params *p, reel_error *err) {
    find_long_rows<<<(unsigned)(((int64_t)p->args.n_rows + 255) / 256), 256, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "find_long_rows", err));
    const int blocks = p->args.n_rows < LONG_BLOCKS ? p->args.n_rows : LONG_BLOCKS;
    long_rows_kernel<EACH><<<(unsigned)blocks, TEAM * 32, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "long_rows_kernel", err));
    short_rows_kernel<EACH><<<(unsigned)p->args.n_rows, 32, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "short_rows_kernel", err);
}

/* ---- the operator ---- */

static int is_diagonal(const struct factor_solve_args *args, int solved) {
    for (int i = 0; i < solved; i++)
        for (int j = 0; j < solved; j++)
            if (i != j && args->prior_precision[(int64_t)i * args->stride + j] != 0) return 0;
    return 1;
}

static reel_status solve_all(struct cuda_backend *cuda, const struct cg_params *p, reel_error *err) {
    if (p->solved <= 32) return solve_rows<1>(cuda, p, err);
    if (p->solved <= 96) return solve_rows<3>(cuda, p, err);
    if (p->solved <= 160) return solve_rows<5>(cuda, p, err);
    return solve_rows<9>(cuda, p, err);
}

reel_status cuda_factor_cg(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct cg_params p = {.args = *args, .solved = args->k + (args->biases ? 1 : 0)};
    struct cg_report report = {.failed_row = INT_MAX};
    struct factor_inputs inputs;
    if (args->noise || args->row_offsets || args->cg_steps < 1)
        return error_set(err, REEL_INTERNAL, "factor_cg: noise, row offsets and %d steps are not for it",
                         args->cg_steps);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0) return REEL_OK;
    TRY_RETURN(factor_inputs_place(cuda, args, &report, sizeof report, sizeof *p.long_rows, &inputs, err));
    p.args.prior_precision = inputs.prior_precision;
    p.args.prior_shift = inputs.prior_shift;
    p.diagonal = is_diagonal(args, p.solved);
    p.long_rows = (int32_t *)inputs.list;
    p.report = (struct cg_report *)inputs.report;
    TRY_RETURN(solve_all(cuda, &p, err));
    TRY_RETURN(backend->ops->download(backend, &report, p.report, sizeof report, err));
    if (report.failed_row == INT_MAX) return REEL_OK;
    return error_set(err, REEL_NUMERIC, "row %d: conjugate gradients met a matrix that is not positive definite",
                     args->first_row + report.failed_row);
}
