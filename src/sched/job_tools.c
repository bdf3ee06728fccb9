/* What `reel jobs` does: the jobs of a store without a service, or beside one. */
#include <reel/serve.h>
#include <stdlib.h>
#include <time.h>

#include "core/context.h"
#include "core/error.h"
#include "core/json_text.h"
#include "sched/scheduler.h"

static reel_status list_jobs(struct store *store, int64_t id, int limit, json_t **out, reel_error *err) {
    struct store_job job;
    if (id <= 0) {
        reel_error why;
        *out = scheduler_store_jobs(store, limit, &why);
        return *out ? REEL_OK : error_set(err, why.status, "%s", why.message);
    }
    TRY_RETURN(store_job_get(store, id, &job, err));
    *out = json_pack("[o]", scheduler_job_json(&job));
    store_job_clear(&job);
    return REEL_OK;
}

reel_status reel_jobs_list(const char *path, int64_t id, int limit, char **json, reel_error *err) {
    struct store *store;
    json_t *jobs = NULL;
    *json = NULL;
    TRY_RETURN(store_open(path, 1, &store, err));
    reel_status status = list_jobs(store, id, limit, &jobs, err);
    if (status == REEL_OK) {
        *json = json_text(jobs, JSON_COMPACT | JSON_REAL_PRECISION(15));
        if (!*json) status = error_no_memory(err, 0);
    }
    json_decref(jobs);
    store_close(store);
    return status;
}

reel_status reel_jobs_submit(const char *path, const char *spec, int64_t *id, reel_error *err) {
    struct store *store;
    json_error_t where;
    json_t *json = json_loads(spec, JSON_REJECT_DUPLICATES, &where);
    if (!json && where.line < 0) return error_no_memory(err, 0);
    if (!json) return error_set(err, REEL_BAD_INPUT, "the job's spec is not JSON: line %d: %s", where.line, where.text);
    reel_status status = store_open(path, 0, &store, err);
    if (status == REEL_OK) {
        status = scheduler_store_job(store, json, id, err);
        store_close(store);
    }
    json_decref(json);
    return status;
}

reel_status reel_jobs_cancel(const char *path, int64_t id, reel_error *err) {
    struct store *store, *reader;
    /* A missing store is not to be made for this. */
    TRY_RETURN(store_open(path, 1, &reader, err));
    store_close(reader);
    TRY_RETURN(store_open(path, 0, &store, err));
    reel_status status = store_job_cancel(store, id, err);
    store_close(store);
    return status;
}

void reel_jobs_run_options_default(reel_jobs_run_options *options) {
    *options = (reel_jobs_run_options){.device = "auto", .max_running = 1};
}

/* Returns when no job waits or runs any more. */
static reel_status wait_for_all(reel_context *ctx, struct store *store, reel_error *err) {
    static const char *const states[] = {"queued", "running", "cancelling"};
    for (int left = 1; left > 0;) {
        left = 0;
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
            int n;
            TRY_RETURN(store_jobs_in_state(store, states[i], NULL, 0, &n, err));
            left += n;
        }
        if (context_check(ctx, NULL) != REEL_OK)
            return error_set(err, REEL_CANCELLED,
                             "interrupted; jobs that were running wait in the store, to go on later");
        if (left > 0) nanosleep(&(struct timespec){0, 50000000}, NULL);
    }
    return REEL_OK;
}

reel_status reel_jobs_run(reel_context *ctx, const reel_jobs_run_options *options, reel_error *err) {
    reel_status status = REEL_OK;
    struct store *store = NULL, *reader = NULL;
    struct scheduler *scheduler = NULL;
    TRY(store_open(options->store, 1, &reader, err)); /* a missing store is not to be made for this */
    TRY(store_open(options->store, 0, &store, err));
    if (!store_writable(store))
        TRY(error_set(err, REEL_IO, "%s: the store or its folder is read-only", options->store));
    const struct scheduler_options run = {.store = store,
                                          .dataset = options->dataset,
                                          .models_dir = options->models_dir,
                                          .device = options->device,
                                          .threads = options->threads,
                                          .max_running = options->max_running,
                                          .memory_bytes = options->memory_bytes};
    TRY(scheduler_new(&run, &scheduler, err));
    TRY(wait_for_all(ctx, store, err));
cleanup:
    scheduler_free(scheduler);
    store_close(store);
    store_close(reader);
    return status;
}
