/* tree_sums on CUDA: a warp a run, lanes over its ratings. All sums are integers, so their order means nothing and the
 * bits are the CPU's.
 *
 * Sum and count of a movie share a 64-bit word (count from bit COUNT_AT on), one atomic add a rating; owners are taken
 * in segments of 2^SEGMENT_BITS, a set of words each, so that neither part can overflow: an owner rates a movie once,
 * 2^14 residuals below 2^31 stay below 2^46. Below the root only what goes right is added there: what goes left is what
 * the level above has less that. Runs are summed in registers; calendar kinds in shared memory first. */
#include "backend/tree_ops.h"
#include "core/error.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum {
    COUNT_AT = TREE_COUNT_AT,
    SEGMENT_BITS = TREE_SEGMENT_BITS,
    NODES_MAX = 4,
    THREADS = 256,
    WARPS = THREADS / 32,
    BLOCKS = 1056
};

static const unsigned WHOLE_WARP = 0xffffffffu;

typedef unsigned long long word;

/* What an update tells the host: squares by their lower and upper halves. */
struct update_report {
    word low, high;
    unsigned reach;
};

struct sums_params {
    int32_t n_movies, n_kinds;
    int64_t n_runs;
    const int64_t *begins;
    const int32_t *users, *owners, *movies;
    const uint8_t *kinds;
    int32_t *residuals;
    const uint8_t *user_bits, *movie_bits, *kind_bits;
    const int32_t *leaves;
    struct tree_total *user_totals, *kind_totals;
    word *words; /* (segments, n_movies, slots): all at the root, what goes right of each node below it */
    struct update_report *report;
};

static __device__ __forceinline__ void add_total(struct tree_total *to, int64_t sum, int count) {
    atomicAdd((word *)&to->sum, (word)sum);
    atomicAdd((word *)&to->count, (word)count);
}

/* The node of a rating among those of a level, by its byte. */
template <int LEVEL> static __device__ __forceinline__ int node_of(int path) {
    if (LEVEL == 0) return 0;
    const int first = path & 1;
    return LEVEL == 1 ? first : 2 * first + (path >> (1 + first) & 1);
}

static __device__ __forceinline__ int64_t warp_sum(int64_t sum) {
    for (int half = 16; half > 0; half /= 2) sum += (int64_t)__shfl_xor_sync(WHOLE_WARP, (word)sum, half);
    return sum;
}

/* What a lane has seen of an update. */
struct lane_report {
    word low, high;
    unsigned reach;
};

/* The residual of rating i, its leaf taken off first in an update. */
template <int UPDATE>
static __device__ __forceinline__ int64_t residual_of(const struct sums_params &p, int64_t i, int path,
                                                      struct lane_report &report) {
    int64_t residual = p.residuals[i];
    if (!UPDATE) return residual;
    residual -= p.leaves[path];
    p.residuals[i] = (int32_t)residual;
    const word square = (word)(residual * residual);
    report.low += square & 0xffffffffu;
    report.high += square >> 32;
    report.reach |= (unsigned)(residual ^ residual >> 63);
    return residual;
}

/* One run, by a warp. `kinds` (n_kinds, nodes) are the block's. */
template <int LEVEL, int UPDATE>
static __device__ __forceinline__ void sum_run(const struct sums_params &p, int64_t run, struct tree_total *kinds,
                                               struct lane_report &report) {
    enum { NODES = 1 << LEVEL, SLOTS = LEVEL ? NODES / 2 : 1 };
    const int lane = (int)threadIdx.x % 32, kind = p.kinds[run];
    const int32_t user = p.users[run];
    const int bits = p.user_bits[user] | p.kind_bits[kind];
    const int64_t begin = p.begins[run], end = p.begins[run + 1];
    const int32_t owner = p.owners ? p.owners[user] : user;
    word *words = p.words + (int64_t)(owner >> SEGMENT_BITS) * p.n_movies * SLOTS;
    int64_t sums[NODES] = {};
    int counts[NODES] = {};
    for (int64_t at = begin; at < end; at += 32) { /* whole warps: lanes past the end take part in the votes */
        const int64_t i = at + lane;
        int node = -1;
        int64_t residual = 0;
        if (i < end) {
            const int32_t movie = p.movies[i];
            const int path = bits | p.movie_bits[movie];
            residual = residual_of<UPDATE>(p, i, path, report);
            node = node_of<LEVEL>(path);
            if (LEVEL == 0 || node & 1)
                atomicAdd(&words[(int64_t)movie * SLOTS + node / 2], (word)residual + ((word)1 << COUNT_AT));
        }
#pragma unroll
        for (int n = 0; n < NODES; n++) {
            sums[n] += node == n ? residual : 0;
            counts[n] += __popc(__ballot_sync(WHOLE_WARP, node == n));
        }
    }
#pragma unroll
    for (int n = 0; n < NODES; n++) {
        const int64_t sum = warp_sum(sums[n]);
        if (lane > 0 || counts[n] == 0) continue;
        add_total(&p.user_totals[((int64_t)user << LEVEL) + n], sum, counts[n]);
        add_total(&kinds[(kind << LEVEL) + n], sum, counts[n]);
    }
}

