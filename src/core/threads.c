#include "core/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "core/error.h"

struct worker {
    struct thread_pool *pool;
    pthread_t thread;
    int index;
};

struct thread_pool {
    int size;
    int started; /* workers 1..started run as threads; worker 0 is the caller */
    pthread_mutex_t mutex;
    pthread_cond_t work, idle;
    uint64_t generation; /* grows with each run; workers wait for a change */
    int open;            /* a run takes workers: from its start until the caller finds no task left */
    int running;         /* workers that joined the current run and have not left it */
    int stop;
    task_fn fn;
    void *arg;
    int64_t n_tasks;
    atomic_llong next_task;
    struct worker workers[];
};

static void run_tasks(struct thread_pool *pool, int worker) {
    for (;;) {
        int64_t task = atomic_fetch_add_explicit(&pool->next_task, 1, memory_order_relaxed);
        if (task >= pool->n_tasks) return;
        pool->fn(pool->arg, task, worker);
    }
}

static void *worker_main(void *arg) {
    struct worker *worker = arg;
    struct thread_pool *pool = worker->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (!(pool->open && pool->generation != seen) && !pool->stop) pthread_cond_wait(&pool->work, &pool->mutex);
        if (pool->stop) break;
        seen = pool->generation;
        pool->running++;
        pthread_mutex_unlock(&pool->mutex);
        run_tasks(pool, worker->index);
        pthread_mutex_lock(&pool->mutex);
        if (--pool->running == 0) pthread_cond_signal(&pool->idle);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

reel_status thread_pool_new(int threads, struct thread_pool **out, reel_error *err) {
    *out = NULL;
    if (threads < 1 || threads > 1024)
        return error_set(err, REEL_INVALID_ARGUMENT, "threads must be 1..1024 (found %d)", threads);
    size_t bytes = sizeof(struct thread_pool) + (size_t)threads * sizeof(struct worker);
    struct thread_pool *pool = calloc(1, bytes);
    if (!pool) return error_no_memory(err, bytes);
    pool->size = threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->idle, NULL);
    for (int i = 1; i < threads; i++) {
        pool->workers[i] = (struct worker){.pool = pool, .index = i};
        if (pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]) != 0) {
            thread_pool_free(pool);
            return error_set(err, REEL_NO_MEMORY, "thread %d of %d could not be started", i, threads);
        }
        pool->started = i;
    }
    *out = pool;
    return REEL_OK;
}

void thread_pool_free(struct thread_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->mutex);
    pool->stop = 1;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int i = 1; i <= pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

int thread_pool_size(const struct thread_pool *pool) {
    return pool->size;
}

void thread_pool_run(struct thread_pool *pool, int64_t n_tasks, task_fn fn, void *arg) {
    if (pool->started == 0 || n_tasks <= 1) {
        for (int64_t task = 0; task < n_tasks; task++) fn(arg, task, 0);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    pool->fn = fn;
    pool->arg = arg;
    pool->n_tasks = n_tasks;
    atomic_store_explicit(&pool->next_task, 0, memory_order_relaxed);
    pool->open = 1;
    pool->generation++;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    run_tasks(pool, 0);
    /* Only workers that got going are waited for: on a busy machine short runs end before the others wake up. */
    pthread_mutex_lock(&pool->mutex);
    pool->open = 0;
    while (pool->running > 0) pthread_cond_wait(&pool->idle, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}
