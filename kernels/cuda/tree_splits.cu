/* tree_splits and tree_bits on CUDA. Sums are integers and a gain is the CPU's operations on the same integers, so the
 * candidates are the CPU's, bit for bit.
 *
 * A column's rows lie in the order of their values, so the sums to the left of a row are a prefix of the rows, and the
 * value before a row's is that of the last row before it that the node has ratings of: no bins. A block takes CHUNK
 * rows of a (column, node). The first kernel adds each chunk up; the second one starts from the chunks before it,
 * scans its rows and looks at every gap; the third one takes the best of a column's chunks. */
#include "backend/tree_ops.h"
#include "core/error.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum { THREADS = 256, WARPS = THREADS / 32, ITEMS = 8, CHUNK = THREADS * ITEMS, BITS_NODES = 4 };

static const unsigned WHOLE_WARP = 0xffffffffu;

typedef unsigned long long word;

struct split_node {
    struct tree_total total;
    int open;
};

/* What goes up with a search. */
struct level_plan {
    struct tree_split_column columns[FOREST_COLUMNS_MAX];
    struct split_node nodes[TREE_NODES_MAX];
};

/* Of rows that lie together: what they add up to, and the last rank that occurs (-1 = none does). */
struct prefix {
    int64_t sum, count;
    int32_t last;
};

struct splits_params {
    const struct level_plan *plan;
    const struct tree_total *sums[FOREST_TABLES];
    int n_columns, n_nodes, n_chunks; /* chunks of the longest column */
    int64_t min_leaf;
    struct prefix *chunks;        /* (columns, nodes, chunks) */
    struct tree_candidate *found; /* the same */
    struct tree_candidate *best;  /* (columns, nodes) */
};

static __device__ __forceinline__ struct prefix join(struct prefix before, struct prefix after) {
    return {before.sum + after.sum, before.count + after.count, before.last > after.last ? before.last : after.last};
}

/* The lane `distance` below's; lanes from `distance` on take part in the result. */
static __device__ __forceinline__ struct prefix shift_up(struct prefix own, int distance) {
    return {(int64_t)__shfl_up_sync(WHOLE_WARP, (word)own.sum, (unsigned)distance),
            (int64_t)__shfl_up_sync(WHOLE_WARP, (word)own.count, (unsigned)distance),
            __shfl_up_sync(WHOLE_WARP, own.last, (unsigned)distance)};
}

/* Returns what the threads before this one have, and in *all what all have. By the whole block. */
static __device__ struct prefix scan_block(struct prefix own, struct prefix *all) {
    __shared__ struct prefix warps[WARPS];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    struct prefix upto = own, before = {0, 0, -1};
    for (int distance = 1; distance < 32; distance *= 2) {
        const struct prefix lower = shift_up(upto, distance);
        if (lane >= distance) upto = join(lower, upto);
    }
    const struct prefix lower = shift_up(upto, 1);
    __syncthreads(); /* a scan before this one has been read */
    if (lane == 31) warps[warp] = upto;
    __syncthreads();
    *all = before;
    for (int w = 0; w < WARPS; w++) {
        if (w < warp) before = join(before, warps[w]);
        *all = join(*all, warps[w]);
    }
    return lane > 0 ? join(before, lower) : before;
}

/* Row `at` in the order of a column, at a node. */
static __device__ __forceinline__ struct prefix row_at(const struct splits_params &p,
                                                       const struct tree_split_column &column, int64_t at, int node) {
    if (at >= column.n_rows) return {0, 0, -1};
    const int32_t row = column.order[at];
    const struct tree_total total = p.sums[column.table][(int64_t)row * p.n_nodes + node];
    return {total.sum, total.count, total.count ? column.ranks[row] : -1};
}

/* A block a (chunk, column, node), as below. */
static __global__ void __launch_bounds__(THREADS) chunks_kernel(const __grid_constant__ struct splits_params p) {
    const int node = (int)blockIdx.z, chunk = (int)blockIdx.x;
    const struct tree_split_column &column = p.plan->columns[blockIdx.y];
    if (!p.plan->nodes[node].open || (int64_t)chunk * CHUNK >= column.n_rows) return;
    struct prefix own = {0, 0, -1}, all;
    for (int i = 0; i < ITEMS; i++)
        own = join(own, row_at(p, column, (int64_t)chunk * CHUNK + i * THREADS + threadIdx.x, node));
    scan_block(own, &all);
    if (threadIdx.x == 0) p.chunks[((int64_t)blockIdx.y * p.n_nodes + node) * p.n_chunks + chunk] = all;
}

