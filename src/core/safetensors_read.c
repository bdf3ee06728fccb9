/* Opening and verifying safetensors files. Nothing in the file is believed before it was checked. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/safetensors_header.h"
#include "core/threads.h"

static int compare_extents(const void *a, const void *b) {
    const struct tensor_extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->tensor.name, y->tensor.name);
}

/* ---- the header ---- */

/* Our own headers carry a hash of themselves. */
static reel_status check_header_hash(const char *path, const char *header, size_t size, reel_error *err) {
    const size_t at = strlen(TENSOR_HEADER_START), rest = at + TENSOR_HASH_DIGITS;
    if (size < rest || memcmp(header, TENSOR_HEADER_START, at) != 0) return REEL_OK;
    char *copy, text[TENSOR_HASH_DIGITS + 1];
    TRY_RETURN(MEM_RAW(&copy, size, err));
    memcpy(copy, header, size);
    memset(copy + at, '0', TENSOR_HASH_DIGITS);
    tensor_hash_text(XXH3_64bits(copy, size), text);
    mem_free(copy);
    if (memcmp(text, header + at, TENSOR_HASH_DIGITS) == 0) return REEL_OK;
    return error_set(err, REEL_CORRUPT, "%s: the header was changed (hash %s, written as %.16s)", path, text,
                     header + at);
}

/* Finds the header's text behind the 8-byte length, and compares its hash. */
static reel_status find_header(const struct tensor_set *set, size_t *header_size, reel_error *err) {
    const struct file_map *map = &set->map;
    uint64_t size = 0;
    if (map->size < 8)
        return error_set(err, REEL_CORRUPT, "%s: is no safetensors file (%zu bytes)", set->path, map->size);
    for (int i = 7; i >= 0; i--) size = size << 8 | (unsigned char)map->data[i];
    if (size > TENSOR_HEADER_MAX || size > map->size - 8)
        return error_set(err, REEL_CORRUPT,
                         "%s: is no safetensors file, or was cut short (header of %" PRIu64 " bytes in a file of %zu)",
                         set->path, size, map->size);
    *header_size = (size_t)size;
    return check_header_hash(set->path, map->data + 8, *header_size, err);
}

static reel_status check_format(const struct tensor_set *set, const char *format, reel_error *err) {
    const char *found = tensor_set_get(set, "format");
    if (!format || (found && strcmp(found, format) == 0)) return REEL_OK;
    return error_set(err, REEL_CORRUPT, "%s: is not a %s file (found format '%.60s')", set->path, format,
                     found ? found : "none");
}

/* ---- the layout ---- */

static void add_hole(struct tensor_set *set, size_t offset, size_t size) {
    if (size) set->holes[set->n_holes++] = (struct tensor_hole){offset, size};
}

/* Checks one extent against the data part and its tensor. */
static reel_status check_extent(const struct tensor_set *set, const struct tensor_extent *extent, size_t data_start,
                                reel_error *err) {
    const char *name = extent->tensor.name;
    size_t size = dtype_size(extent->tensor.dtype), data_size = set->map.size - data_start;
    if (extent->end > data_size)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' ends at byte %zu of %zu: the file was cut short",
                         set->path, name, extent->end, data_size);
    if (extent->end - extent->begin != extent->tensor.bytes)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' must have %zu bytes by its shape (found %zu)", set->path,
                         name, extent->tensor.bytes, extent->end - extent->begin);
    if (extent->tensor.bytes && (data_start + extent->begin) % size != 0)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' (%s) starts at byte %zu, which is no multiple of %zu",
                         set->path, name, dtype_name(extent->tensor.dtype), data_start + extent->begin, size);
    return REEL_OK;
}

/* Checks that sorted extents follow each other and end with the file, and collects what lies between. */
static reel_status check_layout(struct tensor_set *set, const struct tensor_extent *extents, size_t n,
                                size_t data_start, reel_error *err) {
    size_t at = 0, data_size = set->map.size - data_start;
    for (size_t i = 0; i < n; i++) {
        const struct tensor_extent *extent = &extents[i];
        const char *name = extent->tensor.name;
        TRY_RETURN(check_extent(set, extent, data_start, err));
        if (extent->begin < at)
            return error_set(err, REEL_CORRUPT, "%s: tensors '%s' and '%s' overlap", set->path,
                             extents[i - 1].tensor.name, name);
        if (extent->begin - at >= TENSOR_ALIGNMENT)
            return error_set(err, REEL_CORRUPT, "%s: %zu bytes before tensor '%s' belong to none", set->path,
                             extent->begin - at, name);
        add_hole(set, data_start + at, extent->begin - at);
        at = extent->end;
    }
    if (at != data_size)
        return error_set(err, REEL_CORRUPT, "%s: %zu bytes after the last tensor", set->path, data_size - at);
    return REEL_OK;
}

