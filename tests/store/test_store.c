/* The store: live ratings and their overlay, what is refused, the collections, jobs as rows. */
#include "test.h"

#include <jansson.h>
#include <sqlite3.h>
#include <unistd.h>

#include "data/tiny_dataset.h"
#include "store/scratch.h"

static void rate(struct store *store, int32_t user, int32_t movie, int half_stars, uint32_t time) {
    reel_error err;
    reel_status status;
    while ((status = store_rate_wait(store, user, rating_of(movie, half_stars, time), &err)) == REEL_BUSY)
        usleep(1000); /* the queue is full */
    REQUIRE_OK(status, err);
}

static reel_status count_rating(void *arg, int32_t user_id, const struct store_rating *rating, reel_error *err) {
    int64_t *sums = arg;
    (void)err;
    sums[0]++;
    sums[1] += user_id;
    sums[2] += rating->half_stars;
    return REEL_OK;
}

static void ratings_outlive_the_process(void) {
    const char *path = scratch_file("live.db");
    struct store *store = open_store(path);
    struct store_rating ratings[8];
    CHECK_INT(store_user_ratings(store, 7, ratings, 8), 0);
    CHECK_INT(store_user_version(store, 7), 0);
    rate(store, 7, 30, 9, 100);
    uint64_t version = store_user_version(store, 7);
    CHECK(version != 0);
    rate(store, 7, 10, 1, 101);
    rate(store, 7, 20, 10, 102);
    rate(store, 7, 10, 4, 103); /* a second word on movie 10 */
    rate(store, 7, 20, 0, 104); /* taken away */
    rate(store, INT32_MAX, 0, 2, 4294967295u);
    CHECK(store_user_version(store, 7) != version);
    for (int reopened = 0; reopened < 2; reopened++) {
        CHECK_INT(store_user_ratings(store, 7, ratings, 8), 3);
        CHECK_INT(ratings[0].movie_id, 10);
        CHECK_INT(ratings[0].half_stars, 4);
        CHECK_INT(ratings[0].time, 103);
        CHECK_INT(ratings[1].movie_id, 20);
        CHECK_INT(ratings[1].half_stars, 0);
        CHECK_INT(ratings[2].movie_id, 30);
        CHECK_INT(store_user_ratings(store, 7, ratings, 1), 3);
        CHECK_INT(store_user_ratings(store, INT32_MAX, ratings, 8), 1);
        CHECK_INT(ratings[0].time, 4294967295u);
        int64_t sums[3] = {0};
        CHECK_INT(store_each_rating(store, count_rating, sums, NULL), REEL_OK);
        CHECK_INT(sums[0], 4);
        CHECK_INT(sums[1], 21 + (int64_t)INT32_MAX);
        CHECK_INT(sums[2], 4 + 0 + 9 + 2);
        store_close(store);
        store = open_store(path);
    }
    store_close(store);
}

/* Enough users to grow every shard, checked against plain arithmetic. */
static void the_overlay_keeps_many_users(void) {
    enum { USERS = 3000, EACH = 7 };
    struct store *store = open_store(":memory:");
    struct store_rating ratings[EACH];
    reel_error err;
    for (int i = 0; i < USERS * EACH; i++) {
        int32_t user = i % USERS * 17, movie = (i / USERS * 5) % EACH;
        while (store_rate(store, user, rating_of(movie, 1 + (user + movie) % 10, (uint32_t)i), NULL, NULL, &err) ==
               REEL_BUSY)
            usleep(1000);
    }
    rate(store, 1, 1, 1, 1); /* behind all others */
    int wrong = 0;
    for (int32_t user = 0; user < USERS * 17; user += 17) {
        wrong += store_user_ratings(store, user, ratings, EACH) != EACH;
        for (int32_t m = 0; m < EACH; m++)
            wrong += ratings[m].movie_id != m || ratings[m].half_stars != 1 + (user + m) % 10;
        wrong += user % 3 && store_user_ratings(store, user + 2, ratings, EACH) != 0;
    }
    CHECK_INT(wrong, 0);
    store_close(store);
}

