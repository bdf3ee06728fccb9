/* `imported`: trees of XGBoost or LightGBM over the feature star of a dataset, whose means are those of all its
 * ratings. Tensors: see forest.h. */
#include <string.h>

#include <reel/interchange.h>
#include "core/context.h"
#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "model/foreign_forest.h"

static reel_status cannot_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                              struct fit_output *output, reel_error *err) {
    (void)ctx, (void)input, (void)set, (void)output;
    return error_set(err, REEL_UNSUPPORTED, "models of XGBoost and LightGBM come by reel import-model");
}

const struct algorithm algorithm_imported = {
    .name = "imported",
    .summary = "trees of XGBoost or LightGBM (reel import-model)",
    .needs = RATINGS_TIMES,
    .fit = cannot_fit,
    .bind = forest_bind,
    .unbind = forest_unbind,
    .predict = forest_predict,
    .fold_in = forest_fold_in,
    .forest_view = forest_view,
};

static reel_status build_star(const reel_dataset *dataset, const reel_import_model_options *options, struct star *star,
                              reel_error *err) {
    struct star_options star_options = {
        .genres = options->tmdb_genres ? STAR_TMDB : STAR_MOVIELENS, .year = 1, .hour = 1};
    TRY_RETURN(star_build(dataset, &dataset->ratings, &star_options, star, err));
    for (size_t i = 0; i < options->n_columns; i++)
        TRY_RETURN(star_read_columns(dataset, options->columns[i], star, err));
    return REEL_OK;
}

static reel_status make_model(const reel_dataset *dataset, const struct foreign_forest *forest, const char *format,
                              struct reel_model **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    struct param_values params = {0};
    struct fit_input input = {.dataset = dataset, .ratings = &dataset->ratings, .params = &params, .stage = ""};
    TRY(tensor_set_new(&set, err));
    TRY(model_put_common(set, &algorithm_imported, &input, err));
    TRY(tensor_set_put(set, "imported.format", format, err));
    TRY(forest_put_columns(forest->star, set, err));
    TRY(forest_put_trees(&forest->builder, (float)forest->base, set, err));
    struct tensor_set *finished = set;
    set = NULL;
    TRY(model_from_set(finished, out, err));
cleanup:
    tensor_set_free(set);
    return status;
}

reel_status reel_import_model(reel_context *ctx, const reel_dataset *dataset, const char *path,
                              const reel_import_model_options *options, reel_model **out, reel_error *err) {
    reel_status status = REEL_OK;
    static const reel_import_model_options defaults = {0};
    struct star star = {0};
    struct file_map file = {0};
    struct foreign_forest forest = {.path = path, .star = &star};
    *out = NULL;
    TRY(context_check(ctx, err));
    TRY(file_map_open(path, &file, err));
    size_t blank = 0;
    while (blank < file.size && strchr(" \t\r\n", file.data[blank]) && file.data[blank]) blank++;
    int xgboost = blank < file.size && file.data[blank] == '{',
        lightgbm = file.size >= 5 && !memcmp(file.data, "tree", 4);
    if (!xgboost && !lightgbm)
        TRY(error_set(err, REEL_BAD_INPUT, "%s:1: neither JSON of XGBoost's nor a text model of LightGBM's", path));
    TRY(build_star(dataset, options ? options : &defaults, &star, err));
    TRY(xgboost ? xgboost_read(&forest, file.data, file.size, err) : lightgbm_read(&forest, file.data, file.size, err));
    TRY(make_model(dataset, &forest, xgboost ? "xgboost" : "lightgbm", out, err));
cleanup:
    foreign_free(&forest);
    star_free(&star);
    file_map_close(&file);
    return status;
}
