/* topk_users on CUDA: a matrix product whose scores never leave the registers but for those that beat a user's n-th
 * best so far. A block takes TILE users against all movies, TILE movies at a time, 8 x 8 scores a thread. Each score is
 * the one chain of fused multiply-adds of backend/topk_ops.h, so lists equal those of the CPU, ties included.
 *
 * Hits go to the user's list in global memory; when a list might overflow, a warp sorts it in shared memory and keeps
 * the n best. Their order of arrival varies from run to run, what is kept does not: keys are distinct. */
#include <math.h>

#include "backend/topk_ops.h"
#include "core/error.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum {
    THREADS = 256,
    WARPS = THREADS / 32,
    TILE = 128, /* users, and movies at a time */
    EACH = 8,   /* of both a thread */
    DEPTH = 16, /* factors staged at a time */
    LIST_MAX = 2 * TOPK_DEVICE_N_MAX,
    QUARTER = TILE / TOPK_PANEL
};

static const size_t WAVE_BYTES = (size_t)1 << 30; /* of working memory, where the device has that much */

struct wave_params {
    int n_users, n_movies, k, n, list; /* list: keys a user's list holds, a power of two, >= n + TILE */
    int64_t n_panels, stride;
    const float *panels, *bias;
    const int32_t *panel_movies, *positions;
    const uint8_t *candidates;
    const int32_t *rows, *seen_rows; /* (n_users,) */
    const float *user_factors, *user_bias;
    float mean;
    const int64_t *seen_offsets;
    const int32_t *seen_movies;
    float *packed;      /* (tiles, k, TILE) factors of the users */
    float *base;        /* (tiles * TILE,) */
    uint32_t *excluded; /* (n_panels,) a bit a movie that nobody gets */
    uint32_t *masked;   /* (n_users, n_panels) a bit a movie that the user does not get */
    uint64_t *lists;    /* (n_users, list) */
    int32_t *movies;    /* (n_users, n) out */
    float *scores;      /* (n_users, n) out */
};

/* ---- keys, as in core/top_n.h ---- */

static __device__ __forceinline__ uint64_t key_of(float score, int32_t movie) {
    uint32_t bits = __float_as_uint(score + 0.0f);
    bits ^= bits >> 31 ? 0xffffffffu : 0x80000000u;
    return (uint64_t)bits << 32 | (uint32_t)~movie;
}

static __device__ __forceinline__ float score_of(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= bits >> 31 ? 0x80000000u : 0xffffffffu;
    return __uint_as_float(bits);
}

/* ---- preparation ---- */

/* A warp a panel: padding and movies that are no candidates. */
static __global__ void __launch_bounds__(THREADS) excluded_kernel(const __grid_constant__ struct wave_params p) {
    const int64_t panel = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / 32;
    if (panel >= p.n_panels) return;
    const int lane = (int)threadIdx.x % 32;
    const int32_t movie = p.panel_movies[panel * TOPK_PANEL + lane];
    const unsigned out = __ballot_sync(0xffffffffu, movie < 0 || (p.candidates && !p.candidates[movie]));
    if (lane == 0) p.excluded[panel] = out;
}

/* A block a user: its bits. */
static __global__ void __launch_bounds__(THREADS) mask_kernel(const __grid_constant__ struct wave_params p) {
    const int64_t user = blockIdx.x;
    uint32_t *masked = p.masked + user * p.n_panels;
    for (int64_t panel = threadIdx.x; panel < p.n_panels; panel += THREADS) masked[panel] = p.excluded[panel];
    __syncthreads();
    if (!p.seen_offsets) return;
    const int64_t row = p.seen_rows[user], end = p.seen_offsets[row + 1];
    for (int64_t at = p.seen_offsets[row] + threadIdx.x; at < end; at += THREADS) {
        const int32_t position = p.positions[p.seen_movies[at]];
        atomicOr(&masked[position / TOPK_PANEL], 1u << position % TOPK_PANEL);
    }
}

