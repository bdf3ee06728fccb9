#include "model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/measure.h"

/* ---- common tensors ---- */

/* Ids strictly ascending, >= 0: what binary search and the binding to other datasets rely on. */
static reel_status bind_ids(const struct reel_model *model, const char *name, const int32_t **ids, int32_t *n,
                            reel_error *err) {
    const struct tensor *tensor;
    int64_t any = -1;
    TRY_RETURN(tensor_set_require(model->set, name, DTYPE_I32, 1, &any, &tensor, err));
    if (tensor->n > INT32_MAX)
        return error_set(err, REEL_CORRUPT, "%s: %s has too many entries (%lld)", tensor_set_path(model->set), name,
                         (long long)tensor->n);
    *ids = tensor->data;
    *n = (int32_t)tensor->n;
    for (int32_t i = 0; i < *n; i++)
        if ((*ids)[i] < 0 || (i > 0 && (*ids)[i] <= (*ids)[i - 1]))
            return error_set(err, REEL_CORRUPT, "%s: %s is not ascending at entry %d (found %d)",
                             tensor_set_path(model->set), name, i, (*ids)[i]);
    return REEL_OK;
}

/* A scale bound in half stars, 1..10. */
static int scale_value(const struct tensor_set *set, const char *key) {
    const char *text = tensor_set_get(set, key);
    char *end;
    long value = text ? strtol(text, &end, 10) : 0;
    return !text || *end || value < 1 || value > 10 ? 0 : (int)value;
}

static reel_status bind_scale(struct reel_model *model, reel_error *err) {
    int low = scale_value(model->set, "scale.min"), high = scale_value(model->set, "scale.max");
    if (!low || !high || low > high)
        return error_set(err, REEL_CORRUPT, "%s: scale.min and scale.max must be half stars 1..10",
                         tensor_set_path(model->set));
    model->scale_min = 0.5f * (float)low;
    model->scale_max = 0.5f * (float)high;
    return REEL_OK;
}

static reel_status bind_algorithm(struct reel_model *model, reel_error *err) {
    const char *name = tensor_set_get(model->set, "algorithm");
    const char *version = tensor_set_get(model->set, "version");
    if (!version || strcmp(version, "1") != 0)
        return error_set(err, REEL_CORRUPT, "%s: model format version 1 is understood (found \"%.20s\")",
                         tensor_set_path(model->set), version ? version : "none");
    model->algorithm = name ? algorithm_find(name) : NULL;
    if (!model->algorithm)
        return error_set(err, REEL_CORRUPT, "%s: unknown algorithm \"%.40s\"", tensor_set_path(model->set),
                         name ? name : "");
    return REEL_OK;
}

reel_status model_require_floats(const struct reel_model *model, const char *name, int n_dims, const int64_t *shape,
                                 const float **out, int64_t *last_dim, reel_error *err) {
    const struct tensor *tensor;
    TRY_RETURN(tensor_set_require(model->set, name, DTYPE_F32, n_dims, shape, &tensor, err));
    const uint32_t *bits = tensor->data;
    uint32_t bad = 0;
    for (int64_t i = 0; i < tensor->n; i++) bad |= (bits[i] & 0x7f800000u) == 0x7f800000u;
    if (bad)
        return error_set(err, REEL_CORRUPT, "%s: %s holds a value that is not finite", tensor_set_path(model->set),
                         name);
    *out = tensor->data;
    if (last_dim) *last_dim = tensor->shape[n_dims - 1];
    return REEL_OK;
}

/* ---- life ---- */

reel_status model_from_set(struct tensor_set *set, struct reel_model **out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = NULL;
    struct reel_model *model = NULL;
    status = MEM_NEW(&model, 1, err);
    if (status != REEL_OK) {
        tensor_set_free(set);
        return status;
    }
    model->set = set;
    TRY(bind_algorithm(model, err));
    TRY(bind_ids(model, "user_ids", &model->user_ids, &model->n_users, err));
    TRY(bind_ids(model, "movie_ids", &model->movie_ids, &model->n_movies, err));
    TRY(bind_scale(model, err));
    TRY(model->algorithm->bind(model, err));
    *out = model;
    return REEL_OK;
cleanup:
    reel_model_free(model);
    return status;
}

void reel_model_free(reel_model *model) {
    if (!model) return;
    if (model->algorithm && model->algorithm->unbind) model->algorithm->unbind(model);
    tensor_set_free(model->set);
    mem_free(model);
}

reel_status reel_model_open(reel_context *ctx, const char *path, reel_model **out, reel_error *err) {
    struct tensor_set *set = NULL;
    *out = NULL;
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(tensor_file_open(path, "reel-model", &set, err));
    return model_from_set(set, out, err);
}

