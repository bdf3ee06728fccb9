/* Workers that run the store's jobs. All decisions (which job, does it fit) are made under one lock; the store's rows
 * are the truth about states, what is here is only what runs in this process. */
#include "sched/scheduler.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "core/context.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/mem.h"
#include "sched/job_cost.h"
#include "sched/job_run.h"
#include "sched/job_spec.h"

enum { POLL_MS = 500, MAX_ATTEMPTS = 5, WORKERS_MAX = 64, CANCELLING_MAX = 64 };
#define PROGRESS_SECONDS 0.5

struct worker {
    struct scheduler *scheduler;
    pthread_t thread;
    char device[32];
    /* under the scheduler's lock: */
    int64_t id; /* of the job that runs here, 0 = none */
    int64_t bytes;
    int cancelled;
    reel_context *ctx; /* NULL until the job's context is made */
    /* under its own: the job's progress */
    pthread_mutex_t progress_lock;
    char *progress; /* JSON, newest */
    double written; /* when progress was last put into the store */
    int unwritten;
};

struct scheduler {
    struct scheduler_options options;
    char *dataset, *models_dir;
    pthread_mutex_t mutex;
    pthread_cond_t wake;  /* workers: something may have changed in the queue */
    pthread_cond_t pause; /* the watcher, and workers that retry a write */
    int stop;
    struct dataset_size size; /* of the file with this stamp */
    struct stat stamp;
    pthread_t watcher;
    int watching;
    int n_workers, started;
    struct worker workers[];
};

/* ---- progress ---- */

static void write_progress(struct worker *worker, int64_t id, double now) {
    if (store_job_progress(worker->scheduler->options.store, id, worker->progress, NULL) == REEL_OK)
        worker->unwritten = 0;
    worker->written = now;
}

/* On the job's thread, often: most calls only look at the clock. */
static void on_progress(void *user_data, const reel_progress *progress) {
    struct worker *worker = user_data;
    const double now = clock_seconds();
    if (pthread_mutex_trylock(&worker->progress_lock) != 0) return;
    if (progress->finished || now - worker->written >= PROGRESS_SECONDS) {
        int measured = progress->metric_name && progress->metric == progress->metric;
        json_t *object = json_pack("{s:s,s:s,s:I,s:I,s:s?,s:o}", "stage", progress->stage, "unit",
                                   progress->unit ? progress->unit : "", "done", (json_int_t)progress->done, "total",
                                   (json_int_t)progress->total, "metric_name", progress->metric_name, "metric",
                                   measured ? json_real(progress->metric) : json_null());
        char *text = json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(object);
        if (text) {
            free(worker->progress);
            worker->progress = text;
            worker->unwritten = 1;
        }
        if (worker->unwritten && now - worker->written >= PROGRESS_SECONDS) write_progress(worker, worker->id, now);
    }
    pthread_mutex_unlock(&worker->progress_lock);
}

/* ---- which job, and does it fit ---- */

/* Opens the dataset file when it is new or has been replaced. */
static reel_status measure_dataset(struct scheduler *scheduler, reel_error *err) {
    struct stat stamp;
    const struct stat *old = &scheduler->stamp;
    if (stat(scheduler->dataset, &stamp) != 0)
        return error_errno(err, REEL_NOT_FOUND, "%s: cannot be opened", scheduler->dataset);
    if (old->st_ino == stamp.st_ino && old->st_dev == stamp.st_dev && old->st_size == stamp.st_size &&
        old->st_mtim.tv_sec == stamp.st_mtim.tv_sec && old->st_mtim.tv_nsec == stamp.st_mtim.tv_nsec)
        return REEL_OK;
    reel_context *ctx;
    reel_context_options options;
    reel_context_options_default(&options);
    options.device = "cpu";
    options.threads = 1;
    TRY_RETURN(reel_context_new(&options, &ctx, err));
    reel_dataset *dataset;
    reel_dataset_info info;
    reel_status status = reel_dataset_open(ctx, scheduler->dataset, &dataset, err);
    if (status == REEL_OK) {
        reel_dataset_get_info(dataset, &info);
        reel_dataset_free(dataset);
        scheduler->size = (struct dataset_size){info.n_users, info.n_movies, info.n_ratings, (int64_t)stamp.st_size};
        scheduler->stamp = stamp;
    }
    reel_context_free(ctx);
    return status;
}

