/* The table entry and the parameters of `svd`. */
#include "model/svd.h"

#include <math.h>
#include <stdio.h>

#include "model/sgd_grid.h"

#define RATE(key, help) \
    { key, PARAM_REAL, "", 0, 1000, NULL, help }

const struct param_spec svd_params[] = {
    {"factors", PARAM_INT, "100", 1, 1024, NULL, "length of the factor vectors"},
    {"epochs", PARAM_INT, "20", 0, 100000, NULL, "passes over the ratings"},
    {"biased", PARAM_BOOL, "true", 0, 1, NULL, "mean and biases beside the factors"},
    {"init_mean", PARAM_REAL, "0", -100, 100, NULL, "mean of the normal start values of the factors"},
    {"init_std", PARAM_REAL, "0.1", 0, 100, NULL, "standard deviation of the start values"},
    {"learning_rate", PARAM_REAL, "0.005", 0, 1000, NULL, "learning rate of all terms"},
    {"regularization", PARAM_REAL, "0.02", 0, 1000, NULL, "regularization of all terms"},
    RATE("learning_rate_bu", "learning rate of user biases, instead of learning_rate"),
    RATE("learning_rate_bi", "learning rate of movie biases"),
    RATE("learning_rate_pu", "learning rate of user factors"),
    RATE("learning_rate_qi", "learning rate of movie factors"),
    RATE("regularization_bu", "regularization of user biases, instead of regularization"),
    RATE("regularization_bi", "regularization of movie biases"),
    RATE("regularization_pu", "regularization of user factors"),
    RATE("regularization_qi", "regularization of movie factors"),
    {"early_stopping", PARAM_INT, "0", 0, 100000, NULL,
     "epochs without a better test RMSE before training stops and the best epoch is kept; 0 = off"},
    {"bands", PARAM_INT, "0", 0, SGD_BANDS_MAX, NULL,
     "user and movie bands of the block grid, part of the result; 0 = by the number of ratings"},
};
const size_t svd_n_params = sizeof svd_params / sizeof svd_params[0];

double svd_rate(const struct param_values *params, const char *what, const char *term) {
    char key[40];
    snprintf(key, sizeof key, "%s_%s", what, term);
    double own = params_number(params, key);
    return isnan(own) ? params_number(params, what) : own;
}

const struct algorithm algorithm_svd = {
    .name = "svd",
    .summary = "biased matrix factorization by stochastic gradient descent (Surprise's SVD)",
    .params = svd_params,
    .n_params = sizeof svd_params / sizeof svd_params[0],
    .checkpoints = 1,
    .fit = svd_fit,
    .bind = svd_bind,
    .unbind = svd_unbind,
    .predict = svd_predict,
    .score_movies = svd_score_movies,
    .fold_in = svd_fold_in,
    .explain = svd_explain,
    .movie_factors = svd_movie_factors,
    .factor_view = svd_factor_view,
};
