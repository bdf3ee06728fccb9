/* sgd_epoch on CUDA: a warp a user band, which walks its blocks in the order of the epoch. What the epoch means is what
 * the sequential program does (backend/sgd_ops.h), and the bits are that program's: two blocks that share a movie band
 * keep their order by a ticket, two of one user band by their warp.
 *
 * Lane l holds elements l, l + 32, ... of a row: the first half of the warp has the vectors of even number, the second
 * half those of odd number, so that the partial sums and their tree are those of the specification. Rows travel
 * through a ring in shared memory, AHEAD visits before they are needed. A row that is visited again before it could
 * come back from memory does not go there: its visit hands it to the later one, in registers if that is the next. */
#include "backend/sgd_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/cuda/async_copy.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/ticket.h"

enum { THREADS = 128, WARPS = THREADS / 32, CHUNK = 32 };

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

/* ---- what a warp keeps in shared memory ---- */

/* The pointer itself, which the compiler keeps in a register instead of working it out at each use. */
static __device__ __forceinline__ float *kept(float *at) {
#if !defined(REEL_CUDA_EMULATED)
    asm volatile("" : "+l"(at));
    __builtin_assume(__isGlobal(at));
#endif
    return at;
}

/* Rows of N x 32 elements, N exact up to EXACT. AHEAD, a power of two: visits whose rows the ring holds. */
enum { EXACT = 9 };

/* What a visit needs to know. */
struct alignas(16) note {
    uint32_t user, movie; /* where its rows begin, in vectors of SGD_LANES from the first row of all */
    float value;
    uint32_t links;
};

/* The links of a visit: how many visits later, fewer than AHEAD, its user and its movie come again (4 bits each, 0:
 * they do not), and whether they were among those on the way when this visit's rows are sent for. */
enum { MOVIE_AGAIN = 4, AGAIN_MASK = 15, USER_HELD = 1 << 8, MOVIE_HELD = 1 << 9 };

template <int N, int AHEAD> struct warp_room {
    float rows[AHEAD][2][N * 32]; /* user, movie */
    struct note notes[2 * CHUNK]; /* of entry e at e % (2 CHUNK), likewise below */
    uint32_t words[4 * CHUNK];    /* entries as they lie in memory */
};

/* One warp's work on one tile. */
template <int N, int AHEAD> struct walk {
    struct warp_room<N, AHEAD> *room;
    float *copied[2], *stored[2]; /* rows of users, of movies: this lane's place in what it copies and what it stores */
    const float *value;
    const uint32_t *entries;
    uint32_t begins[2]; /* the tile's first rows, as in a note */
    int n, stride, lane;
};

/* Starts the copy of chunk `chunk` of the entries, if there is one. SGD_AHEAD past the last may be read. */
template <int N, int AHEAD>
static __device__ __forceinline__ void fetch_words(const struct walk<N, AHEAD> &w, int chunk) {
    const int at = chunk * CHUNK;
    if (at < w.n)
        async_copy<1>((float *)w.room->words + at % (4 * CHUNK) + w.lane, (const float *)w.entries + at + w.lane, 1);
}

/* Notes for a chunk, a lane an entry; the words of the chunks around it are there. */
template <int N, int AHEAD>
static __device__ __forceinline__ void make_notes(const struct walk<N, AHEAD> &w, int chunk) {
    const uint32_t movie_bits = (uint32_t)(SGD_TILE_MOVIES - 1) << 4, *words = w.room->words;
    const uint32_t vectors = (uint32_t)w.stride / SGD_LANES;
    const int e = chunk * CHUNK + w.lane;
    const uint32_t word = words[e % (4 * CHUNK)];
    struct note note = {};
    note.user = w.begins[0] + (word >> 22) * vectors;
    note.movie = w.begins[1] + ((word & movie_bits) >> 4) * vectors;
    note.value = w.value[word & (SGD_VALUES - 1)];
    uint32_t user_again = 0, movie_again = 0;
#pragma unroll
    for (uint32_t d = AHEAD - 1; d > 0; d--) {
        const uint32_t place = (uint32_t)e, later = word ^ words[(place + d) % (4 * CHUNK)];
        const uint32_t before = word ^ words[(place - d) % (4 * CHUNK)];
        if (e + (int)d < w.n && later >> 22 == 0) user_again = d;
        if (e + (int)d < w.n && (later & movie_bits) == 0) movie_again = d;
        if (place >= d && before >> 22 == 0) note.links |= USER_HELD;
        if (place >= d && (before & movie_bits) == 0) note.links |= MOVIE_HELD;
    }
    note.links |= user_again | movie_again << MOVIE_AGAIN;
    w.room->notes[e % (2 * CHUNK)] = note;
}

