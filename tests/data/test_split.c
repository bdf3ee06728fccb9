/* Splits: the permutation is one, folds have exact sizes, threads change nothing. */
#include "test.h"
#include "data/random_ratings.h"
#include "data/split.h"

static reel_error err;

static void permutation_is_a_bijection(void) {
    static const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 16, 17, 100, 1000, 4095, 4096, 4097, 100004};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        int64_t n = sizes[s], inside = 1, fresh = 1;
        uint8_t *seen = calloc((size_t)n, 1);
        for (int64_t i = 0; i < n; i++) {
            int64_t place = split_permute(s, n, i);
            inside &= place >= 0 && place < n;
            if (!inside) break;
            fresh &= !seen[place];
            seen[place] = 1;
        }
        CHECK(inside);
        CHECK(fresh);
        free(seen);
    }
}

/* Every place is equally likely for index 0, over seeds; chi-squared with n-1 degrees, mean n-1, deviation
 * sqrt(2(n-1)): 6 deviations. */
static void permutation_is_even(void) {
    for (int64_t n = 2; n <= 40; n += 3) {
        int64_t counts[64] = {0}, rounds = 500 * n;
        for (int64_t seed = 0; seed < rounds; seed++) counts[split_permute((uint64_t)seed, n, n / 2)]++;
        double chi = 0;
        for (int64_t i = 0; i < n; i++) chi += ((double)counts[i] - 500) * ((double)counts[i] - 500) / 500;
        CHECK(chi < (double)(n - 1) + 6 * sqrt(2.0 * (double)(n - 1)));
    }
}

static void permutation_depends_on_seed(void) {
    int64_t same = 0, n = 10000, neighbours = 0;
    for (int64_t i = 0; i < n; i++) {
        same += split_permute(1, n, i) == split_permute(2, n, i);
        if (i) neighbours += llabs(split_permute(1, n, i) - split_permute(1, n, i - 1)) == 1;
    }
    CHECK(same < 20);
    CHECK(neighbours < 20);
}

static void random_folds_are_exact(void) {
    struct ratings r = random_ratings(61, 47, 30, 1);
    reel_context *ctx = context_of(2);
    uint8_t *labels = malloc((size_t)r.n_ratings), *test = malloc((size_t)r.n_ratings);
    for (int folds = 2; folds <= 250; folds = folds * 2 + 1) {
        int64_t counts[256] = {0};
        REQUIRE_OK(split_folds(ctx, &r, REEL_SPLIT_RANDOM, folds, 9, labels, &err), err);
        for (int64_t i = 0; i < r.n_ratings; i++) counts[labels[i]]++;
        for (int f = 0; f < folds; f++) CHECK(counts[f] == r.n_ratings / folds || counts[f] == r.n_ratings / folds + 1);
        REQUIRE_OK(split_fold(ctx, &r, REEL_SPLIT_RANDOM, folds, 1, 9, test, &err), err);
        int64_t wrong = 0;
        for (int64_t i = 0; i < r.n_ratings; i++) wrong += test[i] != (labels[i] == 1);
        CHECK_INT(wrong, 0);
    }
    free(labels), free(test);
    ratings_free(&r);
    reel_context_free(ctx);
}

static void per_user_folds_are_exact(void) {
    struct ratings r = random_ratings(300, 40, 30, 2);
    reel_context *ctx = context_of(3);
    uint8_t *labels = malloc((size_t)r.n_ratings);
    REQUIRE_OK(split_folds(ctx, &r, REEL_SPLIT_PER_USER, 5, 3, labels, &err), err);
    int64_t total[5] = {0};
    for (int32_t u = 0; u < r.n_users; u++) {
        int64_t counts[5] = {0}, n = r.user_offsets[u + 1] - r.user_offsets[u];
        for (int64_t i = r.user_offsets[u]; i < r.user_offsets[u + 1]; i++) counts[labels[i]]++, total[labels[i]]++;
        for (int f = 0; f < 5; f++) CHECK(counts[f] == n / 5 || counts[f] == n / 5 + 1);
    }
    for (int f = 0; f < 5; f++) CHECK(llabs(total[f] - r.n_ratings / 5) < 60);
    free(labels);
    ratings_free(&r);
    reel_context_free(ctx);
}

