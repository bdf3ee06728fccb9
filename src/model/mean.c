/* `mean`: the mean of all ratings, or of a user's or a movie's (the mean of all where there are none). The
 * yardstick that every other model must beat. Tensors: see baseline.h. */
#include "core/error.h"
#include "core/mem.h"
#include "model/baseline.h"

enum { OF_ALL, OF_USER, OF_MOVIE };
static const struct param_spec mean_params[] = {
    {"of", PARAM_CHOICE, "all", 0, 0, "all|user|movie", "whose mean is predicted"},
};

static void mean_of_rows(int32_t n_rows, const int64_t *offsets, const uint8_t *ratings, double mean, float *bias) {
    for (int32_t row = 0; row < n_rows; row++) {
        int64_t sum = 0, n = offsets[row + 1] - offsets[row];
        for (int64_t i = offsets[row]; i < offsets[row + 1]; i++) sum += ratings[i];
        bias[row] = n ? (float)(0.5 * (double)sum / (double)n - mean) : 0;
    }
}

static reel_status mean_of_movies(const struct ratings *ratings, double mean, float *bias, reel_error *err) {
    int64_t *sums; /* (n_movies, 2): sum and count */
    TRY_RETURN(MEM_NEW(&sums, 2 * (int64_t)ratings->n_movies, err));
    for (int64_t i = 0; i < ratings->n_ratings; i++) {
        int64_t *sum = sums + 2 * (int64_t)ratings->user_movies[i];
        sum[0] += ratings->user_ratings[i];
        sum[1]++;
    }
    for (int32_t m = 0; m < ratings->n_movies; m++) {
        const int64_t *sum = sums + 2 * (int64_t)m;
        bias[m] = sum[1] ? (float)(0.5 * (double)sum[0] / (double)sum[1] - mean) : 0;
    }
    mem_free(sums);
    return REEL_OK;
}

static reel_status mean_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                            struct fit_output *output, reel_error *err) {
    const struct ratings *ratings = input->ratings;
    double start = clock_seconds(), mean = baseline_mean(ratings);
    int of = (int)params_number(input->params, "of");
    float *out_mean, *user_bias, *movie_bias;
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(baseline_add(set, ratings, &out_mean, &user_bias, &movie_bias, err));
    *out_mean = (float)mean;
    if (of == OF_USER) mean_of_rows(ratings->n_users, ratings->user_offsets, ratings->user_ratings, mean, user_bias);
    if (of == OF_MOVIE) TRY_RETURN(mean_of_movies(ratings, mean, movie_bias, err));
    output->visited = ratings->n_ratings;
    output->fit_seconds = clock_seconds() - start;
    return REEL_OK;
}

static reel_status mean_bind(struct reel_model *model, reel_error *err) {
    struct param_values params;
    TRY_RETURN(params_of_set(model->set, mean_params, 1, &params, err));
    TRY_RETURN(baseline_bind(model, err));
    ((struct baseline *)model->state)->fold_in = params_number(&params, "of") == OF_USER;
    return REEL_OK;
}

const struct algorithm algorithm_mean = {
    .name = "mean",
    .summary = "the mean rating: of all, of the user, or of the movie",
    .params = mean_params,
    .n_params = sizeof mean_params / sizeof mean_params[0],
    .fit = mean_fit,
    .bind = mean_bind,
    .unbind = baseline_unbind,
    .predict = baseline_predict,
    .score_movies = baseline_score_movies,
    .fold_in = baseline_fold_in,
    .explain = baseline_explain,
};
