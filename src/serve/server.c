/* The life of a server: options, start, reload, drain, stop, and the watchdog thread. */
#include "serve/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "core/context.h"
#include "core/error.h"
#include "serve/access_log.h"
#include "serve/auth.h"
#include "serve/daemon.h"
#include "serve/metrics.h"
#include "serve/openapi.h"

enum { WATCHDOG_MS = 100, PATH_BYTES = 4096, RESERVED_DESCRIPTORS = 256, DAEMONS_MAX = 256 };

struct loaded_model {
    char name[33];
    char path[PATH_BYTES];
};

struct server_internals {
    struct arena texts; /* the options' strings */
    struct router *router;
    struct front *front;
    int daemons;
    pthread_mutex_t reload_lock;
    uint64_t generation; /* under reload_lock, as are the lists */
    reel_serve_model models[SNAPSHOT_MODELS_MAX];
    struct loaded_model loaded[SNAPSHOT_MODELS_MAX];
    char clusters[PATH_BYTES];
    pthread_t watchdog;
    int watchdog_runs;
    _Atomic int stopping;
};

struct reel_server {
    struct service service;
    struct server_internals internals;
};

/* ---- options ---- */

void reel_serve_options_default(reel_serve_options *options) {
    *options = (reel_serve_options){
        .device = "auto",
        .bind = "127.0.0.1",
        .max_connections = 20000,
        .request_deadline_ms = 5000,
        .max_body_bytes = 1 << 20,
        .cache_bytes = 256 << 20,
        .max_queue = 4096,
        .max_batch = 64,
        .max_wait_us = 200,
    };
}

static int usable_cpus(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > DAEMONS_MAX ? DAEMONS_MAX : (int)n;
}

/* As many descriptors as the system lets this process have; the connections are cut to what they allow. */
static void raise_descriptors(reel_serve_options *options) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    rlim_t wanted = (rlim_t)options->max_connections + RESERVED_DESCRIPTORS;
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max == RLIM_INFINITY || limit.rlim_max > wanted ? wanted : limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < wanted && limit.rlim_cur > 2 * RESERVED_DESCRIPTORS)
        options->max_connections = (int)limit.rlim_cur - RESERVED_DESCRIPTORS;
}

static reel_status copy_text(struct arena *arena, const char **text, reel_error *err) {
    if (!*text) return REEL_OK;
    *text = arena_strndup(arena, *text, strlen(*text));
    return *text ? REEL_OK : error_no_memory(err, 0);
}

static reel_status set_model(struct server_internals *internals, size_t i, const char *name, const char *path,
                             reel_error *err) {
    struct loaded_model *loaded = &internals->loaded[i];
    if (strcmp(name, "clusters") == 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "a model cannot be called clusters: that is the clusters' name");
    if (strlen(name) >= sizeof loaded->name || strlen(path) >= sizeof loaded->path)
        return error_set(err, REEL_INVALID_ARGUMENT, "a model's name or path is too long: %.80s", name);
    memcpy(loaded->name, name, strlen(name) + 1);
    memcpy(loaded->path, path, strlen(path) + 1);
    internals->models[i] = (reel_serve_model){loaded->name, loaded->path};
    return REEL_OK;
}

static reel_status copy_options(struct reel_server *server, const reel_serve_options *given, reel_error *err) {
    reel_serve_options *options = &server->service.options;
    struct server_internals *internals = &server->internals;
    *options = *given;
    const char **texts[] = {&options->dataset,     &options->store,  &options->models_dir,   &options->bind,
                            &options->unix_socket, &options->device, &options->api_key_file, &options->auth_secret_file,
                            &options->access_log};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) TRY_RETURN(copy_text(&internals->texts, texts[i], err));
    if (!options->dataset) return error_set(err, REEL_INVALID_ARGUMENT, "a dataset is needed");
    if (options->n_models > SNAPSHOT_MODELS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "at most %d models can be served (found %zu)", SNAPSHOT_MODELS_MAX,
                         options->n_models);
    for (size_t i = 0; i < options->n_models; i++)
        TRY_RETURN(set_model(internals, i, given->models[i].name, given->models[i].path, err));
    options->models = internals->models;
    if (options->clusters) {
        if (strlen(options->clusters) >= sizeof internals->clusters)
            return error_set(err, REEL_INVALID_ARGUMENT, "the path of the clusters is too long");
        memcpy(internals->clusters, options->clusters, strlen(options->clusters) + 1);
        options->clusters = internals->clusters;
    }
    if (!options->bind) options->bind = "127.0.0.1";
    if (!options->device) options->device = "auto";
    return REEL_OK;
}

