/* The server's own routes: health, metrics, OpenAPI. They answer while nothing is loaded yet. */
#include <stdatomic.h>
#include <string.h>

#include "serve/metrics.h"
#include "serve/openapi.h"
#include "serve/routes.h"
#include "serve/server.h"

static enum request_outcome handle_health(struct request *request) {
    request_json_answer(request, 200, json_pack("{s:s}", "status", "ok"));
    return REQUEST_DONE;
}

static enum request_outcome handle_ready(struct request *request) {
    if (atomic_load(&request_service(request)->ready))
        request_json_answer(request, 200, json_pack("{s:s}", "status", "ready"));
    else
        request_problem(request, 503, "the service is loading or about to stop");
    return REQUEST_DONE;
}

static enum request_outcome handle_metrics(struct request *request) {
    struct strbuf text = {0};
    metrics_text(request_service(request), &text);
    if (text.failed)
        request_problem(request, 503, "memory ran out");
    else
        request_body(request, 200, body_new("text/plain; version=0.0.4; charset=utf-8", text.data, text.length));
    strbuf_free(&text);
    return REQUEST_DONE;
}

static enum request_outcome handle_openapi(struct request *request) {
    request_json_answer(request, 200,
                        openapi_document(request_service(request)->router, request_service(request)->options.auth_all));
    return REQUEST_DONE;
}

#define STATUS_SCHEMA                                                                                   \
    "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"}},\"required\":[\"status\"]," \
    "\"additionalProperties\":false}"

static const struct route health = {
    HTTP_GET, "/healthz", handle_health, ACCESS_PUBLIC, "The process runs", NULL, NULL, STATUS_SCHEMA, ""};
static const struct route ready = {
    HTTP_GET, "/readyz", handle_ready, ACCESS_PUBLIC, "Requests are taken", NULL, NULL, STATUS_SCHEMA, ""};
static const struct route metrics = {
    HTTP_GET, "/metrics", handle_metrics, ACCESS_PUBLIC, "Counters in Prometheus' text format", NULL, NULL, NULL, ""};
static const struct route openapi = {HTTP_GET,      "/openapi.json",         handle_openapi,
                                     ACCESS_PUBLIC, "This description",      NULL,
                                     NULL,          "{\"type\":\"object\"}", ""};

const struct route *const system_routes[] = {&health, &ready, &metrics, &openapi, NULL};

int route_is_system(const struct route *route) {
    for (int i = 0; system_routes[i]; i++)
        if (system_routes[i] == route) return 1;
    return 0;
}

int route_is_open(const struct route *route) {
    return route == &health || route == &ready || route == &route_page || route == &route_asset;
}
