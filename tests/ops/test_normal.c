/* Normal variates: against exact functions of the same words, their distribution, and the same bits in every vector
 * form and from every compiler. */
#include "core/doctor.h"
#include "kernels/common/normal.h"
#include "kernels/cpu/normal_lanes.h"
#include "test.h"

static double relative(double found, double exact) {
    return fabs(found / exact - 1);
}

/* The angle is cut into quarters before cos and sin, as exactly as the words say it. */
static void compare_turn(uint32_t word, double *worst) {
    float by_cos, by_sin;
    normal_turn(word, 1, &by_cos, &by_sin);
    const int quarter = (int)(((uint64_t)word + (1 << 29)) >> 30);
    const double angle = ((double)word + 0.5 - quarter * 1073741824.0) * (1.5707963267948966 / 1073741824.0);
    const double c = cos(angle), s = sin(angle);
    const double exact_cos[] = {c, -s, -c, s, c}, exact_sin[] = {s, c, -s, -c, s};
    *worst =
        fmax(*worst, fmax(relative((double)by_cos, exact_cos[quarter]), relative((double)by_sin, exact_sin[quarter])));
}

static void compare_radius(uint32_t word, double *worst) {
    const double odd = (double)(word | 1), all = 4294967296.0;
    const double exact = sqrt(-2 * (odd < all / 2 ? log(odd / all) : log1p(-(all - odd) / all)));
    *worst = fmax(*worst, relative((double)normal_radius(word), exact));
}

/* Some 4 M words: every power of two and its neighbours, and a stride that meets all sizes. A pass over every 34th of
 * all words found 1.63e-7 for the radius and 1.74e-7 for cos and sin. A product rounds once more, by at most 2^-24. */
static void parts_are_exact_to_their_bound(void) {
    double radius = 0, turn = 0;
    for (int bit = 0; bit < 32; bit++)
        for (uint32_t near = 0; near < 2048; near++) {
            const uint32_t word = (uint32_t)1 << bit;
            compare_radius(word + near, &radius), compare_radius(word - near, &radius);
            compare_turn(word + near, &turn), compare_turn(word - near, &turn);
        }
    for (uint64_t word = 0; word < (uint64_t)1 << 32; word += 1021) {
        compare_radius((uint32_t)word, &radius);
        compare_turn((uint32_t)word, &turn);
    }
    CHECK(radius < 1.8e-7 && turn < 1.8e-7);
    CHECK_NEAR((double)normal_radius(0), sqrt(64 * log(2)), 1e-6);
    CHECK(normal_radius(UINT32_MAX) > 0);
}

enum { N = 1 << 22 };

static float *draw_all(void) {
    float *out = malloc(sizeof *out * N);
    if (!out) exit(1);
    for (uint64_t i = 0; i < N / 4; i++) philox_normals(1, philox_stream(PHILOX_TEST, 9), i, out + 4 * i);
    return out;
}

static int by_size(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Five standard errors each; the variance of x^p is E x^2p - (E x^p)^2. */
static void moments_are_those_of_a_normal(void) {
    const double expected[] = {0, 1, 0, 3, 0, 15}, variance[] = {1, 2, 15, 96, 945, 10170};
    double sums[6] = {0}, neighbours = 0, pairs = 0;
    float *x = draw_all();
    for (int i = 0; i < N; i++) {
        double power = 1;
        for (int p = 0; p < 6; p++) sums[p] += power *= (double)x[i];
        if (i % 2) pairs += (double)x[i] * (double)x[i] * (double)x[i - 1] * (double)x[i - 1];
        if (i) neighbours += (double)x[i] * (double)x[i - 1];
    }
    for (int p = 0; p < 6; p++) CHECK_NEAR(sums[p] / N, expected[p], 5 * sqrt(variance[p] / N));
    CHECK_NEAR(neighbours / N, 0, 5 / sqrt(N));
    /* x^2 y^2 of the two halves of a pair: mean 1, variance 9 - 1 */
    CHECK_NEAR(pairs / (N / 2), 1, 5 * sqrt(8.0 / (N / 2)));
    free(x);
}

/* Kolmogorov and Smirnov: sqrt(n) D exceeds 2.2 with probability 2 exp(-2 * 2.2^2) = 1.3e-4, and the seed is fixed.
 * Tails: counts within five standard deviations of a binomial's. */
static void distribution_is_normal(void) {
    float *x = draw_all();
    qsort(x, N, sizeof *x, by_size);
    double worst = 0;
    for (int i = 0; i < N; i++) {
        const double share = 0.5 * erfc(-(double)x[i] / sqrt(2));
        worst = fmax(worst, fmax(share - (double)i / N, (i + 1.0) / N - share));
    }
    CHECK(sqrt(N) * worst < 2.2);
    for (int sigma = 1; sigma <= 5; sigma++) {
        const double share = 0.5 * erfc(sigma / sqrt(2)), expected = share * N, spread = 5 * sqrt(expected) + 1;
        int below = 0, above = 0;
        for (int i = 0; i < N; i++) below += x[i]<-(float)sigma, above += x[i]>(float) sigma;
        CHECK_NEAR(below, expected, spread);
        CHECK_NEAR(above, expected, spread);
    }
    free(x);
}

/* What IEEE 754 makes of the formula; a compiler that fuses or reorders would change it. */
static void bits_are_known(void) {
    float x[4];
    uint32_t hash = 0;
    for (uint64_t i = 0; i < 4096; i++) {
        philox_normals(7, philox_stream(PHILOX_TEST, 3), i << 20 | i, x);
        for (int j = 0; j < 4; j++) hash = hash * 0x9E3779B1u + normal_bits(x[j]);
    }
    CHECK_INT(hash, 2774628430);
}

static void same_bits_in_all_lanes(normal_lanes_fn lanes) {
    uint64_t index[NORMAL_LANES];
    float out[4][NORMAL_LANES], four[4];
    int differ = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t seed = i * 0x9E3779B97F4A7C15u, stream = philox_stream(PHILOX_TEST, (uint32_t)i);
        for (uint64_t l = 0; l < NORMAL_LANES; l++) index[l] = i % 3 ? i * 128 + l : (i + l) << 37 | l;
        lanes(seed, stream, index, out);
        for (int l = 0; l < NORMAL_LANES; l++) {
            philox_normals(seed, stream, index[l], four);
            for (int j = 0; j < 4; j++) differ += normal_bits(four[j]) != normal_bits(out[j][l]);
        }
    }
    CHECK_INT(differ, 0);
}

static void every_vector_form_has_the_same_bits(void) {
    same_bits_in_all_lanes(normal_lanes_generic);
#if defined(__x86_64__)
    enum simd_level level = simd_level();
    if (level >= SIMD_AVX2) same_bits_in_all_lanes(normal_lanes_avx2);
    if (level >= SIMD_AVX512)
        same_bits_in_all_lanes(normal_lanes_avx512);
    else
        SKIP("avx512", "this processor has none");
#endif
    same_bits_in_all_lanes(normal_lanes_choose());
}

int main(void) {
    RUN(parts_are_exact_to_their_bound);
    RUN(moments_are_those_of_a_normal);
    RUN(distribution_is_normal);
    RUN(bits_are_known);
    RUN(every_vector_form_has_the_same_bits);
    TEST_EXIT();
}
