#include "eval/compare_state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "core/mem.h"

static const char *const figures[] = {"rmse", "mae", "r2", "fit_seconds", "test_seconds"};
enum { N_FIGURES = sizeof figures / sizeof figures[0] };

/* ---- reading ---- */

static reel_status corrupt(const struct compare_state *state, const char *what, reel_error *err) {
    return error_set(err, REEL_CORRUPT, "%s: is no state of a comparison: %s (take another folder)", state->path, what);
}

static reel_status check_identity(const struct compare_state *state, const json_t *identity, reel_error *err) {
    const json_t *there = json_object_get(state->content, "identity");
    const char *key;
    json_t *value;
    if (!json_is_object(there)) return corrupt(state, "the identity is missing", err);
    json_object_foreach((json_t *)(uintptr_t)identity, key, value) {
        if (json_equal(value, json_object_get(there, key))) continue;
        return error_set(err, REEL_MISMATCH,
                         "%s: belongs to another comparison: \"%s\" is not the same (take another folder)", state->path,
                         key);
    }
    return REEL_OK;
}

static int whole(const json_t *cell, const char *key, json_int_t below) {
    const json_t *value = json_object_get(cell, key);
    return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) < below;
}

static reel_status check_cells(const struct compare_state *state, int n_models, int n_folds, reel_error *err) {
    const json_t *cells = json_object_get(state->content, "cells");
    size_t index;
    json_t *cell;
    if (!json_is_array(cells)) return corrupt(state, "the cells are missing", err);
    json_array_foreach(cells, index, cell) {
        int good = whole(cell, "model", n_models) && whole(cell, "fold", n_folds);
        if (json_object_get(cell, "code")) {
            const char *code = json_string_value(json_object_get(cell, "code"));
            good &= code && (strcmp(code, reel_status_name(REEL_NUMERIC)) == 0 ||
                             strcmp(code, reel_status_name(REEL_UNSUPPORTED)) == 0);
            good &= json_is_string(json_object_get(cell, "error"));
        } else {
            good &= whole(cell, "n", INT64_MAX);
            for (int f = 0; f < N_FIGURES; f++) good &= json_is_number(json_object_get(cell, figures[f]));
        }
        if (!good) return corrupt(state, "a cell is malformed", err);
    }
    return REEL_OK;
}

static reel_status read_state(struct compare_state *state, const struct file_map *map, const json_t *identity,
                              int n_models, int n_folds, reel_error *err) {
    json_error_t why;
    state->content = json_loadb(map->data ? map->data : "", map->size, JSON_REJECT_DUPLICATES, &why);
    if (!state->content) return corrupt(state, why.text, err);
    const char *format = json_string_value(json_object_get(state->content, "format"));
    if (!format || strcmp(format, "reel-compare") != 0) return corrupt(state, "the format is not reel-compare", err);
    TRY_RETURN(check_identity(state, identity, err));
    return check_cells(state, n_models, n_folds, err);
}

reel_status compare_state_open(const char *folder, json_t *identity, int n_models, int n_folds,
                               struct compare_state *state, reel_error *err) {
    reel_status status = REEL_OK;
    struct file_map map = {0};
    struct strbuf path = {0};
    *state = (struct compare_state){0};
    if (!identity) return error_no_memory(err, 0);
    if (!folder) goto cleanup;
    TRY(file_make_dir(folder, err));
    strbuf_printf(&path, "%s/compare.json", folder);
    state->path = strbuf_take(&path);
    if (!state->path) {
        status = error_no_memory(err, 0);
        goto cleanup;
    }
    status = file_map_open(state->path, &map, err);
    if (status == REEL_OK) {
        TRY(read_state(state, &map, identity, n_models, n_folds, err));
    } else if (status == REEL_NOT_FOUND) {
        state->content =
            json_pack("{s:s,s:i,s:O,s:[]}", "format", "reel-compare", "version", 1, "identity", identity, "cells");
        status = state->content ? REEL_OK : error_no_memory(err, 0);
    }
cleanup:
    file_map_close(&map);
    json_decref(identity);
    return status;
}

void compare_state_close(struct compare_state *state) {
    reel_string_free(state->path);
    json_decref(state->content);
    *state = (struct compare_state){0};
}

/* ---- cells ---- */

static double number(const json_t *cell, const char *key) {
    return json_number_value(json_object_get(cell, key));
}

static void take_cell(const json_t *cell, int fold, reel_compared *out) {
    const char *code = json_string_value(json_object_get(cell, "code"));
    if (code) {
        out->status = strcmp(code, reel_status_name(REEL_NUMERIC)) == 0 ? REEL_NUMERIC : REEL_UNSUPPORTED;
        snprintf(out->message, sizeof out->message, "%s", json_string_value(json_object_get(cell, "error")));
        return;
    }
    reel_fold *to = &out->cv.folds[fold];
    to->test = (reel_metrics){json_integer_value(json_object_get(cell, "n")), number(cell, "rmse"), number(cell, "mae"),
                              number(cell, "r2")};
    to->fit_seconds = number(cell, "fit_seconds");
    to->test_seconds = number(cell, "test_seconds");
}

int compare_state_find(const struct compare_state *state, int model, int fold, reel_compared *out) {
    size_t index;
    json_t *cell;
    json_array_foreach(json_object_get(state->content, "cells"), index, cell) {
        if (json_integer_value(json_object_get(cell, "model")) != model ||
            json_integer_value(json_object_get(cell, "fold")) != fold)
            continue;
        take_cell(cell, fold, out);
        return 1;
    }
    return 0;
}

static json_t *make_cell(int model, int fold, const reel_compared *out) {
    const reel_fold *done = &out->cv.folds[fold];
    if (out->status != REEL_OK)
        return json_pack("{s:i,s:i,s:s,s:s}", "model", model, "fold", fold, "code", reel_status_name(out->status),
                         "error", out->message);
    return json_pack("{s:i,s:i,s:I,s:f,s:f,s:f,s:f,s:f}", "model", model, "fold", fold, "n", (json_int_t)done->test.n,
                     "rmse", done->test.rmse, "mae", done->test.mae, "r2", done->test.r2, "fit_seconds",
                     done->fit_seconds, "test_seconds", done->test_seconds);
}

reel_status compare_state_keep(struct compare_state *state, int model, int fold, const reel_compared *out,
                               reel_error *err) {
    const reel_fold *done = &out->cv.folds[fold];
    if (!state->path) return REEL_OK;
    /* A test part without ratings, or with equal ones, has no figures that JSON knows: it is measured again. */
    if (out->status == REEL_OK && !(isfinite(done->test.rmse) && isfinite(done->test.r2))) return REEL_OK;
    json_t *cell = make_cell(model, fold, out);
    if (!cell || json_array_append_new(json_object_get(state->content, "cells"), cell) != 0)
        return error_no_memory(err, 0);
    char *text = json_text(state->content, JSON_COMPACT | JSON_REAL_PRECISION(17));
    if (!text) return error_no_memory(err, 0);
    reel_status status = file_replace(state->path, text, strlen(text), err);
    reel_string_free(text);
    return status;
}
