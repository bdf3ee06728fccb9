/* The spectral operators on CUDA: the CPU's sums in the CPU's order, so that results have equal bits. What the chip
 * does side by side are rows, features, columns and pieces, never parts of one chain. */
#include <string.h>

#include "backend/spectral_ops.h"
#include "core/error.h"
#include "kernels/common/spectral_math.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum { B = SPECTRAL_BLOCK, PIECES = SPECTRAL_PIECES, THREADS = 128, DEGREE_MAX = 8 };

static struct cuda_backend *self(struct backend *backend) {
    return (struct cuda_backend *)backend;
}

/* Blocks of `threads` for n elements, one a thread. */
static unsigned blocks_for(int64_t n, int threads) {
    return (unsigned)((n + threads - 1) / threads);
}

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* out_i = (sum over the pieces of partial[piece][i], in order) * weights[i / B], or unweighted where that is NULL. */
static __global__ void __launch_bounds__(THREADS)
    add_pieces_kernel(const double *partial, int64_t size, const double *weights, double *out) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    double sum = 0;
    for (int piece = 0; piece < PIECES; piece++) sum += partial[piece * size + i];
    out[i] = weights ? sum * weights[i / B] : sum;
}

static reel_status add_pieces(struct cuda_backend *cuda, const double *partial, int64_t size, const double *weights,
                              double *out, reel_error *err) {
    add_pieces_kernel<<<blocks_for(size, THREADS), THREADS, 0, cuda->stream>>>(partial, size, weights, out);
    return cuda_launched(cuda, "add_pieces_kernel", err);
}

/* ---- by the feature map ---- */

struct map_params {
    int64_t n, n_monomials;
    int d;
    const double *x;       /* (n, d) */
    const double *columns; /* (d, n): x by columns */
    const int32_t
        *variables; /* (degree, n_monomials) factors of each monomial in order, behind -1 where it has fewer */
    const double *in, *self;
    double *partial; /* (PIECES, n_monomials, B) */
    double *sums;    /* (n_monomials, B), weighted */
    double *out;
};

static __global__ void __launch_bounds__(THREADS)
    variables_kernel(const struct monomial *monomials, int64_t n, int degree, int32_t *variables) {
    const int64_t f = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (f >= n) return;
    int64_t at = f;
    for (int p = degree - 1; p >= 0; p--) {
        variables[p * n + f] = at ? monomials[at].variable : -1;
        if (at) at = monomials[at].parent;
    }
}

enum { EDGE = 32, TRANSPOSE_THREADS = 256 };

/* columns = x^T, a block a square of EDGE x EDGE. */
static __global__ void __launch_bounds__(TRANSPOSE_THREADS)
    transpose_kernel(const double *x, int64_t n, int d, double *columns) {
    __shared__ double square[EDGE][EDGE + 1];
    const int lane = (int)threadIdx.x % EDGE, first = (int)threadIdx.x / EDGE;
    const int64_t row = (int64_t)blockIdx.x * EDGE;
    const int column = (int)blockIdx.y * EDGE;
    for (int r = first; r < EDGE; r += TRANSPOSE_THREADS / EDGE)
        if (row + r < n && column + lane < d) square[r][lane] = x[(row + r) * d + column + lane];
    __syncthreads();
    for (int r = first; r < EDGE; r += TRANSPOSE_THREADS / EDGE)
        if (column + r < d && row + lane < n) columns[(column + r) * n + row + lane] = square[lane][r];
}

/* z of a row whose element v lies at x[v * step]. */
template <int DEGREE>
static __device__ __forceinline__ double product_of(const int32_t (&variables)[DEGREE], const double *x, int64_t step) {
    double z = 1;
#pragma unroll
    for (int p = 0; p < DEGREE; p++)
        if (variables[p] >= 0) z *= x[variables[p] * step];
    return z;
}