/* Starts the copy of visit e's row of a side, which begins at vector `at`. */
template <int N, int AHEAD>
static __device__ __forceinline__ void fetch_row(const struct walk<N, AHEAD> &w, int e, int side, uint32_t at) {
    float *to = w.room->rows[e % AHEAD][side] + 4 * w.lane;
    const float *from = w.copied[side] + (uint64_t)at * SGD_LANES;
#pragma unroll
    for (int i = 0; i < (N * 8 + 31) / 32; i++)
        if (4 * (i * 32 + w.lane) < w.stride) async_copy<4>(to + 128 * i, from + 128 * i, 1);
}

template <int N, int AHEAD>
static __device__ __forceinline__ void take_row(float (&row)[N], const struct walk<N, AHEAD> &w, int e, int side) {
    const float *from = w.room->rows[e % AHEAD][side] + w.lane;
#pragma unroll
    for (int i = 0; i < N; i++) row[i] = from[i * 32];
}

/* Sends the row that visit e left where it is needed next: to visit e + again, or back to vector `at`. The very next
 * visit has it already. */
template <int N, int AHEAD>
static __device__ __forceinline__ void send_row(const float (&row)[N], const struct walk<N, AHEAD> &w, int e, int side,
                                                uint32_t again, uint32_t at) {
    if (again == 0) {
        float *to = w.stored[side] + (uint64_t)at * SGD_LANES;
#pragma unroll
        for (int i = 0; i < N; i++)
            if ((N <= EXACT && i < N - 1) || i * 32 + w.lane < w.stride) to[i * 32] = row[i];
    } else if (again > 1) {
        float *to = w.room->rows[((uint32_t)e + again) % AHEAD][side] + w.lane;
#pragma unroll
        for (int i = 0; i < N; i++) to[i * 32] = row[i];
    }
}

/* ---- a visit ---- */

/* What a lane needs of the rates: only its element `at`, N - 1 where N is exact, can be of the row's last vector. */
struct lane_rates {
    float common[4], last[4];
    int at;
};

template <int N>
static __device__ __forceinline__ struct lane_rates load_rates(const struct epoch_params &p, int lane) {
    struct lane_rates rates;
    rates.at = N <= EXACT ? N - 1 : (p.stride - 1) / 32;
    const int last = rates.at * 32 + lane;
    for (int q = 0; q < 4; q++) {
        rates.common[q] = p.rates[q * p.stride];
        rates.last[q] = last < p.stride ? p.rates[q * p.stride + last] : 0;
    }
    return rates;
}

/* The other lane's sum. What stands between this and held() is done while it is on its way. */
static __device__ __forceinline__ float across(float sum, int lanes) {
    return __shfl_xor_sync(WHOLE_WARP, sum, lanes);
}

/* The value itself, which the compiler does not use earlier. */
static __device__ __forceinline__ float held(float value) {
#if !defined(REEL_CUDA_EMULATED)
    asm volatile("" : "+f"(value));
#endif
    return value;
}

/* The two rows of a visit. */
template <int N> struct rows { float user[N], movie[N]; };

/* left = what the visit with this error makes of r. */
template <int N>
static __device__ __forceinline__ void change_rows(struct rows<N> &left, const struct rows<N> &r,
                                                   const struct lane_rates &rates, float error) {
    const int at = N <= EXACT ? N - 1 : rates.at;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float(&common)[4] = rates.common, (&last)[4] = rates.last;
        left.movie[i] =
            fmaf(error * (i == at ? last[2] : common[2]), r.user[i], (i == at ? last[3] : common[3]) * r.movie[i]);
        left.user[i] =
            fmaf(error * (i == at ? last[0] : common[0]), r.movie[i], (i == at ? last[1] : common[1]) * r.user[i]);
    }
}

/* This lane's part of the dot product. */
template <int N> static __device__ __forceinline__ float product(const struct rows<N> &r) {
    float sum = r.user[0] * r.movie[0];
#pragma unroll
    for (int i = 1; i < N; i++) sum = fmaf(r.user[i], r.movie[i], sum);
    return sum;
}

/* ---- a tile ---- */

/* Where a walk stands: visit e, of which the rows are here and their product by lanes; what the visit before left. */
template <int N> struct stand {
    struct rows<N> here, left;
    struct note note, before;
    float product, error;
    double squared;
};

/* Does visit e. One visit waits for another at one place only, the five steps of the sum, and all that others need is
 * done in between: the rows that visit e - 1 left are sent off, those of visit e + 1 taken, those of e - 2 + AHEAD sent
 * for. */