static void time_split_takes_the_newest(void) {
    struct ratings r = random_ratings(50, 90, 60, 3);
    reel_context *ctx = context_of(2);
    uint8_t *test = malloc((size_t)r.n_ratings);
    REQUIRE_OK(split_fold(ctx, &r, REEL_SPLIT_TIME, 5, 0, 3, test, &err), err);
    int64_t wrong = 0;
    for (int32_t u = 0; u < r.n_users; u++) {
        int64_t begin = r.user_offsets[u], end = r.user_offsets[u + 1], held_out = 0;
        for (int64_t i = begin; i < end; i++) {
            held_out += test[i];
            for (int64_t j = begin; test[i] && j < end; j++)
                wrong += !test[j] && (r.user_times[j] > r.user_times[i] ||
                                      (r.user_times[j] == r.user_times[i] && r.user_movies[j] > r.user_movies[i]));
        }
        CHECK_INT(held_out, (end - begin) / 10);
    }
    CHECK_INT(wrong, 0);
    uint32_t *none = calloc((size_t)r.n_ratings, sizeof *none);
    r.user_times = none;
    CHECK_INT(split_fold(ctx, &r, REEL_SPLIT_TIME, 5, 0, 3, test, &err), REEL_INVALID_ARGUMENT);
    free(none), free(test);
    ratings_free(&r);
    reel_context_free(ctx);
}

static void holdout_has_its_share(void) {
    struct ratings r = random_ratings(40, 50, 50, 4);
    reel_context *ctx = context_of(2);
    uint8_t *test = malloc((size_t)r.n_ratings);
    for (int percent = 0; percent < 100; percent += 7) {
        int64_t held_out = 0;
        REQUIRE_OK(split_holdout(ctx, &r, REEL_SPLIT_RANDOM, percent / 100.0, 5, test, &err), err);
        for (int64_t i = 0; i < r.n_ratings; i++) held_out += test[i];
        CHECK_INT(held_out, r.n_ratings * percent / 100);
        REQUIRE_OK(split_holdout(ctx, &r, REEL_SPLIT_PER_USER, percent / 100.0, 5, test, &err), err);
        for (int32_t u = 0; u < r.n_users; u++) {
            held_out = 0;
            for (int64_t i = r.user_offsets[u]; i < r.user_offsets[u + 1]; i++) held_out += test[i];
            CHECK_INT(held_out, (r.user_offsets[u + 1] - r.user_offsets[u]) * percent / 100);
        }
    }
    CHECK_INT(split_holdout(ctx, &r, REEL_SPLIT_RANDOM, 1.0, 5, test, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(split_holdout(ctx, &r, REEL_SPLIT_RANDOM, -0.1, 5, test, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(split_holdout(ctx, &r, REEL_SPLIT_RANDOM, (double)NAN, 5, test, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(split_fold(ctx, &r, REEL_SPLIT_RANDOM, 1, 0, 5, test, &err), REEL_INVALID_ARGUMENT);
    free(test);
    ratings_free(&r);
    reel_context_free(ctx);
}

static void threads_change_nothing(void) {
    struct ratings r = random_ratings(1200, 300, 40, 5);
    size_t n = (size_t)r.n_ratings;
    uint8_t *one = malloc(n), *many = malloc(n);
    static const reel_split_kind kinds[] = {REEL_SPLIT_RANDOM, REEL_SPLIT_PER_USER, REEL_SPLIT_TIME};
    for (int k = 0; k < 3; k++) {
        reel_context *ctx = context_of(1);
        REQUIRE_OK(split_folds(ctx, &r, kinds[k], 5, 7, one, &err), err);
        reel_context_free(ctx);
        ctx = context_of(8);
        REQUIRE_OK(split_folds(ctx, &r, kinds[k], 5, 7, many, &err), err);
        reel_context_free(ctx);
        CHECK(memcmp(one, many, n) == 0);
    }
    free(one), free(many);
    ratings_free(&r);
}

static void cancel_is_seen(void) {
    struct ratings r = random_ratings(10, 10, 50, 6);
    reel_context *ctx = context_of(1);
    uint8_t test[128];
    reel_context_cancel(ctx);
    CHECK_INT(split_fold(ctx, &r, REEL_SPLIT_RANDOM, 2, 0, 1, test, &err), REEL_CANCELLED);
    ratings_free(&r);
    reel_context_free(ctx);
}

int main(void) {
    RUN(permutation_is_a_bijection);
    RUN(permutation_is_even);
    RUN(permutation_depends_on_seed);
    RUN(random_folds_are_exact);
    RUN(per_user_folds_are_exact);
    RUN(time_split_takes_the_newest);
    RUN(holdout_has_its_share);
    RUN(threads_change_nothing);
    RUN(cancel_is_seen);
    TEST_EXIT();
}
