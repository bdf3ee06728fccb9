/* The HTTP service and the store of what changes while it runs. Present in builds with REEL_SERVE=ON. */
#ifndef REEL_SERVE_H
#define REEL_SERVE_H

#include <reel/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A model that the service loads: "svd=svd.reel". The first one is the default of B's endpoints. */
typedef struct reel_serve_model {
    const char *name; /* [a-z0-9_-]{1,32} */
    const char *path;
} reel_serve_model;

typedef struct reel_serve_options {
    const char *dataset;             /* path of the dataset file */
    const reel_serve_model *models;  /* (n_models,) */
    size_t n_models;                 /* 0 is fine: movies, users, genre similarity still work */
    const char *clusters;            /* cluster file, or NULL: cluster endpoints answer 404 */
    const char *store;               /* SQLite file, made when missing; NULL = no writes, no jobs */
    const char *models_dir;          /* where jobs write models; NULL = the store's folder */
    const char *device;              /* of jobs: "auto", "cpu", "cuda:N", "cuda:all"; requests are scored on the CPU */
    const char *bind;                /* address, default "127.0.0.1"; ignored with unix_socket */
    int port;                        /* 0 = any free one: reel_server_port tells */
    const char *unix_socket;         /* path, or NULL */
    int daemons;                     /* epoll threads, 0 = one a core */
    int workers;                     /* threads that score uncached requests, 0 = one a core */
    const char *api_key_file;        /* NULL and no auth_secret_file: writing and admin paths are off */
    const char *auth_secret_file;    /* HS256 secret for JWTs */
    int auth_all;                    /* 1: reads need a key too */
    int max_connections;             /* in all; default 20000, cut to what RLIMIT_NOFILE allows */
    int max_connections_per_address; /* default 0 = no limit of its own */
    int rate_limit;                  /* requests a second an address, 0 = none */
    int request_deadline_ms;         /* from first byte of a request to its last; default 5000 */
    int64_t max_body_bytes;          /* default 1 MiB */
    int64_t cache_bytes;             /* finished bodies; default 256 MiB */
    int max_queue;                   /* waiting scoring requests before 503; default 4096 */
    int max_batch;                   /* scoring requests in one backend call; default 64 */
    int max_wait_us;                 /* how long a batch waits to fill; default 200 */
    const char *access_log;          /* JSON lines; "-" = stderr, NULL = none */
} reel_serve_options;

typedef struct reel_server reel_server;

REEL_API void reel_serve_options_default(reel_serve_options *options);
/* Opens everything, starts to listen and returns; /readyz tells when requests are taken. The server works in threads
 * of its own until stopped. `ctx` is used for loading only. Errors: INVALID_ARGUMENT, NOT_FOUND, CORRUPT, MISMATCH,
 * IO (the port is taken: names it), NO_MEMORY. */
REEL_API reel_status reel_server_start(reel_context *ctx, const reel_serve_options *options, reel_server **out,
                                       reel_error *err);
/* The port listened on, 0 for a UNIX socket. */
REEL_API int reel_server_port(const reel_server *server);
/* Loads dataset, models and clusters afresh and swaps them in without failing a request; on an error what was
 * loaded stays. */
REEL_API reel_status reel_server_reload(reel_server *server, reel_error *err);
/* Graceful: no new connections, /readyz 503, running requests and at most `drain_ms` for them, then closed and
 * freed. Takes NULL. */
REEL_API void reel_server_stop(reel_server *server, int drain_ms);

/* ---- the store without a service (or beside one) ---- */

/* What putting a store's live ratings into a dataset came to: ratings that ... */
typedef struct reel_merge_report {
    int64_t n_live;            /* the store has, deletions among them */
    int64_t n_added;           /* are new */
    int64_t n_changed;         /* replaced one of the dataset */
    int64_t n_removed;         /* took one of the dataset away */
    int64_t n_older;           /* lost against a newer one of the dataset */
    int64_t n_unknown;         /* were of movies that the dataset lacks, and dropped */
    int64_t n_void;            /* took away what was not there */
    int32_t unknown_movies[5]; /* ids of the first unknown movies, -1 = none */
    int32_t n_new_users;
    int32_t n_users, n_movies; /* of the new dataset */
    int64_t n_ratings;
    int64_t bytes; /* of its file */
    double seconds;
    char fingerprint[33];
} reel_merge_report;

/* Writes a new dataset: `dataset` with the store's live ratings, the latest word winning, deletions carried out, users
 * added. Atomic and verified like reel_dataset_import; `out_path` may be `dataset` itself. `report` may be NULL. */
REEL_API reel_status reel_store_merge(reel_context *ctx, const char *store, const char *dataset, const char *out_path,
                                      reel_merge_report *report, reel_error *err);
/* Writes users.ndjson, movies.ndjson and metadata.ndjson into a folder for mongoimport: what a service put into the
 * store, or made of a dataset file. *json = {"files":[...],"users":N,"movies":N,"metadata":N}, to free with
 * reel_string_free. */
REEL_API reel_status reel_store_export(reel_context *ctx, const char *store, const char *dir, char **json,
                                       reel_error *err);
REEL_API reel_status reel_dataset_export(reel_context *ctx, const char *dataset, const char *dir, char **json,
                                         reel_error *err);

/* Jobs of a store; a service that runs on it notices new and cancelled ones within a second. *json is an array, newest
 * first, of {"id","kind","state","priority","spec","progress","result","error","created","started","finished",
 * "attempts"}; `limit` <= 0 = all, `id` > 0 = that one alone (NOT_FOUND). To free with reel_string_free. */
REEL_API reel_status reel_jobs_list(const char *store, int64_t id, int limit, char **json, reel_error *err);
/* `spec` as JSON text; BAD_INPUT says what is wrong with it. The store is made when missing. */
REEL_API reel_status reel_jobs_submit(const char *store, const char *spec, int64_t *id, reel_error *err);
/* NOT_FOUND; INVALID_ARGUMENT for a job that has ended. */
REEL_API reel_status reel_jobs_cancel(const char *store, int64_t id, reel_error *err);

typedef struct reel_jobs_run_options {
    const char *store, *dataset; /* paths */
    const char *models_dir;      /* where models and checkpoints go */
    const char *device;          /* "auto", "cpu", "cuda:N", "cuda:all", or several: "cuda:0,cuda:1" (a job each) */
    int threads;                 /* of a job, 0 = all */
    int max_running;             /* jobs at a time on the CPU, default 1 */
    int64_t memory_bytes;        /* for all jobs together, 0 = what is free */
} reel_jobs_run_options;

REEL_API void reel_jobs_run_options_default(reel_jobs_run_options *options);
/* Runs the store's jobs here, without a service, until none waits; those that a crash interrupted go on from their
 * checkpoints. When the context is cancelled running jobs go back to the queue, to resume, and CANCELLED comes back.
 * BUSY when another process runs this store's jobs. */
REEL_API reel_status reel_jobs_run(reel_context *ctx, const reel_jobs_run_options *options, reel_error *err);

#ifdef __cplusplus
}
#endif
#endif
