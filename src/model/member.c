#include "model/member.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/split.h"

reel_status member_open(struct member *member, const char *name, uint64_t seed, reel_error *err) {
    *member = (struct member){.algorithm = algorithm_find(name), .seed = seed};
    if (member->algorithm)
        return params_parse(member->algorithm->params, member->algorithm->n_params, NULL, 0, &member->params, err);
    TRY_RETURN(tensor_file_open(name, "reel-model", &member->saved, err));
    const char *algorithm = tensor_set_get(member->saved, "algorithm"), *text = tensor_set_get(member->saved, "seed");
    member->algorithm = algorithm ? algorithm_find(algorithm) : NULL;
    if (!member->algorithm)
        return error_set(err, REEL_CORRUPT, "%s: unknown algorithm \"%.40s\"", name, algorithm ? algorithm : "");
    if (text) member->seed = strtoull(text, NULL, 10);
    return params_of_set(member->saved, member->algorithm->params, member->algorithm->n_params, &member->params, err);
}

void member_free(struct member *member) {
    tensor_set_free(member->saved);
    *member = (struct member){0};
}

reel_status member_fit(reel_context *ctx, const struct member *member, const struct reel_dataset *dataset,
                       const struct ratings *ratings, const struct rating_pairs *test, const char *stage,
                       struct reel_model **model, struct fit_output *output, reel_error *err) {
    struct fit_input input = {.dataset = dataset,
                              .ratings = ratings,
                              .test = member->algorithm->predicts_test ? test : NULL,
                              .params = &member->params,
                              .seed = member->seed,
                              .stage = stage};
    return model_fit(ctx, member->algorithm, &input, model, output, err);
}

void member_output_free(struct fit_output *output) {
    free(output->epochs);
    mem_free(output->test_predictions);
    *output = (struct fit_output){0};
}

/* ---- out-of-fold predictions ---- */

/* predictions[i] = that of rating i for the ratings of one fold. */
static reel_status predict_fold(reel_context *ctx, const struct member *member, const struct reel_dataset *dataset,
                                const struct ratings *ratings, const uint8_t *held_out, const char *stage,
                                float *predictions, struct fit_output *total, reel_error *err) {
    reel_status status = REEL_OK;
    struct ratings train = {0};
    struct rating_pairs pairs = {0};
    struct reel_model *model = NULL;
    struct fit_output output = {0};
    float *own = NULL;
    reel_metrics metrics;
    TRY(ratings_subset(ctx, ratings, held_out, member->algorithm->needs, &train, err));
    TRY(ratings_pairs(ctx, ratings, held_out, &pairs, err));
    TRY(MEM_RAW(&own, pairs.n, err));
    TRY(member_fit(ctx, member, dataset, &train, &pairs, stage, &model, &output, err));
    TRY(model_measure(ctx, model, &pairs, output.test_predictions, own, &metrics, err));
    for (int64_t i = 0, at = 0; i < ratings->n_ratings; i++)
        if (held_out[i]) predictions[i] = own[at++];
    total->visited += output.visited;
    total->fit_seconds += output.fit_seconds;
cleanup:
    mem_free(own);
    member_output_free(&output);
    reel_model_free(model);
    rating_pairs_free(&pairs);
    ratings_free(&train);
    return status;
}

reel_status member_predict_out_of_fold(reel_context *ctx, const struct member *member,
                                       const struct reel_dataset *dataset, const struct ratings *ratings, int folds,
                                       uint64_t seed, const char *stage, float *predictions, struct fit_output *total,
                                       reel_error *err) {
    reel_status status = REEL_OK;
    uint8_t *held_out = NULL;
    TRY(MEM_RAW(&held_out, ratings->n_ratings, err));
    for (int fold = 0; fold < folds; fold++) {
        char name[96];
        snprintf(name, sizeof name, "%.40spart %d/%d %.20s ", stage, fold + 1, folds, member->algorithm->name);
        TRY(split_fold(ctx, ratings, REEL_SPLIT_RANDOM, folds, fold, seed, held_out, err));
        TRY(predict_fold(ctx, member, dataset, ratings, held_out, name, predictions, total, err));
    }
cleanup:
    mem_free(held_out);
    return status;
}

/* ---- in a file ---- */

static int is_ids(const struct tensor *tensor) {
    return strcmp(tensor->name, "user_ids") == 0 || strcmp(tensor->name, "movie_ids") == 0;
}

reel_status member_put(const char *prefix, const struct reel_model *model, struct tensor_set *set, reel_error *err) {
    char name[TENSOR_NAME_MAX + 32];
    for (size_t i = 0; i < tensor_set_count(model->set); i++) {
        const struct tensor *tensor = tensor_set_at(model->set, i);
        void *data;
        if (is_ids(tensor)) continue;
        snprintf(name, sizeof name, "%.16s%s", prefix, tensor->name);
        TRY_RETURN(tensor_set_add(set, name, tensor->dtype, tensor->n_dims, tensor->shape, &data, err));
        if (tensor->bytes) memcpy(data, tensor->data, tensor->bytes);
    }
    const char *key, *value;
    for (size_t i = 0; tensor_set_metadata_at(model->set, i, &key, &value); i++) {
        char prefixed[160];
        snprintf(prefixed, sizeof prefixed, "%.16s%s", prefix, key);
        TRY_RETURN(tensor_set_put(set, prefixed, value, err));
    }
    return REEL_OK;
}

reel_status member_bind(const struct reel_model *model, const char *prefix, struct reel_model **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    size_t length = strlen(prefix);
    *out = NULL;
    TRY(tensor_set_new(&set, err));
    for (size_t i = 0; i < tensor_set_count(model->set); i++) {
        const struct tensor *tensor = tensor_set_at(model->set, i);
        if (!is_ids(tensor) && strncmp(tensor->name, prefix, length) != 0) continue;
        TRY(tensor_set_add_borrowed(set, is_ids(tensor) ? tensor->name : tensor->name + length, tensor->dtype,
                                    tensor->n_dims, tensor->shape, tensor->data, err));
    }
    const char *key, *value;
    for (size_t i = 0; tensor_set_metadata_at(model->set, i, &key, &value); i++)
        if (strncmp(key, prefix, length) == 0) TRY(tensor_set_put(set, key + length, value, err));
    return model_from_set(set, out, err);
cleanup:
    tensor_set_free(set);
    return status;
}
