#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/foreign_forest.h"

/* Objectives whose prediction is the plain sum. */
static const char *const objectives[] = {"reg:squarederror",     "reg:linear",        "reg:absoluteerror",
                                         "reg:pseudohubererror", "reg:quantileerror", NULL};

static json_t *member(json_t *object, const char *const *path) {
    for (; *path && object; path++) object = json_object_get(object, *path);
    return object;
}
#define MEMBER(object, ...) member((object), (const char *const[]){__VA_ARGS__, NULL})

static const char *text_or(json_t *value, const char *otherwise) {
    const char *text = json_string_value(value);
    return text ? text : otherwise;
}

/* "5E-1" or, since 3.1, "[5E-1]". */
static reel_status read_base(struct foreign_forest *forest, json_t *learner, reel_error *err) {
    const char *text = text_or(MEMBER(learner, "learner_model_param", "base_score"), "");
    char *end;
    forest->base = strtod(text + (*text == '['), &end);
    if (*text == '[' && *end == ']') end++;
    if (end == text || *end || !(fabs(forest->base) < 1e6))
        return error_set(err, REEL_BAD_INPUT, "%s: base_score must be one number (found \"%.40s\")", forest->path,
                         text);
    return REEL_OK;
}

static reel_status check_kind(const struct foreign_forest *forest, json_t *learner, reel_error *err) {
    const char *booster = text_or(MEMBER(learner, "gradient_booster", "name"), "none");
    const char *objective = text_or(MEMBER(learner, "objective", "name"), "none");
    const char *classes = text_or(MEMBER(learner, "learner_model_param", "num_class"), "0");
    const char *targets = text_or(MEMBER(learner, "learner_model_param", "num_target"), "1");
    int known = 0;
    for (const char *const *name = objectives; *name; name++) known |= strcmp(*name, objective) == 0;
    if (strcmp(booster, "gbtree") != 0)
        return error_set(err, REEL_BAD_INPUT, "%s: booster gbtree can be read (found \"%.40s\")", forest->path,
                         booster);
    if (!known)
        return error_set(err, REEL_BAD_INPUT, "%s: objective \"%.40s\" is no plain sum of leaves in stars",
                         forest->path, objective);
    if (atoi(classes) > 1 || atoi(targets) > 1)
        return error_set(err, REEL_BAD_INPUT, "%s: one output can be read (found num_class %.10s, num_target %.10s)",
                         forest->path, classes, targets);
    return REEL_OK;
}

static reel_status read_names(struct foreign_forest *forest, json_t *learner, reel_error *err) {
    json_t *names = json_object_get(learner, "feature_names");
    if (json_array_size(names) == 0)
        return error_set(err, REEL_BAD_INPUT, "%s: the features have no names (DMatrix takes feature_names)",
                         forest->path);
    TRY_RETURN(foreign_begin(forest, (int64_t)json_array_size(names), err));
    for (int32_t f = 0; f < forest->n_features; f++) {
        json_t *name = json_array_get(names, (size_t)f);
        if (!json_is_string(name))
            return error_set(err, REEL_BAD_INPUT, "%s: feature name %d is no text", forest->path, f);
        TRY_RETURN(foreign_name(forest, f, json_string_value(name), json_string_length(name), err));
    }
    return REEL_OK;
}

/* ---- trees ---- */

struct tree_arrays {
    json_t *lefts, *rights, *features, *conditions;
    int32_t n;
};

