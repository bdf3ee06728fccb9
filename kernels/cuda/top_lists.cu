/* The host's part of top-n lists, and the masks. */
#include "kernels/cuda/top_lists.h"

#include "core/error.h"

static const size_t WAVE_BYTES = (size_t)1 << 30; /* of working memory, where the device has that much */

/* ---- masks ---- */

/* A warp a word: positions without a movie and movies that are no candidates. */
static __global__ void __launch_bounds__(LISTS_THREADS) excluded_kernel(const __grid_constant__ struct list_masks p) {
    const int64_t at = (int64_t)blockIdx.x * LISTS_THREADS + threadIdx.x, word = at / 32;
    if (word >= p.n_words) return;
    const int32_t movie = p.movies ? p.movies[at] : at < p.n_movies ? (int32_t)at : -1;
    const unsigned out = __ballot_sync(0xffffffffu, movie < 0 || (p.candidates && !p.candidates[movie]));
    if (threadIdx.x % 32 == 0) p.excluded[word] = out;
}

/* A block a user: its bits. */
static __global__ void __launch_bounds__(LISTS_THREADS) mask_kernel(const __grid_constant__ struct list_masks p) {
    const int64_t user = blockIdx.x;
    uint32_t *masked = p.masked + user * p.n_words;
    for (int64_t word = threadIdx.x; word < p.n_words; word += LISTS_THREADS) masked[word] = p.excluded[word];
    __syncthreads();
    if (!p.seen_offsets) return;
    const int64_t row = p.seen_rows[user], end = p.seen_offsets[row + 1];
    for (int64_t at = p.seen_offsets[row] + threadIdx.x; at < end; at += LISTS_THREADS) {
        const int32_t movie = p.seen_movies[at], position = p.positions ? p.positions[movie] : movie;
        atomicOr(&masked[position / 32], 1u << position % 32);
    }
}

/* ---- memory ---- */

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

enum { EXCLUDED, CANDIDATES, ROWS, SEEN, OWN, MASKED, KEYS, MOVIES, SCORES, PARTS };

/* Bytes of the working memory's parts for a wave of `users`. */
static size_t measure(const struct lists_job *job, int64_t users, int room, size_t sizes[PARTS]) {
    const size_t n_users = (size_t)users, n = (size_t)job->n, n_words = (size_t)job->n_words;
    sizes[EXCLUDED] = n_words * sizeof(uint32_t);
    sizes[CANDIDATES] = (size_t)job->n_movies;
    sizes[ROWS] = sizes[SEEN] = n_users * sizeof(int32_t);
    sizes[OWN] = (n_users + (size_t)job->tile - 1) / (size_t)job->tile * job->tile_bytes;
    sizes[MASKED] = n_users * n_words * sizeof(uint32_t);
    sizes[KEYS] = n_users * (size_t)room * sizeof(uint64_t);
    sizes[MOVIES] = n_users * n * sizeof(int32_t);
    sizes[SCORES] = n_users * n * sizeof(float);
    size_t sum = 0;
    for (int i = 0; i < PARTS; i++) sum += sizes[i] = aligned(sizes[i]);
    return sum;
}

/* Users a wave so that its working memory fits; whole tiles. */
static reel_status choose_wave(struct cuda_backend *cuda, const struct lists_job *job, int room, int64_t *users,
                               reel_error *err) {
    size_t sizes[PARTS], available;
    TRY_RETURN(cuda->base.ops->free_memory(&cuda->base, &available, err));
    const size_t budget = available / 2 < WAVE_BYTES ? available / 2 : WAVE_BYTES;
    const size_t fixed = measure(job, 0, room, sizes), one = measure(job, job->tile, room, sizes) - fixed;
    if (fixed + one > available)
        return error_set(err, REEL_NO_MEMORY, "cuda:%d: lists of %d movies need %zu MiB, %zu MiB are free",
                         cuda->device, job->n, (fixed + one) >> 20, available >> 20);
    const int64_t tiles = budget > fixed + one ? (int64_t)((budget - fixed) / one) : 1;
    *users = tiles * job->tile < job->n_users ? tiles * job->tile : job->n_users;
    return REEL_OK;
}

