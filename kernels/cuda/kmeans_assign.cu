/* `kmeans_assign` on CUDA, with the CPU's sums in the CPU's order. What runs side by side are sets of centers, points,
 * and the elements of the sums; a sum is one chain over a piece's points. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/spectral_math.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/spectral_pieces.h"

enum { PIECES = SPECTRAL_PIECES, THREADS = 128, WIDEST = 64 };

/* A set's results in a piece, side by side: sums (k, d), counts (k,), inertia. Counts are whole numbers below 2^53. */
static int64_t results_of(int d, int k) {
    return (int64_t)k * d + k + 1;
}

struct kmeans_params {
    int64_t n;
    int d, k, sets;
    const double *points;  /* (n, d) */
    const double *centers; /* (sets, k, d) */
    int32_t *labels;       /* (sets, n) */
    double *distances;     /* (sets, n) squared, to the nearest center */
    double *partial;       /* (PIECES, sets, results_of(d, k)) */
};

/* A thread a point, a block row of the grid a set. */
static __global__ void __launch_bounds__(THREADS) nearest_kernel(const __grid_constant__ struct kmeans_params p) {
    const int64_t i = (int64_t)blockIdx.x * THREADS + threadIdx.x, set = blockIdx.y;
    if (i >= p.n) return;
    const double *point = p.points + i * p.d, *centers = p.centers + set * p.k * p.d;
    double best = INFINITY;
    int label = 0;
    for (int c = 0; c < p.k; c++) {
        const double *center = centers + c * p.d;
        double distance = 0;
        for (int f = 0; f < p.d; f++) {
            const double difference = point[f] - center[f];
            distance += difference * difference;
        }
        if (distance < best) {
            label = c;
            best = distance;
        }
    }
    p.labels[set * p.n + i] = label;
    p.distances[set * p.n + i] = best;
}

enum { AHEAD = 16 };

struct point_batch {
    int32_t labels[AHEAD];
    double values[AHEAD];
};

/* One element of the sums: what it adds up, and of which points. */
struct chain {
    const int32_t *labels; /* of the set */
    const double *values;
    int step;  /* from a point's value to the next one's */
    int label; /* the cluster whose points count, -1 = all */
    double sum;
    int count;
};

static __device__ __forceinline__ void fetch_points(const struct chain &chain, int64_t i, struct point_batch &out) {
#pragma unroll
    for (int q = 0; q < AHEAD; q++) {
        out.labels[q] = chain.labels[i + q];
        out.values[q] = chain.values[(i + q) * chain.step];
    }
}

/* A point of another cluster adds -0, which changes no sum: the chain is one addition a point, without a choice in it.
 */
static __device__ __forceinline__ void add_point(struct chain &chain, int32_t label, double value) {
    const int mine = label == chain.label || chain.label < 0;
    chain.count += mine;
    chain.sum += mine ? value : -0.0;
}

/* A thread an element of the sums (k, d) or the inertia, grid pieces x sets x blocks of elements. Each takes the points
 * of the piece in order, the next AHEAD on their way while it adds the last ones up. */
static __global__ void __launch_bounds__(THREADS) piece_sums_kernel(const __grid_constant__ struct kmeans_params p) {
    const int64_t piece = blockIdx.x, set = blockIdx.y;
    const int element = (int)(blockIdx.z * blockDim.x + threadIdx.x), inertia = p.k * p.d;
    if (element > inertia) return;
    const int64_t end = spectral_part_begin(p.n, PIECES, piece + 1);
    int64_t i = spectral_part_begin(p.n, PIECES, piece);
    struct chain chain = {.labels = p.labels + set * p.n,
                          .values = element < inertia ? p.points + element % p.d : p.distances + set * p.n,
                          .step = element < inertia ? p.d : 1,
                          .label = element < inertia ? element / p.d : -1};
    struct point_batch next;
    if (i + AHEAD <= end) fetch_points(chain, i, next);
    for (; i + AHEAD <= end; i += AHEAD) {
        const struct point_batch now = next;
        if (i + 2 * AHEAD <= end) fetch_points(chain, i + AHEAD, next);
#pragma unroll
        for (int q = 0; q < AHEAD; q++) add_point(chain, now.labels[q], now.values[q]);
    }
    for (; i < end; i++) add_point(chain, chain.labels[i], chain.values[i * chain.step]);
    double *out = p.partial + (piece * p.sets + set) * (inertia + p.k + 1);
    out[element < inertia ? element : inertia + p.k] = chain.sum;
    if (element < inertia && element % p.d == 0) out[inertia + element / p.d] = chain.count;
}

