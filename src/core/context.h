/* Inside of a reel_context. */
#ifndef CORE_CONTEXT_H
#define CORE_CONTEXT_H

#include <stdatomic.h>
#include <reel/context.h>
#include "core/threads.h"

struct backend;
struct progress_display;

struct reel_context {
    reel_context_options options;
    char device[32];
    struct thread_pool *pool;
    struct backend *backend;          /* opened by the first context_backend() call; see backend/registry.h */
    struct backend *cpu;              /* opened by context_fall_back(), else NULL */
    struct backend *host;             /* opened by context_host_backend(), else NULL */
    struct progress_display *display; /* own display when options.progress is NULL; may be NULL */
    atomic_int cancelled;
};

/* REEL_CANCELLED once reel_context_cancel was called, else REEL_OK. Cheap: ask at every safe point. */
reel_status context_check(const reel_context *ctx, reel_error *err);
__attribute__((format(printf, 3, 4))) void context_log(const reel_context *ctx, reel_log_level level,
                                                       const char *format, ...);
/* Reports progress; calls more often than the display redraws are cheap. Metric NULL = none. */
void context_progress(const reel_context *ctx, const char *stage, const char *unit, int64_t done, int64_t total,
                      const char *metric_name, double metric, int finished);
/* The backend of this context, opened on first use ("auto" falls back to the CPU with one line of
 * notice). */
reel_status context_backend(reel_context *ctx, struct backend **out, reel_error *err);
/* For work ("svd") that *backend has no operators for: under "auto" *backend becomes a CPU backend of this context,
 * with one line of notice; where the device was asked for by name, UNSUPPORTED. */
reel_status context_fall_back(reel_context *ctx, const char *work, struct backend **backend, reel_error *err);
/* For work that several devices do not share: *backend becomes the first of them, with one line of notice. Stays where
 * it is one device. */
void context_first_device(reel_context *ctx, const char *work, struct backend **backend);
/* A backend that works on host memory: the context's own where it is one, else a CPU backend beside it, for what is too
 * small to be worth the way to a device. */
reel_status context_host_backend(reel_context *ctx, struct backend **out, reel_error *err);

/* Seconds on a monotonic clock. */
double clock_seconds(void);
/* Highest resident set of this process so far. */
int64_t peak_rss_bytes(void);

#endif
