/* topk_users on CUDA: a matrix product whose scores never leave the registers but for those that beat a user's n-th
 * best so far. A block takes TILE users against all movies, TILE movies at a time, 8 x 8 scores a thread. Each score is
 * the one chain of fused multiply-adds of backend/topk_ops.h, so lists equal those of the CPU, ties included. */
#include "core/error.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/top_lists.h"

enum {
    THREADS = LISTS_THREADS,
    TILE = 128, /* users, and movies at a time */
    EACH = 8,   /* of both a thread */
    DEPTH = 16, /* factors staged at a time */
    RESIDENT = 2,
    QUARTER = TILE / TOPK_PANEL
};

struct wave_params {
    int n_users, k;
    int64_t n_panels, stride;
    const float *panels, *bias;
    const int32_t *panel_movies;
    const int32_t *rows; /* (n_users,) */
    const float *user_factors, *user_bias;
    float mean;
    const uint32_t *masked; /* (n_users, n_panels) a bit a movie that the user does not get */
    float *packed;          /* (tiles, k, TILE) factors of the users */
    float *base;            /* (tiles * TILE,) */
    struct top_lists lists;
};

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
                                             int ty, const float (&sums)[EACH][EACH], struct held_lists<TILE> &held) {
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
            lists_offer(p.lists, first_user, place, score, p.panel_movies[position], held);
        }
    }
}

union tile_room {
    struct stage stages[2];
    uint64_t keys[LISTS_SORT_ROOM];
};

static __global__ void __launch_bounds__(THREADS, RESIDENT) topk_kernel(const __grid_constant__ struct wave_params p) {
    extern __shared__ float4 shared[];
    __shared__ struct held_lists<TILE> held;
    union tile_room &room = *(union tile_room *)shared;
    const int tx = (int)threadIdx.x % 16, ty = (int)threadIdx.x / 16;
    const int64_t first_user = (int64_t)blockIdx.x * TILE;
    const float *packed = p.packed + (int64_t)blockIdx.x * p.k * TILE;
    lists_clear(held, first_user, p.n_users);
    __syncthreads();
    for (int64_t panel = 0; panel < p.n_panels; panel += QUARTER) {
        float sums[EACH][EACH];
        multiply(p, packed, panel, room.stages, tx, ty, sums);
        offer(p, first_user, panel, tx, ty, sums, held);
        (void)lists_prune(p.lists, first_user, held, room.keys);
    }
    lists_write(p.lists, first_user, p.n_users, held, room.keys);
}

/* ---- the operator ---- */

static void fill_params(const struct topk_users_args *args, const struct lists_wave *wave, struct wave_params *p) {
    const struct factor_panels *panels = args->panels;
    const int64_t tiles = (wave->most_users + TILE - 1) / TILE;
    *p = {.n_users = wave->n_users,
          .k = panels->k,
          .n_panels = panels->n_panels,
          .stride = args->stride,
          .panels = panels->factors,
          .bias = panels->bias,
          .panel_movies = panels->movies,
          .rows = wave->rows,
          .user_factors = args->user_factors,
          .user_bias = args->user_bias,
          .mean = args->mean,
          .masked = wave->masks.masked,
          .packed = (float *)wave->own,
          .base = (float *)wave->own + tiles * panels->k * TILE,
          .lists = wave->lists};
}

static reel_status queue_wave(struct cuda_backend *cuda, const void *args, const struct lists_wave *wave,
                              reel_error *err) {
    const unsigned tiles = (unsigned)((wave->n_users + TILE - 1) / TILE);
    struct wave_params p;
    fill_params((const struct topk_users_args *)args, wave, &p);
    pack_kernel<<<tiles, THREADS, 0, wave->stream>>>(p);
    TRY_RETURN(cuda_launched(cuda, "pack_kernel", err));
    TRY_RETURN(cuda_status(
        cuda,
        cudaFuncSetAttribute(topk_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)sizeof(union tile_room)),
        "shared memory of topk_users", err));
    topk_kernel<<<tiles, THREADS, sizeof(union tile_room), wave->stream>>>(p);
    return cuda_launched(cuda, "topk_kernel", err);
}

reel_status cuda_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const struct factor_panels *panels = args->panels;
    const struct lists_job job = {.n_users = args->n_users,
                                  .n = args->n,
                                  .tile = TILE,
                                  .most = TILE,
                                  .resident = RESIDENT,
                                  .tile_bytes = ((size_t)panels->k + 1) * TILE * sizeof(float),
                                  .n_movies = panels->n_movies,
                                  .n_words = panels->n_panels,
                                  .panel_movies = panels->movies,
                                  .positions = panels->positions,
                                  .rows = args->rows,
                                  .seen_rows = args->seen_rows,
                                  .seen_offsets = args->seen_offsets,
                                  .seen_movies = args->seen_movies,
                                  .candidates = args->candidates,
                                  .movies = args->movies,
                                  .scores = args->scores};
    TRY_RETURN(cuda_backend_use(cuda, err));
    return args->n_users > 0 ? lists_run(cuda, &job, queue_wave, args, err) : REEL_OK;
}