static reel_status queue_kmeans(struct cuda_backend *cuda, const struct kmeans_params *p, reel_error *err) {
    const int64_t results = results_of(p->d, p->k) * p->sets, elements = (int64_t)p->k * p->d + 1;
    const int64_t most = THREADS, threads = elements < most ? (elements + 31) / 32 * 32 : most;
    const dim3 points(blocks_for(p->n, THREADS), (unsigned)p->sets);
    const dim3 chains(PIECES, (unsigned)p->sets, blocks_for(elements, (int)threads));
    if (p->n > 0) nearest_kernel<<<points, THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "nearest_kernel", err));
    piece_sums_kernel<<<chains, (unsigned)threads, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "piece_sums_kernel", err));
    return spectral_add_pieces(cuda, p->partial, results, NULL, p->partial + results * PIECES, err);
}

/* Takes the sets' results (sets, results_of) apart. */
static void hand_out(const double *results, const struct kmeans_assign_args *args) {
    const int values = args->k * args->d;
    for (int s = 0; s < args->sets; s++) {
        const double *set = results + s * results_of(args->d, args->k);
        memcpy(args->sums + (int64_t)s * values, set, (size_t)values * sizeof(double));
        for (int c = 0; c < args->k; c++) args->counts[s * args->k + c] = (int64_t)set[values + c];
        args->inertia[s] = set[values + args->k];
    }
}

static reel_status run_kmeans(struct cuda_backend *cuda, const struct kmeans_assign_args *args, double *results,
                              reel_error *err) {
    const size_t sets = (size_t)args->sets, size = (size_t)results_of(args->d, args->k) * sets;
    const size_t center_bytes = sets * (size_t)args->k * (size_t)args->d * sizeof(double);
    const size_t distances = aligned(sets * (size_t)args->n * sizeof(double));
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 0, aligned(center_bytes) + distances + size * (PIECES + 1) * sizeof(double),
                            (void **)&at, err));
    const struct kmeans_params p = {.n = args->n,
                                    .d = args->d,
                                    .k = args->k,
                                    .sets = args->sets,
                                    .points = args->points,
                                    .centers = (const double *)at,
                                    .labels = args->labels,
                                    .distances = (double *)(at + aligned(center_bytes)),
                                    .partial = (double *)(at + aligned(center_bytes) + distances)};
    TRY_RETURN(cuda->base.ops->upload(&cuda->base, at, args->centers, center_bytes, err));
    TRY_RETURN(queue_kmeans(cuda, &p, err));
    return cuda->base.ops->download(&cuda->base, results, p.partial + size * PIECES, size * sizeof(double), err);
}

reel_status cuda_kmeans_assign(struct backend *backend, const struct kmeans_assign_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    double *results = NULL;
    if (args->d < 1 || args->d > WIDEST || args->k < 1 || args->k > WIDEST || args->sets < 1 || args->sets > WIDEST)
        return error_set(err, REEL_UNSUPPORTED,
                         "the CUDA backend takes 1..%d clusters in 1..%d dimensions (found %d in %d)", WIDEST, WIDEST,
                         args->k, args->d);
    TRY(cuda_backend_use(cuda, err));
    TRY(MEM_RAW(&results, results_of(args->d, args->k) * args->sets, err));
    TRY(run_kmeans(cuda, args, results, err));
    hand_out(results, args);
cleanup:
    mem_free(results);
    return status;
}
