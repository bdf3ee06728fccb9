#include "serve/deferred.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/json_text.h"
#include "serve/json_schema.h"

static const char json_content[] = "application/json";

int answer_from_cache(struct request *request, const struct answer_key *key) {
    XXH128_hash_t hash = XXH3_128bits(key, sizeof *key);
    struct body *body = cache_get(request_service(request)->cache, hash.low64, hash.high64);
    if (!body) return 0;
    request_body(request, 200, body);
    return 1;
}

void *deferred_new(struct request *request, size_t size, const struct answer_key *key,
                   reel_status (*make)(struct deferred *deferred, struct strbuf *out, reel_error *err)) {
    struct deferred *deferred = calloc(1, size);
    if (!deferred) {
        reel_error err;
        error_no_memory(&err, size);
        request_fail(request, &err);
        return NULL;
    }
    deferred->work.request = request;
    deferred->make = make;
    deferred->cacheable = key != NULL;
    if (key) {
        XXH128_hash_t hash = XXH3_128bits(key, sizeof *key);
        deferred->key0 = hash.low64;
        deferred->key1 = hash.high64;
    }
    return deferred;
}

void deferred_drop(void *deferred) {
    struct deferred *unused = deferred;
    if (unused->release) unused->release(unused);
    free(unused);
}

int answer_into_cache(struct service *service, const struct answer_key *key, const struct strbuf *text) {
    XXH128_hash_t hash = XXH3_128bits(key, sizeof *key);
    struct body *body = body_new(json_content, text->data, text->length);
    if (!body) return 0;
    cache_put(service->cache, hash.low64, hash.high64, body);
    body_release(body);
    return 1;
}

/* Makes a body of the text, and frees the text. */
static struct body *body_of_text(struct strbuf *out) {
    struct body *body = out->failed || !out->data ? NULL : body_new(json_content, out->data, out->length);
    strbuf_free(out);
    return body;
}

static void fail_without_memory(struct request *request) {
    reel_error err;
    error_no_memory(&err, 0);
    request_fail(request, &err);
}

static void send_made(struct deferred *deferred, reel_status status, struct strbuf *out, const reel_error *err) {
    struct request *request = deferred->work.request;
    struct body *body = status == REEL_OK ? body_of_text(out) : NULL;
    if (body) {
        if (deferred->cacheable) cache_put(request_service(request)->cache, deferred->key0, deferred->key1, body);
        request_body(request, 200, body);
    } else if (status == REEL_OK) {
        fail_without_memory(request);
    } else {
        request_fail(request, err);
    }
    strbuf_free(out);
    deferred_drop(deferred);
}

void deferred_answer(struct deferred *deferred, reel_status status, struct strbuf *out, const reel_error *err) {
    struct request *request = deferred->work.request;
    send_made(deferred, status, out, err);
    request_finish(request);
}

enum request_outcome deferred_run_now(void *deferred) {
    struct deferred *now = deferred;
    struct strbuf out = {0};
    reel_error err = {REEL_OK, ""};
    reel_status status = now->make(now, &out, &err);
    send_made(now, status, &out, &err);
    return REQUEST_DONE;
}

static void run_each(struct work **works, int n, int worker) {
    (void)worker;
    for (int i = 0; i < n; i++) {
        struct deferred *deferred = (struct deferred *)works[i];
        struct strbuf out = {0};
        reel_error err = {REEL_OK, ""};
        reel_status status = deferred->make(deferred, &out, &err);
        deferred_answer(deferred, status, &out, &err);
    }
}

enum request_outcome deferred_submit_batch(void *deferred, uint64_t key,
                                           void (*run)(struct work **works, int n, int worker)) {
    struct deferred *submitted = deferred;
    submitted->work.run = run;
    enum request_outcome outcome = service_defer(submitted->work.request, &submitted->work, key);
    if (outcome == REQUEST_DONE) deferred_drop(submitted);
    return outcome;
}

enum request_outcome deferred_submit(void *deferred) {
    /* The address is a key that no other waiting work has: long works shall spread over the workers. */
    return deferred_submit_batch(deferred, (uint64_t)(uintptr_t)deferred, run_each);
}

enum request_outcome answer_text(struct request *request, struct strbuf *out) {
    struct body *body = body_of_text(out);
    if (body)
        request_body(request, 200, body);
    else
        fail_without_memory(request);
    return REQUEST_DONE;
}

reel_status json_into(struct strbuf *out, json_t *value, reel_error *err) {
    char *text = json_text(value, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(value);
    if (!text) return error_no_memory(err, 0);
    strbuf_puts(out, text);
    free(text);
    return out->failed ? error_no_memory(err, 0) : REEL_OK;
}

/* "rating" or ".../rating" at the front of a reason. */
static int is_about_rating(const char *reason) {
    size_t length = strcspn(reason, " ");
    return (length == 6 || (length > 6 && reason[length - 7] == '/')) && strncmp(reason + length - 6, "rating", 6) == 0;
}

int request_body_fits(struct request *request, const char *schema) {
    char reason[300];
    enum schema_verdict verdict = json_schema_check(schema, request_json(request), reason, sizeof reason);
    if (verdict == SCHEMA_OK) return 1;
    if (verdict == SCHEMA_NO_MEMORY)
        fail_without_memory(request);
    else
        request_problem(request, verdict == SCHEMA_OUT_OF_RANGE && is_about_rating(reason) ? 422 : 400, "%s", reason);
    return 0;
}

const struct snapshot_model *request_model(struct request *request, const char *name) {
    const struct snapshot *snapshot = request_snapshot(request);
    if (!name) name = request_query_text(request, "model");
    if (!name && !snapshot->factor_model) request_problem(request, 404, "no model is loaded");
    if (!name) return snapshot->factor_model;
    const struct snapshot_model *model = snapshot_model_find(snapshot, name);
    if (!model) request_problem(request, 404, "there is no such model; GET /api/v1/models lists them");
    return model;
}

uint64_t model_tag(const struct snapshot_model *model) {
    return XXH3_64bits_withSeed(model->name, strlen(model->name), model->generation);
}

uint64_t request_store_version(const struct request *request, int64_t user_id) {
    const struct store *store = request_service(request)->store;
    return store && user_id <= INT32_MAX ? store_user_version(store, (int32_t)user_id) : 0;
}
