/* factor_solve on CUDA: a thread block a row. The ratings' vectors are staged in shared memory a panel at a time, the
 * normal equations are added up by the tensor cores (factor_gram.h) and solved in registers (gram_solve.h). Long rows
 * are cut as on the CPU, their chunks' sums added in the same order; short ones have equations in as many unknowns as
 * ratings (factor_dual.h). All sums have a fixed order, whatever the grid. */
#include <limits.h>
#include <math.h>

#include "core/error.h"
#include "kernels/common/normal.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/factor_dual.h"
#include "kernels/cuda/factor_gram.h"
#include "kernels/cuda/factor_inputs.h"
#include "kernels/cuda/factor_lists.h"
#include "kernels/cuda/factor_short_rows.h"
#include "kernels/cuda/gram_mma.h"
#include "kernels/cuda/gram_solve.h"

enum {
    WARPS_MAX = 16,  /* of a block: 128 registers a thread, 16 warps a processor */
    SHORT_TILES = 17 /* of the largest shape for short rows */
};

/* ---- the normal equations ---- */

/* matrix = the chunk sums of a long row, added in order. */
static __device__ void add_chunks(const struct solve_params &p, int64_t first, int64_t n_chunks, float *matrix) {
    const int size = gram_size(p.tiles, p.solved);
    for (int e = (int)threadIdx.x; e < size; e += (int)blockDim.x) {
        float sum = p.partial[first * size + e];
        for (int64_t chunk = first + 1; chunk < first + n_chunks; chunk++) sum += p.partial[chunk * size + e];
        matrix[e] = sum;
    }
    __syncthreads();
}

/* The fixed part of a row's vector, or NULL. */
static __device__ __forceinline__ const float *fixed_part(const struct solve_params &p, int32_t row) {
    return p.row_offsets ? p.row_offsets + (int64_t)row * p.stride : NULL;
}

/* right = the prior's shift + (prior + ridge) s for a fixed part s: the solution is then s more (as on the CPU). A
 * thread an element. */
static __device__ void right_side(const struct solve_params &p, const float *fixed, float ridge, float *right) {
    const int i = (int)threadIdx.x;
    if (i < p.solved) {
        float sum = p.prior_shift[i];
#pragma unroll 8
        for (int j = 0; j < p.solved; j++) sum = fmaf(fixed[j], p.prior_precision[j * p.stride + i], sum);
        right[i] = fmaf(ridge, fixed[i], sum);
    }
    __syncthreads();
}

/* Takes the matrix to registers, scaled by alpha and with the prior added. Zeros in columns past the last one,
 * rows past the last one are copies of it. */
template <int WARPS, int LEAST, int TILES>
static __device__ __forceinline__ void hold_equations(const struct solve_params &p, float ridge, const float *right,
                                                      const float *matrix, const struct held_place &place,
                                                      held_matrix<WARPS, LEAST, TILES> &held) {
    typedef held_matrix<WARPS, LEAST, TILES> shape;
    const int end = p.solved - 1;
#pragma unroll
    for (int r = 0; r < shape::ROW_TILES; r++) {
        const int exact = shape::TILE_ROWS * r + place.row, row = exact < end ? exact : end;
        const float *sums = matrix + gram_row(p.tiles, row), *prior = p.prior_precision + row * p.stride;
        const float last = right[row];
#pragma unroll
        for (int c = shape::first(r); c < TILES; c++) {
            const int column = 8 * c + place.column, sure = c + 1 < shape::SURE;
            float value = prior[sure || column < end ? column : end];
            if (!sure && column == p.solved) value = last;
            value = fmaf(p.alpha, sums[column], value);
            if (!sure && column > p.solved) value = 0;
            if (c == shape::first(r) && row == column) value += ridge;
            held.element[shape::at(r, c)] = value;
        }
    }
    __syncthreads();
}

/* ---- the solution ---- */

/* x = standard normal variates, (solved,). */
static __device__ void draw_noise(const struct solve_params &p, int32_t row, float *x) {
    for (int f = 4 * (int)threadIdx.x; f < p.solved; f += 4 * (int)blockDim.x) {
        float z[4];
        philox_normals(p.seed, p.stream, (uint64_t)(p.first_row + row) * 128 + (uint64_t)f / 4, z);
        for (int l = 0; l < 4 && f + l < p.solved; l++) x[f + l] = z[l];
    }
}

