/* Folds: what is trained on and what is tested on add up, for every protocol. */
#include "test.h"
#include "data/small_dataset.h"
#include "eval/folds.h"

static reel_error err;
static reel_context *ctx;
static reel_dataset *ds;

/* Train and test parts of a fold hold every rating once; how often each is tested is counted in `tested`. */
static void check_partition(const struct ratings *train, const struct rating_pairs *test, int64_t *tested) {
    const struct ratings *all = &ds->ratings;
    uint8_t *seen = calloc((size_t)ds->n_ratings, 1);
    CHECK_INT(train->n_ratings + test->n, ds->n_ratings);
    for (int64_t i = 0; i < test->n; i++)
        for (int64_t r = all->user_offsets[test->users[i]]; r < all->user_offsets[test->users[i] + 1]; r++)
            if (all->user_movies[r] == test->movies[i] && all->user_ratings[r] == test->ratings[i])
                seen[r]++, tested[r]++;
    int64_t at = 0, wrong = 0;
    for (int64_t r = 0; r < ds->n_ratings; r++) {
        if (seen[r]) continue;
        wrong += train->user_movies[at] != all->user_movies[r] || train->user_ratings[at] != all->user_ratings[r];
        at++;
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(at, train->n_ratings);
    free(seen);
}

/* Loads all folds; each rating must be tested `times` times in all (-1 = any number). */
static void check_protocol(const reel_protocol *protocol, int n_folds, int64_t times) {
    struct folds folds;
    int64_t *tested = calloc((size_t)ds->n_ratings, sizeof *tested), wrong = 0;
    REQUIRE_OK(folds_init(ctx, ds, protocol, &folds, &err), err);
    CHECK_INT(folds.n, n_folds);
    for (int f = 0; f < folds.n; f++) {
        struct ratings train;
        struct rating_pairs test;
        REQUIRE_OK(folds_load(ctx, &folds, f, RATINGS_BY_MOVIE, &train, &test, &err), err);
        CHECK(test.n > 0 && train.movie_users);
        check_partition(&train, &test, tested);
        ratings_free(&train);
        rating_pairs_free(&test);
    }
    for (int64_t r = 0; times >= 0 && r < ds->n_ratings; r++) wrong += tested[r] != times;
    CHECK_INT(wrong, 0);
    free(tested);
    folds_free(&folds);
}

static void every_protocol_adds_up(void) {
    reel_protocol protocol;
    reel_protocol_default(&protocol);
    check_protocol(&protocol, 5, 1);
    protocol.folds = 13;
    check_protocol(&protocol, 13, 1);
    protocol.split = REEL_SPLIT_PER_USER;
    check_protocol(&protocol, 13, 1);
    protocol.split = REEL_SPLIT_TIME;
    check_protocol(&protocol, 1, -1);
    protocol = (reel_protocol){.folds = 4, .holdout = 0.25, .seed = 9};
    check_protocol(&protocol, 4, -1);
    protocol.split = REEL_SPLIT_TIME;
    check_protocol(&protocol, 1, -1);
}

static void bad_protocols_are_refused(void) {
    static const reel_protocol bad[] = {{.folds = 1},
                                        {.folds = 0},
                                        {.folds = 251},
                                        {.folds = -1},
                                        {.folds = 1, .holdout = 1},
                                        {.folds = 1, .holdout = -0.1},
                                        {.folds = 0, .holdout = 0.1},
                                        {.folds = 251, .holdout = 0.1},
                                        {.folds = 5, .split = (reel_split_kind)7}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct folds folds;
        CHECK_INT(folds_init(ctx, ds, &bad[i], &folds, &err), REEL_INVALID_ARGUMENT);
        folds_free(&folds);
    }
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

/* A ready fold trains on what its train file lists, and tests on its test file as it stands. */
static void ready_files_are_taken(void) {
    char train_path[512], test_path[512], text[200];
    snprintf(train_path, sizeof train_path, "%s", scratch_path("train.csv"));
    snprintf(test_path, sizeof test_path, "%s", scratch_path("test.csv"));
    const struct ratings *all = &ds->ratings;
    snprintf(text, sizeof text, "userId,movieId,rating\n%d,%d,%.1f\n", ds->user_ids[0],
             ds->movie_ids[all->user_movies[1]], all->user_ratings[1] / 2.0);
    write_text(train_path, text);
    write_text(test_path, "userId,movieId,rating\n10,5,3.0\n77777,5,3.5\n10,88888,4.0\n");
    const char *train_files[] = {train_path}, *test_files[] = {test_path};
    reel_protocol protocol = {.train_files = train_files, .test_files = test_files, .n_files = 1};
    struct folds folds;
    struct ratings train;
    struct rating_pairs test;
    REQUIRE_OK(folds_init(ctx, ds, &protocol, &folds, &err), err);
    REQUIRE_OK(folds_load(ctx, &folds, 0, 0, &train, &test, &err), err);
    CHECK_INT(train.n_ratings, 1);
    CHECK_INT(train.user_movies[0], all->user_movies[1]);
    CHECK_INT(test.n, 3);
    CHECK_INT(test.users[1], -1);
    CHECK_INT(test.movies[1], 0);
    CHECK_INT(test.users[2], 0);
    CHECK_INT(test.movies[2], -1);
    CHECK_INT(test.ratings[1], 7);
    ratings_free(&train);
    rating_pairs_free(&test);
    write_text(train_path, "userId,movieId,rating\n10,4,3.0\n");
    CHECK_INT(folds_load(ctx, &folds, 0, 0, &train, &test, &err), REEL_BAD_INPUT);
    CHECK(strstr(err.message, "train.csv:2:") != NULL);
    ratings_free(&train);
    rating_pairs_free(&test);
    unlink(train_path);
    CHECK_INT(folds_load(ctx, &folds, 0, 0, &train, &test, &err), REEL_NOT_FOUND);
    ratings_free(&train);
    rating_pairs_free(&test);
    folds_free(&folds);
    unlink(test_path);
}

static void spread_is_of_the_population(void) {
    reel_cv_report report;
    REQUIRE_OK(cv_report_init("mean", 3, &report, &err), err);
    for (int f = 0; f < 3; f++)
        report.folds[f] = (reel_fold){.test = {10 + f, f + 1.0, 2.0, -f}, .fit_seconds = f * 2.0, .test_seconds = 1.0};
    cv_report_finish(&report);
    CHECK_INT(report.mean.n, 33);
    CHECK_NEAR(report.mean.rmse, 2, 1e-15);
    CHECK_NEAR(report.std.rmse, sqrt(2.0 / 3), 1e-15);
    CHECK_NEAR(report.mean.mae, 2, 1e-15);
    CHECK_NEAR(report.std.mae, 0, 1e-15);
    CHECK_NEAR(report.mean.r2, -1, 1e-15);
    CHECK_NEAR(report.fit_seconds, 2, 1e-15);
    CHECK_NEAR(report.test_seconds, 1, 1e-15);
    reel_cv_report_free(&report);
    reel_cv_report_free(NULL);
}

int main(void) {
    static const struct small_dataset_fault no_fault;
    ctx = context_of(3);
    struct ratings r = random_ratings(60, 50, 50, 31);
    REQUIRE_OK(open_set(ctx, small_dataset_set(&r, &no_fault), &ds, &err), err);
    RUN(every_protocol_adds_up);
    RUN(bad_protocols_are_refused);
    RUN(ready_files_are_taken);
    RUN(spread_is_of_the_population);
    reel_dataset_free(ds);
    ratings_free(&r);
    reel_context_free(ctx);
    TEST_EXIT();
}