static reel_status check_options(reel_serve_options *options, reel_error *err) {
    const struct {
        const char *name;
        int64_t value, min, max;
    } ranges[] = {{"daemons", options->daemons, 0, DAEMONS_MAX},
                  {"workers", options->workers, 0, 1024},
                  {"max connections", options->max_connections, 1, 1000000},
                  {"max connections per address", options->max_connections_per_address, 0, 1000000},
                  {"rate limit", options->rate_limit, 0, 1000000},
                  {"request deadline in ms", options->request_deadline_ms, 10, 3600000},
                  {"max body bytes", options->max_body_bytes, 1024, 1 << 30},
                  {"cache bytes", options->cache_bytes, 0, INT64_MAX},
                  {"max queue", options->max_queue, 1, 1 << 24},
                  {"max batch", options->max_batch, 1, 65536},
                  {"max wait in us", options->max_wait_us, 0, 1000000}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max)
            return error_set(err, REEL_INVALID_ARGUMENT, "%s must be %lld..%lld (found %lld)", ranges[i].name,
                             (long long)ranges[i].min, (long long)ranges[i].max, (long long)ranges[i].value);
    if (!options->daemons) options->daemons = usable_cpus();
    if (!options->workers) options->workers = usable_cpus();
    return REEL_OK;
}

/* ---- reload ---- */

/* Under reload_lock. */
static reel_status load(struct service *service, const char *fresh, reel_error *err) {
    struct snapshot *next;
    const struct snapshot *previous = snapshot_pin(service->snapshots, -1);
    reel_status status =
        snapshot_load(&service->options, previous, fresh, ++service->internals->generation, &next, err);
    if (status == REEL_OK) snapshot_swap(service->snapshots, next);
    snapshot_release(previous);
    return status;
}

/* The collections of the dataset that is loaded now; a store that cannot be written keeps what it has. */
static reel_status fill_store(struct service *service, reel_error *err) {
    if (!service->store || !store_writable(service->store)) return REEL_OK;
    const struct snapshot *snapshot = snapshot_pin(service->snapshots, -1);
    reel_status status = store_fill(service->store, snapshot->dataset, snapshot->user_clusters, err);
    snapshot_release(snapshot);
    return status;
}

reel_status service_reload(struct service *service, reel_error *err) {
    pthread_mutex_lock(&service->internals->reload_lock);
    reel_status status = load(service, NULL, err);
    if (status == REEL_OK) status = fill_store(service, err);
    pthread_mutex_unlock(&service->internals->reload_lock);
    return status;
}

/* Names a file for clusters; what was there comes back on failure. */
static reel_status reload_clusters(struct service *service, const char *path, reel_error *err) {
    struct server_internals *internals = service->internals;
    char before[PATH_BYTES];
    const char *had = service->options.clusters;
    memcpy(before, internals->clusters, sizeof before);
    if (!path && !had) return error_set(err, REEL_NOT_FOUND, "no clusters are loaded");
    if (path && strlen(path) >= sizeof internals->clusters)
        return error_set(err, REEL_INVALID_ARGUMENT, "the path of the clusters is too long");
    if (path) memcpy(internals->clusters, path, strlen(path) + 1);
    service->options.clusters = internals->clusters;
    reel_status status = load(service, "clusters", err);
    if (status == REEL_OK) return status;
    memcpy(internals->clusters, before, sizeof before);
    service->options.clusters = had;
    return status;
}