static void place_parts(const struct lists_job *job, int room, char *const at[PARTS], struct lists_wave *wave) {
    wave->rows = (int32_t *)at[ROWS];
    wave->own = at[OWN];
    wave->lists = {.n = job->n,
                   .room = room,
                   .most = job->most,
                   .keys = (uint64_t *)at[KEYS],
                   .movies = (int32_t *)at[MOVIES],
                   .scores = (float *)at[SCORES]};
    wave->masks = {.n_movies = job->n_movies,
                   .n_words = job->n_words,
                   .movies = job->panel_movies,
                   .positions = job->positions,
                   .candidates = job->candidates ? (const uint8_t *)at[CANDIDATES] : NULL,
                   .seen_rows = (const int32_t *)at[SEEN],
                   .seen_offsets = job->seen_offsets,
                   .seen_movies = job->seen_movies,
                   .excluded = (uint32_t *)at[EXCLUDED],
                   .masked = (uint32_t *)at[MASKED]};
}

reel_status lists_begin(struct cuda_backend *cuda, const struct lists_job *job, struct lists_wave *wave,
                        reel_error *err) {
    size_t sizes[PARTS];
    char *memory, *at[PARTS];
    int room = 2 * job->most;
    if (job->n > TOPK_DEVICE_N_MAX)
        return error_set(err, REEL_UNSUPPORTED, "the CUDA backend lists at most %d movies a user (found %d)",
                         TOPK_DEVICE_N_MAX, job->n);
    while (room < 2 * job->n || room < job->n + job->most) room *= 2;
    TRY_RETURN(choose_wave(cuda, job, room, &wave->most_users, err));
    TRY_RETURN(cuda_scratch(cuda, 0, measure(job, wave->most_users, room, sizes), (void **)&memory, err));
    for (int i = 0; i < PARTS; memory += sizes[i], i++) at[i] = memory;
    place_parts(job, room, at, wave);
    if (job->candidates)
        TRY_RETURN(cuda->base.ops->upload(&cuda->base, at[CANDIDATES], job->candidates, (size_t)job->n_movies, err));
    if (job->n_words > 0)
        excluded_kernel<<<(unsigned)((job->n_words * 32 + LISTS_THREADS - 1) / LISTS_THREADS), LISTS_THREADS, 0,
                          cuda->stream>>>(wave->masks);
    return cuda_launched(cuda, "excluded_kernel", err);
}

reel_status lists_upload(struct cuda_backend *cuda, const struct lists_job *job, int64_t first, struct lists_wave *wave,
                         reel_error *err) {
    const struct backend_ops *ops = cuda->base.ops;
    const int64_t left = job->n_users - first;
    wave->n_users = (int)(left < wave->most_users ? left : wave->most_users);
    const size_t bytes = (size_t)wave->n_users * sizeof(int32_t);
    TRY_RETURN(ops->upload(&cuda->base, wave->rows, job->rows + first, bytes, err));
    if (job->seen_offsets)
        TRY_RETURN(ops->upload(&cuda->base, (void *)wave->masks.seen_rows, job->seen_rows + first, bytes, err));
    mask_kernel<<<(unsigned)wave->n_users, LISTS_THREADS, 0, cuda->stream>>>(wave->masks);
    return cuda_launched(cuda, "mask_kernel", err);
}

reel_status lists_download(struct cuda_backend *cuda, const struct lists_job *job, int64_t first,
                           const struct lists_wave *wave, reel_error *err) {
    const struct backend_ops *ops = cuda->base.ops;
    const size_t results = (size_t)wave->n_users * (size_t)job->n;
    TRY_RETURN(
        ops->download(&cuda->base, job->movies + first * job->n, wave->lists.movies, results * sizeof(int32_t), err));
    return ops->download(&cuda->base, job->scores + first * job->n, wave->lists.scores, results * sizeof(float), err);
}
