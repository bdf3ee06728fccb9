/* Model and cluster files as .npy arrays, forests also for XGBoost. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include <reel/interchange.h>
#include "core/context.h"
#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "core/mem.h"
#include "model/model.h"
#include "model/xgboost_write.h"

static const char *npy_dtype(enum dtype dtype) {
    static const char *const names[] = {
        [DTYPE_U8] = "|u1",  [DTYPE_I8] = "|i1",  [DTYPE_I16] = "<i2", [DTYPE_U16] = "<u2",
        [DTYPE_I32] = "<i4", [DTYPE_U32] = "<u4", [DTYPE_I64] = "<i8", [DTYPE_U64] = "<u8",
        [DTYPE_F16] = "<f2", [DTYPE_F32] = "<f4", [DTYPE_F64] = "<f8"};
    return names[dtype];
}

/* Format version 1.0: magic, version, little-endian length, a dict padded with blanks to a multiple of 64 bytes. */
static size_t npy_header(const struct tensor *tensor, char header[256]) {
    char shape[96] = "";
    size_t at = 0;
    for (int i = 0; i < tensor->n_dims; i++)
        at += (size_t)snprintf(shape + at, sizeof shape - at, "%lld,", (long long)tensor->shape[i]);
    int length = snprintf(header + 10, 246, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                          npy_dtype(tensor->dtype), shape);
    size_t used = 10 + (size_t)length, padded = (used + 1 + 63) / 64 * 64;
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)((padded - 10) & 255);
    header[9] = (char)((padded - 10) >> 8);
    memset(header + used, ' ', padded - used);
    header[padded - 1] = '\n';
    return padded;
}

static reel_status write_npy(const struct tensor *tensor, const char *path, reel_error *err) {
    reel_status status = REEL_OK;
    struct atomic_file file = {0};
    char header[256];
    size_t size = npy_header(tensor, header);
    TRY(atomic_file_begin(path, &file, err));
    TRY(file_write_all(file.fd, header, size, path, err));
    TRY(file_write_all(file.fd, tensor->data, tensor->bytes, path, err));
    TRY(atomic_file_commit(&file, err));
cleanup:
    atomic_file_abort(&file);
    return status;
}

/* Tensors name files: nothing but letters, digits, '_', '-' and '.' inside. */
static int names_a_file(const char *name) {
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    return *name && *name != '.' && strspn(name, allowed) == strlen(name);
}

struct export {
    const char *folder;
    char path[4096];
    json_t *files;
};

/* Puts the path of a file to write into export->path, and the file on the list. */
static reel_status add_file(struct export *export, const char *name, const char *suffix, reel_error *err) {
    int length = snprintf(export->path, sizeof export->path, "%s/%s%s", export->folder, name, suffix);
    if (length < 0 || (size_t)length >= sizeof export->path)
        return error_set(err, REEL_INVALID_ARGUMENT, "%.200s...: the path is too long", export->folder);
    if (json_array_append_new(export->files, json_string(export->path)) != 0) return error_no_memory(err, 0);
    return REEL_OK;
}

static reel_status export_tensors(const reel_context *ctx, const struct tensor_set *set, struct export *export,
                                  reel_error *err) {
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *tensor = tensor_set_at(set, i);
        TRY_RETURN(context_check(ctx, err));
        if (!names_a_file(tensor->name))
            return error_set(err, REEL_CORRUPT, "%s: tensor \"%s\" cannot name a file", tensor_set_path(set),
                             tensor->name);
        TRY_RETURN(add_file(export, tensor->name, ".npy", err));
        TRY_RETURN(write_npy(tensor, export->path, err));
    }
    return REEL_OK;
}

static reel_status export_model(reel_context *ctx, const char *path, struct export *export, const char **algorithm,
                                reel_error *err) {
    reel_status status = REEL_OK;
    struct reel_model *model = NULL;
    TRY(reel_model_open(ctx, path, &model, err));
    *algorithm = model->algorithm->name;
    TRY(file_make_dir(export->folder, err));
    TRY(export_tensors(ctx, model->set, export, err));
    const struct forest *forest = model->algorithm->forest_view ? model->algorithm->forest_view(model) : NULL;
    if (forest) {
        TRY(add_file(export, "forest", ".json", err));
        TRY(xgboost_write(forest, export->path, err));
    }
cleanup:
    reel_model_free(model);
    return status;
}

reel_status reel_export(reel_context *ctx, const char *path, const char *folder, char **json, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    struct export export = {.folder = folder};
    const char *algorithm = NULL, *kind = "clusters";
    json_t *object = NULL;
    *json = NULL;
    TRY(tensor_file_open(path, NULL, &set, err));
    const char *format = tensor_set_get(set, "format");
    if (!format || strncmp(format, "reel-", 5) != 0)
        TRY(error_set(err, REEL_CORRUPT, "%s: not a file of Reel's", path));
    if (strcmp(format, "reel-dataset") == 0) TRY(error_set(err, REEL_UNSUPPORTED, "%s: a dataset, not a model", path));
    if (!(export.files = json_array())) TRY(error_no_memory(err, 0));
    if (strcmp(format, "reel-model") == 0) {
        kind = "model";
        TRY(export_model(ctx, path, &export, &algorithm, err));
    } else {
        TRY(file_make_dir(folder, err));
        TRY(export_tensors(ctx, set, &export, err));
    }
    object = json_pack("{s:s,s:s?,s:O}", "kind", kind, "algorithm", algorithm, "files", export.files);
    if (!(*json = json_text(object, JSON_COMPACT))) TRY(error_no_memory(err, 0));
cleanup:
    json_decref(object);
    json_decref(export.files);
    tensor_set_free(set);
    return status;
}