static int64_t bytes_in_use(const struct scheduler *scheduler) {
    int64_t bytes = 0;
    for (int i = 0; i < scheduler->n_workers; i++)
        if (scheduler->workers[i].id) bytes += scheduler->workers[i].bytes;
    return bytes;
}

/* *fits = 0: it has to wait for others. NO_MEMORY: it never fits. */
static reel_status admit(struct scheduler *scheduler, const struct job_spec *spec, int64_t *bytes, int *fits,
                         reel_error *err) {
    TRY_RETURN(measure_dataset(scheduler, err));
    *bytes = job_cost_bytes(spec, &scheduler->size);
    /* What runs has taken an unknown part of its share already: so beside other jobs the free memory must suffice
     * for the new one alone, and a fixed limit for all together. */
    const int64_t in_use = bytes_in_use(scheduler), fixed = scheduler->options.memory_bytes;
    const int64_t limit = fixed > 0 ? fixed : memory_available_bytes();
    *fits = *bytes <= (fixed > 0 ? limit - in_use : limit);
    if (*fits || in_use > 0) return REEL_OK;
    return error_set(err, REEL_NO_MEMORY, "the job needs about %.0f MiB of memory, but %s %.0f MiB",
                     (double)*bytes / (1 << 20), fixed > 0 ? "the limit is" : "the machine has only",
                     (double)limit / (1 << 20));
}

static reel_status parse_spec(const char *text, struct job_spec *spec, reel_error *err) {
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    if (!json) {
        *spec = (struct job_spec){0};
        return error_set(err, REEL_BAD_INPUT, "the job's spec is not JSON");
    }
    reel_status status = job_spec_parse(json, spec, err);
    json_decref(json);
    return status;
}

/* Under the lock: starts the first job of the queue on this worker. 0 when there is none that may start now. A job that
 * can never run is started and failed at once; `*why` then says so. */
static int take_job(struct worker *worker, struct job_spec *spec, reel_error *why) {
    struct scheduler *scheduler = worker->scheduler;
    struct store *store = scheduler->options.store;
    struct store_job job;
    int64_t id;
    int n, fits = 1, started = 0;
    *spec = (struct job_spec){0};
    why->status = REEL_OK;
    if (store_jobs_in_state(store, "queued", &id, 1, &n, NULL) != REEL_OK || n == 0) return 0;
    if (store_job_get(store, id, &job, NULL) != REEL_OK) return 0;
    worker->bytes = 0;
    reel_status status = parse_spec(job.spec, spec, why);
    store_job_clear(&job);
    if (status == REEL_OK) status = admit(scheduler, spec, &worker->bytes, &fits, why);
    if (status != REEL_OK) why->status = status;
    if (!fits && status == REEL_OK) return 0;
    if (store_job_start(store, id, &started, NULL) != REEL_OK || !started) return 0;
    worker->id = id;
    worker->cancelled = 0;
    return 1;
}

/* ---- running ---- */

/* Waits, under the lock, for the stop of the scheduler, POLL_MS at most. */
static void pause_locked(struct scheduler *scheduler) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)POLL_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&scheduler->pause, &scheduler->mutex, &until);
}

