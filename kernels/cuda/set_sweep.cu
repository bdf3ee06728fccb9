/* set_sweep on CUDA. The columns of one block of dimensions are drawn one after the other (backend/gibbs_ops.h), as on
 * the CPU, but what one draw does to a later one can be known beforehand: a column's change d moves sum_r q_r of column
 * c by -C d, C = sum of h_r over the rows that both have. So columns go in batches of BATCH, whose draws are one
 * product with a matrix that depends on no draw (set_columns.h); and the rows go in PARTS, each with a thread block of
 * its own that has its q to itself (set_draws.h). These are the draws of the sequential program but for the order of
 * sums. */
#include "backend/gibbs_ops.h"
#include "core/error.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/set_columns.h"
#include "kernels/cuda/set_draws.h"
#include "kernels/cuda/set_lists.h"
#include "kernels/cuda/set_params.h"
#include "kernels/cuda/set_rows.h"

enum { BLOCKS_MOST = 2048 }; /* of a kernel that takes one chunk after the other */

/* Of draws_kernel at most. Blocks that wait cost the emulator turns: there a few have several parts each. */
#if defined(REEL_CUDA_EMULATED)
enum { DRAW_BLOCKS = 6 };
#else
enum { DRAW_BLOCKS = PARTS };
#endif

/* Blocks of THREADS for n elements, one a thread. */
static unsigned blocks_for(int64_t n) {
    return (unsigned)((n + THREADS - 1) / THREADS);
}

/* ---- working memory ---- */

/* Hands out aligned arrays; `memory` NULL: adds up sizes. */
struct arena {
    char *memory;
    size_t bytes;
};

static void *take(struct arena *arena, size_t n, size_t size) {
    void *at = arena->memory ? arena->memory + arena->bytes : NULL;
    arena->bytes += (n * size + 255) / 256 * 256;
    return at;
}

/* At most so many chunks do n ratings in `lists` lists make, and so many of them are of lists with several. */
static size_t chunks_most(size_t lists, size_t n, size_t size) {
    return lists + n / size;
}

static size_t shared_chunks_most(size_t n, size_t size) {
    return 2 * n / size;
}

static void take_lists(struct sweep_params *p, struct arena *arena, size_t n) {
    const size_t n_rows = (size_t)p->n_rows, n_columns = (size_t)p->n_columns;
    p->row_chunks.first = (uint64_t *)take(arena, n_rows + 1, sizeof(uint64_t));
    p->row_chunks.owner = (int32_t *)take(arena, chunks_most(n_rows, n, ROW_CHUNK), sizeof(int32_t));
    p->column_chunks.first = (uint64_t *)take(arena, n_columns + 1, sizeof(uint64_t));
    p->column_chunks.owner = (int32_t *)take(arena, chunks_most(n_columns, n, COLUMN_CHUNK), sizeof(int32_t));
    p->part_row = (int32_t *)take(arena, PARTS + 1, sizeof(int32_t));
    p->cut = (uint32_t *)take(arena, n_columns * PARTS, sizeof(uint32_t));
    p->begin = (uint32_t *)take(arena, (n_columns + 1) * PARTS, sizeof(uint32_t));
    p->list_row = (int32_t *)take(arena, n, sizeof(int32_t));
    p->members = (uint64_t *)take(arena, n, sizeof(uint64_t));
    p->list_members = (uint64_t *)take(arena, n, sizeof(uint64_t));
}

static void take_arrays(struct sweep_params *p, struct arena *arena, size_t n) {
    const size_t n_rows = (size_t)p->n_rows, n_columns = (size_t)p->n_columns;
    const size_t n_batches = (n_columns + BATCH - 1) / BATCH, group = n_batches < GROUP ? n_batches : (size_t)GROUP;
    take_lists(p, arena, n);
    p->x = (float *)take(arena, n_columns * B, sizeof(float));
    p->last_x = (float *)take(arena, n_columns * B, sizeof(float));
    p->h = (float *)take(arena, n_rows * MATRIX, sizeof(float));
    p->q = (float *)take(arena, n_rows * B, sizeof(float));
    p->moved = (float *)take(arena, n_rows * B, sizeof(float));
    p->row_parts = (float *)take(arena, shared_chunks_most(n, ROW_CHUNK) * ROW_PART, sizeof(float));
    p->sum = p->gain = (float *)take(arena, n_batches * BATCH * MATRIX, sizeof(float));
    p->shift = (float *)take(arena, n_batches * SIDE, sizeof(float));
    p->pull = (float *)take(arena, n_batches * SIDE, sizeof(float));
    p->column_parts = (float *)take(arena, shared_chunks_most(n, COLUMN_CHUNK) * BATCH * MATRIX, sizeof(float));
    p->pairs = (float *)take(arena, group * LOWER * TILE * TILE, sizeof(float));
    p->inverse = (float *)take(arena, group * LOWER * TILE * TILE, sizeof(float));
    p->partial = (uint64_t *)take(arena, (size_t)SIDE * PARTS, sizeof(uint64_t));
    p->pulls = (uint64_t *)take(arena, SIDE, sizeof(uint64_t));
    p->changes = (uint64_t *)take(arena, SIDE, sizeof(uint64_t));
}

