/* The columns' vectors of a half-step as pairs of halves for the tensor cores (mma.h), made once: a vector is read by
 * every rating of its column. */
#ifndef KERNELS_CUDA_FACTOR_HALVES_H
#define KERNELS_CUDA_FACTOR_HALVES_H

#include "kernels/cuda/backend_cuda.h"
#include "kernels/cuda/gram_mma.h"

/* Bits of the largest magnitudes among the columns' factors and biases. */
struct largest_elements {
    unsigned factor, bias;
};

/* Powers of two that bring the largest factor near 2^14 and the largest target near 2^7: a target less its residual may
 * be up to 256 times what the values and biases say. */
enum { FACTOR_EXPONENT = 14, TARGET_EXPONENT = 7, WEIGHT_EXPONENT = 14 };

/* 2^exponent, -126 <= exponent <= 127. */
static inline __host__ __device__ float power_of_two(int exponent) {
#if defined(__CUDA_ARCH__) || defined(REEL_CUDA_EMULATED)
    return __uint_as_float((uint32_t)(exponent + 127) << 23);
#else
    return ldexpf(1, exponent);
#endif
}

/* The s for which x 2^s is in [2^exponent, 2^(exponent + 1)), as far as 2^s and 2^-s are floats; 0 for 0, infinity and
 * what is no number. */
static __device__ __forceinline__ int scale_to(float x, int exponent) {
    const int own = (int)(__float_as_uint(x) >> 23 & 255);
    if (x == 0 || own == 255) return 0;
    const int scale = exponent + 127 - own;
    return scale < 126 ? scale : 126;
}

/* Sixteen-byte pieces of eight halves that hold k factors. */
static inline __host__ __device__ int halves_pieces(int k) {
    return (k + 7) / 8;
}

/* A warp a vector. */
static __global__ void find_largest(const float *vectors, int32_t n, int k, int stride,
                                    struct largest_elements *largest) {
    const int lane = (int)threadIdx.x % 32, warps = (int)(gridDim.x * blockDim.x / 32);
    unsigned factor = 0, bias = 0;
    for (int64_t i = (int64_t)(blockIdx.x * blockDim.x + threadIdx.x) / 32; i < n; i += warps)
        for (int f = lane; f <= k; f += 32) {
            const unsigned size = __float_as_uint(vectors[i * stride + f]) & 0x7fffffffu;
            if (f < k)
                factor = max(factor, size);
            else
                bias = max(bias, size);
        }
    factor = __reduce_max_sync(~0u, factor);
    bias = __reduce_max_sync(~0u, bias);
    if (lane > 0) return;
    atomicMax(&largest->factor, factor);
    atomicMax(&largest->bias, bias);
}

/* A thread eight factors. Out: for each vector the leading halves of its k factors and zeros, then the trailing ones.
 */
static __global__ void split_vectors(const float *vectors, int32_t n, int k, int stride,
                                     const struct largest_elements *largest, uint4 *out) {
    const int pieces = halves_pieces(k);
    const int64_t at = (int64_t)blockIdx.x * blockDim.x + threadIdx.x, i = at / pieces;
    if (i >= n) return;
    const int piece = (int)(at % pieces);
    const float scale = power_of_two(scale_to(__uint_as_float(largest->factor), FACTOR_EXPONENT));
    const float4 *from = (const float4 *)(vectors + i * stride) + 2 * piece, four[2] = {from[0], from[1]};
    struct half_pair pairs[4];
#pragma unroll
    for (int e = 0; e < 4; e++) {
        const float first = e % 2 ? four[e / 2].z : four[e / 2].x, second = e % 2 ? four[e / 2].w : four[e / 2].y;
        const int f = 8 * piece + 2 * e;
        pairs[e] = half_split(f < k ? first * scale : 0, f + 1 < k ? second * scale : 0);
    }
    uint4 *to = out + i * 2 * pieces + piece;
    to[0] = make_uint4(pairs[0].hi, pairs[1].hi, pairs[2].hi, pairs[3].hi);
    to[pieces] = make_uint4(pairs[0].lo, pairs[1].lo, pairs[2].lo, pairs[3].lo);
}

/* halves = those of n vectors. */
static inline reel_status halves_make(struct cuda_backend *cuda, const float *vectors, int32_t n, int elements,
                                      int stride, struct largest_elements *largest, uint4 *halves, reel_error *err) {
    const int64_t pieces = (int64_t)n * halves_pieces(elements);
    if (n == 0) return REEL_OK;
    const unsigned blocks = n < 8 * 1024 ? (unsigned)((n + 7) / 8) : 1024;
    find_largest<<<blocks, 256, 0, cuda->stream>>>(vectors, n, elements, stride, largest);
    TRY_RETURN(cuda_launched(cuda, "find_largest", err));
    split_vectors<<<(unsigned)((pieces + 255) / 256), 256, 0, cuda->stream>>>(vectors, n, elements, stride, largest,
                                                                              halves);
    return cuda_launched(cuda, "split_vectors", err);
}

static inline size_t halves_bytes(int32_t n, int elements) {
    return (size_t)n * (size_t)halves_pieces(elements) * 2 * sizeof(uint4);
}

#endif