/* A thread a monomial, a block row of the grid a piece: partial = sum over its rows of z v. */
template <int DEGREE>
static __global__ void __launch_bounds__(THREADS) collect_kernel(const __grid_constant__ struct map_params p) {
    const int64_t f = (int64_t)blockIdx.x * THREADS + threadIdx.x, piece = blockIdx.y;
    if (f >= p.n_monomials) return;
    const int64_t begin = spectral_tile_part_begin(p.n, SPECTRAL_TILE, PIECES, piece);
    const int64_t end = spectral_tile_part_begin(p.n, SPECTRAL_TILE, PIECES, piece + 1);
    int32_t variables[DEGREE];
#pragma unroll
    for (int q = 0; q < DEGREE; q++) variables[q] = p.variables[q * p.n_monomials + f];
    double sums[B] = {};
#pragma unroll 4
    for (int64_t row = begin; row < end; row++) {
        const double z = product_of<DEGREE>(variables, p.x + row * p.d, 1);
        const double2 *v = (const double2 *)(p.in + row * B);
#pragma unroll
        for (int c = 0; c < B / 2; c++) {
            const double2 two = v[c];
            sums[2 * c] += z * two.x;
            sums[2 * c + 1] += z * two.y;
        }
    }
    double *out = p.partial + (piece * p.n_monomials + f) * B;
#pragma unroll
    for (int c = 0; c < B; c++) out[c] = sums[c];
}

/* A thread a row: out = sum over the monomials of z sums, less the diagonal. */
template <int DEGREE>
static __global__ void __launch_bounds__(THREADS) spread_kernel(const __grid_constant__ struct map_params p) {
    const int64_t row = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= p.n) return;
    double totals[B] = {};
#pragma unroll 2
    for (int64_t f = 0; f < p.n_monomials; f++) {
        int32_t variables[DEGREE];
#pragma unroll
        for (int q = 0; q < DEGREE; q++) variables[q] = p.variables[q * p.n_monomials + f];
        const double z = product_of<DEGREE>(variables, p.columns + row, p.n);
        const double2 *sums = (const double2 *)(p.sums + f * B);
#pragma unroll
        for (int c = 0; c < B / 2; c++) {
            const double2 two = sums[c];
            totals[2 * c] += z * two.x;
            totals[2 * c + 1] += z * two.y;
        }
    }
#pragma unroll
    for (int c = 0; c < B; c++) p.out[row * B + c] = totals[c] - p.self[row] * p.in[row * B + c];
}

template <int DEGREE>
static reel_status map_and_back(struct cuda_backend *cuda, const struct map_params *p, const double *weights,
                                reel_error *err) {
    const dim3 grid(blocks_for(p->n_monomials, THREADS), PIECES);
    collect_kernel<DEGREE><<<grid, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "collect_kernel", err));
    TRY_RETURN(add_pieces(cuda, p->partial, p->n_monomials * B, weights, p->sums, err));
    spread_kernel<DEGREE><<<blocks_for(p->n, THREADS), THREADS, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "spread_kernel", err);
}

static reel_status apply_features(struct cuda_backend *cuda, const struct affinity_args *args, reel_error *err) {
    typedef reel_status (*map_function)(struct cuda_backend *, const struct map_params *, const double *, reel_error *);
    static const map_function by_degree[DEGREE_MAX] = {map_and_back<1>, map_and_back<2>, map_and_back<3>,
                                                       map_and_back<4>, map_and_back<5>, map_and_back<6>,
                                                       map_and_back<7>, map_and_back<8>};
    const int degree = args->kind == AFFINITY_POLYNOMIAL ? args->degree : 1;
    if (degree < 1 || degree > DEGREE_MAX)
        return error_set(err, REEL_UNSUPPORTED, "the CUDA backend takes degrees of 1..%d (found %d)", DEGREE_MAX,
                         degree);
    const size_t monomials = (size_t)args->n_monomials;
    const size_t variables = aligned(monomials * (size_t)degree * sizeof(int32_t));
    const size_t columns = aligned((size_t)args->n * (size_t)args->d * sizeof(double));
    const size_t sums = aligned(monomials * B * sizeof(double));
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 0, variables + columns + sums * (1 + PIECES), (void **)&at, err));
    const struct map_params p = {.n = args->n,
                                 .n_monomials = args->n_monomials,
                                 .d = args->d,
                                 .x = args->x,
                                 .columns = (const double *)(at + variables),
                                 .variables = (const int32_t *)at,
                                 .in = args->in,
                                 .self = args->self,
                                 .partial = (double *)(at + variables + columns + sums),
                                 .sums = (double *)(at + variables + columns),
                                 .out = args->out};
    variables_kernel<<<blocks_for(args->n_monomials, THREADS), THREADS, 0, cuda->stream>>>(
        args->monomials, args->n_monomials, degree, (int32_t *)at);
    TRY_RETURN(cuda_launched(cuda, "variables_kernel", err));
    const dim3 squares(blocks_for(args->n, EDGE), blocks_for(args->d, EDGE));
    transpose_kernel<<<squares, TRANSPOSE_THREADS, 0, cuda->stream>>>(args->x, args->n, args->d,
                                                                      (double *)(at + variables));
    TRY_RETURN(cuda_launched(cuda, "transpose_kernel", err));
    return by_degree[degree - 1](cuda, &p, args->monomial_weights, err);
}

