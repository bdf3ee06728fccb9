#include "store/sql.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "core/error.h"

enum { LOCK_WAIT_MS = 5000 };

reel_status sql_fail(const struct sql *sql, int code, reel_error *err) {
    const char *path = sql->path;
    const int os_error = sql->handle ? sqlite3_system_errno(sql->handle) : 0;
    switch (code & 0xff) {
    case SQLITE_FULL:
        return error_set(err, REEL_IO, "%s: the disk is full; nothing was stored", path);
    case SQLITE_READONLY:
        return error_set(err, REEL_IO, "%s: the store or its folder is read-only", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return error_set(err, REEL_BUSY, "%s: another program holds the store locked", path);
    case SQLITE_NOTADB:
        return error_set(err, REEL_BAD_INPUT, "%s: is not a store (not an SQLite file)", path);
    case SQLITE_NOMEM:
        return error_no_memory(err, 0);
    case SQLITE_CANTOPEN:
        errno = os_error ? os_error : ENOENT;
        return error_errno(err, REEL_IO, "%s: the store cannot be opened", path);
    case SQLITE_IOERR:
        if (os_error == 0) return error_set(err, REEL_IO, "%s: %s", path, sqlite3_errstr(code));
        errno = os_error;
        return error_errno(err, REEL_IO, "%s: reading or writing the store failed", path);
    default:
        /* CORRUPT, and statements that do not fit the tables that were found. */
        return error_set(err, REEL_CORRUPT, "%s: the store is damaged (%s)", path,
                         sql->handle ? sqlite3_errmsg(sql->handle) : sqlite3_errstr(code));
    }
}

reel_status sql_open(struct sql *sql, const char *path, int flags, reel_error *err) {
    reel_status status = REEL_OK;
    sql->path = path;
    int code = sqlite3_open_v2(path, &sql->handle, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code == SQLITE_OK) code = sqlite3_busy_timeout(sql->handle, LOCK_WAIT_MS);
    /* A store may come from a stranger: its schema must not run code of its own. */
    if (code == SQLITE_OK) code = sqlite3_db_config(sql->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (code == SQLITE_OK) code = sqlite3_db_config(sql->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (code == SQLITE_OK) code = sqlite3_db_config(sql->handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    if (code == SQLITE_OK) code = sqlite3_db_config(sql->handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
    if (code == SQLITE_OK) return REEL_OK;
    status = sql_fail(sql, code, err);
    sql_close(sql);
    return status;
}

void sql_close(struct sql *sql) {
    /* The last connection puts the log back into the file if it may, but does not wait for a lock to do so. */
    if (sql->handle) (void)sqlite3_busy_timeout(sql->handle, 0);
    sqlite3_close(sql->handle);
    sql->handle = NULL;
}

reel_status sql_exec(struct sql *sql, const char *text, reel_error *err) {
    int code = sqlite3_exec(sql->handle, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? REEL_OK : sql_fail(sql, code, err);
}

static int bind(sqlite3_stmt *statement, const char *format, va_list args) {
    int code = SQLITE_OK;
    for (int i = 1; *format && code == SQLITE_OK; format++, i++) {
        switch (*format) {
        case 'i':
            code = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
            break;
        case 'd':
            code = sqlite3_bind_double(statement, i, va_arg(args, double));
            break;
        case 't':
            code = sqlite3_bind_text(statement, i, va_arg(args, const char *), -1, SQLITE_STATIC);
            break;
        default:
            code = sqlite3_bind_null(statement, i);
        }
    }
    return code;
}

static reel_status query(struct sql *sql, sqlite3_stmt **out, reel_error *err, const char *text, const char *format,
                         va_list args) {
    int code = sqlite3_prepare_v2(sql->handle, text, -1, out, NULL);
    if (code == SQLITE_OK) code = bind(*out, format, args);
    if (code == SQLITE_OK) return REEL_OK;
    reel_status status = sql_fail(sql, code, err);
    sqlite3_finalize(*out);
    *out = NULL;
    return status;
}

reel_status sql_query(struct sql *sql, sqlite3_stmt **out, reel_error *err, const char *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    reel_status status = query(sql, out, err, text, format, args);
    va_end(args);
    return status;
}

reel_status sql_step(struct sql *sql, sqlite3_stmt *statement, int *row, reel_error *err) {
    int code = sqlite3_step(statement);
    *row = code == SQLITE_ROW;
    return code == SQLITE_ROW || code == SQLITE_DONE ? REEL_OK : sql_fail(sql, code, err);
}

reel_status sql_run(struct sql *sql, reel_error *err, const char *text, const char *format, ...) {
    sqlite3_stmt *statement;
    va_list args;
    va_start(args, format);
    reel_status status = query(sql, &statement, err, text, format, args);
    va_end(args);
    if (status != REEL_OK) return status;
    int row = 1;
    while (status == REEL_OK && row) status = sql_step(sql, statement, &row, err);
    sqlite3_finalize(statement);
    return status;
}

reel_status sql_int(struct sql *sql, const char *text, int64_t otherwise, int64_t *out, reel_error *err) {
    sqlite3_stmt *statement;
    int row = 0;
    *out = otherwise;
    TRY_RETURN(sql_query(sql, &statement, err, text, ""));
    reel_status status = sql_step(sql, statement, &row, err);
    if (row && sqlite3_column_type(statement, 0) != SQLITE_NULL) *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return status;
}

reel_status sql_begin(struct sql *sql, reel_error *err) {
    return sql_exec(sql, "BEGIN IMMEDIATE", err);
}

reel_status sql_end(struct sql *sql, reel_status status, reel_error *err) {
    if (status == REEL_OK) status = sql_exec(sql, "COMMIT", err);
    /* A full disk may have rolled back already; what a rollback itself answers changes nothing. */
    if (status != REEL_OK && !sqlite3_get_autocommit(sql->handle)) (void)sql_exec(sql, "ROLLBACK", NULL);
    return status;
}
