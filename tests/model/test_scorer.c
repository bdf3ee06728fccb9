/* Scorers on a planted dataset: predictions, top N of one and of many, filters, visitors, reasons. */
#include "test.h"

#include "backend/registry.h"
#include "core/error.h"
#include "model/planted.h"
#include "model/scorer.h"

enum { USERS = 120, MOVIES = 157 };

/* A planted dataset with genres and years, and a model of each algorithm trained on its training part. */
struct bench {
    reel_context *ctx;
    struct planted planted;
    uint64_t genres[MOVIES];
    int16_t years[MOVIES];
    reel_model *svd, *bias, *mean, *unbiased;
};
static struct bench bench;

static reel_model *fit(const char *name, const reel_param *params, size_t n_params) {
    struct fit_output output;
    reel_status status;
    reel_error err;
    reel_model *model = planted_fit(bench.ctx, &bench.planted, name, params, n_params, &output, &status, &err);
    REQUIRE_OK(status, err);
    fit_output_free(&output);
    return model;
}

static void set_up(void) {
    static const reel_param params[] = {{"factors", "9"}, {"epochs", "30"}, {"learning_rate", "0.02"}};
    static const reel_param unbiased[] = {{"factors", "9"}, {"epochs", "30"}, {"biased", "false"}};
    bench.ctx = context_of(2);
    bench.planted = planted_new(bench.ctx, USERS, MOVIES, 30, 0.2f, 7);
    for (int m = 0; m < MOVIES; m++) {
        bench.genres[m] = (uint64_t)(m % 5 == 0 ? 0 : 1 << m % 7);
        bench.years[m] = (int16_t)(m % 11 == 0 ? 0 : 1950 + m % 60);
    }
    bench.planted.dataset.movie_genres = bench.genres;
    bench.planted.dataset.movie_years = bench.years;
    bench.planted.dataset.newest_time = 1000000;
    bench.svd = fit("svd", params, 3);
    bench.bias = fit("bias", NULL, 0);
    bench.mean = fit("mean", NULL, 0);
    bench.unbiased = fit("svd", unbiased, 3);
}

static void tear_down(void) {
    reel_model_free(bench.svd), reel_model_free(bench.bias), reel_model_free(bench.mean);
    reel_model_free(bench.unbiased);
    planted_free(&bench.planted);
    reel_context_free(bench.ctx);
}

static reel_scorer *bind(reel_context *ctx, const struct reel_dataset *dataset, const reel_model *model) {
    reel_scorer *scorer;
    reel_error err;
    REQUIRE_OK(reel_scorer_new(ctx, dataset, model, &scorer, &err), err);
    return scorer;
}

static reel_scorer *bind_svd(void) {
    return bind(bench.ctx, &bench.planted.dataset, bench.svd);
}

static int recommend(const reel_scorer *scorer, const reel_recommend_query *query, reel_recommendation *items) {
    reel_error err;
    int n;
    REQUIRE_OK(reel_scorer_recommend(scorer, query, items, &n, &err), err);
    return n;
}

static int has_seen(int32_t user, int32_t movie) {
    const struct ratings *all = &bench.planted.dataset.ratings;
    for (int64_t i = all->user_offsets[user]; i < all->user_offsets[user + 1]; i++)
        if (all->user_movies[i] == movie) return 1;
    return 0;
}

static int64_t n_seen(int32_t user) {
    const int64_t *offsets = bench.planted.dataset.ratings.user_offsets;
    return offsets[user + 1] - offsets[user];
}

/* score >= next, ties by movie */
static int in_order(const reel_recommendation *items, int n) {
    for (int i = 1; i < n; i++)
        if (items[i - 1].raw_score < items[i].raw_score ||
            (items[i - 1].raw_score == items[i].raw_score && items[i - 1].movie >= items[i].movie))
            return 0;
    return 1;
}

