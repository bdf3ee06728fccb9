/* predict_pairs on CUDA: half a warp a pair. Lane l holds the running sum l of dot_floats (kernels/common/dot.h) and
 * the sums meet in its order, so scores have the CPU's bits. */
#include "backend/topk_ops.h"
#include "core/error.h"
#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/cuda_ops.h"

enum { THREADS = 256, LANES = 16, PAIR_WAVE = 1 << 22 };

/* dot_floats by the half warp of `mask`; every lane has the result. */
static __device__ __forceinline__ float half_warp_product(const float *a, const float *b, int k, unsigned mask) {
    const int lane = (int)threadIdx.x % LANES;
    float sum = 0, rest = 0;
    int f = 0;
    for (; f + LANES <= k; f += LANES) sum += a[f + lane] * b[f + lane];
    for (; f + 4 <= k; f += 4)
        if (lane < 4) sum += a[f + lane] * b[f + lane];
    for (; f < k; f++) rest += a[f] * b[f];
    sum += __shfl_xor_sync(mask, sum, 4);
    sum += __shfl_xor_sync(mask, sum, 8);
    sum += __shfl_xor_sync(mask, sum, 1);
    sum += __shfl_xor_sync(mask, sum, 2);
    return sum + rest;
}

static __global__ void __launch_bounds__(THREADS) predict_kernel(const __grid_constant__ struct predict_pairs_args p) {
    const int64_t i = ((int64_t)blockIdx.x * THREADS + threadIdx.x) / LANES;
    const unsigned mask = 0xffffu << (threadIdx.x % 32 / LANES * LANES);
    if (i >= p.n) return;
    const int32_t user = p.users[i], movie = p.movies[i];
    float score = p.mean;
    if (user >= 0) score += p.user_bias[user];
    if (movie >= 0) score += p.movie_bias[movie];
    if (user >= 0 && movie >= 0)
        score += half_warp_product(p.user_factors + user * p.stride, p.movie_factors + movie * p.stride, p.k, mask);
    if (threadIdx.x % LANES == 0) p.scores[i] = score;
}

static reel_status run_wave(struct cuda_backend *cuda, const struct predict_pairs_args *args, int64_t first,
                            struct predict_pairs_args *p, reel_error *err) {
    struct backend *backend = &cuda->base;
    const size_t bytes = (size_t)p->n * sizeof(int32_t);
    TRY_RETURN(backend->ops->upload(backend, (void *)p->users, args->users + first, bytes, err));
    TRY_RETURN(backend->ops->upload(backend, (void *)p->movies, args->movies + first, bytes, err));
    predict_kernel<<<(unsigned)((p->n * LANES + THREADS - 1) / THREADS), THREADS, 0, cuda->stream>>>(*p);
    TRY_RETURN(cuda_launched(cuda, "predict_kernel", err));
    return backend->ops->download(backend, args->scores + first, p->scores, bytes, err);
}

reel_status cuda_predict_pairs(struct backend *backend, const struct predict_pairs_args *args, reel_error *err) {
    struct cuda_backend *cuda = (struct cuda_backend *)backend;
    const int64_t wave = args->n < PAIR_WAVE ? args->n : (int64_t)PAIR_WAVE;
    struct predict_pairs_args p = *args;
    int32_t *memory;
    TRY_RETURN(cuda_backend_use(cuda, err));
    if (args->n == 0) return REEL_OK;
    TRY_RETURN(cuda_scratch(cuda, 0, (size_t)wave * 3 * sizeof(int32_t), (void **)&memory, err));
    p.users = memory;
    p.movies = memory + wave;
    p.scores = (float *)(memory + 2 * wave);
    for (int64_t first = 0; first < args->n; first += wave) {
        p.n = args->n - first < wave ? args->n - first : wave;
        TRY_RETURN(run_wave(cuda, args, first, &p, err));
    }
    return REEL_OK;
}
