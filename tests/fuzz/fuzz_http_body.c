/* Bodies through the JSON reader and every route's schema; tokens. The first byte chooses: even = body, odd = token. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/auth.h"
#include "serve/json_schema.h"
#include "serve/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition) {
    if (!condition) abort();
}

static void check_token(const char *text, size_t size) {
    static const char secret[] = "0123456789abcdef0123456789abcdef";
    char *token = malloc(size + 1);
    if (!token) return;
    memcpy(token, text, size);
    token[size] = '\0';
    demand(token_check(token, secret, sizeof secret - 1, 1000) >= TOKEN_BAD);
    free(token);
}

static void check_body(const char *text, size_t size) {
    char reason[300];
    struct request request = {0};
    request.body = malloc(size ? size : 1);
    if (!request.body) return;
    memcpy(request.body, text, size);
    request.body_size = (int64_t)size;
    request_parse_json(&request);
    demand((request.json != NULL) != (request.status == 400));
    demand(request.status == 0 || request.answer != NULL);
    for (int r = 0; request.json && service_routes[r]; r++) {
        if (!service_routes[r]->body) continue;
        reason[0] = '\0';
        demand((json_schema_check(service_routes[r]->body, request.json, reason, sizeof reason) == SCHEMA_OK) ==
               (reason[0] == '\0'));
    }
    request.text = request.inline_text;
    request_clear(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    if (data[0] & 1)
        check_token((const char *)data + 1, size - 1);
    else
        check_body((const char *)data + 1, size - 1);
    return 0;
}
