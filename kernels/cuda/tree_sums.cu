/* tree_sums on CUDA. The ratings lie there twice: in runs, which gives the sums of users and calendar kinds, and movie
 * by movie (tree_order), which gives those of movies; residuals are kept in both orders. Twice the reading costs less
 * than an atomic addition a rating. A warp takes a run, or a piece of a movie's ratings, lanes over its ratings. All
 * sums are integers, so their order means nothing and the bits are the CPU's.
 *
 * Sum and count share a 64-bit word in a lane's registers (count from bit COUNT_AT on): residuals are below 2^31, and a
 * lane sees fewer than 2^11 of them. */
#include <limits.h>

#include "backend/tree_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum {
    COUNT_AT = TREE_COUNT_AT,
    THREADS = 256,
    WARPS = THREADS / 32,
    BLOCKS = 2112, /* of runs at most: 16 a processor of the largest chips, since runs are of all lengths */
    AT_ONCE = 4,   /* ratings that a lane loads together */
    LOW_BITS = 26  /* of a lane's sum, so that 32 of them fit 32 bits */
};

static_assert(TREE_RUN_MAX <= 1 << 15 && TREE_PIECE_MAX <= 1 << 15, "a lane's sum stays below 2^(COUNT_AT - 1)");

static const unsigned WHOLE_WARP = 0xffffffffu;

typedef unsigned long long word;

/* What an update tells the host: squares by their lower and upper halves. */
struct update_report {
    word low, high;
    unsigned reach;
};

struct sums_params {
    int32_t n_kinds;
    int64_t n_runs, n_pieces;
    const int64_t *begins;
    const int32_t *users, *movies;
    const uint8_t *kinds;
    const struct tree_piece *pieces;
    const int32_t *run_of; /* of a rating, movie by movie */
    int32_t *residuals, *movie_residuals;
    const uint8_t *user_bits, *movie_bits, *kind_bits;
    uint8_t *run_bits; /* (n_runs,) those of its user and kind: runs_kernel tells pieces_kernel */
    const int32_t *leaves;
    struct tree_total *user_totals, *movie_totals, *kind_totals;
    struct update_report *report;
};

static __device__ __forceinline__ void add_total(struct tree_total *to, struct tree_total from) {
    atomicAdd((word *)&to->sum, (word)from.sum);
    atomicAdd((word *)&to->count, (word)from.count);
}

/* The node of a rating among those of a level, by its byte. */
template <int LEVEL> static __device__ __forceinline__ int node_of(int path) {
    if (LEVEL == 0) return 0;
    const int first = path & 1;
    return LEVEL == 1 ? first : 2 * first + (path >> (1 + first) & 1);
}

/* A lane's ratings: all of them, and those of the nodes above 0. */
template <int NODES> struct lane_sums { word all, nodes[NODES]; };

template <int LEVEL, int NODES>
static __device__ __forceinline__ void add_rating(struct lane_sums<NODES> &sums, int path, int64_t residual) {
    const word both = (word)residual + ((word)1 << COUNT_AT);
    const int node = node_of<LEVEL>(path);
    sums.all += both;
#pragma unroll
    for (int n = 1; n < NODES; n++) sums.nodes[n] += node == n ? both : 0;
}

/* What the warp's lanes add up to; every lane has it. */
static __device__ __forceinline__ struct tree_total total_of(word own) {
    const int64_t sum = (int64_t)(own << (64 - COUNT_AT)) >> (64 - COUNT_AT);
    const unsigned low = __reduce_add_sync(WHOLE_WARP, (unsigned)sum & ((1u << LOW_BITS) - 1));
    const int high = __reduce_add_sync(WHOLE_WARP, (int)(sum >> LOW_BITS));
    const unsigned count = __reduce_add_sync(WHOLE_WARP, (unsigned)((own - (word)sum) >> COUNT_AT));
    return {(int64_t)((word)(int64_t)high << LOW_BITS) + low, count};
}

