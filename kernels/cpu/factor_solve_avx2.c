/* factor_solve's inner loops in AVX2 + FMA: tiles of 4 rows x 24 columns held in registers. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "kernels/cpu/factor_kernels.h"

enum { LANES = 8, ROWS = 4, TILES = 3 };

/* `rows` (1..ROWS) rows from `row`, `tiles` (1..TILES) column tiles from column `column`; constant after inlining. */
static inline __attribute__((always_inline)) void gram_tile(float *gram, const float *panel, int n, int stride, int row,
                                                            int column, int rows, int tiles) {
    __m256 sum[ROWS][TILES];
    for (int i = 0; i < rows; i++)
        for (int t = 0; t < tiles; t++) sum[i][t] = _mm256_loadu_ps(gram + (row + i) * stride + column + t * LANES);
    for (int p = 0; p < n; p++) {
        const float *x = panel + (long)p * stride;
        __m256 right[TILES];
        for (int t = 0; t < tiles; t++) right[t] = _mm256_loadu_ps(x + column + t * LANES);
        for (int i = 0; i < rows; i++) {
            __m256 left = _mm256_broadcast_ss(x + row + i);
            for (int t = 0; t < tiles; t++) sum[i][t] = _mm256_fmadd_ps(left, right[t], sum[i][t]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int t = 0; t < tiles; t++) _mm256_storeu_ps(gram + (row + i) * stride + column + t * LANES, sum[i][t]);
}

/* The rows of the last one or two dimensions against all columns: with whole tiles of factors before them this costs
 * far less than a tile more for every row. Their sums stay left of the diagonal, where the next panel goes on with
 * them; a product is the same from either side, so the copies above the diagonal have the bits they would have had. */
static void gram_tail(float *gram, const float *panel, int n, int dim, int stride) {
    const int full = dim / LANES * LANES, columns = full + LANES;
    for (int column = 0; column < columns; column += TILES * LANES) {
        int tiles = (columns - column) / LANES < TILES ? (columns - column) / LANES : TILES;
        if (dim - full == 2 && tiles == TILES)
            gram_tile(gram, panel, n, stride, full, column, 2, TILES);
        else
            for (int row = full; row < dim; row++)
                for (int t = 0; t < tiles; t++) gram_tile(gram, panel, n, stride, row, column + t * LANES, 1, 1);
    }
    for (int row = full; row < dim; row++)
        for (int i = 0; i < full; i++) gram[i * stride + row] = gram[row * stride + i];
}

static void gram_avx2(float *gram, const float *panel, int n, int dim, int stride) {
    const int tail = dim % LANES == 1 || dim % LANES == 2;
    const int end = tail ? dim / LANES * LANES : dim, columns = (end + LANES - 1) / LANES * LANES;
    for (int row = 0; row < end; row += ROWS) {
        int rows = end - row < ROWS ? end - row : ROWS;
        for (int column = row / LANES * LANES; column < columns; column += TILES * LANES) {
            int tiles = (columns - column) / LANES < TILES ? (columns - column) / LANES : TILES;
            if (rows == ROWS && tiles == 3)
                gram_tile(gram, panel, n, stride, row, column, ROWS, 3);
            else if (rows == ROWS && tiles == 2)
                gram_tile(gram, panel, n, stride, row, column, ROWS, 2);
            else if (rows == ROWS)
                gram_tile(gram, panel, n, stride, row, column, ROWS, 1);
            else
                for (int i = 0; i < rows; i++)
                    for (int t = 0; t < tiles; t++)
                        gram_tile(gram, panel, n, stride, row + i, column + t * LANES, 1, 1);
        }
    }
    if (tail) gram_tail(gram, panel, n, dim, stride);
}

/* Takes `n` (1..4) finished rows starting at j off row i, in order. */
static inline __attribute__((always_inline)) void eliminate(float *a, int i, int j, int n, int dim, int stride) {
    float *row = a + (long)i * stride;
    __m256 factor[4];
    for (int r = 0; r < n; r++) factor[r] = _mm256_set1_ps(a[(long)(j + r) * stride + i]);
    for (int c = i / LANES * LANES; c < dim; c += LANES) {
        __m256 sum = _mm256_loadu_ps(row + c);
        for (int r = 0; r < n; r++)
            sum = _mm256_fnmadd_ps(factor[r], _mm256_loadu_ps(a + (long)(j + r) * stride + c), sum);
        _mm256_storeu_ps(row + c, sum);
    }
}

static int cholesky_avx2(float *a, int rank, int dim, int stride) {
    for (int i = 0; i < rank; i++) {
        int j = 0;
        for (; j + 4 <= i; j += 4) eliminate(a, i, j, 4, dim, stride);
        for (; j < i; j++) eliminate(a, i, j, 1, dim, stride);
        float *row = a + (long)i * stride;
        float pivot = row[i];
        if (!(pivot > 0) || !isfinite(pivot)) return 0;
        __m256 inverse = _mm256_set1_ps(1.0f / sqrtf(pivot));
        for (int c = i / LANES * LANES; c < dim; c += LANES)
            _mm256_storeu_ps(row + c, _mm256_mul_ps(_mm256_loadu_ps(row + c), inverse));
    }
    return 1;
}

static float dot_avx2(const float *a, const float *b, int stride) {
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    for (int at = 0; at < stride; at += 2 * LANES) {
        low = _mm256_fmadd_ps(_mm256_loadu_ps(a + at), _mm256_loadu_ps(b + at), low);
        high = _mm256_fmadd_ps(_mm256_loadu_ps(a + at + LANES), _mm256_loadu_ps(b + at + LANES), high);
    }
    __m256 eight = _mm256_add_ps(low, high);
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static void axpy_avx2(float *y, float a, const float *x, int stride) {
    const __m256 factor = _mm256_set1_ps(a);
    for (int at = 0; at < stride; at += LANES)
        _mm256_storeu_ps(y + at, _mm256_fmadd_ps(factor, _mm256_loadu_ps(x + at), _mm256_loadu_ps(y + at)));
}

static void dots_avx2(float *dots, const float *v, const float *const *x, int width) {
    for (int j = 0; j < FACTOR_GROUP; j++) dots[j] = dot_avx2(v, x[j], width);
}

static void axpys_avx2(float *y, const float *a, const float *const *x, int n, int width) {
    for (int at = 0; at < width; at += 2 * LANES) {
        __m256 low = _mm256_loadu_ps(y + at), high = _mm256_loadu_ps(y + at + LANES);
        for (int j = 0; j < n; j++) {
            __m256 factor = _mm256_set1_ps(a[j]);
            low = _mm256_fmadd_ps(factor, _mm256_loadu_ps(x[j] + at), low);
            high = _mm256_fmadd_ps(factor, _mm256_loadu_ps(x[j] + at + LANES), high);
        }
        _mm256_storeu_ps(y + at, low);
        _mm256_storeu_ps(y + at + LANES, high);
    }
}

const struct factor_kernels factor_kernels_avx2 = {gram_avx2, cholesky_avx2, dot_avx2,          axpy_avx2,
                                                   dots_avx2, axpys_avx2,    &factor_batch_avx2};
#endif