static void recommends_all_unseen_in_order(void) {
    const reel_model *models[] = {bench.svd, bench.bias, bench.mean, bench.unbiased};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        reel_scorer *scorer = bind(bench.ctx, &bench.planted.dataset, models[i]);
        for (int32_t u = 0; u < USERS; u += 13) {
            reel_recommend_query query;
            reel_recommendation items[MOVIES];
            reel_recommend_query_default(&query);
            query.user = u, query.n = 2 * MOVIES;
            int n = recommend(scorer, &query, items);
            CHECK_INT(n, MOVIES - n_seen(u));
            CHECK(in_order(items, n));
            for (int j = 0; j < n; j++) {
                float score;
                reel_error err;
                CHECK(!has_seen(u, items[j].movie));
                REQUIRE_OK(reel_scorer_predict(scorer, 1, &u, &items[j].movie, NULL, &score, NULL, &err), err);
                CHECK_NEAR((double)items[j].score, (double)score, 1e-5);
                CHECK(items[j].score >= 0.5f && items[j].score <= 5.0f);
                CHECK(isnan(items[j].sd));
            }
            query.include_seen = 1;
            CHECK_INT(recommend(scorer, &query, items), MOVIES);
        }
        reel_scorer_free(scorer);
    }
}

static void pages_make_one_long_list(void) {
    reel_scorer *scorer = bind_svd();
    reel_recommend_query query;
    reel_recommendation whole[MOVIES], page[7];
    reel_recommend_query_default(&query);
    query.user = 3, query.n = MOVIES;
    int n = recommend(scorer, &query, whole), got = 0;
    query.n = 7;
    for (query.offset = 0; query.offset < n + 20; query.offset += 7) {
        int in_page = recommend(scorer, &query, page);
        for (int i = 0; i < in_page; i++, got++) {
            CHECK_INT(page[i].movie, whole[got].movie);
            CHECK(page[i].raw_score == whole[got].raw_score);
        }
    }
    CHECK_INT(got, n);
    query.offset = INT32_MAX, query.n = INT32_MAX;
    CHECK_INT(recommend(scorer, &query, page), 0);
    reel_scorer_free(scorer);
}

static void filters(void) {
    reel_scorer *scorer = bind_svd();
    const int64_t *votes = bench.planted.dataset.ratings.movie_offsets;
    reel_recommendation all[MOVIES], items[MOVIES];
    uint8_t candidates[MOVIES];
    for (int m = 0; m < MOVIES; m++) candidates[m] = (uint8_t)(m % 3 != 0);
    reel_recommend_query plain;
    reel_recommend_query_default(&plain);
    plain.user = 11, plain.n = MOVIES;
    int n_all = recommend(scorer, &plain, all);
    for (int kind = 0; kind < 5; kind++) {
        reel_recommend_query query = plain;
        query.genre_any = kind == 0 || kind == 4 ? 5 : 0;
        query.year_from = kind == 1 || kind == 4 ? 1960 : 0;
        query.year_to = kind == 1 || kind == 4 ? 1999 : 0;
        query.min_ratings = kind == 2 || kind == 4 ? 30 : 0;
        query.candidates = kind == 3 || kind == 4 ? candidates : NULL;
        int n = recommend(scorer, &query, items), at = 0;
        for (int i = 0; i < n_all; i++) {
            int32_t m = all[i].movie;
            int year = bench.years[m], passes = 1;
            if (query.genre_any) passes &= (bench.genres[m] & 5) != 0;
            if (query.year_from) passes &= year >= 1960 && year <= 1999;
            if (query.min_ratings) passes &= votes[m + 1] - votes[m] >= 30;
            if (query.candidates) passes &= m % 3 != 0;
            if (!passes) continue;
            CHECK(at < n && items[at].movie == m);
            at++;
        }
        CHECK_INT(n, at);
        CHECK(n < n_all && n > 0);
    }
    plain.year_to = 1955; /* an unknown year is not known to be early */
    int n = recommend(scorer, &plain, items);
    for (int i = 0; i < n; i++) CHECK(bench.years[items[i].movie] >= 1950);
    reel_scorer_free(scorer);
}

