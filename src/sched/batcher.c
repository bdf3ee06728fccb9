#include "sched/batcher.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "core/error.h"

/* How many waiting items are looked at for the rest of a batch: bounds the time under the lock when keys alternate. */
enum { LOOK_AHEAD_BATCHES = 8 };

struct batch_worker {
    struct batcher *batcher;
    struct batch_item **items; /* (max_batch,) */
    pthread_t thread;
    int index;
};

struct batcher {
    struct batcher_options options;
    pthread_mutex_t mutex;
    pthread_cond_t idle;  /* workers with nothing to gather */
    pthread_cond_t ripe;  /* the one worker that gathers the next batch */
    pthread_cond_t empty; /* batcher_drain */
    struct batch_item *first, **last;
    struct batcher_stats stats;
    int gathering; /* a worker waits for the first item's batch to fill */
    int running;   /* batches that are being run */
    int draining, stop;
    int started; /* threads to join */
    struct batch_worker workers[];
};

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits on `ripe` until `deadline_ns` at most. */
static void wait_until(struct batcher *batcher, int64_t deadline_ns) {
    const struct timespec deadline = {(time_t)(deadline_ns / 1000000000), (long)(deadline_ns % 1000000000)};
    pthread_cond_timedwait(&batcher->ripe, &batcher->mutex, &deadline);
}

/* Takes the oldest item and the next ones of its key off the queue; returns how many. */
static int take_batch(struct batcher *batcher, struct batch_item **items) {
    int n = 0;
    int64_t looked_at = 0, limit = (int64_t)batcher->options.max_batch * LOOK_AHEAD_BATCHES;
    const uint64_t key = batcher->first->key;
    const int64_t now = now_ns();
    for (struct batch_item **at = &batcher->first; *at && n < batcher->options.max_batch && looked_at < limit;
         looked_at++) {
        struct batch_item *item = *at;
        if (item->key != key) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        if (!item->next) batcher->last = at;
        item->next = NULL;
        batcher->stats.wait_ns_sum += now - item->queued_ns;
        items[n++] = item;
    }
    batcher->stats.queued -= n;
    batcher->stats.batches++;
    return n;
}

/* Waits, as the only one at a time, until a batch is to be run: full by number, old enough, or draining. 0 when the
 * batcher stops. */
static int gather(struct batcher *batcher) {
    while ((!batcher->first || batcher->gathering) && !batcher->stop)
        pthread_cond_wait(&batcher->idle, &batcher->mutex);
    if (batcher->stop && !batcher->first) return 0;
    const int64_t deadline = batcher->first->queued_ns + batcher->options.max_wait_ns;
    batcher->gathering = 1;
    while (batcher->stats.queued < batcher->options.max_batch && !batcher->draining && now_ns() < deadline)
        wait_until(batcher, deadline);
    batcher->gathering = 0;
    return 1;
}

static void *worker_main(void *arg) {
    struct batch_worker *worker = arg;
    struct batcher *batcher = worker->batcher;
    pthread_mutex_lock(&batcher->mutex);
    while (gather(batcher)) {
        int n = take_batch(batcher, worker->items);
        batcher->running++;
        if (batcher->first) pthread_cond_signal(&batcher->idle);
        pthread_mutex_unlock(&batcher->mutex);
        batcher->options.run(batcher->options.arg, worker->items, n, worker->index);
        pthread_mutex_lock(&batcher->mutex);
        if (--batcher->running == 0 && !batcher->first) pthread_cond_broadcast(&batcher->empty);
    }
    pthread_mutex_unlock(&batcher->mutex);
    return NULL;
}

static void init_locks(struct batcher *batcher) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&batcher->mutex, NULL);
    pthread_cond_init(&batcher->idle, NULL);
    pthread_cond_init(&batcher->ripe, &monotonic);
    pthread_cond_init(&batcher->empty, NULL);
    pthread_condattr_destroy(&monotonic);
}