/* Lane n gets the warp's total of node n. */
template <int NODES> static __device__ __forceinline__ struct tree_total own_total(struct lane_sums<NODES> &sums) {
    const int lane = (int)threadIdx.x % 32;
    struct tree_total own = {0, 0};
    word rest = sums.all;
#pragma unroll
    for (int n = 1; n < NODES; n++) {
        const struct tree_total total = total_of(sums.nodes[n]);
        rest -= sums.nodes[n];
        if (lane == n) own = total;
    }
    const struct tree_total total = total_of(rest);
    return lane == 0 ? total : own;
}

/* ---- users and kinds ---- */

/* What a lane has seen of an update. */
struct lane_report {
    word low, high;
    unsigned reach;
};

static __device__ __forceinline__ void note(struct lane_report &report, int64_t residual) {
    const word square = (word)(residual * residual);
    report.low += square & 0xffffffffu;
    report.high += square >> 32;
    report.reach |= (unsigned)(residual ^ residual >> 63);
}

/* Ratings by user or by movie: bits[others[i]] is what the other side of rating i adds to its path. */
struct rating_list {
    int32_t *residuals;
    const int32_t *others;
    const uint8_t *bits;
};

/* Ratings at .. of a run or a piece that ends at `end`, AT_ONCE a lane, 32 apart. */
template <int LEVEL, int UPDATE, int NODES>
static __device__ __forceinline__ void sum_of_part(const struct rating_list &list, int64_t at, int64_t end, int bits,
                                                   const int32_t *leaves, struct lane_sums<NODES> &sums,
                                                   struct lane_report &report) {
    int32_t residuals[AT_ONCE], paths[AT_ONCE];
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
        const int64_t i = at + 32 * k;
        residuals[k] = i < end ? list.residuals[i] : 0;
        paths[k] = i < end && (LEVEL > 0 || UPDATE) ? list.others[i] : 0;
    }
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++)
        if (LEVEL > 0 || UPDATE) paths[k] = bits | list.bits[paths[k]];
#pragma unroll
    for (int k = 0; k < AT_ONCE; k++) {
        const int64_t i = at + 32 * k;
        if (i >= end) continue;
        if (UPDATE) {
            residuals[k] -= leaves[paths[k]];
            list.residuals[i] = residuals[k];
            note(report, residuals[k]);
        }
        add_rating<LEVEL>(sums, paths[k], residuals[k]);
    }
}

/* One run, by a warp. `kinds` (n_kinds, nodes) are the block's. */
template <int LEVEL, int UPDATE>
static __device__ __forceinline__ void sum_run(const struct sums_params &p, int64_t run, const int32_t *leaves,
                                               struct tree_total *kinds, struct lane_report &report) {
    enum { NODES = 1 << LEVEL };
    const int lane = (int)threadIdx.x % 32, kind = p.kinds[run];
    const int32_t user = p.users[run];
    const int bits = p.user_bits[user] | p.kind_bits[kind];
    const int64_t end = p.begins[run + 1];
    const struct rating_list list = {p.residuals, p.movies, p.movie_bits};
    struct lane_sums<NODES> sums = {};
    if (lane == 0) p.run_bits[run] = (uint8_t)bits;
    for (int64_t at = p.begins[run] + lane; at < end + lane; at += 32 * AT_ONCE)
        sum_of_part<LEVEL, UPDATE>(list, at, end, bits, leaves, sums, report);
    const struct tree_total own = own_total(sums);
    if (lane >= NODES || own.count == 0) return;
    add_total(&p.user_totals[((int64_t)user << LEVEL) + lane], own);
    add_total(&kinds[(kind << LEVEL) + lane], own);
}