reel_status reel_model_save(reel_context *ctx, const reel_model *model, const char *path, reel_error *err) {
    TRY_RETURN(context_check(ctx, err));
    return tensor_file_write(path, model->set, ctx->pool, err);
}

const char *reel_model_algorithm(const reel_model *model) {
    return model->algorithm->name;
}

const char *reel_model_metadata(const reel_model *model, const char *key) {
    return tensor_set_get(model->set, key);
}

/* ---- fitting ---- */

reel_status model_put_common(struct tensor_set *set, const struct algorithm *algorithm, const struct fit_input *input,
                             reel_error *err) {
    const struct reel_dataset *dataset = input->dataset;
    TRY_RETURN(tensor_set_put(set, "format", "reel-model", err));
    TRY_RETURN(tensor_set_put(set, "version", "1", err));
    TRY_RETURN(tensor_set_put(set, "algorithm", algorithm->name, err));
    TRY_RETURN(params_put(input->params, set, err));
    TRY_RETURN(tensor_set_putf(set, "seed", err, "%llu", (unsigned long long)input->seed));
    TRY_RETURN(tensor_set_put(set, "dataset.fingerprint", dataset->fingerprint, err));
    TRY_RETURN(tensor_set_putf(set, "n_ratings", err, "%lld", (long long)input->ratings->n_ratings));
    TRY_RETURN(tensor_set_putf(set, "scale.min", err, "%d", input->ratings->scale_min));
    TRY_RETURN(tensor_set_putf(set, "scale.max", err, "%d", input->ratings->scale_max));
    TRY_RETURN(tensor_set_put(set, "build.commit", reel_build_commit(), err));
    void *ids;
    TRY_RETURN(tensor_set_add1(set, "user_ids", DTYPE_I32, dataset->n_users, &ids, err));
    if (dataset->n_users) memcpy(ids, dataset->user_ids, (size_t)dataset->n_users * sizeof(int32_t));
    TRY_RETURN(tensor_set_add1(set, "movie_ids", DTYPE_I32, dataset->n_movies, &ids, err));
    if (dataset->n_movies) memcpy(ids, dataset->movie_ids, (size_t)dataset->n_movies * sizeof(int32_t));
    return REEL_OK;
}

reel_status model_fit(reel_context *ctx, const struct algorithm *algorithm, const struct fit_input *input,
                      struct reel_model **out, struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    *out = NULL;
    *output = (struct fit_output){0};
    if (input->ratings->n_ratings == 0)
        return error_set(err, REEL_BAD_INPUT, "there are no ratings to train %s on", algorithm->name);
    if (input->checkpoint && !algorithm->checkpoints)
        return error_set(err, REEL_UNSUPPORTED, "%s is fitted in one go and takes no --checkpoint", algorithm->name);
    TRY(context_check(ctx, err));
    TRY(tensor_set_new(&set, err));
    TRY(model_put_common(set, algorithm, input, err));
    TRY(algorithm->fit(ctx, input, set, output, err));
    struct tensor_set *finished = set;
    set = NULL;
    TRY(model_from_set(finished, out, err));
    return REEL_OK;
cleanup:
    tensor_set_free(set);
    free(output->epochs);
    free(output->test_predictions);
    *output = (struct fit_output){0};
    return status;
}

reel_status fit_output_epoch(struct fit_output *output, reel_epoch epoch, reel_error *err) {
    size_t bytes = ((size_t)output->n_epochs + 1) * sizeof *output->epochs;
    reel_epoch *epochs = realloc(output->epochs, bytes);
    if (!epochs) return error_no_memory(err, bytes);
    epochs[output->n_epochs++] = epoch;
    output->epochs = epochs;
    return REEL_OK;
}

/* ---- measuring ---- */

struct model_scores {
    const struct reel_model *model;
    const float *given;
};

static reel_status score_pairs(const void *arg, const struct rating_pairs *pairs, int64_t begin, int64_t n,
                               float *scores, reel_error *err) {
    const struct model_scores *source = arg;
    if (source->given) {
        memcpy(scores, source->given + begin, (size_t)n * sizeof *scores);
        return REEL_OK;
    }
    return source->model->algorithm->predict(source->model, n, pairs->users + begin, pairs->movies + begin,
                                             pairs->times ? pairs->times + begin : NULL, scores, NULL, err);
}

reel_status model_measure(reel_context *ctx, const struct reel_model *model, const struct rating_pairs *pairs,
                          const float *given, float *predictions, reel_metrics *metrics, reel_error *err) {
    struct model_scores source = {model, given};
    return measure_pairs(ctx, pairs, model->scale_min, model->scale_max, score_pairs, &source, predictions, metrics,
                         err);
}