static void bad_writes_are_refused(void) {
    struct store *store = open_store(":memory:");
    CHECK_INT(store_rate_wait(store, -1, rating_of(1, 1, 1), NULL), REEL_INVALID_ARGUMENT);
    CHECK_INT(store_rate_wait(store, 1, rating_of(-1, 1, 1), NULL), REEL_INVALID_ARGUMENT);
    CHECK_INT(store_rate_wait(store, 1, rating_of(1, 11, 1), NULL), REEL_INVALID_ARGUMENT);
    store_close(store);
}

static void a_store_for_reading_refuses_writes(void) {
    const char *path = scratch_file("reading.db");
    struct store *store, *reader;
    struct store_rating rating;
    reel_error err;
    CHECK_INT(store_open(path, 1, &reader, &err), REEL_NOT_FOUND);
    store = open_store(path);
    rate(store, 5, 6, 7, 8);
    REQUIRE_OK(store_open(path, 1, &reader, &err), err); /* beside the writer */
    CHECK_INT(store_user_ratings(reader, 5, &rating, 1), 1);
    CHECK_INT(store_rate_wait(reader, 5, rating_of(6, 1, 1), &err), REEL_UNSUPPORTED);
    CHECK_INT(store_job_cancel(reader, 1, &err), REEL_UNSUPPORTED);
    CHECK(!store_writable(reader));
    store_close(reader);
    store_close(store);
}

/* ---- files that are no store ---- */

static void check_refused(const char *path, reel_status expected, const char *reason) {
    struct store *store;
    reel_error err = {0};
    for (int read_only = 0; read_only < 2; read_only++) {
        CHECK_INT(store_open(path, read_only, &store, &err), expected);
        CHECK(store == NULL);
        CHECK(strstr(err.message, path) != NULL);
        if (!strstr(err.message, reason)) CHECK_STR(err.message, reason);
    }
}

static void run_sql(const char *path, const char *text) {
    sqlite3 *db;
    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s: %s\n", text, sqlite3_errmsg(db));
        exit(1);
    }
    sqlite3_close(db);
}

