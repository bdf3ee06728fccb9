/* Forest scoring on CUDA. Sums are of integers, so scores and lists have the CPU's bits (backend/tree_ops.h).
 *
 * forest_topk: every user's tables first, a warp a user and 64 cells, into working memory. Then a block takes a tile of
 * USERS users against all movies, MOVIES at a time: the users' tables lie in shared memory side by side, so that a
 * movie's cell is read once for all of them and one load of 16 bytes looks four users up. Groups that do not fit there
 * together come one stage after the other; one that does not fit alone is looked up where it is.
 *
 * forest_pairs: a thread a pair, a walk a tree; the pair's row lies in shared memory, a bank a thread. */
#include "backend/tree_ops.h"
#include "core/error.h"
#include "kernels/common/tree_walk.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/top_lists.h"

enum {
    THREADS = LISTS_THREADS,
    USERS = 8, /* a tile, a warp each while tables are made */
    PLANES = USERS / 4,
    EACH = 2, /* movies a thread */
    MOVIES = EACH * THREADS,
    CHUNK = 64,         /* cells a warp makes; groups have whole chunks */
    STAGE_CELLS = 2048, /* of tables in shared memory: 64 KiB */
    PAIR_THREADS = 128,
    PAIR_WAVE = 1 << 22, /* pairs */
    RESIDENT = 4
};

static_assert((int)USERS == (int)LISTS_WARPS && PLANES == 2, "the layout of tables");

/* ---- tables ---- */

struct table_params {
    struct forest_plan plan;
    int n_users, n_chunks;
    const int32_t *rows; /* (n_users,) of the user table */
    const float *hour;   /* (n_columns[2],) */
    int4 *tables;        /* (tiles, PLANES, n_cells) out; 4 users each */
};

/* The group whose cells begin at or before `cell`. */
static __device__ __forceinline__ int32_t group_of(const struct forest_plan &plan, int32_t cell) {
    int32_t low = 0;
    for (int32_t n = plan.n_groups; n > 1;) {
        const int32_t half = n / 2;
        if (plan.group_cells[low + half] <= cell) low += half;
        n -= half;
    }
    return low;
}

/* What one tree adds to cells lane and lane + 32 of the group's chunk number `word`. One warp; all its lanes walk the
 * same way. */
static __device__ void add_tree(const struct forest_plan &plan, int32_t root, int word, const float *user,
                                const float *hour, int32_t *open, int32_t &low, int32_t &high) {
    const int32_t n_user = plan.n_columns[0], n_both = n_user + plan.n_columns[1];
    const int lane = (int)threadIdx.x % 32;
    int n_open = 0;
    for (int32_t at = root;;) {
        const struct tree_step node = plan.nodes[at];
        if (node.column < 0) {
            const uint64_t set = plan.cell_sets[plan.leaf_sets[node.right] + word];
            low += set >> lane & 1 ? node.left : 0;
            high += set >> (lane + 32) & 1 ? node.left : 0;
            if (n_open == 0) return;
            at = open[--n_open];
        } else if (node.column >= n_user && node.column < n_both) {
            __syncwarp(); /* all have taken what this overwrites */
            if (lane == 0) open[n_open] = node.right;
            __syncwarp();
            n_open++;
            at = node.left;
        } else {
            const float value = node.column < n_user ? user[node.column] : hour[node.column - n_both];
            at = value > node.threshold ? node.right : node.left;
        }
    }
}

/* A block a tile and chunk. */
static __global__ void __launch_bounds__(THREADS) tables_kernel(const __grid_constant__ struct table_params p) {
    __shared__ int32_t open[USERS][FOREST_STACK], cells[USERS][CHUNK];
    const struct forest_plan &plan = p.plan;
    const int tile = (int)blockIdx.x / p.n_chunks, chunk = (int)blockIdx.x % p.n_chunks;
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, at = tile * USERS + warp;
    const int32_t group = group_of(plan, chunk * CHUNK), row = at < p.n_users ? p.rows[at] : plan.n_users;
    const float *user = plan.rows[0] + (int64_t)row * plan.n_columns[0];
    int32_t low = 0, high = 0;
    for (int32_t t = plan.group_trees[group]; t < plan.group_trees[group + 1]; t++)
        add_tree(plan, plan.roots[t], chunk - plan.group_cells[group] / CHUNK, user, p.hour, open[warp], low, high);
    cells[warp][lane] = low;
    cells[warp][lane + 32] = high;
    __syncthreads();
    if (threadIdx.x >= PLANES * CHUNK) return;
    const int plane = (int)threadIdx.x / CHUNK, cell = (int)threadIdx.x % CHUNK;
    p.tables[((int64_t)tile * PLANES + plane) * plan.n_cells + chunk * CHUNK + cell] = make_int4(
        cells[4 * plane][cell], cells[4 * plane + 1][cell], cells[4 * plane + 2][cell], cells[4 * plane + 3][cell]);
}

