#include "serve/daemon.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/error.h"
#include "serve/access_log.h"
#include "serve/auth.h"
#include "serve/guard.h"
#include "serve/listen.h"
#include "serve/metrics.h"
#include "serve/server.h"

enum {
    MEMORY_PER_CONNECTION = 16384, /* bounds a request's header */
    IDLE_SECONDS = 60,
    IDLE_SECONDS_FULL = 2,
    SEND_SECONDS = 30,
    DISCARD_FACTOR = 2 /* of a body that is too large this many times the limit is read for the sake of the answer */
};

struct listener {
    struct front *front;
    int index;
    struct MHD_Daemon *daemon;
    _Atomic int running; /* requests between their request line and their completion */
    _Atomic int working; /* of those, the ones handed to a handler */
};

struct front {
    struct service *service;
    const struct router *router;
    struct addresses *addresses;
    struct connections *connections;
    pthread_mutex_t response_lock; /* making the answer of a shared body */
    int port, n;
    struct listener *listeners;
};

/* ---- answers ---- */

static void free_body(void *cls) {
    free(cls);
}

static void release_body(void *cls) {
    body_release(cls);
}

/* Unless the handler has set it: then the answer has it already. */
static int add_default_header(struct MHD_Response *response, const char *name, const char *value) {
    return MHD_get_response_header(response, name) || MHD_add_response_header(response, name, value) == MHD_YES;
}

