/* Requests, responses and routes as handlers see them: nothing of libmicrohttpd shows here, so handlers are plain
 * functions from a request to a response. guard, auth, rate limit, body limit, JSON parsing, metrics, access log and
 * problem+json bodies are the daemon's work (daemon.c), done before and after the handler.
 *
 * A handler runs on an epoll thread and must not block: what takes longer than some 100 us is deferred. It then answers
 * REQUEST_DEFERRED after handing the request to the batcher or to store_rate; whoever finishes it calls request_finish
 * from any thread. */
#ifndef SERVE_HTTP_H
#define SERVE_HTTP_H

#include <jansson.h>
#include <stdint.h>
#include "core/mem.h"

struct service;
struct snapshot;
struct request;

enum http_method { HTTP_GET, HTTP_POST, HTTP_DELETE, HTTP_METHODS }; /* HEAD is answered as GET without its body */
enum access_level { ACCESS_PUBLIC, ACCESS_WRITE, ACCESS_ADMIN };
enum request_outcome { REQUEST_DONE, REQUEST_DEFERRED };

/* A body that several responses may share (cache, prebuilt fragments): reference-counted and immutable. */
struct body {
    _Atomic int64_t references;
    _Atomic(void *) response; /* daemon.c's: the answer made of it, shared by all who send it */
    const char *content_type; /* static */
    size_t size;
    char data[];
};
struct body *body_new(const char *content_type, const char *data, size_t size); /* one reference; NULL = no memory */
struct body *body_retain(struct body *body);
void body_release(struct body *body); /* takes NULL */

/* What handlers ask of a request. Integers of a path or a query: 1 = there and valid; 0 = absent (query only); -1 = a
 * 400 problem has been set already, return REQUEST_DONE. */
struct service *request_service(const struct request *request);
/* The loaded dataset and models, pinned until the request is finished. */
const struct snapshot *request_snapshot(const struct request *request);
const char *request_path_text(const struct request *request, const char *name);
int request_path_int(struct request *request, const char *name, int64_t *value); /* 0..2^53 */
const char *request_query_text(const struct request *request, const char *name); /* NULL = absent */
int request_query_int(struct request *request, const char *name, int64_t min, int64_t max, int64_t *value);
/* A header of the request, NULL = absent; to be asked for before the request is deferred. */
const char *request_header_text(const struct request *request, const char *name);
/* The parsed body of a route with `body` set; borrowed. */
const json_t *request_json(const struct request *request);

/* Answers; each may be called once. request_body takes one reference over. */
void request_body(struct request *request, int status, struct body *body);
void request_json_answer(struct request *request, int status, json_t *value); /* takes `value` over; NULL = 500 */
__attribute__((format(printf, 3, 4))) void request_problem(struct request *request, int status, const char *format,
                                                           ...);
/* A library error as a problem: NOT_FOUND 404, BAD_INPUT 400, INVALID_ARGUMENT 422, BUSY 503 + Retry-After, UNSUPPORTED
 * 403 ..., the rest 500 with a sentence of its own (never the inner message, which is logged). */
void request_fail(struct request *request, const reel_error *err);
void request_header(struct request *request, const char *name, const char *value); /* static texts */
/* Ends a deferred request that has been answered; from any thread. */
void request_finish(struct request *request);

struct parameter {
    const char *name;
    const char *in;     /* "path" or "query" */
    const char *schema; /* JSON Schema as text: {"type":"integer","minimum":0} */
    const char *about;
};

/* One line of the route table, from which the router, 405 + Allow, the guard's access level and /openapi.json are all
 * made. Patterns match whole segments; a trailing slash is accepted. */
struct route {
    enum http_method method;
    const char *pattern; /* "/api/v1/users/{id}/suggested_movies" */
    enum request_outcome (*handle)(struct request *request);
    enum access_level access;
    const char *summary;
    const struct parameter *parameters; /* ends with a NULL name; NULL = none */
    const char *body;                   /* JSON Schema of the body as text; NULL = takes none */
    const char *answer;                 /* JSON Schema of the 200 body as text, or NULL (not JSON) */
    const char *problems;               /* "400 404 422": which ones may happen besides 401 403 429 503 */
};

/* Every route of the service, gathered in routes.c from routes_*.c: one pointer a route, the last one NULL. */
extern const struct route *const service_routes[];
/* Those of the server itself (routes_system.c): health, metrics, OpenAPI. */
extern const struct route *const system_routes[];

#endif
