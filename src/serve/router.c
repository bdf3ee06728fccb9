#include "serve/router.h"

#include <string.h>

#include "core/error.h"

struct segment {
    const char *text; /* NULL = a capture */
    size_t length;
};

struct entry {
    const struct route *route;
    int n_segments, n_captures;
    unsigned literals; /* bit 31 - i: segment i is literal; the larger number is the better match */
    struct segment segments[TARGET_SEGMENTS_MAX];
    int captures[ROUTER_CAPTURES_MAX]; /* segment index */
    struct segment names[ROUTER_CAPTURES_MAX];
};

struct router {
    int n;
    struct entry entries[];
};

static reel_status split_pattern(struct entry *entry, reel_error *err) {
    const char *at = entry->route->pattern;
    while (*at == '/' && at[1]) {
        const char *text = at + 1, *end = strchr(text, '/');
        size_t length = end ? (size_t)(end - text) : strlen(text);
        int i = entry->n_segments;
        if (i == TARGET_SEGMENTS_MAX || (text[0] == '{' && entry->n_captures == ROUTER_CAPTURES_MAX)) break;
        if (text[0] == '{') {
            entry->names[entry->n_captures] = (struct segment){text + 1, length - 2};
            entry->captures[entry->n_captures++] = i;
        } else {
            entry->segments[i] = (struct segment){text, length};
            entry->literals |= 1u << (31 - i);
        }
        entry->n_segments++;
        at = text + length;
    }
    if (*at && strcmp(at, "/") != 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "no such pattern of a route: %s", entry->route->pattern);
    return REEL_OK;
}

reel_status router_new(const struct route *const *const *lists, int n_lists, struct router **out, reel_error *err) {
    int n = 0;
    *out = NULL;
    for (int l = 0; l < n_lists; l++)
        for (int r = 0; lists[l][r]; r++) n++;
    void *memory;
    TRY_RETURN(mem_zero(&memory, 1, sizeof(struct router) + (size_t)n * sizeof(struct entry), err));
    struct router *router = memory;
    for (int l = 0; l < n_lists; l++)
        for (int r = 0; lists[l][r]; r++) {
            struct entry *entry = &router->entries[router->n++];
            entry->route = lists[l][r];
            reel_status status = split_pattern(entry, err);
            if (status == REEL_OK) continue;
            router_free(router);
            return status;
        }
    *out = router;
    return REEL_OK;
}

void router_free(struct router *router) {
    mem_free(router);
}

static int matches(const struct entry *entry, const struct target *target, const size_t *lengths) {
    for (int i = 0; i < entry->n_segments; i++) {
        const struct segment *segment = &entry->segments[i];
        if (!segment->text
                ? lengths[i] == 0
                : segment->length != lengths[i] || memcmp(segment->text, target->segments[i], lengths[i]) != 0)
            return 0;
    }
    return 1;
}

void router_find(const struct router *router, const struct target *target, int method, struct router_match *match) {
    size_t lengths[TARGET_SEGMENTS_MAX];
    unsigned best = 0;
    for (int i = 0; i < target->n_segments; i++) lengths[i] = strlen(target->segments[i]);
    *match = (struct router_match){.index = -1};
    for (int e = 0; e < router->n; e++) {
        const struct entry *entry = &router->entries[e];
        if (entry->n_segments != target->n_segments || (match->allowed && entry->literals < best) ||
            !matches(entry, target, lengths))
            continue;
        if (!match->allowed || entry->literals > best) *match = (struct router_match){.index = -1};
        best = entry->literals;
        match->allowed |= 1u << entry->route->method;
        if ((int)entry->route->method != method) continue;
        match->index = e;
        match->route = entry->route;
        memcpy(match->captures, entry->captures, sizeof match->captures);
    }
}

int router_count(const struct router *router) {
    return router->n;
}

const struct route *router_route(const struct router *router, int index) {
    return router->entries[index].route;
}

int router_capture(const struct router *router, int index, const char *name) {
    const struct entry *entry = &router->entries[index];
    size_t length = strlen(name);
    for (int i = 0; i < entry->n_captures; i++)
        if (entry->names[i].length == length && memcmp(entry->names[i].text, name, length) == 0) return i;
    return -1;
}
