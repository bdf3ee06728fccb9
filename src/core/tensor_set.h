/* Inside of a tensor set, for the reader and the writer of safetensors files. */
#ifndef CORE_TENSOR_SET_H
#define CORE_TENSOR_SET_H

#include "core/file.h"
#include "core/mem.h"
#include "core/tensor_file.h"

/* Tensors are 64-byte aligned, but safetensors allows no holes between them: the writer fills a hole with a U8
 * tensor "__pad.<number>", which the reader hides. */
#define TENSOR_PAD_PREFIX  "__pad."
#define TENSOR_ALIGNMENT   64
#define TENSOR_HEADER_MAX  ((size_t)100 << 20) /* safetensors' own limit */
#define TENSOR_HASH_PREFIX "xxh3."
/* Every header we write starts like this; then come the 16 hex digits of the XXH3 of the header's bytes with
 * these digits being '0'. */
#define TENSOR_HEADER_HASH_KEY "header.xxh3"
#define TENSOR_HEADER_START    "{\"__metadata__\":{\"" TENSOR_HEADER_HASH_KEY "\":\""
enum { TENSOR_HASH_DIGITS = 16 };

struct tensor_entry {
    struct tensor tensor;
    int owned; /* data is freed with the set */
};
struct metadata_pair {
    const char *key, *value;
};
/* Bytes of a mapped file that belong to no tensor and must be zero. */
struct tensor_hole {
    size_t offset, size; /* from the start of the file */
};

struct tensor_set {
    struct arena arena; /* entries and strings */
    struct tensor_entry **entries;
    size_t n, capacity;
    struct metadata_pair *metadata;
    size_t n_metadata, metadata_capacity;
    struct file_map map;
    struct tensor_hole *holes;
    size_t n_holes;
    const char *path;
};

/* Fills *tensor but for its data. `blame` (INVALID_ARGUMENT or CORRUPT) on a name that is too long, a negative
 * dimension, too many of them or a size past 2^63 - 1 bytes; the message starts with `path`. */
reel_status tensor_describe(struct tensor *tensor, const char *path, const char *name, enum dtype dtype, int n_dims,
                            const int64_t *shape, reel_status blame, reel_error *err);
/* Appends a described tensor; the caller made sure that its name is new. */
reel_status tensor_set_append(struct tensor_set *set, const struct tensor *tensor, int owned, reel_error *err);
/* Appends a metadata pair (copied); the caller made sure that its key is new. */
reel_status tensor_set_append_metadata(struct tensor_set *set, const char *key, const char *value, reel_error *err);
/* 16 lower-case hex digits and a NUL. */
void tensor_hash_text(uint64_t hash, char text[TENSOR_HASH_DIGITS + 1]);

#endif