/* Element e of lane l is x[32 e + l]. */
template <int ELEMENTS>
static __device__ __forceinline__ void store_solution(const struct solve_params &p, int32_t row,
                                                      const float (&x)[ELEMENTS]) {
    const float *fixed = fixed_part(p, row);
    float *out = p.row_vectors + (int64_t)row * p.stride;
#pragma unroll
    for (int e = 0; e < ELEMENTS; e++) {
        const int f = 32 * e + (int)threadIdx.x % 32;
        if (f < p.solved) out[f] = fixed ? x[e] - fixed[f] : x[e];
    }
    for (int f = p.solved + (int)threadIdx.x % 32; f < p.stride; f += 32)
        if (p.biases || f != p.k) out[f] = 0;
}

/* Solves a row's equations from their factor, one warp; those of a short row are the factors of its vectors. */
template <int ELEMENTS>
static __device__ __forceinline__ void
finish_row(const struct solve_params &p, int32_t row, const struct held_place &place, const float *panels,
           const float4 *inverse, const float *noise, int dual, const struct dual_row &d) {
    float x[ELEMENTS];
#pragma unroll
    for (int e = 0; e < ELEMENTS; e++) {
        const int f = 32 * e + (int)threadIdx.x % 32;
        x[e] = 0;
        if (f < place.rows) x[e] = panels[panel_at(place.tiles, f / PANEL_ROWS) + 4 * place.rows + f % PANEL_ROWS];
        if (f < place.rows && noise) x[e] += noise[f];
    }
    const int good = back_substitute(x, panels, inverse, place.tiles, place.rows);
    if (!__all_sync(~0u, good) && threadIdx.x % 32 == 0) atomicMin(&p.report->failed_row, row);
    if (!dual) {
        if (__all_sync(~0u, good)) store_solution(p, row, x);
        return;
    }
#pragma unroll
    for (int e = 0; e < ELEMENTS; e++) {
        const int f = 32 * e + (int)threadIdx.x % 32;
        if (f < d.ratings) d.right[f] = x[e] * d.scale[f];
    }
}

/* Solves the equations of a row: of a short one from its ratings, else from the sums in `matrix`; what panels held is
 * free by now, and the matrix once it is in registers. */
template <int WARPS, int LEAST, int TILES>
static __device__ __forceinline__ void solve_row(const struct solve_params &p, int32_t row, float *matrix) {
    float4 *inverse = (float4 *)(matrix + p.solution);
    float *noise = (float *)(inverse + 2 * p.tiles), *right = noise + 8 * p.tiles;
    const float ridge = p.ridge_per_rating * (float)(p.offsets[row + 1] - p.offsets[row]), *fixed = fixed_part(p, row);
    const int dual = TILES <= SHORT_TILES && p.dual.on;
    struct dual_row d = {};
    if (dual) d = dual_row_of(p, row, matrix);
    const struct held_place place = held_place_of(dual ? d.tiles : p.tiles, dual ? d.rows : p.solved);
    held_matrix<WARPS, LEAST, TILES> held;
    if (dual) {
        multiply_vectors<WARPS>(p, row, d, matrix);
        hold_dual(p, d, matrix, place, held);
    } else {
        if (fixed) right_side(p, fixed, ridge, right);
        if (p.noise) draw_noise(p, row, noise);
        hold_equations(p, ridge, fixed ? right : p.prior_shift, matrix, place, held);
    }
    factor_from<0>(held, matrix, inverse, place);
    /* one warp has seen all panels, the last one as its own */
    if (place.warp == (place.rows - 1) / PANEL_ROWS % WARPS)
        finish_row<(8 * TILES + 30) / 32>(p, row, place, matrix, inverse, p.noise && !dual ? noise : NULL, dual, d);
    if (!dual) return;
    __syncthreads();
    add_vectors<WARPS>(p, row, d, matrix);
}

/* ---- kernels ---- */

/* The sums of one chunk of a long row. */
static __global__ void __launch_bounds__(32 * WARPS_MAX) chunk_kernel(const __grid_constant__ struct solve_params p) {
    extern __shared__ float4 shared[];
    const int size = gram_size(p.tiles, p.solved);
    float *matrix = (float *)shared;
    const struct row_chunk chunk = p.chunks[blockIdx.x];
    const int64_t begin = p.offsets[chunk.row] + (int64_t)chunk.chunk * FACTOR_CHUNK;
    const int64_t last = p.offsets[chunk.row + 1], end = begin + FACTOR_CHUNK < last ? begin + FACTOR_CHUNK : last;
    add_ratings(p, begin, end, matrix);
    for (int e = (int)threadIdx.x; e < size; e += (int)blockDim.x)
        p.partial[(int64_t)blockIdx.x * size + e] = matrix[e];
}

