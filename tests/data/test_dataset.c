/* Opening datasets: a good one reads back, every kind of damage is refused with the file and the tensor named. */
#include "test.h"
#include "data/small_dataset.h"

static reel_error err;
static reel_context *ctx;
static struct ratings base;
static const struct small_dataset_fault no_fault;

static void good_dataset_reads_back(void) {
    reel_dataset *ds;
    REQUIRE_OK(open_set(ctx, small_dataset_set(&base, &no_fault), &ds, &err), err);
    reel_dataset_info info;
    reel_dataset_get_info(ds, &info);
    CHECK_INT(info.n_users, base.n_users);
    CHECK_INT(info.n_movies, base.n_movies);
    CHECK_INT(info.n_ratings, base.n_ratings);
    CHECK_INT(info.n_genres, 3);
    CHECK_INT(info.n_tags, 2);
    CHECK_INT(info.n_genome_tags, 3);
    CHECK_STR(info.fingerprint, "0123456789abcdef0123456789abcdef");
    double sum = 0;
    uint32_t newest = 0;
    for (int64_t i = 0; i < base.n_ratings; i++) {
        sum += base.user_ratings[i];
        newest = base.user_times[i] > newest ? base.user_times[i] : newest;
    }
    CHECK_NEAR(info.mean_rating, sum / 2 / (double)base.n_ratings, 1e-12);
    CHECK_INT(ds->newest_time, newest);
    reel_dataset_free(ds);
}

static void accessors_answer(void) {
    reel_dataset *ds;
    REQUIRE_OK(open_set(ctx, small_dataset_set(&base, &no_fault), &ds, &err), err);
    for (int32_t u = 0; u < base.n_users; u++) {
        CHECK_INT(reel_dataset_user_index(ds, 10 * (u + 1)), u);
        CHECK_INT(reel_dataset_user_id(ds, u), 10 * (u + 1));
    }
    static const int64_t strangers[] = {-1, 0, 1, 11, 1000000, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        CHECK_INT(reel_dataset_user_index(ds, strangers[i]), -1);
        CHECK_INT(reel_dataset_movie_index(ds, strangers[i]), -1);
    }
    CHECK_INT(reel_dataset_movie_index(ds, 10), 1);
    reel_movie movie;
    reel_dataset_get_movie(ds, 1, &movie);
    CHECK_INT(movie.id, 10);
    CHECK_INT(movie.year, 1999);
    CHECK_STR(movie.title, "Odd (1999)");
    CHECK_INT(movie.genre_bits, 1);
    CHECK_INT(movie.n_ratings, base.movie_offsets[2] - base.movie_offsets[1]);
    CHECK_INT(movie.imdb_id, 10);
    CHECK_STR(reel_dataset_genre(ds, 2), "Drama");
    const int32_t *movies;
    const uint8_t *ratings;
    const uint32_t *times;
    int64_t n = reel_dataset_user_ratings(ds, 2, &movies, &ratings, &times), at = base.user_offsets[2];
    CHECK_INT(n, base.user_offsets[3] - at);
    CHECK(memcmp(movies, base.user_movies + at, (size_t)n * sizeof *movies) == 0);
    CHECK(memcmp(ratings, base.user_ratings + at, (size_t)n) == 0);
    CHECK(memcmp(times, base.user_times + at, (size_t)n * sizeof *times) == 0);
    CHECK_INT(reel_dataset_user_ratings(ds, 6, NULL, NULL, NULL), 0); /* the 7th user has none */
    reel_dataset_free(ds);
    reel_dataset_free(NULL);
}

static void refused(struct tensor_set *set, const char *what) {
    reel_dataset *ds = NULL;
    reel_status status = open_set(ctx, set, &ds, &err);
    if (status != REEL_CORRUPT || !strstr(err.message, "dataset.reel") || ds) {
        fprintf(stderr, "%s: status %s, message \"%s\"\n", what, reel_status_name(status),
                status == REEL_OK ? "" : err.message);
        test_failures++;
        reel_dataset_free(ds);
    }
}

