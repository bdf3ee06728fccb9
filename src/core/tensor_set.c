#define _GNU_SOURCE
#include "core/tensor_set.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [DTYPE_U8] = {"U8", 1},   [DTYPE_I8] = {"I8", 1},   [DTYPE_I16] = {"I16", 2}, [DTYPE_U16] = {"U16", 2},
    [DTYPE_I32] = {"I32", 4}, [DTYPE_U32] = {"U32", 4}, [DTYPE_I64] = {"I64", 8}, [DTYPE_U64] = {"U64", 8},
    [DTYPE_F16] = {"F16", 2}, [DTYPE_F32] = {"F32", 4}, [DTYPE_F64] = {"F64", 8},
};

size_t dtype_size(enum dtype dtype) {
    return dtypes[dtype].size;
}

const char *dtype_name(enum dtype dtype) {
    return dtypes[dtype].name;
}

reel_status tensor_set_new(struct tensor_set **out, reel_error *err) {
    TRY_RETURN(MEM_NEW(out, 1, err));
    (*out)->path = "(memory)";
    return REEL_OK;
}

void tensor_set_free(struct tensor_set *set) {
    if (!set) return;
    for (size_t i = 0; i < set->n; i++)
        if (set->entries[i]->owned) mem_free(set->entries[i]->tensor.data);
    file_map_close(&set->map);
    arena_free(&set->arena);
    free(set->entries);
    free(set->metadata);
    mem_free(set->holes);
    mem_free(set);
}

reel_status tensor_describe(struct tensor *tensor, const char *path, const char *name, enum dtype dtype, int n_dims,
                            const int64_t *shape, reel_status blame, reel_error *err) {
    size_t length = strlen(name);
    if (length < 1 || length > TENSOR_NAME_MAX)
        return error_set(err, blame, "%s: a tensor name must have 1 to %d bytes (found %zu: '%.40s')", path,
                         TENSOR_NAME_MAX, length, name);
    if (n_dims < 0 || n_dims > TENSOR_DIMS_MAX)
        return error_set(err, blame, "%s: tensor '%s' must have 0 to %d dimensions (found %d)", path, name,
                         TENSOR_DIMS_MAX, n_dims);
    *tensor = (struct tensor){.dtype = dtype, .n_dims = n_dims, .n = 1};
    memcpy(tensor->name, name, length);
    /* Overflow is judged without the zeros, so that the order of the dimensions cannot matter. */
    int64_t bytes = (int64_t)dtype_size(dtype);
    int overflow = 0;
    for (int i = 0; i < n_dims; i++) {
        if (shape[i] < 0)
            return error_set(err, blame, "%s: tensor '%s' has a negative dimension (%" PRId64 ")", path, name,
                             shape[i]);
        tensor->shape[i] = shape[i];
        if (shape[i] == 0) tensor->n = 0;
        overflow |= __builtin_mul_overflow(bytes, shape[i] ? shape[i] : 1, &bytes);
    }
    if (overflow) return error_set(err, blame, "%s: tensor '%s' is too large", path, name);
    tensor->bytes = tensor->n ? (size_t)bytes : 0;
    tensor->n = (int64_t)(tensor->bytes / dtype_size(dtype));
    return REEL_OK;
}

/* Doubles an array of `size`-byte items when it is full. */
static reel_status grow(void **items, size_t n, size_t *capacity, size_t size, reel_error *err) {
    if (n < *capacity) return REEL_OK;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *larger = reallocarray(*items, wanted, size);
    if (!larger) return error_no_memory(err, wanted * size);
    *items = larger;
    *capacity = wanted;
    return REEL_OK;
}

reel_status tensor_set_append(struct tensor_set *set, const struct tensor *tensor, int owned, reel_error *err) {
    void *entries = set->entries;
    TRY_RETURN(grow(&entries, set->n, &set->capacity, sizeof(void *), err));
    set->entries = entries;
    struct tensor_entry *entry = arena_alloc(&set->arena, sizeof *entry);
    if (!entry) return error_no_memory(err, sizeof *entry);
    *entry = (struct tensor_entry){*tensor, owned};
    set->entries[set->n++] = entry;
    return REEL_OK;
}

/* Checks a new tensor of ours and fills *tensor. */
static reel_status describe_new(const struct tensor_set *set, struct tensor *tensor, const char *name, enum dtype dtype,
                                int n_dims, const int64_t *shape, reel_error *err) {
    TRY_RETURN(tensor_describe(tensor, set->path, name, dtype, n_dims, shape, REEL_INVALID_ARGUMENT, err));
    if (strncmp(name, "__", 2) == 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "%s: tensor name '%s' is reserved", set->path, name);
    if (tensor_set_find(set, name))
        return error_set(err, REEL_INVALID_ARGUMENT, "%s: tensor '%s' is there already", set->path, name);
    return REEL_OK;
}

reel_status tensor_set_add(struct tensor_set *set, const char *name, enum dtype dtype, int n_dims, const int64_t *shape,
                           void **data, reel_error *err) {
    struct tensor tensor;
    *data = NULL;
    TRY_RETURN(describe_new(set, &tensor, name, dtype, n_dims, shape, err));
    TRY_RETURN(mem_zero(&tensor.data, tensor.bytes, 1, err));
    reel_status status = tensor_set_append(set, &tensor, 1, err);
    if (status == REEL_OK)
        *data = tensor.data;
    else
        mem_free(tensor.data);
    return status;
}

