/* Similar movies against plain dense recomputation of each formula. */
#include "test.h"

#include "core/error.h"
#include "data/random_ratings.h"
#include "model/model.h"

enum { USERS = 60, MOVIES = 83, GENRES = 5, TAGS = 37, K = 21 };

static reel_context *ctx;
static struct reel_dataset dataset;
static uint64_t genres[MOVIES];
static int32_t genome_movies[MOVIES];
static float relevance[MOVIES * TAGS];
static int32_t ids[MOVIES];

static float unit(uint64_t seed, uint64_t index) {
    return (float)((double)random_word(seed, index) / 4294967296.0);
}

static void set_up(void) {
    ctx = context_of(2);
    dataset = (struct reel_dataset){.n_users = USERS, .n_movies = MOVIES, .n_genres = GENRES};
    dataset.ratings = random_ratings(USERS, MOVIES, 20, 3);
    for (int m = 0; m < MOVIES; m++) {
        ids[m] = 2 * m + 5;
        genres[m] = random_word(9, (uint64_t)m) % (1 << GENRES) & random_word(10, (uint64_t)m);
        if (m % 10 == 0) genres[m] = 0;
        if (m % 4 == 3) continue; /* no genome */
        genome_movies[dataset.n_genome_movies] = m;
        for (int t = 0; t < TAGS; t++)
            relevance[dataset.n_genome_movies * TAGS + t] = unit(11, (uint64_t)m * TAGS + (uint64_t)t);
        dataset.n_genome_movies++;
    }
    dataset.movie_ids = ids;
    dataset.movie_genres = genres;
    dataset.n_genome_tags = TAGS;
    dataset.genome_movies = genome_movies;
    dataset.genome_relevance = relevance;
}

static int64_t votes(int32_t m) {
    return dataset.ratings.movie_offsets[m + 1] - dataset.ratings.movie_offsets[m];
}

/* Checks a full answer against expected similarities (NaN = not comparable). */
static void check_answer(const reel_model *model, reel_similarity by, int32_t movie, const double *expected,
                         double tolerance) {
    reel_similar_movie items[MOVIES];
    reel_error err;
    int n, comparable = 0, seen[MOVIES] = {0};
    REQUIRE_OK(reel_similar(ctx, &dataset, model, movie, by, 10000, items, &n, &err), err);
    for (int m = 0; m < MOVIES; m++) comparable += m != movie && !isnan(expected[m]);
    CHECK_INT(n, comparable);
    for (int i = 0; i < n; i++) {
        int32_t m = items[i].movie;
        CHECK(m != movie && !seen[m]++);
        CHECK_NEAR((double)items[i].similarity, expected[m], tolerance);
        if (i == 0) continue;
        int32_t before = items[i - 1].movie;
        CHECK(items[i - 1].similarity >= items[i].similarity);
        if (items[i - 1].similarity == items[i].similarity)
            CHECK(votes(before) > votes(m) || (votes(before) == votes(m) && before < m));
    }
    reel_similar_movie few[7];
    int n_few;
    REQUIRE_OK(reel_similar(ctx, &dataset, model, movie, by, 7, few, &n_few, &err), err);
    CHECK_INT(n_few, n < 7 ? n : 7);
    for (int i = 0; i < n_few; i++) CHECK_INT(few[i].movie, items[i].movie);
}

/* The vectors that TfidfVectorizer makes, one column a token, the last one "(no genres listed)". */
static void by_genre(void) {
    static double vectors[MOVIES][GENRES + 1];
    double with[GENRES + 1] = {0};
    for (int m = 0; m < MOVIES; m++)
        for (int t = 0; t <= GENRES; t++) {
            vectors[m][t] = t == GENRES ? genres[m] == 0 : (double)(genres[m] >> t & 1);
            with[t] += vectors[m][t];
        }
    for (int m = 0; m < MOVIES; m++) {
        double norm = 0;
        for (int t = 0; t <= GENRES; t++) {
            vectors[m][t] *= log((1.0 + MOVIES) / (1 + with[t])) + 1;
            norm += vectors[m][t] * vectors[m][t];
        }
        for (int t = 0; t <= GENRES; t++) vectors[m][t] /= sqrt(norm);
    }
    for (int32_t movie = 0; movie < MOVIES; movie += 5) {
        double expected[MOVIES];
        for (int m = 0; m < MOVIES; m++) {
            expected[m] = 0;
            for (int t = 0; t <= GENRES; t++) expected[m] += vectors[movie][t] * vectors[m][t];
        }
        check_answer(NULL, REEL_SIMILAR_GENRE, movie, expected, 1e-6);
    }
}

static void cosines(const float *rows, int k, const int32_t *row_of, int32_t movie, double *expected) {
    for (int m = 0; m < MOVIES; m++) {
        expected[m] = NAN;
        if (row_of[m] < 0 || row_of[movie] < 0) continue;
        double ab = 0, aa = 0, bb = 0;
        for (int f = 0; f < k; f++) {
            double a = (double)rows[row_of[movie] * k + f], b = (double)rows[row_of[m] * k + f];
            ab += a * b, aa += a * a, bb += b * b;
        }
        expected[m] = aa * bb > 0 ? ab / sqrt(aa * bb) : 0;
    }
}

