/* What is loaded, and loading it afresh. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/tensor_file.h"
#include "model/model.h"
#include "serve/deferred.h"
#include "serve/routes.h"
#include "serve/schemas.h"

/* ---- GET /api/v1/models ---- */

static json_t *number_or_null(const char *text) {
    return text ? json_real(strtod(text, NULL)) : json_null();
}

static json_t *metrics_json(const reel_model *model) {
    const char *n = reel_model_metadata(model, "metrics.n");
    if (!n) return json_null();
    return json_pack("{s:I,s:o,s:o,s:o}", "n", (json_int_t)strtoll(n, NULL, 10), "rmse",
                     number_or_null(reel_model_metadata(model, "metrics.rmse")), "mae",
                     number_or_null(reel_model_metadata(model, "metrics.mae")), "r2",
                     number_or_null(reel_model_metadata(model, "metrics.r2")));
}

static json_t *params_json(const reel_model *model) {
    json_t *params = json_object();
    char key[128];
    for (size_t i = 0; i < model->algorithm->n_params; i++) {
        const char *name = model->algorithm->params[i].key;
        snprintf(key, sizeof key, "params.%s", name);
        const char *value = reel_model_metadata(model, key);
        if (value) json_object_set_new(params, name, json_string(value));
    }
    return params;
}

static json_t *model_json(const struct snapshot *snapshot, const struct snapshot_model *loaded) {
    const reel_model *model = loaded->model;
    const char *fingerprint = reel_model_metadata(model, "dataset.fingerprint");
    const char *seed = reel_model_metadata(model, "seed"), *n = reel_model_metadata(model, "n_ratings");
    return json_pack("{s:s,s:s,s:b,s:b,s:I,s:s?,s:b,s:s?,s:I,s:i,s:i,s:b,s:b,s:o,s:o}", "name", loaded->name,
                     "algorithm", reel_model_algorithm(model), "default", loaded == snapshot->factor_model,
                     "serves_clusters", loaded == snapshot->tree_model, "generation", (json_int_t)loaded->generation,
                     "fingerprint", fingerprint, "of_this_dataset",
                     fingerprint && strcmp(fingerprint, snapshot->dataset->fingerprint) == 0, "seed", seed, "n_ratings",
                     (json_int_t)(n ? strtoll(n, NULL, 10) : 0), "n_users", (int)model->n_users, "n_movies",
                     (int)model->n_movies, "explains", model->algorithm->explain != NULL, "folds_in",
                     model->algorithm->fold_in != NULL, "params", params_json(model), "metrics", metrics_json(model));
}

static enum request_outcome get_models(struct request *request) {
    const struct snapshot *snapshot = request_snapshot(request);
    const struct reel_dataset *dataset = snapshot->dataset;
    json_t *models = json_array(), *genres = json_array();
    for (int i = 0; i < snapshot->n_models; i++)
        json_array_append_new(models, model_json(snapshot, &snapshot->models[i]));
    for (int g = 0; g < dataset->n_genres; g++)
        json_array_append_new(genres, json_string(reel_dataset_genre(dataset, g)));
    request_json_answer(request, 200,
                        json_pack("{s:{s:s,s:i,s:i,s:I,s:o},s:o}", "dataset", "fingerprint", dataset->fingerprint,
                                  "n_users", (int)dataset->n_users, "n_movies", (int)dataset->n_movies, "n_ratings",
                                  (json_int_t)dataset->n_ratings, "genres", genres, "models", models));
    return REQUEST_DONE;
}

