/* Gathers items that many threads submit into batches for a few workers: a worker takes up to max_batch items that
 * wait, or what there is once the oldest has waited max_wait. The queue is bounded. */
#ifndef SCHED_BATCHER_H
#define SCHED_BATCHER_H

#include <stdint.h>
#include <reel/status.h>

struct batcher;

/* Embedded as first member in what is submitted; the batcher owns it from submit to the call of `run`. */
struct batch_item {
    struct batch_item *next;
    int64_t queued_ns; /* monotonic clock */
    uint64_t key;      /* a batch holds items of one key only (which model, which kind of work) */
};

/* Runs n >= 1 items of one key on worker `worker`; afterwards the items are the function's to free or reuse. */
typedef void (*batch_fn)(void *arg, struct batch_item **items, int n, int worker);

struct batcher_options {
    int workers;         /* >= 1 */
    int max_batch;       /* >= 1 */
    int max_queue;       /* >= 1 */
    int64_t max_wait_ns; /* 0 = take what there is at once */
    batch_fn run;
    void *arg;
};

struct batcher_stats {
    int64_t submitted, refused, batches;
    int queued;
    int64_t wait_ns_sum; /* over all items that have run */
};

reel_status batcher_new(const struct batcher_options *options, struct batcher **out, reel_error *err);
/* BUSY when the queue is full or the batcher drains. Never blocks on work. */
reel_status batcher_submit(struct batcher *batcher, struct batch_item *item, reel_error *err);
/* Refuses new items and returns when all submitted ones have run. */
void batcher_drain(struct batcher *batcher);
/* Drains, ends the workers, frees. Takes NULL. */
void batcher_free(struct batcher *batcher);
void batcher_get_stats(const struct batcher *batcher, struct batcher_stats *stats);

#endif
