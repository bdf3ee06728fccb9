#include "kernels/cpu/topk_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { USERS = 3, VECTORS = TOPK_PANEL / 8 }; /* 3 x 4 accumulators + 4 movies leave no register idle */

static void part_avx2(int k, const float *panel, const float *bias, const float *users, const float *base,
                      const float *floors, float *scores, uint32_t *hits) {
    __m256 sum[USERS][VECTORS];
#pragma GCC unroll 3
    for (int u = 0; u < USERS; u++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) sum[u][v] = _mm256_setzero_ps();
    for (int f = 0; f < k; f++, panel += TOPK_PANEL, users += TOPK_TILE) {
        __m256 p[USERS];
#pragma GCC unroll 3
        for (int u = 0; u < USERS; u++) p[u] = _mm256_set1_ps(users[u]);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            __m256 q = _mm256_loadu_ps(panel + v * 8);
#pragma GCC unroll 3
            for (int u = 0; u < USERS; u++) sum[u][v] = _mm256_fmadd_ps(p[u], q, sum[u][v]);
        }
    }
#pragma GCC unroll 3
    for (int u = 0; u < USERS; u++) {
        __m256 add = _mm256_set1_ps(base[u]), floor = _mm256_set1_ps(floors[u]);
        uint32_t mask = 0;
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            __m256 s = _mm256_add_ps(sum[u][v], _mm256_add_ps(add, _mm256_loadu_ps(bias + v * 8)));
            _mm256_storeu_ps(scores + u * TOPK_PANEL + v * 8, s);
            mask |= (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(s, floor, _CMP_GE_OQ)) << (v * 8);
        }
        hits[u] = mask;
    }
}

static void tile_avx2(int k, const float *panel, const float *bias, const float *users, const float *base,
                      const float *floors, float *scores, uint32_t *hits) {
    for (int u = 0; u < TOPK_TILE; u += USERS)
        part_avx2(k, panel, bias, users + u, base + u, floors + u, scores + u * TOPK_PANEL, hits + u);
}

static void row_avx2(int k, const float *panel, const float *bias, const float *user, float base, float *scores) {
    __m256 sum[VECTORS], add = _mm256_set1_ps(base);
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) sum[v] = _mm256_setzero_ps();
    for (int f = 0; f < k; f++, panel += TOPK_PANEL) {
        __m256 p = _mm256_set1_ps(user[f]);
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) sum[v] = _mm256_fmadd_ps(p, _mm256_loadu_ps(panel + v * 8), sum[v]);
    }
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
        _mm256_storeu_ps(scores + v * 8, _mm256_add_ps(sum[v], _mm256_add_ps(add, _mm256_loadu_ps(bias + v * 8))));
}

const struct topk_kernels topk_kernels_avx2 = {tile_avx2, row_avx2};
#endif
