/* Start values for a fit from a saved factor model: `als`, `svd`, or the last kept sample of `bmf`. */
#ifndef MODEL_WARM_START_H
#define MODEL_WARM_START_H

#include "model/model.h"

struct warm_start {
    struct reel_model *model;
    int k;
    float scale;                               /* what the factors are multiplied with */
    int64_t factor_stride, bias_stride;        /* from one user or movie to the next */
    const float *user_factors, *movie_factors; /* (k,) from each stride */
    const float *user_bias, *movie_bias;
};

/* Opens the model in the file `path` for a fit on `input` with k factors, with biases or (implicit feedback) without.
 * It may have been trained on another dataset: users and movies are found by their ids. Errors: those of
 * reel_model_open; INVALID_ARGUMENT for a model without factors, of another kind or length; MISMATCH when it knows
 * none of the movies. A warning where it may have seen the part that `input` holds out. */
reel_status warm_start_open(reel_context *ctx, const char *path, const struct fit_input *input, int k, int biased,
                            struct warm_start *out, reel_error *err);
/* Puts "params.init" = the model's algorithm and hash: what it was, not where it lay. */
reel_status warm_start_name(const struct warm_start *start, struct tensor_set *set, reel_error *err);
void warm_start_close(struct warm_start *start); /* takes a zeroed struct */
/* Overwrites the vectors (n, stride) of the users, or of the movies, that have ratings and that the model knows:
 * k factors and, with biases, the bias behind them. */
void warm_start_fill(const struct warm_start *start, const struct fit_input *input, int movies, int stride, int biased,
                     float *vectors);

#endif