/* One row of `long_rows` if that is not NULL, else of `rows`. */
template <int WARPS, int LEAST, int TILES>
static __global__ void __launch_bounds__(32 * WARPS, WARPS_MAX / WARPS)
    row_kernel(const __grid_constant__ struct solve_params p) {
    extern __shared__ float4 shared[];
    float *matrix = (float *)shared;
    const int32_t row = p.long_rows ? p.long_rows[blockIdx.x].row : p.rows[blockIdx.x];
    if (p.long_rows) {
        int64_t n = p.offsets[row + 1] - p.offsets[row];
        add_chunks(p, p.long_rows[blockIdx.x].first, (n + FACTOR_CHUNK - 1) / FACTOR_CHUNK, matrix);
    } else if (!p.dual.on) {
        add_ratings(p, p.offsets[row], p.offsets[row + 1], matrix);
    }
    solve_row<WARPS, LEAST, TILES>(p, row, matrix);
}

/* ---- the operator ---- */

/* A row_kernel, for so many tiles at most: enough threads to hold the matrix in some 50 registers each (85 at k = 256)
 * and its sums in one pass up to 200 columns. */
struct row_shape {
    int warps, tiles, columns; /* the last of held_matrix */
    void (*kernel)(const struct solve_params p);
};

template <int WARPS, int LEAST, int TILES> static constexpr struct row_shape row_shape_of(void) {
    typedef held_matrix<WARPS, LEAST, TILES> held;
    return {WARPS, TILES, held::COLUMNS, row_kernel<WARPS, LEAST, TILES>};
}

static const struct row_shape row_shapes[] = {
    row_shape_of<1, 1, 2>(),   row_shape_of<1, 3, 4>(),    row_shape_of<2, 5, 8>(),   row_shape_of<4, 9, 12>(),
    row_shape_of<8, 13, 17>(), row_shape_of<16, 18, 25>(), row_shape_of<16, 26, 33>()};

/* Ratings of the short rows that the first DUAL_SHAPES of them take, with one column more. */
static const struct short_shape {
    int least, most;
} short_shapes[DUAL_SHAPES] = {{1, 15}, {16, 31}, {32, 63}, {64, 95}, {96, FACTOR_SHORT_MAX}};
static_assert(FACTOR_SHORT_MAX + 1 <= 8 * SHORT_TILES, "the last shape for short rows is too small");

static const struct row_shape *shape_for(int tiles) {
    const struct row_shape *shape = row_shapes;
    while (shape->tiles < tiles) shape++;
    return shape;
}

/* Where in shared memory what follows the factor lies, in floats. */
static int solution_at(int tiles, int rows, int columns) {
    const int sums = gram_size(tiles, rows), factor = panels_size(tiles, rows, columns);
    return factor > sums ? factor : sums;
}

/* Pivots, noise and right side. */
static int solution_end(const struct solve_params *p) {
    return p->solution + 3 * 8 * p->tiles;
}

static size_t shared_bytes(const struct solve_params *p) {
    if (p->dual.on)
        return (size_t)(p->dual.kept + dual_row_floats(p->dual.reach, p->dual.width, shape_for(p->tiles)->warps)) *
               sizeof(float);
    const size_t solution = (size_t)solution_end(p) * sizeof(float);
    const size_t panels =
        (size_t)p->panels_at * sizeof(float) + (size_t)PANELS * (size_t)p->panel * (size_t)gram_vector_bytes(p->width);
    return solution > panels ? solution : panels;
}

/* How the pieces are shared out. Panels begin where passes before the last write nothing. */
static void share_pieces(struct solve_params *p) {
    p->width = gram_width(p->tiles, p->k);
    p->pieces = gram_pieces(p->tiles, p->k);
    const int warps = shape_for(p->tiles)->warps;
    p->passes = (p->pieces + warps * GRAM_PIECES - 1) / (warps * GRAM_PIECES);
    p->part = (p->pieces + warps * p->passes - 1) / (warps * p->passes);
    int row = 0;
    while (gram_pieces(p->tiles, row) < (p->passes - 1) * warps * p->part) row += 32;
    p->panels_at = gram_row(p->tiles, row) + row;
}

static reel_status too_much_shared(struct cuda_backend *cuda, const struct solve_params *p, size_t limit,
                                   reel_error *err) {
    return error_set(err, REEL_UNSUPPORTED, "cuda:%d: %d factors take %zu bytes of shared memory, it has %zu",
                     cuda->device, p->k, shared_bytes(p), limit);
}

/* The longest panel that fits a block of this device. */
static reel_status choose_panel(struct cuda_backend *cuda, struct solve_params *p, reel_error *err) {
    size_t limit;
    TRY_RETURN(cuda_shared_limit(cuda, &limit, err));
    for (p->panel = PANEL_MAX; shared_bytes(p) > limit; p->panel /= 2)
        if (p->panel == GRAM_DEPTH) return too_much_shared(cuda, p, limit, err);
    return REEL_OK;
}

