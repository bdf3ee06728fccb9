/* Rows side by side in AVX-512: sixteen a batch, tiles of 4 x 4 vectors in registers. */
#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = 16, TILE = 4 };
typedef __m512 lanes;

static inline lanes lanes_all(float value) {
    return _mm512_set1_ps(value);
}

static inline lanes lanes_fma(lanes a, lanes b, lanes c) {
    return _mm512_fmadd_ps(a, b, c);
}

static inline lanes lanes_fnma(lanes a, lanes b, lanes c) {
    return _mm512_fnmadd_ps(a, b, c);
}

static inline lanes lanes_sqrt(lanes a) {
    return _mm512_sqrt_ps(a);
}

static inline unsigned lanes_bad(lanes a) {
    const __mmask16 positive = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GT_OQ);
    return 0xffffu ^ (positive & _mm512_cmp_ps_mask(a, _mm512_set1_ps(__builtin_inff()), _CMP_LT_OQ));
}

static inline unsigned lanes_not_finite(lanes a) {
    return _mm512_fpclass_ps_mask(a, 0x99); /* NaN or infinity */
}

/* Sixteen rows of sixteen: pairs of rows, of pairs, of quarters and of halves change places. */
static inline void transpose(const float *const *from, float *to, int count) {
    __m512 a[16], b[16];
    for (int l = 0; l < 16; l++) a[l] = _mm512_loadu_ps(from[l]);
    for (int l = 0; l < 16; l += 2) {
        b[l] = _mm512_unpacklo_ps(a[l], a[l + 1]);
        b[l + 1] = _mm512_unpackhi_ps(a[l], a[l + 1]);
    }
    /* a[4 g + j]: columns j, j + 4, j + 8, j + 12 of rows 4 g to 4 g + 3 */
    for (int l = 0; l < 16; l += 4) {
        a[l] = _mm512_shuffle_ps(b[l], b[l + 2], 0x44);
        a[l + 1] = _mm512_shuffle_ps(b[l], b[l + 2], 0xee);
        a[l + 2] = _mm512_shuffle_ps(b[l + 1], b[l + 3], 0x44);
        a[l + 3] = _mm512_shuffle_ps(b[l + 1], b[l + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) {
        const __m512 low02 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0x88),
                     low13 = _mm512_shuffle_f32x4(a[j], a[4 + j], 0xdd);
        const __m512 high02 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0x88);
        const __m512 high13 = _mm512_shuffle_f32x4(a[8 + j], a[12 + j], 0xdd);
        b[j] = _mm512_shuffle_f32x4(low02, high02, 0x88);
        b[8 + j] = _mm512_shuffle_f32x4(low02, high02, 0xdd);
        b[4 + j] = _mm512_shuffle_f32x4(low13, high13, 0x88);
        b[12 + j] = _mm512_shuffle_f32x4(low13, high13, 0xdd);
    }
    for (int c = 0; c < count; c++) _mm512_storeu_ps(to + c * 16, b[c]);
}

#include "kernels/cpu/factor_batch_loops.h"

const struct factor_batch_kernels factor_batch_avx512 = FACTOR_BATCH_LOOPS;
#endif