/* A block a tile: its users' factors feature by feature, zeros for unknown users and past the end. */
static __global__ void __launch_bounds__(THREADS) pack_kernel(const __grid_constant__ struct wave_params p) {
    float *out = p.packed + (int64_t)blockIdx.x * p.k * TILE;
    for (int e = (int)threadIdx.x; e < p.k * TILE; e += THREADS) {
        const int user = (int)blockIdx.x * TILE + e % TILE;
        const int32_t row = user < p.n_users ? p.rows[user] : -1;
        out[e] = row < 0 ? 0 : p.user_factors[row * p.stride + e / TILE];
    }
    for (int u = (int)threadIdx.x; u < TILE; u += THREADS) {
        const int user = (int)blockIdx.x * TILE + u;
        const int32_t row = user < p.n_users ? p.rows[user] : -1;
        p.base[user] = row < 0 ? p.mean : p.mean + p.user_bias[row];
    }
}

/* ---- selection ---- */

/* Sorts `size` keys, a power of two, descending: Batcher's bitonic network, by one warp. */
static __device__ void sort_keys(uint64_t *keys, int size) {
    const int lane = (int)threadIdx.x % 32;
    for (int run = 2; run <= size; run *= 2)
        for (int step = run / 2; step > 0; step /= 2) {
            for (int pair = lane; pair < size / 2; pair += 32) {
                const int i = pair / step * 2 * step + pair % step, j = i + step;
                const uint64_t a = keys[i], b = keys[j];
                if ((a < b) == ((i & run) == 0)) {
                    keys[i] = b;
                    keys[j] = a;
                }
            }
            __syncwarp();
        }
}

/* What the users of a tile hold. */
struct tile_lists {
    int counts[TILE];
    float floors[TILE]; /* scores below cannot get in */
};

/* One warp: a user's list sorted in `room`; returns how many of the best were kept, at most n. */
static __device__ int sort_list(const struct wave_params &p, const uint64_t *list, int count, uint64_t *room) {
    const int lane = (int)threadIdx.x % 32;
    int size = 2;
    while (size < count) size *= 2;
    for (int i = lane; i < size; i += 32) room[i] = i < count ? list[i] : 0; /* 0 is below every key */
    __syncwarp();
    sort_keys(room, size);
    return count < p.n ? count : p.n;
}

/* Cuts the lists that could overflow with the next movies down to their n best. The whole block; ends with a barrier.
 */
static __device__ void prune_lists(const struct wave_params &p, int64_t first_user, struct tile_lists &held,
                                   uint64_t *room) {
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int sorters = LIST_MAX / p.list < WARPS ? LIST_MAX / p.list : (int)WARPS;
    __syncthreads();
    for (int u = warp; u < TILE && warp < sorters; u += sorters) {
        if (held.counts[u] <= p.list - TILE) continue;
        uint64_t *list = p.lists + (first_user + u) * p.list, *keys = room + warp * p.list;
        const int kept = sort_list(p, list, held.counts[u], keys);
        for (int i = lane; i < kept; i += 32) list[i] = keys[i];
        __syncwarp();
        if (lane == 0) {
            held.counts[u] = kept;
            if (kept == p.n) held.floors[u] = score_of(keys[kept - 1]);
        }
        __syncwarp();
    }
    __syncthreads();
}

static __device__ void write_lists(const struct wave_params &p, int64_t first_user, const struct tile_lists &held,
                                   uint64_t *room) {
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
    const int sorters = LIST_MAX / p.list < WARPS ? LIST_MAX / p.list : (int)WARPS;
    __syncthreads();
    for (int u = warp; u < TILE && warp < sorters && first_user + u < p.n_users; u += sorters) {
        const int64_t user = first_user + u;
        uint64_t *keys = room + warp * p.list;
        const int kept = sort_list(p, p.lists + user * p.list, held.counts[u], keys);
        for (int i = lane; i < p.n; i += 32) {
            p.movies[user * p.n + i] = i < kept ? (int32_t) ~(uint32_t)keys[i] : -1;
            p.scores[user * p.n + i] = i < kept ? score_of(keys[i]) : NAN;
        }
        __syncwarp();
    }
}

/* ---- the product ---- */

struct stage {
    float users[DEPTH][TILE], movies[DEPTH][TILE];
};

/* A thread's part of the next stage, on its way from global to shared memory. */
struct fetched {
    float4 users[2], movies[2];
};