/* ---- by tiles of the kernel ---- */

/* A block makes tiles of SIDE x SIDE kernel values, SIDE columns after the other, 4 x 4 values a thread; FEATURES of
 * the rows are in shared memory at a time. PITCH is odd: rows of the tile start in different banks. */
enum { SIDE = 64, FEATURES = 16, TILE_THREADS = 256, PITCH = SIDE + 1, EACH = 4 };

struct alignas(16) tile_room {
    double v[SIDE][B]; /* of the columns; first, so that two lie on 16 bytes */
    union {
        struct {
            double rows[FEATURES][PITCH], columns[FEATURES][PITCH];
        } x;
        double kernel[SIDE][PITCH];
    };
};

/* SIDE rows of x from `begin`, features from..from + FEATURES - 1, zeros past the end, feature by feature. */
static __device__ __forceinline__ void stage_rows(const struct affinity_args &p, int64_t begin, int from,
                                                  double (*out)[PITCH]) {
    for (int e = (int)threadIdx.x; e < SIDE * FEATURES; e += TILE_THREADS) {
        const int r = e / FEATURES, f = e % FEATURES;
        out[f][r] = begin + r < p.n && from + f < p.d ? p.x[(begin + r) * p.d + from + f] : 0;
    }
}

/* values (thread's 4 x 4) = products or squared distances of the tile's rows and columns. Ends with a barrier. */
static __device__ __forceinline__ void compare_rows(const struct affinity_args &p, int64_t row, int64_t column,
                                                    struct tile_room &room, double (&values)[EACH][EACH]) {
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16, distances = p.kind == AFFINITY_RBF;
#pragma unroll
    for (int e = 0; e < EACH * EACH; e++) values[e / EACH][e % EACH] = 0;
    for (int from = 0; from < p.d; from += FEATURES) {
        stage_rows(p, row, from, room.x.rows);
        stage_rows(p, column, from, room.x.columns);
        __syncthreads();
        const int last = p.d - from < FEATURES ? p.d - from : FEATURES;
        for (int f = 0; f < last; f++) {
            double a[EACH], b[EACH];
#pragma unroll
            for (int q = 0; q < EACH; q++) {
                a[q] = room.x.rows[f][ty + 16 * q];
                b[q] = room.x.columns[f][tx + 16 * q];
            }
#pragma unroll
            for (int r = 0; r < EACH; r++)
#pragma unroll
                for (int c = 0; c < EACH; c++) {
                    const double difference = a[r] - b[c];
                    values[r][c] += distances ? difference * difference : a[r] * b[c];
                }
        }
        __syncthreads();
    }
}

static __device__ __forceinline__ double kernel_value(const struct affinity_args &p, double value) {
    if (p.kind == AFFINITY_RBF) return spectral_exp(-p.gamma * value);
    if (p.kind != AFFINITY_POLYNOMIAL) return value;
    return spectral_power(p.gamma * value + p.coef0, p.degree);
}