/* ---- lists ---- */

struct score_params {
    int n_users, n_movies, n_groups, stage_cells; /* stage_cells: room in shared memory, a plane */
    int32_t base, n_cells;
    float scale;
    int64_t padded, n_words;
    const int32_t *group_cells;
    const uint16_t *codes;
    const int4 *tables;     /* (tiles, PLANES, n_cells) */
    const uint32_t *masked; /* (n_users, n_words) */
    struct top_lists lists;
};

/* Adds what two movies' cells of one group have for the tile's users. */
static __device__ __forceinline__ void look_up(const int4 *lower, const int4 *upper, ushort2 codes,
                                               int32_t (&sums)[EACH][USERS]) {
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        const int cell = e ? codes.y : codes.x;
        const int4 a = lower[cell], b = upper[cell];
        sums[e][0] += a.x, sums[e][1] += a.y, sums[e][2] += a.z, sums[e][3] += a.w;
        sums[e][4] += b.x, sums[e][5] += b.y, sums[e][6] += b.z, sums[e][7] += b.w;
    }
}

/* The end of the groups from `first` that fit a stage; `first` itself if it does not fit alone. */
static __device__ __forceinline__ int stage_end(const struct score_params &p, int first) {
    int end = first;
    while (end < p.n_groups && p.group_cells[end + 1] - p.group_cells[first] <= p.stage_cells) end++;
    return end;
}

/* Brings the tables of groups first .. end - 1 to shared memory. The whole block; between two barriers. */
static __device__ __forceinline__ void load_stage(const struct score_params &p, const int4 *tables, int first, int end,
                                                  int4 *stage) {
    const int begin = p.group_cells[first], n = p.group_cells[end] - begin;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        stage[i] = tables[begin + i];
        stage[p.stage_cells + i] = tables[p.n_cells + begin + i];
    }
    __syncthreads();
}

/* Sums of the thread's movies over all groups. `loaded` is the first group of the stage in shared memory, -1 = none. */
static __device__ __forceinline__ void add_groups(const struct score_params &p, const int4 *tables, int64_t movie,
                                                  int4 *stage, int &loaded, int32_t (&sums)[EACH][USERS]) {
    const int there = movie < p.padded;
    for (int first = 0; first < p.n_groups;) {
        const int end = stage_end(p, first);
        if (end == first) {
            const int4 *lower = tables + p.group_cells[first];
            if (there) look_up(lower, lower + p.n_cells, *(const ushort2 *)(p.codes + first * p.padded + movie), sums);
            first++;
            continue;
        }
        if (loaded != first) load_stage(p, tables, first, end, stage);
        loaded = first;
        const int begin = p.group_cells[first];
#pragma unroll 4
        for (int g = first; there && g < end; g++) {
            const int4 *lower = stage + (p.group_cells[g] - begin);
            look_up(lower, lower + p.stage_cells, *(const ushort2 *)(p.codes + g * p.padded + movie), sums);
        }
        first = end;
    }
}

/* Appends the thread's scores that are not below the floors and not masked. */
static __device__ __forceinline__ void offer(const struct score_params &p, int64_t first_user, int64_t movie,
                                             const int32_t (&sums)[EACH][USERS], struct held_lists<USERS> &held) {
#pragma unroll
    for (int e = 0; e < EACH; e++) {
        if (movie + e >= p.n_movies) continue;
#pragma unroll
        for (int u = 0; u < USERS; u++) {
            const float score = (float)(p.base + sums[e][u]) * p.scale;
            if (!(score >= held.floors[u])) continue;
            if (p.masked[(first_user + u) * p.n_words + (movie + e) / 32] >> (movie + e) % 32 & 1) continue;
            lists_offer(p.lists, first_user, u, score, (int32_t)(movie + e), held);
        }
    }
}