static __device__ __forceinline__ float4 load_four(const float *from, int there) {
    return there ? *(const float4 *)from : make_float4(0, 0, 0, 0);
}

/* Factors from .. from + DEPTH - 1 of the tile's users and of the TILE movies of panel.., zeros past the ends. */
static __device__ __forceinline__ struct fetched fetch(const struct wave_params &p, const float *packed, int64_t panel,
                                                       int from) {
    struct fetched out;
#pragma unroll
    for (int q = 0; q < 2; q++) {
        const int e = (int)threadIdx.x + q * THREADS, f = from + e / (TILE / 4), at = e % (TILE / 4) * 4;
        const int64_t mine = panel + at / TOPK_PANEL;
        out.users[q] = load_four(packed + (int64_t)f * TILE + at, f < p.k);
        out.movies[q] =
            load_four(p.panels + (mine * p.k + f) * TOPK_PANEL + at % TOPK_PANEL, f < p.k && mine < p.n_panels);
    }
    return out;
}

static __device__ __forceinline__ void put(struct stage &stage, const struct fetched &from) {
#pragma unroll
    for (int q = 0; q < 2; q++) {
        const int e = (int)threadIdx.x + q * THREADS, f = e / (TILE / 4), at = e % (TILE / 4) * 4;
        *(float4 *)&stage.users[f][at] = from.users[q];
        *(float4 *)&stage.movies[f][at] = from.movies[q];
    }
}

/* A thread's users are ty * 4 .. + 3 and TILE / 2 + ty * 4 .. + 3, its movies likewise by tx. */
static __device__ __forceinline__ int place_of(int t, int e) {
    return e / 4 * (TILE / 2) + t * 4 + e % 4;
}

static __device__ __forceinline__ void load_eight(const float *row, int t, float (&out)[EACH]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float4 four = *(const float4 *)(row + half * (TILE / 2) + t * 4);
        out[4 * half] = four.x;
        out[4 * half + 1] = four.y;
        out[4 * half + 2] = four.z;
        out[4 * half + 3] = four.w;
    }
}

static __device__ __forceinline__ void add_stage(const struct stage &stage, int tx, int ty, float (&sums)[EACH][EACH]) {
#pragma unroll 4
    for (int f = 0; f < DEPTH; f++) {
        float a[EACH], b[EACH];
        load_eight(stage.users[f], ty, a);
        load_eight(stage.movies[f], tx, b);
#pragma unroll
        for (int u = 0; u < EACH; u++)
#pragma unroll
            for (int m = 0; m < EACH; m++) sums[u][m] = fmaf(a[u], b[m], sums[u][m]);
    }
}

/* Products of the tile's users and the movies of panel.. : sums. Ends with a barrier. */
static __device__ __forceinline__ void multiply(const struct wave_params &p, const float *packed, int64_t panel,
                                                struct stage (&stages)[2], int tx, int ty, float (&sums)[EACH][EACH]) {
#pragma unroll
    for (int e = 0; e < EACH * EACH; e++) sums[e / EACH][e % EACH] = 0;
    put(stages[0], fetch(p, packed, panel, 0));
    __syncthreads();
    for (int from = 0, turn = 0; from < p.k; from += DEPTH, turn ^= 1) {
        const int more = from + DEPTH < p.k;
        struct fetched next;
        if (more) next = fetch(p, packed, panel, from + DEPTH);
        add_stage(stages[turn], tx, ty, sums);
        if (more) put(stages[turn ^ 1], next);
        __syncthreads();
    }
}

/* Appends the thread's scores that are not below the floors and not masked. */
static __device__ __forceinline__ void offer(const struct wave_params &p, int64_t first_user, int64_t panel, int tx,
                                             int ty, const float (&sums)[EACH][EACH], struct tile_lists &held) {
#pragma unroll
    for (int u = 0; u < EACH; u++) {
        const int place = place_of(ty, u);
        const int64_t user = first_user + place;
        if (user >= p.n_users) continue;
        const float floor = held.floors[place], base = p.base[user];
#pragma unroll
        for (int m = 0; m < EACH; m++) {
            const int64_t position = panel * TOPK_PANEL + place_of(tx, m), mine = position / TOPK_PANEL;
            if (mine >= p.n_panels) continue;
            const float score = sums[u][m] + (base + p.bias[position]);
            if (!(score >= floor)) continue;
            if (p.masked[user * p.n_panels + mine] >> position % TOPK_PANEL & 1) continue;
            p.lists[user * p.list + atomicAdd(&held.counts[place], 1)] = key_of(score, p.panel_movies[position]);
        }
    }
}

