/* factor_solve on CUDA: a thread block a row. The ratings' vectors are staged in shared memory a panel at a time, the
 * normal equations are added up in register tiles and factored where they are; only finished rows of the Cholesky
 * factor go to shared memory. Long rows are cut as on the CPU, their chunks' sums added in the same order. */
#include <limits.h>

#include "backend/factor_ops.h"
#include "core/error.h"
#include "kernels/common/normal.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/gram_tile.h"

/* A row of more than FACTOR_CHUNK ratings: its chunks' sums start at `first`. */
struct long_row {
    int64_t first;
    int32_t row;
};

struct row_chunk {
    int32_t row, chunk;
};

/* What the device tells the host. */
struct solve_report {
    unsigned long long n_chunks;
    int n_long;
    int failed_row; /* the lowest, INT_MAX = none */
};

struct solve_params {
    int k, solved, dim, stride, biases; /* solved = d, dim = d + 1 */
    int width, pitch;                   /* floats of a panel row, and of a row of the factor */
    const int64_t *offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    const float *residual, *column_vectors, *row_offsets;
    float value[FACTOR_VALUES], weight[FACTOR_VALUES];
    float alpha, ridge_per_rating;
    const float *prior_precision, *prior_shift; /* (dev) */
    int noise;
    int32_t first_row;
    uint64_t seed, stream;
    float *row_vectors;
    float *partial; /* tiles of the chunks */
    const struct long_row *long_rows;
    const struct row_chunk *chunks;
    struct solve_report *report;
};

/* ---- long rows ---- */

/* Lists the long rows. Their order varies from run to run, what is computed for each does not. */
static __global__ void find_long_rows(const int64_t *offsets, int32_t n_rows, struct long_row *out,
                                      struct solve_report *report) {
    int64_t row = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= n_rows) return;
    int64_t n = offsets[row + 1] - offsets[row];
    if (n <= FACTOR_CHUNK) return;
    int64_t first = (int64_t)atomicAdd(&report->n_chunks, (unsigned long long)((n + FACTOR_CHUNK - 1) / FACTOR_CHUNK));
    out[atomicAdd(&report->n_long, 1)] = {first, (int32_t)row};
}

static __global__ void cut_long_rows(const int64_t *offsets, const struct long_row *long_rows,
                                     struct row_chunk *chunks) {
    struct long_row row = long_rows[blockIdx.x];
    int64_t n = offsets[row.row + 1] - offsets[row.row];
    for (int64_t chunk = threadIdx.x; chunk * FACTOR_CHUNK < n; chunk += blockDim.x)
        chunks[row.first + chunk] = {row.row, (int32_t)chunk};
}

/* ---- the normal equations ---- */

/* <x, the row's fixed part> of one rating, on every lane of the warp. */
static __device__ float offset_product(const struct solve_params &p, const float *column, const float *offset) {
    float sum = 0;
    for (int f = (int)threadIdx.x % 32; f < p.solved; f += 32) sum = fmaf(f < p.k ? column[f] : 1, offset[f], sum);
    for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
    return sum;
}

/* Packs the ratings begin .. begin + n - 1 as rows (x, t) times their weight, a warp a rating. */
template <int TILE>
static __device__ void pack_panel(const struct solve_params &p, const float *offset, int64_t begin, int n,
                                  float *panel) {
    const int lane = (int)threadIdx.x % 32;
    for (int q = (int)threadIdx.x / 32; q < n; q += (int)blockDim.x / 32) {
        const float *column = p.column_vectors + (int64_t)p.columns[begin + q] * p.stride;
        const int rating = p.ratings[begin + q];
        float target = p.value[rating] - column[p.k];
        if (p.residual) target -= p.residual[begin + q];
        if (offset) target -= offset_product(p, column, offset);
        const float weight = p.weight[rating];
        for (int f = lane; f < p.width; f += 32) {
            float x = 0;
            if (f == p.solved)
                x = target;
            else if (f < p.k)
                x = column[f];
            else if (f < p.solved)
                x = 1;
            panel[q * p.width + gram_position<TILE>(f, p.width)] = x * weight;
        }
    }
}

/* sums = the tile's part of the normal equations of the ratings begin .. end - 1. Two panels in `shared`: one is
 * filled while the other is added up. Ends with a barrier. */
