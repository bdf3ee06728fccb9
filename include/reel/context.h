/* A context carries what every long call needs and no global may hold: threads, device, progress,
 * log and the cancel flag. One context serves one caller thread at a time; several contexts may
 * live side by side. */
#ifndef REEL_CONTEXT_H
#define REEL_CONTEXT_H

#include <stdint.h>
#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_context reel_context;

typedef enum reel_log_level { REEL_LOG_ERROR, REEL_LOG_WARNING, REEL_LOG_INFO, REEL_LOG_DEBUG } reel_log_level;

/* Where a stage of work stands. `total` is 0 while it is unknown. */
typedef struct reel_progress {
    const char *stage;       /* "parse ratings", "fold 2/5 epoch 7/20"; valid during the call only */
    const char *unit;        /* "ratings", "bytes", ...: what done and total count */
    int64_t done;            /* units finished */
    int64_t total;           /* units in all, 0 = unknown */
    const char *metric_name; /* "rmse" or NULL */
    double metric;           /* its latest value */
    int finished;            /* 1 on the stage's last call */
} reel_progress;

typedef void (*reel_progress_fn)(void *user_data, const reel_progress *progress);
typedef void (*reel_log_fn)(void *user_data, reel_log_level level, const char *message);

typedef enum reel_progress_mode {
    REEL_PROGRESS_NONE, /* the library's default: silent */
    REEL_PROGRESS_AUTO, /* bar on stderr if it is a terminal, else plain lines */
    REEL_PROGRESS_PLAIN /* a line a stage on stderr */
} reel_progress_mode;

typedef struct reel_context_options {
    int threads;                      /* 0 = as many as the process may run on; 1..1024 */
    const char *device;               /* "auto", "cpu", "cuda", "cuda:N", "cuda:N+M", "cuda:all"; NULL = "auto" */
    reel_progress_mode progress_mode; /* used when `progress` is NULL */
    reel_progress_fn progress;        /* own display, may be NULL */
    reel_log_fn log;                  /* NULL = warnings and errors to stderr */
    void *user_data;                  /* handed to both callbacks */
    reel_log_level log_level;         /* the most talkative level that is passed on */
} reel_context_options;

REEL_API void reel_context_options_default(reel_context_options *options);
/* `options` may be NULL (defaults). On success *out is the caller's, to free. Errors:
 * INVALID_ARGUMENT, NO_MEMORY, DEVICE (a device asked for by name that does not work). */
REEL_API reel_status reel_context_new(const reel_context_options *options, reel_context **out, reel_error *err);
REEL_API void reel_context_free(reel_context *ctx);
/* Asks the running call to stop at its next safe point with REEL_CANCELLED. Async-signal-safe. */
REEL_API void reel_context_cancel(reel_context *ctx);
/* Clears an earlier cancel, so that the context can be used again. */
REEL_API void reel_context_resume(reel_context *ctx);
REEL_API int reel_context_threads(const reel_context *ctx);
/* Name of the backend in use: "cpu", "cuda", or of several GPUs "cuda:0+1". */
REEL_API const char *reel_context_backend(const reel_context *ctx);

/* Version "0.1.0", and the commit this library was built from ("unknown" outside a checkout). */
REEL_API const char *reel_version(void);
REEL_API const char *reel_build_commit(void);
/* What this machine and build offer (CPU features, threads, BLAS, devices, what to install for what
 * is missing) as a JSON object; the caller frees it with reel_string_free. NULL when out of memory. */
REEL_API char *reel_doctor_json(void);

#ifdef __cplusplus
}
#endif
#endif
