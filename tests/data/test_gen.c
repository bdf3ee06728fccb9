/* The twin generator from inside: its numbers against libm, its degrees, and the planted expectation against the
 * ratings that come of it. tests/cli/test_gen.py checks the files. */
#include "test.h"

#include "data/gen.h"

static reel_context *ctx;
static reel_error err;

static void numbers(void) {
    for (double x = -80; x < 80; x += 0.37) CHECK_NEAR(gen_exp((float)x) / exp((double)(float)x), 1, 3e-6);
    for (double x = -600; x < 600; x += 1.7) CHECK_NEAR(gen_exp_double(x) / exp(x), 1, 1e-12);
    for (double x = 1e-12; x < 1e12; x *= 1.37) CHECK_NEAR(gen_log(x), log(x), 1e-11);
    CHECK_NEAR(gen_exp_double(0), 1, 0);
    CHECK_NEAR(gen_log(1), 0, 0);
}

/* The distribution function takes the quantile z back: PPND7's 1e-7 relative in z is z^2 1e-7 relative in p. */
static void normal_quantile(void) {
    CHECK_NEAR(gen_normal_quantile(0.5), 0, 0);
    CHECK_NEAR(gen_normal_quantile(0.975), 1.959964, 1e-6);
    for (double p = 1e-10; p < 1; p = p < 0.01 ? p * 1.9 : p + 0.0071) {
        double z = gen_normal_quantile(p), back = 0.5 * erfc(-z / sqrt(2.0));
        CHECK_NEAR(back / p, 1, 3e-7 * (1 + z * z));
        CHECK_NEAR(gen_normal_quantile(1 - p), -gen_normal_quantile(p), p < 1e-6 ? 1e-3 : 1e-6);
    }
}

static void check_degrees(const struct gen_degree_curve *curve, int64_t cap, int64_t total, int64_t n) {
    int64_t *counts, sum = 0;
    REQUIRE_OK(MEM_RAW(&counts, n, &err), err);
    REQUIRE_OK(gen_degrees(curve, cap, total, n, counts, &err), err);
    for (int64_t i = 0; i < n; i++) {
        if (counts[i] < (int64_t)curve->knots[0].value || counts[i] > cap) {
            CHECK_INT(counts[i], -1);
            break;
        }
        if (i && counts[i] < counts[i - 1] - 1) CHECK_INT(counts[i], counts[i - 1]);
        sum += counts[i];
    }
    CHECK_INT(sum, total);
    mem_free(counts);
}

static void degrees(void) {
    const struct gen_profile *profile = gen_profile_find("ml-1m");
    struct gen_degree_curve users = {profile->user_knots, profile->n_user_knots, profile->n_users, profile->n_ratings};
    int64_t *counts, n = profile->n_users;
    REQUIRE_OK(MEM_RAW(&counts, n, &err), err);
    REQUIRE_OK(gen_degrees(&users, profile->n_rated, profile->n_ratings, n, counts, &err), err);
    CHECK_INT(counts[0], 20);
    CHECK_INT(counts[n - 1], 2314);
    CHECK_NEAR(0.5 * (double)(counts[n / 2 - 1] + counts[n / 2]), 96, 1);
    mem_free(counts);
    check_degrees(&users, 3706, 1000209, 6040);
    check_degrees(&users, 3706, 20 * 6040, 6040); /* everybody at the minimum */
    check_degrees(&users, 3706, 20 * 6040 + 1, 6040);
    check_degrees(&users, 100, 100 * 50, 50); /* everybody at the cap */
    check_degrees(&users, 100, 100 * 50 - 1, 50);
    check_degrees(&users, 3000, 2900 * 60, 60);
    check_degrees(&users, 20, 20, 1);
    check_degrees(&users, 5000, 17000000, 100000);
}

/* All steps but the writing, on a small set. */
static void make(struct gen *gen, const char *like, int32_t n_users, int64_t n_ratings) {
    *gen = (struct gen){.ctx = ctx, .profile = gen_profile_find(like), .seed = 3, .factors = 6, .stride = 8};
    gen->n_users = n_users;
    gen->n_ratings = n_ratings;
    gen->n_movies = 2000;
    gen->n_rated = 1990;
    REQUIRE_OK(gen_catalogue_load(gen, NULL, &err), err);
    REQUIRE_OK(gen_users_plan(gen, &err), err);
    REQUIRE_OK(gen_movies_plan(gen, &err), err);
    REQUIRE_OK(gen_weights_fit(gen, &err), err);
    REQUIRE_OK(gen_picks_draw(gen, &err), err);
    REQUIRE_OK(gen_picks_repair(gen, &err), err);
    REQUIRE_OK(gen_scale_fit(gen, &err), err);
}

