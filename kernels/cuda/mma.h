/* Products of small matrices by one warp on the tensor cores (compute capability 8.0), as exact as single precision.
 *
 * A tensor core multiplies halves (fp16): 11 significant bits, multiples of 2^-24 below 65,504. A float is split in two
 * of them, x = hi + lo + e, hi the nearest half (|lo| <= 2^-11 |x|, and lo is a multiple of x's last place, so that it
 * has 12 bits and loses at most the last one: |e| <= 2^-23 |x|, or 2^-25 where lo is below the smallest normal half).
 * With three products, hi_x hi_y + hi_x lo_y + lo_x hi_y,
 *
 *     |x y - products| <= |lo_x lo_y| + |e_x y| + |x e_y| <= (2^-22 + 2 * 2^-23) |x y| = 2^-21 |x y|
 *
 * (Markidis, Chien, Laure, Peng and Vetter, "NVIDIA Tensor Core programmability, performance and precision", IPDPSW
 * 2018). Numbers are scaled by a power of two first, so that the largest are near 2^14: 2^-25 is then 2^-39 of them.
 *
 * The cores add in single precision but cut the sum where an ordinary addition rounds it (Ootomo and Yokota,
 * "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance",
 * IJHPCA 2022): an instruction, which may come as two of half the depth, shrinks its sum by up to about two last
 * places, 2^-22, always towards zero. So a sum stays in the cores for the three products of sixteen numbers alone; long
 * ones are added up in the ordinary way (gram_mma.h). */
#ifndef KERNELS_CUDA_MMA_H
#define KERNELS_CUDA_MMA_H

#include <cuda_runtime.h>
#include <stdint.h>

/* An address in shared memory. */
#if defined(REEL_CUDA_EMULATED)
typedef const char *shared_address;
#else
typedef uint32_t shared_address;
#endif

#if defined(REEL_CUDA_EMULATED)

static __device__ inline shared_address shared_address_of(const void *shared) {
    return (const char *)shared;
}

static __device__ inline uint32_t half_pack(float first, float second) {
    return (uint32_t)emulated_half_of(second) << 16 | emulated_half_of(first);
}

static __device__ inline float half_first(uint32_t pair) {
    return emulated_float_of((uint16_t)pair);
}

static __device__ inline float half_second(uint32_t pair) {
    return emulated_float_of((uint16_t)(pair >> 16));
}

#else

static __device__ __forceinline__ shared_address shared_address_of(const void *shared) {
    return (uint32_t)__cvta_generic_to_shared(shared);
}

/* Two floats to the nearest halves, the first in the low bits. */
static __device__ __forceinline__ uint32_t half_pack(float first, float second) {
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}

static __device__ __forceinline__ float half_first(uint32_t pair) {
    float x;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low; }" : "=f"(x) : "r"(pair));
    return x;
}

static __device__ __forceinline__ float half_second(uint32_t pair) {
    float x;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, high; }" : "=f"(x) : "r"(pair));
    return x;
}

#endif

/* Two numbers' leading halves, and the halves of what they lack. */
struct half_pair {
    uint32_t hi, lo;
};

static __device__ __forceinline__ struct half_pair half_split(float first, float second) {
    const uint32_t hi = half_pack(first, second);
    return {hi, half_pack(first - half_first(hi), second - half_second(hi))};
}

/* One lane's part of the factors of a product of 16 x 16 by 16 x 8, leading and trailing halves; pairs are neighbours
 * along the sum. With lane = 4 g + t (PTX ISA, "Matrix Fragments for mma.m16n8k16"): left = A[g][2 t], A[g + 8][2 t],
 * A[g][2 t + 8], A[g + 8][2 t + 8]; right = B[2 t][g], B[2 t + 8][g]; and of the result c = C[g][2 t], C[g][2 t + 1],
 * C[g + 8][2 t], C[g + 8][2 t + 1]. */
struct half_left {
    uint32_t hi[4], lo[4];
};
struct half_right {
    uint32_t hi[2], lo[2];
};

#if defined(REEL_CUDA_EMULATED)

/* The same on a host. */
static __device__ inline void half_load(uint32_t (&out)[4], shared_address row) {
    shared_address rows[32];
    emulated_warp_gather(&row, rows, sizeof row);
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    for (int m = 0; m < 4; m++) {
        uint16_t first, second;
        memcpy(&first, rows[8 * m + 2 * t] + 2 * g, sizeof first);
        memcpy(&second, rows[8 * m + 2 * t + 1] + 2 * g, sizeof second);
        out[m] = (uint32_t)second << 16 | first;
    }
}

static __device__ inline void half_load_rows(uint32_t (&out)[4], shared_address row) {
    shared_address rows[32];
    emulated_warp_gather(&row, rows, sizeof row);
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    for (int m = 0; m < 4; m++) memcpy(&out[m], rows[8 * m + g] + 4 * t, sizeof out[m]);
}

/* Exact products, their sum cut to single precision, the first eight and the last eight by themselves. */
static __device__ inline void mma_half(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    const uint32_t own[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    uint32_t all[32][6];
    emulated_warp_gather(own, all, sizeof own);
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    for (int e = 0; e < 8; e++) {
        double sum = c[e % 4];
        for (int k = 0; k < 4; k++) {
            const uint32_t x = all[4 * g + k][e % 4 / 2 + e / 4 * 2], y = all[4 * (2 * t + e % 2) + k][4 + e / 4];
            sum += (double)half_first(x) * (double)half_first(y) + (double)half_second(x) * (double)half_second(y);
        }
        const float rounded = (float)sum;
        c[e % 4] = fabs((double)rounded) > fabs(sum) ? nextafterf(rounded, 0.0f) : rounded;
    }
}

static __device__ inline void mma_half_first(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    c[0] = c[1] = c[2] = c[3] = 0;
    mma_half(c, a, b);
}

#else

/* Four matrices of 8 x 8 halves, transposed: lane l gives the address of the sixteen bytes of row l % 8 of matrix l /
 * 8, and gets of each matrix M[2 t][g] and M[2 t + 1][g]. All lanes of the warp take part. */
static __device__ __forceinline__ void half_load(uint32_t (&out)[4], shared_address row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(row)
                 : "memory");
}

/* The same, not transposed: of each matrix M[g][2 t] and M[g][2 t + 1]. */
static __device__ __forceinline__ void half_load_rows(uint32_t (&out)[4], shared_address row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(row)
                 : "memory");
}

/* c += a b. All lanes of the warp take part. */
static __device__ __forceinline__ void mma_half(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* c = a b */
static __device__ __forceinline__ void mma_half_first(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%10, %10, %10, %10};"
        : "=f"(c[0]), "=f"(c[1]), "=f"(c[2]), "=f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(0.0f));
}

#endif

#endif