static reel_status place_arrays(struct cuda_backend *cuda, struct sweep_params *p, int64_t n_ratings, reel_error *err) {
    struct backend *backend = &cuda->base;
    struct arena arena = {NULL, 0};
    void *memory;
    take_arrays(p, &arena, (size_t)n_ratings);
    TRY_RETURN(cuda_scratch(cuda, 0, arena.bytes, &memory, err));
    arena = (struct arena){(char *)memory, 0};
    take_arrays(p, &arena, (size_t)n_ratings);
    /* no draw has number 0 */
    TRY_RETURN(backend->ops->zero(backend, p->partial, (size_t)SIDE * PARTS * sizeof(uint64_t), err));
    TRY_RETURN(backend->ops->zero(backend, p->pulls, SIDE * sizeof(uint64_t), err));
    return backend->ops->zero(backend, p->changes, SIDE * sizeof(uint64_t), err);
}

/* ---- the kernels of a sweep ---- */

static reel_status queue_chunks(struct cuda_backend *cuda, const struct chunk_table *table, reel_error *err) {
    chunks_kernel<<<1, SCAN_THREADS, 0, cuda->stream>>>(*table);
    TRY_RETURN(cuda_launched(cuda, "chunks_kernel", err));
    owners_kernel<<<blocks_for(table->n), THREADS, 0, cuda->stream>>>(*table);
    return cuda_launched(cuda, "owners_kernel", err);
}

/* Blocks for the chunks of the columns. */
static unsigned column_blocks(const struct sweep_params *p, int64_t n_ratings) {
    const size_t most = chunks_most((size_t)p->n_columns, (size_t)n_ratings, COLUMN_CHUNK);
    return most < BLOCKS_MOST ? (unsigned)most : (unsigned)BLOCKS_MOST;
}

static reel_status queue_lists(struct cuda_backend *cuda, const struct sweep_params *p, int64_t n_ratings,
                               reel_error *err) {
    TRY_RETURN(queue_chunks(cuda, &p->row_chunks, err));
    TRY_RETURN(queue_chunks(cuda, &p->column_chunks, err));
    parts_kernel<<<1, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "parts_kernel", err));
    cuts_kernel<<<blocks_for((int64_t)p->n_columns * PARTS), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "cuts_kernel", err));
    begins_kernel<<<PARTS, SCAN_THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "begins_kernel", err));
    lists_kernel<<<column_blocks(p, n_ratings), THREADS, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "lists_kernel", err);
}

/* Makes `first` the block at work; the one before becomes the last. */
static void next_block(const struct set_sweep_args *args, struct sweep_params *p, int first) {
    float *x = p->last_x;
    p->last_x = p->x;
    p->x = x;
    p->last_width = p->width;
    p->first = first;
    p->width = p->d - first < B ? p->d - first : (int)B;
    if (p->width < 0) p->width = 0;
    for (int l = 0; l < B; l++) {
        p->prior_mean[l] = l < p->width ? args->prior_mean[first + l] : 0;
        p->prior_precision[l] = l < p->width ? args->prior_precision[first + l] : 1;
    }
}

static reel_status queue_rows(struct cuda_backend *cuda, const struct sweep_params *p, int64_t n_ratings,
                              reel_error *err) {
    const int64_t chunks = (int64_t)chunks_most((size_t)p->n_rows, (size_t)n_ratings, ROW_CHUNK);
    if (p->width > 0) {
        coefficients_kernel<<<blocks_for((int64_t)p->n_columns * B), THREADS, 0, cuda->stream>>>(*p);
        TRY_RETURN(cuda_launched(cuda, "coefficients_kernel", err));
    }
    rows_kernel<<<blocks_for(chunks * 32), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "rows_kernel", err));
    if (p->width == 0) return REEL_OK;
    add_rows_kernel<<<blocks_for((int64_t)p->n_rows * 32), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "add_rows_kernel", err));
    return cuda->base.ops->zero(&cuda->base, p->moved, (size_t)p->n_rows * B * sizeof(float), err);
}

