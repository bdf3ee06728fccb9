/* The store: one SQLite file (WAL, synchronous=FULL) with what changes while serving, namely live ratings and jobs,
 * and with source system A's three collections (users, movies, metadata) as tables.
 *
 * Writes go through one writer thread that commits whatever has gathered as one transaction (group commit); a write's
 * `done` runs after its transaction is on disk. Reads of live ratings come from an overlay in memory that is loaded
 * at open and changed right after each commit, so no request waits for SQLite.
 *
 * Schema (meta.schema_version = 1; a newer one is refused with a sentence):
 *   meta(key TEXT PRIMARY KEY, value TEXT)               schema_version, dataset.fingerprint
 *   users(user_id INTEGER PRIMARY KEY, user_rt_mean REAL, n_ratings INTEGER, cluster INTEGER NULL)
 *   movies(movie_id INTEGER PRIMARY KEY, title TEXT, year INTEGER NULL, movie_rt_mean REAL NULL, popularity INTEGER,
 *          genres TEXT (JSON array), clusters TEXT (JSON array))
 *   metadata(movie_id INTEGER PRIMARY KEY, imdb_id INTEGER NULL, tmdb_id INTEGER NULL, revenue INTEGER NULL,
 *          runtime REAL NULL, genres TEXT (JSON array))
 *   ratings(user_id INTEGER, movie_id INTEGER, half_stars INTEGER NULL, time INTEGER, PRIMARY KEY(user_id, movie_id))
 *          half_stars NULL = the user took the rating away
 *   jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT, state TEXT, priority INTEGER, spec TEXT (JSON),
 *          progress TEXT (JSON) NULL, result TEXT (JSON) NULL, error TEXT NULL, created INTEGER, started INTEGER NULL,
 *          finished INTEGER NULL, attempts INTEGER)
 * The SQLite application_id is "Reel" (0x5265656c): a file without it that has tables is of another program. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "data/dataset.h"

struct store;

/* Opens or makes the file and starts the writer. `read_only` 1: no writer; writes answer UNSUPPORTED. A file of another
 * kind, a newer schema or a locked file is an error that names it. A store whose file or folder cannot be written
 * opens too: reads work, writes answer IO. ":memory:" makes one that lives in memory alone.
 * BAD_INPUT (not a store), NOT_FOUND (read_only), CORRUPT, BUSY (locked), IO, NO_MEMORY. */
reel_status store_open(const char *path, int read_only, struct store **out, reel_error *err);
/* Writes what is queued, then closes. Takes NULL. */
void store_close(struct store *store);

/* One live rating: the user's latest word on a movie. */
struct store_rating {
    int32_t movie_id;
    uint8_t half_stars; /* 1..10; 0 = taken away */
    uint32_t time;
};

/* Called on the writer thread: OK after the transaction is durable; else IO (disk full, read-only), BUSY (another
 * program holds the file locked), CORRUPT or NO_MEMORY with a sentence, and the rating is not stored. */
typedef void (*store_done_fn)(void *arg, reel_status status, const char *message);
/* Queues one write and returns at once; `done` will be called unless an error comes back here. BUSY: the queue is full.
 * UNSUPPORTED, IO: read-only. INVALID_ARGUMENT: a negative id, half_stars > 10. half_stars 0 deletes. Any user id >= 0
 * is taken, known to the dataset or not. */
reel_status store_rate(struct store *store, int32_t user_id, struct store_rating rating, store_done_fn done, void *arg,
                       reel_error *err);
/* The same, returning when durable. */
reel_status store_rate_wait(struct store *store, int32_t user_id, struct store_rating rating, reel_error *err);

/* The overlay. A user's version starts at 0 and changes with every committed write of that user (it may also change
 * with another user's: it is kept by hash); lock-free, for cache keys. */
uint64_t store_user_version(const struct store *store, int32_t user_id);
/* Copies the live ratings of a user, ascending movie ids, into `out` (capacity `max`); returns how many there are
 * (which may be more than max). 0 without any lock when the user has none. */
