#include "core/safetensors_header.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"

enum { ENTRIES_MAX = 16384 }; /* tensors, and metadata strings: ours have some dozens */

struct scanner {
    const char *path;
    const char *text, *at, *end;
    struct tensor_set *set;
    struct strbuf key, value; /* the latest strings */
    struct tensor_extent *extents;
    size_t n, capacity;
};

static reel_status bad(const struct scanner *scanner, const char *what, reel_error *err) {
    error_set(err, REEL_CORRUPT, "%s: is no safetensors file (byte %zu of the header: %s)", scanner->path,
              (size_t)(scanner->at - scanner->text), what);
    return REEL_CORRUPT;
}

/* ---- tokens ---- */

static void skip_space(struct scanner *scanner) {
    while (scanner->at < scanner->end && memchr(" \t\r\n", *scanner->at, 4)) scanner->at++;
}

/* Takes `token` if it comes next. */
static int accept(struct scanner *scanner, char token) {
    skip_space(scanner);
    if (scanner->at == scanner->end || *scanner->at != token) return 0;
    scanner->at++;
    return 1;
}

static reel_status expect(struct scanner *scanner, char token, reel_error *err) {
    if (accept(scanner, token)) return REEL_OK;
    char what[] = "' ' expected";
    what[1] = token;
    return bad(scanner, what, err);
}

/* Four hex digits; -1 if they are none. */
static int scan_hex(struct scanner *scanner) {
    int value = 0;
    for (int i = 0; i < 4; i++, scanner->at++) {
        static const char digits[] = "0123456789abcdef";
        char digit = scanner->at < scanner->end ? *scanner->at : 0;
        if (digit >= 'A' && digit <= 'F') digit = (char)(digit - 'A' + 'a');
        const char *found = digit ? strchr(digits, digit) : NULL;
        if (!found) return -1;
        value = value * 16 + (int)(found - digits);
    }
    return value;
}

static void add_utf8(struct strbuf *out, int code) {
    char bytes[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const int lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; code >>= 6) bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(lead[n] | code);
    strbuf_add(out, bytes, n);
}

/* What follows a backslash. */
static int scan_escape(struct scanner *scanner, struct strbuf *out) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char name = scanner->at < scanner->end ? *scanner->at++ : 0;
    const char *found = name ? strchr(names, name) : NULL;
    if (found) {
        strbuf_add(out, meanings + (found - names), 1);
        return 1;
    }
    int code = name == 'u' ? scan_hex(scanner) : -1;
    if (code >= 0xd800 && code < 0xdc00) { /* the first half of a pair */
        if (scanner->end - scanner->at < 2 || memcmp(scanner->at, "\\u", 2) != 0) return 0;
        scanner->at += 2;
        int low = scan_hex(scanner);
        code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00) : -1;
    } else if (code >= 0xdc00 && code < 0xe000) {
        code = -1;
    }
    if (code <= 0) return 0; /* strings end with NUL here, so none may hold one */
    add_utf8(out, code);
    return 1;
}

/* One UTF-8 character of 2 to 4 bytes: no overlong forms, no surrogates, nothing past U+10FFFF. */
static int scan_utf8(struct scanner *scanner, struct strbuf *out) {
    const unsigned char *at = (const unsigned char *)scanner->at;
    size_t left = (size_t)(scanner->end - scanner->at), n = 0;
    if (at[0] >= 0xc2 && at[0] < 0xe0) n = 2;
    if (at[0] >= 0xe0 && at[0] < 0xf0) n = 3;
    if (at[0] >= 0xf0 && at[0] < 0xf5) n = 4;
    if (n == 0 || left < n) return 0;
    for (size_t i = 1; i < n; i++)
        if ((at[i] & 0xc0) != 0x80) return 0;
    if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] >= 0xa0) || (at[0] == 0xf0 && at[1] < 0x90) ||
        (at[0] == 0xf4 && at[1] >= 0x90))
        return 0;
    strbuf_add(out, scanner->at, n);
    scanner->at += n;
    return 1;
}