static void many_equals_single(void) {
    const reel_model *models[] = {bench.svd, bench.bias, bench.mean, bench.unbiased};
    static const int threads[] = {1, 2, 5}, counts[] = {1, 10, MOVIES + 4};
    int32_t users[USERS * 2];
    for (int i = 0; i < USERS * 2; i++) users[i] = i * 7 % USERS;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        for (size_t t = 0; t < 3; t++)
            for (size_t c = 0; c < 3; c++) {
                int n = counts[c];
                reel_context *ctx = context_of(threads[t]);
                reel_scorer *scorer = bind(ctx, &bench.planted.dataset, models[i]);
                int32_t *movies = calloc((size_t)USERS * 2 * (size_t)n, sizeof *movies);
                float *scores = calloc((size_t)USERS * 2 * (size_t)n, sizeof *scores);
                reel_error err;
                REQUIRE_OK(reel_scorer_recommend_many(scorer, USERS * 2, users, n, NULL, movies, scores, &err), err);
                for (int u = 0; u < USERS * 2; u++) {
                    reel_recommendation items[MOVIES];
                    reel_recommend_query query;
                    reel_recommend_query_default(&query);
                    query.user = users[u], query.n = n;
                    int got = recommend(scorer, &query, items);
                    for (int j = 0; j < n; j++) {
                        CHECK_INT(movies[u * n + j], j < got ? items[j].movie : -1);
                        CHECK(j < got ? scores[u * n + j] == items[j].score : isnan(scores[u * n + j]));
                    }
                }
                free(movies), free(scores);
                reel_scorer_free(scorer);
                reel_context_free(ctx);
            }
}

static void many_obeys_filters(void) {
    const reel_model *models[] = {bench.svd, bench.bias};
    uint8_t candidates[MOVIES];
    for (int m = 0; m < MOVIES; m++) candidates[m] = (uint8_t)(m % 3 != 0);
    for (int kind = 0; kind < 4; kind++) {
        reel_scorer *scorer = bind(bench.ctx, &bench.planted.dataset, models[kind % 2]);
        reel_recommend_query query;
        reel_recommend_query_default(&query);
        query.n = 12, query.genre_any = 7, query.candidates = candidates, query.include_seen = kind / 2;
        query.min_ratings = 20, query.year_from = 1955;
        int32_t users[] = {5, 9, 100}, movies[3 * 12];
        float scores[3 * 12];
        reel_error err;
        REQUIRE_OK(reel_scorer_recommend_many(scorer, 3, users, 12, &query, movies, scores, &err), err);
        for (int u = 0; u < 3; u++) {
            reel_recommendation items[12];
            query.user = users[u];
            int n = recommend(scorer, &query, items);
            CHECK(n > 0);
            for (int i = 0; i < 12; i++) CHECK_INT(movies[u * 12 + i], i < n ? items[i].movie : -1);
        }
        reel_scorer_free(scorer);
    }
}

