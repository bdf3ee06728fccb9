/* Writing safetensors files. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "core/error.h"
#include "core/json_text.h"
#include "core/tensor_set.h"
#include "core/threads.h"

#define WRITE_CHUNK ((size_t)8 << 20)

struct write_job {
    const struct tensor_set *set;
    size_t *offsets; /* (set->n,) from the start of the data part */
    size_t data_start;
    uint64_t *hashes; /* (set->n,) */
    struct thread_pool *pool;
    int fd;
    const char *path;
    reel_status status;
    reel_error error;
};

static size_t padding_before(size_t offset) {
    return (TENSOR_ALIGNMENT - offset % TENSOR_ALIGNMENT) % TENSOR_ALIGNMENT;
}

/* Tensors follow each other in the set's order, each on a 64-byte boundary. */
static void place_tensors(struct write_job *job) {
    size_t at = 0;
    for (size_t i = 0; i < job->set->n; i++) {
        size_t bytes = job->set->entries[i]->tensor.bytes;
        if (bytes) at += padding_before(at);
        job->offsets[i] = at;
        at += bytes;
    }
}

/* ---- the header ---- */

static int add_string(json_t *metadata, const char *key, const char *value) {
    return json_object_set_new(metadata, key, json_string(value)) == 0;
}

static int is_hash_key(const char *key) {
    return strncmp(key, TENSOR_HASH_PREFIX, strlen(TENSOR_HASH_PREFIX)) == 0 ||
           strcmp(key, TENSOR_HEADER_HASH_KEY) == 0;
}

/* Metadata: the header's hash (to be filled in later), the set's own strings, the hash of each tensor. */
static json_t *build_metadata(const struct write_job *job) {
    json_t *metadata = json_object();
    int good = metadata && add_string(metadata, TENSOR_HEADER_HASH_KEY, "0000000000000000");
    for (size_t i = 0; good && i < job->set->n_metadata; i++) {
        const struct metadata_pair *pair = &job->set->metadata[i];
        if (!is_hash_key(pair->key)) good = add_string(metadata, pair->key, pair->value);
    }
    for (size_t i = 0; good && i < job->set->n; i++) {
        char key[sizeof TENSOR_HASH_PREFIX + TENSOR_NAME_MAX], text[TENSOR_HASH_DIGITS + 1];
        snprintf(key, sizeof key, TENSOR_HASH_PREFIX "%s", job->set->entries[i]->tensor.name);
        tensor_hash_text(job->hashes[i], text);
        good = add_string(metadata, key, text);
    }
    if (good) return metadata;
    json_decref(metadata);
    return NULL;
}

static json_t *build_entry(const char *dtype, int n_dims, const int64_t *shape, size_t begin, size_t end) {
    json_t *dims = json_array();
    int good = dims != NULL;
    for (int i = 0; good && i < n_dims; i++) good = json_array_append_new(dims, json_integer(shape[i])) == 0;
    json_t *entry = good ? json_pack("{s:s,s:O,s:[I,I]}", "dtype", dtype, "shape", dims, "data_offsets",
                                     (json_int_t)begin, (json_int_t)end)
                         : NULL;
    json_decref(dims);
    return entry;
}

/* The header as a JSON object; NULL when memory is out or a string is not UTF-8. */
static json_t *build_header(const struct write_job *job) {
    json_t *header = json_object();
    int good = header && json_object_set_new(header, "__metadata__", build_metadata(job)) == 0;
    size_t end = 0, n_pads = 0;
    for (size_t i = 0; good && i < job->set->n; i++) {
        const struct tensor *tensor = &job->set->entries[i]->tensor;
        if (job->offsets[i] > end) {
            char name[32];
            int64_t gap = (int64_t)(job->offsets[i] - end);
            snprintf(name, sizeof name, TENSOR_PAD_PREFIX "%zu", n_pads++);
            good = json_object_set_new(header, name, build_entry("U8", 1, &gap, end, job->offsets[i])) == 0;
        }
        end = job->offsets[i] + tensor->bytes;
        good = good && json_object_set_new(header, tensor->name,
                                           build_entry(dtype_name(tensor->dtype), tensor->n_dims, tensor->shape,
                                                       job->offsets[i], end)) == 0;
    }
    if (good) return header;
    json_decref(header);
    return NULL;
}