static reel_status reload_model(struct service *service, const char *name, const char *path, reel_error *err) {
    struct server_internals *internals = service->internals;
    size_t i = 0, n = service->options.n_models;
    while (i < n && strcmp(internals->models[i].name, name) != 0) i++;
    if (i == n && !path) return error_set(err, REEL_NOT_FOUND, "no model called %.40s is loaded", name);
    if (i == SNAPSHOT_MODELS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "%d models are loaded already", SNAPSHOT_MODELS_MAX);
    struct loaded_model before = internals->loaded[i];
    if (path) TRY_RETURN(set_model(internals, i, name, path, err));
    if (i == n) service->options.n_models++;
    reel_status status = load(service, name, err);
    if (status == REEL_OK) return status;
    internals->loaded[i] = before;
    service->options.n_models = n;
    return status;
}

reel_status service_reload_model(struct service *service, const char *name, const char *path, reel_error *err) {
    pthread_mutex_lock(&service->internals->reload_lock);
    int clusters = strcmp(name, "clusters") == 0;
    reel_status status = clusters ? reload_clusters(service, path, err) : reload_model(service, name, path, err);
    pthread_mutex_unlock(&service->internals->reload_lock);
    return status;
}

reel_status reel_server_reload(reel_server *server, reel_error *err) {
    TRY_RETURN(access_log_reopen(server->service.log, err));
    return service_reload(&server->service, err);
}

/* ---- work ---- */

static void run_works(void *arg, struct batch_item **items, int n, int worker) {
    (void)arg;
    struct work **works = (struct work **)(void *)items; /* the item is a work's first member */
    works[0]->run(works, n, worker);
}

enum request_outcome service_defer(struct request *request, struct work *work, uint64_t key) {
    work->item.key = key;
    work->request = request;
    if (batcher_submit(request_service(request)->batcher, &work->item, NULL) == REEL_OK) return REQUEST_DEFERRED;
    request_problem(request, 503, "too many requests are waiting to be scored");
    return REQUEST_DONE;
}

int service_connections(const struct service *service) {
    return service->internals->front ? front_connections(service->internals->front) : 0;
}

/* ---- start and stop ---- */

