/* A job as JSON, as the service and `reel jobs` show it. */
#include <string.h>

#include "core/error.h"
#include "sched/scheduler.h"

/* The JSON of a column; null for NULL and for text that does not parse (a damaged store). */
static json_t *parsed(const char *text) {
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    return value ? value : json_null();
}

static json_t *time_or_null(int64_t seconds) {
    return seconds > 0 ? json_integer((json_int_t)seconds) : json_null();
}

json_t *scheduler_job_json(const struct store_job *job) {
    /* A job that is asked to stop runs until it does. */
    const char *state = strcmp(job->state, "cancelling") == 0 ? "running" : job->state;
    return json_pack("{s:I,s:s,s:s,s:i,s:o,s:o,s:o,s:s?,s:o,s:o,s:o,s:i}", "id", (json_int_t)job->id, "kind", job->kind,
                     "state", state, "priority", job->priority, "spec", parsed(job->spec), "progress",
                     parsed(job->progress), "result", parsed(job->result), "error", job->error, "created",
                     time_or_null(job->created), "started", time_or_null(job->started), "finished",
                     time_or_null(job->finished), "attempts", job->attempts);
}

json_t *scheduler_store_jobs(struct store *store, int limit, reel_error *err) {
    struct store_job *jobs;
    int n;
    if (store_jobs(store, limit, &jobs, &n, err) != REEL_OK) return NULL;
    json_t *array = json_array();
    for (int i = 0; array && i < n; i++) {
        if (json_array_append_new(array, scheduler_job_json(&jobs[i])) == 0) continue;
        json_decref(array);
        array = NULL;
    }
    store_jobs_free(jobs, n);
    if (!array) error_no_memory(err, 0);
    return array;
}
