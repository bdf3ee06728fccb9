/* `svd`: biased matrix factorization by stochastic gradient descent, as Surprise's SVD (Koren, Bell and
 * Volinsky, "Matrix factorization techniques for recommender systems", 2009): score = mean + user_bias +
 * movie_bias + <user_factors, movie_factors>.
 *
 * Tensors, all F32: "mean" (1,), "user_bias" (U,), "movie_bias" (M,), "user_factors" (U, k), "movie_factors" (M, k),
 * "fold_in_precision" (d, d) with d = k + 1, or k without biases (svd_prior.h).
 * Users and movies without training ratings have zeros. With biased = false the biases are zeros and scores are
 * the bare product; "mean" then serves pairs of which one side is unknown. */
#ifndef MODEL_SVD_H
#define MODEL_SVD_H

#include "model/model.h"

extern const struct param_spec svd_params[];
extern const size_t svd_n_params;

/* A rate of one term: learning_rate_pu where given, else learning_rate; `what` is "learning_rate" or
 * "regularization", `term` "bu", "bi", "pu" or "qi". */
double svd_rate(const struct param_values *params, const char *what, const char *term);

reel_status svd_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set, struct fit_output *output,
                    reel_error *err);

reel_status svd_bind(struct reel_model *model, reel_error *err);
/* How a visitor is folded in: ridge regression on the fixed movie factors. */
struct svd_fold {
    double factor_ridge, bias_ridge; /* on the diagonal; times the number of ratings if per_rating */
    int per_rating;
    const float *precision; /* (d, d) added to A: prior precision in units of the noise, else NULL */
    const double *gram;     /* (k, k) sum q q^T over all movies for implicit feedback, else NULL */
    double alpha;           /* confidence 1 + alpha stars, with gram */
};
/* Binds the tensors above, but for the last, for any algorithm that has them; the functions below then serve it. */
reel_status svd_bind_factors(struct reel_model *model, int k, int biased, const struct svd_fold *fold, reel_error *err);
void svd_unbind(struct reel_model *model);
reel_status svd_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                        const uint32_t *times, float *scores, float *sds, reel_error *err);
reel_status svd_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores, float *sds,
                             reel_error *err);
reel_status svd_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        uint32_t time, float *scores, float *sds, reel_error *err);
reel_status svd_explain(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        int32_t movie, float *shares, reel_error *err);
const float *svd_movie_factors(const struct reel_model *model, int *k, int *stride);
int svd_factor_view(const struct reel_model *model, struct factor_view *view);

#endif