template <int TILE>
static __device__ __forceinline__ void add_ratings(const struct solve_params &p, int32_t row, int64_t begin,
                                                   int64_t end, struct gram_tile tile, float *shared,
                                                   float (&sums)[TILE][TILE]) {
    const float *offset = p.row_offsets ? p.row_offsets + (int64_t)row * p.stride : NULL;
    const int panel_size = GRAM_PANEL * p.width;
    int n = end - begin < GRAM_PANEL ? (int)(end - begin) : GRAM_PANEL, turn = 0;
#pragma unroll
    for (int e = 0; e < TILE * TILE; e++) sums[e / TILE][e % TILE] = 0;
    pack_panel<TILE>(p, offset, begin, n, shared);
    __syncthreads();
    for (; n > 0; turn ^= 1) {
        int64_t next = begin + n;
        int n_next = end - next < GRAM_PANEL ? (int)(end - next) : GRAM_PANEL;
        pack_panel<TILE>(p, offset, next, n_next, shared + (turn ^ 1) * panel_size);
        gram_add<TILE>(sums, shared + turn * panel_size, n, p.width, tile);
        __syncthreads();
        begin = next;
        n = n_next;
    }
}

/* The chunk sums of a long row, added in order. */
template <int TILE>
static __device__ __forceinline__ void add_chunks(const struct solve_params &p, int64_t first, int64_t n_chunks,
                                                  float (&sums)[TILE][TILE]) {
#pragma unroll
    for (int e = 0; e < TILE * TILE; e++) sums[e / TILE][e % TILE] = p.partial[gram_stored<TILE>(first, e)];
    for (int64_t chunk = first + 1; chunk < first + n_chunks; chunk++)
#pragma unroll
        for (int e = 0; e < TILE * TILE; e++) sums[e / TILE][e % TILE] += p.partial[gram_stored<TILE>(chunk, e)];
}

template <int TILE>
static __device__ __forceinline__ void add_prior(const struct solve_params &p, int64_t n, struct gram_tile tile,
                                                 float (&sums)[TILE][TILE]) {
    const float ridge = p.ridge_per_rating * (float)n;
#pragma unroll
    for (int r = 0; r < TILE; r++)
#pragma unroll
        for (int c = 0; c < TILE; c++) {
            const int i = tile.i * TILE + r, j = tile.j * TILE + c;
            if (i >= p.solved || j > p.solved) continue;
            float prior = j == p.solved ? p.prior_shift[i] : p.prior_precision[i * p.stride + j];
            sums[r][c] = p.alpha * sums[r][c] + prior;
            if (i == j) sums[r][c] += ridge;
        }
}

/* ---- the solution ---- */

/* Cholesky by rows, outer products applied as the rows are done: each element sees the multiply-adds of the CPU in the
 * same order. Row j goes to factor[j] as it was before its division by the root of the pivot; inverse[j] = 1 / root.
 * Elements left of the diagonal in its tile mean nothing. 0 when a pivot is not positive and finite. */
template <int TILE>
static __device__ __forceinline__ int cholesky(const struct solve_params &p, struct gram_tile tile,
                                               float (&sums)[TILE][TILE], float *factor, float *inverse) {
    for (int block = 0; block * TILE < p.solved; block++) {
#pragma unroll
        for (int l = 0; l < TILE; l++) {
            const int j = block * TILE + l;
            if (j >= p.solved) break;
            float *row = factor + j * p.pitch;
            if (tile.active && tile.i == block)
#pragma unroll
                for (int q = 0; q < TILE / 4; q++)
                    *(float4 *)(row + q * (p.width / TILE * 4) + tile.j * 4) =
                        make_float4(sums[l][4 * q], sums[l][4 * q + 1], sums[l][4 * q + 2], sums[l][4 * q + 3]);
            __syncthreads();
            const float pivot = row[gram_position<TILE>(j, p.width)];
            if (!(pivot > 0) || !isfinite(pivot)) return 0;
            const float scale = 1.0f / sqrtf(pivot);
            if (threadIdx.x == 0) inverse[j] = scale;
            if (tile.i < block) continue;
            float a[TILE], b[TILE];
            gram_load<TILE>(row, p.width, tile.i, a);
            gram_load<TILE>(row, p.width, tile.j, b);
#pragma unroll
            for (int r = 0; r < TILE; r++) {
                a[r] *= scale;
                b[r] *= scale;
            }
#pragma unroll
            for (int r = 0; r < TILE; r++)
#pragma unroll
                for (int c = 0; c < TILE; c++) sums[r][c] = fmaf(-a[r], b[c], sums[r][c]);
        }
    }
    return 1;
}

