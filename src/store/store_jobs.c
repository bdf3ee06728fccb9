/* Jobs as rows. Each change of state names in its WHERE the states it may start from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/error.h"
#include "core/mem.h"
#include "store/store_state.h"

#define JOB_COLUMNS "id, kind, state, priority, attempts, spec, progress, result, error, created, started, finished"

static int64_t now(void) {
    return (int64_t)time(NULL);
}

/* ---- writing ---- */

/* Opens a write transaction of the store's writer connection, whose lock it takes. */
static reel_status begin(struct store *store, reel_error *err) {
    TRY_RETURN(store_check_writable(store, err));
    pthread_mutex_lock(&store->writer.mutex);
    reel_status status = sql_begin(&store->writer, err);
    if (status != REEL_OK) pthread_mutex_unlock(&store->writer.mutex);
    return status;
}

static reel_status end(struct store *store, reel_status status, reel_error *err) {
    status = sql_end(&store->writer, status, err);
    pthread_mutex_unlock(&store->writer.mutex);
    return status;
}

static int changed(const struct store *store) {
    return sqlite3_changes(store->writer.handle);
}

reel_status store_job_insert(struct store *store, const char *kind, int priority, const char *spec, int64_t *id,
                             reel_error *err) {
    TRY_RETURN(begin(store, err));
    reel_status status = sql_run(&store->writer, err,
                                 "INSERT INTO jobs(kind, state, priority, spec, created, attempts)"
                                 " VALUES(?, 'queued', ?, ?, ?, 0)",
                                 "titi", kind, (int64_t)priority, spec, now());
    *id = sqlite3_last_insert_rowid(store->writer.handle);
    return end(store, status, err);
}

reel_status store_job_start(struct store *store, int64_t id, int *started, reel_error *err) {
    *started = 0;
    TRY_RETURN(begin(store, err));
    reel_status status = sql_run(&store->writer, err,
                                 "UPDATE jobs SET state = 'running', started = ?, progress = NULL,"
                                 " attempts = attempts + 1 WHERE id = ? AND state = 'queued'",
                                 "ii", now(), id);
    *started = status == REEL_OK && changed(store) == 1;
    status = end(store, status, err);
    if (status != REEL_OK) *started = 0;
    return status;
}

reel_status store_job_progress(struct store *store, int64_t id, const char *progress, reel_error *err) {
    TRY_RETURN(store_check_writable(store, err));
    pthread_mutex_lock(&store->writer.mutex);
    /* A progress that a power cut takes back is no loss; the next commit of anything else syncs it too. */
    reel_status status = sql_exec(&store->writer, "PRAGMA synchronous = NORMAL", err);
    if (status == REEL_OK)
        status = sql_run(&store->writer, err,
                         "UPDATE jobs SET progress = ? WHERE id = ? AND state IN ('running', 'cancelling')", "ti",
                         progress, id);
    reel_status restored = sql_exec(&store->writer, "PRAGMA synchronous = FULL", status == REEL_OK ? err : NULL);
    pthread_mutex_unlock(&store->writer.mutex);
    return status == REEL_OK ? restored : status;
}

reel_status store_job_finish(struct store *store, int64_t id, const char *state, const char *result, const char *error,
                             reel_error *err) {
    TRY_RETURN(begin(store, err));
    reel_status status;
    if (strcmp(state, "queued") == 0)
        status = sql_run(&store->writer, err,
                         "UPDATE jobs SET state = iif(state = 'running', 'queued', 'cancelled'), started = NULL,"
                         " finished = iif(state = 'running', NULL, ?), attempts = max(attempts - 1, 0)"
                         " WHERE id = ? AND state IN ('running', 'cancelling')",
                         "ii", now(), id);
    else
        status = sql_run(&store->writer, err,
                         "UPDATE jobs SET state = ?, result = ?, error = ?, finished = ?"
                         " WHERE id = ? AND state IN ('running', 'cancelling')",
                         "tttii", state, result, error, now(), id);
    if (status == REEL_OK && changed(store) != 1)
        status = error_set(err, REEL_NOT_FOUND, "job %lld is not running", (long long)id);
    return end(store, status, err);
}

