/* A small group's table of 64 values lies in four registers as 16-bit words, upper (value >> 12) and lower (value &
 * 4095) halves apart: a two-register permute looks 32 movies up at a time. Upper halves are summed up as they are
 * (struct forest_plan bounds them); 16 lower halves fit a word before their carry must be moved. */
#include "kernels/cpu/forest_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { LOWER_BITS = 12, LOWER_SUMS = 16, VECTORS = FOREST_BLOCK / 32 };

static void add_set_avx512(int32_t *table, const uint64_t *set, int64_t words, int32_t value) {
    const __m512i add = _mm512_set1_epi32(value);
    for (int64_t w = 0; w < words; w++) {
        uint64_t bits = set[w];
        for (int i = 0; i < 4; i++, bits >>= 16) {
            int32_t *at = table + 64 * w + 16 * i;
            __m512i old = _mm512_loadu_si512(at);
            _mm512_storeu_si512(at, _mm512_mask_add_epi32(old, (__mmask16)bits, old, add));
        }
    }
}

/* 64 values to 64 upper and 64 lower words, in place. */
static void pack_avx512(const struct forest_plan *plan, int32_t *tables) {
    const __m512i lower = _mm512_set1_epi32((1 << LOWER_BITS) - 1);
    for (int32_t g = 0; g < plan->n_small; g++) {
        int32_t *table = tables + plan->group_cells[g];
        __m256i uppers[4], lowers[4];
        for (int i = 0; i < 4; i++) {
            __m512i values = _mm512_loadu_si512(table + 16 * i);
            uppers[i] = _mm512_cvtepi32_epi16(_mm512_srai_epi32(values, LOWER_BITS));
            lowers[i] = _mm512_cvtepi32_epi16(_mm512_and_si512(values, lower));
        }
        for (int i = 0; i < 4; i++) {
            _mm256_storeu_si256((__m256i *)(void *)(table + 8 * i), uppers[i]);
            _mm256_storeu_si256((__m256i *)(void *)(table + 32 + 8 * i), lowers[i]);
        }
    }
}

/* Adds the small groups' sums to sums (FOREST_BLOCK,). */
static void add_small(const struct forest_plan *plan, const int32_t *tables, int64_t first, int32_t *sums) {
    __m512i upper[VECTORS], lower[VECTORS];
    const __m512i mask = _mm512_set1_epi16((1 << LOWER_BITS) - 1);
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++) upper[v] = lower[v] = _mm512_setzero_si512();
    for (int32_t g = 0; g < plan->n_small;) {
        int32_t end = plan->n_small - g < LOWER_SUMS - 1 ? plan->n_small : g + LOWER_SUMS - 1;
        for (; g < end; g++) {
            const int32_t *table = tables + plan->group_cells[g];
            const uint16_t *codes = plan->codes + g * plan->padded + first;
            const __m512i upper0 = _mm512_loadu_si512(table), upper1 = _mm512_loadu_si512(table + 16);
            const __m512i lower0 = _mm512_loadu_si512(table + 32), lower1 = _mm512_loadu_si512(table + 48);
#pragma GCC unroll 8
            for (int v = 0; v < VECTORS; v++) {
                __m512i code = _mm512_loadu_si512(codes + 32 * v);
                upper[v] = _mm512_add_epi16(upper[v], _mm512_permutex2var_epi16(upper0, code, upper1));
                lower[v] = _mm512_add_epi16(lower[v], _mm512_permutex2var_epi16(lower0, code, lower1));
            }
        }
#pragma GCC unroll 8
        for (int v = 0; v < VECTORS; v++) {
            upper[v] = _mm512_add_epi16(upper[v], _mm512_srli_epi16(lower[v], LOWER_BITS));
            lower[v] = _mm512_and_si512(lower[v], mask);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < VECTORS; v++)
        for (int half = 0; half < 2; half++) {
            int32_t *at = sums + 32 * v + 16 * half;
            __m256i up = half ? _mm512_extracti64x4_epi64(upper[v], 1) : _mm512_castsi512_si256(upper[v]);
            __m256i low = half ? _mm512_extracti64x4_epi64(lower[v], 1) : _mm512_castsi512_si256(lower[v]);
            __m512i sum =
                _mm512_add_epi32(_mm512_slli_epi32(_mm512_cvtepi16_epi32(up), LOWER_BITS), _mm512_cvtepu16_epi32(low));
            _mm512_storeu_si512(at, _mm512_add_epi32(sum, _mm512_loadu_si512(at)));
        }
}

/* table[code] of each lane. Without optimisation gcc's intrinsic is a macro that converts its own constant mask. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
static __m512i gather(const int32_t *table, __m512i code) {
    return _mm512_i32gather_epi32(code, table, 4);
}
#pragma GCC diagnostic pop

static void block_avx512(const struct forest_plan *plan, const int32_t *tables, int64_t first, float *scores) {
    int32_t sums[FOREST_BLOCK];
    const __m512 scale = _mm512_set1_ps(forest_scale(plan));
    for (int m = 0; m < FOREST_BLOCK; m += 16) _mm512_storeu_si512(sums + m, _mm512_set1_epi32(plan->base));
    if (plan->n_small) add_small(plan, tables, first, sums);
    for (int32_t g = plan->n_small; g < plan->n_groups; g++) {
        const int32_t *table = tables + plan->group_cells[g];
        const uint16_t *codes = plan->codes + g * plan->padded + first;
        for (int m = 0; m < FOREST_BLOCK; m += 16) {
            __m512i code = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)(codes + m)));
            __m512i sum = _mm512_add_epi32(_mm512_loadu_si512(sums + m), gather(table, code));
            _mm512_storeu_si512(sums + m, sum);
        }
    }
    for (int m = 0; m < FOREST_BLOCK; m += 16)
        _mm512_storeu_ps(scores + m, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + m)), scale));
}

const struct forest_kernels forest_kernels_avx512 = {add_set_avx512, pack_avx512, block_avx512};
#endif