union tile_room {
    struct stage stages[2];
    uint64_t keys[LIST_MAX];
};

static __global__ void __launch_bounds__(THREADS, 2) topk_kernel(const __grid_constant__ struct wave_params p) {
    extern __shared__ float4 shared[];
    __shared__ struct tile_lists held;
    union tile_room &room = *(union tile_room *)shared;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    const int64_t first_user = (int64_t)blockIdx.x * TILE;
    const float *packed = p.packed + (int64_t)blockIdx.x * p.k * TILE;
    for (int u = (int)threadIdx.x; u < TILE; u += THREADS) {
        held.counts[u] = 0;
        held.floors[u] = -3.402823466e38f;
    }
    __syncthreads();
    for (int64_t panel = 0; panel < p.n_panels; panel += QUARTER) {
        float sums[EACH][EACH];
        multiply(p, packed, panel, room.stages, tx, ty, sums);
        offer(p, first_user, panel, tx, ty, sums, held);
        prune_lists(p, first_user, held, room.keys);
    }
    write_lists(p, first_user, held, room.keys);
}

/* ---- the operator ---- */

static unsigned blocks_for(int64_t n) {
    return (unsigned)((n + THREADS - 1) / THREADS);
}

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

enum { EXCLUDED, CANDIDATES, ROWS, SEEN, PACKED, BASE, MASKED, LISTS, MOVIES, SCORES, PARTS };

/* Bytes of the working memory's parts for a wave. */
static size_t measure(const struct topk_users_args *args, int64_t wave, int list, size_t sizes[PARTS]) {
    const size_t users = (size_t)wave, padded = (users + TILE - 1) / TILE * TILE, n = (size_t)args->n;
    const size_t panels = (size_t)args->panels->n_panels;
    sizes[EXCLUDED] = panels * sizeof(uint32_t);
    sizes[CANDIDATES] = (size_t)args->panels->n_movies;
    sizes[ROWS] = sizes[SEEN] = users * sizeof(int32_t);
    sizes[PACKED] = padded * (size_t)args->panels->k * sizeof(float);
    sizes[BASE] = padded * sizeof(float);
    sizes[MASKED] = users * panels * sizeof(uint32_t);
    sizes[LISTS] = users * (size_t)list * sizeof(uint64_t);
    sizes[MOVIES] = users * n * sizeof(int32_t);
    sizes[SCORES] = users * n * sizeof(float);
    size_t sum = 0;
    for (int i = 0; i < PARTS; i++) sum += sizes[i] = aligned(sizes[i]);
    return sum;
}

/* Users a wave so that its working memory fits; whole tiles. NO_MEMORY when not even one tile does. */
static reel_status choose_wave(struct cuda_backend *cuda, const struct topk_users_args *args, int list, int64_t *wave,
                               reel_error *err) {
    size_t sizes[PARTS], available;
    TRY_RETURN(cuda->base.ops->free_memory(&cuda->base, &available, err));
    const size_t budget = available / 2 < WAVE_BYTES ? available / 2 : WAVE_BYTES;
    const size_t fixed = measure(args, 0, list, sizes), one = measure(args, TILE, list, sizes) - fixed;
    if (fixed + one > available)
        return error_set(err, REEL_NO_MEMORY, "cuda:%d: lists of %d movies need %zu MiB, %zu MiB are free",
                         cuda->device, args->n, (fixed + one) >> 20, available >> 20);
    const int64_t tiles = budget > fixed + one ? (int64_t)((budget - fixed) / one) : 1;
    *wave = tiles * TILE < args->n_users ? tiles * TILE : args->n_users;
    return REEL_OK;
}