template <int N, int AHEAD>
static __device__ __forceinline__ void visit(struct stand<N> &s, const struct walk<N, AHEAD> &w,
                                             const struct lane_rates &rates, int e) {
    const int far = e - 2 + AHEAD;
    float sum = s.product, other = across(sum, 16);
    const struct note ahead = w.room->notes[far % (2 * CHUNK)];
    send_row(s.left.user, w, e - 1, 0, s.before.links & AGAIN_MASK, s.before.user);
    sum += held(other);
    other = across(sum, 8);
    send_row(s.left.movie, w, e - 1, 1, s.before.links >> MOVIE_AGAIN & AGAIN_MASK, s.before.movie);
    sum += held(other);
    other = across(sum, 4);
    struct rows<N> next;
    take_row(next.user, w, e + 1, 0);
    take_row(next.movie, w, e + 1, 1);
    s.squared += (double)s.error * (double)s.error;
    sum += held(other);
    other = across(sum, 2);
    if (far < w.n && !(ahead.links & USER_HELD)) fetch_row(w, far, 0, ahead.user);
    if (e % CHUNK == 0) fetch_words(w, e / CHUNK + 2);
    sum += held(other);
    other = across(sum, 1);
    if (far < w.n && !(ahead.links & MOVIE_HELD)) fetch_row(w, far, 1, ahead.movie);
    async_copy_commit();
    const struct note after = w.room->notes[(e + 1) % (2 * CHUNK)];
    if (e % CHUNK == CHUNK / 2 && e + CHUNK / 2 < w.n) make_notes(w, e / CHUNK + 1);
    s.error = s.note.value - (sum + held(other));
    change_rows(s.left, s.here, rates, s.error);
    const int same_user = (s.note.links & AGAIN_MASK) == 1;
    const int same_movie = (s.note.links >> MOVIE_AGAIN & AGAIN_MASK) == 1;
#pragma unroll
    for (int i = 0; i < N; i++) {
        s.here.user[i] = same_user ? s.left.user[i] : next.user[i];
        s.here.movie[i] = same_movie ? s.left.movie[i] : next.movie[i];
    }
    s.product = product(s.here);
    s.before = s.note;
    s.note = after;
}

/* Fills the ring. The user band is this warp's alone: its rows are sent for before the movie band's turn has come. */
template <int N, int AHEAD>
static __device__ __forceinline__ void begin_tile(const struct walk<N, AHEAD> &w, const int *finished, int32_t ticket) {
    __syncwarp();
    fetch_words(w, 0);
    fetch_words(w, 1);
    async_copy_wait();
    __syncwarp();
    make_notes(w, 0);
    __syncwarp();
#pragma unroll 1
    for (int e = 0; e < AHEAD - 2 && e < w.n; e++)
        if (!(w.room->notes[e].links & USER_HELD)) fetch_row(w, e, 0, w.room->notes[e].user);
    if (finished) await_ticket(finished, ticket, w.lane);
#pragma unroll 1
    for (int e = 0; e < AHEAD - 2; e++) {
        if (e < w.n && !(w.room->notes[e].links & MOVIE_HELD)) fetch_row(w, e, 1, w.room->notes[e].movie);
        async_copy_commit();
    }
}

/* Ends with all rows on their way back. Returns the sum of the squared errors. */
template <int N, int AHEAD>
static __device__ __forceinline__ double walk_tile(const struct walk<N, AHEAD> &w, const struct lane_rates &rates,
                                                   const int *finished, int32_t ticket) {
    struct stand<N> s = {};
    begin_tile(w, finished, ticket);
    async_copy_wait_but<AHEAD - 3>();
    __syncwarp();
    take_row(s.here.user, w, 0, 0);
    take_row(s.here.movie, w, 0, 1);
    s.product = product(s.here);
    s.note = w.room->notes[0];
    s.before.links = 1 | 1 << MOVIE_AGAIN; /* nothing to send off yet */
#pragma unroll 1
    for (int e = 0; e < w.n; e++) {
        async_copy_wait_but<AHEAD - 4>(); /* the rows of visit e + 1 have come */
        __syncwarp();                     /* for all lanes; and those of visit e - 2 are stored */
        visit(s, w, rates, e);
    }
    send_row(s.left.user, w, w.n - 1, 0, 0, s.before.user);
    send_row(s.left.movie, w, w.n - 1, 1, 0, s.before.movie);
    return s.squared + (double)s.error * (double)s.error;
}

/* ---- the schedule ---- */

/* A warp waits only for blocks that come before its own in block_order, and all warps are resident (the launch is a
 * cooperative one): the first block in that order that is not done can always go on. */
