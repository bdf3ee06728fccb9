/* The request target: "/path/of%20segments?name=value&...", split and decoded. Text from outside. */
#ifndef SERVE_TARGET_H
#define SERVE_TARGET_H

#include <stddef.h>

enum { TARGET_QUERY_MAX = 24, TARGET_SEGMENTS_MAX = 12, TARGET_SIZE_MAX = 6000 };

struct target {
    int n_segments; /* of the path, a trailing slash left out; "/" has none */
    char *segments[TARGET_SEGMENTS_MAX];
    int n_query;
    struct {
        char *name, *value;
    } query[TARGET_QUERY_MAX];
};

/* Splits `text` (NUL-terminated, changed in place; the target points into it). Percent-encoding is undone within each
 * part, + is a space in the query. Returns NULL, or what is wrong as a sentence: no path, bytes that a target may
 * not hold, a bad or zero %XX, no UTF-8, a query name twice or too many of them. A path of too many segments is cut at
 * the limit, so that it matches nothing. */
const char *target_parse(char *text, struct target *target);
/* A whole decimal integer: optional minus, at most 16 digits, |value| <= 2^53, no other characters but a fraction of
 * zeros, for JSON Schema calls 7.0 an integer. 0 = it is not that. */
int target_integer(const char *text, long long *value);
/* 1 if the bytes are UTF-8 without overlong forms and surrogates. */
int target_is_utf8(const char *text, size_t length);

#endif