static void by_genome(void) {
    int32_t row_of[MOVIES];
    double expected[MOVIES];
    for (int m = 0; m < MOVIES; m++) row_of[m] = -1;
    for (int i = 0; i < dataset.n_genome_movies; i++) row_of[genome_movies[i]] = i;
    for (int32_t movie = 0; movie < MOVIES; movie += 5) {
        cosines(relevance, TAGS, row_of, movie, expected);
        check_answer(NULL, REEL_SIMILAR_GENOME, movie, expected, 1e-5);
    }
    struct reel_dataset without = dataset;
    without.n_genome_movies = 0;
    reel_similar_movie item;
    reel_error err;
    int n;
    CHECK_INT(reel_similar(ctx, &without, NULL, 0, REEL_SIMILAR_GENOME, 1, &item, &n, &err), REEL_UNSUPPORTED);
}

/* A model in memory that knows two of three movies; one of its rows is zero. */
static reel_model *made_model(float **factors, int32_t *row_of) {
    struct tensor_set *set;
    reel_model *model;
    reel_error err;
    int32_t *user_ids, *movie_ids, n = 0;
    float *mean, *bias, *user_factors;
    for (int m = 0; m < MOVIES; m++) row_of[m] = m % 3 == 2 ? -1 : n++;
    int64_t user_shape[] = {1, K}, movie_shape[] = {n, K};
    REQUIRE_OK(tensor_set_new(&set, &err), err);
    REQUIRE_OK(tensor_set_add1(set, "user_ids", DTYPE_I32, 1, (void **)&user_ids, &err), err);
    REQUIRE_OK(tensor_set_add1(set, "movie_ids", DTYPE_I32, n, (void **)&movie_ids, &err), err);
    REQUIRE_OK(tensor_set_add1(set, "mean", DTYPE_F32, 1, (void **)&mean, &err), err);
    REQUIRE_OK(tensor_set_add1(set, "user_bias", DTYPE_F32, 1, (void **)&bias, &err), err);
    REQUIRE_OK(tensor_set_add1(set, "movie_bias", DTYPE_F32, n, (void **)&bias, &err), err);
    REQUIRE_OK(tensor_set_add(set, "user_factors", DTYPE_F32, 2, user_shape, (void **)&user_factors, &err), err);
    REQUIRE_OK(tensor_set_add(set, "movie_factors", DTYPE_F32, 2, movie_shape, (void **)factors, &err), err);
    int64_t prior_shape[] = {K + 1, K + 1};
    float *precision; /* only folding in looks at it */
    REQUIRE_OK(tensor_set_add(set, "fold_in_precision", DTYPE_F32, 2, prior_shape, (void **)&precision, &err), err);
    for (int m = 0; m < MOVIES; m++) {
        if (row_of[m] < 0) continue;
        movie_ids[row_of[m]] = ids[m];
        for (int f = 0; f < K; f++)
            (*factors)[row_of[m] * K + f] = m == 4 ? 0 : unit(12, (uint64_t)m * K + (uint64_t)f) - 0.5f;
    }
    static const char *const metadata[][2] = {{"format", "reel-model"}, {"version", "1"},   {"algorithm", "svd"},
                                              {"params.factors", "21"}, {"scale.min", "1"}, {"scale.max", "10"}};
    for (size_t i = 0; i < sizeof metadata / sizeof metadata[0]; i++)
        REQUIRE_OK(tensor_set_put(set, metadata[i][0], metadata[i][1], &err), err);
    REQUIRE_OK(model_from_set(set, &model, &err), err);
    return model;
}

