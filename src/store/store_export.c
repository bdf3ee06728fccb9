/* The three collections as NDJSON: one JSON object a line, as mongoimport takes them. */
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "core/mem.h"
#include "store/store_state.h"

enum { FLUSH_BYTES = 1 << 20 };

/* One row as an object; NULL when memory runs out. `genres`: the names of all genres (a JSON array). */
typedef json_t *(*row_json_fn)(sqlite3_stmt *row, const json_t *genres);

/* ---- rows ---- */

static json_t *number_or_null(sqlite3_stmt *row, int column) {
    switch (sqlite3_column_type(row, column)) {
    case SQLITE_INTEGER:
        return json_integer(sqlite3_column_int64(row, column));
    case SQLITE_FLOAT:
        return json_real(sqlite3_column_double(row, column));
    default:
        return json_null();
    }
}

/* A column with JSON inside; what does not parse (a damaged store) is an empty array. */
static json_t *array_column(sqlite3_stmt *row, int column) {
    const char *text = (const char *)sqlite3_column_text(row, column);
    json_t *array = text ? json_loads(text, 0, NULL) : NULL;
    if (json_is_array(array)) return array;
    json_decref(array);
    return json_array();
}

static json_t *user_json(sqlite3_stmt *row, const json_t *genres) {
    (void)genres;
    return json_pack("{s:o,s:o,s:o,s:o}", "userId", number_or_null(row, 0), "user_rt_mean", number_or_null(row, 1),
                     "cluster", number_or_null(row, 3), "n_ratings", number_or_null(row, 2));
}

/* {"Action":0,"Comedy":1,...}: every genre of the dataset. */
static json_t *genre_flags(const json_t *genres, const json_t *of_movie) {
    json_t *flags = json_object(), *name;
    size_t i;
    int failed = !flags;
    json_array_foreach(genres, i, name) failed |= json_object_set_new(flags, json_string_value(name), json_integer(0));
    json_array_foreach(of_movie, i, name) {
        if (json_is_string(name)) failed |= json_object_set_new(flags, json_string_value(name), json_integer(1));
    }
    if (!failed) return flags;
    json_decref(flags);
    return NULL;
}

static json_t *movie_json(sqlite3_stmt *row, const json_t *genres) {
    json_t *of_movie = array_column(row, 5);
    json_t *flags = genre_flags(genres, of_movie);
    json_decref(of_movie);
    return json_pack("{s:o,s:s,s:o,s:o,s:o,s:o,s:o}", "movieId", number_or_null(row, 0), "title",
                     sqlite3_column_text(row, 1), "year", number_or_null(row, 2), "movie_rt_mean",
                     number_or_null(row, 3), "popularity", number_or_null(row, 4), "clusters", array_column(row, 6),
                     "genres", flags);
}

static json_t *metadata_json(sqlite3_stmt *row, const json_t *genres) {
    (void)genres;
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o}", "id", number_or_null(row, 0), "genres", array_column(row, 5),
                     "imdb_id", number_or_null(row, 1), "tmdb_id", number_or_null(row, 2), "revenue",
                     number_or_null(row, 3), "runtime", number_or_null(row, 4));
}

/* ---- files ---- */

static const struct {
    const char *file, *query;
    row_json_fn json;
} collections[STORE_COLLECTIONS] = {
    {"users.ndjson", "SELECT user_id, user_rt_mean, n_ratings, cluster FROM users ORDER BY user_id", user_json},
    {"movies.ndjson",
     "SELECT movie_id, title, year, movie_rt_mean, popularity, genres, clusters FROM movies ORDER BY movie_id",
     movie_json},
    {"metadata.ndjson", "SELECT movie_id, imdb_id, tmdb_id, revenue, runtime, genres FROM metadata ORDER BY movie_id",
     metadata_json},
};

static reel_status flush(struct strbuf *lines, int fd, const char *path, reel_error *err) {
    if (lines->failed) return error_no_memory(err, lines->capacity);
    TRY_RETURN(file_write_all(fd, lines->data ? lines->data : "", lines->length, path, err));
    lines->length = 0;
    return REEL_OK;
}

static reel_status add_line(struct strbuf *lines, json_t *object, reel_error *err) {
    char *text = json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(object);
    if (!text) return error_no_memory(err, 0);
    strbuf_puts(lines, text);
    strbuf_add(lines, "\n", 1);
    free(text);
    return REEL_OK;
}

static reel_status write_rows(struct sql *sql, int which, const json_t *genres, int fd, const char *path, int64_t *n,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct strbuf lines = {0};
    sqlite3_stmt *statement = NULL;
    int row = 1;
    *n = 0;
    TRY(sql_query(sql, &statement, err, collections[which].query, ""));
    for (;;) {
        TRY(sql_step(sql, statement, &row, err));
        if (!row) break;
        TRY(add_line(&lines, collections[which].json(statement, genres), err));
        if (lines.length >= FLUSH_BYTES) TRY(flush(&lines, fd, path, err));
        ++*n;
    }
    TRY(flush(&lines, fd, path, err));
cleanup:
    sqlite3_finalize(statement);
    strbuf_free(&lines);
    return status;
}

static reel_status write_file(struct sql *sql, int which, const json_t *genres, const char *dir, int64_t *n,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct atomic_file file = {0};
    struct strbuf path = {0};
    strbuf_printf(&path, "%s/%s", dir, collections[which].file);
    if (path.failed) TRY(error_no_memory(err, strlen(dir)));
    TRY(atomic_file_begin(path.data, &file, err));
    TRY(write_rows(sql, which, genres, file.fd, path.data, n, err));
    TRY(atomic_file_commit(&file, err));
cleanup:
    atomic_file_abort(&file);
    strbuf_free(&path);
    return status;
}

/* The names of all genres, as store_fill left them. */
static reel_status read_genres(struct sql *sql, json_t **out, reel_error *err) {
    sqlite3_stmt *statement;
    int row;
    *out = NULL;
    TRY_RETURN(sql_query(sql, &statement, err, "SELECT value FROM meta WHERE key = 'dataset.genres'", ""));
    reel_status status = sql_step(sql, statement, &row, err);
    if (status == REEL_OK && !row)
        status = error_set(err, REEL_NOT_FOUND,
                           "%s: no dataset was put into the store yet (reel serve does when it starts)", sql->path);
    if (status == REEL_OK) {
        *out = array_column(statement, 0);
        if (!*out) status = error_no_memory(err, 0);
    }
    sqlite3_finalize(statement);
    return status;
}

reel_status store_export(struct store *store, const char *dir, int64_t counts[STORE_COLLECTIONS], reel_error *err) {
    struct sql *sql = store_reader(store);
    json_t *genres = NULL;
    int64_t n = 0;
    TRY_RETURN(file_make_dir(dir, err));
    pthread_mutex_lock(&sql->mutex);
    /* One snapshot for the three files. */
    reel_status status = sql_exec(sql, "BEGIN", err);
    if (status == REEL_OK) {
        status = read_genres(sql, &genres, err);
        for (int i = 0; status == REEL_OK && i < STORE_COLLECTIONS; i++) {
            status = write_file(sql, i, genres, dir, &n, err);
            if (counts) counts[i] = n;
        }
        (void)sql_exec(sql, "COMMIT", NULL);
    }
    pthread_mutex_unlock(&sql->mutex);
    json_decref(genres);
    return status;
}
