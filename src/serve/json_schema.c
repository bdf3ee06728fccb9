#include "serve/json_schema.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "data/utf8.h"

enum { PATH_MAX_TEXT = 120 };

struct check {
    char *reason;
    size_t size;
    char path[PATH_MAX_TEXT]; /* "ratings/0/rating" */
};

__attribute__((format(printf, 3, 4))) static enum schema_verdict
broken(struct check *check, enum schema_verdict verdict, const char *format, ...) {
    va_list args;
    int used = snprintf(check->reason, check->size, "%s ", check->path[0] ? check->path : "the body");
    va_start(args, format);
    if (used >= 0 && (size_t)used < check->size)
        vsnprintf(check->reason + used, check->size - (size_t)used, format, args);
    va_end(args);
    return verdict;
}

static int is_integer(const json_t *value) {
    return json_is_integer(value) || (json_is_real(value) && json_real_value(value) == trunc(json_real_value(value)) &&
                                      fabs(json_real_value(value)) <= 9007199254740992.0);
}

json_int_t json_as_int(const json_t *value) {
    return json_is_integer(value) ? json_integer_value(value) : (json_int_t)json_real_value(value);
}

/* ---- type ---- */

static int has_type(const char *type, const json_t *value) {
    switch (type[0]) {
    case 'o':
        return json_is_object(value);
    case 'a':
        return json_is_array(value);
    case 's':
        return json_is_string(value);
    case 'i':
        return is_integer(value);
    case 'b':
        return json_is_boolean(value);
    default:
        return strcmp(type, "null") == 0 ? json_is_null(value) : json_is_number(value);
    }
}

static enum schema_verdict check_type(struct check *check, const json_t *type, const json_t *value) {
    if (json_is_string(type)) {
        if (has_type(json_string_value(type), value)) return SCHEMA_OK;
        return broken(check, SCHEMA_BAD_SHAPE, "must be of type %s", json_string_value(type));
    }
    size_t i;
    json_t *one;
    json_array_foreach(type, i, one) if (has_type(json_string_value(one), value)) return SCHEMA_OK;
    return broken(check, SCHEMA_BAD_SHAPE, "is of another type than allowed");
}

/* ---- numbers ---- */

static enum schema_verdict check_number(struct check *check, const json_t *schema, const json_t *value) {
    double number = json_number_value(value);
    const json_t *low = json_object_get(schema, "minimum"), *high = json_object_get(schema, "maximum");
    const json_t *step = json_object_get(schema, "multipleOf");
    if ((low && number < json_number_value(low)) || (high && number > json_number_value(high))) {
        if (low && high)
            return broken(check, SCHEMA_OUT_OF_RANGE, "must be %.15g..%.15g (found %.15g)", json_number_value(low),
                          json_number_value(high), number);
        return broken(check, SCHEMA_OUT_OF_RANGE, "must be at %s %.15g (found %.15g)", low ? "least" : "most",
                      json_number_value(low ? low : high), number);
    }
    if (step && fmod(number, json_number_value(step)) != 0)
        return broken(check, SCHEMA_OUT_OF_RANGE, "must be a multiple of %.15g (found %.15g)", json_number_value(step),
                      number);
    return SCHEMA_OK;
}

/* ---- strings ---- */

static json_int_t code_points(const char *text) {
    json_int_t n = 0;
    for (; *text; text++) n += (*text & 0xc0) != 0x80;
    return n;
}

static int in_class(const char *class, size_t length, char c) {
    for (size_t i = 0; i < length; i++) {
        if (i + 2 < length && class[i + 1] == '-') {
            if (c >= class[i] && c <= class[i + 2]) return 1;
            i += 2;
        } else if (class[i] == c) {
            return 1;
        }
    }
    return 0;
}

/* ^[class]{low,high}$ or ^[class]+$; ASCII classes. */
static int matches(const char *pattern, const char *text) {
    size_t low = 1, high = (size_t)-1, length = strlen(text);
    const char *class = pattern + 2, *end = strchr(pattern, ']');
    if (!end) return 0;
    if (end[1] == '{' && sscanf(end + 1, "{%zu,%zu}", &low, &high) != 2) return 0;
    for (size_t i = 0; i < length; i++)
        if (!in_class(class, (size_t)(end - class), text[i])) return 0;
    return length >= low && length <= high;
}

static enum schema_verdict check_string(struct check *check, const json_t *schema, const json_t *value) {
    const json_t *low = json_object_get(schema, "minLength"), *high = json_object_get(schema, "maxLength");
    const char *pattern = json_string_value(json_object_get(schema, "pattern")), *text = json_string_value(value);
    json_int_t length = code_points(text);
    if ((low && length < json_integer_value(low)) || (high && length > json_integer_value(high)))
        return broken(check, SCHEMA_BAD_SHAPE, "has %lld characters, which is too %s", (long long)length,
                      low && length < json_integer_value(low) ? "few" : "many");
    if (pattern && (strlen(text) != json_string_length(value) || !matches(pattern, text)))
        return broken(check, SCHEMA_BAD_SHAPE, "must match %s", pattern);
    return SCHEMA_OK;
}

static int json_same(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static enum schema_verdict check_enum(struct check *check, const json_t *schema, const json_t *value) {
    const json_t *only = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    if (only && !json_same(only, value)) return broken(check, SCHEMA_BAD_SHAPE, "has another value than allowed");
    if (!list) return SCHEMA_OK;
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one) if (json_same(one, value)) return SCHEMA_OK;
    return broken(check, SCHEMA_BAD_SHAPE, "is none of the allowed values");
}

/* ---- what contains others ---- */

