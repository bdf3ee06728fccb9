/* sgd_epoch on CUDA: a warp a user band, which walks its blocks in the order of the epoch. What the epoch means is what
 * the sequential program does (backend/sgd_ops.h), and the bits are that program's: two blocks that share a movie band
 * keep their order by a ticket, two of one user band by their warp.
 *
 * Lane l holds elements l, l + 32, ... of a row: the first half of the warp has the vectors of even number, the second
 * half those of odd number, so that the partial sums and their tree are those of the specification. A movie that
 * follows itself, or a user, stays in registers; the next visit's rows are fetched before this one is worked out. */
#include "backend/sgd_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum { THREADS = 128, WARPS = THREADS / 32, FETCH_AHEAD = 4 };

static const unsigned WHOLE_WARP = 0xffffffffu;

/* A warp's next block, and how many blocks of its movie band come before it. */
struct band_step {
    int32_t block, ticket;
};

struct epoch_params {
    int32_t n_user_bands, n_movie_bands;
    int stride;
    const struct band_step *steps; /* (n_user_bands, n_movie_bands) */
    const int64_t *block_tiles;
    const int32_t *tile_order;
    const struct sgd_tile *tiles;
    const uint32_t *entries;
    float *users, *movies;
    const float *value; /* (SGD_VALUES,) */
    const float *rates; /* (4, stride) user step, user keep, movie step, movie keep */
    int *finished;      /* (n_movie_bands,) blocks done */
    double *squared;    /* (n_blocks,) */
};

/* ---- one visit ---- */

/* As sgd_entry_user and sgd_entry_movie. */
static __device__ __forceinline__ int32_t user_of(uint32_t entry) {
    return (int32_t)(entry >> 22);
}

static __device__ __forceinline__ int32_t movie_of(uint32_t entry) {
    return (int32_t)(entry >> 4 & (SGD_TILE_MOVIES - 1));
}

/* What a lane needs of the rates: all elements but those of the last vector share `common`. */
struct lane_rates {
    float common[4], last[4];
    int last_begin; /* elements from here on are of the last vector */
    float value;    /* of half-star value `lane` */
};

static __device__ __forceinline__ struct lane_rates load_rates(const struct epoch_params &p, int lane) {
    struct lane_rates rates;
    rates.last_begin = p.stride - SGD_LANES;
    for (int q = 0; q < 4; q++) {
        rates.common[q] = p.rates[q * p.stride];
        rates.last[q] = p.rates[q * p.stride + rates.last_begin + lane % SGD_LANES];
    }
    rates.value = p.value[lane % SGD_VALUES];
    return rates;
}

template <int N>
static __device__ __forceinline__ void load_row(float (&row)[N], const float *from, int stride, int lane) {
#pragma unroll
    for (int i = 0; i < N; i++) row[i] = i * 32 + lane < stride ? from[i * 32 + lane] : 0;
}

template <int N>
static __device__ __forceinline__ void store_row(const float (&row)[N], float *to, int stride, int lane) {
#pragma unroll
    for (int i = 0; i < N; i++)
        if (i * 32 + lane < stride) to[i * 32 + lane] = row[i];
}

/* The error before the visit, on every lane. */
template <int N>
static __device__ __forceinline__ float visit(float (&a)[N], float (&b)[N], const struct lane_rates &rates, float value,
                                              int lane) {
    float sum = a[0] * b[0];
#pragma unroll
    for (int i = 1; i < N; i++) sum = fmaf(a[i], b[i], sum);
    for (int half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(WHOLE_WARP, sum, half);
    const float error = value - sum;
    const float user_common = error * rates.common[0], user_last = error * rates.last[0];
    const float movie_common = error * rates.common[2], movie_last = error * rates.last[2];
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int last = i * 32 + lane >= rates.last_begin;
        const float old = a[i];
        a[i] = fmaf(last ? user_last : user_common, b[i], (last ? rates.last[1] : rates.common[1]) * old);
        b[i] = fmaf(last ? movie_last : movie_common, old, (last ? rates.last[3] : rates.common[3]) * b[i]);
    }
    return error;
}

/* Asks for a user's row some visits ahead; a lane a line of 128 bytes. */
static __device__ __forceinline__ void fetch_row(const float *row, int stride, int lane) {
    if (lane * 32 < stride) asm volatile("prefetch.global.L1 [%0];" ::"l"(row + lane * 32));
}