static int add_standard_headers(struct MHD_Response *response, const struct body *body) {
    return MHD_add_response_header(response, "Content-Type", body->content_type) == MHD_YES &&
           MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
           MHD_add_response_header(response, "Referrer-Policy", "no-referrer") == MHD_YES &&
           add_default_header(response, "Cache-Control", "no-store") &&
           add_default_header(response, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
}

/* The answer that all share who send this body and nothing else; made once. */
static struct MHD_Response *shared_response(struct front *front, struct body *body) {
    struct MHD_Response *response = atomic_load_explicit(&body->response, memory_order_acquire);
    if (response) return response;
    pthread_mutex_lock(&front->response_lock);
    response = atomic_load_explicit(&body->response, memory_order_acquire);
    if (!response) {
        response = MHD_create_response_from_buffer_with_free_callback_cls(body->size, body->data, free_body, body);
        if (response) {
            add_standard_headers(response, body);
            atomic_store_explicit(&body->response, response, memory_order_release);
        }
    }
    pthread_mutex_unlock(&front->response_lock);
    return response;
}

static struct MHD_Response *own_response(struct request *request) {
    struct body *body = request->answer;
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(body->size, body->data, release_body, body_retain(body));
    if (!response) {
        body_release(body);
        return NULL;
    }
    for (int i = 0; i < request->n_headers; i++)
        MHD_add_response_header(response, request->headers[i].name, request->headers[i].value);
    if (request->allow[0]) MHD_add_response_header(response, "Allow", request->allow);
    if (request->close) MHD_add_response_header(response, "Connection", "close");
    add_standard_headers(response, body);
    return response;
}

static struct front *front_of(const struct request *request) {
    const struct connection *connection =
        (const struct connection *)(const void *)((const char *)request - offsetof(struct connection, request));
    return connection->front;
}

static struct connection *connection_of(struct request *request) {
    return (struct connection *)(void *)((char *)request - offsetof(struct connection, request));
}

static enum MHD_Result send_answer(struct request *request) {
    struct front *front = front_of(request);
    if (!request->answer) { /* memory ran out on the way, or a handler forgot: the connection tells that much */
        request->status = 500;
        request->answer = problem_body(500, NULL, NULL);
        if (!request->answer) return MHD_NO;
    }
    if (atomic_load_explicit(&front->service->draining, memory_order_relaxed)) request->close = 1;
    int plain = request->n_headers == 0 && !request->close && !request->allow[0];
    struct MHD_Response *response = plain ? shared_response(front, request->answer) : own_response(request);
    if (!response) return MHD_NO;
    enum MHD_Result queued = MHD_queue_response(request->connection, (unsigned)request->status, response);
    if (!plain) MHD_destroy_response(response);
    request->queued = 1;
    connection_enter(connection_of(request), PHASE_SENDING, now_nanoseconds());
    return queued;
}

/* ---- before the handler ---- */

static void list_methods(unsigned allowed, char *out, size_t size) {
    snprintf(out, size, "%s%s%sOPTIONS", allowed & 1u << HTTP_GET ? "GET, HEAD, " : "",
             allowed & 1u << HTTP_POST ? "POST, " : "", allowed & 1u << HTTP_DELETE ? "DELETE, " : "");
}

static int method_of(const char *name) {
    if (strcmp(name, "GET") == 0 || strcmp(name, "HEAD") == 0) return HTTP_GET;
    if (strcmp(name, "POST") == 0) return HTTP_POST;
    return strcmp(name, "DELETE") == 0 ? HTTP_DELETE : -1;
}

static void find_route(struct request *request) {
    router_find(request->router, &request->target, request->method, &request->match);
    if (request->match.route) return;
    if (!request->match.allowed) {
        request_problem(request, 404, "there is nothing at this path");
        return;
    }
    list_methods(request->match.allowed, request->allow, sizeof request->allow);
    if (strcmp(request->method_name, "OPTIONS") == 0)
        request_body(request, 204, body_new("text/plain", "", 0));
    else
        request_problem(request, 405, "this path does not take that method");
}

/* application/json, with or without parameters. */
static int is_json_type(const char *type) {
    static const char json[] = "application/json";
    return type && strncasecmp(type, json, sizeof json - 1) == 0 && strchr("; \t", type[sizeof json - 1]) != NULL;
}

static void check_body(struct request *request, const struct guard_view *view) {
    int64_t limit = request->service->options.max_body_bytes;
    const struct route *route = request->match.route;
    if (view->content_length > limit) {
        request->close = 1;
        request_problem(request, 413, "a body may have %lld bytes at most", (long long)limit);
    } else if (view->has_body && request->method != HTTP_POST) {
        request->close = 1;
        request_problem(request, 400, "a request of this method has no body");
    } else if (route && route->body && view->has_body && !is_json_type(view->content_type)) {
        request_problem(request, 415, "the body must be application/json");
    }
}

static void refuse(struct request *request, const char *why) {
    request->close = 1;
    request_problem(request, 400, "%s", why);
}

/* Everything that is known before the body. */
static enum MHD_Result begin(struct request *request, const char *method, const char *version) {
    struct guard_view view;
    struct connection *connection = connection_of(request);
    struct front *front = connection->front;
    request->begun = 1;
    request->router = front->router;
    request->service = front->service;
    guard_check(request->connection, method, connection->raw_target, connection->raw_target_length, version, &view);
    snprintf(request->method_name, sizeof request->method_name, "%.11s", method);
    request->method = method_of(method);
    request->has_body = view.has_body;
    request->chunked = view.chunked;
    if (view.chunked) request->close = 1; /* whatever else the client calls the end of a chunk, nothing follows it */
    if (view.wrong) {
        request->wrong_target = view.wrong; /* nothing of it is fit to be repeated */
        refuse(request, view.wrong);
        return send_answer(request);
    }
    if (!address_take(front->addresses, connection->address, request->started_ns))
        request_problem(request, 429, "too many requests from this address");
    else if (request->wrong_target)
        refuse(request, request->wrong_target);
    else
        find_route(request);
    if (request->match.route && !request->status)
        auth_check(front->service->auth, request, view.authorization, view.api_key);
    if (!request->status) check_body(request, &view);
    int refused = request->status && request->has_body &&
                  (request->close || view.content_length > request->service->options.max_body_bytes);
    if (!refused) return MHD_YES;
    request->close = 1;
    return send_answer(request);
}

/* ---- the body ---- */

static enum MHD_Result take_body(struct request *request, const char *data, size_t size) {
    int64_t limit = request->service->options.max_body_bytes, total = request->body_size + (int64_t)size;
    if (request->status || request->body_too_large || total > limit) {
        request->body_size = total;
        if (total <= limit) return MHD_YES; /* already refused: read to its end, then answered */
        request->body_too_large = 1;
        return total > limit * DISCARD_FACTOR ? MHD_NO : MHD_YES;
    }
    if (total > request->body_capacity) {
        int64_t capacity = total > 2 * request->body_capacity ? total : 2 * request->body_capacity;
        char *grown = realloc(request->body, (size_t)capacity);
        if (!grown) return MHD_NO;
        request->body = grown;
        request->body_capacity = capacity;
    }
    memcpy(request->body + request->body_size, data, size);
    request->body_size = total;
    return MHD_YES;
}

/* ---- the handler ---- */

static enum request_outcome dispatch(struct request *request) {
    const struct route *route = request->match.route;
    struct connection *connection = connection_of(request);
    request->dispatched = 1;
    connection_enter(connection, PHASE_WORKING, request->started_ns);
    if (request->body_too_large) {
        request->close = 1;
        if (!request->status) request_problem(request, 413, "the body is too large");
    }
    if (request->status) return REQUEST_DONE;
    /* Counted before the look at `draining`, so that whoever stops the service sees one or the other. */
    request->working = &connection->front->listeners[connection->daemon].working;
    atomic_fetch_add(request->working, 1);
    if (atomic_load(&request->service->draining) == DRAIN_NOW) {
        request_problem(request, 503, "the service stops");
        return REQUEST_DONE;
    }
    request->snapshot = snapshot_pin(request->service->snapshots, connection->daemon);
    if (!atomic_load(&request->service->loaded) && !route_is_system(route)) {
        request_problem(request, 503, "the service is still loading");
        return REQUEST_DONE;
    }
    if (route->body) request_parse_json(request);
    return request->status ? REQUEST_DONE : route->handle(request);
}

static enum MHD_Result suspend(struct request *request) {
    int expected = REQUEST_RUNNING;
    if (atomic_load_explicit(&request->state, memory_order_acquire) == REQUEST_FINISHED) return send_answer(request);
    struct MHD_Connection *connection = request->connection;
    MHD_suspend_connection(connection);
    if (!atomic_compare_exchange_strong(&request->state, &expected, REQUEST_SUSPENDED))
        MHD_resume_connection(connection);
    return MHD_YES;
}

void request_finish(struct request *request) {
    if (!request->status) request_problem(request, 500, "the request could not be worked on");
    struct MHD_Connection *connection = request->connection;
    /* The connection's thread may take the request from here on, unless it is suspended. */
    if (atomic_exchange(&request->state, REQUEST_FINISHED) == REQUEST_SUSPENDED) MHD_resume_connection(connection);
}

/* ---- libmicrohttpd's callbacks ---- */

static enum MHD_Result on_accept(void *cls, const struct sockaddr *from, socklen_t size) {
    const struct listener *listener = cls;
    (void)size;
    return connections_admit(listener->front->connections, from) ? MHD_YES : MHD_NO;
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
    struct listener *listener = cls;
    struct connections *connections = listener->front->connections;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context) connections_close(connections, *socket_context);
        *socket_context = NULL;
        return;
    }
    int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    const struct sockaddr *from = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
    struct connection *connection = connections_open(connections, fd, from, listener->index, now_nanoseconds());
    if (connection) connection->front = listener->front;
    *socket_context = connection;
}