/* U x = right side (+ noise) by one warp, a column of U at a time; lane l holds elements l, l + 32, ... Writes the
 * row's vector; 0 when an element is not finite. */
template <int TILE>
static __device__ __forceinline__ int back_substitute(const struct solve_params &p, int32_t row, const float *factor,
                                                      const float *inverse, const float *normal) {
    enum { EACH = TILE == 8 ? (GRAM_DIM_MAX + 31) / 32 : (GRAM_SMALL_DIM + 31) / 32 };
    const int lane = (int)threadIdx.x, target = gram_position<TILE>(p.solved, p.width);
    float x[EACH], diagonal[EACH], scale[EACH];
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int f = e * 32 + lane;
        x[e] = 0;
        diagonal[e] = scale[e] = 1;
        if (f >= p.solved) continue;
        const float *u = factor + f * p.pitch;
        scale[e] = inverse[f];
        diagonal[e] = u[gram_position<TILE>(f, p.width)] * scale[e];
        x[e] = u[target] * scale[e];
        if (p.noise) x[e] += normal[f];
    }
#pragma unroll
    for (int e = EACH - 1; e >= 0; e--)
        for (int l = 31; l >= 0; l--) {
            const int i = e * 32 + l;
            if (i >= p.solved) continue;
            const float solved = __shfl_sync(0xffffffffu, x[e] / diagonal[e], l);
            if (!isfinite(solved)) return 0;
            if (lane == l) x[e] = solved;
            const int at = gram_position<TILE>(i, p.width);
#pragma unroll
            for (int g = 0; g <= e; g++)
                if (g * 32 + lane < i) x[g] = fmaf(-(factor[(g * 32 + lane) * p.pitch + at] * scale[g]), solved, x[g]);
        }
    float *out = p.row_vectors + (int64_t)row * p.stride;
#pragma unroll
    for (int e = 0; e < EACH; e++)
        if (e * 32 + lane < p.solved) out[e * 32 + lane] = x[e];
    for (int f = p.solved + lane; f < p.stride; f += 32)
        if (p.biases || f != p.k) out[f] = 0;
    return 1;
}

template <int TILE>
static __device__ __forceinline__ void solve_row(const struct solve_params &p, int32_t row, struct gram_tile tile,
                                                 float (&sums)[TILE][TILE], float *factor) {
    __shared__ float inverse[GRAM_DIM_MAX + 2], normal[GRAM_DIM_MAX + 2];
    add_prior<TILE>(p, p.offsets[row + 1] - p.offsets[row], tile, sums);
    if (p.noise)
        for (int f = 4 * (int)threadIdx.x; f < p.solved; f += 4 * (int)blockDim.x) {
            float z[4];
            philox_normals(p.seed, p.stream, (uint64_t)(p.first_row + row) * 128 + (uint64_t)f / 4, z);
            for (int l = 0; l < 4 && f + l < p.solved; l++) normal[f + l] = z[l];
        }
    int good = cholesky<TILE>(p, tile, sums, factor, inverse);
    __syncthreads();
    if (threadIdx.x >= 32) return;
    if (good) good = back_substitute<TILE>(p, row, factor, inverse, normal);
    if (!good && threadIdx.x == 0) atomicMin(&p.report->failed_row, row);
}

/* ---- kernels ---- */

enum { SMALL_THREADS = 192, LARGE_THREADS = 160 };

/* The sums of one chunk of a long row. */
template <int TILE>
static __global__ void __launch_bounds__(TILE == 8 ? LARGE_THREADS : SMALL_THREADS)
    chunk_kernel(const __grid_constant__ struct solve_params p) {
    extern __shared__ float4 shared[];
    const struct gram_tile tile = gram_tile_of_thread(p.width / TILE);
    const struct row_chunk chunk = p.chunks[blockIdx.x];
    const int64_t begin = p.offsets[chunk.row] + (int64_t)chunk.chunk * FACTOR_CHUNK;
    const int64_t last = p.offsets[chunk.row + 1], end = begin + FACTOR_CHUNK < last ? begin + FACTOR_CHUNK : last;
    float sums[TILE][TILE];
    add_ratings<TILE>(p, chunk.row, begin, end, tile, (float *)shared, sums);
    gram_store<TILE>(sums, p.partial, blockIdx.x);
}

