/* Models of the form mean + user_bias[u] + movie_bias[m]: what `mean` and `bias` share.
 *
 * Tensors: "mean" F32 (1,), "user_bias" F32 (U,), "movie_bias" F32 (M,). Users and movies without training
 * ratings have bias 0. */
#ifndef MODEL_BASELINE_H
#define MODEL_BASELINE_H

#include "model/model.h"

struct baseline {
    float mean;
    const float *user_bias, *movie_bias; /* (n_users,), (n_movies,) */
    int fold_in;                         /* 1: a visitor's ratings give a user bias */
    double fold_in_regularization;       /* ... of sum(r - mean - movie_bias) / (this + n) */
};

/* Mean of the ratings in stars, 0 when there are none; exact sum. */
double baseline_mean(const struct ratings *ratings);
/* Adds the three tensors to a set; the pointers are writable until the set is used. */
reel_status baseline_add(struct tensor_set *set, const struct ratings *ratings, float **mean, float **user_bias,
                         float **movie_bias, reel_error *err);

/* Entries of struct algorithm; model->state is a struct baseline, whose fold-in fields the caller of
 * baseline_bind sets afterwards. */
reel_status baseline_bind(struct reel_model *model, reel_error *err);
void baseline_unbind(struct reel_model *model);
reel_status baseline_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                             const uint32_t *times, float *scores, float *sds, reel_error *err);
reel_status baseline_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores,
                                  float *sds, reel_error *err);
reel_status baseline_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                             uint32_t time, float *scores, float *sds, reel_error *err);
reel_status baseline_explain(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                             int32_t movie, float *shares, reel_error *err);

#endif