/* The gap between `before` and a row of the node. */
static __device__ __forceinline__ void look(const struct splits_params &p, const float *values, struct tree_total node,
                                            struct prefix before, int32_t rank, struct tree_candidate &best) {
    const int64_t right = node.count - before.count;
    const int apart = before.last >= 0 && values[rank] > values[before.last] + 1e-7f;
    best.varies |= apart;
    if (!apart || before.count < p.min_leaf || right < p.min_leaf) return;
    const double n = (double)node.count, total = (double)node.sum;
    const double difference = n * (double)before.sum - (double)before.count * total;
    const double gain = difference * difference / ((double)before.count * (double)right);
    if (gain > best.gain) best = {gain, before.sum, before.count, before.last, rank, 1};
}

/* Which of a warp's lanes has the best gain, the lowest of equals; *gain becomes it, *varies 1 if any is. */
static __device__ __forceinline__ int best_lane(double *gain, int *varies) {
    int lane = (int)threadIdx.x % 32;
    for (int half = 16; half > 0; half /= 2) {
        const double other = __shfl_xor_sync(WHOLE_WARP, *gain, half);
        const int from = __shfl_xor_sync(WHOLE_WARP, lane, half);
        *varies |= __shfl_xor_sync(WHOLE_WARP, *varies, half);
        if (other > *gain || (other == *gain && from < lane)) *gain = other, lane = from;
    }
    return lane;
}

/* *out = the best of the block's candidates, which lie in the order of the threads. */
static __device__ void choose_in_block(struct tree_candidate best, struct tree_candidate *out) {
    __shared__ struct tree_candidate warps[WARPS];
    int varies = best.varies;
    double gain = best.gain;
    const int winner = best_lane(&gain, &varies);
    if ((int)threadIdx.x % 32 == winner) {
        best.varies = varies;
        warps[threadIdx.x / 32] = best;
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (int w = 1; w < WARPS; w++) {
        varies = warps[0].varies | warps[w].varies;
        if (warps[w].gain > warps[0].gain) warps[0] = warps[w];
        warps[0].varies = varies;
    }
    *out = warps[0];
}

static __global__ void __launch_bounds__(THREADS) gaps_kernel(const __grid_constant__ struct splits_params p) {
    const int node = (int)blockIdx.z, chunk = (int)blockIdx.x;
    const struct tree_split_column &column = p.plan->columns[blockIdx.y];
    if (!p.plan->nodes[node].open || (int64_t)chunk * CHUNK >= column.n_rows) return;
    const int64_t at = ((int64_t)blockIdx.y * p.n_nodes + node) * p.n_chunks;
    struct prefix rows[ITEMS], own = {0, 0, -1}, earlier = {0, 0, -1}, all;
    for (int c = (int)threadIdx.x; c < chunk; c += THREADS) earlier = join(earlier, p.chunks[at + c]);
    scan_block(earlier, &all);
    earlier = all;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        rows[i] = row_at(p, column, (int64_t)chunk * CHUNK + threadIdx.x * ITEMS + i, node);
        own = join(own, rows[i]);
    }
    struct prefix before = join(earlier, scan_block(own, &all));
    struct tree_candidate best = {-1, 0, 0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
        if (rows[i].count == 0) continue;
        look(p, column.values, p.plan->nodes[node].total, before, rows[i].last, best);
        before = join(before, rows[i]);
    }
    choose_in_block(best, &p.found[at + chunk]);
}

/* A warp a (column, node). */
static __global__ void __launch_bounds__(32) best_kernel(const __grid_constant__ struct splits_params p) {
    const int node = (int)blockIdx.x % p.n_nodes;
    const struct tree_split_column &column = p.plan->columns[blockIdx.x / p.n_nodes];
    const int n = p.plan->nodes[node].open ? (column.n_rows + CHUNK - 1) / CHUNK : 0;
    const struct tree_candidate *found = p.found + (int64_t)blockIdx.x * p.n_chunks;
    struct tree_candidate best = {-1, 0, 0, 0, 0, 0};
    int varies = 0, mine = n;
    for (int c = (int)threadIdx.x; c < n; c += 32) {
        varies |= found[c].varies;
        if (found[c].gain > best.gain) best = found[c], mine = c;
    }
    /* Lanes hold chunks in turn, so of equal gains the lowest chunk counts, not the lowest lane. */
    for (int half = 16; half > 0; half /= 2) {
        const double gain = __shfl_xor_sync(WHOLE_WARP, best.gain, half);
        const int other = __shfl_xor_sync(WHOLE_WARP, mine, half);
        varies |= __shfl_xor_sync(WHOLE_WARP, varies, half);
        if (gain > best.gain || (gain == best.gain && other < mine)) best.gain = gain, mine = other;
    }
    if (threadIdx.x > 0) return;
    if (mine < n) best = found[mine];
    best.varies = varies;
    p.best[blockIdx.x] = best;
}

