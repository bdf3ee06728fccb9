/* `bmf`: Bayesian matrix factorization by Gibbs sampling. BPMF (Salakhutdinov and Mnih, ICML 2008) with sampled
 * biases and noise precision, and the switches that Rendle, Zhang and Koren ("On the difficulty of evaluating
 * baselines", 2019) showed to matter: time effects, the set of movies a user rated, the set of users who rated a
 * movie.
 *
 * The model keeps S samples, S = `keep`. A score is the mean over the kept samples, which is the scalar product of
 * the samples' factors laid end to end and scaled by 1/sqrt(S):
 *
 *   mean                  F64 (1,)
 *   user_factors          F32 (U, S * k)   own vector plus the set's part, times 1/sqrt(S); 0 without ratings
 *   movie_factors         F32 (M, S * k)
 *   user_biases           F32 (U, S)       of each sample
 *   movie_biases          F32 (M, S)
 *   noise_precision       F64 (S,)
 *   user_prior_mean       F64 (S, k + 1)   prior of the users' vectors, for folding in
 *   user_prior_precision  F64 (S, k + 1, k + 1)
 *   movie_set             F32 (M, S, k + 1)  implicit_sets only: features of the movies a user rated
 * and with time, for each kind K of user_day, movie_span, day (data in model/bmf_time.h):
 *   time_K_keys           U64 (n,)  ascending
 *   time_K_effects        F32 (n,)  posterior means */
#ifndef MODEL_BMF_H
#define MODEL_BMF_H

#include "model/bmf_time.h"
#include "model/model.h"

struct bmf_view {
    int k, samples;
    double mean;
    const float *user_factors, *movie_factors, *user_biases, *movie_biases, *movie_set;
    const double *noise_precision, *user_prior_mean, *user_prior_precision;
    float *user_bias, *movie_bias; /* means over the samples, owned */
    double noise_variance;         /* mean of 1 / noise_precision */
    int has_time;
    int64_t n_groups[BMF_TIME_KINDS];
    const uint64_t *group_keys[BMF_TIME_KINDS];
    const float *group_effects[BMF_TIME_KINDS];
};

extern const char *const bmf_time_names[BMF_TIME_KINDS]; /* "user_day", ... */

reel_status bmf_bind(struct reel_model *model, reel_error *err);
void bmf_unbind(struct reel_model *model);
reel_status bmf_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                        const uint32_t *times, float *scores, float *sds, reel_error *err);
reel_status bmf_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores, float *sds,
                             reel_error *err);
reel_status bmf_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        uint32_t time, float *scores, float *sds, reel_error *err);
reel_status bmf_explain(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        int32_t movie, float *shares, reel_error *err);
const float *bmf_movie_factors(const struct reel_model *model, int *k, int *stride);
int bmf_factor_view(const struct reel_model *model, struct factor_view *view);

#endif
