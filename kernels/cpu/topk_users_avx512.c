#include "kernels/cpu/topk_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

static void tile_avx512(int k, const float *panel, const float *bias, const float *users, const float *base,
                        const float *floors, float *scores, uint32_t *hits) {
    __m512 sum[TOPK_TILE][2];
#pragma GCC unroll 12
    for (int u = 0; u < TOPK_TILE; u++) sum[u][0] = sum[u][1] = _mm512_setzero_ps();
    for (int f = 0; f < k; f++, panel += TOPK_PANEL, users += TOPK_TILE) {
        __m512 q0 = _mm512_loadu_ps(panel), q1 = _mm512_loadu_ps(panel + 16);
#pragma GCC unroll 12
        for (int u = 0; u < TOPK_TILE; u++) {
            __m512 p = _mm512_set1_ps(users[u]);
            sum[u][0] = _mm512_fmadd_ps(p, q0, sum[u][0]);
            sum[u][1] = _mm512_fmadd_ps(p, q1, sum[u][1]);
        }
    }
    __m512 b0 = _mm512_loadu_ps(bias), b1 = _mm512_loadu_ps(bias + 16);
#pragma GCC unroll 12
    for (int u = 0; u < TOPK_TILE; u++) {
        __m512 add = _mm512_set1_ps(base[u]), floor = _mm512_set1_ps(floors[u]);
        __m512 s0 = _mm512_add_ps(sum[u][0], _mm512_add_ps(add, b0));
        __m512 s1 = _mm512_add_ps(sum[u][1], _mm512_add_ps(add, b1));
        _mm512_storeu_ps(scores + u * TOPK_PANEL, s0);
        _mm512_storeu_ps(scores + u * TOPK_PANEL + 16, s1);
        hits[u] = (uint32_t)_mm512_cmp_ps_mask(s0, floor, _CMP_GE_OQ) |
                  (uint32_t)_mm512_cmp_ps_mask(s1, floor, _CMP_GE_OQ) << 16;
    }
}

static void row_avx512(int k, const float *panel, const float *bias, const float *user, float base, float *scores) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, add = _mm512_set1_ps(base);
    for (int f = 0; f < k; f++, panel += TOPK_PANEL) {
        __m512 p = _mm512_set1_ps(user[f]);
        s0 = _mm512_fmadd_ps(p, _mm512_loadu_ps(panel), s0);
        s1 = _mm512_fmadd_ps(p, _mm512_loadu_ps(panel + 16), s1);
    }
    _mm512_storeu_ps(scores, _mm512_add_ps(s0, _mm512_add_ps(add, _mm512_loadu_ps(bias))));
    _mm512_storeu_ps(scores + 16, _mm512_add_ps(s1, _mm512_add_ps(add, _mm512_loadu_ps(bias + 16))));
}

const struct topk_kernels topk_kernels_avx512 = {tile_avx512, row_avx512};
#endif