/* clang-format off */
#define MODEL_SCHEMA                                                                                                \
    SCHEMA_OBJECT(JSON("name","algorithm","default","serves_clusters","generation","fingerprint","of_this_dataset", \
        "seed","n_ratings","n_users","n_movies","explains","folds_in","params","metrics"),                          \
        JSON("name":) SCHEMA_TEXT JSON(,"algorithm":) SCHEMA_TEXT JSON(,"default":{"type":"boolean"},               \
        "serves_clusters":{"type":"boolean"},"generation":) SCHEMA_COUNT                                            \
        JSON(,"fingerprint":{"type":["string","null"]},"of_this_dataset":{"type":"boolean"},                        \
        "seed":{"type":["string","null"]},"n_ratings":) SCHEMA_COUNT JSON(,"n_users":) SCHEMA_COUNT                 \
        JSON(,"n_movies":) SCHEMA_COUNT JSON(,"explains":{"type":"boolean"},"folds_in":{"type":"boolean"},          \
        "params":{"type":"object","additionalProperties":{"type":"string"}},"metrics":{"oneOf":[{"type":"null"},)   \
        SCHEMA_OBJECT(JSON("n","rmse","mae","r2"), JSON("n":) SCHEMA_COUNT JSON(,"rmse":) SCHEMA_NUMBER_OR_NULL     \
            JSON(,"mae":) SCHEMA_NUMBER_OR_NULL JSON(,"r2":) SCHEMA_NUMBER_OR_NULL) JSON(]}))

const struct route route_models = {
    .method = HTTP_GET,
    .pattern = "/api/v1/models",
    .handle = get_models,
    .summary = "The dataset and the models that are loaded, with parameters, held-out metrics and fingerprints",
    .answer = SCHEMA_OBJECT(JSON("dataset","models"), JSON("dataset":)
        SCHEMA_OBJECT(JSON("fingerprint","n_users","n_movies","n_ratings","genres"),
            JSON("fingerprint":) SCHEMA_TEXT JSON(,"n_users":) SCHEMA_COUNT JSON(,"n_movies":) SCHEMA_COUNT
            JSON(,"n_ratings":) SCHEMA_COUNT JSON(,"genres":) SCHEMA_TEXTS)
        JSON(,"models":) SCHEMA_LIST(MODEL_SCHEMA)),
    .problems = "400",
};
/* clang-format on */

/* ---- POST /api/v1/models/{name}/reload ---- */

/* Loading takes seconds, so it is done on a thread of its own, not on a worker that others wait for. */
static void *reload(void *arg) {
    struct request *request = arg;
    reel_error err = {REEL_OK, ""};
    reel_status status = service_reload_model(request_service(request), request_path_text(request, "name"), NULL, &err);
    if (status == REEL_OK)
        request_json_answer(request, 200, json_pack("{s:s}", "reloaded", request_path_text(request, "name")));
    else if (status == REEL_NO_MEMORY || status == REEL_BUSY)
        request_fail(request, &err);
    else
        request_problem(request, 500, "the files could not be loaded; what was loaded before stays in use");
    request_finish(request);
    return NULL;
}

static enum request_outcome post_reload(struct request *request) {
    pthread_t thread;
    pthread_attr_t attributes;
    const char *name = request_path_text(request, "name");
    if (!name || !snapshot_model_find(request_snapshot(request), name)) {
        request_problem(request, 404, "there is no such model; GET /api/v1/models lists them");
        return REQUEST_DONE;
    }
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, reload, request);
    pthread_attr_destroy(&attributes);
    if (!failed) return REQUEST_DEFERRED;
    request_problem(request, 503, "no thread is free to load with; try again");
    return REQUEST_DONE;
}

/* clang-format off */
const struct route route_model_reload = {
    .method = HTTP_POST,
    .pattern = "/api/v1/models/{name}/reload",
    .handle = post_reload,
    .access = ACCESS_ADMIN,
    .summary = "Loads a model afresh (and whatever else has changed on disk) and swaps it in; running requests go on with the old one",
    .parameters = (const struct parameter[]){{"name", "path", SCHEMA_MODEL_NAME, "name of a loaded model"}, {0}},
    .answer = SCHEMA_OBJECT(JSON("reloaded"), JSON("reloaded":) SCHEMA_TEXT),
    .problems = "400 404 500",
};
/* clang-format on */