static reel_status find_arrays(const struct foreign_forest *forest, json_t *tree, int32_t number,
                               struct tree_arrays *arrays, reel_error *err) {
    json_t **to[] = {&arrays->lefts, &arrays->rights, &arrays->features, &arrays->conditions};
    static const char *const names[] = {"left_children", "right_children", "split_indices", "split_conditions"};
    size_t n = json_array_size(json_object_get(tree, names[0]));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        *to[i] = json_object_get(tree, names[i]);
        if (!json_is_array(*to[i]) || json_array_size(*to[i]) != n || n < 1 || n > INT32_MAX)
            return error_set(err, REEL_BAD_INPUT, "%s: tree %d: %s has %zu entries, left_children %zu", forest->path,
                             number, names[i], json_array_size(*to[i]), n);
    }
    json_t *types = json_object_get(tree, "split_type");
    for (size_t i = 0; i < json_array_size(types); i++)
        if (json_number_value(json_array_get(types, i)) != 0)
            return error_set(err, REEL_BAD_INPUT, "%s: tree %d, node %zu: splits by category cannot be read",
                             forest->path, number, i);
    if (atoi(text_or(MEMBER(tree, "tree_param", "size_leaf_vector"), "1")) > 1)
        return error_set(err, REEL_BAD_INPUT, "%s: tree %d: leaves that are vectors cannot be read", forest->path,
                         number);
    arrays->n = (int32_t)n;
    return REEL_OK;
}

/* A whole number of 32 bits, or INT32_MIN, which no index may be. */
static int32_t index_at(const json_t *array, int32_t at) {
    json_t *value = json_array_get(array, (size_t)at);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : INT32_MIN;
    return number < INT32_MIN || number > INT32_MAX ? INT32_MIN : (int32_t)number;
}

static reel_status read_node(const struct foreign_forest *forest, const struct tree_arrays *arrays, int32_t number,
                             int32_t at, struct foreign_node *node, reel_error *err) {
    json_t *value = json_array_get(arrays->conditions, (size_t)at);
    int32_t left = index_at(arrays->lefts, at), right = index_at(arrays->rights, at);
    int leaf = left == -1;
    float condition = json_is_number(value) ? (float)json_number_value(value) : NAN;
    if (!leaf && isfinite(condition)) condition = nextafterf(condition, -INFINITY);
    *node = (struct foreign_node){leaf ? -1 : index_at(arrays->features, at), left, right, condition};
    if (!isfinite(condition))
        return error_set(err, REEL_BAD_INPUT, "%s: tree %d, node %d: its %s is no finite float", forest->path, number,
                         at, leaf ? "leaf" : "threshold");
    if (!leaf && node->feature < 0)
        return error_set(err, REEL_BAD_INPUT, "%s: tree %d, node %d: its feature is no number from 0 up", forest->path,
                         number, at);
    return REEL_OK;
}

static reel_status read_tree(struct foreign_forest *forest, json_t *tree, int32_t number, reel_error *err) {
    reel_status status = REEL_OK;
    struct tree_arrays arrays;
    struct foreign_node *nodes = NULL;
    TRY(find_arrays(forest, tree, number, &arrays, err));
    TRY(MEM_RAW(&nodes, arrays.n, err));
    for (int32_t at = 0; at < arrays.n; at++) TRY(read_node(forest, &arrays, number, at, &nodes[at], err));
    TRY(foreign_add_tree(forest, number, nodes, arrays.n, err));
cleanup:
    mem_free(nodes);
    return status;
}

reel_status xgboost_read(struct foreign_forest *forest, const char *data, size_t size, reel_error *err) {
    reel_status status = REEL_OK;
    json_error_t where;
    json_t *root = json_loadb(data, size, 0, &where);
    json_t *learner = json_object_get(root, "learner");
    json_t *trees = MEMBER(learner, "gradient_booster", "model", "trees");
    if (!root)
        TRY(error_set(err, REEL_BAD_INPUT, "%s:%d: not JSON: %s", forest->path, where.line > 0 ? where.line : 1,
                      where.text));
    if (!learner) TRY(error_set(err, REEL_BAD_INPUT, "%s: not a model of XGBoost's: no \"learner\"", forest->path));
    TRY(check_kind(forest, learner, err));
    if (json_array_size(trees) == 0 || json_array_size(trees) > INT32_MAX)
        TRY(error_set(err, REEL_BAD_INPUT, "%s: the model has no trees", forest->path));
    TRY(read_base(forest, learner, err));
    TRY(read_names(forest, learner, err));
    for (size_t t = 0; t < json_array_size(trees); t++)
        TRY(read_tree(forest, json_array_get(trees, t), (int32_t)t, err));
cleanup:
    json_decref(root);
    return status;
}
