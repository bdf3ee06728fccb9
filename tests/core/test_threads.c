/* The thread pool: each task once, all done on return, plain memory visible afterwards (also under TSan). */
#include <stdint.h>

#include "core/threads.h"
#include "test.h"

enum { MAX_TASKS = 1000 };

struct job {
    int visits[MAX_TASKS]; /* written by one task each, read by the caller afterwards: no atomics on purpose */
    int64_t by_worker[16];
    int size, bad_worker;
};

static void visit(void *arg, int64_t task, int worker) {
    struct job *job = arg;
    if (worker < 0 || worker >= job->size)
        job->bad_worker = 1;
    else
        job->by_worker[worker]++;
    job->visits[task]++;
}

static void test_each_task_once(void) {
    static const int sizes[] = {1, 2, 3, 8};
    static const int64_t counts[] = {0, 1, 2, 7, MAX_TASKS};
    for (size_t s = 0; s < 4; s++) {
        reel_error err;
        struct thread_pool *pool;
        REQUIRE_OK(thread_pool_new(sizes[s], &pool, &err), err);
        CHECK_INT(thread_pool_size(pool), sizes[s]);
        for (int round = 0; round < 50; round++) {
            struct job job = {.size = sizes[s]};
            int64_t n = counts[round % 5], total = 0;
            thread_pool_run(pool, n, visit, &job);
            for (int64_t task = 0; task < MAX_TASKS; task++)
                if (job.visits[task] != (task < n)) CHECK(0 && "a task ran twice or not at all");
            for (int worker = 0; worker < sizes[s]; worker++) total += job.by_worker[worker];
            CHECK_INT(total, n);
            CHECK(!job.bad_worker);
        }
        thread_pool_free(pool);
    }
}

/* A run sees what the run before it wrote: the rounds of blocked SGD depend on this. */
struct chain {
    int64_t *from, *to;
    int64_t n;
};
static void shift(void *arg, int64_t task, int worker) {
    struct chain *chain = arg;
    (void)worker;
    chain->to[(task + 1) % chain->n] = chain->from[task] + 1;
}
static void test_runs_are_ordered(void) {
    reel_error err;
    struct thread_pool *pool;
    int64_t a[37] = {0}, b[37];
    REQUIRE_OK(thread_pool_new(4, &pool, &err), err);
    for (int round = 0; round < 1000; round++) {
        struct chain chain = {round % 2 ? b : a, round % 2 ? a : b, 37};
        thread_pool_run(pool, 37, shift, &chain);
    }
    for (int i = 0; i < 37; i++) CHECK_INT(a[i], 1000);
    thread_pool_free(pool);
}

static void test_arguments(void) {
    reel_error err;
    struct thread_pool *pool;
    CHECK_INT(thread_pool_new(0, &pool, &err), REEL_INVALID_ARGUMENT);
    CHECK(pool == NULL);
    CHECK_INT(thread_pool_new(1025, &pool, &err), REEL_INVALID_ARGUMENT);
    thread_pool_free(NULL);
}

static void test_parts(void) {
    for (int64_t n = 0; n < 40; n++)
        for (int64_t parts = 1; parts < 12; parts++) {
            CHECK_INT(part_begin(n, parts, 0), 0);
            CHECK_INT(part_begin(n, parts, parts), n);
            for (int64_t part = 0; part < parts; part++) {
                int64_t size = part_begin(n, parts, part + 1) - part_begin(n, parts, part);
                CHECK(size == n / parts || size == n / parts + 1);
            }
        }
}

int main(void) {
    RUN(test_each_task_once);
    RUN(test_runs_are_ordered);
    RUN(test_arguments);
    RUN(test_parts);
    TEST_EXIT();
}