/* A block a tile. Sorting takes the place of the tables, which are loaded again then. */
static __global__ void __launch_bounds__(THREADS, RESIDENT)
    forest_topk_kernel(const __grid_constant__ struct score_params p) {
    extern __shared__ float4 shared[];
    __shared__ struct held_lists<USERS> held;
    const int64_t first_user = (int64_t)blockIdx.x * USERS;
    const int4 *tables = p.tables + (int64_t)blockIdx.x * PLANES * p.n_cells;
    int loaded = -1;
    lists_clear(held, first_user, p.n_users);
    __syncthreads();
    for (int64_t first = 0; first < p.n_movies; first += MOVIES) {
        const int64_t movie = first + EACH * (int)threadIdx.x;
        int32_t sums[EACH][USERS] = {};
        add_groups(p, tables, movie, (int4 *)shared, loaded, sums);
        offer(p, first_user, movie, sums, held);
        if (lists_prune(p.lists, first_user, held, (uint64_t *)shared)) loaded = -1;
    }
    lists_write(p.lists, first_user, p.n_users, held, (uint64_t *)shared);
}

static reel_status queue_tables(struct cuda_backend *cuda, const struct forest_topk_args *args,
                                const struct lists_wave *wave, reel_error *err) {
    const struct forest_plan *plan = args->plan;
    const struct table_params p = {.plan = *plan,
                                   .n_users = wave->n_users,
                                   .n_chunks = plan->n_cells / CHUNK,
                                   .rows = wave->rows,
                                   .hour = plan->rows[2] + (int64_t)args->hour * plan->n_columns[2],
                                   .tables = (int4 *)wave->own};
    const unsigned tiles = (unsigned)((wave->n_users + USERS - 1) / USERS);
    if (p.n_chunks > 0) tables_kernel<<<tiles *(unsigned)p.n_chunks, THREADS, 0, wave->stream>>>(p);
    return cuda_launched(cuda, "tables_kernel", err);
}

static reel_status queue_lists(struct cuda_backend *cuda, const struct forest_plan *plan, const struct lists_wave *wave,
                               reel_error *err) {
    const struct score_params p = {.n_users = wave->n_users,
                                   .n_movies = plan->n_movies,
                                   .n_groups = plan->n_groups,
                                   .stage_cells = plan->n_cells < STAGE_CELLS ? plan->n_cells : (int)STAGE_CELLS,
                                   .base = plan->base,
                                   .n_cells = plan->n_cells,
                                   .scale = forest_scale(plan),
                                   .padded = plan->padded,
                                   .n_words = wave->masks.n_words,
                                   .group_cells = plan->group_cells,
                                   .codes = plan->codes,
                                   .tables = (const int4 *)wave->own,
                                   .masked = wave->masks.masked,
                                   .lists = wave->lists};
    const size_t stage = (size_t)p.stage_cells * PLANES * sizeof(int4), sort = LISTS_SORT_ROOM * sizeof(uint64_t);
    const size_t bytes = stage > sort ? stage : sort;
    size_t limit;
    TRY_RETURN(cuda_shared_limit(cuda, &limit, err));
    TRY_RETURN(cuda_status(
        cuda, cudaFuncSetAttribute(forest_topk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)limit),
        "shared memory of forest_topk", err));
    forest_topk_kernel<<<(unsigned)((wave->n_users + USERS - 1) / USERS), THREADS, bytes, wave->stream>>>(p);
    return cuda_launched(cuda, "forest_topk_kernel", err);
}

static reel_status queue_wave(struct cuda_backend *cuda, const void *args, const struct lists_wave *wave,
                              reel_error *err) {
    const struct forest_topk_args *forest = (const struct forest_topk_args *)args;
    TRY_RETURN(queue_tables(cuda, forest, wave, err));
    return queue_lists(cuda, forest->plan, wave, err);
}

