/* Opening and closing a store, and reading its live ratings. */
#define _GNU_SOURCE
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/error.h"
#include "core/mem.h"
#include "store/store_state.h"

static int in_memory(const struct store *store) {
    return strcmp(store->path, ":memory:") == 0;
}

/* ---- opening ---- */

static reel_status check_path(const struct store *store, int read_only, reel_error *err) {
    struct stat info;
    if (in_memory(store)) return REEL_OK;
    if (stat(store->path, &info) != 0) {
        if (errno == ENOENT && !read_only) return REEL_OK;
        return error_errno(err, errno == ENOENT ? REEL_NOT_FOUND : REEL_IO, "%s: the store cannot be opened",
                           store->path);
    }
    if (S_ISDIR(info.st_mode)) return error_set(err, REEL_BAD_INPUT, "%s: is a folder, not a store", store->path);
    if (!S_ISREG(info.st_mode)) return error_set(err, REEL_BAD_INPUT, "%s: is not a regular file", store->path);
    return REEL_OK;
}

/* WAL is kept in the file from the first opening on. */
static reel_status set_journal(struct sql *sql, reel_error *err) {
    sqlite3_stmt *statement;
    int row;
    TRY_RETURN(sql_query(sql, &statement, err, "PRAGMA journal_mode = WAL", ""));
    reel_status status = sql_step(sql, statement, &row, err);
    const char *mode = row ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (status == REEL_OK && (!mode || (strcmp(mode, "wal") != 0 && strcmp(mode, "memory") != 0)))
        status = error_set(err, REEL_IO, "%s: the disk does not allow a write-ahead log (journal mode %s)", sql->path,
                           mode ? mode : "unknown");
    sqlite3_finalize(statement);
    /* A log that one large transaction has blown up shrinks again at the next checkpoint. */
    if (status == REEL_OK) status = sql_exec(sql, "PRAGMA journal_size_limit = 16777216", err);
    if (status == REEL_OK) status = sql_exec(sql, "PRAGMA synchronous = FULL", err);
    return status;
}

static reel_status check_pages(struct sql *sql, reel_error *err) {
    sqlite3_stmt *statement;
    int row;
    TRY_RETURN(sql_query(sql, &statement, err, "PRAGMA quick_check(1)", ""));
    reel_status status = sql_step(sql, statement, &row, err);
    const char *answer = row ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (status == REEL_OK && (!answer || strcmp(answer, "ok") != 0))
        status =
            error_set(err, REEL_CORRUPT, "%s: the store is damaged (%s)", sql->path, answer ? answer : "no answer");
    sqlite3_finalize(statement);
    return status;
}