static reel_status scan_string(struct scanner *scanner, struct strbuf *out, reel_error *err) {
    out->length = 0;
    TRY_RETURN(expect(scanner, '"', err));
    while (scanner->at < scanner->end && *scanner->at != '"') {
        unsigned char byte = (unsigned char)*scanner->at;
        if (byte < 0x20) return bad(scanner, "control character in a string", err);
        if (byte == '\\') {
            scanner->at++;
            if (!scan_escape(scanner, out)) return bad(scanner, "bad escape in a string", err);
        } else if (byte < 0x80) {
            strbuf_add(out, scanner->at++, 1);
        } else if (!scan_utf8(scanner, out)) {
            return bad(scanner, "string is not UTF-8", err);
        }
    }
    strbuf_add(out, "", 0); /* an empty string is one too */
    if (out->failed) return error_no_memory(err, out->length);
    return expect(scanner, '"', err);
}

/* "[1,2]": up to `max` integers >= 0, how many in *n. */
static reel_status scan_integers(struct scanner *scanner, int max, int64_t *out, int *n, reel_error *err) {
    TRY_RETURN(expect(scanner, '[', err));
    *n = 0;
    if (accept(scanner, ']')) return REEL_OK;
    do {
        if (*n == max) return bad(scanner, "too many numbers", err);
        skip_space(scanner);
        const char *first = scanner->at;
        int64_t value = 0;
        for (; scanner->at < scanner->end && *scanner->at >= '0' && *scanner->at <= '9'; scanner->at++)
            if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *scanner->at - '0', &value))
                return bad(scanner, "number too large", err);
        if (scanner->at == first || (*first == '0' && scanner->at - first > 1))
            return bad(scanner, "whole number >= 0 expected", err);
        out[(*n)++] = value;
    } while (accept(scanner, ','));
    return expect(scanner, ']', err);
}

/* ---- the header ---- */

static reel_status scan_metadata(struct scanner *scanner, reel_error *err) {
    TRY_RETURN(expect(scanner, '{', err));
    if (accept(scanner, '}')) return REEL_OK;
    do {
        if (scanner->set->n_metadata == ENTRIES_MAX) return bad(scanner, "too many metadata strings", err);
        TRY_RETURN(scan_string(scanner, &scanner->key, err));
        TRY_RETURN(expect(scanner, ':', err));
        TRY_RETURN(scan_string(scanner, &scanner->value, err));
        TRY_RETURN(tensor_set_append_metadata(scanner->set, scanner->key.data, scanner->value.data, err));
    } while (accept(scanner, ','));
    return expect(scanner, '}', err);
}

static int dtype_parse(const char *name, enum dtype *out) {
    for (int dtype = DTYPE_U8; dtype <= DTYPE_F64; dtype++) {
        if (strcmp(name, dtype_name((enum dtype)dtype)) != 0) continue;
        *out = (enum dtype)dtype;
        return 1;
    }
    return 0;
}

/* The fields of a tensor as they stand in the header; -1 = not there yet. */
struct fields {
    int dtype, n_dims, n_offsets;
    int64_t shape[TENSOR_DIMS_MAX], offsets[2];
};

static reel_status scan_field(struct scanner *scanner, const char *name, struct fields *fields, reel_error *err) {
    TRY_RETURN(scan_string(scanner, &scanner->value, err));
    TRY_RETURN(expect(scanner, ':', err));
    const char *field = scanner->value.data;
    if (strcmp(field, "shape") == 0 && fields->n_dims < 0)
        return scan_integers(scanner, TENSOR_DIMS_MAX, fields->shape, &fields->n_dims, err);
    if (strcmp(field, "data_offsets") == 0 && fields->n_offsets < 0)
        return scan_integers(scanner, 2, fields->offsets, &fields->n_offsets, err);
    if (strcmp(field, "dtype") != 0 || fields->dtype >= 0) return bad(scanner, "unknown or repeated field", err);
    TRY_RETURN(scan_string(scanner, &scanner->value, err));
    enum dtype dtype;
    if (!dtype_parse(scanner->value.data, &dtype))
        return error_set(err, REEL_CORRUPT, "%s: tensor '%.63s' has an unknown dtype (%.20s)", scanner->path, name,
                         scanner->value.data);
    fields->dtype = (int)dtype;
    return REEL_OK;
}

