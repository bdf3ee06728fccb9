/* One SQLite connection with its lock, and SQLite's results as statuses. The lock is the caller's to take around
 * everything that uses the connection; sql_* never take it. */
#ifndef STORE_SQL_H
#define STORE_SQL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdint.h>
#include <reel/status.h>

struct sql {
    sqlite3 *handle; /* NULL = closed */
    const char *path;
    pthread_mutex_t mutex;
};

/* `flags` are SQLite's; a lock held by another process is waited for, up to five seconds. On a failure the connection
 * is closed. */
reel_status sql_open(struct sql *sql, const char *path, int flags, reel_error *err);
void sql_close(struct sql *sql);
/* The sentence for `code`, naming the file; returns its status. */
reel_status sql_fail(const struct sql *sql, int code, reel_error *err);
/* Runs statements without results. */
reel_status sql_exec(struct sql *sql, const char *text, reel_error *err);
/* Prepares a statement and binds its parameters by `format`: i int64_t, d double, t const char * (NULL = null; it must
 * outlive the statement), n null (no argument). */
reel_status sql_query(struct sql *sql, sqlite3_stmt **out, reel_error *err, const char *text, const char *format, ...);
/* *row = 1 when there is a row to read, 0 at the end. */
reel_status sql_step(struct sql *sql, sqlite3_stmt *statement, int *row, reel_error *err);
/* sql_query, one run to its end, finalize. */
reel_status sql_run(struct sql *sql, reel_error *err, const char *text, const char *format, ...);
/* The first column of the first row; `otherwise` without a row or for null. */
reel_status sql_int(struct sql *sql, const char *text, int64_t otherwise, int64_t *out, reel_error *err);
/* BEGIN IMMEDIATE: the write lock at once, so that nothing inside fails for want of it. */
reel_status sql_begin(struct sql *sql, reel_error *err);
/* Commits when `status` is OK, else (or when the commit fails) rolls back; returns what came out. */
reel_status sql_end(struct sql *sql, reel_status status, reel_error *err);

#endif
