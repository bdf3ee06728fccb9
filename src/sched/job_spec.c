#include "sched/job_spec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "eval/folds.h"

enum { TEXT_MAX = 1000 };
#define SEED_MAX ((json_int_t)1 << 53)

static const char *const kinds[] = {"train", "cv", "cluster", "precompute", NULL};
static const char *const splits[] = {"random", "time", "per-user", NULL};
static const char *const affinities[] = {"cosine", "linear", "polynomial", "rbf", "neighbors", NULL};

const char *job_kind_name(enum job_kind kind) {
    return kinds[kind];
}

int job_name_valid(const char *name) {
    size_t length = strlen(name);
    return length >= 1 && length <= JOB_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
}

/* ---- fields ---- */

static reel_status read_int(const json_t *json, const char *key, json_int_t min, json_int_t max, json_int_t *out,
                            reel_error *err) {
    const json_t *value = json_object_get(json, key);
    if (!value) return REEL_OK;
    if (!json_is_integer(value) || json_integer_value(value) < min || json_integer_value(value) > max)
        return error_set(err, REEL_BAD_INPUT, "\"%s\" must be a whole number from %lld to %lld", key, (long long)min,
                         (long long)max);
    *out = json_integer_value(value);
    return REEL_OK;
}

static reel_status read_choice(const json_t *json, const char *key, const char *const *names, int *out,
                               reel_error *err) {
    const json_t *value = json_object_get(json, key);
    if (!value) return REEL_OK;
    struct strbuf known = {0};
    for (int i = 0; names[i]; i++) {
        if (json_is_string(value) && strcmp(json_string_value(value), names[i]) == 0) {
            *out = i;
            strbuf_free(&known);
            return REEL_OK;
        }
        strbuf_printf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    error_set(err, REEL_BAD_INPUT, "\"%s\" must be one of %s", key, known.failed ? "?" : known.data);
    strbuf_free(&known);
    return REEL_BAD_INPUT;
}

/* Letters that a name may have; *out keeps its default when the field is absent. */
static reel_status read_name(const json_t *json, const char *key, char out[JOB_NAME_MAX + 1], reel_error *err) {
    const json_t *value = json_object_get(json, key);
    if (!value) return REEL_OK;
    if (!json_is_string(value) || !job_name_valid(json_string_value(value)))
        return error_set(err, REEL_BAD_INPUT, "\"%s\" must be 1 to %d of the letters a-z 0-9 _ -", key, JOB_NAME_MAX);
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return REEL_OK;
}

static reel_status check_keys(const json_t *json, const char *const *known, reel_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value) {
        int found = 0;
        for (int i = 0; known[i] && !found; i++) found = strcmp(known[i], key) == 0;
        if (found) continue;
        struct strbuf list = {0};
        for (int i = 0; known[i]; i++) strbuf_printf(&list, "%s%s", i ? ", " : "", known[i]);
        error_set(err, REEL_BAD_INPUT, "unknown field \"%.40s\" (known: %s)", key, list.failed ? "?" : list.data);
        strbuf_free(&list);
        return REEL_BAD_INPUT;
    }
    return REEL_OK;
}

/* ---- parameters ---- */

/* The text of a string, a number or a truth value, as `reel train -p` takes it; NULL for anything else. */
static const char *value_text(struct arena *texts, const json_t *value, reel_status *status, reel_error *err) {
    char number[40];
    const char *text = number;
    if (json_is_string(value) && json_string_length(value) <= TEXT_MAX)
        text = json_string_value(value);
    else if (json_is_integer(value))
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
    else if (json_is_boolean(value))
        snprintf(number, sizeof number, "%s", json_is_true(value) ? "true" : "false");
    else
        return NULL;
    char *copy = arena_strndup(texts, text, strlen(text));
    if (!copy) *status = error_no_memory(err, strlen(text));
    return copy;
}

static reel_status read_params(const json_t *json, struct job_spec *spec, reel_error *err) {
    const json_t *params = json_object_get(json, "params");
    const char *key;
    json_t *value;
    if (!params) return REEL_OK;
    if (!json_is_object(params) || json_object_size(params) > JOB_PARAMS_MAX)
        return error_set(err, REEL_BAD_INPUT, "\"params\" must be an object of at most %d parameters", JOB_PARAMS_MAX);
    json_object_foreach((json_t *)(uintptr_t)params, key, value) {
        reel_status status = REEL_OK;
        reel_param *param = &spec->params[spec->n_params];
        param->value = value_text(&spec->texts, value, &status, err);
        if (status != REEL_OK) return status;
        if (!param->value)
            return error_set(err, REEL_BAD_INPUT,
                             "parameter \"%.40s\" must be a number, true, false or a text of at"
                             " most %d bytes",
                             key, TEXT_MAX);
        param->key = arena_strndup(&spec->texts, key, strlen(key));
        if (!param->key) return error_no_memory(err, strlen(key));
        spec->n_params++;
    }
    return REEL_OK;
}

/* A parameter that names a file may name a model of the models folder only. */
static reel_status check_texts(const struct candidate *candidate, const struct job_spec *spec, reel_error *err) {
    for (size_t i = 0; i < candidate->params.n; i++) {
        const struct param_spec *known = &candidate->params.specs[i];
        const char *text = candidate->params.text[i];
        if (known->type != PARAM_TEXT || !candidate->params.given[i]) continue;
        if (strchr(text, '/') || (strcmp(known->key, "init") == 0 && !job_name_valid(text)))
            return error_set(err, REEL_BAD_INPUT, "parameter %s of a job must be a name, not a path (found \"%.40s\")",
                             known->key, text);
        if (strcmp(known->key, "init") == 0 && strcmp(text, spec->model) == 0 && spec->kind == JOB_TRAIN)
            return error_set(err, REEL_BAD_INPUT, "a model cannot start from itself (give \"model\" another name)");
    }
    return REEL_OK;
}