/* The columns' vectors as halves, in working memory. */
static reel_status split_columns(struct cuda_backend *cuda, struct solve_params *p, int32_t n, reel_error *err) {
    uint4 *halves;
    TRY_RETURN(cuda_scratch(cuda, 2, halves_bytes(n, p->k), (void **)&halves, err));
    p->halves = halves;
    return halves_make(cuda, p->column_vectors, n, p->k, p->stride, &p->report->largest, halves, err);
}

/* ---- short rows ---- */

/* The launch of a shape of short rows: parts of half the elements, or less where shared memory is short. */
static reel_status shape_short_rows(struct cuda_backend *cuda, int shape, struct solve_params *p, reel_error *err) {
    struct dual_params *dual = &p->dual;
    const struct row_shape *row_shape = &row_shapes[shape];
    size_t limit;
    TRY_RETURN(cuda_shared_limit(cuda, &limit, err));
    p->tiles = row_shape->tiles;
    p->solution = 0;
    for (int rows = short_shapes[shape].least; rows <= short_shapes[shape].most; rows++) {
        const int end = solution_at(gram_tiles(rows + 1), rows, row_shape->columns);
        if (end > p->solution) p->solution = (end + 3) / 4 * 4;
    }
    dual->on = 1;
    dual->least = short_shapes[shape].least;
    dual->reach = (p->tiles + 1) / 2 * 16 > 32 ? (p->tiles + 1) / 2 * 16 : 32;
    for (dual->part = (dual->width / 2 + 1) / 2 * 2;; dual->part -= 2) {
        const int panel = dual->reach * gram_vector_bytes(dual->part) / (int)sizeof(float), end = solution_end(p);
        dual->kept = panel > end ? panel : end;
        if (shared_bytes(p) <= limit) return REEL_OK;
        if (dual->part == 2) return too_much_shared(cuda, p, limit, err);
    }
}

/* ---- launches ---- */

typedef void (*solve_kernel)(const struct solve_params p);

static reel_status allow_shared(struct cuda_backend *cuda, solve_kernel kernel, reel_error *err) {
    size_t limit;
    TRY_RETURN(cuda_shared_limit(cuda, &limit, err));
    return cuda_status(cuda, cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)limit),
                       "shared memory of factor_solve", err);
}

static reel_status launch_rows(struct cuda_backend *cuda, const struct solve_params *p, int n, reel_error *err) {
    const struct row_shape *shape = shape_for(p->tiles);
    const solve_kernel kernel = shape->kernel;
    if (n == 0) return REEL_OK;
    TRY_RETURN(allow_shared(cuda, kernel, err));
    kernel<<<(unsigned)n, (unsigned)(32 * shape->warps), shared_bytes(p), cuda->stream>>>(*p);
    return cuda_launched(cuda, p->long_rows ? "row_kernel of long rows" : "row_kernel", err);
}

/* The `n` rows that p->rows lists, whose fixed parts and vectors change coordinates before and after. */
static reel_status solve_short_rows(struct cuda_backend *cuda, const struct solve_params *p, const struct basis *basis,
                                    int n, reel_error *err) {
    struct basis_change change = {
        .in = p->row_offsets, .rows = p->rows, .n = n, .d = p->solved, .stride = p->stride, .one = -1};
    if (p->row_offsets) TRY_RETURN(basis_launch(cuda, &change, basis->rows, p->row_vectors, err));
    TRY_RETURN(launch_rows(cuda, p, n, err));
    change.in = p->row_vectors;
    return p->dual.unit ? basis_launch(cuda, &change, basis->back, p->row_vectors, err) : REEL_OK;
}

/* Chunks of the long rows first: they take longest. p->long_rows is set for the last launch. */
static reel_status solve_long_rows(struct cuda_backend *cuda, struct solve_params *p, const struct long_row *long_rows,
                                   const struct solve_report *found, reel_error *err) {
    const size_t lists = factor_aligned(found->n_chunks * sizeof(struct row_chunk));
    const size_t size = (size_t)gram_size(p->tiles, p->solved) * sizeof(float);
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 1, lists + found->n_chunks * size, (void **)&at, err));
    p->chunks = (const struct row_chunk *)at;
    p->partial = (float *)(at + lists);
    cut_long_rows<<<(unsigned)found->n_long, 32, 0, cuda->stream>>>(p->offsets, long_rows, (struct row_chunk *)at);
    TRY_RETURN(cuda_launched(cuda, "cut_long_rows", err));
    const unsigned threads = 32 * (unsigned)shape_for(p->tiles)->warps;
    TRY_RETURN(allow_shared(cuda, chunk_kernel, err));
    chunk_kernel<<<(unsigned)found->n_chunks, threads, shared_bytes(p), cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "chunk_kernel", err));
    p->long_rows = long_rows;
    const reel_status status = launch_rows(cuda, p, found->n_long, err);
    p->long_rows = NULL;
    return status;
}