/* Adds the tensors in the order of the file; padding becomes holes. */
static reel_status add_tensors(struct tensor_set *set, struct tensor_extent *extents, size_t n, size_t data_start,
                               reel_error *err) {
    for (size_t i = 0; i < n; i++) {
        struct tensor *tensor = &extents[i].tensor;
        if (strncmp(tensor->name, TENSOR_PAD_PREFIX, strlen(TENSOR_PAD_PREFIX)) == 0) {
            add_hole(set, data_start + extents[i].begin, tensor->bytes);
            continue;
        }
        /* An empty tensor may lie anywhere; the start of the mapping is at least aligned. */
        size_t offset = tensor->bytes ? data_start + extents[i].begin : 0;
        tensor->data = (void *)(uintptr_t)(set->map.data + offset);
        TRY_RETURN(tensor_set_append(set, tensor, 0, err));
    }
    return REEL_OK;
}

static reel_status read_file(struct tensor_set *set, const char *format, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_extent *extents = NULL;
    size_t header_size = 0, n = 0;
    TRY(find_header(set, &header_size, err));
    TRY(safetensors_header_parse(set, set->map.data + 8, header_size, &extents, &n, err));
    TRY(check_format(set, format, err));
    TRY(MEM_RAW(&set->holes, 2 * n, err));
    if (n) qsort(extents, n, sizeof *extents, compare_extents);
    TRY(check_layout(set, extents, n, 8 + header_size, err));
    TRY(add_tensors(set, extents, n, 8 + header_size, err));
cleanup:
    mem_free(extents);
    return status;
}

reel_status tensor_file_open(const char *path, const char *format, struct tensor_set **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    *out = NULL;
    TRY(tensor_set_new(&set, err));
    set->path = arena_strndup(&set->arena, path, strlen(path));
    if (!set->path) {
        status = error_no_memory(err, strlen(path));
        goto cleanup;
    }
    TRY(file_map_open(path, &set->map, err));
    TRY(read_file(set, format, err));
    *out = set;
    return REEL_OK;
cleanup:
    tensor_set_free(set);
    return status;
}

/* ---- verifying ---- */

struct verify_job {
    const struct tensor_set *set;
    uint64_t *hashes;
};

static void hash_task(void *arg, int64_t task, int worker) {
    const struct verify_job *job = arg;
    const struct tensor *tensor = &job->set->entries[task]->tensor;
    (void)worker;
    job->hashes[task] = XXH3_64bits(tensor->data, tensor->bytes);
}

static reel_status check_hash(const struct tensor_set *set, const struct tensor *tensor, uint64_t hash,
                              reel_error *err) {
    char key[sizeof TENSOR_HASH_PREFIX + TENSOR_NAME_MAX], text[TENSOR_HASH_DIGITS + 1];
    snprintf(key, sizeof key, TENSOR_HASH_PREFIX "%s", tensor->name);
    tensor_hash_text(hash, text);
    const char *expected = tensor_set_get(set, key);
    if (!expected)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' has no hash (metadata '%s')", set->path, tensor->name,
                         key);
    if (strcmp(expected, text) != 0)
        return error_set(err, REEL_CORRUPT, "%s: tensor '%s' was changed (hash %s, written as %.20s)", set->path,
                         tensor->name, text, expected);
    return REEL_OK;
}

static reel_status check_holes(const struct tensor_set *set, reel_error *err) {
    for (size_t i = 0; i < set->n_holes; i++)
        for (size_t at = set->holes[i].offset; at < set->holes[i].offset + set->holes[i].size; at++)
            if (set->map.data[at] != 0)
                return error_set(err, REEL_CORRUPT, "%s: byte %zu is padding and must be 0 (found %d)", set->path, at,
                                 (unsigned char)set->map.data[at]);
    return REEL_OK;
}

reel_status tensor_file_verify(const struct tensor_set *set, struct thread_pool *pool, reel_error *err) {
    reel_status status = REEL_OK;
    struct verify_job job = {.set = set};
    /* tensor_file_open compared the header's hash if there was one in its place. */
    if (!set->map.data || set->map.size < 8 + strlen(TENSOR_HEADER_START) ||
        memcmp(set->map.data + 8, TENSOR_HEADER_START, strlen(TENSOR_HEADER_START)) != 0)
        return error_set(err, REEL_CORRUPT, "%s: the header has no hash (metadata '%s')", set->path,
                         TENSOR_HEADER_HASH_KEY);
    TRY(MEM_NEW(&job.hashes, set->n, err));
    thread_pool_run(pool, (int64_t)set->n, hash_task, &job);
    for (size_t i = 0; i < set->n; i++) TRY(check_hash(set, &set->entries[i]->tensor, job.hashes[i], err));
    TRY(check_holes(set, err));
cleanup:
    mem_free(job.hashes);
    return status;
}
