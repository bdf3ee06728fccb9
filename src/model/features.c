#include "model/features.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/member.h"

static struct star_options star_options_of(const struct param_values *params) {
    return (struct star_options){.genres = (enum star_genres)params_number(params, "genres"),
                                 .year = params_number(params, "year") != 0,
                                 .hour = params_number(params, "hour") != 0};
}

/* ---- declared columns ---- */

static reel_status add_declared(const struct fit_input *input, struct star *star, reel_error *err) {
    reel_status status = REEL_OK;
    const char *text = params_text(input->params, "columns");
    char *paths = strdup(text), *rest = NULL;
    if (!paths) return error_no_memory(err, strlen(text) + 1);
    for (char *path = strtok_r(paths, ",", &rest); path; path = strtok_r(NULL, ",", &rest))
        TRY(star_read_columns(input->dataset, path, star, err));
cleanup:
    free(paths);
    return status;
}

/* ---- factors ---- */

/* Adds <side>_bias and <side>_factor_0 ... */
static reel_status add_side(const struct factor_view *view, enum star_table table, const char *side, const float *bias,
                            const float *factors, struct star *star, reel_error *err) {
    int32_t n = star->n_rows[table];
    for (int f = -1; f < view->k; f++) {
        char name[32];
        float *values;
        if (f < 0)
            snprintf(name, sizeof name, "%s_bias", side);
        else
            snprintf(name, sizeof name, "%s_factor_%d", side, f);
        TRY_RETURN(star_add_column(star, table, name, &values, err));
        for (int32_t i = 0; i < n; i++) values[i] = f < 0 ? bias[i] : factors[(int64_t)i * view->stride + f];
    }
    return REEL_OK;
}

static reel_status add_view(const struct reel_model *model, const char *name, struct star *star, reel_error *err) {
    struct factor_view view;
    if (!model->algorithm->factor_view || !model->algorithm->factor_view(model, &view))
        return error_set(err, REEL_UNSUPPORTED, "factors_of=%.200s: %s has no factors", name, model->algorithm->name);
    TRY_RETURN(add_side(&view, STAR_USER, "user", view.user_bias, view.user_factors, star, err));
    return add_side(&view, STAR_MOVIE, "movie", view.movie_bias, view.movie_factors, star, err);
}

static reel_status add_factors(reel_context *ctx, const struct fit_input *input, struct star *star,
                               struct fit_output *total, reel_error *err) {
    reel_status status = REEL_OK;
    const char *name = params_text(input->params, "factors_of");
    struct member member = {0};
    struct ratings own = {0};
    struct reel_model *model = NULL;
    struct fit_output output = {0};
    uint8_t *marks = NULL;
    char stage[96];
    if (!*name) return REEL_OK;
    TRY(member_open(&member, name, input->seed, err));
    snprintf(stage, sizeof stage, "%.40sfactors of ", input->stage);
    TRY(MEM_NEW(&marks, input->ratings->n_ratings, err));
    TRY(ratings_subset(ctx, input->ratings, marks, member.algorithm->needs, &own, err));
    TRY(member_fit(ctx, &member, input->dataset, &own, NULL, stage, &model, &output, err));
    total->visited += output.visited;
    total->fit_seconds += output.fit_seconds;
    TRY(add_view(model, name, star, err));
cleanup:
    mem_free(marks);
    member_output_free(&output);
    reel_model_free(model);
    ratings_free(&own);
    member_free(&member);
    return status;
}

/* ---- all ---- */

enum means { MEANS_TRAIN, MEANS_ALL, MEANS_LOO };

reel_status features_new(reel_context *ctx, const struct fit_input *input, struct features *features,
                         struct fit_output *total, reel_error *err) {
    *features = (struct features){.stride = 1};
    enum means means = input->leak_means ? MEANS_ALL : (enum means)params_number(input->params, "means");
    struct star_options options = star_options_of(input->params);
    const struct ratings *of = means == MEANS_ALL ? &input->dataset->ratings : input->ratings;
    TRY_RETURN(star_build(input->dataset, of, &options, &features->star, err));
    TRY_RETURN(add_declared(input, &features->star, err));
    TRY_RETURN(add_factors(ctx, input, &features->star, total, err));
    if (means != MEANS_LOO) return REEL_OK;
    features->stride = STAR_HALF_STARS;
    return star_leave_one_out(&features->star, input->ratings, &features->by_stars, err);
}

void features_free(struct features *features) {
    star_free(&features->star);
    star_free(&features->by_stars);
    *features = (struct features){0};
}

reel_status features_put_importances(const struct features *features, const double *gains, struct tensor_set *set,
                                     reel_error *err) {
    void *shares;
    double total = 0;
    int n = features->star.n_columns;
    TRY_RETURN(tensor_set_add1(set, "importances", DTYPE_F32, n, &shares, err));
    for (int c = 0; c < n; c++) total += gains[c];
    for (int c = 0; c < n && total > 0; c++) ((float *)shares)[c] = (float)(gains[c] / total);
    return REEL_OK;
}
