/* The tables of a store, and what is no store of ours. */
#include "core/error.h"
#include "store/store_state.h"

#define APPLICATION_ID 0x5265656c /* "Reel" */
enum { SCHEMA_VERSION = 1 };

static const char create_tables[] =
    "PRAGMA application_id = 1382376812;"
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
    "CREATE TABLE users(user_id INTEGER PRIMARY KEY, user_rt_mean REAL, n_ratings INTEGER NOT NULL, cluster INTEGER);"
    "CREATE TABLE movies(movie_id INTEGER PRIMARY KEY, title TEXT NOT NULL, year INTEGER, movie_rt_mean REAL,"
    " popularity INTEGER NOT NULL, genres TEXT NOT NULL, clusters TEXT NOT NULL);"
    "CREATE TABLE metadata(movie_id INTEGER PRIMARY KEY, imdb_id INTEGER, tmdb_id INTEGER, revenue INTEGER,"
    " runtime REAL, genres TEXT NOT NULL);"
    "CREATE TABLE ratings(user_id INTEGER NOT NULL, movie_id INTEGER NOT NULL, half_stars INTEGER,"
    " time INTEGER NOT NULL, PRIMARY KEY(user_id, movie_id)) WITHOUT ROWID;"
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, state TEXT NOT NULL,"
    " priority INTEGER NOT NULL, spec TEXT NOT NULL, progress TEXT, result TEXT, error TEXT,"
    " created INTEGER NOT NULL, started INTEGER, finished INTEGER, attempts INTEGER NOT NULL);"
    "CREATE INDEX jobs_by_state ON jobs(state, priority, id);"
    "INSERT INTO meta VALUES('schema_version', '1');";
_Static_assert(APPLICATION_ID == 1382376812, "the pragma says the same");

static reel_status check_version(struct sql *sql, reel_error *err) {
    int64_t version;
    TRY_RETURN(sql_int(sql, "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'schema_version'", 0, &version, err));
    if (version == SCHEMA_VERSION) return REEL_OK;
    if (version > SCHEMA_VERSION)
        return error_set(err, REEL_UNSUPPORTED,
                         "%s: the store was made by a newer reel (schema %lld; this one knows up to %d)", sql->path,
                         (long long)version, SCHEMA_VERSION);
    return error_set(err, REEL_CORRUPT, "%s: the store is damaged (schema version %lld)", sql->path,
                     (long long)version);
}

/* *fresh = 1 for a file without tables. */
static reel_status identify(struct sql *sql, int *fresh, reel_error *err) {
    int64_t application, tables;
    TRY_RETURN(sql_int(sql, "PRAGMA application_id", 0, &application, err));
    TRY_RETURN(sql_int(sql, "SELECT count(*) FROM sqlite_schema", 0, &tables, err));
    *fresh = tables == 0 && application == 0;
    if (*fresh) return REEL_OK;
    if (application != APPLICATION_ID)
        return error_set(err, REEL_BAD_INPUT, "%s: is an SQLite file of another program, not a store", sql->path);
    return check_version(sql, err);
}

static reel_status create(struct sql *sql, reel_error *err) {
    int fresh;
    TRY_RETURN(sql_begin(sql, err));
    /* Another process may have made the tables while this one waited for the lock. */
    reel_status status = identify(sql, &fresh, err);
    if (status == REEL_OK && fresh) status = sql_exec(sql, create_tables, err);
    return sql_end(sql, status, err);
}

reel_status schema_check(struct sql *sql, int may_create, reel_error *err) {
    int fresh;
    TRY_RETURN(identify(sql, &fresh, err));
    if (!fresh) return REEL_OK;
    if (!may_create) return error_set(err, REEL_BAD_INPUT, "%s: is empty, not a store", sql->path);
    return create(sql, err);
}
