/* The batcher: everything submitted runs exactly once, in batches of one key, within the bounds. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "sched/batcher.h"

struct job {
    struct batch_item item;
    _Atomic int runs;
    int batch; /* size of the batch it ran in */
};

/* What the workers saw; `gate` holds them inside `run` while it is locked. */
struct watch {
    pthread_mutex_t gate;
    _Atomic int largest, mixed, ran, entered;
};

static void run_jobs(void *arg, struct batch_item **items, int n, int worker) {
    struct watch *watch = arg;
    (void)worker;
    atomic_fetch_add(&watch->entered, 1);
    pthread_mutex_lock(&watch->gate);
    pthread_mutex_unlock(&watch->gate);
    for (int i = 0; i < n; i++) {
        struct job *job = (struct job *)items[i];
        if (items[i]->key != items[0]->key) atomic_store(&watch->mixed, 1);
        job->batch = n;
        atomic_fetch_add(&job->runs, 1);
    }
    int largest = atomic_load(&watch->largest);
    while (n > largest && !atomic_compare_exchange_weak(&watch->largest, &largest, n)) continue;
    atomic_fetch_add(&watch->ran, n);
}

static struct batcher *new_batcher(struct watch *watch, int workers, int max_batch, int max_queue, int64_t max_wait) {
    const struct batcher_options options = {workers, max_batch, max_queue, max_wait, run_jobs, watch};
    struct batcher *batcher;
    reel_error err;
    *watch = (struct watch){.gate = PTHREAD_MUTEX_INITIALIZER};
    REQUIRE_OK(batcher_new(&options, &batcher, &err), err);
    return batcher;
}