/* One row: of `long_rows` if that is not NULL, else row blockIdx.x unless it is long. Three blocks a processor: 136
 * registers a thread hold the tile, and at k = 128 72 KiB of shared memory hold the factor. */
template <int TILE>
static __global__ void __launch_bounds__(TILE == 8 ? LARGE_THREADS : SMALL_THREADS, 3)
    row_kernel(const __grid_constant__ struct solve_params p) {
    extern __shared__ float4 shared[];
    const struct gram_tile tile = gram_tile_of_thread(p.width / TILE);
    float sums[TILE][TILE];
    int32_t row = (int32_t)blockIdx.x;
    if (p.long_rows) {
        row = p.long_rows[blockIdx.x].row;
        int64_t n = p.offsets[row + 1] - p.offsets[row];
        add_chunks<TILE>(p, p.long_rows[blockIdx.x].first, (n + FACTOR_CHUNK - 1) / FACTOR_CHUNK, sums);
    } else {
        if (p.offsets[row + 1] - p.offsets[row] > FACTOR_CHUNK) return;
        add_ratings<TILE>(p, row, p.offsets[row], p.offsets[row + 1], tile, (float *)shared, sums);
    }
    solve_row<TILE>(p, row, tile, sums, (float *)shared);
}

/* ---- the operator ---- */

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* Working memory of known size: the report, the prior and the list of long rows. Fills in what p keeps there. */
static reel_status place_inputs(struct cuda_backend *cuda, const struct factor_solve_args *args, struct solve_params *p,
                                struct long_row **long_rows, reel_error *err) {
    const size_t report = aligned(sizeof *p->report);
    const size_t precision = aligned((size_t)p->solved * (size_t)p->stride * sizeof(float));
    const size_t shift = aligned((size_t)p->solved * sizeof(float));
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 0, report + precision + shift + (size_t)args->n_rows * sizeof **long_rows,
                            (void **)&at, err));
    p->report = (struct solve_report *)at;
    p->prior_precision = (const float *)(at + report);
    p->prior_shift = (const float *)(at + report + precision);
    *long_rows = (struct long_row *)(at + report + precision + shift);
    struct backend *backend = &cuda->base;
    const struct solve_report none = {.failed_row = INT_MAX};
    TRY_RETURN(backend->ops->upload(backend, p->report, &none, sizeof none, err));
    TRY_RETURN(backend->ops->upload(backend, at + report, args->prior_precision,
                                    (size_t)p->solved * (size_t)p->stride * sizeof(float), err));
    return backend->ops->upload(backend, at + report + precision, args->prior_shift, (size_t)p->solved * sizeof(float),
                                err);
}

static size_t shared_bytes(const struct solve_params *p) {
    size_t panels = (size_t)2 * GRAM_PANEL * (size_t)p->width, factor = (size_t)p->solved * (size_t)p->pitch;
    return (panels > factor ? panels : factor) * sizeof(float);
}

template <int TILE> static reel_status allow_shared(struct cuda_backend *cuda, size_t bytes, reel_error *err) {
    TRY_RETURN(cuda_status(
        cuda, cudaFuncSetAttribute(chunk_kernel<TILE>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
        "shared memory of factor_solve", err));
    return cuda_status(cuda,
                       cudaFuncSetAttribute(row_kernel<TILE>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                       "shared memory of factor_solve", err);
}

/* Chunks of the long rows first: they take longest. p->long_rows is set for the last launch. */
template <int TILE>
static reel_status solve_long_rows(struct cuda_backend *cuda, struct solve_params *p, const struct long_row *long_rows,
                                   const struct solve_report *found, reel_error *err) {
    const int threads = gram_threads(p->dim, TILE);
    const size_t lists = aligned(found->n_chunks * sizeof(struct row_chunk));
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 1, lists + found->n_chunks * TILE * TILE * (size_t)threads * sizeof(float),
                            (void **)&at, err));
    p->chunks = (const struct row_chunk *)at;
    p->partial = (float *)(at + lists);
    cut_long_rows<<<(unsigned)found->n_long, 32, 0, cuda->stream>>>(p->offsets, long_rows, (struct row_chunk *)at);
    TRY_RETURN(cuda_launched(cuda, "cut_long_rows", err));
    chunk_kernel<TILE><<<(unsigned)found->n_chunks, (unsigned)threads, shared_bytes(p), cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "chunk_kernel", err));
    p->long_rows = long_rows;
    row_kernel<TILE><<<(unsigned)found->n_long, (unsigned)threads, shared_bytes(p), cuda->stream>>>(*p);
    p->long_rows = NULL;
    return cuda_launched(cuda, "row_kernel of long rows", err);
}