/* A block SIDE rows of the result; for the last step a thread has one row and two of the vectors. */
static __global__ void __launch_bounds__(TILE_THREADS, 2) tile_kernel(const __grid_constant__ struct affinity_args p) {
    __shared__ struct tile_room room;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    const int r = (int)threadIdx.x / (B / 2), c = (int)threadIdx.x % (B / 2) * 2;
    const int64_t begin = (int64_t)blockIdx.x * SIDE, row = begin + r;
    double total[2] = {0, 0};
    for (int64_t column = 0; column < p.n; column += SIDE) {
        const int n = p.n - column < SIDE ? (int)(p.n - column) : SIDE;
        double values[EACH][EACH];
        for (int e = (int)threadIdx.x; e < n * B; e += TILE_THREADS) room.v[e / B][e % B] = p.in[column * B + e];
        compare_rows(p, begin, column, room, values);
#pragma unroll
        for (int e = 0; e < EACH * EACH; e++)
            room.kernel[ty + 16 * (e / EACH)][tx + 16 * (e % EACH)] = kernel_value(p, values[e / EACH][e % EACH]);
        __syncthreads();
        for (int j = 0; j < n; j++) {
            const double value = room.kernel[r][j];
            const double2 two = *(const double2 *)&room.v[j][c];
            total[0] += value * two.x;
            total[1] += value * two.y;
        }
        __syncthreads();
    }
    if (row >= p.n) return;
    for (int q = 0; q < 2; q++) p.out[row * B + c + q] = total[q] - p.self[row] * p.in[row * B + c + q];
}

/* ---- stored sparse ---- */

/* A thread an element of the result. */
static __global__ void __launch_bounds__(THREADS) sparse_kernel(const __grid_constant__ struct affinity_args p) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = at / B;
    if (row >= p.n) return;
    double sum = 0;
    for (int64_t i = p.sparse_offsets[row]; i < p.sparse_offsets[row + 1]; i++)
        sum += p.sparse_values[i] * p.in[(int64_t)p.sparse_columns[i] * B + at % B];
    p.out[at] = sum;
}

reel_status cuda_affinity_apply(struct backend *backend, const struct affinity_args *args, reel_error *err) {
    struct cuda_backend *cuda = self(backend);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n == 0) return REEL_OK;
    if (args->kind == AFFINITY_SPARSE) {
        sparse_kernel<<<blocks_for(args->n * B, THREADS), THREADS, 0, cuda->stream>>>(*args);
        return cuda_launched(cuda, "sparse_kernel", err);
    }
    if (args->n_monomials) return apply_features(cuda, args, err);
    tile_kernel<<<blocks_for(args->n, SIDE), TILE_THREADS, 0, cuda->stream>>>(*args);
    return cuda_launched(cuda, "tile_kernel", err);
}

/* ---- block products ---- */

enum { DOT_THREADS = 512 };

/* A thread an element of a^T b, a block row of the grid a piece of the rows. */
static __global__ void __launch_bounds__(DOT_THREADS)
    dot_kernel(const __grid_constant__ struct block_dot_args p, double *partial) {
    const int at = (int)(blockIdx.x * DOT_THREADS + threadIdx.x), piece = (int)blockIdx.y;
    if (at >= p.a_columns * B) return;
    const double *a = p.a + at / B, *b = p.b + at % B;
    const int64_t end = spectral_part_begin(p.n, PIECES, piece + 1);
    double sum = 0;
#pragma unroll 8
    for (int64_t row = spectral_part_begin(p.n, PIECES, piece); row < end; row++) sum += a[row * p.a_ld] * b[row * B];
    partial[(int64_t)piece * p.a_columns * B + at] = sum;
}