static void predict_many_equals_predict(void) {
    reel_scorer *scorer = bind_svd();
    enum { N = 200000 };
    int32_t *users = malloc(N * sizeof *users), *movies = malloc(N * sizeof *movies);
    float *a = malloc(N * sizeof *a), *b = malloc(N * sizeof *b), *sds = malloc(N * sizeof *sds);
    for (int i = 0; i < N; i++) users[i] = i * 31 % (USERS + 1) - 1, movies[i] = i * 17 % (MOVIES + 1) - 1;
    reel_error err;
    REQUIRE_OK(reel_scorer_predict(scorer, N, users, movies, NULL, a, sds, &err), err);
    REQUIRE_OK(reel_scorer_predict_many(scorer, N, users, movies, NULL, b, NULL, &err), err);
    CHECK(memcmp(a, b, N * sizeof *a) == 0);
    for (int i = 0; i < N; i++) CHECK(isfinite(a[i]) && isnan(sds[i]));
    users[150000] = USERS;
    CHECK_INT(reel_scorer_predict_many(scorer, N, users, movies, NULL, b, NULL, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(reel_scorer_predict(scorer, -1, users, movies, NULL, b, NULL, &err), REEL_INVALID_ARGUMENT);
    REQUIRE_OK(reel_scorer_predict(scorer, 0, NULL, NULL, NULL, NULL, NULL, &err), err);
    free(users), free(movies), free(a), free(b), free(sds);
    reel_scorer_free(scorer);
}

/* The scorer's work in bulk goes to a backend beside its own: the CPU once more, or what REEL_TEST_DEVICE names. */
static struct backend *move_to_device(reel_scorer *scorer) {
    const char *name = getenv("REEL_TEST_DEVICE");
    struct backend *device;
    reel_error err;
    REQUIRE_OK(registry_open(name ? name : "cpu", bench.ctx->pool, &device, NULL, &err), err);
    scorer->device = device;
    return device;
}

static void same_in_bulk(const struct reel_dataset *dataset, const reel_model *model) {
    enum { N = 70001, WANTED = 13 };
    int32_t *users = malloc(N * sizeof *users), *movies = malloc(N * sizeof *movies);
    uint32_t *times = malloc(N * sizeof *times);
    float *scores[2], *sds[2], top_scores[2][USERS * WANTED];
    int32_t everybody[USERS], top_movies[2][USERS * WANTED];
    reel_error err;
    for (int i = 0; i < N; i++) {
        users[i] = i * 31 % (USERS + 1) - 1, movies[i] = i * 17 % (MOVIES + 1) - 1;
        times[i] = (uint32_t)i * 3607;
    }
    users[N - 1] = 0;
    for (int u = 0; u < USERS; u++) everybody[u] = u;
    for (int side = 0; side < 2; side++) {
        reel_scorer *scorer = bind(bench.ctx, dataset, model);
        struct backend *device = side ? move_to_device(scorer) : NULL;
        scores[side] = malloc(N * sizeof(float)), sds[side] = malloc(N * sizeof(float));
        REQUIRE_OK(reel_scorer_predict_many(scorer, N, users, movies, times, scores[side], sds[side], &err), err);
        REQUIRE_OK(reel_scorer_predict_many(scorer, N, users, movies, times, scores[side], NULL, &err), err);
        REQUIRE_OK(reel_scorer_recommend_many(scorer, USERS, everybody, WANTED, NULL, top_movies[side],
                                              top_scores[side], &err),
                   err);
        users[N - 1] = USERS;
        CHECK_INT(reel_scorer_predict_many(scorer, N, users, movies, times, scores[side], NULL, &err),
                  REEL_INVALID_ARGUMENT);
        users[N - 1] = 0;
        REQUIRE_OK(reel_scorer_predict_many(scorer, N, users, movies, times, scores[side], NULL, &err), err);
        reel_scorer_free(scorer);
        registry_close(device);
    }
    CHECK(memcmp(scores[0], scores[1], N * sizeof(float)) == 0);
    CHECK(memcmp(sds[0], sds[1], N * sizeof(float)) == 0);
    CHECK(memcmp(top_movies[0], top_movies[1], sizeof top_movies[0]) == 0);
    CHECK(memcmp(top_scores[0], top_scores[1], sizeof top_scores[0]) == 0);
    for (int side = 0; side < 2; side++) free(scores[side]), free(sds[side]);
    free(users), free(movies), free(times);
}

static void bulk_on_a_device(void) {
    static const reel_param trees[] = {{"n_estimators", "12"}}, samples[] = {{"factors", "5"}, {"samples", "4"}};
    reel_model *gbdt = fit("gbdt", trees, 1), *bmf = fit("bmf", samples, 2);
    const reel_model *models[] = {bench.svd, bench.unbiased, bench.bias, gbdt, bmf};
    int32_t user_ids[USERS], movie_ids[MOVIES];
    struct reel_dataset other = bench.planted.dataset;
    for (int i = 0; i < USERS; i++) user_ids[i] = 3 * i + 1 + i % 2;
    for (int i = 0; i < MOVIES; i++) movie_ids[i] = 3 * i + 1 + i % 2;
    other.user_ids = user_ids, other.movie_ids = movie_ids;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        same_in_bulk(&bench.planted.dataset, models[i]);
        same_in_bulk(&other, models[i]);
    }
    reel_model_free(gbdt), reel_model_free(bmf);
}

static float predict_one(const reel_scorer *scorer, int32_t user, int32_t movie) {
    float score;
    reel_error err;
    REQUIRE_OK(reel_scorer_predict(scorer, 1, &user, &movie, NULL, &score, NULL, &err), err);
    return score;
}

/* Every second user and movie of another dataset has an id that the model does not know. */
static void binds_by_ids(void) {
    int32_t user_ids[USERS], movie_ids[MOVIES];
    for (int i = 0; i < USERS; i++) user_ids[i] = 3 * i + 1 + i % 2;
    for (int i = 0; i < MOVIES; i++) movie_ids[i] = 3 * i + 1 + i % 2;
    struct reel_dataset other = bench.planted.dataset;
    other.user_ids = user_ids, other.movie_ids = movie_ids;
    const reel_model *models[] = {bench.svd, bench.bias, bench.unbiased};
    for (size_t i = 0; i < 3; i++) {
        reel_scorer *same = bind(bench.ctx, &bench.planted.dataset, models[i]);
        reel_scorer *scorer = bind(bench.ctx, &other, models[i]);
        for (int32_t u = 0; u < 8; u++) {
            for (int32_t m = 0; m < 8; m++)
                CHECK(predict_one(scorer, u, m) == predict_one(same, u % 2 ? -1 : u, m % 2 ? -1 : m));
            reel_recommend_query query;
            reel_recommend_query_default(&query);
            query.user = u, query.n = MOVIES, query.include_seen = 1;
            reel_recommendation items[MOVIES];
            CHECK_INT(recommend(scorer, &query, items), MOVIES);
            CHECK(in_order(items, MOVIES));
            for (int j = 0; j < MOVIES; j++)
                CHECK_NEAR((double)items[j].score, (double)predict_one(scorer, u, items[j].movie), 1e-5);
        }
        int32_t users[] = {0, 1, 2, 3}, movies[4 * 9];
        float scores[4 * 9];
        reel_error err;
        REQUIRE_OK(reel_scorer_recommend_many(scorer, 4, users, 9, NULL, movies, scores, &err), err);
        for (int u = 0; u < 4; u++) {
            reel_recommend_query query;
            reel_recommendation items[9];
            reel_recommend_query_default(&query);
            query.user = u, query.n = 9;
            CHECK_INT(recommend(scorer, &query, items), 9);
            for (int j = 0; j < 9; j++) CHECK_INT(movies[u * 9 + j], items[j].movie);
        }
        reel_scorer_free(scorer), reel_scorer_free(same);
    }
    for (int i = 0; i < MOVIES; i++) movie_ids[i] = 3 * i + 2;
    reel_scorer *scorer;
    reel_error err;
    CHECK_INT(reel_scorer_new(bench.ctx, &other, bench.svd, &scorer, &err), REEL_MISMATCH);
    CHECK(scorer == NULL);
}

static void someone_who_saw_everything(void) {
    struct reel_dataset full = bench.planted.dataset;
    static int64_t offsets[USERS + 1];
    static int32_t movies[MOVIES];
    for (int i = 0; i < MOVIES; i++) movies[i] = i;
    for (int u = 1; u <= USERS; u++) offsets[u] = MOVIES;
    full.ratings.user_offsets = offsets, full.ratings.user_movies = movies;
    reel_scorer *scorer = bind(bench.ctx, &full, bench.svd);
    reel_recommend_query query;
    reel_recommendation items[10];
    reel_recommend_query_default(&query);
    query.user = 0;
    CHECK_INT(recommend(scorer, &query, items), 0);
    int32_t user = 0, out[3];
    float scores[3];
    reel_error err;
    REQUIRE_OK(reel_scorer_recommend_many(scorer, 1, &user, 3, NULL, out, scores, &err), err);
    CHECK(out[0] == -1 && out[2] == -1 && isnan(scores[0]));
    reel_scorer_free(scorer);
}

static double correlation(const double *a, const double *b, int n) {
    double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < n; i++) mean_a += a[i] / n, mean_b += b[i] / n;
    for (int i = 0; i < n; i++) {
        ab += (a[i] - mean_a) * (b[i] - mean_b);
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
    }
    return ab / sqrt(aa * bb);
}

