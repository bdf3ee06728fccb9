/* The spectral operators on CUDA: the CPU's sums in the CPU's order, so that results have equal bits. What the chip
 * does side by side are rows, features, columns and pieces, never parts of one chain. */
#include "core/error.h"
#include "kernels/common/spectral_math.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/spectral_pieces.h"

enum { B = SPECTRAL_BLOCK, PIECES = SPECTRAL_PIECES, THREADS = 128, DEGREE_MAX = 8 };

static struct cuda_backend *self(struct backend *backend) {
    return (struct cuda_backend *)backend;
}

/* out_i = (sum over the pieces of partial[piece][i], in order) * weights[i / B], or unweighted where that is NULL. */
static __global__ void __launch_bounds__(THREADS)
    add_pieces_kernel(const double *partial, int64_t size, const double *weights, double *out) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    double sum = 0;
#pragma unroll 16
    for (int piece = 0; piece < PIECES; piece++) sum += partial[piece * size + i];
    out[i] = weights ? sum * weights[i / B] : sum;
}

reel_status spectral_add_pieces(struct cuda_backend *cuda, const double *partial, int64_t size, const double *weights,
                                double *out, reel_error *err) {
    add_pieces_kernel<<<blocks_for(size, THREADS), THREADS, 0, cuda->stream>>>(partial, size, weights, out);
    return cuda_launched(cuda, "add_pieces_kernel", err);
}

/* ---- by the feature map ---- */

