/* Inside of a store. */
#ifndef STORE_STORE_STATE_H
#define STORE_STORE_STATE_H

#include "store/overlay.h"
#include "store/sql.h"
#include "store/store.h"

enum { STORE_QUEUE_MAX = 8192, STORE_GROUP_MAX = 512 };

/* One write on its way to the disk. */
struct pending_rating {
    int32_t user_id;
    struct store_rating rating;
    store_done_fn done;
    void *arg;
    reel_status status; /* of its reservation, on the writer thread */
};

/* Writes that wait for the writer thread: a ring. */
struct write_queue {
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct pending_rating *ring;  /* (STORE_QUEUE_MAX,) */
    struct pending_rating *group; /* (STORE_GROUP_MAX,) what the writer works on */
    int first, n, stop;
    int started; /* the writer runs */
    pthread_t writer;
};

struct store {
    char *path;
    struct sql writer;  /* all writes; closed in a store that cannot be written */
    struct sql reader;  /* lists and exports, so that they do not wait for commits; closed in a store in memory */
    reel_error refusal; /* status OK = writable; else what writes answer */
    struct overlay *overlay;
    struct write_queue queue;
    int claim; /* descriptor of the claimed lock file, -1 = not claimed */
};

/* The connection to read with; its lock is the caller's to take. */
static inline struct sql *store_reader(struct store *store) {
    return store->reader.handle ? &store->reader : &store->writer;
}
/* REEL_OK, or the refusal of a store that cannot be written. */
reel_status store_check_writable(const struct store *store, reel_error *err);
/* Finds out what the file is and makes the tables of a new one (`may_create`). */
reel_status schema_check(struct sql *sql, int may_create, reel_error *err);
/* REEL_OK once the writer thread runs. */
reel_status writer_start(struct store *store, reel_error *err);
/* Writes what is queued and ends the thread. */
void writer_stop(struct store *store);

#endif