reel_status cuda_block_dot(struct backend *backend, const struct block_dot_args *args, reel_error *err) {
    struct cuda_backend *cuda = self(backend);
    const int64_t size = (int64_t)args->a_columns * B;
    double *partial;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (size == 0) return REEL_OK;
    TRY_RETURN(cuda_scratch(cuda, 0, (size_t)size * (PIECES + 1) * sizeof(double), (void **)&partial, err));
    const dim3 grid(blocks_for(size, DOT_THREADS), PIECES);
    const int64_t warps = (size + 31) / 32, most = (int)DOT_THREADS / 32;
    dot_kernel<<<grid, (unsigned)((warps < most ? warps : most) * 32), 0, cuda->stream>>>(*args, partial);
    TRY_RETURN(cuda_launched(cuda, "dot_kernel", err));
    TRY_RETURN(add_pieces(cuda, partial, size, NULL, partial + size * PIECES, err));
    return backend->ops->download(backend, args->out, partial + size * PIECES, (size_t)size * sizeof(double), err);
}

/* A thread an element of the result; `c` is the device's copy. */
static __global__ void __launch_bounds__(THREADS)
    update_kernel(const __grid_constant__ struct block_update_args p, const double *c) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = at / B;
    if (row >= p.n) return;
    const double *a = p.a + row * p.a_ld;
    double *out = p.out + row * p.out_ld + at % B, sum = 0;
#pragma unroll 8
    for (int i = 0; i < p.a_columns; i++) sum += a[i] * c[i * B + at % B];
    const double old = p.beta == 0 ? 0 : p.beta * *out;
    *out = old + p.alpha * sum;
}

reel_status cuda_block_update(struct backend *backend, const struct block_update_args *args, reel_error *err) {
    struct cuda_backend *cuda = self(backend);
    const size_t bytes = (size_t)args->a_columns * B * sizeof(double);
    void *c;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n == 0) return REEL_OK;
    TRY_RETURN(cuda_scratch(cuda, 0, bytes, &c, err));
    TRY_RETURN(backend->ops->upload(backend, c, args->c, bytes, err));
    update_kernel<<<blocks_for(args->n * B, THREADS), THREADS, 0, cuda->stream>>>(*args, (const double *)c);
    return cuda_launched(cuda, "update_kernel", err);
}

static __global__ void __launch_bounds__(THREADS) scale_kernel(const __grid_constant__ struct block_scale_args p) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x, row = at / B;
    if (row >= p.n) return;
    const double value = p.in[row * p.in_ld + at % B];
    p.out[row * p.out_ld + at % B] = p.scale ? p.scale[row] * value : value;
}

reel_status cuda_block_scale(struct backend *backend, const struct block_scale_args *args, reel_error *err) {
    struct cuda_backend *cuda = self(backend);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n == 0) return REEL_OK;
    scale_kernel<<<blocks_for(args->n * B, THREADS), THREADS, 0, cuda->stream>>>(*args);
    return cuda_launched(cuda, "scale_kernel", err);
}

/* ---- k-means ---- */

/* A piece's results side by side: sums (k, d), counts (k,), inertia. Counts are whole numbers below 2^53. */
static __host__ __device__ int64_t kmeans_size(int d, int k) {
    return (int64_t)k * d + k + 1;
}

struct kmeans_params {
    int64_t n;
    int d, k;
    const double *points, *centers;
    int32_t *labels;
    double *distances; /* (n,) squared, to the nearest center */
    double *partial;   /* (PIECES, kmeans_size) */
};

/* A thread a point. */
static __global__ void __launch_bounds__(THREADS) nearest_kernel(const __grid_constant__ struct kmeans_params p) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= p.n) return;
    const double *point = p.points + i * p.d;
    double best = INFINITY;
    int label = 0;
    for (int c = 0; c < p.k; c++) {
        const double *center = p.centers + c * p.d;
        double distance = 0;
        for (int f = 0; f < p.d; f++) {
            const double difference = point[f] - center[f];
            distance += difference * difference;
        }
        if (distance < best) {
            label = c;
            best = distance;
        }
    }
    p.labels[i] = label;
    p.distances[i] = best;
}

enum { AHEAD = 8 };

/* A block a piece. Thread f < d adds up coordinate f of every cluster, thread d the counts, thread d + 1 the inertia:
 * each element has one owner, which takes the points in order, AHEAD of them fetched at a time. */
