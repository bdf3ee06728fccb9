/* The access log: one JSON object a line for each request, e.g.
 *   {"time":"2026-01-02T03:04:05.678Z","address":"127.0.0.1","method":"GET","path":"/healthz","status":200,"bytes":17,
 *    "ms":0.041}
 * The query stays out of it: it may hold what nobody should find in a log. Threads write into buffers of their own; the
 * watchdog writes those out several times a second. */
#ifndef SERVE_ACCESS_LOG_H
#define SERVE_ACCESS_LOG_H

#include <stdint.h>
#include <reel/status.h>

/* One finished request, as the log and the metrics see it. */
struct access_record {
    int daemon; /* thread */
    int route;  /* index among the routes, -1 = none */
    const char *method;
    const char *target; /* raw, with query; NULL = not fit to print */
    const char *address;
    int status;    /* 499: the client left before it was answered */
    int64_t bytes; /* of the body */
    int64_t ns;    /* from the request line to the last byte sent */
};

struct access_log;

/* `path` "-" = standard error; NULL = *out NULL, which all others take. IO names the file. */
reel_status access_log_new(const char *path, int daemons, struct access_log **out, reel_error *err);
void access_log_write(struct access_log *log, const struct access_record *record);
void access_log_flush(struct access_log *log);
/* Opens the file anew (after it was rotated). */
reel_status access_log_reopen(struct access_log *log, reel_error *err);
void access_log_free(struct access_log *log);

#endif