enum { CELLS = 20 };
struct cell {
    double n, stars, expected, squares;
};

/* Ratings by what the truth expects of them: [0] in whole-star time, [1] after it. */
static void collect(const struct gen *gen, struct cell cells[2][CELLS]) {
    struct gen_user user;
    for (int32_t u = 0; u < gen->n_users; u++) {
        gen_user_draw(gen, u, &user);
        for (int64_t i = gen->user_offsets[u]; i < gen->user_offsets[u + 1]; i++) {
            struct gen_rating rating = gen_rate(gen, &user, i, gen->picks[i]);
            int late = rating.time >= GEN_HALF_STARS_FROM;
            double stars = 0.5 * gen->scale.stars[late][gen_bin(rating.latent)];
            double expected = gen_scale_expect(&gen->scale, late, rating.mean);
            struct cell *cell = &cells[late][(int)((expected - 0.5) / 4.5 * (CELLS - 0.001))];
            cell->n++;
            cell->stars += stars;
            cell->expected += expected;
            cell->squares += (stars - expected) * (stars - expected);
        }
    }
}

/* The oracle is a floor only if it is the conditional mean: wherever it says x, ratings average x. */
static void expectation(void) {
    struct gen gen;
    struct cell cells[2][CELLS] = {0};
    make(&gen, "ml-20m", 3000, 400000);
    collect(&gen, cells);
    int filled = 0;
    for (int late = 0; late < 2; late++)
        for (int c = 0; c < CELLS; c++) {
            struct cell *cell = &cells[late][c];
            if (cell->n < 100) continue;
            filled++;
            double error = sqrt(cell->squares / cell->n / cell->n);
            CHECK_NEAR(cell->stars / cell->n, cell->expected / cell->n, 4.5 * error + 0.002);
        }
    CHECK(filled > 20);
    gen_free(&gen);
}

/* Every movie has the count that it was dealt, but for a handful that could not be moved. */
static void movie_counts(void) {
    struct gen gen;
    make(&gen, "ml-1m", 1500, 240000);
    int64_t *counts, wrong = 0;
    REQUIRE_OK(MEM_NEW(&counts, gen.n_movies, &err), err);
    for (int64_t i = 0; i < gen.n_ratings; i++) counts[gen.picks[i]]++;
    for (int32_t m = 0; m < gen.n_movies; m++) {
        CHECK((counts[m] == 0) == (gen.movie_targets[m] == 0));
        wrong += counts[m] > gen.movie_targets[m] ? counts[m] - gen.movie_targets[m] : 0;
    }
    CHECK(wrong <= 240);
    mem_free(counts);
    gen_free(&gen);
}

/* Users take what they like: the mean planted taste of what is picked lies above that of all movies. */
static void picks_follow_taste(void) {
    struct gen gen;
    make(&gen, "ml-1m", 1500, 120000);
    struct gen_user user;
    double picked = 0, any = 0;
    for (int32_t u = 0; u < gen.n_users; u++) {
        gen_user_draw(&gen, u, &user);
        for (int64_t i = gen.user_offsets[u]; i < gen.user_offsets[u + 1]; i++) {
            int32_t other = gen.picks[(i * 7919 + 13) % gen.n_ratings];
            picked += gen_taste(user.factors, gen.movie_factors + (int64_t)gen.picks[i] * gen.stride, gen.stride);
            any += gen_taste(user.factors, gen.movie_factors + (int64_t)other * gen.stride, gen.stride);
        }
    }
    double gain = (picked - any) / (double)gen.n_ratings;
    CHECK(gain > 0.05);
    CHECK(gain < 0.5);
    gen_free(&gen);
}

int main(void) {
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 3;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    RUN(numbers);
    RUN(normal_quantile);
    RUN(degrees);
    RUN(expectation);
    RUN(movie_counts);
    RUN(picks_follow_taste);
    reel_context_free(ctx);
    TEST_EXIT();
}