static void by_factors(void) {
    int32_t row_of[MOVIES];
    float *factors;
    double expected[MOVIES];
    reel_model *model = made_model(&factors, row_of);
    for (int32_t movie = 0; movie < MOVIES; movie += 4) { /* known, unknown and zero ones */
        cosines(factors, K, row_of, movie, expected);
        check_answer(model, REEL_SIMILAR_FACTORS, movie, expected, 1e-5);
    }
    reel_similar_movie item;
    reel_error err;
    int n;
    CHECK_INT(reel_similar(ctx, &dataset, NULL, 0, REEL_SIMILAR_FACTORS, 1, &item, &n, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(reel_similar(ctx, &dataset, model, 0, REEL_SIMILAR_FACTORS, 0, &item, &n, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(reel_similar(ctx, &dataset, model, -1, REEL_SIMILAR_FACTORS, 1, &item, &n, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(reel_similar(ctx, &dataset, model, MOVIES, REEL_SIMILAR_GENRE, 1, &item, &n, &err),
              REEL_INVALID_ARGUMENT);
    CHECK_INT(reel_similar(ctx, &dataset, model, 0, (reel_similarity)9, 1, &item, &n, &err), REEL_INVALID_ARGUMENT);
    reel_model_free(model);
}

static void by_ratings(void) {
    static double centred[USERS][MOVIES]; /* NaN = not rated */
    const struct ratings *all = &dataset.ratings;
    for (int u = 0; u < USERS; u++) {
        double sum = 0;
        int64_t first = all->user_offsets[u], n = all->user_offsets[u + 1] - first;
        for (int m = 0; m < MOVIES; m++) centred[u][m] = NAN;
        for (int64_t i = 0; i < n; i++) sum += 0.5 * all->user_ratings[first + i];
        for (int64_t i = 0; i < n; i++)
            centred[u][all->user_movies[first + i]] = 0.5 * all->user_ratings[first + i] - sum / (double)n;
    }
    for (int32_t movie = 0; movie < MOVIES; movie += 6) {
        double expected[MOVIES];
        for (int m = 0; m < MOVIES; m++) {
            double ab = 0, aa = 0, bb = 0, n = 0;
            for (int u = 0; u < USERS; u++) {
                double a = centred[u][movie], b = centred[u][m];
                if (isnan(a) || isnan(b)) continue;
                ab += a * b, aa += a * a, bb += b * b, n++;
            }
            expected[m] = n == 0 ? NAN : ab / sqrt(aa * bb) * n / (n + 100);
        }
        check_answer(NULL, REEL_SIMILAR_RATINGS, movie, expected, 1e-5);
    }
}

/* On the CPU, or on what REEL_TEST_DEVICE names. */
static reel_context *bulk_context(int threads) {
    const char *name = getenv("REEL_TEST_DEVICE");
    reel_context_options options;
    reel_context *out;
    reel_error err;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = name ? name : "cpu";
    REQUIRE_OK(reel_context_new(&options, &out, &err), err);
    return out;
}

/* Every movie, the last ones first, some twice: what single queries answer, bit for bit. */
static void check_many(const reel_model *model, reel_similarity by, int n, int threads) {
    enum { ASKED = MOVIES + 9 };
    reel_context *bulk = bulk_context(threads);
    reel_similar_index *index, *single;
    int32_t movies[ASKED], *similar = calloc((size_t)ASKED * (size_t)n, sizeof *similar);
    float *similarities = calloc((size_t)ASKED * (size_t)n, sizeof *similarities);
    reel_error err;
    for (int i = 0; i < ASKED; i++) movies[i] = (MOVIES + 8 - i) % MOVIES;
    REQUIRE_OK(reel_similar_index_new(bulk, &dataset, model, by, &index, &err), err);
    REQUIRE_OK(reel_similar_index_new(ctx, &dataset, model, by, &single, &err), err);
    for (int repeat = 0; repeat < 2; repeat++) { /* what the first call made serves the second */
        REQUIRE_OK(reel_similar_index_query_many(index, ASKED, movies, n, similar, similarities, &err), err);
        for (int i = 0; i < ASKED; i++) {
            reel_similar_movie items[MOVIES];
            int n_items;
            REQUIRE_OK(reel_similar_index_query(single, movies[i], n, items, &n_items, &err), err);
            for (int at = 0; at < n; at++) {
                CHECK_INT(similar[i * n + at], at < n_items ? items[at].movie : -1);
                CHECK(at < n_items ? similarities[i * n + at] == items[at].similarity
                                   : isnan(similarities[i * n + at]));
            }
        }
    }
    REQUIRE_OK(reel_similar_index_query_many(index, 0, NULL, n, NULL, NULL, &err), err);
    movies[3] = MOVIES;
    CHECK_INT(reel_similar_index_query_many(index, ASKED, movies, n, similar, similarities, &err),
              REEL_INVALID_ARGUMENT);
    CHECK_INT(reel_similar_index_query_many(index, 1, movies, 0, similar, similarities, &err), REEL_INVALID_ARGUMENT);
    reel_similar_index_free(index), reel_similar_index_free(single);
    free(similar), free(similarities);
    reel_context_free(bulk);
}

static void many_equal_single(void) {
    static const reel_similarity kinds[] = {REEL_SIMILAR_GENRE, REEL_SIMILAR_FACTORS, REEL_SIMILAR_GENOME,
                                            REEL_SIMILAR_RATINGS};
    int32_t row_of[MOVIES];
    float *factors;
    reel_model *model = made_model(&factors, row_of);
    for (int f = 0; f < K; f++) { /* equal rows tie, and have similarity 1 */
        factors[row_of[10] * K + f] = factors[row_of[1] * K + f];
        factors[row_of[22] * K + f] = 2 * factors[row_of[1] * K + f];
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        for (int threads = 1; threads < 4; threads += 2) {
            check_many(model, kinds[i], 1, threads);
            check_many(model, kinds[i], 10, threads);
            check_many(model, kinds[i], MOVIES + 3, threads);
        }
    reel_model_free(model);
}

int main(void) {
    set_up();
    RUN(by_genre);
    RUN(by_genome);
    RUN(by_factors);
    RUN(by_ratings);
    RUN(many_equal_single);
    ratings_free(&dataset.ratings);
    reel_context_free(ctx);
    TEST_EXIT();
}