/* Why a job could not be cancelled; OK when it is on its way to being so already. */
static reel_status explain_cancel(struct store *store, int64_t id, reel_error *err) {
    sqlite3_stmt *statement;
    int row;
    TRY_RETURN(sql_query(&store->writer, &statement, err, "SELECT state FROM jobs WHERE id = ?", "i", id));
    reel_status status = sql_step(&store->writer, statement, &row, err);
    const char *state = row ? (const char *)sqlite3_column_text(statement, 0) : "";
    if (status == REEL_OK && !row)
        status = error_set(err, REEL_NOT_FOUND, "there is no job %lld", (long long)id);
    else if (status == REEL_OK && (!state || strcmp(state, "cancelling") != 0))
        status = error_set(err, REEL_INVALID_ARGUMENT, "job %lld has ended (%s)", (long long)id, state ? state : "");
    sqlite3_finalize(statement);
    return status;
}

reel_status store_job_cancel(struct store *store, int64_t id, reel_error *err) {
    TRY_RETURN(begin(store, err));
    reel_status status = sql_run(&store->writer, err,
                                 "UPDATE jobs SET finished = iif(state = 'queued', ?, NULL),"
                                 " state = iif(state = 'queued', 'cancelled', 'cancelling')"
                                 " WHERE id = ? AND state IN ('queued', 'running')",
                                 "ii", now(), id);
    if (status == REEL_OK && changed(store) == 0) status = explain_cancel(store, id, err);
    return end(store, status, err);
}

reel_status store_jobs_recover(struct store *store, int max_attempts, reel_error *err) {
    TRY_RETURN(begin(store, err));
    reel_status status =
        sql_run(&store->writer, err, "UPDATE jobs SET state = 'cancelled', finished = ? WHERE state = 'cancelling'",
                "i", now());
    if (status == REEL_OK)
        status = sql_run(&store->writer, err,
                         "UPDATE jobs SET state = 'failed', finished = ?, error ="
                         " 'the process ended ' || attempts || ' times while the job ran'"
                         " WHERE state = 'running' AND attempts >= ?",
                         "ii", now(), (int64_t)max_attempts);
    if (status == REEL_OK)
        status = sql_run(&store->writer, err, "UPDATE jobs SET state = 'queued' WHERE state = 'running'", "");
    return end(store, status, err);
}

/* ---- reading ---- */

void store_job_clear(struct store_job *job) {
    free(job->spec);
    free(job->progress);
    free(job->result);
    free(job->error);
    *job = (struct store_job){0};
}

void store_jobs_free(struct store_job *jobs, int n) {
    for (int i = 0; jobs && i < n; i++) store_job_clear(&jobs[i]);
    mem_free(jobs);
}

/* A column's text, malloc'd; NULL stays NULL. */
static reel_status copy_text(sqlite3_stmt *row, int column, char **out, reel_error *err) {
    *out = NULL;
    if (sqlite3_column_type(row, column) == SQLITE_NULL) return REEL_OK;
    const char *text = (const char *)sqlite3_column_text(row, column);
    *out = text ? strdup(text) : NULL;
    return *out ? REEL_OK : error_no_memory(err, 0);
}

static void copy_word(sqlite3_stmt *row, int column, char *out, size_t size) {
    const char *text = (const char *)sqlite3_column_text(row, column);
    snprintf(out, size, "%s", text ? text : "");
}