static void sleep_ms(long ms) {
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

static void *watch(void *arg) {
    struct reel_server *server = arg;
    while (!atomic_load(&server->internals.stopping)) {
        front_sweep(server->internals.front);
        access_log_flush(server->service.log);
        sleep_ms(WATCHDOG_MS);
    }
    return NULL;
}

static reel_status start_parts(struct reel_server *server, reel_error *err) {
    struct service *service = &server->service;
    struct server_internals *internals = &server->internals;
    const reel_serve_options *options = &service->options;
    const struct route *const *const lists[] = {system_routes, service_routes};
    const struct batcher_options batching = {
        .workers = options->workers,
        .max_batch = options->max_batch,
        .max_queue = options->max_queue,
        .max_wait_ns = (int64_t)options->max_wait_us * 1000,
        .run = run_works,
    };
    internals->daemons = options->daemons;
    TRY_RETURN(router_new(lists, 2, &internals->router, err));
    service->router = internals->router;
    TRY_RETURN(auth_new(options->api_key_file, options->auth_secret_file, options->auth_all, &service->auth, err));
    TRY_RETURN(access_log_new(options->access_log, options->daemons, &service->log, err));
    TRY_RETURN(metrics_new(options->daemons, internals->router, &service->metrics, err));
    TRY_RETURN(cache_new(options->cache_bytes, &service->cache, err));
    TRY_RETURN(snapshot_cell_new(options->daemons, &service->snapshots, err));
    TRY_RETURN(batcher_new(&batching, &service->batcher, err));
    if (options->store) TRY_RETURN(store_open(options->store, 0, &service->store, err));
    TRY_RETURN(front_start(service, internals->router, options->daemons, &internals->front, err));
    if (pthread_create(&internals->watchdog, NULL, watch, server) != 0)
        return error_set(err, REEL_NO_MEMORY, "no thread could be started");
    internals->watchdog_runs = 1;
    return REEL_OK;
}

/* A job has made a file: load it. Nothing else is left to do for it. */
static reel_status on_job_done(void *arg, reel_context *ctx, const char *kind, const char *name, const char *path,
                               reel_error *err) {
    struct service *service = arg;
    if (strcmp(kind, "precompute") == 0) return precompute_suggestions(service, ctx, name, err);
    if (!path[0]) return REEL_OK;
    return service_reload_model(service, strcmp(kind, "cluster") == 0 ? "clusters" : name, path, err);
}

/* Where jobs write: as said, else the store's folder. */
static void choose_models_dir(const reel_serve_options *options, char *out, size_t size) {
    const char *slash = strrchr(options->store, '/');
    if (options->models_dir)
        snprintf(out, size, "%s", options->models_dir);
    else if (slash)
        snprintf(out, size, "%.*s", (int)(slash - options->store + (slash == options->store)), options->store);
    else
        snprintf(out, size, ".");
}

static reel_status start_jobs(struct service *service, reel_error *err) {
    char models_dir[PATH_BYTES];
    choose_models_dir(&service->options, models_dir, sizeof models_dir);
    const struct scheduler_options scheduling = {
        .store = service->store,
        .dataset = service->options.dataset,
        .models_dir = models_dir,
        .device = service->options.device,
        .done = on_job_done,
        .arg = service,
    };
    return scheduler_new(&scheduling, &service->scheduler, err);
}

reel_status reel_server_start(reel_context *ctx, const reel_serve_options *options, reel_server **out,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct reel_server *server;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&server, 1, err));
    server->service.internals = &server->internals;
    pthread_mutex_init(&server->internals.reload_lock, NULL);
    TRY(copy_options(server, options, err));
    TRY(check_options(&server->service.options, err));
    raise_descriptors(&server->service.options);
    TRY(start_parts(server, err));
    TRY(context_check(ctx, err));
    TRY(service_reload(&server->service, err));
    if (server->service.store) TRY(start_jobs(&server->service, err));
    atomic_store(&server->service.loaded, 1);
    atomic_store(&server->service.ready, 1);
    *out = server;
    server = NULL;
cleanup:
    reel_server_stop(server, 0);
    return status;
}

int reel_server_port(const reel_server *server) {
    return front_port(server->internals.front);
}

static void drain(struct reel_server *server, int drain_ms) {
    struct front *front = server->internals.front;
    atomic_store(&server->service.ready, 0);
    atomic_store(&server->service.draining, DRAIN_POLITE);
    front_quiesce(front);
    for (int waited = 0; waited < drain_ms && (front_running(front) > 0 || front_connections(front) > 0); waited += 10)
        sleep_ms(10);
    /* What is still being received or sent is cut; what is being worked on ends soon. */
    atomic_store(&server->service.draining, DRAIN_NOW);
    while (front_working(front) > 0) {
        front_sweep(front);
        sleep_ms(1);
    }
}

void reel_server_stop(reel_server *server, int drain_ms) {
    if (!server) return;
    struct service *service = &server->service;
    struct server_internals *internals = &server->internals;
    if (internals->front) drain(server, drain_ms);
    atomic_store(&internals->stopping, 1);
    if (internals->watchdog_runs) pthread_join(internals->watchdog, NULL);
    front_stop(internals->front);
    scheduler_free(service->scheduler);
    batcher_free(service->batcher);
    store_close(service->store);
    snapshot_cell_free(service->snapshots);
    cache_free(service->cache);
    access_log_free(service->log);
    metrics_free(service->metrics);
    auth_free(service->auth);
    router_free(internals->router);
    pthread_mutex_destroy(&internals->reload_lock);
    arena_free(&internals->texts);
    mem_free(server);
}