/* Makes the job's context known, so that it can be cancelled. */
static reel_status open_context(struct worker *worker, reel_error *err) {
    struct scheduler *scheduler = worker->scheduler;
    reel_context_options options;
    reel_context *ctx;
    reel_context_options_default(&options);
    options.threads = scheduler->options.threads;
    options.device = worker->device;
    options.progress = on_progress;
    options.user_data = worker;
    options.log_level = REEL_LOG_ERROR;
    TRY_RETURN(reel_context_new(&options, &ctx, err));
    worker->unwritten = 0; /* of the job before, whose row could not be written */
    worker->written = 0;
    pthread_mutex_lock(&scheduler->mutex);
    worker->ctx = ctx;
    if (worker->cancelled || scheduler->stop) reel_context_cancel(ctx);
    pthread_mutex_unlock(&scheduler->mutex);
    return REEL_OK;
}

static void close_context(struct worker *worker) {
    pthread_mutex_lock(&worker->scheduler->mutex);
    reel_context *ctx = worker->ctx;
    worker->ctx = NULL;
    pthread_mutex_unlock(&worker->scheduler->mutex);
    reel_context_free(ctx);
}

/* Writes how the job ended; a full disk or a locked store is waited out until the scheduler stops. */
static void finish_job(struct worker *worker, const char *state, const char *result, const char *error) {
    struct scheduler *scheduler = worker->scheduler;
    pthread_mutex_lock(&worker->progress_lock);
    if (worker->unwritten) write_progress(worker, worker->id, clock_seconds());
    pthread_mutex_unlock(&worker->progress_lock);
    for (;;) {
        reel_status status = store_job_finish(scheduler->options.store, worker->id, state, result, error, NULL);
        if (status != REEL_IO && status != REEL_BUSY) return;
        pthread_mutex_lock(&scheduler->mutex);
        int stop = scheduler->stop;
        if (!stop) pause_locked(scheduler);
        pthread_mutex_unlock(&scheduler->mutex);
        if (stop) return;
    }
}

static void run_job(struct worker *worker, const struct job_spec *spec, reel_error *why) {
    struct scheduler *scheduler = worker->scheduler;
    const struct job_place place = {.id = worker->id,
                                    .dataset = scheduler->dataset,
                                    .models_dir = scheduler->models_dir,
                                    .checkpoint_every = scheduler->options.checkpoint_every,
                                    .done = scheduler->options.done,
                                    .arg = scheduler->options.arg};
    char *result = NULL;
    reel_status status = why->status;
    if (status == REEL_OK) status = open_context(worker, why);
    if (status == REEL_OK) status = job_run(worker->ctx, spec, &place, &result, why);
    close_context(worker);
    pthread_mutex_lock(&scheduler->mutex);
    const int cancelled = worker->cancelled;
    pthread_mutex_unlock(&scheduler->mutex);
    if (status == REEL_CANCELLED && !cancelled) {
        finish_job(worker, "queued", NULL, NULL); /* the service stops: the checkpoint stays */
    } else {
        const char *state = status == REEL_OK ? "done" : status == REEL_CANCELLED ? "cancelled" : "failed";
        finish_job(worker, state, result, status == REEL_OK || status == REEL_CANCELLED ? NULL : why->message);
        job_run_forget(&place);
    }
    free(result);
}

static void *worker_main(void *arg) {
    struct worker *worker = arg;
    struct scheduler *scheduler = worker->scheduler;
    struct job_spec spec;
    reel_error why;
    pthread_mutex_lock(&scheduler->mutex);
    while (!scheduler->stop) {
        int taken = take_job(worker, &spec, &why);
        if (taken) {
            pthread_mutex_unlock(&scheduler->mutex);
            run_job(worker, &spec, &why);
            pthread_mutex_lock(&scheduler->mutex);
            worker->id = 0;
            pthread_cond_broadcast(&scheduler->wake); /* its memory is free for a job that waited */
        }
        job_spec_free(&spec);
        if (!taken && !scheduler->stop) pthread_cond_wait(&scheduler->wake, &scheduler->mutex);
    }
    pthread_mutex_unlock(&scheduler->mutex);
    return NULL;
}