static void visitor_with_a_users_ratings_gets_that_users_scores(void) {
    reel_scorer *scorer = bind_svd();
    const struct ratings *train = &bench.planted.train;
    for (int32_t u = 1; u < 6; u++) {
        int32_t movies[MOVIES];
        float stars[MOVIES];
        reel_recommend_query query;
        reel_recommendation items[MOVIES];
        reel_recommend_query_default(&query);
        query.rated_movies = movies, query.rated_stars = stars;
        for (int64_t i = train->user_offsets[u]; i < train->user_offsets[u + 1]; i++) {
            movies[query.n_rated] = train->user_movies[i];
            stars[query.n_rated++] = 0.5f * (float)train->user_ratings[i];
        }
        query.n = MOVIES, query.include_seen = 1;
        double visitor[MOVIES], user[MOVIES];
        CHECK_INT(recommend(scorer, &query, items), MOVIES);
        for (int i = 0; i < MOVIES; i++) visitor[items[i].movie] = (double)items[i].raw_score;
        query.user = u;
        CHECK_INT(recommend(scorer, &query, items), MOVIES);
        for (int i = 0; i < MOVIES; i++) user[items[i].movie] = (double)items[i].raw_score;
        CHECK(correlation(visitor, user, MOVIES) > 0.9);
    }
    reel_scorer_free(scorer);
}

