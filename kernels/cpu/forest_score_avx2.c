#include "kernels/cpu/forest_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Eight cells a step: bit i of the byte selects lane i. */
static void add_set_avx2(int32_t *table, const uint64_t *set, int64_t words, int32_t value) {
    const __m256i add = _mm256_set1_epi32(value), lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    for (int64_t w = 0; w < words; w++) {
        uint64_t bits = set[w];
        for (int i = 0; i < 8; i++, bits >>= 8) {
            __m256i *at = (__m256i *)(void *)(table + 64 * w + 8 * i);
            __m256i chosen = _mm256_and_si256(_mm256_set1_epi32((int)(bits & 255)), lanes);
            chosen = _mm256_and_si256(_mm256_cmpeq_epi32(chosen, lanes), add);
            _mm256_storeu_si256(at, _mm256_add_epi32(_mm256_loadu_si256(at), chosen));
        }
    }
}

/* 32 movies stay in registers while the groups go by. */
static void block_avx2(const struct forest_plan *plan, const int32_t *tables, int64_t first, float *scores) {
    const __m256 scale = _mm256_set1_ps(forest_scale(plan));
    for (int m = 0; m < FOREST_BLOCK; m += 32) {
        __m256i sums[4];
        for (int i = 0; i < 4; i++) sums[i] = _mm256_set1_epi32(plan->base);
        for (int32_t g = 0; g < plan->n_groups; g++) {
            const int32_t *table = tables + plan->group_cells[g];
            const uint16_t *codes = plan->codes + g * plan->padded + first + m;
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                __m256i code = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(codes + 8 * i)));
                sums[i] = _mm256_add_epi32(sums[i], _mm256_i32gather_epi32(table, code, 4));
            }
        }
        for (int i = 0; i < 4; i++)
            _mm256_storeu_ps(scores + m + 8 * i, _mm256_mul_ps(_mm256_cvtepi32_ps(sums[i]), scale));
    }
}

const struct forest_kernels forest_kernels_avx2 = {add_set_avx2, NULL, block_avx2};
#endif