/* Under the lock. */
static void cancel_running(struct scheduler *scheduler, int64_t id) {
    for (int i = 0; i < scheduler->n_workers; i++) {
        struct worker *worker = &scheduler->workers[i];
        if (worker->id != id) continue;
        worker->cancelled = 1;
        if (worker->ctx) reel_context_cancel(worker->ctx);
    }
}

/* Looks for what other processes wrote into the store: jobs to run and jobs to stop. */
static void *watcher_main(void *arg) {
    struct scheduler *scheduler = arg;
    struct store *store = scheduler->options.store;
    int64_t ids[CANCELLING_MAX];
    pthread_mutex_lock(&scheduler->mutex);
    while (!scheduler->stop) {
        int n;
        if (store_jobs_in_state(store, "cancelling", ids, CANCELLING_MAX, &n, NULL) == REEL_OK)
            for (int i = 0; i < n && i < CANCELLING_MAX; i++) cancel_running(scheduler, ids[i]);
        pthread_cond_broadcast(&scheduler->wake);
        pause_locked(scheduler);
    }
    pthread_mutex_unlock(&scheduler->mutex);
    return NULL;
}

/* ---- making and ending ---- */

/* "cuda:0,cuda:1,cpu": a worker a GPU, max_running for the others. Returns how many, 0 = too many. */
static int plan_workers(const struct scheduler_options *options, struct worker *workers) {
    const int several = options->max_running > 0 ? options->max_running : 1;
    const char *at = options->device && *options->device ? options->device : "auto";
    int n = 0;
    while (*at) {
        size_t length = strcspn(at, ",");
        for (int i = strncmp(at, "cuda", 4) == 0 ? several - 1 : 0; i < several; i++) {
            if (n == WORKERS_MAX || length >= sizeof workers->device) return 0;
            if (workers) snprintf(workers[n].device, sizeof workers[n].device, "%.*s", (int)length, at);
            n++;
        }
        at += length + (at[length] == ',');
    }
    return n;
}

static reel_status start_threads(struct scheduler *scheduler, reel_error *err) {
    /* A store that cannot be written has no jobs to run, but its list can be read. */
    if (!store_writable(scheduler->options.store)) return REEL_OK;
    TRY_RETURN(store_claim(scheduler->options.store, err));
    TRY_RETURN(store_jobs_recover(scheduler->options.store, MAX_ATTEMPTS, err));
    for (int i = 0; i < scheduler->n_workers; i++) {
        if (pthread_create(&scheduler->workers[i].thread, NULL, worker_main, &scheduler->workers[i]) != 0)
            return error_set(err, REEL_NO_MEMORY, "thread %d of %d could not be started", i + 1, scheduler->n_workers);
        scheduler->started++;
    }
    if (pthread_create(&scheduler->watcher, NULL, watcher_main, scheduler) != 0)
        return error_set(err, REEL_NO_MEMORY, "the scheduler's thread could not be started");
    scheduler->watching = 1;
    return REEL_OK;
}

static void init_locks(struct scheduler *scheduler) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&scheduler->mutex, NULL);
    pthread_cond_init(&scheduler->wake, NULL);
    pthread_cond_init(&scheduler->pause, &monotonic);
    pthread_condattr_destroy(&monotonic);
    for (int i = 0; i < scheduler->n_workers; i++) {
        pthread_mutex_init(&scheduler->workers[i].progress_lock, NULL);
        scheduler->workers[i].scheduler = scheduler;
    }
}