static void visitor_without_ratings_gets_an_unknown_users_scores(void) {
    const reel_model *models[] = {bench.svd, bench.bias, bench.mean, bench.unbiased};
    for (size_t i = 0; i < 4; i++) {
        reel_scorer *scorer = bind(bench.ctx, &bench.planted.dataset, models[i]);
        reel_recommend_query query;
        reel_recommendation items[MOVIES];
        reel_recommend_query_default(&query);
        query.n = MOVIES;
        CHECK_INT(recommend(scorer, &query, items), MOVIES);
        for (int j = 0; j < MOVIES; j++)
            CHECK_NEAR((double)items[j].score, (double)predict_one(scorer, -1, items[j].movie), 1e-6);
        reel_scorer_free(scorer);
    }
}

static void shares_sum_to_the_score(void) {
    reel_scorer *scorer = bind_svd();
    int32_t movies[] = {4, 30, 31, 99, 120};
    float stars[] = {5, 0.5f, 3, 4.5f, 2};
    reel_recommend_query query;
    reel_recommendation items[20];
    reel_recommend_query_default(&query);
    query.n_rated = 5, query.rated_movies = movies, query.rated_stars = stars, query.n = 20, query.explain = 5;
    int n = recommend(scorer, &query, items);
    CHECK_INT(n, 20);
    for (int i = 0; i < n; i++) {
        const reel_recommendation *item = &items[i];
        double sum = (double)predict_one(scorer, -1, item->movie);
        CHECK_INT(item->n_explain, 5);
        for (int j = 0; j < item->n_explain; j++) sum += (double)item->explain_share[j];
        CHECK_NEAR((double)item->raw_score, sum, 1e-4);
        for (int j = 1; j < item->n_explain; j++)
            CHECK(fabsf(item->explain_share[j - 1]) >= fabsf(item->explain_share[j]));
        for (int j = 0; j < item->n_explain; j++) CHECK(item->movie != item->explain_movie[j]);
    }
    query.user = 5, query.explain = 2; /* a known user's own ratings explain */
    n = recommend(scorer, &query, items);
    for (int i = 0; i < n; i++) {
        CHECK_INT(items[i].n_explain, 2);
        CHECK(has_seen(5, items[i].explain_movie[0]) && has_seen(5, items[i].explain_movie[1]));
    }
    reel_scorer_free(scorer);
}

