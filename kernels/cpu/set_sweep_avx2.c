/* set_sweep's inner loops in AVX2 + FMA: a block of dimensions is one vector. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/set_kernels.h"

void set_take_changes_avx2(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual) {
    const __m256 changes = _mm256_loadu_ps(change);
    for (int64_t i = 0; i < n; i++) {
        __m256 products = _mm256_mul_ps(changes, _mm256_loadu_ps(x + (int64_t)columns[i] * SET_BLOCK));
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(products), _mm256_extractf128_ps(products, 1));
        __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        residual[i] -= _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
    }
}

void set_sum_row_avx2(const float *x, const float *residual, const int32_t *columns, int64_t n, float *g, float *e) {
    __m256 sums[SET_BLOCK], products = _mm256_setzero_ps();
    for (int l = 0; l < SET_BLOCK; l++) sums[l] = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i++) {
        const float *own = x + (int64_t)columns[i] * SET_BLOCK;
        const __m256 vector = _mm256_loadu_ps(own);
        products = _mm256_fmadd_ps(_mm256_broadcast_ss(residual + i), vector, products);
        for (int l = 0; l < SET_BLOCK; l++) sums[l] = _mm256_fmadd_ps(_mm256_broadcast_ss(own + l), vector, sums[l]);
    }
    _mm256_storeu_ps(e, products);
    for (int l = 0; l < SET_BLOCK; l++) _mm256_storeu_ps(g + l * SET_BLOCK, sums[l]);
}
#endif
