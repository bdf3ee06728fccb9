/* A pool of persistent worker threads. */
#ifndef CORE_THREADS_H
#define CORE_THREADS_H

#include <stdint.h>
#include <reel/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct thread_pool;

/* `threads` workers in all, the calling thread being one of them; 1 starts none. */
reel_status thread_pool_new(int threads, struct thread_pool **out, reel_error *err);
void thread_pool_free(struct thread_pool *pool);
int thread_pool_size(const struct thread_pool *pool);

/* Calls fn(arg, task, worker) for task = 0..n_tasks-1, each once, handed out in order to whichever
 * worker is free (0 <= worker < size); returns when all are done. Not reentrant: no calls from inside a
 * task. Results must not depend on which worker ran what. */
typedef void (*task_fn)(void *arg, int64_t task, int worker);
void thread_pool_run(struct thread_pool *pool, int64_t n_tasks, task_fn fn, void *arg);

/* The half-open range of part `part` of n items cut into `parts` parts, sizes equal +-1. */
static inline int64_t part_begin(int64_t n, int64_t parts, int64_t part) {
    int64_t base = n / parts, extra = n % parts;
    return part * base + (part < extra ? part : extra);
}

#ifdef __cplusplus
}
#endif

#endif