/* A block a stretch of the runs, about as many each. */
template <int LEVEL, int UPDATE>
static __global__ void __launch_bounds__(THREADS) runs_kernel(const __grid_constant__ struct sums_params p) {
    extern __shared__ struct tree_total kinds[];
    const int64_t end = p.n_runs * (blockIdx.x + 1) / gridDim.x;
    struct lane_report report = {0, 0, 0};
    for (int i = (int)threadIdx.x; i < p.n_kinds << LEVEL; i += THREADS) kinds[i].sum = kinds[i].count = 0;
    __syncthreads();
    for (int64_t run = p.n_runs * blockIdx.x / gridDim.x + threadIdx.x / 32; run < end; run += WARPS)
        sum_run<LEVEL, UPDATE>(p, run, kinds, report);
    __syncthreads();
    for (int i = (int)threadIdx.x; i < p.n_kinds << LEVEL; i += THREADS)
        if (kinds[i].count) add_total(&p.kind_totals[i], kinds[i].sum, (int)kinds[i].count);
    if (!UPDATE) return;
    atomicAdd(&p.report->low, report.low);
    atomicAdd(&p.report->high, report.high);
    atomicOr(&p.report->reach, report.reach);
}

/* A thread a (movie, slot): its words of all segments. `above` is NULL at the root. */
static __global__ void __launch_bounds__(THREADS)
    unpack_kernel(const word *words, int64_t size, int segments, const struct tree_total *above,
                  struct tree_total *out) {
    const int64_t at = (int64_t)blockIdx.x * THREADS + threadIdx.x;
    if (at >= size) return;
    struct tree_total total = {0, 0};
    for (int s = 0; s < segments; s++) {
        const word packed = words[s * size + at];
        const int64_t sum = (int64_t)(packed << (64 - COUNT_AT)) >> (64 - COUNT_AT);
        total.sum += sum;
        total.count += (int64_t)((packed - (word)sum) >> COUNT_AT);
    }
    if (!above) {
        out[at] = total;
        return;
    }
    out[2 * at] = {above[at].sum - total.sum, above[at].count - total.count};
    out[2 * at + 1] = total;
}

template <int LEVEL, int UPDATE>
static reel_status launch(struct cuda_backend *cuda, const struct sums_params *p, reel_error *err) {
    const size_t shared = ((size_t)p->n_kinds << LEVEL) * sizeof(struct tree_total);
    runs_kernel<LEVEL, UPDATE><<<BLOCKS, THREADS, shared, cuda->stream>>>(*p);
    return cuda_launched(cuda, "runs_kernel", err);
}

static reel_status clear_outputs(struct cuda_backend *cuda, const struct tree_sums_args *args, void *scratch,
                                 size_t scratch_bytes, reel_error *err) {
    const struct backend_ops *ops = cuda->base.ops;
    const size_t node = sizeof(struct tree_total) << args->level;
    TRY_RETURN(ops->zero(&cuda->base, args->users, (size_t)args->runs->n_users * node, err));
    TRY_RETURN(ops->zero(&cuda->base, args->kinds, (size_t)args->runs->n_kinds * node, err));
    return ops->zero(&cuda->base, scratch, scratch_bytes, err);
}

reel_status cuda_tree_sums(struct backend *backend, struct tree_sums_args *args, reel_error *err) {
    typedef reel_status (*launcher)(struct cuda_backend *, const struct sums_params *, reel_error *);
    static const launcher by_level[] = {launch<0, 0>, launch<1, 0>, launch<2, 0>}, update = launch<0, 1>;
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const struct tree_runs *runs = args->runs;
    const int64_t size = (int64_t)runs->n_movies << (args->level ? args->level - 1 : 0);
    const int segments = tree_sums_segments(runs);
    const size_t bytes = (size_t)segments * (size_t)size * sizeof(word);
    struct update_report report = {0, 0, 0};
    char *at;
    args->squares[0] = args->squares[1] = args->reach = 0;
    TRY_RETURN(cuda_backend_use(cuda, err));
    TRY_RETURN(cuda_scratch(cuda, 0, sizeof report + bytes, (void **)&at, err));
    TRY_RETURN(clear_outputs(cuda, args, at, sizeof report + bytes, err));
    const struct sums_params p = {.n_movies = runs->n_movies,
                                  .n_kinds = runs->n_kinds,
                                  .n_runs = runs->n_runs,
                                  .begins = runs->begins,
                                  .users = runs->users,
                                  .owners = runs->owners,
                                  .movies = runs->movies,
                                  .kinds = runs->kinds,
                                  .residuals = args->residuals,
                                  .user_bits = args->user_bits,
                                  .movie_bits = args->movie_bits,
                                  .kind_bits = args->kind_bits,
                                  .leaves = args->leaves,
                                  .user_totals = args->users,
                                  .kind_totals = args->kinds,
                                  .words = (word *)(at + sizeof report),
                                  .report = (struct update_report *)at};
    TRY_RETURN((args->leaves ? update : by_level[args->level])(cuda, &p, err));
    if (size > 0)
        unpack_kernel<<<(unsigned)((size + THREADS - 1) / THREADS), THREADS, 0, cuda->stream>>>(
            p.words, size, segments, args->level ? args->above : NULL, args->movies);
    TRY_RETURN(cuda_launched(cuda, "unpack_kernel", err));
    if (!args->leaves) return REEL_OK;
    TRY_RETURN(backend->ops->download(backend, &report, p.report, sizeof report, err));
    args->squares[0] = report.low + (report.high << 32);
    args->squares[1] = (report.high >> 32) + (args->squares[0] < report.low);
    args->reach = report.reach;
    return REEL_OK;
}
