/* Sixteen Philox blocks in AVX-512. A product of 32-bit words fills 64 bits: even and odd lanes go apart. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/normal_lanes.h"

struct product {
    __m512i high, low;
};

static inline struct product multiply(__m512i words, __m512i factor) {
    const __m512i even = _mm512_mul_epu32(words, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(words, 32), factor);
    const __mmask16 odd_lanes = 0xaaaa;
    return (struct product){_mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), odd_lanes, odd),
                            _mm512_mask_mov_epi32(even, odd_lanes, _mm512_slli_epi64(odd, 32))};
}

void normal_lanes_avx512(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES],
                         float out[4][NORMAL_LANES]) {
    const __m512i low = _mm512_loadu_si512(index), high = _mm512_loadu_si512(index + 8);
    __m512i v[4] = {
        _mm512_inserti32x8(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(low)), _mm512_cvtepi64_epi32(high), 1),
        _mm512_inserti32x8(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(_mm512_srli_epi64(low, 32))),
                           _mm512_cvtepi64_epi32(_mm512_srli_epi64(high, 32)), 1),
        _mm512_set1_epi32((int32_t)stream), _mm512_set1_epi32((int32_t)(stream >> 32))};
    const __m512i factor0 = _mm512_set1_epi32((int32_t)0xD2511F53), factor1 = _mm512_set1_epi32((int32_t)0xCD9E8D57);
    uint32_t key0 = (uint32_t)seed, key1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const struct product a = multiply(v[0], factor0), b = multiply(v[2], factor1);
        v[0] = _mm512_xor_si512(_mm512_xor_si512(b.high, v[1]), _mm512_set1_epi32((int32_t)key0));
        v[1] = b.low;
        v[2] = _mm512_xor_si512(_mm512_xor_si512(a.high, v[3]), _mm512_set1_epi32((int32_t)key1));
        v[3] = a.low;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    uint32_t words[4][NORMAL_LANES];
    for (int j = 0; j < 4; j++) _mm512_storeu_si512(words[j], v[j]);
    normal_lanes_turn(words, out);
}
#endif
