/* sgd_epoch on CUDA: a warp a user band, which walks its blocks in the order of the epoch. What the epoch means is what
 * the sequential program does (backend/sgd_ops.h), and the bits are that program's: two blocks that share a movie band
 * keep their order by a ticket, two of one user band by their warp. How it walks a tile is in sgd_walk.h. */
#include "backend/sgd_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/sgd_walk.h"
#include "kernels/cuda/ticket.h"

enum { THREADS = 128, WARPS = THREADS / 32 };

/* A block of a warp, how many blocks of its movie band come before it, and its tiles: the places of tile_order, and the
 * first one itself, as most blocks have no other. */
struct alignas(16) band_step {
    int32_t block, ticket;
    int64_t tiles_begin;
    struct sgd_tile first;
    int64_t tiles_end;
};

struct epoch_params {
    int32_t n_user_bands, n_movie_bands;
    int stride;
    const struct band_step *steps; /* (n_user_bands, n_movie_bands) */
    const int32_t *tile_order;
    const struct sgd_tile *tiles;
    const uint32_t *entries;
    float *users, *movies;
    const float *value; /* (SGD_VALUES,) */
    const float *rates; /* (4, stride) user step, user keep, movie step, movie keep */
    int *finished;      /* (n_movie_bands,) blocks done */
    double *squared;    /* (n_blocks,) */
};

/* ---- the schedule ---- */

/* Brings what lies there to the L2 cache. */
static __device__ __forceinline__ void prefetch(const void *at) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
}

/* The same for a tile's entries, up to 32 lines of them. */
static __device__ __forceinline__ void prefetch_entries(const uint32_t *entries, const struct sgd_tile &tile,
                                                        int lane) {
    if (32 * lane < tile.n_entries) prefetch(entries + tile.entry_begin + 32 * lane);
}

/* A walk of users and movies, with its ring in `room` empty. */
template <int N, int AHEAD>
static __device__ __forceinline__ struct walk<N, AHEAD> walk_new(const struct epoch_params &p,
                                                                 struct warp_room<N, AHEAD> *room, int lane) {
    struct walk<N, AHEAD> w = {};
    w.room = room;
    w.copied[0] = kept(p.users + 4 * lane);
    w.copied[1] = kept(p.movies + 4 * lane);
    w.stored[0] = kept(p.users + lane);
    w.stored[1] = kept(p.movies + lane);
    w.value = p.value;
    w.lane_value = p.value[lane % SGD_VALUES];
    w.stride = p.stride;
    w.lane = lane;
    float *rows = (float *)room->rows;
    for (int i = lane; i < AHEAD * 2 * N * 32; i += 32) rows[i] = 0; /* past the stride it stays so */
    return w;
}

/* Visits a block when its movie band's turn has come. Returns the sum of the squared errors. */
template <int N, int AHEAD>
static __device__ __forceinline__ double walk_block(struct walk<N, AHEAD> &w, const struct epoch_params &p,
                                                    const struct lane_rates &rates, const struct band_step &step,
                                                    int *finished) {
    double squared = 0;
    int waited = 0;
    for (int64_t t = step.tiles_begin; t < step.tiles_end; t++) {
        const struct sgd_tile tile = t == step.tiles_begin ? step.first : p.tiles[p.tile_order[t]];
        w.begins[0] = (uint32_t)tile.user_begin * (uint32_t)(p.stride / SGD_LANES);
        w.begins[1] = (uint32_t)tile.movie_begin * (uint32_t)(p.stride / SGD_LANES);
        w.entries = p.entries + tile.entry_begin;
        w.n = tile.n_entries;
        if (w.n == 0) continue;
        if (tile.one_movie)
            squared += walk_movie(w, rates, waited ? NULL : finished, step.ticket);
        else
            squared += walk_tile(w, rates, waited ? NULL : finished, step.ticket);
        waited = 1;
    }
    if (!waited) await_ticket(finished, step.ticket, w.lane);
    return squared;
}

/* A warp waits only for blocks that come before its own in block_order, and all warps are resident (the launch is a
 * cooperative one): the first block in that order that is not done can always go on. The second bound allows the
 * compiler all registers: a processor seldom has more than one block of threads. */