int64_t store_user_ratings(const struct store *store, int32_t user_id, struct store_rating *out, int64_t max);
/* Calls fn for every live rating, users ascending, on a snapshot. */
typedef reel_status (*store_rating_fn)(void *arg, int32_t user_id, const struct store_rating *rating, reel_error *err);
reel_status store_each_rating(struct store *store, store_rating_fn fn, void *arg, reel_error *err);

/* A's collections, filled from a dataset and (may be NULL) the cluster of each user (n_users,), -1 = none, in one
 * transaction; kept when the dataset's fingerprint and the clusters are those already there. */
reel_status store_fill(struct store *store, const struct reel_dataset *dataset, const int32_t *user_clusters,
                       reel_error *err);
/* Writes users.ndjson, movies.ndjson, metadata.ndjson into a folder (each atomically), one JSON object a line, as
 * mongoimport takes them; `counts` (may be NULL) gets the lines of each. NOT_FOUND before the first store_fill. */
enum { STORE_COLLECTIONS = 3 };
reel_status store_export(struct store *store, const char *dir, int64_t counts[STORE_COLLECTIONS], reel_error *err);

/* Jobs, as rows. States: queued, running, cancelling (running, and asked to stop), done, failed, cancelled. Every
 * change of state is one transaction that checks the state it starts from, so that the service and `reel jobs` may
 * work on one store at the same time. Used by sched/ alone. */
struct store_job {
    int64_t id;
    char kind[16], state[16];
    int priority, attempts;
    char *spec, *progress, *result, *error; /* owned; NULL where the row has NULL */
    int64_t created, started, finished;     /* seconds since 1970, 0 = not yet */
};
reel_status store_job_insert(struct store *store, const char *kind, int priority, const char *spec, int64_t *id,
                             reel_error *err);
/* queued -> running, one attempt more. *started = 0 when it is not queued any more. */
reel_status store_job_start(struct store *store, int64_t id, int *started, reel_error *err);
/* Writes the progress of a running job; the one write that does not wait for the disk. */
reel_status store_job_progress(struct store *store, int64_t id, const char *progress, reel_error *err);
/* running or cancelling -> done, failed or cancelled; or back to queued, the attempt not counted (the service
 * stops). `result` and `error` may be NULL. */
reel_status store_job_finish(struct store *store, int64_t id, const char *state, const char *result, const char *error,
                             reel_error *err);
/* queued -> cancelled; running -> cancelling, which whoever runs it notices. NOT_FOUND; INVALID_ARGUMENT for a job that
 * has ended. */
reel_status store_job_cancel(struct store *store, int64_t id, reel_error *err);
/* After a crash: running -> queued, or failed after `max_attempts`; cancelling -> cancelled. */
reel_status store_jobs_recover(struct store *store, int max_attempts, reel_error *err);
/* The ids of jobs in `state` in the order they are to run: highest priority, then oldest. Writes up to `max` of them
 * and the number of all to *n. */
reel_status store_jobs_in_state(struct store *store, const char *state, int64_t *ids, int max, int *n, reel_error *err);
/* Newest first; `limit` <= 0 = all. The array and its strings are the caller's: store_jobs_free. */
reel_status store_jobs(struct store *store, int limit, struct store_job **out, int *n, reel_error *err);
reel_status store_job_get(struct store *store, int64_t id, struct store_job *out, reel_error *err);
void store_job_clear(struct store_job *job);
void store_jobs_free(struct store_job *jobs, int n);

/* Makes this process the one that runs the store's jobs, until store_close or its end: BUSY, naming the file, when
 * another process is. */
reel_status store_claim(struct store *store, reel_error *err);
/* 0 for a store that was opened read-only or lies on a read-only disk. */
int store_writable(const struct store *store);
const char *store_path(const struct store *store);

#endif