reel_status scheduler_new(const struct scheduler_options *options, struct scheduler **out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = NULL;
    const int n = plan_workers(options, NULL);
    if (n == 0)
        return error_set(err, REEL_INVALID_ARGUMENT,
                         "at most %d jobs at a time, on devices cpu, cuda:N, cuda:all or auto", WORKERS_MAX);
    size_t bytes = sizeof(struct scheduler) + (size_t)n * sizeof(struct worker);
    struct scheduler *scheduler = calloc(1, bytes);
    if (!scheduler) return error_no_memory(err, bytes);
    scheduler->options = *options;
    scheduler->n_workers = n;
    plan_workers(options, scheduler->workers);
    init_locks(scheduler);
    scheduler->dataset = strdup(options->dataset);
    scheduler->models_dir = strdup(options->models_dir);
    if (!scheduler->dataset || !scheduler->models_dir) TRY(error_no_memory(err, 0));
    TRY(start_threads(scheduler, err));
    *out = scheduler;
    return REEL_OK;
cleanup:
    scheduler_free(scheduler);
    return status;
}

void scheduler_free(struct scheduler *scheduler) {
    if (!scheduler) return;
    pthread_mutex_lock(&scheduler->mutex);
    scheduler->stop = 1;
    for (int i = 0; i < scheduler->n_workers; i++)
        if (scheduler->workers[i].ctx) reel_context_cancel(scheduler->workers[i].ctx);
    pthread_cond_broadcast(&scheduler->wake);
    pthread_cond_broadcast(&scheduler->pause);
    pthread_mutex_unlock(&scheduler->mutex);
    for (int i = 0; i < scheduler->started; i++) pthread_join(scheduler->workers[i].thread, NULL);
    if (scheduler->watching) pthread_join(scheduler->watcher, NULL);
    for (int i = 0; i < scheduler->n_workers; i++) {
        pthread_mutex_destroy(&scheduler->workers[i].progress_lock);
        free(scheduler->workers[i].progress);
    }
    pthread_cond_destroy(&scheduler->pause);
    pthread_cond_destroy(&scheduler->wake);
    pthread_mutex_destroy(&scheduler->mutex);
    free(scheduler->models_dir);
    free(scheduler->dataset);
    free(scheduler);
}

/* ---- the callers' side ---- */

reel_status scheduler_store_job(struct store *store, const json_t *spec, int64_t *id, reel_error *err) {
    struct job_spec checked;
    char *text = NULL;
    reel_status status = job_spec_parse(spec, &checked, err);
    if (status == REEL_OK) {
        text = json_text(spec, JSON_COMPACT);
        status = text ? store_job_insert(store, job_kind_name(checked.kind), checked.priority, text, id, err)
                      : error_no_memory(err, 0);
    }
    free(text);
    job_spec_free(&checked);
    return status;
}

reel_status scheduler_submit(struct scheduler *scheduler, const json_t *spec, int64_t *id, reel_error *err) {
    TRY_RETURN(scheduler_store_job(scheduler->options.store, spec, id, err));
    pthread_mutex_lock(&scheduler->mutex);
    pthread_cond_broadcast(&scheduler->wake);
    pthread_mutex_unlock(&scheduler->mutex);
    return REEL_OK;
}

reel_status scheduler_cancel(struct scheduler *scheduler, int64_t id, reel_error *err) {
    TRY_RETURN(store_job_cancel(scheduler->options.store, id, err));
    pthread_mutex_lock(&scheduler->mutex);
    cancel_running(scheduler, id);
    pthread_mutex_unlock(&scheduler->mutex);
    return REEL_OK;
}

json_t *scheduler_job(struct scheduler *scheduler, int64_t id, reel_error *err) {
    struct store_job job;
    if (store_job_get(scheduler->options.store, id, &job, err) != REEL_OK) return NULL;
    json_t *json = scheduler_job_json(&job);
    store_job_clear(&job);
    if (!json) error_no_memory(err, 0);
    return json;
}

json_t *scheduler_jobs(struct scheduler *scheduler, int limit, reel_error *err) {
    return scheduler_store_jobs(scheduler->options.store, limit, err);
}

int scheduler_queued(const struct scheduler *scheduler) {
    int n;
    return store_jobs_in_state(scheduler->options.store, "queued", NULL, 0, &n, NULL) == REEL_OK ? n : 0;
}