static void refuses(const reel_scorer *scorer, const reel_recommend_query *query, reel_status expected) {
    reel_recommendation items[10];
    reel_error err;
    int n = 1;
    CHECK_INT(reel_scorer_recommend(scorer, query, items, &n, &err), expected);
    CHECK_INT(n, 0);
}

static void refuses_bad_queries(void) {
    reel_scorer *scorer = bind_svd();
    int32_t movies[] = {4, 30, 4};
    float stars[] = {5, 0.5f, 3};
    reel_recommend_query good, query;
    reel_recommend_query_default(&good);
    good.n_rated = 2, good.rated_movies = movies, good.rated_stars = stars;
    query = good, query.n = 0, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    query = good, query.n = -5, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    query = good, query.offset = -1, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    query = good, query.explain = 6, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    query = good, query.user = USERS, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    query = good, query.user = -2, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    query = good, query.n_rated = 3, refuses(scorer, &query, REEL_INVALID_ARGUMENT); /* twice */
    query = good, movies[1] = MOVIES, refuses(scorer, &query, REEL_INVALID_ARGUMENT);
    movies[1] = 30;
    static const float off_scale[] = {0, 0.25f, 5.5f, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof off_scale / sizeof off_scale[0]; i++) {
        stars[1] = off_scale[i];
        refuses(scorer, &good, REEL_INVALID_ARGUMENT);
    }
    int32_t user = USERS, out[2];
    float scores[2];
    reel_error err;
    CHECK_INT(reel_scorer_recommend_many(scorer, 1, &user, 1, NULL, out, scores, &err), REEL_INVALID_ARGUMENT);
    user = 0;
    CHECK_INT(reel_scorer_recommend_many(scorer, 1, &user, 0, NULL, out, scores, &err), REEL_INVALID_ARGUMENT);
    REQUIRE_OK(reel_scorer_recommend_many(scorer, 0, NULL, 1, NULL, NULL, NULL, &err), err);
    reel_context_cancel(bench.ctx);
    CHECK_INT(reel_scorer_recommend_many(scorer, 1, &user, 1, NULL, out, scores, &err), REEL_CANCELLED);
    reel_context_resume(bench.ctx);
    reel_scorer_free(scorer);
}

int main(void) {
    set_up();
    RUN(recommends_all_unseen_in_order);
    RUN(pages_make_one_long_list);
    RUN(filters);
    RUN(many_equals_single);
    RUN(many_obeys_filters);
    RUN(predict_many_equals_predict);
    RUN(bulk_on_a_device);
    RUN(binds_by_ids);
    RUN(someone_who_saw_everything);
    RUN(visitor_with_a_users_ratings_gets_that_users_scores);
    RUN(visitor_without_ratings_gets_an_unknown_users_scores);
    RUN(shares_sum_to_the_score);
    RUN(refuses_bad_queries);
    tear_down();
    TEST_EXIT();
}
