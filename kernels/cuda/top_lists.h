/* Top-n lists on CUDA, for the operators that select while they score. A block takes a tile of users against all
 * movies. Scores that reach a user's floor (the n-th best so far) join the user's list in global memory; when a list
 * might overflow, a warp sorts it in shared memory and keeps the n best, which sets the floor. The order of arrival
 * varies from run to run, what is kept does not: keys are distinct. Which movies a user does not get is a bit a movie.
 *
 * The host's part is lists_run: users come in waves, on two streams in turn and each with working memory of its own,
 * so that one wave's lists go to the host while the next one is at work. */
#ifndef KERNELS_CUDA_TOP_LISTS_H
#define KERNELS_CUDA_TOP_LISTS_H

#include <math.h>
#include <stdint.h>

#include "backend/topk_ops.h"
#include "kernels/cuda/backend_cuda.h"

enum {
    LISTS_THREADS = 256, /* of every block that holds lists */
    LISTS_WARPS = LISTS_THREADS / 32,
    LISTS_SORT_ROOM = 2 * TOPK_DEVICE_N_MAX /* keys in shared memory, for the warps that sort */
};

/* ---- on the host ---- */

struct top_lists {
    int n;           /* movies wanted, 1 .. TOPK_DEVICE_N_MAX */
    int room;        /* keys a list holds: a power of two, at least n + most */
    int most;        /* keys that may join a list between two cuts, at most TOPK_DEVICE_N_MAX */
    uint64_t *keys;  /* (n_users, room) */
    int32_t *movies; /* (n_users, n) out */
    float *scores;   /* (n_users, n) out */
};

struct list_masks {
    int32_t n_movies;
    int64_t n_words;
    const int32_t *movies;     /* (n_words * 32,) movie at a position, -1 = none; NULL = its own */
    const int32_t *positions;  /* (n_movies,) position of a movie; NULL = its own */
    const uint8_t *candidates; /* (n_movies,) or NULL */
    const int32_t *seen_rows;  /* (n_users,) */
    const int64_t *seen_offsets;
    const int32_t *seen_movies;
    uint32_t *excluded; /* (n_words,) a bit a position that nobody gets */
    uint32_t *masked;   /* (n_users, n_words) a bit a position that the user does not get */
};

/* What an operator asks for; pointers are to the host's memory but for those marked (dev). */
struct lists_job {
    int64_t n_users;
    int n, tile, most; /* movies wanted; users a block; see struct top_lists */
    int resident;      /* blocks that a multiprocessor has at a time */
    size_t tile_bytes; /* of the operator's own working memory a tile */
    int32_t n_movies;
    int64_t n_words;                         /* n_movies / 32, rounded up */
    const int32_t *panel_movies, *positions; /* (dev) see struct list_masks */
    const int32_t *rows, *seen_rows;         /* (n_users,) */
    const int64_t *seen_offsets;             /* (dev) NULL = nobody has seen anything */
    const int32_t *seen_movies;              /* (dev) */
    const uint8_t *candidates;               /* (n_movies,) NULL = all */
    int32_t *movies;                         /* (n_users, n) out */
    float *scores;                           /* (n_users, n) out */
};

/* Working memory on the device of every second wave. */
struct lists_wave {
    cudaStream_t stream;
    int64_t most_users; /* a wave; whole tiles unless it is all users */
    int64_t first;      /* user of the wave at hand, */
    int n_users;        /* and how many */
    int32_t *rows;      /* (n_users,) of the job */
    char *own;          /* tile_bytes a tile */
    struct top_lists lists;
    struct list_masks masks;
};

/* Queues an operator's kernels for a wave on its stream: from rows and masks to lists. */
typedef reel_status (*lists_queue)(struct cuda_backend *cuda, const void *args, const struct lists_wave *wave,
                                   reel_error *err);
/* All waves of a job; `args` are for `queue`. Takes scratch slot 0. UNSUPPORTED above TOPK_DEVICE_N_MAX movies a list,
 * NO_MEMORY when not even one tile fits. n_users is at least 1. Waits. */
reel_status lists_run(struct cuda_backend *cuda, const struct lists_job *job, lists_queue queue, const void *args,
                      reel_error *err);

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

/* ---- a block's lists ---- */

