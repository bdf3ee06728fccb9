/* Request targets through the parser, the real route table, captures and integers. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "serve/router.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct router *router;

static void demand(int condition) {
    if (!condition) abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc, (void)argv;
    const struct route *const *const lists[] = {system_routes, service_routes};
    demand(router_new(lists, 2, &router, NULL) == REEL_OK);
    return 0;
}

static void check_text(const char *text) {
    long long value;
    demand(target_is_utf8(text, strlen(text)));
    if (target_integer(text, &value)) demand(value >= -(1LL << 53) && value <= 1LL << 53);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"id", "movieId", "cluster", "name", "nothing"};
    struct target target;
    struct router_match match;
    char *text = malloc(size + 1); /* of its exact size, so that a read past its end is seen */
    if (!text) return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    const char *wrong = target_parse(text, &target);
    if (wrong) {
        demand(wrong[0] != '\0');
        free(text);
        return 0;
    }
    for (int i = 0; i < target.n_segments; i++) check_text(target.segments[i]);
    for (int i = 0; i < target.n_query; i++) check_text(target.query[i].name), check_text(target.query[i].value);
    for (int method = -1; method < HTTP_METHODS; method++) {
        router_find(router, &target, method, &match);
        demand((match.route != NULL) == (method >= 0 && (match.allowed >> method & 1)));
        for (size_t i = 0; match.route && i < sizeof names / sizeof names[0]; i++) {
            int capture = router_capture(router, match.index, names[i]);
            demand(capture < 0 || match.captures[capture] < target.n_segments);
        }
    }
    free(text);
    return 0;
}
