/* set_sweep's inner loops in AVX2 + FMA: a block of dimensions is one vector. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/set_column_loops.h"
#include "kernels/cpu/set_kernels.h"

enum { B = SET_BLOCK };

static inline __m256 vector_of(const float *vectors, int32_t index) {
    return _mm256_loadu_ps(vectors + (int64_t)index * B);
}

static inline __m256 add_four(__m256 a, __m256 b, __m256 c, __m256 d) {
    return _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
}

static inline __m256 sum_of(const float *vectors, const int32_t *index, int64_t n) {
    const __m256 zero = _mm256_setzero_ps();
    __m256 a = zero, b = zero, c = zero, d = zero;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        a = _mm256_add_ps(a, vector_of(vectors, index[i]));
        b = _mm256_add_ps(b, vector_of(vectors, index[i + 1]));
        c = _mm256_add_ps(c, vector_of(vectors, index[i + 2]));
        d = _mm256_add_ps(d, vector_of(vectors, index[i + 3]));
    }
    if (i < n) a = _mm256_add_ps(a, vector_of(vectors, index[i]));
    if (i + 1 < n) b = _mm256_add_ps(b, vector_of(vectors, index[i + 1]));
    if (i + 2 < n) c = _mm256_add_ps(c, vector_of(vectors, index[i + 2]));
    return add_four(a, b, c, d);
}

static void sum_vectors(const float *vectors, const int32_t *index, int64_t n, float *out) {
    _mm256_storeu_ps(out, sum_of(vectors, index, n));
}

static void sum_matrices(const float *matrices, const int32_t *index, int64_t n, float *out) {
    __m256 sums[B];
    for (int l = 0; l < B; l++) sums[l] = _mm256_setzero_ps();
    for (int64_t i = 0; i < n; i++) {
        const float *own = matrices + (int64_t)index[i] * SET_MATRIX;
        for (int l = 0; l < B; l++) sums[l] = _mm256_add_ps(sums[l], _mm256_loadu_ps(own + l * B));
    }
    for (int l = 0; l < B; l++) _mm256_storeu_ps(out + l * B, sums[l]);
}

/* sums += x x^T of every second rating. */
static inline void half_gram(const float *x, const int32_t *columns, int64_t from, int64_t n, __m256 sums[B]) {
    for (int l = 0; l < B; l++) sums[l] = _mm256_setzero_ps();
    for (int64_t i = from; i < n; i += 2) {
        const float *own = x + (int64_t)columns[i] * B;
        const __m256 vector = _mm256_loadu_ps(own);
        for (int l = 0; l < B; l++) sums[l] = _mm256_fmadd_ps(_mm256_broadcast_ss(own + l), vector, sums[l]);
    }
}

static void gram(const float *x, const int32_t *columns, int64_t n, float weight, float *gram) {
    const __m256 weights = _mm256_set1_ps(weight);
    __m256 sums[B];
    half_gram(x, columns, 0, n, sums);
    for (int l = 0; l < B; l++) _mm256_storeu_ps(gram + l * B, sums[l]);
    half_gram(x, columns, 1, n, sums);
    for (int l = 0; l < B; l++) {
        const __m256 both = _mm256_add_ps(_mm256_loadu_ps(gram + l * B), sums[l]);
        _mm256_storeu_ps(gram + l * B, _mm256_mul_ps(weights, both));
    }
}

static inline __m256 add_product(__m256 sum, const float *x, const float *residual, const int32_t *columns, int64_t i) {
    return _mm256_fmadd_ps(_mm256_broadcast_ss(residual + i), vector_of(x, columns[i]), sum);
}

static void products(const float *x, const float *residual, const int32_t *columns, int64_t n, float weight,
                     float *out) {
    const __m256 zero = _mm256_setzero_ps();
    __m256 a = zero, b = zero, c = zero, d = zero;
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) {
        a = add_product(a, x, residual, columns, i);
        b = add_product(b, x, residual, columns, i + 1);
        c = add_product(c, x, residual, columns, i + 2);
        d = add_product(d, x, residual, columns, i + 3);
    }
    if (i < n) a = add_product(a, x, residual, columns, i);
    if (i + 1 < n) b = add_product(b, x, residual, columns, i + 1);
    if (i + 2 < n) c = add_product(c, x, residual, columns, i + 2);
    _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_set1_ps(weight), add_four(a, b, c, d)));
}

