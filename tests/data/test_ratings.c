/* ratings_subset and ratings_pairs against the plain way, at several thread counts. */
#include "test.h"
#include "data/random_ratings.h"

static reel_error err;

static void same_ratings(const struct ratings *a, const struct ratings *b) {
    size_t n = (size_t)a->n_ratings;
    CHECK_INT(a->n_ratings, b->n_ratings);
    CHECK_INT(a->n_users, b->n_users);
    CHECK_INT(a->n_movies, b->n_movies);
    CHECK_INT(a->scale_min, b->scale_min);
    CHECK_INT(a->scale_max, b->scale_max);
    if (a->n_ratings != b->n_ratings) return;
    CHECK(memcmp(a->user_offsets, b->user_offsets, ((size_t)a->n_users + 1) * sizeof(int64_t)) == 0);
    CHECK(memcmp(a->user_movies, b->user_movies, n * sizeof(int32_t)) == 0);
    CHECK(memcmp(a->user_ratings, b->user_ratings, n) == 0);
    CHECK(memcmp(a->user_times, b->user_times, n * sizeof(uint32_t)) == 0);
    CHECK(memcmp(a->movie_offsets, b->movie_offsets, ((size_t)a->n_movies + 1) * sizeof(int64_t)) == 0);
    CHECK(memcmp(a->movie_users, b->movie_users, n * sizeof(int32_t)) == 0);
    CHECK(memcmp(a->movie_ratings, b->movie_ratings, n) == 0);
}

static struct ratings plain_subset(const struct ratings *all, const uint8_t *test) {
    struct ratings r = {
        .n_users = all->n_users, .n_movies = all->n_movies, .scale_min = all->scale_min, .scale_max = all->scale_max};
    size_t room = (size_t)all->n_ratings + 1;
    int64_t *offsets = calloc((size_t)all->n_users + 1, sizeof *offsets), n = 0;
    int32_t *movies = malloc(room * sizeof *movies);
    uint8_t *ratings = malloc(room);
    uint32_t *times = malloc(room * sizeof *times);
    for (int32_t u = 0; u < all->n_users; u++) {
        offsets[u] = n;
        for (int64_t i = all->user_offsets[u]; i < all->user_offsets[u + 1]; i++) {
            if (test[i]) continue;
            movies[n] = all->user_movies[i];
            ratings[n] = all->user_ratings[i];
            times[n++] = all->user_times[i];
        }
    }
    offsets[all->n_users] = r.n_ratings = n;
    r.user_offsets = r.owned[0] = offsets;
    r.user_movies = r.owned[1] = movies;
    r.user_ratings = r.owned[2] = ratings;
    r.user_times = r.owned[3] = times;
    random_ratings_add_by_movie(&r);
    return r;
}

static void check_case(int32_t n_users, int32_t n_movies, uint32_t percent, uint32_t test_percent, int threads) {
    struct ratings all = random_ratings(n_users, n_movies, percent, 11);
    uint8_t *test = malloc((size_t)all.n_ratings + 1);
    for (int64_t i = 0; i < all.n_ratings; i++) /* any value but 0 means test */
        test[i] = random_word(12, (uint64_t)i) % 100 < test_percent ? (uint8_t)(1 + i % 255) : 0;
    reel_context *ctx = context_of(threads);
    struct ratings expected = plain_subset(&all, test), got;
    struct rating_pairs pairs;
    REQUIRE_OK(ratings_subset(ctx, &all, test, RATINGS_BY_MOVIE | RATINGS_TIMES, &got, &err), err);
    same_ratings(&got, &expected);
    REQUIRE_OK(ratings_pairs(ctx, &all, test, &pairs, &err), err);
    CHECK_INT(pairs.n, all.n_ratings - got.n_ratings);
    int64_t n = 0, wrong = 0;
    for (int32_t u = 0; u < all.n_users; u++)
        for (int64_t i = all.user_offsets[u]; i < all.user_offsets[u + 1]; i++) {
            if (!test[i]) continue;
            wrong += pairs.users[n] != u || pairs.movies[n] != all.user_movies[i] ||
                     pairs.ratings[n] != all.user_ratings[i] || pairs.times[n] != all.user_times[i];
            n++;
        }
    CHECK_INT(wrong, 0);
    ratings_free(&got);
    REQUIRE_OK(ratings_subset(ctx, &all, test, 0, &got, &err), err);
    CHECK(!got.movie_offsets && !got.movie_users && !got.movie_ratings && !got.user_times);
    ratings_free(&got);
    rating_pairs_free(&pairs);
    ratings_free(&expected);
    ratings_free(&all);
    free(test);
    reel_context_free(ctx);
}

static void sizes_and_shares(void) {
    check_case(0, 0, 0, 0, 2);
    check_case(1, 1, 100, 50, 2);
    check_case(5, 3, 0, 50, 2); /* no ratings */
    check_case(700, 60, 40, 20, 1);
    check_case(700, 60, 40, 20, 2);
    check_case(1500, 90, 50, 0, 3);
    check_case(1500, 90, 50, 100, 8);
    check_case(3, 9000, 95, 10, 8); /* rows longer than a block */
}

static void cancel_frees_all(void) {
    struct ratings all = random_ratings(20, 20, 50, 13), got;
    uint8_t test[512] = {1};
    reel_context *ctx = context_of(1);
    reel_context_cancel(ctx);
    CHECK_INT(ratings_subset(ctx, &all, test, RATINGS_BY_MOVIE, &got, &err), REEL_CANCELLED);
    CHECK(got.user_offsets == NULL);
    ratings_free(&all);
    reel_context_free(ctx);
}

int main(void) {
    RUN(sizes_and_shares);
    RUN(cancel_frees_all);
    TEST_EXIT();
}