reel_status tensor_set_add1(struct tensor_set *set, const char *name, enum dtype dtype, int64_t n, void **data,
                            reel_error *err) {
    return tensor_set_add(set, name, dtype, 1, &n, data, err);
}

reel_status tensor_set_add_borrowed(struct tensor_set *set, const char *name, enum dtype dtype, int n_dims,
                                    const int64_t *shape, const void *data, reel_error *err) {
    struct tensor tensor;
    TRY_RETURN(describe_new(set, &tensor, name, dtype, n_dims, shape, err));
    tensor.data = (void *)(uintptr_t)data;
    return tensor_set_append(set, &tensor, 0, err);
}

const struct tensor *tensor_set_find(const struct tensor_set *set, const char *name) {
    for (size_t i = 0; i < set->n; i++)
        if (strcmp(set->entries[i]->tensor.name, name) == 0) return &set->entries[i]->tensor;
    return NULL;
}

size_t tensor_set_count(const struct tensor_set *set) {
    return set->n;
}

const struct tensor *tensor_set_at(const struct tensor_set *set, size_t index) {
    return index < set->n ? &set->entries[index]->tensor : NULL;
}

const char *tensor_set_path(const struct tensor_set *set) {
    return set->path;
}

/* "F32 (3, *)" */
static const char *shape_text(char *text, size_t size, enum dtype dtype, int n_dims, const int64_t *shape) {
    size_t at = (size_t)snprintf(text, size, "%s (", dtype_name(dtype));
    for (int i = 0; i < n_dims && at < size; i++) {
        const char *separator = i ? ", " : "";
        at += (size_t)(shape[i] < 0 ? snprintf(text + at, size - at, "%s*", separator)
                                    : snprintf(text + at, size - at, "%s%" PRId64, separator, shape[i]));
    }
    if (at < size) snprintf(text + at, size - at, ")");
    return text;
}

reel_status tensor_set_require(const struct tensor_set *set, const char *name, enum dtype dtype, int n_dims,
                               const int64_t *shape, const struct tensor **out, reel_error *err) {
    char wanted[128], found[128];
    *out = NULL;
    const struct tensor *tensor = tensor_set_find(set, name);
    if (!tensor)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' is missing (%s)", set->path, name,
                         shape_text(wanted, sizeof wanted, dtype, n_dims, shape));
    int same = tensor->dtype == dtype && tensor->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++) same = shape[i] < 0 || shape[i] == tensor->shape[i];
    if (!same)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' must be %s (found %s)", set->path, name,
                         shape_text(wanted, sizeof wanted, dtype, n_dims, shape),
                         shape_text(found, sizeof found, tensor->dtype, tensor->n_dims, tensor->shape));
    *out = tensor;
    return REEL_OK;
}

/* ---- metadata ---- */

static struct metadata_pair *find_pair(const struct tensor_set *set, const char *key) {
    for (size_t i = 0; i < set->n_metadata; i++)
        if (strcmp(set->metadata[i].key, key) == 0) return &set->metadata[i];
    return NULL;
}

reel_status tensor_set_append_metadata(struct tensor_set *set, const char *key, const char *value, reel_error *err) {
    void *pairs = set->metadata;
    TRY_RETURN(grow(&pairs, set->n_metadata, &set->metadata_capacity, sizeof *set->metadata, err));
    set->metadata = pairs;
    char *key_copy = arena_strndup(&set->arena, key, strlen(key));
    char *value_copy = arena_strndup(&set->arena, value, strlen(value));
    if (!key_copy || !value_copy) return error_no_memory(err, strlen(key) + strlen(value));
    set->metadata[set->n_metadata++] = (struct metadata_pair){key_copy, value_copy};
    return REEL_OK;
}

reel_status tensor_set_put(struct tensor_set *set, const char *key, const char *value, reel_error *err) {
    struct metadata_pair *pair = find_pair(set, key);
    if (!pair) return tensor_set_append_metadata(set, key, value, err);
    char *copy = arena_strndup(&set->arena, value, strlen(value));
    if (!copy) return error_no_memory(err, strlen(value));
    pair->value = copy;
    return REEL_OK;
}

reel_status tensor_set_putf(struct tensor_set *set, const char *key, reel_error *err, const char *format, ...) {
    char *value = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&value, format, args);
    va_end(args);
    if (length < 0) return error_no_memory(err, strlen(format));
    reel_status status = tensor_set_put(set, key, value, err);
    free(value);
    return status;
}

const char *tensor_set_get(const struct tensor_set *set, const char *key) {
    const struct metadata_pair *pair = find_pair(set, key);
    return pair ? pair->value : NULL;
}

int tensor_set_metadata_at(const struct tensor_set *set, size_t index, const char **key, const char **value) {
    if (index >= set->n_metadata) return 0;
    *key = set->metadata[index].key;
    *value = set->metadata[index].value;
    return 1;
}

void tensor_hash_text(uint64_t hash, char text[TENSOR_HASH_DIGITS + 1]) {
    snprintf(text, TENSOR_HASH_DIGITS + 1, "%016" PRIx64, hash);
}
