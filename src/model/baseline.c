#include "model/baseline.h"

#include "core/error.h"
#include "core/mem.h"

double baseline_mean(const struct ratings *ratings) {
    int64_t sum = 0;
    for (int64_t i = 0; i < ratings->n_ratings; i++) sum += ratings->user_ratings[i];
    return ratings->n_ratings ? 0.5 * (double)sum / (double)ratings->n_ratings : 0;
}

reel_status baseline_add(struct tensor_set *set, const struct ratings *ratings, float **mean, float **user_bias,
                         float **movie_bias, reel_error *err) {
    TRY_RETURN(tensor_set_add1(set, "mean", DTYPE_F32, 1, (void **)mean, err));
    TRY_RETURN(tensor_set_add1(set, "user_bias", DTYPE_F32, ratings->n_users, (void **)user_bias, err));
    return tensor_set_add1(set, "movie_bias", DTYPE_F32, ratings->n_movies, (void **)movie_bias, err);
}

reel_status baseline_bind(struct reel_model *model, reel_error *err) {
    struct baseline *state;
    TRY_RETURN(MEM_NEW(&state, 1, err));
    model->state = state;
    const float *mean;
    int64_t one = 1, users = model->n_users, movies = model->n_movies;
    TRY_RETURN(model_require_floats(model, "mean", 1, &one, &mean, NULL, err));
    TRY_RETURN(model_require_floats(model, "user_bias", 1, &users, &state->user_bias, NULL, err));
    TRY_RETURN(model_require_floats(model, "movie_bias", 1, &movies, &state->movie_bias, NULL, err));
    state->mean = *mean;
    return REEL_OK;
}

void baseline_unbind(struct reel_model *model) {
    mem_free(model->state);
}

reel_status baseline_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                             const uint32_t *times, float *scores, float *sds, reel_error *err) {
    (void)times, (void)sds, (void)err;
    const struct baseline *state = model->state;
    for (int64_t i = 0; i < n; i++) {
        float user = users[i] >= 0 ? state->user_bias[users[i]] : 0;
        float movie = movies[i] >= 0 ? state->movie_bias[movies[i]] : 0;
        scores[i] = state->mean + user + movie;
    }
    return REEL_OK;
}

static void score_all(const struct reel_model *model, float user_bias, float *scores) {
    const struct baseline *state = model->state;
    for (int32_t m = 0; m < model->n_movies; m++) scores[m] = state->mean + user_bias + state->movie_bias[m];
}

reel_status baseline_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores,
                                  float *sds, reel_error *err) {
    (void)time, (void)sds, (void)err;
    const struct baseline *state = model->state;
    score_all(model, user >= 0 ? state->user_bias[user] : 0, scores);
    return REEL_OK;
}

/* What one rating of a visitor with n ratings adds to the visitor's bias. */
static double bias_share(const struct baseline *state, int64_t n, int32_t movie, float stars) {
    double divisor = state->fold_in_regularization + (double)n;
    return state->fold_in ? ((double)stars - state->mean - state->movie_bias[movie]) / divisor : 0;
}

reel_status baseline_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                             uint32_t time, float *scores, float *sds, reel_error *err) {
    (void)time, (void)sds, (void)err;
    double bias = 0;
    for (int64_t i = 0; i < n; i++) bias += bias_share(model->state, n, movies[i], stars[i]);
    score_all(model, (float)bias, scores);
    return REEL_OK;
}

reel_status baseline_explain(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                             int32_t movie, float *shares, reel_error *err) {
    (void)movie, (void)err;
    for (int64_t i = 0; i < n; i++) shares[i] = (float)bias_share(model->state, n, movies[i], stars[i]);
    return REEL_OK;
}