template <int N, int AHEAD>
static __global__ void __launch_bounds__(THREADS) epoch_kernel(const __grid_constant__ struct epoch_params p) {
    extern __shared__ float4 shared[];
    const int band = (int)(blockIdx.x * WARPS + threadIdx.x / 32), lane = (int)threadIdx.x % 32;
    struct walk<N, AHEAD> w = {};
    w.room = (struct warp_room<N, AHEAD> *)shared + threadIdx.x / 32;
    w.copied[0] = kept(p.users + 4 * lane);
    w.copied[1] = kept(p.movies + 4 * lane);
    w.stored[0] = kept(p.users + lane);
    w.stored[1] = kept(p.movies + lane);
    w.value = p.value;
    w.stride = p.stride;
    w.lane = lane;
    if (band >= p.n_user_bands) return;
    const struct lane_rates rates = load_rates<N>(p, lane);
    float *rows = (float *)w.room->rows;
    for (int i = lane; i < AHEAD * 2 * N * 32; i += 32) rows[i] = 0; /* past the stride it stays so */
    for (int i = 0; i < p.n_movie_bands; i++) {
        const struct band_step step = p.steps[(int64_t)band * p.n_movie_bands + i];
        int *finished = p.finished + step.block % p.n_movie_bands;
        const int64_t begin = p.block_tiles[step.block], end = p.block_tiles[step.block + 1];
        double squared = 0;
        int waited = 0;
        for (int64_t t = begin; t < end; t++) {
            const struct sgd_tile tile = p.tiles[p.tile_order[t]];
            w.begins[0] = (uint32_t)tile.user_begin * (uint32_t)(p.stride / SGD_LANES);
            w.begins[1] = (uint32_t)tile.movie_begin * (uint32_t)(p.stride / SGD_LANES);
            w.entries = p.entries + tile.entry_begin;
            w.n = tile.n_entries;
            if (w.n == 0) continue;
            squared += walk_tile(w, rates, waited ? NULL : finished, step.ticket);
            waited = 1;
        }
        if (!waited) await_ticket(finished, step.ticket, lane);
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
static __global__ void steps_kernel(const int32_t *place, int32_t n_user_bands, int32_t n_movie_bands,
                                    struct band_step *steps) {
    const int32_t user = (int32_t)blockIdx.y, movie = (int32_t)(blockIdx.x * blockDim.x + threadIdx.x);
    if (movie >= n_movie_bands) return;
    const int32_t *row = place + (int64_t)user * n_movie_bands, mine = row[movie];
    int32_t step = 0, ticket = 0;
    for (int32_t m = 0; m < n_movie_bands; m++) step += row[m] < mine;
    for (int32_t u = 0; u < n_user_bands; u++) ticket += place[(int64_t)u * n_movie_bands + movie] < mine;
    steps[(int64_t)user * n_movie_bands + step] = {user * n_movie_bands + movie, ticket};
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

/* steps of block_order; order and place (n_blocks,) are room for it. */
static reel_status make_steps(struct cuda_backend *cuda, const struct sgd_epoch_args *args, int32_t *order,
                              int32_t *place, struct band_step *steps, reel_error *err) {
    const int32_t n_blocks = args->n_user_bands * args->n_movie_bands;
    const dim3 grid((unsigned)(args->n_movie_bands + THREADS - 1) / THREADS, (unsigned)args->n_user_bands);
    TRY_RETURN(cuda->base.ops->upload(&cuda->base, order, args->block_order, (size_t)n_blocks * sizeof *order, err));
    place_kernel<<<(unsigned)(n_blocks + THREADS - 1) / THREADS, THREADS, 0, cuda->stream>>>(order, n_blocks, place);
    TRY_RETURN(cuda_launched(cuda, "place_kernel", err));
    steps_kernel<<<grid, THREADS, 0, cuda->stream>>>(place, args->n_user_bands, args->n_movie_bands, steps);
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
    return make_steps(cuda, args, (int32_t *)at[6], (int32_t *)at[7], (struct band_step *)at[0], err);
}

reel_status cuda_sgd_epoch(struct backend *backend, const struct sgd_epoch_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const size_t n_blocks = (size_t)args->n_user_bands * (size_t)args->n_movie_bands;
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
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->stop && args->stop(args->stop_arg))
        return error_set(err, REEL_CANCELLED, "interrupted; nothing was changed");
    TRY_RETURN(place_inputs(cuda, args, &p, err));
    TRY_RETURN(launch_for(cuda, &p, err));
    if (args->meanwhile) args->meanwhile(args->meanwhile_arg);
    return backend->ops->download(backend, args->block_squared, p.squared, n_blocks * sizeof(double), err);
}