/* The whole block: its lanes' reports, added to what the host gets. */
static __device__ void send_report(const struct lane_report &own, struct update_report *to) {
    __shared__ struct update_report all;
    const unsigned reach = __reduce_or_sync(WHOLE_WARP, own.reach);
    word low = own.low, high = own.high;
    for (int half = 16; half > 0; half /= 2) {
        low += __shfl_xor_sync(WHOLE_WARP, low, half);
        high += __shfl_xor_sync(WHOLE_WARP, high, half);
    }
    if (threadIdx.x == 0) all = {0, 0, 0};
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        atomicAdd(&all.low, low);
        atomicAdd(&all.high, high);
        atomicOr(&all.reach, reach);
    }
    __syncthreads();
    if (threadIdx.x > 0) return;
    atomicAdd(&to->low, all.low);
    atomicAdd(&to->high, all.high);
    atomicOr(&to->reach, all.reach);
}

static __device__ __forceinline__ void load_leaves(const struct sums_params &p, int32_t *leaves) {
    for (int i = (int)threadIdx.x; i < TREE_PATHS; i += THREADS) leaves[i] = p.leaves[i];
}

/* A block a stretch of the runs, about as many each. */
template <int LEVEL, int UPDATE>
static __global__ void __launch_bounds__(THREADS) runs_kernel(const __grid_constant__ struct sums_params p) {
    extern __shared__ struct tree_total kinds[];
    __shared__ int32_t leaves[TREE_PATHS];
    const int64_t end = p.n_runs * (blockIdx.x + 1) / gridDim.x;
    struct lane_report report = {0, 0, 0};
    for (int i = (int)threadIdx.x; i < p.n_kinds << LEVEL; i += THREADS) kinds[i].sum = kinds[i].count = 0;
    if (UPDATE) load_leaves(p, leaves);
    __syncthreads();
    for (int64_t run = p.n_runs * blockIdx.x / gridDim.x + threadIdx.x / 32; run < end; run += WARPS)
        sum_run<LEVEL, UPDATE>(p, run, leaves, kinds, report);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < p.n_kinds << LEVEL; i += THREADS)
        if (kinds[i].count) add_total(&p.kind_totals[i], kinds[i]);
    if (UPDATE) send_report(report, p.report);
}

/* ---- movies ---- */

/* A warp a piece. */
template <int LEVEL, int UPDATE>
static __global__ void __launch_bounds__(THREADS) pieces_kernel(const __grid_constant__ struct sums_params p) {
    enum { NODES = 1 << LEVEL };
    __shared__ int32_t leaves[TREE_PATHS];
    const int64_t at = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    const int lane = (int)threadIdx.x % 32;
    if (UPDATE) {
        load_leaves(p, leaves);
        __syncthreads();
    }
    if (at >= p.n_pieces) return;
    const struct tree_piece piece = p.pieces[at];
    const int64_t end = piece.begin + piece.n;
    const int bits = p.movie_bits[piece.movie];
    const struct rating_list list = {p.movie_residuals, p.run_of, p.run_bits};
    struct lane_sums<NODES> sums = {};
    struct lane_report unused = {0, 0, 0}; /* of the same ratings as the runs' */
    for (int64_t i = piece.begin + lane; i < end + lane; i += 32 * AT_ONCE)
        sum_of_part<LEVEL, UPDATE>(list, i, end, bits, leaves, sums, unused);
    const struct tree_total own = own_total(sums);
    if (lane < NODES && own.count > 0) add_total(&p.movie_totals[((int64_t)piece.movie << LEVEL) + lane], own);
}

/* ---- the pass ---- */

template <int LEVEL, int UPDATE>
static reel_status launch(struct cuda_backend *cuda, const struct sums_params *p, reel_error *err) {
    const size_t shared = ((size_t)p->n_kinds << LEVEL) * sizeof(struct tree_total);
    const int64_t wanted = (p->n_runs + WARPS - 1) / WARPS, most = BLOCKS, blocks = wanted < most ? wanted : most;
    if (blocks == 0) return REEL_OK;
    runs_kernel<LEVEL, UPDATE><<<(unsigned)blocks, THREADS, shared, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "runs_kernel", err));
    pieces_kernel<LEVEL, UPDATE><<<(unsigned)((p->n_pieces + WARPS - 1) / WARPS), THREADS, 0, cuda->stream>>>(*p);
    return cuda_launched(cuda, "pieces_kernel", err);
}

