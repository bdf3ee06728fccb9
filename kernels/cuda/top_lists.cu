/* The host's part of top-n lists, and the masks. */
#include "kernels/cuda/top_lists.h"

#include "core/error.h"

static const size_t WAVE_BYTES = (size_t)1 << 30; /* of working memory, where the device has that much */

enum { LANES = 2, WAVES = 4 }; /* waves at a time; that a job is cut in at least, where they fill the chip */

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

enum { EXCLUDED, CANDIDATES, SHARED_PARTS };
enum { ROWS, SEEN, OWN, MASKED, KEYS, MOVIES, SCORES, PARTS };

static size_t sum_of(size_t *sizes, int n) {
    size_t sum = 0;
    for (int i = 0; i < n; i++) sum += sizes[i] = aligned(sizes[i]);
    return sum;
}

/* Bytes of the parts that all waves share. */
static size_t measure_shared(const struct lists_job *job, size_t sizes[SHARED_PARTS]) {
    sizes[EXCLUDED] = (size_t)job->n_words * sizeof(uint32_t);
    sizes[CANDIDATES] = (size_t)job->n_movies;
    return sum_of(sizes, SHARED_PARTS);
}

/* Bytes of the parts of a wave of `users`. */
static size_t measure(const struct lists_job *job, int64_t users, int room, size_t sizes[PARTS]) {
    const size_t n_users = (size_t)users, n = (size_t)job->n;
    sizes[ROWS] = sizes[SEEN] = n_users * sizeof(int32_t);
    sizes[OWN] = (n_users + (size_t)job->tile - 1) / (size_t)job->tile * job->tile_bytes;
    sizes[MASKED] = n_users * (size_t)job->n_words * sizeof(uint32_t);
    sizes[KEYS] = n_users * (size_t)room * sizeof(uint64_t);
    sizes[MOVIES] = n_users * n * sizeof(int32_t);
    sizes[SCORES] = n_users * n * sizeof(float);
    return sum_of(sizes, PARTS);
}

/* Tiles a wave: a quarter of all, so that most lists go home while others are made, in whole loads of the chip. */
static int64_t wanted_tiles(const struct cuda_backend *cuda, const struct lists_job *job) {
    const int64_t all = (job->n_users + job->tile - 1) / job->tile;
    int processors = 1;
    (void)cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, cuda->device);
    const int64_t load = (int64_t)processors * job->resident, loads = all / WAVES / load;
    return (loads > 0 ? loads : 1) * load;
}

/* Users a wave so that the working memory of LANES waves fits; whole tiles. */
static reel_status choose_wave(struct cuda_backend *cuda, const struct lists_job *job, int room, int64_t *users,
                               reel_error *err) {
    size_t sizes[PARTS], shared[SHARED_PARTS], available;
    TRY_RETURN(cuda->base.ops->free_memory(&cuda->base, &available, err));
    const size_t budget = available / 2 < WAVE_BYTES ? available / 2 : WAVE_BYTES;
    const size_t fixed = measure_shared(job, shared), one = LANES * measure(job, job->tile, room, sizes);
    if (fixed + one > available)
        return error_set(err, REEL_NO_MEMORY, "cuda:%d: lists of %d movies need %zu MiB, %zu MiB are free",
                         cuda->device, job->n, (fixed + one) >> 20, available >> 20);
    int64_t tiles = budget > fixed + one ? (int64_t)((budget - fixed) / one) : 1;
    const int64_t wanted = wanted_tiles(cuda, job);
    if (tiles > wanted) tiles = wanted;
    *users = tiles * job->tile < job->n_users ? tiles * job->tile : job->n_users;
    return REEL_OK;
}

static void place_parts(const struct lists_job *job, int room, char *const shared[SHARED_PARTS], char *const at[PARTS],
                        struct lists_wave *wave) {
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
                   .candidates = job->candidates ? (const uint8_t *)shared[CANDIDATES] : NULL,
                   .seen_rows = (const int32_t *)at[SEEN],
                   .seen_offsets = job->seen_offsets,
                   .seen_movies = job->seen_movies,
                   .excluded = (uint32_t *)shared[EXCLUDED],
                   .masked = (uint32_t *)at[MASKED]};
}

