/* The tile loop of sgd_epoch with AVX-512: 16 lanes are one register. */
#if defined(__x86_64__)
#include <immintrin.h>

enum { VEC16_ROOM = 20 };

typedef __m512 vec16;

static inline __m512 vec16_load(const float *from) {
    return _mm512_load_ps(from);
}
static inline void vec16_store(float *to, __m512 x) {
    _mm512_store_ps(to, x);
}
static inline __m512 vec16_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline __m512 vec16_mul(__m512 a, __m512 b) {
    return _mm512_mul_ps(a, b);
}
static inline __m512 vec16_add(__m512 a, __m512 b) {
    return _mm512_add_ps(a, b);
}
static inline __m512 vec16_fma(__m512 a, __m512 b, __m512 c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline float vec16_sum(__m512 x) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

#include "kernels/cpu/sgd_tile_loop.h"

/* A function a row length, so that rows stay in registers and loops unroll. */
#define TILE_OF(V)                                                                              \
    static double tile_of_##V(const struct sgd_epoch_args *args, const struct sgd_tile *tile) { \
        return tile_loop(args, tile, V);                                                        \
    }
TILE_OF(1)
TILE_OF(2)
TILE_OF(3)
TILE_OF(4)
TILE_OF(5)
TILE_OF(6)
TILE_OF(7)
TILE_OF(8)
TILE_OF(9)

static double tile_of_any(const struct sgd_epoch_args *args, const struct sgd_tile *tile) {
    return tile_loop(args, tile, args->stride / SGD_LANES);
}

double sgd_tile_avx512(const struct sgd_epoch_args *args, const struct sgd_tile *tile) {
    static double (*const functions[])(const struct sgd_epoch_args *, const struct sgd_tile *) = {
        tile_of_1, tile_of_2, tile_of_3, tile_of_4, tile_of_5, tile_of_6, tile_of_7, tile_of_8, tile_of_9};
    size_t vectors = (size_t)(args->stride / SGD_LANES);
    return vectors <= sizeof functions / sizeof functions[0] ? functions[vectors - 1](args, tile)
                                                             : tile_of_any(args, tile);
}
#endif
