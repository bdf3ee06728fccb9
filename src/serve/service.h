/* What one running service owns; handlers reach it through request_service. */
#ifndef SERVE_SERVICE_H
#define SERVE_SERVICE_H

#include "sched/batcher.h"
#include "sched/scheduler.h"
#include "serve/snapshot.h"
#include "store/store.h"

struct body_cache;
struct metrics;
struct access_log;

struct service {
    reel_serve_options options;  /* its strings live as long as the service; models lists what is loaded now */
    struct store *store;         /* NULL = none configured */
    struct scheduler *scheduler; /* NULL without a store */
    struct batcher *batcher;     /* uncached scoring and other slow work */
    struct body_cache *cache;
    struct metrics *metrics;
    struct access_log *log;
    struct snapshot_cell *snapshots;
    struct auth *auth;
    const struct router *router;
    struct server_internals *internals;  /* server.c's */
    _Atomic int loaded, ready, draining; /* loaded: all of the above is there; ready: and requests are welcome */
};

/* Swaps in what has changed on disk. Reloads are serialised; a failure leaves what is loaded. These block: call them
 * from a worker or a job, never from a handler. */
reel_status service_reload(struct service *service, reel_error *err);
/* Loads one model afresh. `path` NULL = where it was loaded from (NOT_FOUND for an unknown name), else a file that is
 * from now on loaded under this name. "clusters" is the cluster file where `path` is one. */
reel_status service_reload_model(struct service *service, const char *name, const char *path, reel_error *err);

/* Cache of finished bodies, by 128-bit key; sharded, bounded by bytes, least recently used out first. A hit costs no
 * lock that another hit holds for long. */
struct body *cache_get(struct body_cache *cache, uint64_t key0, uint64_t key1); /* a reference, or NULL */
void cache_put(struct body_cache *cache, uint64_t key0, uint64_t key1,
               struct body *body); /* takes a reference of its own */

/* Work for a batcher's worker. `run` gets all items of a batch (same key); it answers and finishes their requests. */
struct work {
    struct batch_item item; /* first member */
    struct request *request;
    void (*run)(struct work **works, int n, int worker);
};
/* Queues it under `key` (works of one key have one `run`) and returns REQUEST_DEFERRED, or answers 503 with Retry-After
 * and returns REQUEST_DONE; then the work is not taken over. */
enum request_outcome service_defer(struct request *request, struct work *work, uint64_t key);

#endif