static reel_status read_algorithm(const json_t *json, struct job_spec *spec, reel_error *err) {
    struct candidate candidate;
    reel_error why;
    if (!json_object_get(json, "algorithm")) return error_set(err, REEL_BAD_INPUT, "\"algorithm\" is missing");
    TRY_RETURN(read_name(json, "algorithm", spec->algorithm, err));
    TRY_RETURN(read_params(json, spec, err));
    if (spec->kind == JOB_TRAIN && !*spec->model) memcpy(spec->model, spec->algorithm, sizeof spec->model);
    if (candidate_init(spec->algorithm, spec->params, spec->n_params, &candidate, &why) != REEL_OK)
        return error_set(err, REEL_BAD_INPUT, "%s", why.message);
    return check_texts(&candidate, spec, err);
}

/* ---- kinds ---- */

static reel_status read_train(const json_t *json, struct job_spec *spec, reel_error *err) {
    static const char *const known[] = {"kind",    "priority", "seed",  "algorithm", "params",
                                        "holdout", "split",    "model", NULL};
    const json_t *holdout = json_object_get(json, "holdout");
    int split = REEL_SPLIT_RANDOM;
    TRY_RETURN(check_keys(json, known, err));
    TRY_RETURN(read_name(json, "model", spec->model, err));
    TRY_RETURN(read_choice(json, "split", splits, &split, err));
    spec->split = (reel_split_kind)split;
    if (holdout) {
        spec->holdout = json_number_value(holdout);
        if (!json_is_number(holdout) || !(spec->holdout >= 0) || !(spec->holdout < 1))
            return error_set(err, REEL_BAD_INPUT, "\"holdout\" must be a number from 0 to less than 1");
    }
    TRY_RETURN(read_algorithm(json, spec, err));
    if (strcmp(spec->model, "clusters") == 0)
        return error_set(err, REEL_BAD_INPUT, "\"model\" cannot be clusters: the cluster file has that name");
    return REEL_OK;
}

static reel_status read_cv(const json_t *json, struct job_spec *spec, reel_error *err) {
    static const char *const known[] = {"kind", "priority", "seed", "algorithm", "params", "folds", "split", NULL};
    json_int_t folds = 5;
    int split = REEL_SPLIT_RANDOM;
    TRY_RETURN(check_keys(json, known, err));
    TRY_RETURN(read_int(json, "folds", 2, 250, &folds, err));
    TRY_RETURN(read_choice(json, "split", splits, &split, err));
    spec->folds = (int)folds;
    spec->split = (reel_split_kind)split;
    return read_algorithm(json, spec, err);
}

static reel_status read_cluster(const json_t *json, struct job_spec *spec, reel_error *err) {
    static const char *const known[] = {"kind",     "priority",    "seed",        "k",
                                        "affinity", "min_ratings", "max_ratings", NULL};
    json_int_t k = 4, min_ratings = 0, max_ratings = 0;
    int affinity = REEL_AFFINITY_POLYNOMIAL;
    TRY_RETURN(check_keys(json, known, err));
    TRY_RETURN(read_int(json, "k", 2, 64, &k, err));
    TRY_RETURN(read_int(json, "min_ratings", 0, INT32_MAX, &min_ratings, err));
    TRY_RETURN(read_int(json, "max_ratings", 0, INT32_MAX, &max_ratings, err));
    TRY_RETURN(read_choice(json, "affinity", affinities, &affinity, err));
    reel_cluster_options_default(&spec->cluster);
    spec->cluster.k = (int)k;
    spec->cluster.affinity = (reel_affinity)affinity;
    spec->cluster.min_ratings = (int64_t)min_ratings;
    spec->cluster.max_ratings = (int64_t)max_ratings;
    spec->cluster.seed = spec->seed;
    return REEL_OK;
}

static reel_status read_precompute(const json_t *json, struct job_spec *spec, reel_error *err) {
    static const char *const known[] = {"kind", "priority", "seed", "model", NULL};
    TRY_RETURN(check_keys(json, known, err));
    if (!json_object_get(json, "model")) return error_set(err, REEL_BAD_INPUT, "\"model\" is missing");
    return read_name(json, "model", spec->model, err);
}

reel_status job_spec_parse(const json_t *json, struct job_spec *spec, reel_error *err) {
    static reel_status (*const readers[])(const json_t *json, struct job_spec *spec,
                                          reel_error *err) = {read_train, read_cv, read_cluster, read_precompute};
    json_int_t priority = 0, seed = 0;
    int kind = -1;
    *spec = (struct job_spec){0};
    if (!json_is_object(json)) return error_set(err, REEL_BAD_INPUT, "a job must be a JSON object");
    if (!json_object_get(json, "kind"))
        return error_set(err, REEL_BAD_INPUT, "\"kind\" is missing (train, cv, cluster or precompute)");
    TRY_RETURN(read_choice(json, "kind", kinds, &kind, err));
    TRY_RETURN(read_int(json, "priority", -JOB_PRIORITY_MAX, JOB_PRIORITY_MAX, &priority, err));
    TRY_RETURN(read_int(json, "seed", 0, SEED_MAX, &seed, err));
    spec->kind = (enum job_kind)kind;
    spec->priority = (int)priority;
    spec->seed = (uint64_t)seed;
    return readers[kind](json, spec, err);
}

void job_spec_free(struct job_spec *spec) {
    arena_free(&spec->texts);
}