static void *on_request_line(void *cls, const char *target, struct MHD_Connection *mhd) {
    struct listener *listener = cls;
    struct connection *connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    if (!connection || !request_open(&connection->request, target)) return NULL;
    struct request *request = &connection->request;
    connection->raw_target = target;
    connection->raw_target_length = strlen(target);
    request->connection = mhd;
    request->active = 1;
    request->started_ns = now_nanoseconds();
    request->match = (struct router_match){.index = -1};
    atomic_fetch_add_explicit(&listener->running, 1, memory_order_relaxed);
    connection_enter(connection, PHASE_RECEIVING, request->started_ns);
    return request;
}

static size_t leave_escaped(void *cls, struct MHD_Connection *mhd, char *text) {
    (void)cls, (void)mhd;
    return strlen(text); /* target.c reads the target itself */
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                 const char *version, const char *data, size_t *size, void **request_context) {
    struct request *request = *request_context;
    (void)cls, (void)mhd, (void)url;
    if (!request) return MHD_NO;
    if (!request->begun) return begin(request, method, version);
    if (*size) {
        size_t got = *size;
        *size = 0;
        return take_body(request, data, got);
    }
    if (request->dispatched) return send_answer(request); /* resumed */
    return dispatch(request) == REQUEST_DEFERRED ? suspend(request) : send_answer(request);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **request_context,
                         enum MHD_RequestTerminationCode code) {
    struct listener *listener = cls;
    struct request *request = *request_context;
    (void)mhd;
    *request_context = NULL;
    if (!request) return;
    struct connection *connection = connection_of(request);
    int64_t now = now_nanoseconds();
    struct access_record record = {
        .daemon = listener->index,
        .route = request->match.index,
        .method = request->method_name,
        .target = request->wrong_target ? NULL : request->text,
        .address = connection->name,
        .status = code == MHD_REQUEST_TERMINATED_COMPLETED_OK || request->queued ? request->status : 499,
        .bytes = request->answer ? (int64_t)request->answer->size : 0,
        .ns = now - request->started_ns,
    };
    metrics_record(listener->front->service->metrics, &record);
    access_log_write(listener->front->service->log, &record);
    snapshot_release(request->snapshot);
    request->snapshot = NULL;
    if (request->working) atomic_fetch_sub(request->working, 1);
    request->working = NULL;
    request_clear(request);
    atomic_fetch_sub_explicit(&listener->running, 1, memory_order_relaxed);
    connection_enter(connection, PHASE_IDLE, now);
}

