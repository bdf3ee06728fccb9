/* Answers that take a worker: looked up in the cache first, else made on a worker of the batcher, sent, and put into
 * the cache. */
#ifndef SERVE_DEFERRED_H
#define SERVE_DEFERRED_H

#include <stddef.h>
#include "serve/service.h"

/* What an answer depends on. Zero-initialise: it is hashed as it lies in memory. */
struct answer_key {
    const struct route *route;
    uint64_t snapshot, model;
    int64_t subject; /* user, movie, cluster ... */
    uint64_t store_version;
    int64_t numbers[8];
};

/* First member of what a route hands to a worker. */
struct deferred {
    struct work work;
    int cacheable;
    uint64_t key0, key1;
    /* Writes the body of the 200 answer, or says what is wrong. */
    reel_status (*make)(struct deferred *deferred, struct strbuf *out, reel_error *err);
    void (*release)(struct deferred *deferred); /* what `make` needed beside the struct; may be NULL */
};

/* Answers from the cache: 1 = done. */
int answer_from_cache(struct request *request, const struct answer_key *key);
/* Puts an answer there that nobody has asked for yet; 0 = memory is out. */
int answer_into_cache(struct service *service, const struct answer_key *key, const struct strbuf *text);
/* A zeroed struct of `size` bytes that starts with a struct deferred; NULL = a problem has been set. `key` NULL = not
 * to be cached. */
void *deferred_new(struct request *request, size_t size, const struct answer_key *key,
                   reel_status (*make)(struct deferred *deferred, struct strbuf *out, reel_error *err));
/* Frees it unused. */
void deferred_drop(void *deferred);
/* Makes and sends it on the calling thread: for what turns out to be short. */
enum request_outcome deferred_run_now(void *deferred);
/* Queues it as a batch of its own. */
enum request_outcome deferred_submit(void *deferred);
/* The same as one of a batch: `run` is called with works that share `key`, and calls deferred_answer for each. */
enum request_outcome deferred_submit_batch(void *deferred, uint64_t key,
                                           void (*run)(struct work **works, int n, int worker));
/* Answers and finishes the request with what is in `out` (taken over), or with the error; frees `deferred`. */
void deferred_answer(struct deferred *deferred, reel_status status, struct strbuf *out, const reel_error *err);
/* Sends a text at once; takes `out` over. */
enum request_outcome answer_text(struct request *request, struct strbuf *out);
/* Appends a JSON value and drops it; NULL = NO_MEMORY. */
reel_status json_into(struct strbuf *out, json_t *value, reel_error *err);
/* Checks the body against the route's schema: 1 = fine, 0 = a problem has been set: 422 for a rating out of scale, 400
 * for everything else. */
int request_body_fits(struct request *request, const char *schema);
/* The model that the query (or `name`, not NULL) asks for, else the default; NULL = a problem has been set. */
const struct snapshot_model *request_model(struct request *request, const char *name);
/* What sets a loaded model apart from every other, and from itself before a reload; for keys. */
uint64_t model_tag(const struct snapshot_model *model);
/* Version of a user's live ratings, for keys. */
uint64_t request_store_version(const struct request *request, int64_t user_id);

#endif
