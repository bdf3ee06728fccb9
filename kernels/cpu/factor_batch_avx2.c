/* Rows side by side in AVX2: eight a batch, tiles of 3 x 3 vectors in registers. */
#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = 8, TILE = 3 };
typedef __m256 lanes;

static inline lanes lanes_all(float value) {
    return _mm256_set1_ps(value);
}

static inline lanes lanes_fma(lanes a, lanes b, lanes c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline lanes lanes_fnma(lanes a, lanes b, lanes c) {
    return _mm256_fnmadd_ps(a, b, c);
}

static inline lanes lanes_sqrt(lanes a) {
    return _mm256_sqrt_ps(a);
}

static inline unsigned lanes_bad(lanes a) {
    const __m256 positive = _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_GT_OQ);
    const __m256 finite = _mm256_cmp_ps(a, _mm256_set1_ps(__builtin_inff()), _CMP_LT_OQ);
    return 0xffu ^ (unsigned)_mm256_movemask_ps(_mm256_and_ps(positive, finite));
}

static inline unsigned lanes_not_finite(lanes a) {
    const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(size, _mm256_set1_ps(__builtin_inff()), _CMP_NLT_UQ));
}

/* Eight rows of eight: pairs of rows, of pairs and of halves change places. */
static inline void transpose(const float *const *from, float *to, int count) {
    __m256 a[8], b[8];
    for (int l = 0; l < 8; l++) a[l] = _mm256_loadu_ps(from[l]);
    for (int l = 0; l < 8; l += 2) {
        b[l] = _mm256_unpacklo_ps(a[l], a[l + 1]);
        b[l + 1] = _mm256_unpackhi_ps(a[l], a[l + 1]);
    }
    /* a[4 g + j]: columns j and j + 4 of rows 4 g to 4 g + 3 */
    for (int l = 0; l < 8; l += 4) {
        a[l] = _mm256_shuffle_ps(b[l], b[l + 2], 0x44);
        a[l + 1] = _mm256_shuffle_ps(b[l], b[l + 2], 0xee);
        a[l + 2] = _mm256_shuffle_ps(b[l + 1], b[l + 3], 0x44);
        a[l + 3] = _mm256_shuffle_ps(b[l + 1], b[l + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) {
        b[j] = _mm256_permute2f128_ps(a[j], a[4 + j], 0x20);
        b[4 + j] = _mm256_permute2f128_ps(a[j], a[4 + j], 0x31);
    }
    for (int c = 0; c < count; c++) _mm256_storeu_ps(to + c * 8, b[c]);
}

#include "kernels/cpu/factor_batch_loops.h"

const struct factor_batch_kernels factor_batch_avx2 = FACTOR_BATCH_LOOPS;
#endif