static void other_files_are_refused_untouched(void) {
    char text[4096];
    memset(text, 'x', sizeof text);
    write_text(scratch_file("text"), text, sizeof text);
    check_refused(scratch_file("text"), REEL_BAD_INPUT, "not an SQLite file");
    check_refused(scratch_dir(), REEL_BAD_INPUT, "is a folder");
    run_sql(scratch_file("other.db"), "CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    char *before = file_text(scratch_file("other.db"));
    check_refused(scratch_file("other.db"), REEL_BAD_INPUT, "of another program");
    char *after = file_text(scratch_file("other.db"));
    CHECK(before && after && memcmp(before, after, 8192) == 0);
    free(before), free(after);
    store_close(open_store(scratch_file("newer.db")));
    run_sql(scratch_file("newer.db"), "UPDATE meta SET value = '2' WHERE key = 'schema_version'");
    check_refused(scratch_file("newer.db"), REEL_UNSUPPORTED, "newer reel (schema 2");
    struct store *store;
    reel_error err;
    CHECK_INT(store_open(scratch_file("no/such/folder.db"), 0, &store, &err), REEL_IO);
    CHECK(strstr(err.message, "No such file") != NULL);
}

static void damaged_files_are_named(void) {
    const char *path = scratch_file("damaged.db");
    struct store *store = open_store(path);
    for (int i = 0; i < 3000; i++)
        while (store_rate(store, i, rating_of(i, 5, 1), NULL, NULL, NULL) == REEL_BUSY) usleep(1000);
    store_close(store);
    FILE *file = fopen(path, "r+b");
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    CHECK(size > 40000);
    for (long at = 8 * 4096; at < size; at += 4096) { /* page headers turn into nonsense */
        fseek(file, at, SEEK_SET);
        fwrite("\xff\xff\xff\xff\xff\xff\xff\xff", 1, 8, file);
    }
    fclose(file);
    check_refused(path, REEL_CORRUPT, "is damaged");
    store_close(open_store(scratch_file("range.db")));
    run_sql(scratch_file("range.db"), "INSERT INTO ratings VALUES(3, 4, 11, 0)");
    check_refused(scratch_file("range.db"), REEL_CORRUPT, "user 3 is out of range");
    store_close(open_store(scratch_file("tables.db")));
    run_sql(scratch_file("tables.db"), "DROP TABLE ratings");
    check_refused(scratch_file("tables.db"), REEL_CORRUPT, "no such table");
}

/* ---- collections ---- */

static const struct tiny_rating tiny_ratings[] = {{0, 0, 9, 1}, {0, 2, 4, 2}, {1, 0, 10, 3}, {2, 1, 1, 4}};

static struct reel_dataset small(void) {
    static const int32_t users[] = {3, 8, 20, 21}, movies[] = {1, 5, 9};
    static const char *const titles[] = {"Plain (1995)", "A \"quoted\" one (2001)",
                                         ("\xc3\x9c"
                                          "ber")};
    static const char *const genres[] = {"Action", "Comedy", "Drama"};
    static const int16_t years[] = {1995, 2001, 0};
    static const uint64_t bits[] = {3, 0, 4};
    const struct tiny_source source = {4, 3, 3, 4, users, movies, titles, genres, years, bits, tiny_ratings};
    return tiny_dataset(&source);
}

static void check_lines(const char *file, const char *expected) {
    char *text = file_text(scratch_file(file));
    CHECK_STR(text, expected);
    free(text);
}

static void collections_come_out_as_ndjson(void) {
    static const int32_t clusters[] = {0, 2, -1, 0}, imdb[] = {114709, -1, 7}, tmdb[] = {862, 3, -1};
    static const int32_t with_metadata[] = {0, 2}, metadata_imdb[] = {114710, -1};
    static const uint32_t metadata_genres[] = {5, 0};
    static const int64_t revenue[] = {373554033, 0};
    static const float runtime[] = {81, 0};
    const char *path = scratch_file("collections.db");
    struct reel_dataset ds = small();
    ds.movie_imdb_ids = imdb, ds.movie_tmdb_ids = tmdb;
    ds.metadata = (struct metadata){2, with_metadata, metadata_genres, metadata_imdb, revenue, runtime};
    struct store *store = open_store(path);
    int64_t counts[STORE_COLLECTIONS];
    reel_error err;
    CHECK_INT(store_export(store, scratch_file("out"), counts, &err), REEL_NOT_FOUND);
    REQUIRE_OK(store_fill(store, &ds, clusters, &err), err);
    REQUIRE_OK(store_export(store, scratch_file("out"), counts, &err), err);
    CHECK_INT(counts[0], 4);
    CHECK_INT(counts[1], 3);
    CHECK_INT(counts[2], 3);
    check_lines("out/users.ndjson", "{\"userId\":3,\"user_rt_mean\":3.25,\"cluster\":0,\"n_ratings\":2}\n"
                                    "{\"userId\":8,\"user_rt_mean\":5.0,\"cluster\":2,\"n_ratings\":1}\n"
                                    "{\"userId\":20,\"user_rt_mean\":0.5,\"cluster\":null,\"n_ratings\":1}\n"
                                    "{\"userId\":21,\"user_rt_mean\":null,\"cluster\":0,\"n_ratings\":0}\n");
    check_lines("out/movies.ndjson",
                "{\"movieId\":1,\"title\":\"Plain (1995)\",\"year\":1995,\"movie_rt_mean\":4.75,\"popularity\":2,"
                "\"clusters\":[0,2],\"genres\":{\"Action\":1,\"Comedy\":1,\"Drama\":0}}\n"
                "{\"movieId\":5,\"title\":\"A \\\"quoted\\\" one (2001)\",\"year\":2001,\"movie_rt_mean\":0.5,"
                "\"popularity\":1,\"clusters\":[],\"genres\":{\"Action\":0,\"Comedy\":0,\"Drama\":0}}\n"
                "{\"movieId\":9,\"title\":\"\xc3\x9c"
                "ber\",\"year\":null,\"movie_rt_mean\":2.0,\"popularity\":1,"
                "\"clusters\":[0],\"genres\":{\"Action\":0,\"Comedy\":0,\"Drama\":1}}\n");
    check_lines("out/metadata.ndjson",
                "{\"id\":1,\"genres\":[\"Action\",\"Animation\"],\"imdb_id\":114710,\"tmdb_id\":862,"
                "\"revenue\":373554033,\"runtime\":81.0}\n"
                "{\"id\":5,\"genres\":[],\"imdb_id\":null,\"tmdb_id\":3,\"revenue\":null,\"runtime\":null}\n"
                "{\"id\":9,\"genres\":[],\"imdb_id\":7,\"tmdb_id\":null,\"revenue\":null,\"runtime\":null}\n");
    store_close(store);
    tiny_dataset_free(&ds);
}

static int64_t row_count(const char *path, const char *query) {
    sqlite3 *db;
    sqlite3_stmt *statement;
    int64_t n = -1;
    if (sqlite3_open(path, &db) == SQLITE_OK && sqlite3_prepare_v2(db, query, -1, &statement, NULL) == SQLITE_OK) {
        if (sqlite3_step(statement) == SQLITE_ROW) n = sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
    }
    sqlite3_close(db);
    return n;
}

static void a_fill_is_kept_until_its_source_changes(void) {
    static const int32_t none[] = {-1, -1, -1, -1}, clusters[] = {1, 1, 1, 1}, wrong[] = {1, 64, 1, 1};
    const char *path = scratch_file("fill.db");
    struct reel_dataset ds = small();
    struct store *store = open_store(path);
    reel_error err;
    ds.movie_imdb_ids = ds.movie_tmdb_ids = none;
    REQUIRE_OK(store_fill(store, &ds, NULL, &err), err);
    run_sql(path, "DELETE FROM users WHERE user_id = 3"); /* shows whether it is filled again */
    REQUIRE_OK(store_fill(store, &ds, NULL, &err), err);
    CHECK_INT(row_count(path, "SELECT count(*) FROM users"), 3);
    REQUIRE_OK(store_fill(store, &ds, clusters, &err), err);
    CHECK_INT(row_count(path, "SELECT count(*) FROM users"), 4);
    CHECK_INT(row_count(path, "SELECT count(*) FROM users WHERE cluster = 1"), 4);
    CHECK_INT(store_fill(store, &ds, wrong, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(row_count(path, "SELECT count(*) FROM users WHERE cluster = 1"), 4);
    CHECK_INT(row_count(path, "SELECT count(*) FROM meta WHERE value = '0123456789abcdef0123456789abcdef'"), 1);
    store_close(store);
    tiny_dataset_free(&ds);
}

/* ---- jobs ---- */

static void check_state(struct store *store, int64_t id, const char *state) {
    struct store_job job;
    CHECK_INT(store_job_get(store, id, &job, NULL), REEL_OK);
    CHECK_STR(job.state, state);
    store_job_clear(&job);
}

static void jobs_pass_through_their_states(void) {
    struct store *store = open_store(scratch_file("jobs.db"));
    struct store_job job;
    reel_error err;
    int64_t id[4], ids[4];
    int started, n;
    const int priorities[] = {0, 5, 0, -3};
    for (int i = 0; i < 4; i++)
        REQUIRE_OK(store_job_insert(store, "train", priorities[i], "{\"kind\":\"train\"}", &id[i], &err), err);
    REQUIRE_OK(store_jobs_in_state(store, "queued", ids, 4, &n, &err), err);
    CHECK_INT(n, 4);
    CHECK_INT(ids[0], id[1]);
    CHECK_INT(ids[1], id[0]);
    CHECK_INT(ids[2], id[2]);
    CHECK_INT(ids[3], id[3]);
    REQUIRE_OK(store_job_start(store, id[1], &started, &err), err);
    CHECK_INT(started, 1);
    REQUIRE_OK(store_job_start(store, id[1], &started, &err), err);
    CHECK_INT(started, 0);
    REQUIRE_OK(store_job_progress(store, id[1], "{\"done\":1}", &err), err);
    REQUIRE_OK(store_job_finish(store, id[1], "done", "{\"rmse\":1}", NULL, &err), err);
    CHECK_INT(store_job_finish(store, id[1], "done", NULL, NULL, &err), REEL_NOT_FOUND);
    REQUIRE_OK(store_job_get(store, id[1], &job, &err), err);
    CHECK_STR(job.progress, "{\"done\":1}");
    CHECK_STR(job.result, "{\"rmse\":1}");
    CHECK(job.error == NULL);
    CHECK_INT(job.attempts, 1);
    CHECK_INT(job.priority, 5);
    CHECK(job.created > 0 && job.started >= job.created && job.finished >= job.started);
    store_job_clear(&job);
    CHECK_INT(store_job_cancel(store, id[1], &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(store_job_cancel(store, 99, &err), REEL_NOT_FOUND);
    CHECK_INT(store_job_get(store, 99, &job, &err), REEL_NOT_FOUND);
    REQUIRE_OK(store_job_cancel(store, id[0], &err), err);
    check_state(store, id[0], "cancelled");
    REQUIRE_OK(store_job_start(store, id[0], &started, &err), err);
    CHECK_INT(started, 0);
    REQUIRE_OK(store_job_start(store, id[2], &started, &err), err);
    REQUIRE_OK(store_job_cancel(store, id[2], &err), err);
    check_state(store, id[2], "cancelling");
    REQUIRE_OK(store_job_cancel(store, id[2], &err), err); /* twice is fine */
    REQUIRE_OK(store_job_finish(store, id[2], "queued", NULL, NULL, &err), err);
    check_state(store, id[2], "cancelled"); /* the cancel wins over going back to the queue */
    REQUIRE_OK(store_job_start(store, id[3], &started, &err), err);
    REQUIRE_OK(store_job_finish(store, id[3], "queued", NULL, NULL, &err), err);
    REQUIRE_OK(store_job_get(store, id[3], &job, &err), err);
    CHECK_STR(job.state, "queued");
    CHECK_INT(job.attempts, 0);
    store_job_clear(&job);
    struct store_job *jobs;
    REQUIRE_OK(store_jobs(store, 2, &jobs, &n, &err), err);
    CHECK_INT(n, 2);
    CHECK_INT(jobs[0].id, id[3]);
    store_jobs_free(jobs, n);
    store_close(store);
}

static void jobs_are_recovered_after_a_crash(void) {
    struct store *store = open_store(":memory:");
    struct store_job job;
    reel_error err;
    int64_t id[3];
    int started;
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(store_job_insert(store, "cv", 0, "{}", &id[i], &err), err);
        REQUIRE_OK(store_job_start(store, id[i], &started, &err), err);
    }
    REQUIRE_OK(store_job_cancel(store, id[1], &err), err);
    REQUIRE_OK(store_job_finish(store, id[2], "failed", NULL, "no", &err), err);
    REQUIRE_OK(store_jobs_recover(store, 2, &err), err);
    check_state(store, id[0], "queued");
    check_state(store, id[1], "cancelled");
    check_state(store, id[2], "failed");
    REQUIRE_OK(store_job_start(store, id[0], &started, &err), err);
    REQUIRE_OK(store_jobs_recover(store, 2, &err), err);
    REQUIRE_OK(store_job_get(store, id[0], &job, &err), err);
    CHECK_STR(job.state, "failed");
    CHECK_STR(job.error, "the process ended 2 times while the job ran");
    store_job_clear(&job);
    store_close(store);
}

static void one_process_claims_the_jobs(void) {
    const char *path = scratch_file("claim.db");
    struct store *first = open_store(path), *second = open_store(path);
    reel_error err;
    REQUIRE_OK(store_claim(first, &err), err);
    REQUIRE_OK(store_claim(first, &err), err);
    CHECK_INT(store_claim(second, &err), REEL_BUSY);
    CHECK(strstr(err.message, "claim.db") != NULL);
    store_close(first);
    CHECK_INT(store_claim(second, &err), REEL_OK);
    store_close(second);
}

int main(void) {
    RUN(ratings_outlive_the_process);
    RUN(the_overlay_keeps_many_users);
    RUN(bad_writes_are_refused);
    RUN(a_store_for_reading_refuses_writes);
    RUN(other_files_are_refused_untouched);
    RUN(damaged_files_are_named);
    RUN(collections_come_out_as_ndjson);
    RUN(a_fill_is_kept_until_its_source_changes);
    RUN(jobs_pass_through_their_states);
    RUN(jobs_are_recovered_after_a_crash);
    RUN(one_process_claims_the_jobs);
    remove_tree(scratch_dir());
    TEST_EXIT();
}
