/* The feature columns of a fit: what trees and the linear model share. Builds the star of data/star.h as an algorithm's
 * parameters ask for it.
 *
 * With means=loo a training rating sees means without itself. Its two means then depend on its user or movie and on its
 * own stars alone, so the training star has a row for each (user, half stars) and each (movie, half stars), ten times
 * as many as there are users and movies, and nothing is expanded by rating. */
#ifndef MODEL_FEATURES_H
#define MODEL_FEATURES_H

#include "data/star.h"
#include "model/model.h"

/* The parameters, for the end of an algorithm's list. */
#define FEATURE_PARAMS                                                                                           \
    {"means",                                                                                                    \
     PARAM_CHOICE,                                                                                               \
     "train",                                                                                                    \
     0,                                                                                                          \
     0,                                                                                                          \
     "train|all|loo",                                                                                            \
     "ratings the feature means are of; all leaks, loo leaves each training rating out"},                        \
        {"genres", PARAM_CHOICE, "movielens", 0, 0, "movielens|tmdb", "whose genres are features"},              \
        {"year", PARAM_BOOL, "0", 0, 1, NULL, "the movie's year as a feature"},                                  \
        {"hour", PARAM_BOOL, "0", 0, 1, NULL, "the hour of the day (UTC) as a feature"},                         \
        {"columns", PARAM_TEXT, "", 0, 0, NULL, "CSVs of more features, separated by commas (docs/trees.md)"}, { \
        "factors_of", PARAM_TEXT, "", 0, 0, NULL,                                                                \
            "factors and biases as features: of an algorithm, or as a saved model was fitted"                    \
    }

struct features {
    struct star star;     /* for scoring; goes into the model */
    struct star by_stars; /* means=loo: rows (user, half stars), (movie, half stars), hours; else empty */
    int stride;           /* rows of the training star a user or movie: 1, or STAR_HALF_STARS */
};

/* With factors_of another model is fitted on the same ratings; its rate and seconds are added to `total`. Freed with
 * features_free, whatever the result. */
reel_status features_new(reel_context *ctx, const struct fit_input *input, struct features *features,
                         struct fit_output *total, reel_error *err);
void features_free(struct features *features);

/* Adds the tensor "importances" F32 (C,): each column's share of `gains` (C,); zeros where there are none. */
reel_status features_put_importances(const struct features *features, const double *gains, struct tensor_set *set,
                                     reel_error *err);

/* What to train on. */
static inline const struct star *features_training(const struct features *features) {
    return features->stride > 1 ? &features->by_stars : &features->star;
}

/* The row of the training star of user or movie `index` at a rating of so many half stars. */
static inline int32_t features_row(int stride, int32_t index, uint8_t half_stars) {
    return stride > 1 ? index * STAR_HALF_STARS + half_stars - 1 : index;
}

#endif