static reel_status solve_rows(struct cuda_backend *cuda, const struct factor_solve_args *args, struct solve_params *p,
                              void *memory, reel_error *err) {
    struct long_row *long_rows = (struct long_row *)memory;
    struct list_params lists = {.offsets = p->offsets,
                                .n_rows = args->n_rows,
                                .long_rows = long_rows,
                                .rows = (int32_t *)(long_rows + args->n_rows),
                                .report = p->report};
    struct solve_report found;
    struct basis basis = {};
    int n_short = 0;
    lists.short_row = plan_short_rows(args, p);
    for (int shape = 0; shape < DUAL_SHAPES; shape++) lists.most[shape] = short_shapes[shape].most;
    list_rows<<<(unsigned)(((int64_t)args->n_rows + 255) / 256), 256, 0, cuda->stream>>>(lists);
    TRY_RETURN(cuda_launched(cuda, "list_rows", err));
    TRY_RETURN(cuda->base.ops->download(&cuda->base, &found, p->report, sizeof found, err));
    if (found.n_long > 0) TRY_RETURN(solve_long_rows(cuda, p, long_rows, &found, err));
    p->rows = lists.rows;
    TRY_RETURN(launch_rows(cuda, p, found.n_rows[0], err));
    for (int shape = 0; shape < DUAL_SHAPES; shape++) n_short += found.n_rows[1 + shape];
    /* the host makes the matrices while the device is at the other rows */
    if (n_short > 0 && p->dual.unit) TRY_RETURN(enter_basis(cuda, args, p, &basis, err));
    for (int shape = DUAL_SHAPES - 1; shape >= 0; shape--) {
        struct solve_params own = *p;
        if (found.n_rows[1 + shape] == 0) continue;
        own.rows = lists.rows + (int64_t)(1 + shape) * args->n_rows;
        TRY_RETURN(shape_short_rows(cuda, shape, &own, err));
        TRY_RETURN(solve_short_rows(cuda, &own, &basis, found.n_rows[1 + shape], err));
    }
    return REEL_OK;
}

static struct solve_params params_of(const struct factor_solve_args *args) {
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
    p.tiles = gram_tiles(p.solved + 1);
    p.solution = solution_at(p.tiles, p.solved, shape_for(p.tiles)->columns);
    float largest_weight = 0;
    for (int v = 0; v < FACTOR_VALUES; v++) {
        p.value[v] = args->value[v];
        p.weighted |= args->weight[v] != 1;
        p.largest_value = fmaxf(p.largest_value, fabsf(args->value[v]));
        largest_weight = fmaxf(largest_weight, fabsf(args->weight[v]));
    }
    int exponent;
    if (frexpf(largest_weight, &exponent) == 0.5f) exponent--;
    p.weight_unit = ldexpf(1, exponent);
    for (int v = 0; v < FACTOR_VALUES; v++) p.weight[v] = args->weight[v] / p.weight_unit;
    share_pieces(&p);
    return p;
}

reel_status cuda_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    TRY_RETURN(factor_solve_check(args, err));
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0) return REEL_OK;
    struct solve_params p = params_of(args);
    struct factor_inputs inputs;
    struct solve_report report = {.failed_row = INT_MAX};
    TRY_RETURN(choose_panel(cuda, &p, err));
    TRY_RETURN(factor_inputs_place(cuda, args, &report, sizeof report,
                                   sizeof(struct long_row) + ROW_KINDS * sizeof(int32_t), &inputs, err));
    p.report = (struct solve_report *)inputs.report;
    p.prior_precision = inputs.prior_precision;
    p.prior_shift = inputs.prior_shift;
    TRY_RETURN(split_columns(cuda, &p, args->n_columns, err));
    TRY_RETURN(solve_rows(cuda, args, &p, inputs.list, err));
    TRY_RETURN(backend->ops->download(backend, &report, p.report, sizeof report, err));
    if (report.failed_row == INT_MAX) return REEL_OK;
    return error_set(err, REEL_NUMERIC,
                     "row %d: the normal equations are not positive definite in single precision; "
                     "raise the regularization",
                     args->first_row + report.failed_row);
}
