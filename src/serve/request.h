/* Inside of a request: what daemon.c fills and request.c's accessors read. One request lives in its connection and is
 * used again for the connection's next one. */
#ifndef SERVE_REQUEST_H
#define SERVE_REQUEST_H

#include <stdatomic.h>
#include "serve/http.h"
#include "serve/router.h"
#include "serve/target.h"

struct MHD_Connection;
struct connection;

enum { REQUEST_HEADERS_MAX = 6, REQUEST_TEXT_INLINE = 512 };
/* A deferred request and whoever finishes it may meet in any order. */
enum request_state { REQUEST_RUNNING, REQUEST_SUSPENDED, REQUEST_FINISHED };

struct request {
    struct service *service;
    const struct router *router;
    struct MHD_Connection *connection;
    const struct snapshot *snapshot; /* pinned from dispatch to the end */
    _Atomic int *working;            /* the count it takes part in while a handler or worker has it; else NULL */
    int active;                      /* between the request line and the completion */
    int begun, dispatched, queued;   /* how far it has come */
    int method;                      /* enum http_method, -1 = another */
    char method_name[12];
    int64_t started_ns;
    const char *wrong_target; /* why the target could not be parsed */
    char *text;               /* the raw target, then a copy that `target` points into; inline_text or malloc'd */
    char inline_text[2 * REQUEST_TEXT_INLINE];
    struct target target;
    struct router_match match;
    /* body */
    int has_body, chunked;
    int64_t body_size, body_capacity;
    int body_too_large;
    char *body;
    json_t *json;
    /* the answer */
    int status; /* 0 = not answered yet */
    struct body *answer;
    int n_headers;
    struct {
        const char *name, *value;
    } headers[REQUEST_HEADERS_MAX];
    int close; /* end the connection after the answer */
    char allow[64];
    _Atomic int state;
};

/* Takes over what the request line says; 0 when memory is out. */
int request_open(struct request *request, const char *raw_target);
/* Frees what it holds and makes it ready for the next. */
void request_clear(struct request *request);
/* Parses the body as JSON; answers 400 where it is none. Depth at most 32. */
void request_parse_json(struct request *request);
/* A problem+json body; `instance` and `detail` may be NULL. NULL when memory is out. */
struct body *problem_body(int status, const char *detail, const char *instance);
/* "Not Found"; "Error" for a status that this service does not use. */
const char *status_phrase(int status);
/* One line to standard error about what went wrong inside. */
__attribute__((format(printf, 1, 2))) void serve_log_error(const char *format, ...);

#endif