template <int N>
static __device__ __forceinline__ double visit_tile(const struct epoch_params &p, const struct sgd_tile &tile,
                                                    const struct lane_rates &rates, int lane) {
    float *users = p.users + (int64_t)tile.user_begin * p.stride;
    float *movies = p.movies + (int64_t)tile.movie_begin * p.stride;
    const uint32_t *entries = p.entries + tile.entry_begin;
    double squared = 0;
    if (tile.n_entries == 0) return 0;
    /* 32 entries from a multiple of 32 on; SGD_AHEAD past the last may be read */
    uint32_t words = entries[lane], entry = __shfl_sync(WHOLE_WARP, words, 0);
    float a[N], b[N], next_a[N] = {}, next_b[N] = {};
    load_row<N>(a, users + (int64_t)user_of(entry) * p.stride, p.stride, lane);
    load_row<N>(b, movies + (int64_t)movie_of(entry) * p.stride, p.stride, lane);
    for (int32_t i = 0; i < tile.n_entries; i++) {
        const int more = i + 1 < tile.n_entries, at = (i + 1) % 32;
        if (at == 0 && more) words = entries[i + 1 + lane];
        const uint32_t next = __shfl_sync(WHOLE_WARP, words, at);
        const uint32_t later = __shfl_sync(WHOLE_WARP, words, (at + FETCH_AHEAD) % 32);
        if (at + FETCH_AHEAD < 32 && i + 1 + FETCH_AHEAD < tile.n_entries)
            fetch_row(users + (int64_t)user_of(later) * p.stride, p.stride, lane);
        const int leave_user = !more || user_of(next) != user_of(entry);
        const int leave_movie = !more || movie_of(next) != movie_of(entry);
        if (more && leave_user) load_row<N>(next_a, users + (int64_t)user_of(next) * p.stride, p.stride, lane);
        if (more && leave_movie) load_row<N>(next_b, movies + (int64_t)movie_of(next) * p.stride, p.stride, lane);
        const float value = __shfl_sync(WHOLE_WARP, rates.value, (int)(entry & (SGD_VALUES - 1)));
        const double error = (double)visit<N>(a, b, rates, value, lane);
        squared += error * error;
        if (leave_user) {
            store_row<N>(a, users + (int64_t)user_of(entry) * p.stride, p.stride, lane);
#pragma unroll
            for (int e = 0; e < N; e++) a[e] = next_a[e];
        }
        if (leave_movie) {
            store_row<N>(b, movies + (int64_t)movie_of(entry) * p.stride, p.stride, lane);
#pragma unroll
            for (int e = 0; e < N; e++) b[e] = next_b[e];
        }
        entry = next;
    }
    return squared;
}

/* ---- the schedule ---- */

/* Waits for the blocks before this one on its movie band; their rows are visible afterwards. The fence of lane 0 and
 * the barrier of the warp order the other lanes' reads behind it. */
static __device__ __forceinline__ void await_ticket(const int *finished, int32_t ticket, int lane) {
    if (lane == 0) {
        while (*(const volatile int *)finished != ticket) __nanosleep(20);
        __threadfence();
    }
    __syncwarp();
}

static __device__ __forceinline__ void hand_on(int *finished, int32_t ticket, int lane) {
    __syncwarp();
    if (lane == 0) {
        __threadfence();
        *(volatile int *)finished = ticket + 1;
    }
}

/* A warp waits only for blocks that come before its own in block_order, and all warps are resident (the launch is a
 * cooperative one): the first block in that order that is not done can always go on. */
template <int N>
static __global__ void __launch_bounds__(THREADS) epoch_kernel(const __grid_constant__ struct epoch_params p) {
    const int band = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    if (band >= p.n_user_bands) return;
    const struct lane_rates rates = load_rates(p, lane);
    for (int i = 0; i < p.n_movie_bands; i++) {
        const struct band_step step = p.steps[(int64_t)band * p.n_movie_bands + i];
        int *finished = p.finished + step.block % p.n_movie_bands;
        const int64_t end = p.block_tiles[step.block + 1];
        double squared = 0;
        await_ticket(finished, step.ticket, lane);
        for (int64_t t = p.block_tiles[step.block]; t < end; t++)
            squared += visit_tile<N>(p, p.tiles[p.tile_order[t]], rates, lane);
        hand_on(finished, step.ticket, lane);
        if (lane == 0) p.squared[step.block] = squared;
    }
}

/* ---- the operator ---- */

template <int N> static reel_status launch(struct cuda_backend *cuda, const struct epoch_params *p, reel_error *err) {
    struct epoch_params params = *p;
    void *arguments[] = {&params};
    const dim3 grid((unsigned)((p->n_user_bands + WARPS - 1) / WARPS));
    return cuda_status(cuda,
                       cudaLaunchCooperativeKernel(epoch_kernel<N>, grid, dim3(THREADS), arguments, 0, cuda->stream),
                       "epoch_kernel", err);
}

