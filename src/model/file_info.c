/* What a dataset or model file says of itself, and whether it is whole. Lives here because this is the lowest room
 * that knows both kinds. */
#include <jansson.h>
#include <string.h>

#include <reel/model.h>
#include "core/context.h"
#include "core/error.h"
#include "core/json_text.h"
#include "core/tensor_file.h"

static const char *kind_of(const struct tensor_set *set) {
    const char *format = tensor_set_get(set, "format");
    if (format && strcmp(format, "reel-dataset") == 0) return "dataset";
    if (format && strcmp(format, "reel-model") == 0) return "model";
    return "other";
}

/* Hashes stand with their tensors, not among the metadata. */
static json_t *describe_metadata(const struct tensor_set *set) {
    json_t *metadata = json_object();
    const char *key, *value;
    int good = metadata != NULL;
    for (size_t i = 0; good && tensor_set_metadata_at(set, i, &key, &value); i++)
        if (strncmp(key, "xxh3.", 5) != 0 && strcmp(key, "header.xxh3") != 0)
            good = json_object_set_new(metadata, key, json_string(value)) == 0;
    if (good) return metadata;
    json_decref(metadata);
    return NULL;
}

static json_t *describe_tensor(const struct tensor_set *set, const struct tensor *tensor) {
    char key[TENSOR_NAME_MAX + 8];
    snprintf(key, sizeof key, "xxh3.%s", tensor->name);
    json_t *shape = json_array();
    int good = shape != NULL;
    for (int i = 0; good && i < tensor->n_dims; i++)
        good = json_array_append_new(shape, json_integer(tensor->shape[i])) == 0;
    json_t *object =
        good ? json_pack("{s:s,s:s,s:O,s:I,s:s?}", "name", tensor->name, "dtype", dtype_name(tensor->dtype), "shape",
                         shape, "bytes", (json_int_t)tensor->bytes, "xxh3", tensor_set_get(set, key))
             : NULL;
    json_decref(shape);
    return object;
}

static json_t *describe_tensors(const struct tensor_set *set) {
    json_t *tensors = json_array();
    int good = tensors != NULL;
    for (size_t i = 0; good && i < tensor_set_count(set); i++)
        good = json_array_append_new(tensors, describe_tensor(set, tensor_set_at(set, i))) == 0;
    if (good) return tensors;
    json_decref(tensors);
    return NULL;
}

static reel_status describe(const struct tensor_set *set, char **json, reel_error *err) {
    json_t *object = json_object();
    int64_t bytes = 0;
    for (size_t i = 0; i < tensor_set_count(set); i++) bytes += (int64_t)tensor_set_at(set, i)->bytes;
    int good = object && json_object_set_new(object, "kind", json_string(kind_of(set))) == 0 &&
               json_object_set_new(object, "metadata", describe_metadata(set)) == 0 &&
               json_object_set_new(object, "tensors", describe_tensors(set)) == 0 &&
               json_object_set_new(object, "tensor_bytes", json_integer(bytes)) == 0 &&
               json_object_set_new(object, "ok", json_true()) == 0;
    *json = good ? json_text(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return *json ? REEL_OK : error_no_memory(err, 0);
}

reel_status reel_file_info(reel_context *ctx, const char *path, char **json, reel_error *err) {
    struct tensor_set *set = NULL;
    *json = NULL;
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(tensor_file_open(path, NULL, &set, err));
    reel_status status = describe(set, json, err);
    tensor_set_free(set);
    return status;
}

/* Opens the file as what it says it is: every value that is indexed with gets checked. */
static reel_status open_as_kind(reel_context *ctx, const struct tensor_set *set, const char *path, reel_error *err) {
    const char *kind = kind_of(set);
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_status status = REEL_OK;
    if (strcmp(kind, "dataset") == 0)
        status = reel_dataset_open(ctx, path, &dataset, err);
    else if (strcmp(kind, "model") == 0)
        status = reel_model_open(ctx, path, &model, err);
    else
        status = error_set(err, REEL_CORRUPT, "%s: is neither a dataset nor a model (metadata format '%.60s')", path,
                           tensor_set_get(set, "format") ? tensor_set_get(set, "format") : "none");
    reel_dataset_free(dataset);
    reel_model_free(model);
    return status;
}

reel_status reel_file_verify(reel_context *ctx, const char *path, char **json, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    *json = NULL;
    TRY(context_check(ctx, err));
    TRY(tensor_file_open(path, NULL, &set, err));
    /* Hashes first: they tell damage from a file that was wrong from the start. */
    TRY(tensor_file_verify(set, ctx->pool, err));
    TRY(open_as_kind(ctx, set, path, err));
    TRY(describe(set, json, err));
cleanup:
    tensor_set_free(set);
    return status;
}