static void nap(void) {
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

enum { SUBMITTERS = 4, JOBS_EACH = 5000 };

struct submitter {
    struct batcher *batcher;
    struct job *jobs;
    int busy;
};

static void *submit_all(void *arg) {
    struct submitter *submitter = arg;
    for (int i = 0; i < JOBS_EACH; i++) {
        submitter->jobs[i].item.key = (uint64_t)i % 3;
        while (batcher_submit(submitter->batcher, &submitter->jobs[i].item, NULL) == REEL_BUSY) {
            submitter->busy++;
            nap();
        }
    }
    return NULL;
}

static void every_item_runs_once(void) {
    struct watch watch;
    struct batcher *batcher = new_batcher(&watch, 3, 16, 100, 50000);
    struct job *jobs = calloc((size_t)SUBMITTERS * JOBS_EACH, sizeof *jobs);
    struct submitter submitters[SUBMITTERS];
    pthread_t threads[SUBMITTERS];
    for (int i = 0; i < SUBMITTERS; i++) {
        submitters[i] = (struct submitter){batcher, jobs + i * JOBS_EACH, 0};
        pthread_create(&threads[i], NULL, submit_all, &submitters[i]);
    }
    int busy = 0;
    for (int i = 0; i < SUBMITTERS; i++) {
        pthread_join(threads[i], NULL);
        busy += submitters[i].busy;
    }
    batcher_drain(batcher);
    for (int i = 0; i < SUBMITTERS * JOBS_EACH; i++)
        if (jobs[i].runs != 1) CHECK_INT(jobs[i].runs, 1);
    CHECK(!watch.mixed);
    CHECK(watch.largest <= 16);
    struct batcher_stats stats;
    batcher_get_stats(batcher, &stats);
    CHECK_INT(stats.submitted, SUBMITTERS * JOBS_EACH);
    CHECK_INT(stats.refused, busy);
    CHECK_INT(stats.queued, 0);
    CHECK(stats.batches >= SUBMITTERS * JOBS_EACH / 16);
    batcher_free(batcher);
    free(jobs);
}

/* With its only worker held, what waits gathers into full batches, and the queue has an end. */
static void waiting_items_share_a_batch(void) {
    struct watch watch;
    struct batcher *batcher = new_batcher(&watch, 1, 8, 20, 0);
    struct job jobs[22] = {0};
    reel_error err;
    pthread_mutex_lock(&watch.gate);
    CHECK_INT(batcher_submit(batcher, &jobs[0].item, &err), REEL_OK);
    while (!atomic_load(&watch.entered)) nap();
    for (int i = 1; i <= 20; i++) CHECK_INT(batcher_submit(batcher, &jobs[i].item, &err), REEL_OK);
    CHECK_INT(batcher_submit(batcher, &jobs[21].item, &err), REEL_BUSY);
    CHECK_STR(err.message, "20 requests wait already");
    pthread_mutex_unlock(&watch.gate);
    batcher_drain(batcher);
    CHECK_INT(jobs[0].batch, 1);
    CHECK_INT(jobs[1].batch, 8);
    CHECK_INT(jobs[16].batch, 8);
    CHECK_INT(jobs[20].batch, 4);
    CHECK_INT(jobs[21].runs, 0);
    CHECK_INT(batcher_submit(batcher, &jobs[21].item, &err), REEL_BUSY);
    CHECK_STR(err.message, "the service is stopping");
    batcher_free(batcher);
}

/* A batch that is full does not wait for its time: the wait here is longer than any test run. */
static void a_full_batch_runs_at_once(void) {
    struct watch watch;
    struct batcher *batcher = new_batcher(&watch, 2, 4, 100, (int64_t)3600 * 1000000000);
    struct job jobs[4] = {0};
    for (int i = 0; i < 4; i++) CHECK_INT(batcher_submit(batcher, &jobs[i].item, NULL), REEL_OK);
    while (atomic_load(&watch.ran) < 4) nap();
    for (int i = 0; i < 4; i++) CHECK_INT(jobs[i].batch, 4);
    batcher_free(batcher);
}

/* ... and one that is not full runs when its time is up, or when the batcher drains. */
static void a_lonely_item_runs_too(void) {
    struct watch watch;
    struct job job = {0}, late = {0};
    struct batcher *batcher = new_batcher(&watch, 2, 64, 100, 2000000);
    CHECK_INT(batcher_submit(batcher, &job.item, NULL), REEL_OK);
    while (!atomic_load(&job.runs)) nap();
    struct batcher_stats stats;
    batcher_get_stats(batcher, &stats);
    CHECK(stats.wait_ns_sum >= 2000000);
    batcher_free(batcher);
    batcher = new_batcher(&watch, 1, 64, 100, (int64_t)3600 * 1000000000);
    CHECK_INT(batcher_submit(batcher, &late.item, NULL), REEL_OK);
    batcher_free(batcher);
    CHECK_INT(late.runs, 1);
}

static void keys_are_kept_apart_in_order(void) {
    struct watch watch;
    struct batcher *batcher = new_batcher(&watch, 1, 8, 100, 0);
    struct job hold = {0}, jobs[12] = {0};
    pthread_mutex_lock(&watch.gate);
    CHECK_INT(batcher_submit(batcher, &hold.item, NULL), REEL_OK);
    while (!atomic_load(&watch.entered)) nap();
    for (int i = 0; i < 12; i++) {
        jobs[i].item.key = i % 3 == 2 ? 7 : 5;
        CHECK_INT(batcher_submit(batcher, &jobs[i].item, NULL), REEL_OK);
    }
    pthread_mutex_unlock(&watch.gate);
    batcher_drain(batcher);
    CHECK(!watch.mixed);
    for (int i = 0; i < 12; i++) CHECK_INT(jobs[i].batch, i % 3 == 2 ? 4 : 8);
    batcher_free(batcher);
}

static void bad_options_are_refused(void) {
    struct batcher *batcher;
    reel_error err;
    const struct batcher_options options = {.workers = 0, .max_batch = 1, .max_queue = 1, .run = run_jobs};
    CHECK_INT(batcher_new(&options, &batcher, &err), REEL_INVALID_ARGUMENT);
    CHECK(batcher == NULL);
    batcher_free(NULL);
}

int main(void) {
    RUN(every_item_runs_once);
    RUN(waiting_items_share_a_batch);
    RUN(a_full_batch_runs_at_once);
    RUN(a_lonely_item_runs_too);
    RUN(keys_are_kept_apart_in_order);
    RUN(bad_options_are_refused);
    TEST_EXIT();
}
