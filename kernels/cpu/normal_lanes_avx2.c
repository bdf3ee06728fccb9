/* Sixteen Philox blocks in AVX2, eight at a time. A product of 32-bit words fills 64 bits: even and odd lanes go apart.
 */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/normal_lanes.h"

struct product {
    __m256i high, low;
};

static inline struct product multiply(__m256i words, __m256i factor) {
    const __m256i even = _mm256_mul_epu32(words, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(words, 32), factor);
    return (struct product){_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa),
                            _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa)};
}

/* v: the counters of eight blocks, turned into their words. */
static inline void philox_eight(uint64_t seed, __m256i v[4]) {
    const __m256i factor0 = _mm256_set1_epi32((int32_t)0xD2511F53), factor1 = _mm256_set1_epi32((int32_t)0xCD9E8D57);
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const struct product a = multiply(v[0], factor0), b = multiply(v[2], factor1);
        v[0] = _mm256_xor_si256(_mm256_xor_si256(b.high, v[1]), _mm256_set1_epi32((int32_t)key0));
        v[1] = b.low;
        v[2] = _mm256_xor_si256(_mm256_xor_si256(a.high, v[3]), _mm256_set1_epi32((int32_t)key1));
        v[3] = a.low;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

void normal_lanes_avx2(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES], float out[4][NORMAL_LANES]) {
    uint32_t words[4][NORMAL_LANES];
    for (int half = 0; half < NORMAL_LANES; half += 8) {
        for (int l = half; l < half + 8; l++) {
            words[0][l] = (uint32_t)index[l];
            words[1][l] = (uint32_t)(index[l] >> 32);
        }
        __m256i v[4] = {_mm256_loadu_si256((const __m256i *)(words[0] + half)),
                        _mm256_loadu_si256((const __m256i *)(words[1] + half)), _mm256_set1_epi32((int32_t)stream),
                        _mm256_set1_epi32((int32_t)(stream >> 32))};
        philox_eight(seed, v);
        for (int j = 0; j < 4; j++) _mm256_storeu_si256((__m256i *)(words[j] + half), v[j]);
    }
    normal_lanes_turn(words, out);
}
#endif
