/* Products of small matrices by one warp on the tensor cores (compute capability 8.0), as exact as single precision.
 *
 * A tensor core multiplies TF32 numbers: floats with 11 significant bits. A float is split in two of them,
 * x = hi + lo + e, hi the nearest TF32 number (|lo| <= 2^-11 |x|, and lo is a multiple of x's last place, so that it
 * has 12 bits and loses at most the last one: |e| <= 2^-23 |x|). With three products, hi_x hi_y + hi_x lo_y + lo_x
 * hi_y,
 *
 *     |x y - products| <= |lo_x lo_y| + |e_x y| + |x e_y| <= (2^-22 + 2 * 2^-23) |x y| = 2^-21 |x y|
 *
 * (Markidis, Chien, Laure, Peng and Vetter, "NVIDIA Tensor Core programmability, performance and precision", IPDPSW
 * 2018.) The cores add in single precision but cut the sum where an ordinary addition rounds it (Ootomo and Yokota,
 * "Recovering single precision accuracy from Tensor Cores while surpassing the FP32 theoretical peak performance",
 * IJHPCA 2022): an instruction shrinks its sum by up to about one last place, 2^-23, always towards zero. So long sums
 * are taken off the cores' registers now and then and added up in the ordinary way (gram_mma.h). */
#ifndef KERNELS_CUDA_MMA_H
#define KERNELS_CUDA_MMA_H

#include <cuda_runtime.h>
#include <stdint.h>

/* A float as two TF32 numbers in their registers. Hardware ignores what `lo` holds past TF32's bits. */
struct tf32_pair {
    uint32_t hi, lo;
};

static __device__ __forceinline__ struct tf32_pair tf32_split(float x) {
    const uint32_t hi = (__float_as_uint(x) + 0x1000u) & 0xffffe000u; /* to nearest, ties away from zero */
    return {hi, __float_as_uint(x - __uint_as_float(hi))};
}

/* One lane's part of the factors of a product of 16 x 8 by 8 x 8. With lane = 4 g + t (PTX ISA, "Matrix Fragments for
 * mma.m16n8k8"): a = A[g][t], A[g + 8][t], A[g][t + 4], A[g + 8][t + 4]; b = B[t][g], B[t + 4][g]; and of the result
 * c = C[g][2 t], C[g][2 t + 1], C[g + 8][2 t], C[g + 8][2 t + 1]. */
struct mma_a {
    struct tf32_pair at[4];
};
struct mma_b {
    struct tf32_pair at[2];
};

#if defined(REEL_CUDA_EMULATED)

/* The same on a host: exact products, their sum cut to single precision. */
static __device__ inline void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    const uint32_t own[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
    uint32_t all[32][6];
    emulated_warp_gather(own, all, sizeof own);
    const int g = (int)threadIdx.x % 32 / 4, t = (int)threadIdx.x % 4;
    for (int e = 0; e < 4; e++) {
        double sum = c[e];
        for (int k = 0; k < 8; k++) {
            const uint32_t x = all[4 * g + k % 4][e / 2 + k / 4 * 2] & 0xffffe000u;
            const uint32_t y = all[4 * (2 * t + e % 2) + k % 4][4 + k / 4] & 0xffffe000u;
            sum += (double)__uint_as_float(x) * (double)__uint_as_float(y);
        }
        const float rounded = (float)sum;
        c[e] = fabs((double)rounded) > fabs(sum) ? nextafterf(rounded, 0.0f) : rounded;
    }
}

#else

/* c += a b. All lanes of the warp take part. */
static __device__ __forceinline__ void mma_tf32(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

#endif

/* c += a b in single precision, the smallest products first. */
static __device__ __forceinline__ void mma_single(float (&c)[4], const struct mma_a &a, const struct mma_b &b) {
    const uint32_t a_hi[4] = {a.at[0].hi, a.at[1].hi, a.at[2].hi, a.at[3].hi};
    const uint32_t a_lo[4] = {a.at[0].lo, a.at[1].lo, a.at[2].lo, a.at[3].lo};
    const uint32_t b_hi[2] = {b.at[0].hi, b.at[1].hi}, b_lo[2] = {b.at[0].lo, b.at[1].lo};
    mma_tf32(c, a_lo, b_hi);
    mma_tf32(c, a_hi, b_lo);
    mma_tf32(c, a_hi, b_hi);
}

#endif
