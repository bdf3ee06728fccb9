#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/model.h"

static reel_status fail_unknown_key(const struct param_spec *specs, size_t n_specs, const char *key, reel_error *err) {
    struct strbuf known = {0};
    for (size_t i = 0; i < n_specs; i++) strbuf_printf(&known, "%s%s", i ? ", " : "", specs[i].key);
    char *text = strbuf_take(&known);
    error_set(err, REEL_INVALID_ARGUMENT, "unknown parameter \"%.40s\" (known: %s)", key,
              !text   ? "?"
              : *text ? text
                      : "none");
    free(text);
    return REEL_INVALID_ARGUMENT;
}

static const struct param_spec *find_spec(const struct param_spec *specs, size_t n_specs, const char *key) {
    for (size_t i = 0; i < n_specs; i++)
        if (strcmp(specs[i].key, key) == 0) return &specs[i];
    return NULL;
}

/* Position of `text` in "a|b|c", or -1. */
static int choice_index(const char *choices, const char *text) {
    size_t length = strlen(text);
    for (int index = 0;; index++) {
        size_t item = strcspn(choices, "|");
        if (item == length && strncmp(choices, text, length) == 0) return index;
        if (choices[item] == '\0') return -1;
        choices += item + 1;
    }
}

static reel_status parse_number(const struct param_spec *spec, const char *text, double *out, reel_error *err) {
    char *end;
    double number = strtod(text, &end);
    int whole = spec->type == PARAM_INT;
    if (end == text || *end || !(number >= spec->min && number <= spec->max) || (whole && number != floor(number)))
        return error_set(err, REEL_INVALID_ARGUMENT, "parameter %s must be %s from %.10g to %.10g (found \"%.40s\")",
                         spec->key, whole ? "a whole number" : "a number", spec->min, spec->max, text);
    *out = number;
    return REEL_OK;
}

static reel_status parse_value(const struct param_spec *spec, const char *text, double *out, reel_error *err) {
    *out = NAN;
    switch (spec->type) {
    case PARAM_INT:
    case PARAM_REAL:
        return parse_number(spec, text, out, err);
    case PARAM_BOOL: {
        int index = choice_index("0|1|false|true|no|yes|off|on", text);
        if (index < 0)
            return error_set(err, REEL_INVALID_ARGUMENT, "parameter %s must be true or false (found \"%.40s\")",
                             spec->key, text);
        *out = index % 2;
        return REEL_OK;
    }
    case PARAM_CHOICE: {
        int index = choice_index(spec->choices, text);
        if (index < 0)
            return error_set(err, REEL_INVALID_ARGUMENT, "parameter %s must be one of %s (found \"%.40s\")", spec->key,
                             spec->choices, text);
        *out = index;
        return REEL_OK;
    }
    case PARAM_TEXT:
        return REEL_OK;
    }
    return error_set(err, REEL_INTERNAL, "parameter %s has no type", spec->key);
}

reel_status params_parse(const struct param_spec *specs, size_t n_specs, const reel_param *params, size_t n_params,
                         struct param_values *out, reel_error *err) {
    *out = (struct param_values){.specs = specs, .n = n_specs};
    if (n_specs > PARAMS_MAX) return error_set(err, REEL_INTERNAL, "more than %d parameters", PARAMS_MAX);
    for (size_t i = 0; i < n_specs; i++) {
        out->text[i] = specs[i].default_value;
        out->number[i] = NAN;
        if (*specs[i].default_value) TRY_RETURN(parse_value(&specs[i], specs[i].default_value, &out->number[i], err));
    }
    for (size_t i = 0; i < n_params; i++) {
        const struct param_spec *spec = find_spec(specs, n_specs, params[i].key);
        if (!spec) return fail_unknown_key(specs, n_specs, params[i].key, err);
        size_t at = (size_t)(spec - specs);
        TRY_RETURN(parse_value(spec, params[i].value, &out->number[at], err));
        out->text[at] = params[i].value;
        out->given[at] = 1;
    }
    return REEL_OK;
}

static size_t value_index(const struct param_values *values, const char *key) {
    const struct param_spec *spec = find_spec(values->specs, values->n, key);
    return spec ? (size_t)(spec - values->specs) : PARAMS_MAX;
}

double params_number(const struct param_values *values, const char *key) {
    size_t at = value_index(values, key);
    return at < PARAMS_MAX ? values->number[at] : NAN;
}

const char *params_text(const struct param_values *values, const char *key) {
    size_t at = value_index(values, key);
    return at < PARAMS_MAX ? values->text[at] : "";
}

/* The shortest of %.15g..%.17g that reads back as the same number. */
static reel_status put_real(struct tensor_set *set, const char *key, double value, reel_error *err) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    return tensor_set_put(set, key, text, err);
}

reel_status params_put(const struct param_values *values, struct tensor_set *set, reel_error *err) {
    for (size_t i = 0; i < values->n; i++) {
        const struct param_spec *spec = &values->specs[i];
        if (!values->given[i] && !*spec->default_value) continue;
        char key[TENSOR_NAME_MAX + 16];
        snprintf(key, sizeof key, "params.%s", spec->key);
        if (spec->type == PARAM_INT || spec->type == PARAM_REAL)
            TRY_RETURN(put_real(set, key, values->number[i], err));
        else if (spec->type == PARAM_BOOL)
            TRY_RETURN(tensor_set_put(set, key, values->number[i] != 0 ? "true" : "false", err));
        else
            TRY_RETURN(tensor_set_put(set, key, values->text[i], err));
    }
    return REEL_OK;
}

reel_status params_of_set(const struct tensor_set *set, const struct param_spec *specs, size_t n_specs,
                          struct param_values *out, reel_error *err) {
    reel_param params[PARAMS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < n_specs && i < PARAMS_MAX; i++) {
        char key[TENSOR_NAME_MAX + 16];
        snprintf(key, sizeof key, "params.%s", specs[i].key);
        const char *value = tensor_set_get(set, key);
        if (value) params[n++] = (reel_param){specs[i].key, value};
    }
    reel_error why;
    reel_status status = params_parse(specs, n_specs, params, n, out, &why);
    if (status == REEL_INVALID_ARGUMENT)
        return error_set(err, REEL_CORRUPT, "%s: %.400s", tensor_set_path(set), why.message);
    if (status != REEL_OK && err) *err = why;
    return status;
}