reel_status cuda_forest_topk(struct backend *backend, const struct forest_topk_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const struct forest_plan *plan = args->plan;
    const struct lists_job job = {.n_users = args->n_users,
                                  .n = args->n,
                                  .tile = USERS,
                                  .most = MOVIES,
                                  .resident = RESIDENT,
                                  .tile_bytes = (size_t)plan->n_cells * PLANES * sizeof(int4),
                                  .n_movies = plan->n_movies,
                                  .n_words = (plan->n_movies + INT64_C(31)) / 32,
                                  .rows = args->users,
                                  .seen_rows = args->seen_rows,
                                  .seen_offsets = args->seen_offsets,
                                  .seen_movies = args->seen_movies,
                                  .candidates = args->candidates,
                                  .movies = args->movies,
                                  .scores = args->scores};
    TRY_RETURN(cuda_backend_use(cuda, err));
    return args->n_users > 0 ? lists_run(cuda, &job, queue_wave, args, err) : REEL_OK;
}

/* ---- pairs ---- */

struct pair_params {
    struct forest_plan plan;
    float scale;
    int64_t n;
    const int32_t *at[FOREST_TABLES]; /* (n,) rows of the tables */
    float *scores;                    /* (n,) out */
};

static __global__ void __launch_bounds__(PAIR_THREADS) pairs_kernel(const __grid_constant__ struct pair_params p) {
    extern __shared__ float row[]; /* (columns, PAIR_THREADS) */
    const struct forest_plan &plan = p.plan;
    const int64_t i = (int64_t)blockIdx.x * PAIR_THREADS + threadIdx.x;
    float *mine = row + threadIdx.x, *to = mine;
    if (i >= p.n) return;
    for (int t = 0; t < FOREST_TABLES; t++) {
        const float *from = plan.rows[t] + (int64_t)p.at[t][i] * plan.n_columns[t];
        for (int32_t c = 0; c < plan.n_columns[t]; c++, to += PAIR_THREADS) *to = from[c];
    }
    int32_t sum = plan.base;
    for (int32_t t = 0; t < plan.n_trees; t++)
        sum += tree_walk_strided(plan.nodes, plan.roots[t], mine, PAIR_THREADS)->left;
    p.scores[i] = (float)sum * p.scale;
}

static reel_status queue_pairs(struct cuda_backend *cuda, const struct pair_params *p, reel_error *err) {
    const int32_t *columns = p->plan.n_columns;
    const size_t bytes = (size_t)(columns[0] + columns[1] + columns[2]) * PAIR_THREADS * sizeof(float);
    size_t limit;
    TRY_RETURN(cuda_shared_limit(cuda, &limit, err));
    TRY_RETURN(cuda_status(cuda,
                           cudaFuncSetAttribute(pairs_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)limit),
                           "shared memory of forest_pairs", err));
    pairs_kernel<<<(unsigned)((p->n + PAIR_THREADS - 1) / PAIR_THREADS), PAIR_THREADS, bytes, cuda->stream>>>(*p);
    return cuda_launched(cuda, "pairs_kernel", err);
}

reel_status cuda_forest_pairs(struct backend *backend, const struct forest_pairs_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const int32_t *from[FOREST_TABLES] = {args->users, args->movies, args->hours};
    const int64_t wave = args->n < PAIR_WAVE ? args->n : (int64_t)PAIR_WAVE;
    struct pair_params p = {.plan = *args->plan, .scale = forest_scale(args->plan)};
    int32_t *memory;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n == 0) return REEL_OK;
    TRY_RETURN(cuda_scratch(cuda, 0, (size_t)wave * (FOREST_TABLES + 1) * sizeof(int32_t), (void **)&memory, err));
    for (int t = 0; t < FOREST_TABLES; t++) p.at[t] = memory + t * wave;
    p.scores = (float *)(memory + FOREST_TABLES * wave);
    for (int64_t first = 0; first < args->n; first += wave) {
        p.n = args->n - first < wave ? args->n - first : wave;
        const size_t bytes = (size_t)p.n * sizeof(int32_t);
        for (int t = 0; t < FOREST_TABLES; t++)
            TRY_RETURN(backend->ops->upload(backend, (void *)p.at[t], from[t] + first, bytes, err));
        TRY_RETURN(queue_pairs(cuda, &p, err));
        TRY_RETURN(backend->ops->download(backend, args->scores + first, p.scores, bytes, err));
    }
    return REEL_OK;
}