static reel_status clear_outputs(struct cuda_backend *cuda, const struct tree_sums_args *args, void *report,
                                 reel_error *err) {
    const struct backend_ops *ops = cuda->base.ops;
    const struct tree_runs *runs = args->runs;
    const size_t node = sizeof(struct tree_total) << args->level;
    TRY_RETURN(ops->zero(&cuda->base, args->users, (size_t)runs->n_users * node, err));
    TRY_RETURN(ops->zero(&cuda->base, args->movies, (size_t)runs->n_movies * node, err));
    TRY_RETURN(ops->zero(&cuda->base, args->kinds, (size_t)runs->n_kinds * node, err));
    return args->leaves ? ops->zero(&cuda->base, report, sizeof(struct update_report), err) : REEL_OK;
}

static void fill_params(const struct tree_sums_args *args, char *scratch, struct sums_params *p) {
    const struct tree_runs *runs = args->runs;
    const struct tree_by_movie *by_movie = args->by_movie;
    *p = {.n_kinds = runs->n_kinds,
          .n_runs = runs->n_runs,
          .n_pieces = by_movie->n_pieces,
          .begins = runs->begins,
          .users = runs->users,
          .movies = runs->movies,
          .kinds = runs->kinds,
          .pieces = by_movie->pieces,
          .run_of = by_movie->runs,
          .residuals = args->residuals,
          .movie_residuals = by_movie->residuals,
          .user_bits = args->user_bits,
          .movie_bits = args->movie_bits,
          .kind_bits = args->kind_bits,
          .run_bits = (uint8_t *)scratch + sizeof(struct update_report),
          .leaves = args->leaves,
          .user_totals = args->users,
          .movie_totals = args->movies,
          .kind_totals = args->kinds,
          .report = (struct update_report *)scratch};
}

reel_status cuda_tree_sums(struct backend *backend, struct tree_sums_args *args, reel_error *err) {
    typedef reel_status (*launcher)(struct cuda_backend *, const struct sums_params *, reel_error *);
    static const launcher by_level[] = {launch<0, 0>, launch<1, 0>, launch<2, 0>}, update = launch<0, 1>;
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    struct update_report report = {0, 0, 0};
    struct sums_params p;
    char *scratch;
    args->squares[0] = args->squares[1] = args->reach = 0;
    TRY_RETURN(cuda_backend_use(cuda, err));
    TRY_RETURN(cuda_scratch(cuda, 0, sizeof report + (size_t)args->runs->n_runs, (void **)&scratch, err));
    TRY_RETURN(clear_outputs(cuda, args, scratch, err));
    fill_params(args, scratch, &p);
    TRY_RETURN((args->leaves ? update : by_level[args->level])(cuda, &p, err));
    if (!args->leaves) return REEL_OK;
    TRY_RETURN(backend->ops->download(backend, &report, p.report, sizeof report, err));
    args->squares[0] = report.low + (report.high << 32);
    args->squares[1] = (report.high >> 32) + (args->squares[0] < report.low);
    args->reach = report.reach;
    return REEL_OK;
}

/* ---- the order by movies ---- */

/* A thread a rating. */
static __global__ void __launch_bounds__(THREADS) count_kernel(int64_t n, const int32_t *movies, word *counts) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (i < n) atomicAdd(&counts[movies[i]], 1);
}

struct order_params {
    int64_t n_runs;
    const int64_t *begins;
    const int32_t *movies, *residuals;
    word *next; /* (n_movies,) where a movie's next rating goes */
    int32_t *runs, *movie_residuals;
};