/* The columns as in JOB_COLUMNS. On a failure *job is empty. */
static reel_status read_job(sqlite3_stmt *row, struct store_job *job, reel_error *err) {
    *job = (struct store_job){.id = sqlite3_column_int64(row, 0),
                              .priority = sqlite3_column_int(row, 3),
                              .attempts = sqlite3_column_int(row, 4),
                              .created = sqlite3_column_int64(row, 9),
                              .started = sqlite3_column_int64(row, 10),
                              .finished = sqlite3_column_int64(row, 11)};
    copy_word(row, 1, job->kind, sizeof job->kind);
    copy_word(row, 2, job->state, sizeof job->state);
    reel_status status = copy_text(row, 5, &job->spec, err);
    if (status == REEL_OK) status = copy_text(row, 6, &job->progress, err);
    if (status == REEL_OK) status = copy_text(row, 7, &job->result, err);
    if (status == REEL_OK) status = copy_text(row, 8, &job->error, err);
    if (status != REEL_OK) store_job_clear(job);
    return status;
}

/* All rows of a statement, as a growing array. */
static reel_status read_jobs(struct sql *sql, sqlite3_stmt *statement, struct store_job **jobs, int *n,
                             reel_error *err) {
    int capacity = 0;
    for (int row;;) {
        TRY_RETURN(sql_step(sql, statement, &row, err));
        if (!row) return REEL_OK;
        if (*n == capacity) {
            struct store_job *grown;
            int more = capacity ? 2 * capacity : 16;
            TRY_RETURN(MEM_NEW(&grown, more, err));
            if (*n) memcpy(grown, *jobs, (size_t)*n * sizeof *grown);
            mem_free(*jobs);
            *jobs = grown;
            capacity = more;
        }
        TRY_RETURN(read_job(statement, &(*jobs)[*n], err));
        ++*n;
    }
}

reel_status store_jobs(struct store *store, int limit, struct store_job **out, int *n, reel_error *err) {
    struct sql *sql = store_reader(store);
    sqlite3_stmt *statement;
    *out = NULL;
    *n = 0;
    pthread_mutex_lock(&sql->mutex);
    reel_status status = sql_query(sql, &statement, err, "SELECT " JOB_COLUMNS " FROM jobs ORDER BY id DESC LIMIT ?",
                                   "i", (int64_t)(limit > 0 ? limit : -1));
    if (status == REEL_OK) {
        status = read_jobs(sql, statement, out, n, err);
        sqlite3_finalize(statement);
    }
    pthread_mutex_unlock(&sql->mutex);
    if (status == REEL_OK) return REEL_OK;
    store_jobs_free(*out, *n);
    *out = NULL;
    *n = 0;
    return status;
}

reel_status store_job_get(struct store *store, int64_t id, struct store_job *out, reel_error *err) {
    struct sql *sql = store_reader(store);
    sqlite3_stmt *statement;
    int row;
    *out = (struct store_job){0};
    pthread_mutex_lock(&sql->mutex);
    reel_status status = sql_query(sql, &statement, err, "SELECT " JOB_COLUMNS " FROM jobs WHERE id = ?", "i", id);
    if (status == REEL_OK) {
        status = sql_step(sql, statement, &row, err);
        if (status == REEL_OK)
            status = row ? read_job(statement, out, err)
                         : error_set(err, REEL_NOT_FOUND, "there is no job %lld", (long long)id);
        sqlite3_finalize(statement);
    }
    pthread_mutex_unlock(&sql->mutex);
    return status;
}

reel_status store_jobs_in_state(struct store *store, const char *state, int64_t *ids, int max, int *n,
                                reel_error *err) {
    struct sql *sql = store_reader(store);
    sqlite3_stmt *statement;
    int row = 1;
    *n = 0;
    pthread_mutex_lock(&sql->mutex);
    reel_status status =
        sql_query(sql, &statement, err, "SELECT id FROM jobs WHERE state = ? ORDER BY priority DESC, id", "t", state);
    while (status == REEL_OK && row) {
        status = sql_step(sql, statement, &row, err);
        if (status != REEL_OK || !row) break;
        if (*n < max) ids[*n] = sqlite3_column_int64(statement, 0);
        ++*n;
    }
    sqlite3_finalize(statement);
    pthread_mutex_unlock(&sql->mutex);
    return status;
}