/* The matrices of the batches at work. */
static reel_status queue_columns(struct cuda_backend *cuda, const struct sweep_params *p, int64_t n_ratings,
                                 reel_error *err) {
    const int64_t end = ((int64_t)p->batch + p->n_batches) * BATCH;
    const int64_t columns = (end < p->n_columns ? end : p->n_columns) - (int64_t)p->batch * BATCH;
    const unsigned batches = (unsigned)p->n_batches;
    column_sums_kernel<<<column_blocks(p, n_ratings), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "column_sums_kernel", err));
    add_columns_kernel<<<(unsigned)columns, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "add_columns_kernel", err));
    solve_kernel<<<blocks_for(columns), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "solve_kernel", err));
    pulls_kernel<<<blocks_for(batches * SIDE * 32), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "pulls_kernel", err));
    diagonal_kernel<<<batches * TILES, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "diagonal_kernel", err));
    inverse_kernel<<<batches *(TILES - 1), THREADS, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "inverse_kernel", err);
}

/* Blocks that wait for each other are all resident: a cooperative launch. */
static reel_status queue_draws(struct cuda_backend *cuda, struct sweep_params *p, reel_error *err) {
    int processors, each;
    TRY_RETURN(cuda_status(cuda, cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, cuda->device),
                           "asking for its processors", err));
    TRY_RETURN(cuda_status(cuda, cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, draws_kernel, DRAW_THREADS, 0),
                           "asking for its room", err));
    const int blocks = processors * each < DRAW_BLOCKS ? processors * each : (int)DRAW_BLOCKS;
    void *arguments[] = {p};
    return cuda_status(cuda,
                       cudaLaunchCooperativeKernel(draws_kernel, dim3((unsigned)blocks), dim3(DRAW_THREADS), arguments,
                                                   0, cuda->stream),
                       "draws_kernel", err);
}

static reel_status queue_groups(struct cuda_backend *cuda, struct sweep_params *p, int64_t n_ratings, reel_error *err) {
    const int32_t n_batches = (p->n_columns + BATCH - 1) / BATCH;
    for (p->batch = 0; p->batch < n_batches; p->batch += GROUP) {
        p->n_batches = n_batches - p->batch < GROUP ? n_batches - p->batch : (int32_t)GROUP;
        TRY_RETURN(queue_columns(cuda, p, n_ratings, err));
        TRY_RETURN(queue_draws(cuda, p, err));
        p->number += (uint32_t)p->n_batches;
    }
    return REEL_OK;
}

reel_status cuda_set_sweep(struct backend *backend, const struct set_sweep_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct sweep_params p = {
        .k = args->k,
        .d = args->k + (args->biases ? 1 : 0),
        .stride = args->stride,
        .biases = args->biases,
        .n_rows = args->n_rows,
        .n_columns = args->n_columns,
        .offsets = args->offsets,
        .column_offsets = args->column_offsets,
        .columns = args->columns,
        .column_rows = args->column_rows,
        .column_vectors = args->column_vectors,
        .features = args->features,
        .row_sums = args->row_sums,
        .residual = args->residual,
        .alpha = args->alpha,
        .seed = args->seed,
        .stream = args->stream,
        .row_chunks = {.offsets = args->offsets, .n = args->n_rows, .size = ROW_CHUNK},
        .column_chunks = {.offsets = args->column_offsets, .n = args->n_columns, .size = COLUMN_CHUNK},
        .number = 1};
    int64_t n_ratings;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_rows == 0 || args->n_columns == 0) return REEL_OK;
    TRY_RETURN(backend->ops->download(backend, &n_ratings, args->offsets + args->n_rows, sizeof n_ratings, err));
    TRY_RETURN(place_arrays(cuda, &p, n_ratings, err));
    TRY_RETURN(queue_lists(cuda, &p, n_ratings, err));
    for (int first = 0; first < p.d; first += B) {
        next_block(args, &p, first);
        TRY_RETURN(queue_rows(cuda, &p, n_ratings, err));
        TRY_RETURN(queue_groups(cuda, &p, n_ratings, err));
    }
    next_block(args, &p, (p.d + B - 1) / B * B);
    return queue_rows(cuda, &p, n_ratings, err);
}
