#include "model/features.h"

#include "core/error.h"

static struct star_options star_options_of(const struct param_values *params) {
    return (struct star_options){.genres = (enum star_genres)params_number(params, "genres"),
                                 .year = params_number(params, "year") != 0,
                                 .hour = params_number(params, "hour") != 0};
}

enum means { MEANS_TRAIN, MEANS_ALL, MEANS_LOO };

reel_status features_new(const struct fit_input *input, struct features *features, reel_error *err) {
    *features = (struct features){.stride = 1};
    enum means means = input->leak_means ? MEANS_ALL : (enum means)params_number(input->params, "means");
    struct star_options options = star_options_of(input->params);
    const struct ratings *of = means == MEANS_ALL ? &input->dataset->ratings : input->ratings;
    TRY_RETURN(star_build(input->dataset, of, &options, &features->star, err));
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
