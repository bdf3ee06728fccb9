/* Jobs: train, cv, cluster, precompute. They wait in the store by priority (higher first, then oldest), run on the
 * host's devices as memory allows, report progress, can be cancelled, and after a crash go on from their checkpoint.
 *
 * A job's spec is a JSON object, checked in full when submitted (BAD_INPUT says what is wrong):
 *   {"kind":"train","algorithm":"svd","params":{"factors":"50"},"seed":1,"holdout":0.1,"split":"random","model":"name",
 *    "priority":0}
 *   {"kind":"cv","algorithm":"svd","params":{},"folds":5,"split":"random","seed":1}
 *   {"kind":"cluster","k":4,"affinity":"polynomial","min_ratings":0,"max_ratings":0,"seed":1}
 *   {"kind":"precompute","model":"name"}
 * kind, algorithm and precompute's model are needed; model of a training is the algorithm's name unless said, and any
 * kind takes a priority (-100..100, default 0). Names are [a-z0-9_-]{1,32}; no parameter may be a path.
 * A job as JSON: {"id","kind","state","priority","spec","progress":{"stage","unit","done","total","metric_name",
 * "metric"},"result","error","created","started","finished","attempts"}; states queued, running, done, failed,
 * cancelled; what is not there yet is null, times are seconds since 1970. */
#ifndef SCHED_SCHEDULER_H
#define SCHED_SCHEDULER_H

#include <jansson.h>
#include "store/store.h"

struct scheduler;

/* What a finished job made, called on the job's thread: `path` of a model or cluster file to load under `name`
 * ("" = nothing to load); for precompute the callback does the work itself and reports through `ctx`. */
typedef reel_status (*scheduler_done_fn)(void *arg, reel_context *ctx, const char *kind, const char *name,
                                         const char *path, reel_error *err);

struct scheduler_options {
    struct store *store;
    const char *dataset;    /* path; opened by each job */
    const char *models_dir; /* NAME.reel, clusters.reel, and job-ID/ for checkpoints */
    const char *device;     /* "auto", "cpu", "cuda:N", "cuda:all", or several: "cuda:0,cuda:1,cpu" */
    int threads;            /* of one job; 0 = all */
    int max_running;        /* jobs at the same time on the CPU, default 1; one a GPU */
    int64_t memory_bytes; /* a job that is estimated to need more waits for others, or fails if it never fits; 0 = what
                             the machine has free at that time */
    int checkpoint_every; /* 0 = the trainers' default */
    scheduler_done_fn done; /* may be NULL */
    void *arg;
};

/* Jobs found "running" in the store (a crash) are queued again, to resume; the fifth crash fails a job. BUSY when
 * another process runs this store's jobs. With a store that cannot be written nothing runs, but jobs can be listed. */
reel_status scheduler_new(const struct scheduler_options *options, struct scheduler **out, reel_error *err);
/* Stops running jobs at their next safe point (they stay "queued" with their checkpoint, to resume), then frees. */
void scheduler_free(struct scheduler *scheduler);
reel_status scheduler_submit(struct scheduler *scheduler, const json_t *spec, int64_t *id, reel_error *err);
/* NOT_FOUND; INVALID_ARGUMENT for a job that has ended. A running one stops at its next safe point. */
reel_status scheduler_cancel(struct scheduler *scheduler, int64_t id, reel_error *err);
/* New references; NULL with NOT_FOUND or NO_MEMORY in *err. The list is newest first. */
json_t *scheduler_job(struct scheduler *scheduler, int64_t id, reel_error *err);
json_t *scheduler_jobs(struct scheduler *scheduler, int limit, reel_error *err);
int scheduler_queued(const struct scheduler *scheduler);

/* The same straight from and to a store, for `reel jobs`: whoever claimed the store's jobs (a service) sees new ones
 * within a second. */
reel_status scheduler_store_job(struct store *store, const json_t *spec, int64_t *id, reel_error *err);
json_t *scheduler_store_jobs(struct store *store, int limit, reel_error *err);
json_t *scheduler_job_json(const struct store_job *job);

#endif