static reel_status queue_wave(struct cuda_backend *cuda, const struct wave_params *p, reel_error *err) {
    const unsigned tiles = (unsigned)((p->n_users + TILE - 1) / TILE);
    mask_kernel<<<(unsigned)p->n_users, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "mask_kernel", err));
    pack_kernel<<<tiles, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "pack_kernel", err));
    TRY_RETURN(cuda_status(
        cuda,
        cudaFuncSetAttribute(topk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)sizeof(union tile_room)),
        "shared memory of topk_users", err));
    topk_kernel<<<tiles, THREADS, sizeof(union tile_room), cuda->stream>>>(*p);
    return cuda_launched(cuda, "topk_kernel", err);
}

static reel_status run_wave(struct cuda_backend *cuda, const struct topk_users_args *args, int64_t first,
                            struct wave_params *p, reel_error *err) {
    struct backend *backend = &cuda->base;
    const size_t users = (size_t)p->n_users, results = users * (size_t)p->n;
    TRY_RETURN(backend->ops->upload(backend, (void *)p->rows, args->rows + first, users * sizeof(int32_t), err));
    if (args->seen_offsets)
        TRY_RETURN(
            backend->ops->upload(backend, (void *)p->seen_rows, args->seen_rows + first, users * sizeof(int32_t), err));
    TRY_RETURN(queue_wave(cuda, p, err));
    TRY_RETURN(
        backend->ops->download(backend, args->movies + first * args->n, p->movies, results * sizeof(int32_t), err));
    return backend->ops->download(backend, args->scores + first * args->n, p->scores, results * sizeof(float), err);
}

static void fill_params(const struct topk_users_args *args, int list, char *const at[PARTS], struct wave_params *p) {
    const struct factor_panels *panels = args->panels;
    *p = {.n_movies = panels->n_movies,
          .k = panels->k,
          .n = args->n,
          .list = list,
          .n_panels = panels->n_panels,
          .stride = args->stride,
          .panels = panels->factors,
          .bias = panels->bias,
          .panel_movies = panels->movies,
          .positions = panels->positions,
          .candidates = args->candidates ? (const uint8_t *)at[CANDIDATES] : NULL,
          .rows = (const int32_t *)at[ROWS],
          .seen_rows = (const int32_t *)at[SEEN],
          .user_factors = args->user_factors,
          .user_bias = args->user_bias,
          .mean = args->mean,
          .seen_offsets = args->seen_offsets,
          .seen_movies = args->seen_movies,
          .packed = (float *)at[PACKED],
          .base = (float *)at[BASE],
          .excluded = (uint32_t *)at[EXCLUDED],
          .masked = (uint32_t *)at[MASKED],
          .lists = (uint64_t *)at[LISTS],
          .movies = (int32_t *)at[MOVIES],
          .scores = (float *)at[SCORES]};
}

reel_status cuda_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const struct factor_panels *panels = args->panels;
    size_t sizes[PARTS];
    char *memory, *at[PARTS];
    struct wave_params p;
    int64_t wave;
    int list = 2 * TILE;
    if (args->n > TOPK_DEVICE_N_MAX)
        return error_set(err, REEL_UNSUPPORTED, "the CUDA backend lists at most %d movies a user (found %d)",
                         TOPK_DEVICE_N_MAX, args->n);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n_users == 0) return REEL_OK;
    while (list < 2 * args->n || list < args->n + TILE) list *= 2;
    TRY_RETURN(choose_wave(cuda, args, list, &wave, err));
    TRY_RETURN(cuda_scratch(cuda, 0, measure(args, wave, list, sizes), (void **)&memory, err));
    for (int i = 0; i < PARTS; memory += sizes[i], i++) at[i] = memory;
    fill_params(args, list, at, &p);
    if (args->candidates)
        TRY_RETURN(backend->ops->upload(backend, at[CANDIDATES], args->candidates, (size_t)panels->n_movies, err));
    if (p.n_panels > 0) excluded_kernel<<<blocks_for(p.n_panels * 32), THREADS, 0, cuda->stream>>>(p);
    TRY_RETURN(cuda_launched(cuda, "excluded_kernel", err));
    for (int64_t first = 0; first < args->n_users; first += wave) {
        p.n_users = (int)(args->n_users - first < wave ? args->n_users - first : wave);
        TRY_RETURN(run_wave(cuda, args, first, &p, err));
    }
    return REEL_OK;
}