static reel_status launch_search(struct cuda_backend *cuda, const struct splits_params *p, reel_error *err) {
    const dim3 grid((unsigned)p->n_chunks, (unsigned)p->n_columns, (unsigned)p->n_nodes);
    chunks_kernel<<<grid, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "chunks_kernel", err));
    gaps_kernel<<<grid, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "gaps_kernel", err));
    best_kernel<<<(unsigned)(p->n_columns * p->n_nodes), 32, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "best_kernel", err);
}

/* Sends the plan and makes the working memory: what is read by two kernels, 8-byte aligned, in one piece. */
static reel_status prepare(struct cuda_backend *cuda, const struct tree_splits_args *args, struct splits_params *p,
                           reel_error *err) {
    struct level_plan plan;
    char *at;
    const size_t nodes = (size_t)args->n_columns * (size_t)args->n_nodes;
    int32_t most = 1;
    for (int c = 0; c < args->n_columns; c++) {
        plan.columns[c] = args->columns[c];
        if (args->columns[c].n_rows > most) most = args->columns[c].n_rows;
    }
    for (int node = 0; node < args->n_nodes; node++) plan.nodes[node] = {args->totals[node], args->open[node]};
    p->n_chunks = (most + CHUNK - 1) / CHUNK;
    const size_t chunks = nodes * (size_t)p->n_chunks;
    TRY_RETURN(cuda_scratch(cuda, 0,
                            sizeof plan + chunks * (sizeof *p->chunks + sizeof *p->found) + nodes * sizeof *p->best,
                            (void **)&at, err));
    p->plan = (struct level_plan *)at;
    p->chunks = (struct prefix *)(at + sizeof plan);
    p->found = (struct tree_candidate *)(p->chunks + chunks);
    p->best = p->found + chunks;
    return cuda->base.ops->upload(&cuda->base, at, &plan, sizeof plan, err);
}

reel_status cuda_tree_splits(struct backend *backend, const struct tree_splits_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct splits_params p = {.n_columns = args->n_columns, .n_nodes = args->n_nodes, .min_leaf = args->min_leaf};
    for (int t = 0; t < FOREST_TABLES; t++) p.sums[t] = args->sums[t];
    if (args->n_columns == 0) return REEL_OK;
    TRY_RETURN(cuda_backend_use(cuda, err));
    TRY_RETURN(prepare(cuda, args, &p, err));
    TRY_RETURN(launch_search(cuda, &p, err));
    return backend->ops->download(backend, args->best, p.best,
                                  (size_t)args->n_columns * (size_t)args->n_nodes * sizeof *p.best, err);
}

/* ---- bits ---- */

struct bits_params {
    int level;
    struct tree_choice splits[BITS_NODES];
    int32_t n_rows[FOREST_TABLES];
    uint8_t *bits[FOREST_TABLES];
};

/* A thread a row; blocks by table. */
static __global__ void __launch_bounds__(THREADS) bits_kernel(const __grid_constant__ struct bits_params p) {
    const int table = (int)blockIdx.y;
    const int64_t row = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (row >= p.n_rows[table]) return;
    int bits = p.level ? p.bits[table][row] : 0;
#pragma unroll
    for (int node = 0; node < BITS_NODES; node++) {
        const struct tree_choice &split = p.splits[node];
        if (node >= 1 << p.level || split.table != table) continue;
        bits |= (split.ranks[row] > split.rank) << ((1 << p.level) - 1 + node);
    }
    p.bits[table][row] = (uint8_t)bits;
}

reel_status cuda_tree_bits(struct backend *backend, const struct tree_bits_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct bits_params p = {.level = args->level};
    int32_t most = 1;
    for (int node = 0; node < 1 << args->level; node++) p.splits[node] = args->splits[node];
    for (int t = 0; t < FOREST_TABLES; t++) {
        p.n_rows[t] = args->n_rows[t];
        p.bits[t] = args->bits[t];
        if (p.n_rows[t] > most) most = p.n_rows[t];
    }
    TRY_RETURN(cuda_backend_use(cuda, err));
    const dim3 grid((unsigned)((most + THREADS - 1) / THREADS), FOREST_TABLES);
    bits_kernel<<<grid, THREADS, 0, cuda->stream>>>(p);
    return cuda_launched(cuda, "bits_kernel", err);
}