/* {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]} */
static reel_status scan_tensor(struct scanner *scanner, struct tensor_extent *extent, reel_error *err) {
    const char *name = scanner->key.data;
    struct fields fields = {.dtype = -1, .n_dims = -1, .n_offsets = -1};
    TRY_RETURN(expect(scanner, '{', err));
    do {
        TRY_RETURN(scan_field(scanner, name, &fields, err));
    } while (accept(scanner, ','));
    TRY_RETURN(expect(scanner, '}', err));
    if (fields.dtype < 0 || fields.n_dims < 0 || fields.n_offsets != 2)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%.63s' must have a dtype, a shape and two data_offsets",
                         scanner->path, name);
    if (fields.offsets[0] > fields.offsets[1])
        return error_set(err, REEL_CORRUPT, "%s: tensor '%.63s': data_offsets must ascend", scanner->path, name);
    extent->begin = (size_t)fields.offsets[0];
    extent->end = (size_t)fields.offsets[1];
    return tensor_describe(&extent->tensor, scanner->path, name, (enum dtype)fields.dtype, fields.n_dims, fields.shape,
                           REEL_CORRUPT, err);
}

static reel_status scan_entry(struct scanner *scanner, int *metadata_seen, reel_error *err) {
    TRY_RETURN(scan_string(scanner, &scanner->key, err));
    TRY_RETURN(expect(scanner, ':', err));
    if (strcmp(scanner->key.data, "__metadata__") == 0) {
        if ((*metadata_seen)++) return bad(scanner, "duplicate __metadata__", err);
        return scan_metadata(scanner, err);
    }
    if (scanner->n == ENTRIES_MAX) return bad(scanner, "too many tensors", err);
    if (scanner->n == scanner->capacity) {
        size_t capacity = scanner->capacity ? 2 * scanner->capacity : 64;
        void *larger = reallocarray(scanner->extents, capacity, sizeof *scanner->extents);
        if (!larger) return error_no_memory(err, capacity * sizeof *scanner->extents);
        scanner->extents = larger;
        scanner->capacity = capacity;
    }
    TRY_RETURN(scan_tensor(scanner, &scanner->extents[scanner->n], err));
    scanner->n++;
    return REEL_OK;
}

static reel_status scan_header(struct scanner *scanner, reel_error *err) {
    int metadata_seen = 0;
    TRY_RETURN(expect(scanner, '{', err));
    if (!accept(scanner, '}')) {
        do {
            TRY_RETURN(scan_entry(scanner, &metadata_seen, err));
        } while (accept(scanner, ','));
        TRY_RETURN(expect(scanner, '}', err));
    }
    skip_space(scanner);
    return scanner->at == scanner->end ? REEL_OK : bad(scanner, "text after the end", err);
}

/* ---- repeated keys ---- */

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static reel_status check_unique(const struct scanner *scanner, const char **keys, size_t n, reel_error *err) {
    qsort(keys, n, sizeof *keys, compare_keys);
    for (size_t i = 1; i < n; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            return error_set(err, REEL_CORRUPT, "%s: duplicate key '%.63s' in the header", scanner->path, keys[i]);
    return REEL_OK;
}

static reel_status check_keys(const struct scanner *scanner, reel_error *err) {
    reel_status status = REEL_OK;
    const char **keys;
    const struct tensor_set *set = scanner->set;
    TRY_RETURN(MEM_RAW(&keys, scanner->n > set->n_metadata ? scanner->n : set->n_metadata, err));
    for (size_t i = 0; i < set->n_metadata; i++) keys[i] = set->metadata[i].key;
    TRY(check_unique(scanner, keys, set->n_metadata, err));
    for (size_t i = 0; i < scanner->n; i++) keys[i] = scanner->extents[i].tensor.name;
    TRY(check_unique(scanner, keys, scanner->n, err));
cleanup:
    mem_free((void *)keys);
    return status;
}

reel_status safetensors_header_parse(struct tensor_set *set, const char *text, size_t size,
                                     struct tensor_extent **extents, size_t *n, reel_error *err) {
    reel_status status = REEL_OK;
    struct scanner scanner = {.path = set->path, .text = text, .at = text, .end = text + size, .set = set};
    TRY(scan_header(&scanner, err));
    TRY(check_keys(&scanner, err));
    *extents = scanner.extents;
    *n = scanner.n;
    scanner.extents = NULL;
cleanup:
    free(scanner.extents);
    strbuf_free(&scanner.key);
    strbuf_free(&scanner.value);
    return status;
}