static reel_status launch_for(struct cuda_backend *cuda, const struct epoch_params *p, reel_error *err) {
    typedef reel_status (*launcher)(struct cuda_backend *, const struct epoch_params *, reel_error *);
    static const launcher by_elements[] = {launch<1>, launch<2>, launch<3>, launch<4>, launch<5>,
                                           launch<6>, launch<7>, launch<8>, launch<9>};
    const int elements = (p->stride + 31) / 32, exact = (int)(sizeof by_elements / sizeof by_elements[0]);
    if (elements <= exact) return by_elements[elements - 1](cuda, p, err);
    return elements <= 16 ? launch<16>(cuda, p, err) : launch<(SGD_STRIDE_MAX + 31) / 32>(cuda, p, err);
}

/* steps (n_user_bands, n_movie_bands) of block_order. */
static reel_status make_steps(const struct sgd_epoch_args *args, struct band_step *steps, reel_error *err) {
    int32_t *counts;
    TRY_RETURN(MEM_NEW(&counts, (int64_t)args->n_user_bands + args->n_movie_bands, err));
    int32_t *by_user = counts, *by_movie = counts + args->n_user_bands;
    for (int32_t place = 0; place < args->n_user_bands * args->n_movie_bands; place++) {
        const int32_t block = args->block_order[place];
        const int32_t user_band = block / args->n_movie_bands, movie_band = block % args->n_movie_bands;
        steps[(int64_t)user_band * args->n_movie_bands + by_user[user_band]++] = {block, by_movie[movie_band]++};
    }
    mem_free(counts);
    return REEL_OK;
}

static size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* Working memory for what changes from epoch to epoch, filled. */
static reel_status place_inputs(struct cuda_backend *cuda, const struct sgd_epoch_args *args,
                                const struct band_step *steps, struct epoch_params *p, reel_error *err) {
    struct backend *backend = &cuda->base;
    const size_t n_blocks = (size_t)args->n_user_bands * (size_t)args->n_movie_bands;
    const size_t row = (size_t)args->stride * sizeof(float);
    const size_t sizes[] = {aligned(n_blocks * sizeof *steps),
                            aligned((size_t)args->n_tiles * sizeof(int32_t)),
                            aligned(SGD_VALUES * sizeof(float)),
                            aligned(4 * row),
                            aligned((size_t)args->n_movie_bands * sizeof(int)),
                            aligned(n_blocks * sizeof(double))};
    char *at[6], *memory;
    TRY_RETURN(
        cuda_scratch(cuda, 0, sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4] + sizes[5], (void **)&memory, err));
    for (int i = 0; i < 6; memory += sizes[i], i++) at[i] = memory;
    const float *const rates[] = {args->user_step, args->user_keep, args->movie_step, args->movie_keep};
    TRY_RETURN(backend->ops->upload(backend, at[0], steps, n_blocks * sizeof *steps, err));
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
    return REEL_OK;
}

reel_status cuda_sgd_epoch(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const size_t n_blocks = (size_t)args->n_user_bands * (size_t)args->n_movie_bands;
    struct band_step *steps = NULL;
    struct epoch_params p = {.n_user_bands = args->n_user_bands,
                             .n_movie_bands = args->n_movie_bands,
                             .stride = args->stride,
                             .block_tiles = args->block_tiles,
                             .tiles = args->tiles,
                             .entries = args->entries,
                             .users = args->users,
                             .movies = args->movies};
    if (args->stride < SGD_LANES || args->stride > SGD_STRIDE_MAX || args->stride % SGD_LANES)
        return error_set(err, REEL_INTERNAL, "sgd_epoch takes rows of up to %d floats (found %d)", SGD_STRIDE_MAX,
                         args->stride);
    TRY(cuda_backend_use(cuda, err));
    if (args->stop && args->stop(args->stop_arg))
        return error_set(err, REEL_CANCELLED, "interrupted; nothing was changed");
    TRY(MEM_RAW(&steps, n_blocks, err));
    TRY(make_steps(args, steps, err));
    TRY(place_inputs(cuda, args, steps, &p, err));
    TRY(launch_for(cuda, &p, err));
    TRY(backend->ops->download(backend, args->block_squared, p.squared, n_blocks * sizeof(double), err));
cleanup:
    mem_free(steps);
    return status;
}
