#include "serve/target.h"

#include <string.h>

int target_is_utf8(const char *text, size_t length) {
    const unsigned char *at = (const unsigned char *)text, *end = at + length;
    while (at < end) {
        unsigned char c = *at++;
        int more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : -1;
        if (more < 0 || end - at < more) return 0;
        if ((c == 0xe0 && *at < 0xa0) || (c == 0xed && *at >= 0xa0)) return 0;
        if ((c == 0xf0 && *at < 0x90) || (c == 0xf4 && *at >= 0x90)) return 0;
        for (; more > 0; more--)
            if ((*at++ & 0xc0) != 0x80) return 0;
    }
    return 1;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; 0 for a bad escape, a NUL, or bytes that are no UTF-8. */
static int decode(char *text, int plus_is_space) {
    char *out = text;
    if (!strpbrk(text, plus_is_space ? "%+" : "%")) return 1;
    for (const char *at = text; *at; at++) {
        if (*at == '+' && plus_is_space) {
            *out++ = ' ';
        } else if (*at == '%') {
            int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
            if (low < 0 || (high == 0 && low == 0)) return 0;
            *out++ = (char)(high << 4 | low);
            at += 2;
        } else {
            *out++ = *at;
        }
    }
    *out = '\0';
    return target_is_utf8(text, (size_t)(out - text));
}

static const char *split_path(char *path, struct target *target) {
    size_t length = strlen(path);
    target->n_segments = 0;
    if (length > 1 && path[length - 1] == '/') path[length - 1] = '\0';
    if (!path[1]) return NULL;
    for (char *at = path; at;) {
        char *segment = at + 1;
        at = strchr(segment, '/');
        if (at) *at = '\0';
        if (!decode(segment, 0)) return "the path is not properly percent-encoded UTF-8";
        if (target->n_segments == TARGET_SEGMENTS_MAX) break;
        target->segments[target->n_segments++] = segment;
    }
    return NULL;
}

static const char *split_query(char *query, struct target *target) {
    char *rest = NULL;
    for (char *item = strtok_r(query, "&", &rest); item; item = strtok_r(NULL, "&", &rest)) {
        char *value = strchr(item, '=');
        if (value)
            *value++ = '\0';
        else
            value = item + strlen(item);
        if (!decode(item, 1) || !decode(value, 1)) return "the query is not properly percent-encoded UTF-8";
        if (target->n_query == TARGET_QUERY_MAX) return "the query has too many parameters";
        for (int i = 0; i < target->n_query; i++)
            if (strcmp(target->query[i].name, item) == 0) return "a query parameter is given twice";
        target->query[target->n_query].name = item;
        target->query[target->n_query++].value = value;
    }
    return NULL;
}

const char *target_parse(char *text, struct target *target) {
    target->n_segments = target->n_query = 0;
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at > '~') return "the request target holds bytes that must be percent-encoded";
    if (text[0] != '/') return "the request target must be a path";
    if (strchr(text, '#')) return "the request target must not hold a fragment";
    char *query = strchr(text, '?');
    if (query) *query++ = '\0';
    const char *wrong = split_path(text, target);
    return wrong || !query ? wrong : split_query(query, target);
}

int target_integer(const char *text, long long *value) {
    enum { DIGITS_MAX = 16 };
    int negative = *text == '-';
    const char *at = text + negative;
    size_t digits = strspn(at, "0123456789");
    long long sum = 0;
    if (digits == 0 || digits > DIGITS_MAX) return 0;
    const char *end = at + digits;
    if (*end == '.' && (end[1] == '\0' || end[1 + strspn(end + 1, "0")])) return 0;
    if (*end && *end != '.') return 0;
    for (; at < end; at++) sum = sum * 10 + (*at - '0');
    *value = negative ? -sum : sum;
    return sum <= 1LL << 53;
}