static __global__ void __launch_bounds__(THREADS) piece_sums_kernel(const __grid_constant__ struct kmeans_params p) {
    extern __shared__ double sums[];
    const int64_t size = kmeans_size(p.d, p.k);
    const int64_t end = spectral_part_begin(p.n, PIECES, blockIdx.x + 1);
    const int mine = (int)threadIdx.x;
    for (int64_t e = mine; e < size; e += blockDim.x) sums[e] = 0;
    __syncthreads();
    const int base = mine < p.d ? mine : p.k * p.d + (mine == p.d ? 0 : p.k);
    const int step = mine < p.d ? p.d : mine == p.d;
    for (int64_t i = spectral_part_begin(p.n, PIECES, blockIdx.x); i < end && mine < p.d + 2; i += AHEAD) {
        const int n = end - i < AHEAD ? (int)(end - i) : AHEAD;
        int32_t labels[AHEAD];
        double values[AHEAD];
#pragma unroll
        for (int q = 0; q < AHEAD; q++) {
            if (q >= n) continue;
            labels[q] = p.labels[i + q];
            values[q] = mine < p.d ? p.points[(i + q) * p.d + mine] : mine == p.d ? 1 : p.distances[i + q];
        }
#pragma unroll
        for (int q = 0; q < AHEAD; q++)
            if (q < n) sums[base + labels[q] * step] += values[q];
    }
    __syncthreads();
    for (int64_t e = mine; e < size; e += blockDim.x) p.partial[blockIdx.x * size + e] = sums[e];
}

static reel_status queue_kmeans(struct cuda_backend *cuda, const struct kmeans_params *p, reel_error *err) {
    const int64_t size = kmeans_size(p->d, p->k);
    const size_t shared = (size_t)size * sizeof(double);
    if (p->n > 0) nearest_kernel<<<blocks_for(p->n, THREADS), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "nearest_kernel", err));
    TRY_RETURN(cuda_status(
        cuda, cudaFuncSetAttribute(piece_sums_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared),
        "shared memory of kmeans_assign", err));
    piece_sums_kernel<<<PIECES, THREADS, shared, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "piece_sums_kernel", err));
    return add_pieces(cuda, p->partial, size, NULL, p->partial + size * PIECES, err);
}

reel_status cuda_kmeans_assign(struct backend *backend, const struct kmeans_assign_args *args, reel_error *err) {
    enum { WIDEST = 64 };
    struct cuda_backend *cuda = self(backend);
    double host[WIDEST * WIDEST + WIDEST + 1];
    const int values = args->k * args->d;
    if (args->d < 1 || args->d > WIDEST || args->k < 1 || args->k > WIDEST)
        return error_set(err, REEL_UNSUPPORTED,
                         "the CUDA backend takes 1..%d clusters in 1..%d dimensions (found %d in %d)", WIDEST, WIDEST,
                         args->k, args->d);
    const size_t size = (size_t)kmeans_size(args->d, args->k);
    const size_t centers = aligned((size_t)values * sizeof(double));
    const size_t distances = aligned((size_t)args->n * sizeof(double));
    char *at;
    TRY_RETURN(cuda_backend_use(cuda, err));
    TRY_RETURN(cuda_scratch(cuda, 0, centers + distances + size * (PIECES + 1) * sizeof(double), (void **)&at, err));
    const struct kmeans_params p = {.n = args->n,
                                    .d = args->d,
                                    .k = args->k,
                                    .points = args->points,
                                    .centers = (const double *)at,
                                    .labels = args->labels,
                                    .distances = (double *)(at + centers),
                                    .partial = (double *)(at + centers + distances)};
    TRY_RETURN(backend->ops->upload(backend, at, args->centers, (size_t)values * sizeof(double), err));
    TRY_RETURN(queue_kmeans(cuda, &p, err));
    TRY_RETURN(backend->ops->download(backend, host, p.partial + size * PIECES, size * sizeof(double), err));
    memcpy(args->sums, host, (size_t)values * sizeof(double));
    for (int c = 0; c < args->k; c++) args->counts[c] = (int64_t)host[values + c];
    *args->inertia = host[values + args->k];
    return REEL_OK;
}