static void wrong_shapes_are_refused(void) {
    static const char *const names[] = {
        "user_ids",     "movie_ids",          "user_offsets",       "user_movies",    "user_ratings",
        "user_times",   "movie_offsets",      "movie_users",        "movie_ratings",  "movie_title_offsets",
        "movie_titles", "movie_years",        "movie_genres",       "movie_imdb_ids", "movie_tmdb_ids",
        "genre_names",  "genre_name_offsets", "tag_users",          "tag_movies",     "tag_times",
        "tag_texts",    "tag_text_offsets",   "genome_tag_offsets", "genome_tags",    "genome_relevance",
        "genome_movies"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int genome_movies = strcmp(names[i], "genome_movies") == 0;
        if (!genome_movies) /* a dataset without a genome is fine */
            refused(small_dataset_set(&base, &(struct small_dataset_fault){.missing = names[i]}), names[i]);
        if (strcmp(names[i], "genome_relevance") == 0) continue;
        refused(small_dataset_set(&base, &(struct small_dataset_fault){.shortened = names[i]}), names[i]);
        refused(small_dataset_set(&base, &(struct small_dataset_fault){.mistyped = names[i]}), names[i]);
    }
}

/* Overwrites one entry of a tensor. */
#define DAMAGE(name, type, index, value)                                        \
    do {                                                                        \
        struct tensor_set *set_ = small_dataset_set(&base, &no_fault);          \
        ((type *)tensor_set_find(set_, (name))->data)[(index)] = (type)(value); \
        refused(set_, #name "[" #index "] = " #value);                          \
    } while (0)

static void wrong_values_are_refused(void) {
    int64_t n = base.n_ratings, last_user = base.n_users, last_movie = base.n_movies;
    DAMAGE("user_ids", int32_t, 0, -1);
    DAMAGE("user_ids", int32_t, 3, 30);
    DAMAGE("movie_ids", int32_t, 1, 5);
    DAMAGE("user_offsets", int64_t, 0, 1);
    DAMAGE("user_offsets", int64_t, 0, -1);
    DAMAGE("user_offsets", int64_t, 2, n + 1);
    DAMAGE("user_offsets", int64_t, last_user, n - 1);
    DAMAGE("user_offsets", int64_t, last_user, INT64_MAX);
    DAMAGE("movie_offsets", int64_t, 1, INT64_MIN);
    DAMAGE("movie_offsets", int64_t, last_movie, n + 1);
    DAMAGE("user_movies", int32_t, 0, -1);
    DAMAGE("user_movies", int32_t, 1, ((int32_t *)tensor_set_find(set_, "user_movies")->data)[0]);
    DAMAGE("user_movies", int32_t, base.user_offsets[1] - 1, base.n_movies);
    DAMAGE("user_movies", int32_t, n - 1, INT32_MAX);
    DAMAGE("movie_users", int32_t, 0, INT32_MIN);
    DAMAGE("movie_users", int32_t, base.movie_offsets[1] - 1, base.n_users);
    DAMAGE("user_ratings", uint8_t, 5, 0);
    DAMAGE("user_ratings", uint8_t, n - 1, 11);
    DAMAGE("user_ratings", uint8_t, 0, 255);
    DAMAGE("movie_ratings", uint8_t, 0, 0);
    DAMAGE("movie_ratings", uint8_t, n / 2, 11);
    DAMAGE("movie_title_offsets", int64_t, 0, 1);
    DAMAGE("movie_title_offsets", int64_t, 1, 0);
    DAMAGE("movie_title_offsets", int64_t, 1, INT64_MAX);
    DAMAGE("movie_title_offsets", int64_t, last_movie, 5);
    DAMAGE("movie_titles", char, 16, 'x'); /* the first NUL */
    DAMAGE("movie_years", int16_t, 0, -1);
    DAMAGE("movie_genres", uint64_t, 2, 8);
    DAMAGE("movie_genres", uint64_t, 2, UINT64_MAX);
    DAMAGE("movie_imdb_ids", int32_t, 0, -2);
    DAMAGE("movie_tmdb_ids", int32_t, 0, -2);
    DAMAGE("genre_names", char, 0, 'Z');
    DAMAGE("genre_names", char, 6, 'x');
    DAMAGE("tag_users", int32_t, 0, -1);
    DAMAGE("tag_users", int32_t, 1, base.n_users);
    DAMAGE("tag_users", int32_t, 0, 5);
    DAMAGE("tag_movies", int32_t, 0, base.n_movies);
    DAMAGE("tag_movies", int32_t, 1, INT32_MIN);
    DAMAGE("tag_text_offsets", int64_t, 1, -5);
    DAMAGE("tag_texts", char, 4, 'x');
    DAMAGE("genome_movies", int32_t, 0, -1);
    DAMAGE("genome_movies", int32_t, 1, base.n_movies);
    DAMAGE("genome_movies", int32_t, 1, 1);
    DAMAGE("genome_relevance", float, 3, NAN);
    DAMAGE("genome_relevance", float, 5, 1.5f);
    DAMAGE("genome_relevance", float, 0, -0.5f);
    DAMAGE("genome_tag_offsets", int64_t, 3, 1);
}

/* The two orders name the same counts, so a swap of one rating between users or movies shows. */
static void orders_must_agree(void) {
    struct tensor_set *set = small_dataset_set(&base, &no_fault);
    int32_t *movies = tensor_set_find(set, "user_movies")->data;
    int64_t last = base.user_offsets[1] - 1; /* user 0's last movie goes to the next free one */
    CHECK(movies[last] + 1 < base.n_movies);
    movies[last]++;
    refused(set, "a movie's count differs");
    set = small_dataset_set(&base, &no_fault);
    uint8_t *ratings = tensor_set_find(set, "movie_ratings")->data;
    ratings[0] = ratings[0] == 10 ? 9 : (uint8_t)(ratings[0] + 1);
    refused(set, "sums differ");
}

static void metadata_is_checked(void) {
    static const char *const bad[][2] = {{"version", "2"},         {"version", ""},
                                         {"scale.min", "0"},       {"scale.max", "11"},
                                         {"scale.min", "4x"},      {"scale.min", "11"},
                                         {"fingerprint", "ab"},    {"fingerprint", "0123456789abcdef0123456789abcdeg"},
                                         {"format", "reel-model"}, {"scale.max", "3"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tensor_set *set = small_dataset_set(&base, &no_fault);
        REQUIRE_OK(tensor_set_put(set, bad[i][0], bad[i][1], &err), err);
        refused(set, bad[i][0]);
    }
}

static void files_that_are_none(void) {
    reel_dataset *ds;
    CHECK_INT(reel_dataset_open(ctx, scratch_path("missing"), &ds, &err), REEL_NOT_FOUND);
    CHECK(ds == NULL);
    const char *path = scratch_path("empty");
    fclose(fopen(path, "w"));
    CHECK_INT(reel_dataset_open(ctx, path, &ds, &err), REEL_CORRUPT);
    CHECK(ds == NULL);
    unlink(path);
}

int main(void) {
    ctx = context_of(3);
    base = random_ratings(40, 30, 40, 21);
    /* so that orders_must_agree can move user 0's last movie */
    while (base.user_movies[base.user_offsets[1] - 1] + 1 >= base.n_movies) {
        static uint64_t seed = 22;
        ratings_free(&base);
        base = random_ratings(40, 30, 40, seed++);
    }
    RUN(good_dataset_reads_back);
    RUN(accessors_answer);
    RUN(wrong_shapes_are_refused);
    RUN(wrong_values_are_refused);
    RUN(orders_must_agree);
    RUN(metadata_is_checked);
    RUN(files_that_are_none);
    ratings_free(&base);
    reel_context_free(ctx);
    TEST_EXIT();
}