/* What the users of a tile hold. */
template <int USERS> struct held_lists {
    int counts[USERS];
    float floors[USERS];   /* scores below cannot get in */
    uint64_t least[USERS]; /* neither can keys up to this one */
};

/* The whole block; the caller's next barrier makes it visible. Places past the last user get nothing. */
template <int USERS>
static __device__ __forceinline__ void lists_clear(struct held_lists<USERS> &held, int64_t first_user, int n_users) {
    for (int u = (int)threadIdx.x; u < USERS; u += LISTS_THREADS) {
        held.counts[u] = 0;
        held.floors[u] = first_user + u < n_users ? -3.402823466e38f : INFINITY;
        held.least[u] = 0;
    }
}

/* Offers a score that is not below the floor. */
template <int USERS>
static __device__ __forceinline__ void lists_offer(const struct top_lists &lists, int64_t first_user, int place,
                                                   float score, int32_t movie, struct held_lists<USERS> &held) {
    const uint64_t key = key_of(score, movie);
    if (key > held.least[place])
        lists.keys[(first_user + place) * lists.room + atomicAdd(&held.counts[place], 1)] = key;
}

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

/* One warp: a user's list sorted in `room`; returns how many of the best were kept, at most n. */
static __device__ int sort_list(const struct top_lists &lists, const uint64_t *list, int count, uint64_t *room) {
    const int lane = (int)threadIdx.x % 32;
    int size = 2;
    while (size < count) size *= 2;
    for (int i = lane; i < size; i += 32) room[i] = i < count ? list[i] : 0; /* 0 is below every key */
    __syncwarp();
    sort_keys(room, size);
    return count < lists.n ? count : lists.n;
}

/* Warps that sort at the same time, each in lists.room keys of LISTS_SORT_ROOM. */
static __device__ __forceinline__ int lists_sorters(const struct top_lists &lists) {
    return LISTS_SORT_ROOM / lists.room < LISTS_WARPS ? LISTS_SORT_ROOM / lists.room : (int)LISTS_WARPS;
}

/* Cuts the lists that could overflow with the next `most` keys down to their n best; returns whether there were any,
 * so that `room` (LISTS_SORT_ROOM,) was written. The whole block; begins and ends with a barrier. */
template <int USERS>
static __device__ int lists_prune(const struct top_lists &lists, int64_t first_user, struct held_lists<USERS> &held,
                                  uint64_t *room) {
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, sorters = lists_sorters(lists);
    const int limit = lists.room - lists.most;
    __syncthreads();
    if (!__syncthreads_or(threadIdx.x < USERS && held.counts[threadIdx.x] > limit)) return 0;
    for (int u = warp; u < USERS && warp < sorters; u += sorters) {
        if (held.counts[u] <= limit) continue;
        uint64_t *list = lists.keys + (first_user + u) * lists.room, *keys = room + warp * lists.room;
        const int kept = sort_list(lists, list, held.counts[u], keys);
        for (int i = lane; i < kept; i += 32) list[i] = keys[i];
        __syncwarp();
        if (lane == 0) {
            held.counts[u] = kept;
            if (kept == lists.n) {
                held.floors[u] = score_of(keys[kept - 1]);
                held.least[u] = keys[kept - 1];
            }
        }
        __syncwarp();
    }
    __syncthreads();
    return 1;
}

/* The tile's answers. The whole block; begins with a barrier. */
template <int USERS>
static __device__ void lists_write(const struct top_lists &lists, int64_t first_user, int n_users,
                                   const struct held_lists<USERS> &held, uint64_t *room) {
    const int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32, sorters = lists_sorters(lists);
    __syncthreads();
    for (int u = warp; u < USERS && warp < sorters && first_user + u < n_users; u += sorters) {
        const int64_t user = first_user + u;
        uint64_t *keys = room + warp * lists.room;
        const int kept = sort_list(lists, lists.keys + user * lists.room, held.counts[u], keys);
        for (int i = lane; i < lists.n; i += 32) {
            lists.movies[user * lists.n + i] = i < kept ? (int32_t) ~(uint32_t)keys[i] : -1;
            lists.scores[user * lists.n + i] = i < kept ? score_of(keys[i]) : NAN;
        }
        __syncwarp();
    }
}

#endif