static reel_status make_room(struct cuda_backend *cuda, const struct lists_job *job, struct lists_wave waves[LANES],
                             reel_error *err) {
    size_t sizes[PARTS], shared_sizes[SHARED_PARTS];
    char *memory, *at[PARTS], *shared[SHARED_PARTS];
    int64_t users;
    int room = 2 * job->most;
    if (job->n > TOPK_DEVICE_N_MAX)
        return error_set(err, REEL_UNSUPPORTED, "the CUDA backend lists at most %d movies a user (found %d)",
                         TOPK_DEVICE_N_MAX, job->n);
    while (room < 2 * job->n || room < job->n + job->most) room *= 2;
    TRY_RETURN(choose_wave(cuda, job, room, &users, err));
    const size_t bytes = measure_shared(job, shared_sizes) + LANES * measure(job, users, room, sizes);
    TRY_RETURN(cuda_scratch(cuda, 0, bytes, (void **)&memory, err));
    for (int i = 0; i < SHARED_PARTS; memory += shared_sizes[i], i++) shared[i] = memory;
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < PARTS; memory += sizes[i], i++) at[i] = memory;
        place_parts(job, room, shared, at, &waves[lane]);
        waves[lane].most_users = users;
        waves[lane].stream = lane ? cuda->beside : cuda->stream;
    }
    return REEL_OK;
}

/* ---- waves ---- */

/* Marks the movies that nobody gets. From here on `beside` goes its own way. */
static reel_status begin(struct cuda_backend *cuda, const struct lists_job *job, const struct lists_wave *wave,
                         reel_error *err) {
    if (job->candidates)
        TRY_RETURN(cuda_copy_up(cuda, cuda->stream, (void *)wave->masks.candidates, job->candidates,
                                (size_t)job->n_movies, err));
    if (job->n_words > 0)
        excluded_kernel<<<(unsigned)((job->n_words * 32 + LISTS_THREADS - 1) / LISTS_THREADS), LISTS_THREADS, 0,
                          cuda->stream>>>(wave->masks);
    TRY_RETURN(cuda_launched(cuda, "excluded_kernel", err));
    TRY_RETURN(cuda_status(cuda, cudaEventRecord(cuda->so_far, cuda->stream), "marking a place", err));
    return cuda_status(cuda, cudaStreamWaitEvent(cuda->beside, cuda->so_far, 0), "waiting for a place", err);
}

/* Users wave->first .. of the job: their rows and masks. */
static reel_status upload(struct cuda_backend *cuda, const struct lists_job *job, struct lists_wave *wave,
                          reel_error *err) {
    const int64_t left = job->n_users - wave->first;
    wave->n_users = (int)(left < wave->most_users ? left : wave->most_users);
    const size_t bytes = (size_t)wave->n_users * sizeof(int32_t);
    TRY_RETURN(cuda_copy_up(cuda, wave->stream, wave->rows, job->rows + wave->first, bytes, err));
    if (job->seen_offsets)
        TRY_RETURN(
            cuda_copy_up(cuda, wave->stream, (void *)wave->masks.seen_rows, job->seen_rows + wave->first, bytes, err));
    mask_kernel<<<(unsigned)wave->n_users, LISTS_THREADS, 0, wave->stream>>>(wave->masks);
    return cuda_launched(cuda, "mask_kernel", err);
}

/* Fetches a wave's lists; waits. */
static reel_status download(struct cuda_backend *cuda, const struct lists_job *job, const struct lists_wave *wave,
                            reel_error *err) {
    const size_t results = (size_t)wave->n_users * (size_t)job->n;
    const int64_t at = wave->first * job->n;
    TRY_RETURN(
        cuda_copy_down(cuda, wave->stream, job->movies + at, wave->lists.movies, results * sizeof(int32_t), err));
    return cuda_copy_down(cuda, wave->stream, job->scores + at, wave->lists.scores, results * sizeof(float), err);
}

static reel_status run_waves(struct cuda_backend *cuda, const struct lists_job *job, struct lists_wave waves[LANES],
                             lists_queue queue, const void *args, reel_error *err) {
    const int64_t n = (job->n_users + waves->most_users - 1) / waves->most_users;
    for (int64_t step = 0; step <= n; step++) {
        struct lists_wave *wave = &waves[step % LANES];
        if (step < n) {
            wave->first = step * wave->most_users;
            TRY_RETURN(upload(cuda, job, wave, err));
            TRY_RETURN(queue(cuda, args, wave, err));
        }
        if (step > 0) TRY_RETURN(download(cuda, job, &waves[(step - 1) % LANES], err));
    }
    return REEL_OK;
}

reel_status lists_run(struct cuda_backend *cuda, const struct lists_job *job, lists_queue queue, const void *args,
                      reel_error *err) {
    struct lists_wave waves[LANES] = {};
    TRY_RETURN(make_room(cuda, job, waves, err));
    TRY_RETURN(begin(cuda, job, waves, err));
    reel_status status = run_waves(cuda, job, waves, queue, args, err);
    if (status != REEL_OK) (void)cudaStreamSynchronize(cuda->beside); /* the working memory is its no longer */
    return status;
}