/* ---- life ---- */

static struct MHD_Daemon *start_daemon(struct listener *listener, int fd) {
    return MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO | MHD_USE_SUSPEND_RESUME | MHD_USE_ITC, 0, on_accept, listener,
        on_access, listener, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)MEMORY_PER_CONNECTION, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)listener->front->service->options.max_connections + 16, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_SECONDS + 5, MHD_OPTION_STRICT_FOR_CLIENT, 0 /* guard.c is stricter and answers better */,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener, MHD_OPTION_NOTIFY_COMPLETED, on_completed, listener,
        MHD_OPTION_URI_LOG_CALLBACK, on_request_line, listener, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
        MHD_OPTION_END);
}

static reel_status start_all(struct front *front, reel_error *err) {
    enum { DAEMONS_MAX = 1024 };
    int fds[DAEMONS_MAX], n = front->n;
    const reel_serve_options *options = &front->service->options;
    front->port = options->port;
    if (options->unix_socket) {
        front->port = 0;
        TRY_RETURN(listen_unix(options->unix_socket, fds, n, err));
    } else {
        TRY_RETURN(listen_tcp(options->bind, &front->port, fds, n, err));
    }
    reel_status status = REEL_OK;
    for (int i = 0; i < n; i++) {
        struct listener *listener = &front->listeners[i];
        *listener = (struct listener){.front = front, .index = i};
        if (status == REEL_OK && !(listener->daemon = start_daemon(listener, fds[i])))
            status = error_set(err, REEL_IO, "the HTTP daemon could not be started");
        if (!listener->daemon) close(fds[i]);
    }
    return status;
}

reel_status front_start(struct service *service, const struct router *router, int daemons, struct front **out,
                        reel_error *err) {
    enum { SECOND_NS = 1000000000 };
    reel_status status = REEL_OK;
    const reel_serve_options *options = &service->options;
    struct front *front;
    const struct connection_limits limits = {
        .connections = options->max_connections,
        .deadline_ns = (int64_t)options->request_deadline_ms * 1000000,
        .idle_ns = (int64_t)IDLE_SECONDS * SECOND_NS,
        .idle_full_ns = (int64_t)IDLE_SECONDS_FULL * SECOND_NS,
        .send_ns = (int64_t)SEND_SECONDS * SECOND_NS,
    };
    *out = NULL;
    TRY_RETURN(MEM_NEW(&front, 1, err));
    front->service = service;
    front->router = router;
    front->n = daemons;
    pthread_mutex_init(&front->response_lock, NULL);
    TRY(MEM_NEW(&front->listeners, daemons, err));
    TRY(addresses_new(options->max_connections_per_address, options->rate_limit, &front->addresses, err));
    TRY(connections_new(&limits, front->addresses, &front->connections, err));
    TRY(start_all(front, err));
    *out = front;
    front = NULL;
cleanup:
    front_stop(front);
    return status;
}

int front_port(const struct front *front) {
    return front->port;
}

void front_quiesce(struct front *front) {
    for (int i = 0; i < front->n; i++) {
        int fd = MHD_quiesce_daemon(front->listeners[i].daemon);
        if (fd >= 0) close(fd);
    }
    if (front->service->options.unix_socket) unlink(front->service->options.unix_socket);
}

int front_running(const struct front *front) {
    int running = 0;
    for (int i = 0; i < front->n; i++) running += atomic_load(&front->listeners[i].running);
    return running;
}

int front_working(const struct front *front) {
    int working = 0;
    for (int i = 0; i < front->n; i++) working += atomic_load(&front->listeners[i].working);
    return working;
}

int front_connections(const struct front *front) {
    return connections_count(front->connections);
}

void front_sweep(struct front *front) {
    connections_sweep(front->connections, now_nanoseconds(), atomic_load(&front->service->draining));
}

void front_stop(struct front *front) {
    if (!front) return;
    for (int i = 0; front->listeners && i < front->n; i++)
        if (front->listeners[i].daemon) MHD_stop_daemon(front->listeners[i].daemon);
    connections_free(front->connections);
    addresses_free(front->addresses);
    pthread_mutex_destroy(&front->response_lock);
    mem_free(front->listeners);
    mem_free(front);
}