static enum schema_verdict check_value(struct check *check, const json_t *schema, const json_t *value);

/* Checks what lies at `path`/`step`. */
static enum schema_verdict check_below(struct check *check, const char *step, const json_t *schema,
                                       const json_t *value) {
    size_t length = strlen(check->path);
    struct shown_text shown = utf8_shown(step, strlen(step));
    snprintf(check->path + length, sizeof check->path - length, "%s%s", length ? "/" : "", shown.text);
    enum schema_verdict verdict = check_value(check, schema, value);
    check->path[length] = '\0';
    return verdict;
}

static enum schema_verdict check_object(struct check *check, const json_t *schema, const json_t *value) {
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *others = json_object_get(schema, "additionalProperties");
    const char *key;
    size_t i;
    json_t *item;
    json_array_foreach(
        json_object_get(schema, "required"), i,
        item) if (!json_object_get(value, json_string_value(item))) return broken(check, SCHEMA_BAD_SHAPE,
                                                                                  "lacks \"%s\"",
                                                                                  json_string_value(item));
    /* jansson's iteration macro wants the object without const, but only reads it. */
    json_object_foreach((json_t *)(uintptr_t)value, key, item) {
        const json_t *known = json_object_get(properties, key);
        if (!known && json_is_false(others))
            return broken(check, SCHEMA_BAD_SHAPE, "has an unknown key \"%s\"", utf8_shown(key, strlen(key)).text);
        if (!known && !json_is_object(others)) continue;
        enum schema_verdict verdict = check_below(check, key, known ? known : others, item);
        if (verdict != SCHEMA_OK) return verdict;
    }
    return SCHEMA_OK;
}

static enum schema_verdict check_array(struct check *check, const json_t *schema, const json_t *value) {
    const json_t *low = json_object_get(schema, "minItems"), *high = json_object_get(schema, "maxItems");
    const json_t *items = json_object_get(schema, "items");
    json_int_t n = (json_int_t)json_array_size(value);
    if ((low && n < json_integer_value(low)) || (high && n > json_integer_value(high)))
        return broken(check, SCHEMA_BAD_SHAPE, "has %lld items, which is too %s", (long long)n,
                      low && n < json_integer_value(low) ? "few" : "many");
    for (json_int_t i = 0; items && i < n; i++) {
        char step[24];
        snprintf(step, sizeof step, "%lld", (long long)i);
        enum schema_verdict verdict = check_below(check, step, items, json_array_get(value, (size_t)i));
        if (verdict != SCHEMA_OK) return verdict;
    }
    return SCHEMA_OK;
}

/* 1 if the value has a key that the alternative asks for, and no constant speaks against it: then what it breaks there
 * is worth telling. */
static int could_be(const json_t *alternative, const json_t *value) {
    const char *key;
    json_t *property;
    const json_t *required = json_object_get(alternative, "required");
    size_t i, there = 0;
    json_array_foreach(required, i, property) there += json_object_get(value, json_string_value(property)) != NULL;
    if (!there) return 0;
    json_object_foreach(json_object_get(alternative, "properties"), key, property) {
        const json_t *only = json_object_get(property, "const"), *item = json_object_get(value, key);
        if (only && item && !json_same(only, item)) return 0;
    }
    return 1;
}

static enum schema_verdict check_one_of(struct check *check, const json_t *alternatives, const json_t *value) {
    int fits = 0;
    enum schema_verdict told = SCHEMA_OK;
    size_t i;
    json_t *alternative;
    char reason[256];
    struct check quiet = *check;
    quiet.reason = reason;
    quiet.size = sizeof reason;
    json_array_foreach(alternatives, i, alternative) {
        enum schema_verdict verdict = check_value(&quiet, alternative, value);
        fits += verdict == SCHEMA_OK;
        if (verdict == SCHEMA_OK || told != SCHEMA_OK || !could_be(alternative, value)) continue;
        told = verdict;
        snprintf(check->reason, check->size, "%s", reason);
    }
    if (fits == 1) return SCHEMA_OK;
    if (fits > 1) return broken(check, SCHEMA_BAD_SHAPE, "fits more than one of the alternatives");
    return told != SCHEMA_OK ? told : broken(check, SCHEMA_BAD_SHAPE, "is none of the alternatives");
}

static enum schema_verdict check_value(struct check *check, const json_t *schema, const json_t *value) {
    const json_t *type = json_object_get(schema, "type"), *alternatives = json_object_get(schema, "oneOf");
    enum schema_verdict verdict = type ? check_type(check, type, value) : SCHEMA_OK;
    if (verdict == SCHEMA_OK && json_is_number(value)) verdict = check_number(check, schema, value);
    if (verdict == SCHEMA_OK && json_is_string(value)) verdict = check_string(check, schema, value);
    if (verdict == SCHEMA_OK && json_is_object(value)) verdict = check_object(check, schema, value);
    if (verdict == SCHEMA_OK && json_is_array(value)) verdict = check_array(check, schema, value);
    if (verdict == SCHEMA_OK) verdict = check_enum(check, schema, value);
    if (verdict == SCHEMA_OK && alternatives) verdict = check_one_of(check, alternatives, value);
    return verdict;
}

enum schema_verdict json_schema_check(const char *schema, const json_t *value, char *reason, size_t size) {
    json_t *parsed = json_loads(schema, JSON_DECODE_ANY, NULL);
    if (!parsed) return SCHEMA_NO_MEMORY;
    struct check check = {.reason = reason, .size = size};
    enum schema_verdict verdict = check_value(&check, parsed, value);
    json_decref(parsed);
    return verdict;
}
