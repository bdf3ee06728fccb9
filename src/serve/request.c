#include "serve/request.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json_text.h"

/* ---- life ---- */

int request_open(struct request *request, const char *raw_target) {
    size_t size = strlen(raw_target) + 1;
    request->text = 2 * size <= sizeof request->inline_text ? request->inline_text : malloc(2 * size);
    if (!request->text) return 0;
    memcpy(request->text, raw_target, size);
    memcpy(request->text + size, raw_target, size);
    request->wrong_target = target_parse(request->text + size, &request->target);
    return 1;
}

void request_clear(struct request *request) {
    if (request->text != request->inline_text) free(request->text);
    request->text = NULL;
    json_decref(request->json);
    request->json = NULL;
    free(request->body);
    request->body = NULL;
    body_release(request->answer);
    request->answer = NULL;
    request->body_size = request->body_capacity = 0;
    request->active = request->begun = request->dispatched = request->queued = 0;
    request->has_body = request->chunked = request->body_too_large = 0;
    request->status = request->n_headers = request->close = 0;
    request->allow[0] = '\0';
    atomic_store_explicit(&request->state, REQUEST_RUNNING, memory_order_relaxed);
}

/* ---- what handlers ask ---- */

struct service *request_service(const struct request *request) {
    return request->service;
}

const struct snapshot *request_snapshot(const struct request *request) {
    return request->snapshot;
}

const char *request_path_text(const struct request *request, const char *name) {
    int capture = request->match.route ? router_capture(request->router, request->match.index, name) : -1;
    return capture < 0 ? NULL : request->target.segments[request->match.captures[capture]];
}

int request_path_int(struct request *request, const char *name, int64_t *value) {
    long long number;
    const char *text = request_path_text(request, name);
    if (!text || !target_integer(text, &number) || number < 0) {
        request_problem(request, 400, "%s in the path must be an integer from 0 to 9007199254740992", name);
        return -1;
    }
    *value = number;
    return 1;
}

const char *request_query_text(const struct request *request, const char *name) {
    for (int i = 0; i < request->target.n_query; i++)
        if (strcmp(request->target.query[i].name, name) == 0) return request->target.query[i].value;
    return NULL;
}

int request_query_int(struct request *request, const char *name, int64_t min, int64_t max, int64_t *value) {
    long long number;
    const char *text = request_query_text(request, name);
    if (!text) return 0;
    if (!target_integer(text, &number) || number < min || number > max) {
        request_problem(request, 400, "%s must be an integer from %" PRId64 " to %" PRId64, name, min, max);
        return -1;
    }
    *value = number;
    return 1;
}

const char *request_header_text(const struct request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const json_t *request_json(const struct request *request) {
    return request->json;
}

/* ---- answers ---- */

const char *status_phrase(int status) {
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {{400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {415, "Unsupported Media Type"},
                   {422, "Unprocessable Content"},
                   {429, "Too Many Requests"},
                   {500, "Internal Server Error"},
                   {503, "Service Unavailable"},
                   {507, "Insufficient Storage"}};
    for (size_t i = 0; i < sizeof phrases / sizeof phrases[0]; i++)
        if (phrases[i].status == status) return phrases[i].phrase;
    return "Error";
}

struct body *problem_body(int status, const char *detail, const char *instance) {
    json_t *problem =
        json_pack("{s:s,s:s,s:i}", "type", "about:blank", "title", status_phrase(status), "status", status);
    if (problem && detail) json_object_set_new(problem, "detail", json_string(detail));
    if (problem && instance) json_object_set_new(problem, "instance", json_string(instance));
    char *text = json_text(problem, JSON_COMPACT);
    struct body *body = text ? body_new("application/problem+json", text, strlen(text)) : NULL;
    free(text);
    json_decref(problem);
    return body;
}

void request_body(struct request *request, int status, struct body *body) {
    if (request->status) {
        body_release(body);
        return;
    }
    request->status = body ? status : 500;
    request->answer = body;
}

void request_json_answer(struct request *request, int status, json_t *value) {
    char *text = json_text(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_decref(value);
    if (!text) {
        request_problem(request, 500, "memory ran out");
        return;
    }
    request_body(request, status, body_new("application/json", text, strlen(text)));
    free(text);
}

/* The path of a target, without the query (which may hold what nobody should find in a log). */
static const char *instance_of(const struct request *request, char *buffer, size_t size) {
    if (!request->text || request->wrong_target) return NULL;
    size_t length = strcspn(request->text, "?");
    if (length >= size) return NULL;
    memcpy(buffer, request->text, length);
    buffer[length] = '\0';
    return buffer;
}

void request_problem(struct request *request, int status, const char *format, ...) {
    char detail[512], instance[512];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    /* A text from outside may have been cut inside a character. */
    for (size_t length = strlen(detail); length > 0 && !target_is_utf8(detail, length);) detail[--length] = '\0';
    if (status == 503 || status == 429) request_header(request, "Retry-After", "1");
    request_body(request, status, problem_body(status, detail, instance_of(request, instance, sizeof instance)));
}

void request_fail(struct request *request, const reel_error *err) {
    switch (err->status) {
    case REEL_NOT_FOUND:
        request_problem(request, 404, "%s", err->message);
        return;
    case REEL_BAD_INPUT:
        request_problem(request, 400, "%s", err->message);
        return;
    case REEL_INVALID_ARGUMENT:
        request_problem(request, 422, "%s", err->message);
        return;
    case REEL_UNSUPPORTED:
        request_problem(request, 403, "this service does not offer that");
        break;
    case REEL_BUSY:
    case REEL_CANCELLED:
        request_problem(request, 503, "the service is busy; try again");
        return;
    case REEL_IO:
        request_problem(request, 503, "the store could not be written; try again later");
        break;
    case REEL_NO_MEMORY:
        request_problem(request, 503, "memory ran out; try again");
        break;
    default:
        request_problem(request, 500, "the request could not be worked on");
    }
    serve_log_error("%s", err->message);
}

void request_header(struct request *request, const char *name, const char *value) {
    if (request->n_headers == REQUEST_HEADERS_MAX) return;
    request->headers[request->n_headers].name = name;
    request->headers[request->n_headers++].value = value;
}

void serve_log_error(const char *format, ...) {
    char line[700];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fprintf(stderr, "reel: serve: %s\n", line);
}

/* ---- JSON ---- */

/* Nesting of brackets outside strings. */
static int json_depth(const char *text, size_t size) {
    int depth = 0, deepest = 0, in_string = 0;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '[' || c == '{') {
            if (++depth > deepest) deepest = depth;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return deepest;
}

void request_parse_json(struct request *request) {
    enum { DEPTH_MAX = 32 };
    json_error_t error;
    size_t size = (size_t)request->body_size;
    if (json_depth(request->body ? request->body : "", size) > DEPTH_MAX) {
        request_problem(request, 400, "the JSON is nested more than %d deep", DEPTH_MAX);
        return;
    }
    request->json =
        json_loadb(request->body ? request->body : "", size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!request->json) {
        request_problem(request, 400, "the body is no JSON: line %d column %d: %s", error.line, error.column,
                        error.text);
    }
}
