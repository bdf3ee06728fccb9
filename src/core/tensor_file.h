/* Tensor sets and safetensors files.
 *
 * A safetensors file is an 8-byte little-endian header length, a JSON header and the raw little-endian
 * arrays, 64-byte aligned here: "__pad.<n>" tensors (U8, zeros), which the reader hides, fill the holes that
 * safetensors forbids. `__metadata__` holds strings; ours always has "format" ("reel-dataset" or "reel-model"),
 * "version", "xxh3.<tensor>" (XXH3-64 of the tensor's bytes, 16 hex digits) for each tensor, and as its first
 * entry "header.xxh3", the hash of the header's text with its own 16 digits set to '0'.
 *
 * A tensor set lives in memory (tensors owned by the set) or in a read-only mapping of a file. What
 * comes from a file was checked when it was opened: the header parses, names are unique, dtypes known,
 * shapes and offsets agree, lie inside the file and do not overlap, nothing but padding lies between them, and
 * a header that carries its hash matches it. Files of other programs (no hashes, tensors aligned to no more than
 * their element) open too, but do not pass tensor_file_verify. What the *values* index is for the caller to
 * check. */
#ifndef CORE_TENSOR_FILE_H
#define CORE_TENSOR_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <reel/status.h>

struct thread_pool;

enum dtype {
    DTYPE_U8,
    DTYPE_I8,
    DTYPE_I16,
    DTYPE_U16,
    DTYPE_I32,
    DTYPE_U32,
    DTYPE_I64,
    DTYPE_U64,
    DTYPE_F16,
    DTYPE_F32,
    DTYPE_F64
};
size_t dtype_size(enum dtype dtype);
const char *dtype_name(enum dtype dtype); /* safetensors' own: "F32" */

#define TENSOR_NAME_MAX 63
#define TENSOR_DIMS_MAX 4

struct tensor {
    char name[TENSOR_NAME_MAX + 1];
    enum dtype dtype;
    int n_dims;
    int64_t shape[TENSOR_DIMS_MAX];
    int64_t n; /* elements */
    size_t bytes;
    void *data; /* read-only when the set is a mapping; aligned to 64 (in a file of others: to the element) */
};

struct tensor_set;

reel_status tensor_set_new(struct tensor_set **out, reel_error *err);
void tensor_set_free(struct tensor_set *set); /* frees owned tensors or unmaps; takes NULL */
/* Adds a zeroed tensor owned by the set and points *data at it. `shape` has n_dims entries >= 0. */
reel_status tensor_set_add(struct tensor_set *set, const char *name, enum dtype dtype, int n_dims, const int64_t *shape,
                           void **data, reel_error *err);
/* One-dimensional shorthand. */
reel_status tensor_set_add1(struct tensor_set *set, const char *name, enum dtype dtype, int64_t n, void **data,
                            reel_error *err);
/* Adds a tensor whose memory someone else keeps alive as long as the set. */
reel_status tensor_set_add_borrowed(struct tensor_set *set, const char *name, enum dtype dtype, int n_dims,
                                    const int64_t *shape, const void *data, reel_error *err);
/* NULL if absent. The pointer stays valid as long as the set. */
const struct tensor *tensor_set_find(const struct tensor_set *set, const char *name);
size_t tensor_set_count(const struct tensor_set *set);
const struct tensor *tensor_set_at(const struct tensor_set *set, size_t index);
/* The tensor with exactly this dtype and shape (-1 in `shape` = any), else CORRUPT naming file and tensor. */
reel_status tensor_set_require(const struct tensor_set *set, const char *name, enum dtype dtype, int n_dims,
                               const int64_t *shape, const struct tensor **out, reel_error *err);
/* Metadata strings (copied). Keys and values are UTF-8. A key put again is replaced. */
reel_status tensor_set_put(struct tensor_set *set, const char *key, const char *value, reel_error *err);
__attribute__((format(printf, 4, 5))) reel_status tensor_set_putf(struct tensor_set *set, const char *key,
                                                                  reel_error *err, const char *format, ...);
const char *tensor_set_get(const struct tensor_set *set, const char *key); /* NULL if absent */
/* The i-th metadata pair in insertion order; 0 when i is past the end. */
int tensor_set_metadata_at(const struct tensor_set *set, size_t index, const char **key, const char **value);
/* Path of the file behind a mapped set, "(memory)" otherwise. */
const char *tensor_set_path(const struct tensor_set *set);

/* Maps `path` read-only and validates its header. `format` is what metadata "format" must say, or NULL. */
reel_status tensor_file_open(const char *path, const char *format, struct tensor_set **out, reel_error *err);
/* Recomputes every XXH3 of an opened file against its metadata, and looks at the padding: then no bit of the file
 * has changed since it was written. CORRUPT names the first tensor that differs. */
reel_status tensor_file_verify(const struct tensor_set *set, struct thread_pool *pool, reel_error *err);
/* Writes atomically and durably: temporary file in the same folder, fsync, rename, fsync of the folder; on
 * failure nothing is left behind. Computes the hashes. The bytes depend on the set alone. */
reel_status tensor_file_write(const char *path, const struct tensor_set *set, struct thread_pool *pool,
                              reel_error *err);
/* The same, with a last look before the file gets its name: `check` opens the finished file under the passed
 * (temporary) path; what it returns other than REEL_OK keeps the old file and is the result. */
typedef reel_status (*tensor_file_check)(void *arg, const char *path, reel_error *err);
reel_status tensor_file_write_checked(const char *path, const struct tensor_set *set, struct thread_pool *pool,
                                      tensor_file_check check, void *arg, reel_error *err);

#endif