struct map_params {
    int64_t n, n_monomials;
    int d;
    const double *x;       /* (n, d) */
    int64_t pitch;         /* rows of a column: n up to whole blocks of spread_kernel */
    const double *columns; /* (d, pitch): x by columns */
    const struct monomial *monomials;
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
    transpose_kernel(const double *x, int64_t n, int d, int64_t pitch, double *columns) {
    __shared__ double square[EDGE][EDGE + 1];
    const int lane = (int)threadIdx.x % EDGE, first = (int)threadIdx.x / EDGE;
    const int64_t row = (int64_t)blockIdx.x * EDGE;
    const int column = (int)blockIdx.y * EDGE;
    for (int r = first; r < EDGE; r += TRANSPOSE_THREADS / EDGE)
        if (row + r < n && column + lane < d) square[r][lane] = x[(row + r) * d + column + lane];
    __syncthreads();
    for (int r = first; r < EDGE; r += TRANSPOSE_THREADS / EDGE)
        if (column + r < d && row + lane < n) columns[(column + r) * pitch + row + lane] = square[lane][r];
}

/* z of a row whose element v lies at x[v * step], of the first FACTORS factors. */
template <int FACTORS>
static __device__ __forceinline__ double product_of(const int32_t *variables, const double *x, int64_t step) {
    double z = 1;
#pragma unroll
    for (int p = 0; p < FACTORS; p++)
        if (variables[p] >= 0) z *= x[variables[p] * step];
    return z;
}

/* sums += z v of one row. */
static __device__ __forceinline__ void add_products(double z, const double2 (&v)[B / 2], double (&sums)[B]) {
#pragma unroll
    for (int c = 0; c < B / 2; c++) {
        sums[2 * c] += z * v[c].x;
        sums[2 * c + 1] += z * v[c].y;
    }
}

static __device__ __forceinline__ void load_vectors(const double *from, double2 (&v)[B / 2]) {
#pragma unroll
    for (int c = 0; c < B / 2; c++) v[c] = ((const double2 *)from)[c];
}

/* A row's v costs a warp sixteen cycles of the path from the L1 cache, as much as four of its z. So a thread takes
 * MONOMIALS of them (more would leave registers for the loads of few rows only), and ROWS rows on the way back. */
enum { MONOMIALS = 2, COLLECT_THREADS = 64, ROWS = 3, SPREAD_THREADS = 32 };

/* A thread MONOMIALS monomials, a block row of the grid a piece: partial = sum over its rows of z v. */
template <int DEGREE>
static __global__ void __launch_bounds__(COLLECT_THREADS) collect_kernel(const __grid_constant__ struct map_params p) {
    const int64_t first = (int64_t)blockIdx.x * COLLECT_THREADS * MONOMIALS + threadIdx.x, piece = blockIdx.y;
    const int64_t begin = spectral_tile_part_begin(p.n, SPECTRAL_TILE, PIECES, piece);
    const int64_t end = spectral_tile_part_begin(p.n, SPECTRAL_TILE, PIECES, piece + 1);
    int32_t variables[MONOMIALS][DEGREE];
    double sums[MONOMIALS][B] = {};
#pragma unroll
    for (int m = 0; m < MONOMIALS; m++)
#pragma unroll
        for (int q = 0; q < DEGREE; q++) {
            const int64_t f = first + m * COLLECT_THREADS;
            variables[m][q] = f < p.n_monomials ? p.variables[q * p.n_monomials + f] : -1;
        }
#pragma unroll 4
    for (int64_t row = begin; row < end; row++) {
        double2 v[B / 2];
        load_vectors(p.in + row * B, v);
#pragma unroll
        for (int m = 0; m < MONOMIALS; m++)
            add_products(product_of<DEGREE>(variables[m], p.x + row * p.d, 1), v, sums[m]);
    }
#pragma unroll
    for (int m = 0; m < MONOMIALS; m++) {
        const int64_t f = first + m * COLLECT_THREADS;
        if (f >= p.n_monomials) break;
#pragma unroll
        for (int c = 0; c < B; c++) p.partial[(piece * p.n_monomials + f) * B + c] = sums[m][c];
    }
}

/* A thread ROWS rows: out = sum over the monomials of z sums, less the diagonal. Neighbouring monomials share all
 * factors but the last, so the product of these is kept. Rows past n read the padding of the columns, for nothing. */
template <int DEGREE>
static __global__ void __launch_bounds__(SPREAD_THREADS) spread_kernel(const __grid_constant__ struct map_params p) {
    const int64_t first = (int64_t)blockIdx.x * SPREAD_THREADS * ROWS + threadIdx.x;
    const double *x = p.columns + first;
    double2 sums[B / 2];
    double totals[ROWS][B] = {}, head[ROWS];
    int32_t parent = -1;
    load_vectors(p.sums, sums);
#pragma unroll
    for (int r = 0; r < ROWS; r++) add_products(1, sums, totals[r]);
#pragma unroll 2
    for (int64_t f = 1; f < p.n_monomials; f++) {
        const struct monomial monomial = p.monomials[f];
        load_vectors(p.sums + f * B, sums);
        if (monomial.parent != parent) {
            int32_t variables[DEGREE];
            parent = monomial.parent;
#pragma unroll
            for (int q = 0; q < DEGREE - 1; q++) variables[q] = p.variables[q * p.n_monomials + f];
#pragma unroll
            for (int r = 0; r < ROWS; r++) head[r] = product_of<DEGREE - 1>(variables, x + r * SPREAD_THREADS, p.pitch);
        }
        const double *last = x + monomial.variable * p.pitch;
#pragma unroll
        for (int r = 0; r < ROWS; r++) add_products(head[r] * last[r * SPREAD_THREADS], sums, totals[r]);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int64_t row = first + r * SPREAD_THREADS;
        if (row >= p.n) break;
#pragma unroll
        for (int c = 0; c < B; c++) p.out[row * B + c] = totals[r][c] - p.self[row] * p.in[row * B + c];
    }
}

template <int DEGREE>
static reel_status map_and_back(struct cuda_backend *cuda, const struct map_params *p, const double *weights,
                                reel_error *err) {
    const dim3 grid(blocks_for(p->n_monomials, COLLECT_THREADS * MONOMIALS), PIECES);
    collect_kernel<DEGREE><<<grid, COLLECT_THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "collect_kernel", err));
    TRY_RETURN(spectral_add_pieces(cuda, p->partial, p->n_monomials * B, weights, p->sums, err));
    spread_kernel<DEGREE><<<(unsigned)(p->pitch / (SPREAD_THREADS * ROWS)), SPREAD_THREADS, 0, cuda->stream>>>(*p);
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
    const int64_t pitch = (int64_t)blocks_for(args->n, SPREAD_THREADS * ROWS) * SPREAD_THREADS * ROWS;
    const size_t columns = aligned((size_t)pitch * (size_t)args->d * sizeof(double));
    const size_t sums = aligned(monomials * B * sizeof(double));
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 0, variables + columns + sums * (1 + PIECES), (void **)&at, err));
    const struct map_params p = {.n = args->n,
                                 .n_monomials = args->n_monomials,
                                 .d = args->d,
                                 .x = args->x,
                                 .pitch = pitch,
                                 .columns = (const double *)(at + variables),
                                 .monomials = args->monomials,
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
    transpose_kernel<<<squares, TRANSPOSE_THREADS, 0, cuda->stream>>>(args->x, args->n, args->d, pitch,
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

/* A block has DOT_COLUMNS columns of a and a piece of the rows, DOT_ROWS of them at a time and DOT_STAGES - 1 times as
 * many on their way; a thread a column and two of the vectors. */
enum { DOT_COLUMNS = 24, DOT_THREADS = DOT_COLUMNS * (B / 2), DOT_ROWS = 32, DOT_STAGES = 4 };

struct dot_stage {
    double2 b[DOT_ROWS][B / 2];
    double a[DOT_ROWS][DOT_COLUMNS];
};

/* Queues the rows from `row` on, zeros from `end` on and past the columns: these add +0, which changes no sum. */
static __device__ __forceinline__ void stage_dot(const struct block_dot_args &p, int64_t row, int64_t end, int first,
                                                 struct dot_stage &stage) {
    const int lane = (int)threadIdx.x % DOT_COLUMNS, step = DOT_THREADS / DOT_COLUMNS;
    for (int r = (int)threadIdx.x / DOT_COLUMNS; r < DOT_ROWS; r += step) {
        const int take = row + r < end;
        async_copy<2>((float *)&stage.a[r][lane], (const float *)(p.a + (row + r) * p.a_ld + first + lane),
                      take && first + lane < p.a_columns);
    }
    for (int e = (int)threadIdx.x; e < DOT_ROWS * B / 2; e += DOT_THREADS)
        async_copy<4>((float *)&stage.b[0][e], (const float *)(p.b + row * B + 2 * e), row + e / (B / 2) < end);
    async_copy_commit();
}

/* Grid: columns x pieces. */
static __global__ void __launch_bounds__(DOT_THREADS)
    dot_kernel(const __grid_constant__ struct block_dot_args p, double *partial) {
    __shared__ struct dot_stage stages[DOT_STAGES];
    const int first = (int)blockIdx.x * DOT_COLUMNS, column = (int)threadIdx.x / (B / 2),
              c = (int)threadIdx.x % (B / 2);
    const int64_t begin = spectral_part_begin(p.n, PIECES, blockIdx.y);
    const int64_t end = spectral_part_begin(p.n, PIECES, (int64_t)blockIdx.y + 1);
    double2 sum = {0, 0};
    for (int s = 0; s < DOT_STAGES - 1; s++) stage_dot(p, begin + s * DOT_ROWS, end, first, stages[s]);
    int at = 0;
    for (int64_t row = begin; row < end; row += DOT_ROWS, at = (at + 1) % DOT_STAGES) {
        async_copy_wait_but<DOT_STAGES - 2>();
        __syncthreads();
        stage_dot(p, row + (DOT_STAGES - 1) * DOT_ROWS, end, first, stages[(at + DOT_STAGES - 1) % DOT_STAGES]);
#pragma unroll 16
        for (int r = 0; r < DOT_ROWS; r++) {
            const double a = stages[at].a[r][column];
            const double2 b = stages[at].b[r][c];
            sum.x += a * b.x;
            sum.y += a * b.y;
        }
    }
    if (first + column < p.a_columns)
        *(double2 *)(partial + ((int64_t)blockIdx.y * p.a_columns + first + column) * B + 2 * c) = sum;
}

reel_status cuda_block_dot(struct backend *backend, const struct block_dot_args *args, reel_error *err) {
    struct cuda_backend *cuda = self(backend);
    const int64_t size = (int64_t)args->a_columns * B;
    double *partial;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (size == 0) return REEL_OK;
    TRY_RETURN(cuda_scratch(cuda, 0, (size_t)size * (PIECES + 1) * sizeof(double), (void **)&partial, err));
    const dim3 grid(blocks_for(args->a_columns, DOT_COLUMNS), PIECES);
    dot_kernel<<<grid, DOT_THREADS, 0, cuda->stream>>>(*args, partial);
    TRY_RETURN(cuda_launched(cuda, "dot_kernel", err));
    TRY_RETURN(spectral_add_pieces(cuda, partial, size, NULL, partial + size * PIECES, err));
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
