/* factor_solve's inner loops in AVX-512: tiles of 8 rows x 48 columns held in registers. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <math.h>

#include "kernels/cpu/factor_kernels.h"

enum { LANES = 16, ROWS = 8, TILES = 3 };

/* `rows` (1..ROWS) rows from `row`, `tiles` (1..TILES) column tiles from column `column`; constant after inlining. */
static inline __attribute__((always_inline)) void gram_tile(float *gram, const float *panel, int n, int stride, int row,
                                                            int column, int rows, int tiles) {
    __m512 sum[ROWS][TILES];
    for (int i = 0; i < rows; i++)
        for (int t = 0; t < tiles; t++) sum[i][t] = _mm512_loadu_ps(gram + (row + i) * stride + column + t * LANES);
    for (int p = 0; p < n; p++) {
        const float *x = panel + (long)p * stride;
        __m512 right[TILES];
        for (int t = 0; t < tiles; t++) right[t] = _mm512_loadu_ps(x + column + t * LANES);
        for (int i = 0; i < rows; i++) {
            __m512 left = _mm512_set1_ps(x[row + i]);
            for (int t = 0; t < tiles; t++) sum[i][t] = _mm512_fmadd_ps(left, right[t], sum[i][t]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int t = 0; t < tiles; t++) _mm512_storeu_ps(gram + (row + i) * stride + column + t * LANES, sum[i][t]);
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

static void gram_avx512(float *gram, const float *panel, int n, int dim, int stride) {
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

/* Takes `n` (1..4) finished rows starting at j off row i, in order: each element sees the same chain of
 * multiply-adds as with one row at a time. */
static inline __attribute__((always_inline)) void eliminate(float *a, int i, int j, int n, int dim, int stride) {
    float *row = a + (long)i * stride;
    __m512 factor[4];
    for (int r = 0; r < n; r++) factor[r] = _mm512_set1_ps(a[(long)(j + r) * stride + i]);
    for (int c = i / LANES * LANES; c < dim; c += LANES) {
        __m512 sum = _mm512_loadu_ps(row + c);
        for (int r = 0; r < n; r++)
            sum = _mm512_fnmadd_ps(factor[r], _mm512_loadu_ps(a + (long)(j + r) * stride + c), sum);
        _mm512_storeu_ps(row + c, sum);
    }
}

static int cholesky_avx512(float *a, int rank, int dim, int stride) {
    for (int i = 0; i < rank; i++) {
        /* left-looking: row i sees the finished rows 0..i-1 in order, then is scaled */
        int j = 0;
        for (; j + 4 <= i; j += 4) eliminate(a, i, j, 4, dim, stride);
        for (; j < i; j++) eliminate(a, i, j, 1, dim, stride);
        float *row = a + (long)i * stride;
        float pivot = row[i];
        if (!(pivot > 0) || !isfinite(pivot)) return 0;
        __m512 inverse = _mm512_set1_ps(1.0f / sqrtf(pivot));
        for (int c = i / LANES * LANES; c < dim; c += LANES)
            _mm512_storeu_ps(row + c, _mm512_mul_ps(_mm512_loadu_ps(row + c), inverse));
    }
    return 1;
}

static float dot_avx512(const float *a, const float *b, int stride) {
    __m512 sum = _mm512_setzero_ps();
    for (int at = 0; at < stride; at += LANES)
        sum = _mm512_fmadd_ps(_mm512_loadu_ps(a + at), _mm512_loadu_ps(b + at), sum);
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps(sum, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

static void axpy_avx512(float *y, float a, const float *x, int stride) {
    const __m512 factor = _mm512_set1_ps(a);
    for (int at = 0; at < stride; at += LANES)
        _mm512_storeu_ps(y + at, _mm512_fmadd_ps(factor, _mm512_loadu_ps(x + at), _mm512_loadu_ps(y + at)));
}

/* The halves, quarters ... of two running sums side by side: each adds what dot's tree adds. */
static inline __m512 add_halves(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
}

static inline __m512 add_quarters(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

static inline __m512 add_pairs(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
}

static inline __m512 add_last(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
}

static void dots_avx512(float *dots, const float *v, const float *const *x, int width) {
    __m512 sum[FACTOR_GROUP];
    for (int j = 0; j < FACTOR_GROUP; j++) sum[j] = _mm512_setzero_ps();
    for (int at = 0; at < width; at += LANES) {
        const __m512 factor = _mm512_loadu_ps(v + at);
        for (int j = 0; j < FACTOR_GROUP; j++) sum[j] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(x[j] + at), sum[j]);
    }
    /* sum j ends in lane j: quarter q of the vector holds sums 4 q to 4 q + 3 */
    __m512 quarters[4];
    for (int j = 0; j < 4; j++)
        quarters[j] = add_quarters(add_halves(sum[j], sum[j + 4]), add_halves(sum[j + 8], sum[j + 12]));
    _mm512_storeu_ps(dots, add_last(add_pairs(quarters[0], quarters[1]), add_pairs(quarters[2], quarters[3])));
}

static void axpys_avx512(float *y, const float *a, const float *const *x, int n, int width) {
    int at = 0;
    for (; at + 4 * LANES <= width; at += 4 * LANES) {
        __m512 sum[4];
        for (int t = 0; t < 4; t++) sum[t] = _mm512_loadu_ps(y + at + t * LANES);
        for (int j = 0; j < n; j++) {
            const __m512 factor = _mm512_set1_ps(a[j]);
            for (int t = 0; t < 4; t++)
                sum[t] = _mm512_fmadd_ps(factor, _mm512_loadu_ps(x[j] + at + t * LANES), sum[t]);
        }
        for (int t = 0; t < 4; t++) _mm512_storeu_ps(y + at + t * LANES, sum[t]);
    }
    for (; at < width; at += LANES) {
        __m512 sum = _mm512_loadu_ps(y + at);
        for (int j = 0; j < n; j++) sum = _mm512_fmadd_ps(_mm512_set1_ps(a[j]), _mm512_loadu_ps(x[j] + at), sum);
        _mm512_storeu_ps(y + at, sum);
    }
}

const struct factor_kernels factor_kernels_avx512 = {gram_avx512, cholesky_avx512, dot_avx512,          axpy_avx512,
                                                     dots_avx512, axpys_avx512,    &factor_batch_avx512};
#endif