/* Halves of the vectors at a and b next to each other: [a b], from element `from` on. */
static inline __m256 halves(const float *a, const float *b, int from) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(a + from)), _mm_loadu_ps(b + from), 1);
}

/* The four sums s of ratings i and i + 4: one a half. */
static inline __m256 half_sums(const float *x, const int32_t *columns, __m256 low, __m256 high) {
    const float *a = x + (int64_t)columns[0] * B, *b = x + (int64_t)columns[4] * B;
    return _mm256_fmadd_ps(low, halves(a, b, 0), _mm256_mul_ps(high, halves(a, b, B / 2)));
}

/* [a0 + a2, a1 + a3, b0 + b2, b1 + b3] in each half. */
static inline __m256 fold(__m256 a, __m256 b) {
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x44), _mm256_shuffle_ps(a, b, 0xee));
}

static void take_changes(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual) {
    const __m128 low = _mm_loadu_ps(change), high = _mm_loadu_ps(change + B / 2);
    const __m256 lows = _mm256_broadcast_ps(&low), highs = _mm256_broadcast_ps(&high);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const int32_t *at = columns + i;
        __m256 a = fold(half_sums(x, at, lows, highs), half_sums(x, at + 1, lows, highs));
        __m256 b = fold(half_sums(x, at + 2, lows, highs), half_sums(x, at + 3, lows, highs));
        __m256 dots = _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
        _mm256_storeu_ps(residual + i, _mm256_sub_ps(_mm256_loadu_ps(residual + i), dots));
    }
    for (; i < n; i++) {
        const float *own = x + (int64_t)columns[i] * B;
        __m128 s = _mm_fmadd_ps(low, _mm_loadu_ps(own), _mm_mul_ps(high, _mm_loadu_ps(own + B / 2)));
        s = _mm_add_ps(s, _mm_movehl_ps(s, s));
        residual[i] -= _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
    }
}

/* A symmetric matrix times the vector whose elements are `each`. */
static inline __m256 apply(const float *matrix, const __m256 each[B]) {
    __m256 even = _mm256_mul_ps(_mm256_loadu_ps(matrix), each[0]);
    __m256 odd = _mm256_mul_ps(_mm256_loadu_ps(matrix + B), each[1]);
    for (int l = 2; l < B; l += 2) {
        even = _mm256_fmadd_ps(_mm256_loadu_ps(matrix + l * B), each[l], even);
        odd = _mm256_fmadd_ps(_mm256_loadu_ps(matrix + (l + 1) * B), each[l + 1], odd);
    }
    return _mm256_add_ps(even, odd);
}

static inline void spread(__m256 vector, __m256 each[B]) {
    for (int l = 0; l < B; l++) each[l] = _mm256_permutevar8x32_ps(vector, _mm256_set1_epi32(l));
}

static void draw_column(float *q, const float *h, const int32_t *rows, int64_t n, const float *gain, float *change) {
    __m256 each[B];
    spread(sum_of(q, rows, n), each);
    const __m256 drawn = _mm256_add_ps(_mm256_loadu_ps(change), apply(gain, each));
    _mm256_storeu_ps(change, drawn);
    spread(drawn, each);
    for (int64_t i = 0; i < n; i++) {
        float *own = q + (int64_t)rows[i] * B;
        const __m256 move = apply(h + (int64_t)rows[i] * SET_MATRIX, each);
        _mm256_storeu_ps(own, _mm256_sub_ps(_mm256_loadu_ps(own), move));
    }
}

const struct set_kernels set_kernels_avx2 = {.sum_vectors = sum_vectors,
                                             .sum_matrices = sum_matrices,
                                             .gram = gram,
                                             .products = products,
                                             .take_changes = take_changes,
                                             .solve_columns = loop_solve_columns,
                                             .draw_column = draw_column};
#endif