/* The header's text with its length in front and spaces behind, so that the data part is aligned. */
static reel_status format_header(const struct write_job *job, struct strbuf *out, reel_error *err) {
    errno = 0;
    json_t *header = build_header(job);
    char *text = json_text(header, JSON_COMPACT);
    json_decref(header);
    if (!text && errno == ENOMEM) return error_no_memory(err, 0);
    if (!text) return error_set(err, REEL_INVALID_ARGUMENT, "%s: metadata and names must be UTF-8", job->path);
    size_t padding = padding_before(8 + strlen(text)), size = strlen(text) + padding;
    for (int i = 0; i < 8; i++) strbuf_add(out, &(char){(char)(size >> (8 * i) & 0xff)}, 1);
    strbuf_puts(out, text);
    for (size_t i = 0; i < padding; i++) strbuf_puts(out, " ");
    free(text);
    if (out->failed) return error_no_memory(err, size);
    if (size > TENSOR_HEADER_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "%s: the header is too large (%zu bytes)", job->path, size);
    char hash[TENSOR_HASH_DIGITS + 1];
    tensor_hash_text(XXH3_64bits(out->data + 8, size), hash);
    memcpy(out->data + 8 + strlen(TENSOR_HEADER_START), hash, TENSOR_HASH_DIGITS);
    return REEL_OK;
}

/* ---- the data ---- */

static reel_status write_tensor(struct write_job *job, size_t index) {
    const struct tensor *tensor = &job->set->entries[index]->tensor;
    size_t start = job->data_start + job->offsets[index];
    for (size_t done = 0; done < tensor->bytes; done += WRITE_CHUNK) {
        size_t size = tensor->bytes - done < WRITE_CHUNK ? tensor->bytes - done : WRITE_CHUNK;
        TRY_RETURN(file_pwrite_all(job->fd, (char *)tensor->data + done, size, start + done, job->path, &job->error));
        /* The disk works while the rest is copied; fsync then has less to wait for. */
        (void)sync_file_range(job->fd, (off_t)(start + done), (off_t)size, SYNC_FILE_RANGE_WRITE);
    }
    return REEL_OK;
}

/* Task 0 writes (the kernel lets one writer at a time into a file), the others hash a tensor each. */
static void write_task(void *arg, int64_t task, int worker) {
    struct write_job *job = arg;
    (void)worker;
    if (task > 0) {
        const struct tensor *tensor = &job->set->entries[task - 1]->tensor;
        job->hashes[task - 1] = XXH3_64bits(tensor->data, tensor->bytes);
        return;
    }
    for (size_t i = 0; i < job->set->n && job->status == REEL_OK; i++) job->status = write_tensor(job, i);
}

/* Header, data, header again: the hashes are known last, the header's size does not depend on them. */
static reel_status write_data(struct write_job *job, reel_error *err) {
    reel_status status = REEL_OK;
    struct strbuf header = {0};
    TRY(format_header(job, &header, err));
    job->data_start = header.length;
    thread_pool_run(job->pool, (int64_t)job->set->n + 1, write_task, job);
    if (job->status != REEL_OK) {
        if (err) *err = job->error;
        status = job->status;
        goto cleanup;
    }
    strbuf_free(&header);
    TRY(format_header(job, &header, err));
    TRY(file_pwrite_all(job->fd, header.data, header.length, 0, job->path, err));
cleanup:
    strbuf_free(&header);
    return status;
}

/* The path under which the unfinished file can be opened, into `text` if it has none of its own. */
static const char *unfinished_path(const struct atomic_file *file, char *text, size_t size) {
    if (file->temporary) return file->temporary;
    snprintf(text, size, "/proc/self/fd/%d", file->fd);
    return text;
}

reel_status tensor_file_write_checked(const char *path, const struct tensor_set *set, struct thread_pool *pool,
                                      tensor_file_check check, void *arg, reel_error *err) {
    char text[64];
    reel_status status = REEL_OK;
    struct atomic_file file = {0};
    struct write_job job = {.set = set, .pool = pool, .path = path};
    TRY(MEM_NEW(&job.offsets, set->n, err));
    TRY(MEM_NEW(&job.hashes, set->n, err));
    TRY(atomic_file_begin(path, &file, err));
    job.fd = file.fd;
    place_tensors(&job);
    TRY(write_data(&job, err));
    if (check) TRY(check(arg, unfinished_path(&file, text, sizeof text), err));
    TRY(atomic_file_commit(&file, err));
cleanup:
    atomic_file_abort(&file);
    mem_free(job.offsets);
    mem_free(job.hashes);
    return status;
}

reel_status tensor_file_write(const char *path, const struct tensor_set *set, struct thread_pool *pool,
                              reel_error *err) {
    return tensor_file_write_checked(path, set, pool, NULL, NULL, err);
}