/* A warp a run. A movie's ratings come in any order: they are added up. */
static __global__ void __launch_bounds__(THREADS) order_kernel(const __grid_constant__ struct order_params p) {
    const int64_t run = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (run >= p.n_runs) return;
    for (int64_t i = p.begins[run] + threadIdx.x % 32; i < p.begins[run + 1]; i += 32) {
        const word to = atomicAdd(&p.next[p.movies[i]], 1);
        p.runs[to] = (int32_t)run;
        p.movie_residuals[to] = p.residuals[i];
    }
}

/* Counts become the places where movies begin. Returns how many pieces there are. */
static int64_t cut_pieces(int32_t n_movies, word *counts, struct tree_piece *pieces) {
    int64_t n = 0, at = 0;
    for (int32_t movie = 0; movie < n_movies; movie++) {
        int64_t left = (int64_t)counts[movie];
        counts[movie] = (word)at;
        while (left > 0) {
            const int32_t size = left < TREE_PIECE_MAX ? (int32_t)left : (int32_t)TREE_PIECE_MAX;
            pieces[n++] = {at, movie, size};
            at += size;
            left -= size;
        }
    }
    return n;
}

/* Counts each movie's ratings, and puts the pieces and the places where movies begin on the device. */
static reel_status make_pieces(struct cuda_backend *cuda, const struct tree_order_args *args, word *next,
                               reel_error *err) {
    reel_status status = REEL_OK;
    const struct backend_ops *ops = cuda->base.ops;
    const struct tree_runs *runs = args->runs;
    struct tree_by_movie *out = args->out;
    const size_t bytes = (size_t)runs->n_movies * sizeof(word);
    struct tree_piece *pieces = NULL;
    word *counts = NULL;
    TRY(MEM_RAW(&counts, runs->n_movies, err));
    TRY(MEM_RAW(&pieces, tree_pieces_most(runs), err));
    TRY(ops->zero(&cuda->base, next, bytes, err));
    count_kernel<<<(unsigned)((runs->n_ratings + THREADS - 1) / THREADS), THREADS, 0, cuda->stream>>>(
        runs->n_ratings, runs->movies, next);
    TRY(cuda_launched(cuda, "count_kernel", err));
    TRY(ops->download(&cuda->base, counts, next, bytes, err));
    out->n_pieces = cut_pieces(runs->n_movies, counts, pieces);
    TRY(ops->upload(&cuda->base, next, counts, bytes, err));
    TRY(ops->upload(&cuda->base, out->pieces, pieces, (size_t)out->n_pieces * sizeof *pieces, err));
cleanup:
    mem_free(counts);
    mem_free(pieces);
    return status;
}

reel_status cuda_tree_order(struct backend *backend, const struct tree_order_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const struct tree_runs *runs = args->runs;
    word *next;
    args->out->n_pieces = 0;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (runs->n_ratings == 0) return REEL_OK;
    if (runs->n_runs > INT_MAX)
        return error_set(err, REEL_UNSUPPORTED, "the CUDA backend takes at most %d runs of ratings (found %lld)",
                         INT_MAX, (long long)runs->n_runs);
    TRY_RETURN(cuda_scratch(cuda, 0, (size_t)runs->n_movies * sizeof *next, (void **)&next, err));
    TRY_RETURN(make_pieces(cuda, args, next, err));
    const struct order_params p = {.n_runs = runs->n_runs,
                                   .begins = runs->begins,
                                   .movies = runs->movies,
                                   .residuals = args->residuals,
                                   .next = next,
                                   .runs = args->out->runs,
                                   .movie_residuals = args->out->residuals};
    order_kernel<<<(unsigned)((runs->n_runs + WARPS - 1) / WARPS), THREADS, 0, cuda->stream>>>(p);
    return cuda_launched(cuda, "order_kernel", err);
}