static reel_status start_workers(struct batcher *batcher, reel_error *err) {
    for (int i = 0; i < batcher->options.workers; i++) {
        struct batch_worker *worker = &batcher->workers[i];
        *worker = (struct batch_worker){.batcher = batcher, .index = i};
        const size_t bytes = (size_t)batcher->options.max_batch * sizeof(void *);
        worker->items = malloc(bytes);
        if (!worker->items) return error_no_memory(err, bytes);
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) {
            free(worker->items);
            return error_set(err, REEL_NO_MEMORY, "thread %d of %d could not be started", i + 1,
                             batcher->options.workers);
        }
        batcher->started++;
    }
    return REEL_OK;
}

reel_status batcher_new(const struct batcher_options *options, struct batcher **out, reel_error *err) {
    *out = NULL;
    if (options->workers < 1 || options->max_batch < 1 || options->max_queue < 1 || options->max_wait_ns < 0)
        return error_set(err, REEL_INVALID_ARGUMENT,
                         "workers, batch and queue must be at least 1 and the wait at least 0 (found %d, %d, %d, %lld)",
                         options->workers, options->max_batch, options->max_queue, (long long)options->max_wait_ns);
    size_t bytes = sizeof(struct batcher) + (size_t)options->workers * sizeof(struct batch_worker);
    struct batcher *batcher = calloc(1, bytes);
    if (!batcher) return error_no_memory(err, bytes);
    batcher->options = *options;
    batcher->last = &batcher->first;
    init_locks(batcher);
    reel_status status = start_workers(batcher, err);
    if (status == REEL_OK)
        *out = batcher;
    else
        batcher_free(batcher);
    return status;
}

reel_status batcher_submit(struct batcher *batcher, struct batch_item *item, reel_error *err) {
    pthread_mutex_lock(&batcher->mutex);
    if (batcher->draining || batcher->stats.queued >= batcher->options.max_queue) {
        int draining = batcher->draining;
        batcher->stats.refused++;
        pthread_mutex_unlock(&batcher->mutex);
        return draining ? error_set(err, REEL_BUSY, "the service is stopping")
                        : error_set(err, REEL_BUSY, "%d requests wait already", batcher->options.max_queue);
    }
    item->queued_ns = now_ns();
    item->next = NULL;
    *batcher->last = item;
    batcher->last = &item->next;
    batcher->stats.submitted++;
    batcher->stats.queued++;
    if (!batcher->gathering)
        pthread_cond_signal(&batcher->idle);
    else if (batcher->stats.queued == batcher->options.max_batch)
        pthread_cond_signal(&batcher->ripe);
    pthread_mutex_unlock(&batcher->mutex);
    return REEL_OK;
}

void batcher_drain(struct batcher *batcher) {
    pthread_mutex_lock(&batcher->mutex);
    batcher->draining = 1;
    pthread_cond_broadcast(&batcher->ripe);
    while (batcher->first || batcher->running) pthread_cond_wait(&batcher->empty, &batcher->mutex);
    pthread_mutex_unlock(&batcher->mutex);
}

void batcher_free(struct batcher *batcher) {
    if (!batcher) return;
    if (batcher->started > 0) batcher_drain(batcher);
    pthread_mutex_lock(&batcher->mutex);
    batcher->stop = 1;
    pthread_cond_broadcast(&batcher->idle);
    pthread_mutex_unlock(&batcher->mutex);
    for (int i = 0; i < batcher->started; i++) {
        pthread_join(batcher->workers[i].thread, NULL);
        free(batcher->workers[i].items);
    }
    pthread_cond_destroy(&batcher->empty);
    pthread_cond_destroy(&batcher->ripe);
    pthread_cond_destroy(&batcher->idle);
    pthread_mutex_destroy(&batcher->mutex);
    free(batcher);
}

void batcher_get_stats(const struct batcher *batcher, struct batcher_stats *stats) {
    struct batcher *locked = (struct batcher *)(uintptr_t)batcher;
    pthread_mutex_lock(&locked->mutex);
    *stats = batcher->stats;
    pthread_mutex_unlock(&locked->mutex);
}