template <int N, int AHEAD>
static __global__ void __launch_bounds__(THREADS, 1) epoch_kernel(const __grid_constant__ struct epoch_params p) {
    extern __shared__ float4 shared[];
    const int band = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    struct warp_room<N, AHEAD> *room = (struct warp_room<N, AHEAD> *)shared + threadIdx.x / 32;
    if (band >= p.n_user_bands) return;
    struct walk<N, AHEAD> w = walk_new(p, room, lane);
    const struct lane_rates rates = load_rates<N>(p.rates, p.stride, lane);
    const struct band_step *steps = p.steps + (int64_t)band * p.n_movie_bands;
    struct band_step next = steps[0];
    for (int i = 0; i < p.n_movie_bands; i++) {
        const struct band_step step = next;
        int *finished = p.finished + (step.block - band * p.n_movie_bands);
        /* The walk has no scoreboard to spare: the compiler waits for the next step before it. So that one comes from
         * the L2 cache, and of the one behind it both sectors are on their way there. */
        if (i + 1 < p.n_movie_bands) next = steps[i + 1];
        if (i + 2 < p.n_movie_bands) prefetch((const char *)(steps + i + 2) + lane % 2 * 32);
        const double squared = walk_block(w, p, rates, step, finished);
        prefetch_entries(p.entries, next.first, lane);
        hand_on(finished, step.ticket, lane);
        if (lane == 0) p.squared[step.block] = squared;
    }
}

/* ---- the order of the blocks ---- */

/* place (n_blocks,) of each block in block_order. */
static __global__ void place_kernel(const int32_t *block_order, int32_t n_blocks, int32_t *place) {
    const int32_t i = (int32_t)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n_blocks) place[block_order[i]] = i;
}

/* Block (user band u, movie band m) comes after as many blocks of its row of `place` as have an earlier place, and of
 * its movie band likewise. A thread a block. */
static __global__ void steps_kernel(const int32_t *place, const int64_t *block_tiles,
                                    const __grid_constant__ struct epoch_params p, struct band_step *steps) {
    const int32_t user = (int32_t)blockIdx.y, movie = (int32_t)(blockIdx.x * blockDim.x + threadIdx.x);
    if (movie >= p.n_movie_bands) return;
    const int32_t *row = place + (int64_t)user * p.n_movie_bands, mine = row[movie];
    int32_t at = 0, ticket = 0;
    for (int32_t m = 0; m < p.n_movie_bands; m++) at += row[m] < mine;
    for (int32_t u = 0; u < p.n_user_bands; u++) ticket += place[(int64_t)u * p.n_movie_bands + movie] < mine;
    struct band_step step = {};
    step.block = user * p.n_movie_bands + movie;
    step.ticket = ticket;
    step.tiles_begin = block_tiles[step.block];
    step.tiles_end = block_tiles[step.block + 1];
    if (step.tiles_begin < step.tiles_end) step.first = p.tiles[p.tile_order[step.tiles_begin]];
    steps[(int64_t)user * p.n_movie_bands + at] = step;
}

/* ---- the operator ---- */

/* UNSUPPORTED when the device cannot hold all warps at once. */
template <int N, int AHEAD>
static reel_status launch(struct cuda_backend *cuda, const struct epoch_params *p, reel_error *err) {
    struct epoch_params params = *p;
    void *arguments[] = {&params};
    const int shared = WARPS * (int)sizeof(struct warp_room<N, AHEAD>);
    const int blocks = (p->n_user_bands + WARPS - 1) / WARPS;
    int each = 0, processors = 0;
    if (cudaFuncSetAttribute(epoch_kernel<N, AHEAD>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared) ==
            cudaSuccess &&
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, epoch_kernel<N, AHEAD>, THREADS, shared) == cudaSuccess)
        TRY_RETURN(cuda_status(cuda, cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, cuda->device),
                               "asking for its processors", err));
    (void)cudaGetLastError();
    if (each * processors < blocks)
        return error_set(err, REEL_UNSUPPORTED,
                         "cuda:%d has room for %d user bands of svd at once (found %d): give it fewer (-p bands=N)",
                         cuda->device, each * processors * WARPS, p->n_user_bands);
    return cuda_status(cuda,
                       cudaLaunchCooperativeKernel(epoch_kernel<N, AHEAD>, dim3((unsigned)blocks), dim3(THREADS),
                                                   arguments, (size_t)shared, cuda->stream),
                       "epoch_kernel", err);
}

/* With a long ring, or a short one where that does not fit. */
template <int N, int AHEAD>
static reel_status launch_rows(struct cuda_backend *cuda, const struct epoch_params *p, reel_error *err) {
    reel_status status = launch<N, AHEAD>(cuda, p, err);
    return AHEAD > 4 && status == REEL_UNSUPPORTED ? launch<N, 4>(cuda, p, err) : status;
}

