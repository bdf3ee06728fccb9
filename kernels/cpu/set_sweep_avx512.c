/* set_sweep's inner loops in AVX-512: a matrix is four vectors of two columns each. What works on one vector of a block
 * at a time is the AVX2 path's. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cpu/set_column_loops.h"
#include "kernels/cpu/set_kernels.h"

enum { B = SET_BLOCK, PAIRS = SET_BLOCK / 2, WIDTH = 16 };

static inline __m256 vector_of(const float *vectors, int32_t index) {
    return _mm256_loadu_ps(vectors + (int64_t)index * B);
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
    return _mm256_add_ps(_mm256_add_ps(a, c), _mm256_add_ps(b, d));
}

static void sum_vectors(const float *vectors, const int32_t *index, int64_t n, float *out) {
    set_kernels_avx2.sum_vectors(vectors, index, n, out);
}

/* x x^T as 4 x 4 blocks, a row a quarter: upper left, upper right, lower right. */
struct blocks {
    __m512 left, right, low;
};

static inline void add_square(struct blocks *sums, const float *x) {
    const __m512i each = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    const __m512 first = _mm512_broadcast_f32x4(_mm_loadu_ps(x)), last = _mm512_broadcast_f32x4(_mm_loadu_ps(x + 4));
    const __m512 rows = _mm512_permutevar_ps(first, each);
    sums->left = _mm512_fmadd_ps(rows, first, sums->left);
    sums->right = _mm512_fmadd_ps(rows, last, sums->right);
    sums->low = _mm512_fmadd_ps(_mm512_permutevar_ps(last, each), last, sums->low);
}

/* Rows of two blocks side by side. */
static inline void store_rows(float *to, __m512 left, __m512 right) {
    const __m512i upper = _mm512_set_epi32(23, 22, 21, 20, 7, 6, 5, 4, 19, 18, 17, 16, 3, 2, 1, 0);
    const __m512i lower = _mm512_add_epi32(upper, _mm512_set1_epi32(8));
    _mm512_storeu_ps(to, _mm512_permutex2var_ps(left, upper, right));
    _mm512_storeu_ps(to + WIDTH, _mm512_permutex2var_ps(left, lower, right));
}

static void gram(const float *x, const int32_t *columns, int64_t n, float weight, float *gram) {
    const __m512i across = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    const __m512 zero = _mm512_setzero_ps(), weights = _mm512_set1_ps(weight);
    struct blocks even = {zero, zero, zero}, odd = even;
    int64_t i = 0;
    for (; i + 2 <= n; i += 2) {
        add_square(&even, x + (int64_t)columns[i] * B);
        add_square(&odd, x + (int64_t)columns[i + 1] * B);
    }
    if (i < n) add_square(&even, x + (int64_t)columns[i] * B);
    const __m512 left = _mm512_mul_ps(weights, _mm512_add_ps(even.left, odd.left));
    const __m512 right = _mm512_mul_ps(weights, _mm512_add_ps(even.right, odd.right));
    const __m512 low = _mm512_mul_ps(weights, _mm512_add_ps(even.low, odd.low));
    store_rows(gram, left, right);
    store_rows(gram + SET_MATRIX / 2, _mm512_permutexvar_ps(across, right), low);
}

static void products(const float *x, const float *residual, const int32_t *columns, int64_t n, float weight,
                     float *out) {
    set_kernels_avx2.products(x, residual, columns, n, weight, out);
}

static void take_changes(const float *x, const float *change, const int32_t *columns, int64_t n, float *residual) {
    set_kernels_avx2.take_changes(x, change, columns, n, residual);
}

static void sum_matrices(const float *matrices, const int32_t *index, int64_t n, float *out) {
    __m512 sums[PAIRS];
    for (int p = 0; p < PAIRS; p++) sums[p] = _mm512_setzero_ps();
    for (int64_t i = 0; i < n; i++) {
        const float *own = matrices + (int64_t)index[i] * SET_MATRIX;
        for (int p = 0; p < PAIRS; p++) sums[p] = _mm512_add_ps(sums[p], _mm512_loadu_ps(own + p * WIDTH));
    }
    for (int p = 0; p < PAIRS; p++) _mm512_storeu_ps(out + p * WIDTH, sums[p]);
}

/* pairs[p] = element 2 p eight times, then element 2 p + 1. */
static inline void spread(__m256 vector, __m512 pairs[PAIRS]) {
    const __m512i first = _mm512_set_epi32(1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    for (int p = 0; p < PAIRS; p++)
        pairs[p] =
            _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(2 * p)), _mm512_castps256_ps512(vector));
}

/* A symmetric matrix times the vector spread to `pairs`: even columns in the lower half, odd ones in the upper. */
static inline __m256 apply(const float *matrix, const __m512 pairs[PAIRS]) {
    __m512 sum = _mm512_mul_ps(_mm512_loadu_ps(matrix), pairs[0]);
    for (int p = 1; p < PAIRS; p++) sum = _mm512_fmadd_ps(_mm512_loadu_ps(matrix + p * WIDTH), pairs[p], sum);
    return _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
}

static void draw_column(float *q, const float *h, const int32_t *rows, int64_t n, const float *gain, float *change) {
    __m512 pairs[PAIRS];
    spread(sum_of(q, rows, n), pairs);
    const __m256 drawn = _mm256_add_ps(_mm256_loadu_ps(change), apply(gain, pairs));
    _mm256_storeu_ps(change, drawn);
    spread(drawn, pairs);
    for (int64_t i = 0; i < n; i++) {
        float *own = q + (int64_t)rows[i] * B;
        const __m256 move = apply(h + (int64_t)rows[i] * SET_MATRIX, pairs);
        _mm256_storeu_ps(own, _mm256_sub_ps(_mm256_loadu_ps(own), move));
    }
}

const struct set_kernels set_kernels_avx512 = {.sum_vectors = sum_vectors,
                                               .sum_matrices = sum_matrices,
                                               .gram = gram,
                                               .products = products,
                                               .take_changes = take_changes,
                                               .solve_columns = loop_solve_columns,
                                               .draw_column = draw_column};
#endif