/* The entry of a new file in its folder is made durable too. */
static reel_status sync_folder(const char *path, reel_error *err) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder) return error_no_memory(err, strlen(path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    reel_status status = REEL_OK;
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        status = error_errno(err, REEL_IO, "%s: the folder cannot be synced", folder);
    if (fd >= 0) close(fd);
    free(folder);
    return status;
}

static reel_status open_writer(struct store *store, reel_error *err) {
    TRY_RETURN(sql_open(&store->writer, store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, err));
    /* Before anything is written: the file may be another program's. */
    if (sqlite3_db_readonly(store->writer.handle, "main") == 1) {
        sql_close(&store->writer);
        return error_set(err, REEL_IO, "%s: the store or its folder is read-only", store->path);
    }
    TRY_RETURN(schema_check(&store->writer, 1, err));
    TRY_RETURN(set_journal(&store->writer, err));
    if (in_memory(store)) return REEL_OK;
    TRY_RETURN(sync_folder(store->path, err));
    TRY_RETURN(check_pages(&store->writer, err));
    return sql_open(&store->reader, store->path, SQLITE_OPEN_READWRITE, err);
}

/* On a disk that cannot be written SQLite cannot make the log's index; without a log there is none to mind. */
static reel_status open_immutable(struct store *store, reel_error *err) {
    struct strbuf uri = {0}, log = {0};
    struct stat info;
    reel_status status = REEL_OK;
    strbuf_printf(&log, "%s-wal", store->path);
    strbuf_puts(&uri, "file:");
    for (const char *at = store->path; *at; at++)
        if (strchr("%?#", *at))
            strbuf_printf(&uri, "%%%02X", (unsigned char)*at);
        else
            strbuf_add(&uri, at, 1);
    strbuf_puts(&uri, "?immutable=1");
    if (uri.failed || log.failed)
        status = error_no_memory(err, 0);
    else if (stat(log.data, &info) == 0 && info.st_size > 0)
        status = error_set(err, REEL_IO, "%s: the folder is read-only and the store's log %s is not played back yet",
                           store->path, log.data);
    else
        status = sql_open(&store->reader, uri.data, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    store->reader.path = store->path;
    strbuf_free(&uri);
    strbuf_free(&log);
    return status;
}

static reel_status open_reader(struct store *store, reel_error *err) {
    reel_error why;
    TRY_RETURN(sql_open(&store->reader, store->path, SQLITE_OPEN_READONLY, err));
    reel_status status = schema_check(&store->reader, 0, &why);
    if (status == REEL_OK) return REEL_OK;
    if (status == REEL_IO) {
        sql_close(&store->reader);
        TRY_RETURN(open_immutable(store, err));
        return schema_check(&store->reader, 0, err);
    }
    return error_set(err, status, "%s", why.message);
}

static reel_status take_rating(void *arg, int32_t user_id, const struct store_rating *rating, reel_error *err) {
    TRY_RETURN(overlay_reserve(arg, user_id, err));
    overlay_settle(arg, user_id, rating);
    return REEL_OK;
}

static reel_status open_connections(struct store *store, int read_only, reel_error *err) {
    TRY_RETURN(check_path(store, read_only, err));
    if (!read_only) {
        reel_status status = open_writer(store, &store->refusal);
        if (status == REEL_OK) return REEL_OK;
        sql_close(&store->reader);
        sql_close(&store->writer);
        if (status != REEL_IO || open_reader(store, NULL) != REEL_OK) {
            if (err) *err = store->refusal;
            return status;
        }
        return REEL_OK;
    }
    error_set(&store->refusal, REEL_UNSUPPORTED, "%s: the store was opened for reading only", store->path);
    return open_reader(store, err);
}

reel_status store_open(const char *path, int read_only, struct store **out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = NULL;
    if (!path || !*path) return error_set(err, REEL_INVALID_ARGUMENT, "the store's path is empty");
    struct store *store = calloc(1, sizeof *store);
    if (!store) return error_no_memory(err, sizeof *store);
    store->claim = -1;
    pthread_mutex_init(&store->writer.mutex, NULL);
    pthread_mutex_init(&store->reader.mutex, NULL);
    pthread_mutex_init(&store->queue.mutex, NULL);
    pthread_cond_init(&store->queue.filled, NULL);
    store->path = strdup(path);
    if (!store->path) TRY(error_no_memory(err, strlen(path)));
    TRY(open_connections(store, read_only, err));
    TRY(overlay_new(&store->overlay, err));
    TRY(store_each_rating(store, take_rating, store->overlay, err));
    if (store_writable(store)) TRY(writer_start(store, err));
    *out = store;
    return REEL_OK;
cleanup:
    store_close(store);
    return status;
}

void store_close(struct store *store) {
    if (!store) return;
    writer_stop(store);
    sql_close(&store->reader);
    sql_close(&store->writer); /* the last connection puts the log back into the file */
    overlay_free(store->overlay);
    if (store->claim >= 0) close(store->claim);
    pthread_cond_destroy(&store->queue.filled);
    pthread_mutex_destroy(&store->queue.mutex);
    pthread_mutex_destroy(&store->reader.mutex);
    pthread_mutex_destroy(&store->writer.mutex);
    free(store->path);
    free(store);
}

int store_writable(const struct store *store) {
    return store->refusal.status == REEL_OK;
}

const char *store_path(const struct store *store) {
    return store->path;
}

reel_status store_check_writable(const struct store *store, reel_error *err) {
    return store_writable(store) ? REEL_OK : error_set(err, store->refusal.status, "%s", store->refusal.message);
}

/* A lock on a file beside the store: SQLite's own locks on the store itself must not be disturbed. */
reel_status store_claim(struct store *store, reel_error *err) {
    TRY_RETURN(store_check_writable(store, err));
    if (in_memory(store) || store->claim >= 0) return REEL_OK;
    char *path = NULL;
    if (asprintf(&path, "%s-lock", store->path) < 0) return error_no_memory(err, strlen(store->path));
    reel_status status = REEL_OK;
    store->claim = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (store->claim < 0) {
        status = error_errno(err, REEL_IO, "%s: cannot be opened", path);
    } else if (flock(store->claim, LOCK_EX | LOCK_NB) != 0) {
        close(store->claim);
        store->claim = -1;
        status = error_set(err, REEL_BUSY, "%s: another reel process runs this store's jobs", store->path);
    }
    free(path);
    return status;
}

/* ---- live ratings ---- */

static int valid_row(sqlite3_stmt *row) {
    int64_t user = sqlite3_column_int64(row, 0), movie = sqlite3_column_int64(row, 1);
    int64_t half_stars = sqlite3_column_int64(row, 2), time = sqlite3_column_int64(row, 3);
    int deleted = sqlite3_column_type(row, 2) == SQLITE_NULL;
    return user >= 0 && user <= INT32_MAX && movie >= 0 && movie <= INT32_MAX && time >= 0 && time <= UINT32_MAX &&
           (deleted || (half_stars >= 1 && half_stars <= 10));
}

static reel_status each_row(struct sql *sql, sqlite3_stmt *statement, store_rating_fn fn, void *arg, reel_error *err) {
    for (int row;;) {
        TRY_RETURN(sql_step(sql, statement, &row, err));
        if (!row) return REEL_OK;
        if (!valid_row(statement))
            return error_set(err, REEL_CORRUPT, "%s: the store is damaged (a rating of user %lld is out of range)",
                             sql->path, (long long)sqlite3_column_int64(statement, 0));
        const struct store_rating rating = {.movie_id = (int32_t)sqlite3_column_int64(statement, 1),
                                            .half_stars = (uint8_t)sqlite3_column_int64(statement, 2),
                                            .time = (uint32_t)sqlite3_column_int64(statement, 3)};
        TRY_RETURN(fn(arg, (int32_t)sqlite3_column_int64(statement, 0), &rating, err));
    }
}

reel_status store_each_rating(struct store *store, store_rating_fn fn, void *arg, reel_error *err) {
    struct sql *sql = store_reader(store);
    sqlite3_stmt *statement;
    pthread_mutex_lock(&sql->mutex);
    reel_status status = sql_query(
        sql, &statement, err, "SELECT user_id, movie_id, half_stars, time FROM ratings ORDER BY user_id, movie_id", "");
    if (status == REEL_OK) {
        status = each_row(sql, statement, fn, arg, err);
        sqlite3_finalize(statement);
    }
    pthread_mutex_unlock(&sql->mutex);
    return status;
}

uint64_t store_user_version(const struct store *store, int32_t user_id) {
    return overlay_version(store->overlay, user_id);
}

int64_t store_user_ratings(const struct store *store, int32_t user_id, struct store_rating *out, int64_t max) {
    return overlay_read(store->overlay, user_id, out, max);
}