static reel_status launch_for(struct cuda_backend *cuda, const struct epoch_params *p, reel_error *err) {
    typedef reel_status (*launcher)(struct cuda_backend *, const struct epoch_params *, reel_error *);
    static const launcher by_elements[EXACT] = {launch_rows<1, 8>, launch_rows<2, 8>, launch_rows<3, 8>,
                                                launch_rows<4, 8>, launch_rows<5, 8>, launch_rows<6, 8>,
                                                launch_rows<7, 8>, launch_rows<8, 8>, launch_rows<9, 8>};
    const int elements = (p->stride + 31) / 32;
    if (elements <= EXACT) return by_elements[elements - 1](cuda, p, err);
    return elements <= 16 ? launch_rows<16, 8>(cuda, p, err) : launch_rows<(SGD_STRIDE_MAX + 31) / 32, 4>(cuda, p, err);
}

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* `steps` of block_order; order and place (n_blocks,) are room for it. */
static reel_status make_steps(struct cuda_backend *cuda, const struct sgd_epoch_args *args,
                              const struct epoch_params *p, int32_t *order, int32_t *place, struct band_step *steps,
                              reel_error *err) {
    const int32_t n_blocks = args->n_user_bands * args->n_movie_bands;
    const dim3 grid((unsigned)(args->n_movie_bands + THREADS - 1) / THREADS, (unsigned)args->n_user_bands);
    TRY_RETURN(cuda->base.ops->upload(&cuda->base, order, args->block_order, (size_t)n_blocks * sizeof *order, err));
    place_kernel<<<(unsigned)(n_blocks + THREADS - 1) / THREADS, THREADS, 0, cuda->stream>>>(order, n_blocks, place);
    TRY_RETURN(cuda_launched(cuda, "place_kernel", err));
    steps_kernel<<<grid, THREADS, 0, cuda->stream>>>(place, args->block_tiles, *p, steps);
    return cuda_launched(cuda, "steps_kernel", err);
}

/* Working memory for what changes from epoch to epoch, filled. */
static reel_status place_inputs(struct cuda_backend *cuda, const struct sgd_epoch_args *args, struct epoch_params *p,
                                reel_error *err) {
    struct backend *backend = &cuda->base;
    const size_t n_blocks = (size_t)args->n_user_bands * (size_t)args->n_movie_bands;
    const size_t row = (size_t)args->stride * sizeof(float);
    const size_t sizes[] = {aligned(n_blocks * sizeof(struct band_step)),
                            aligned((size_t)args->n_tiles * sizeof(int32_t)),
                            aligned(SGD_VALUES * sizeof(float)),
                            aligned(4 * row),
                            aligned((size_t)args->n_movie_bands * sizeof(int)),
                            aligned(n_blocks * sizeof(double)),
                            aligned(n_blocks * sizeof(int32_t)),
                            aligned(n_blocks * sizeof(int32_t))};
    enum { PARTS = sizeof sizes / sizeof sizes[0] };
    size_t bytes = 0;
    char *at[PARTS], *memory;
    for (int i = 0; i < PARTS; i++) bytes += sizes[i];
    TRY_RETURN(cuda_scratch(cuda, 0, bytes, (void **)&memory, err));
    for (int i = 0; i < PARTS; memory += sizes[i], i++) at[i] = memory;
    const float *const rates[] = {args->user_step, args->user_keep, args->movie_step, args->movie_keep};
    TRY_RETURN(backend->ops->upload(backend, at[1], args->tile_order, (size_t)args->n_tiles * sizeof(int32_t), err));
    TRY_RETURN(backend->ops->upload(backend, at[2], args->value, SGD_VALUES * sizeof(float), err));
    for (int q = 0; q < 4; q++) TRY_RETURN(backend->ops->upload(backend, at[3] + (size_t)q * row, rates[q], row, err));
    TRY_RETURN(backend->ops->zero(backend, at[4], sizes[4], err));
    p->steps = (const struct band_step *)at[0];
    p->tile_order = (const int32_t *)at[1];
    p->value = (const float *)at[2];
    p->rates = (const float *)at[3];
    p->finished = (int *)at[4];
    p->squared = (double *)at[5];
    return make_steps(cuda, args, p, (int32_t *)at[6], (int32_t *)at[7], (struct band_step *)at[0], err);
}

reel_status cuda_sgd_epoch(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const size_t n_blocks = (size_t)args->n_user_bands * (size_t)args->n_movie_bands;
    struct epoch_params p = {.n_user_bands = args->n_user_bands,
                             .n_movie_bands = args->n_movie_bands,
                             .stride = args->stride,
                             .tiles = args->tiles,
                             .entries = args->entries,
                             .users = args->users,
                             .movies = args->movies};
    if (args->stride < SGD_LANES || args->stride > SGD_STRIDE_MAX || args->stride % SGD_LANES)
        return error_set(err, REEL_INTERNAL, "sgd_epoch takes rows of up to %d floats (found %d)", SGD_STRIDE_MAX,
                         args->stride);
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->stop && args->stop(args->stop_arg))
        return error_set(err, REEL_CANCELLED, "interrupted; nothing was changed");
    TRY_RETURN(place_inputs(cuda, args, &p, err));
    TRY_RETURN(launch_for(cuda, &p, err));
    if (args->meanwhile) args->meanwhile(args->meanwhile_arg);
    return backend->ops->download(backend, args->block_squared, p.squared, n_blocks * sizeof(double), err);
}
