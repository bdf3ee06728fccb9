#include "serve/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/request.h"
#include "serve/server.h"

static const char *const method_names[] = {[HTTP_GET] = "get", [HTTP_POST] = "post", [HTTP_DELETE] = "delete"};

static json_t *schema_of(const char *text) {
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static json_t *content_of(const char *type, json_t *schema) {
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

static json_t *problem_response(int status) {
    json_t *content =
        content_of("application/problem+json", json_pack("{s:s}", "$ref", "#/components/schemas/Problem"));
    json_t *response = json_pack("{s:s,s:o}", "description", status_phrase(status), "content", content);
    const char *header = status == 429 || status == 503 ? "Retry-After" : status == 401 ? "WWW-Authenticate" : NULL;
    if (header)
        json_object_set_new(response, "headers",
                            json_pack("{s:{s:{s:s}}}", header, "schema", "type", status == 401 ? "string" : "integer"));
    return response;
}

static void add_problem(json_t *responses, int status) {
    char key[8];
    snprintf(key, sizeof key, "%d", status);
    json_object_set_new(responses, key, problem_response(status));
}

static json_t *responses_of(const struct route *route, int needs_key) {
    json_t *responses = json_object();
    json_t *content = content_of(route->answer ? "application/json" : "*/*",
                                 route->answer ? schema_of(route->answer) : json_object());
    json_object_set_new(responses, "200", json_pack("{s:s,s:o}", "description", "OK", "content", content));
    for (const char *at = route->problems; at && *at;) {
        char *end;
        add_problem(responses, (int)strtol(at, &end, 10));
        at = end + strspn(end, " ");
    }
    if (needs_key) {
        add_problem(responses, 401);
        add_problem(responses, 403);
    }
    if (route->body || (route->parameters && route->parameters->name)) add_problem(responses, 400);
    add_problem(responses, 429);
    add_problem(responses, 503);
    return responses;
}

static json_t *parameters_of(const struct route *route) {
    json_t *parameters = json_array();
    for (const struct parameter *parameter = route->parameters; parameter && parameter->name; parameter++)
        json_array_append_new(parameters,
                              json_pack("{s:s,s:s,s:s,s:b,s:o}", "name", parameter->name, "in", parameter->in,
                                        "description", parameter->about, "required", strcmp(parameter->in, "path") == 0,
                                        "schema", schema_of(parameter->schema)));
    return parameters;
}

/* get_api_v1_users_id_ratings */
static void operation_id(const struct route *route, char *out, size_t size) {
    size_t used = (size_t)snprintf(out, size, "%s", method_names[route->method]);
    int pending = 1;
    for (const char *at = route->pattern; *at && used + 2 < size; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_') {
            pending = 1;
            continue;
        }
        if (pending) out[used++] = '_';
        pending = 0;
        out[used++] = *at;
    }
    out[used] = '\0';
}

static json_t *operation_of(const struct route *route, int auth_all) {
    char id[128];
    int needs_key = route->access != ACCESS_PUBLIC || (auth_all && !route_is_open(route));
    operation_id(route, id, sizeof id);
    json_t *operation = json_pack("{s:s,s:s,s:o,s:o}", "operationId", id, "summary", route->summary, "parameters",
                                  parameters_of(route), "responses", responses_of(route, needs_key));
    if (route->body)
        json_object_set_new(
            operation, "requestBody",
            json_pack("{s:b,s:o}", "required", 1, "content", content_of("application/json", schema_of(route->body))));
    if (needs_key) json_object_set_new(operation, "security", json_pack("[{s:[]},{s:[]}]", "apiKey", "bearer"));
    return operation;
}

static json_t *components(void) {
    return json_pack("{s:{s:{s:s,s:s,s:s,s:s},s:{s:s,s:s,s:s,s:s}},s:{s:{s:s,s:s,s:[s,s,s],s:b,"
                     "s:{s:{s:s},s:{s:s},s:{s:s},s:{s:s},s:{s:s}}}}}",
                     "securitySchemes", "apiKey", "type", "apiKey", "in", "header", "name", "X-API-Key", "description",
                     "the key of --api-key-file; all rights", "bearer", "type", "http", "scheme", "bearer",
                     "bearerFormat", "JWT", "description",
                     "HS256 with the secret of --auth-secret-file; exp, and scope \"write\" or \"admin\"", "schemas",
                     "Problem", "description", "RFC 9457", "type", "object", "required", "type", "title", "status",
                     "additionalProperties", 0, "properties", "type", "type", "string", "title", "type", "string",
                     "status", "type", "integer", "detail", "type", "string", "instance", "type", "string");
}

json_t *openapi_document(const struct router *router, int auth_all) {
    json_t *paths = json_object();
    int failed = !paths;
    for (int i = 0; i < router_count(router) && !failed; i++) {
        const struct route *route = router_route(router, i);
        json_t *path = json_object_get(paths, route->pattern);
        if (!path) {
            path = json_object();
            failed = json_object_set_new(paths, route->pattern, path) != 0;
        }
        failed = failed || json_object_set_new(path, method_names[route->method], operation_of(route, auth_all)) != 0;
    }
    if (!failed)
        return json_pack("{s:s,s:{s:s,s:s,s:s},s:o,s:o}", "openapi", "3.1.0", "info", "title", "Reel", "version",
                         reel_version(), "description", "Movie recommendations. Errors are problem details (RFC 9457).",
                         "paths", paths, "components", components());
    json_decref(paths);
    return NULL;
}
