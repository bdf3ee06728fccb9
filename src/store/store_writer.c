/* The writer thread: commits whatever ratings have gathered as one transaction, so that the price of an fsync is
 * shared by all who wait for it. */
#include <stdlib.h>

#include "core/error.h"
#include "core/mem.h"
#include "store/store_state.h"

/* ---- the writer's side ---- */

static reel_status put_ratings(struct store *store, sqlite3_stmt *statement, int n, reel_error *err) {
    for (int i = 0; i < n; i++) {
        const struct pending_rating *pending = &store->queue.group[i];
        if (pending->status != REEL_OK) continue;
        int row, code = sqlite3_bind_int64(statement, 1, pending->user_id);
        if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 2, pending->rating.movie_id);
        if (code == SQLITE_OK)
            code = pending->rating.half_stars ? sqlite3_bind_int(statement, 3, pending->rating.half_stars)
                                              : sqlite3_bind_null(statement, 3);
        if (code == SQLITE_OK) code = sqlite3_bind_int64(statement, 4, pending->rating.time);
        if (code != SQLITE_OK) return sql_fail(&store->writer, code, err);
        TRY_RETURN(sql_step(&store->writer, statement, &row, err));
        sqlite3_reset(statement);
    }
    return REEL_OK;
}

static reel_status commit_group(struct store *store, int n, reel_error *err) {
    struct sql *sql = &store->writer;
    sqlite3_stmt *statement;
    TRY_RETURN(sql_query(sql, &statement, err,
                         "INSERT INTO ratings(user_id, movie_id, half_stars, time) VALUES(?1, ?2, ?3, ?4)"
                         " ON CONFLICT(user_id, movie_id) DO UPDATE SET half_stars = ?3, time = ?4",
                         ""));
    reel_status status = sql_begin(sql, err);
    if (status == REEL_OK) status = put_ratings(store, statement, n, err);
    sqlite3_finalize(statement); /* before the commit: an unfinished statement would hold it up */
    return sqlite3_get_autocommit(sql->handle) ? status : sql_end(sql, status, err);
}

static void write_group(struct store *store, int n) {
    struct pending_rating *group = store->queue.group;
    reel_error full = {.status = REEL_OK}, err = {.status = REEL_OK};
    for (int i = 0; i < n; i++) group[i].status = overlay_reserve(store->overlay, group[i].user_id, &full);
    pthread_mutex_lock(&store->writer.mutex);
    reel_status status = commit_group(store, n, &err);
    pthread_mutex_unlock(&store->writer.mutex);
    for (int i = 0; i < n; i++) {
        if (group[i].status == REEL_OK)
            overlay_settle(store->overlay, group[i].user_id, status == REEL_OK ? &group[i].rating : NULL);
        if (!group[i].done) continue;
        if (group[i].status != REEL_OK)
            group[i].done(group[i].arg, group[i].status, full.message);
        else
            group[i].done(group[i].arg, status, status == REEL_OK ? "" : err.message);
    }
}

/* Moves up to STORE_GROUP_MAX waiting writes into the group; 0 when the store closes and none waits. */
static int next_group(struct write_queue *queue) {
    pthread_mutex_lock(&queue->mutex);
    while (queue->n == 0 && !queue->stop) pthread_cond_wait(&queue->filled, &queue->mutex);
    int n = queue->n < STORE_GROUP_MAX ? queue->n : STORE_GROUP_MAX;
    for (int i = 0; i < n; i++) queue->group[i] = queue->ring[(queue->first + i) % STORE_QUEUE_MAX];
    queue->first = (queue->first + n) % STORE_QUEUE_MAX;
    queue->n -= n;
    pthread_mutex_unlock(&queue->mutex);
    return n;
}

static void *writer_main(void *arg) {
    struct store *store = arg;
    for (int n; (n = next_group(&store->queue)) > 0;) write_group(store, n);
    return NULL;
}

reel_status writer_start(struct store *store, reel_error *err) {
    struct write_queue *queue = &store->queue;
    TRY_RETURN(MEM_NEW(&queue->ring, STORE_QUEUE_MAX, err));
    TRY_RETURN(MEM_NEW(&queue->group, STORE_GROUP_MAX, err));
    if (pthread_create(&queue->writer, NULL, writer_main, store) != 0)
        return error_set(err, REEL_NO_MEMORY, "the store's thread could not be started");
    queue->started = 1;
    return REEL_OK;
}

void writer_stop(struct store *store) {
    struct write_queue *queue = &store->queue;
    if (queue->started) {
        pthread_mutex_lock(&queue->mutex);
        queue->stop = 1;
        pthread_cond_signal(&queue->filled);
        pthread_mutex_unlock(&queue->mutex);
        pthread_join(queue->writer, NULL);
        queue->started = 0;
    }
    mem_free(queue->ring);
    mem_free(queue->group);
    queue->ring = queue->group = NULL;
}

/* ---- the callers' side ---- */

reel_status store_rate(struct store *store, int32_t user_id, struct store_rating rating, store_done_fn done, void *arg,
                       reel_error *err) {
    struct write_queue *queue = &store->queue;
    TRY_RETURN(store_check_writable(store, err));
    if (user_id < 0 || rating.movie_id < 0 || rating.half_stars > 10)
        return error_set(err, REEL_INVALID_ARGUMENT, "user %d, movie %d, %d half stars cannot be stored", user_id,
                         rating.movie_id, rating.half_stars);
    pthread_mutex_lock(&queue->mutex);
    int full = queue->n == STORE_QUEUE_MAX;
    if (!full) {
        queue->ring[(queue->first + queue->n) % STORE_QUEUE_MAX] =
            (struct pending_rating){.user_id = user_id, .rating = rating, .done = done, .arg = arg};
        queue->n++;
        pthread_cond_signal(&queue->filled);
    }
    pthread_mutex_unlock(&queue->mutex);
    return full ? error_set(err, REEL_BUSY, "%d ratings wait for the disk already", (int)STORE_QUEUE_MAX) : REEL_OK;
}

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t over;
    int finished;
    reel_error result;
};

static void wake(void *arg, reel_status status, const char *message) {
    struct waiter *waiter = arg;
    pthread_mutex_lock(&waiter->mutex);
    waiter->finished = 1;
    if (status == REEL_OK)
        waiter->result.status = REEL_OK;
    else
        error_set(&waiter->result, status, "%s", message);
    pthread_cond_signal(&waiter->over); /* under the lock: the waiter's stack may go once it is free */
    pthread_mutex_unlock(&waiter->mutex);
}

reel_status store_rate_wait(struct store *store, int32_t user_id, struct store_rating rating, reel_error *err) {
    struct waiter waiter = {.mutex = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};
    TRY_RETURN(store_rate(store, user_id, rating, wake, &waiter, err));
    pthread_mutex_lock(&waiter.mutex);
    while (!waiter.finished) pthread_cond_wait(&waiter.over, &waiter.mutex);
    pthread_mutex_unlock(&waiter.mutex);
    pthread_mutex_destroy(&waiter.mutex);
    pthread_cond_destroy(&waiter.over);
    return waiter.result.status == REEL_OK ? REEL_OK
                                           : error_set(err, waiter.result.status, "%s", waiter.result.message);
}