template <int TILE>
static reel_status solve_all(struct cuda_backend *cuda, struct solve_params *p, int32_t n_rows,
                             struct long_row *long_rows, reel_error *err) {
    struct solve_report found;
    find_long_rows<<<(unsigned)(((int64_t)n_rows + 255) / 256), 256, 0, cuda->stream>>>(p->offsets, n_rows, long_rows,
                                                                                        p->report);
    TRY_RETURN(cuda_launched(cuda, "find_long_rows", err));
    TRY_RETURN(cuda->base.ops->download(&cuda->base, &found, p->report, sizeof found, err));
    TRY_RETURN(allow_shared<TILE>(cuda, shared_bytes(p), err));
    if (found.n_long > 0) TRY_RETURN(solve_long_rows<TILE>(cuda, p, long_rows, &found, err));
    row_kernel<TILE><<<(unsigned)n_rows, (unsigned)gram_threads(p->dim, TILE), shared_bytes(p), cuda->stream>>>(*p);
    return cuda_launched(cuda, "row_kernel", err);
}

static struct solve_params params_of(const struct factor_solve_args *args, int tile) {
    struct solve_params p = {.k = args->k,
                             .solved = args->k + (args->biases ? 1 : 0),
                             .stride = args->stride,
                             .biases = args->biases,
                             .offsets = args->offsets,
                             .columns = args->columns,
                             .ratings = args->ratings,
                             .residual = args->residual,
                             .column_vectors = args->column_vectors,
                             .row_offsets = args->row_offsets,
                             .alpha = args->alpha,
                             .ridge_per_rating = args->ridge_per_rating,
                             .noise = args->noise,
                             .first_row = args->first_row,
                             .seed = args->seed,
                             .stream = args->stream,
                             .row_vectors = args->row_vectors};
    p.dim = p.solved + 1;
    p.width = gram_tile_rows(p.dim, tile) * tile;
    p.pitch = p.width % 8 == 4 ? p.width : p.width + 4; /* an odd number of 16 bytes: fewer clashes down a column */
    for (int v = 0; v < FACTOR_VALUES; v++) {
        p.value[v] = args->value[v];
        p.weight[v] = args->weight[v];
    }
    return p;
}

reel_status cuda_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const int dim = args->k + (args->biases ? 2 : 1), small = dim <= GRAM_SMALL_DIM;
    if (dim > GRAM_DIM_MAX)
        return error_set(err, REEL_UNSUPPORTED,
                         "the CUDA backend solves for at most %d factors (%d were asked for); --device cpu takes %d",
                         GRAM_DIM_MAX - 2, args->k, FACTOR_K_MAX);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0) return REEL_OK;
    struct solve_params p = params_of(args, small ? 4 : 8);
    struct long_row *long_rows;
    struct solve_report report;
    TRY_RETURN(place_inputs(cuda, args, &p, &long_rows, err));
    if (small)
        TRY_RETURN(solve_all<4>(cuda, &p, args->n_rows, long_rows, err));
    else
        TRY_RETURN(solve_all<8>(cuda, &p, args->n_rows, long_rows, err));
    TRY_RETURN(backend->ops->download(backend, &report, p.report, sizeof report, err));
    if (report.failed_row == INT_MAX) return REEL_OK;
    return error_set(err, REEL_NUMERIC,
                     "row %d: the normal equations are not positive definite in single precision; "
                     "raise the regularization",
                     args->first_row + report.failed_row);
}
