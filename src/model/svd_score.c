/* Scoring with `svd` and models of its shape: pairs, all movies of a user, visitors by fold-in, explanations.
 *
 * Fold-in: a visitor's factors and bias x = (p, b) are the ridge solution against the fixed movie factors,
 *   min_x  sum_j (y_j - <x, (q_j, 1)>)^2 + x^T Lambda x,   y_j = stars_j - mean - movie_bias_j.
 * For svd, Lambda is the precision of the trained users' own vectors (svd_prior.h): few ratings leave a visitor near
 * what is usual among users. (SGD's regularization, summed over n ratings, would hold far less: SGD stops early
 * instead.) x = A^-1 sum_j y_j (q_j, 1) is linear in the y_j, so a score splits into one share a rating:
 * <(q_m, 1), A^-1 (q_j, 1)> y_j. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/dense.h"
#include "kernels/common/dot.h"
#include "model/svd.h"

struct svd_state {
    int k, biased;
    float mean;
    const float *user_bias, *movie_bias;
    const float *user_factors, *movie_factors; /* (n_users, k), (n_movies, k) */
    struct svd_fold fold;
};

reel_status svd_bind(struct reel_model *model, reel_error *err) {
    struct param_values params;
    TRY_RETURN(params_of_set(model->set, svd_params, svd_n_params, &params, err));
    struct svd_fold fold = {0};
    int k = (int)params_number(&params, "factors"), biased = params_number(&params, "biased") != 0;
    int64_t shape[2] = {k + biased, k + biased};
    TRY_RETURN(model_require_floats(model, "fold_in_precision", 2, shape, &fold.precision, NULL, err));
    return svd_bind_factors(model, k, biased, &fold, err);
}

reel_status svd_bind_factors(struct reel_model *model, int k, int biased, const struct svd_fold *fold,
                             reel_error *err) {
    struct svd_state *state;
    TRY_RETURN(MEM_NEW(&state, 1, err));
    model->state = state;
    const float *mean;
    state->k = k;
    state->biased = biased;
    state->fold = *fold;
    int64_t one = 1, n_users = model->n_users, n_movies = model->n_movies;
    int64_t user_shape[2] = {n_users, state->k}, movie_shape[2] = {n_movies, state->k};
    TRY_RETURN(model_require_floats(model, "mean", 1, &one, &mean, NULL, err));
    TRY_RETURN(model_require_floats(model, "user_bias", 1, &n_users, &state->user_bias, NULL, err));
    TRY_RETURN(model_require_floats(model, "movie_bias", 1, &n_movies, &state->movie_bias, NULL, err));
    TRY_RETURN(model_require_floats(model, "user_factors", 2, user_shape, &state->user_factors, NULL, err));
    TRY_RETURN(model_require_floats(model, "movie_factors", 2, movie_shape, &state->movie_factors, NULL, err));
    state->mean = *mean;
    return REEL_OK;
}

void svd_unbind(struct reel_model *model) {
    mem_free(model->state);
}

/* ---- known users ---- */

static int is_zero(const float *vector, int k) {
    for (int f = 0; f < k; f++)
        if (vector[f] != 0) return 0;
    return 1;
}

/* Without biases a product with a side that has no ratings says nothing: the mean does. */
static float score_unbiased(const struct svd_state *state, const float *user, const float *movie) {
    if (!user || !movie || is_zero(user, state->k) || is_zero(movie, state->k)) return state->mean;
    return dot_floats(user, movie, state->k);
}

static float score_pair(const struct svd_state *state, int32_t user, int32_t movie) {
    const float *p = user >= 0 ? state->user_factors + (int64_t)user * state->k : NULL;
    const float *q = movie >= 0 ? state->movie_factors + (int64_t)movie * state->k : NULL;
    if (!state->biased) return score_unbiased(state, p, q);
    float base = state->mean + (user >= 0 ? state->user_bias[user] : 0);
    return base + (movie >= 0 ? state->movie_bias[movie] : 0) + (p && q ? dot_floats(p, q, state->k) : 0);
}

reel_status svd_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                        const uint32_t *times, float *scores, float *sds, reel_error *err) {
    (void)times, (void)sds, (void)err;
    for (int64_t i = 0; i < n; i++) scores[i] = score_pair(model->state, users[i], movies[i]);
    return REEL_OK;
}

reel_status svd_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores, float *sds,
                             reel_error *err) {
    (void)time, (void)sds, (void)err;
    for (int32_t m = 0; m < model->n_movies; m++) scores[m] = score_pair(model->state, user, m);
    return REEL_OK;
}

/* ---- visitors ---- */

/* The normal equations of one visitor: d = k, or k + 1 with the bias last. */
struct ridge {
    int d;
    double *lower; /* (d, d) A, then its Cholesky factor; the lower triangle counts */
    double *x;     /* (d,) right side, then solution */
};

/* (q_m, 1) as doubles. */
static void movie_vector(const struct svd_state *state, int32_t movie, double *out) {
    const float *q = state->movie_factors + (int64_t)movie * state->k;
    for (int f = 0; f < state->k; f++) out[f] = (double)q[f];
    if (state->biased) out[state->k] = 1;
}

static double residual(const struct svd_state *state, int32_t movie, float stars) {
    if (state->fold.gram) return 1 + 1 / (state->fold.alpha * (double)stars); /* preference 1, see weight() */
    return state->biased ? (double)stars - (double)state->mean - (double)state->movie_bias[movie] : (double)stars;
}

/* Implicit feedback: confidence beyond the 1 that every movie has. */
static double weight(const struct svd_state *state, float stars) {
    return state->fold.gram ? state->fold.alpha * (double)stars : 1;
}

static void solve(const double *lower, int d, double *x) {
    dense_forward(lower, d, x);
    dense_backward(lower, d, x);
}

static void ridge_free(struct ridge *ridge) {
    mem_free(ridge->lower);
    mem_free(ridge->x);
}

/* Builds and factors A; x = sum_j w_j y_j (q_j, 1). */
static reel_status ridge_new(const struct svd_state *state, int64_t n, const int32_t *movies, const float *stars,
                             struct ridge *ridge, reel_error *err) {
    int d = state->k + state->biased;
    double vector[1025];
    *ridge = (struct ridge){.d = d};
    TRY_RETURN(MEM_NEW(&ridge->lower, (int64_t)d * d, err));
    TRY_RETURN(MEM_NEW(&ridge->x, d, err));
    if (state->fold.gram) memcpy(ridge->lower, state->fold.gram, sizeof(double) * (size_t)d * (size_t)d);
    for (int64_t i = 0; state->fold.precision && i < (int64_t)d * d; i++)
        ridge->lower[i] = (double)state->fold.precision[i];
    for (int64_t j = 0; j < n; j++) {
        movie_vector(state, movies[j], vector);
        double w = weight(state, stars[j]), wy = w * residual(state, movies[j], stars[j]);
        for (int i = 0; i < d; i++) {
            double *row = ridge->lower + (ptrdiff_t)i * d;
            for (int c = 0; c <= i; c++) row[c] += w * vector[i] * vector[c];
            ridge->x[i] += wy * vector[i];
        }
    }
    double count = state->fold.per_rating && n ? (double)n : 1;
    for (int i = 0; i < d; i++)
        ridge->lower[(ptrdiff_t)i * d + i] +=
            count * (i < state->k ? state->fold.factor_ridge : state->fold.bias_ridge);
    if (!dense_cholesky(ridge->lower, d))
        return error_set(err, REEL_NUMERIC, "the visitor's normal equations are not positive definite");
    return REEL_OK;
}

reel_status svd_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        uint32_t time, float *scores, float *sds, reel_error *err) {
    (void)time, (void)sds;
    reel_status status = REEL_OK;
    const struct svd_state *state = model->state;
    struct ridge ridge = {0};
    float *user = NULL; /* (k + 1,) */
    TRY(MEM_NEW(&user, state->k + 1, err));
    TRY(ridge_new(state, n, movies, stars, &ridge, err));
    solve(ridge.lower, ridge.d, ridge.x);
    for (int i = 0; i < ridge.d; i++) user[i] = (float)ridge.x[i];
    for (int32_t m = 0; m < model->n_movies; m++) {
        const float *movie = state->movie_factors + (int64_t)m * state->k;
        scores[m] = state->biased
                        ? state->mean + (user[state->k] + state->movie_bias[m]) + dot_floats(user, movie, state->k)
                        : score_unbiased(state, n ? user : NULL, movie);
    }
cleanup:
    ridge_free(&ridge);
    mem_free(user);
    return status;
}

reel_status svd_explain(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        int32_t movie, float *shares, reel_error *err) {
    reel_status status = REEL_OK;
    const struct svd_state *state = model->state;
    struct ridge ridge = {0};
    double vector[1025];
    TRY(ridge_new(state, n, movies, stars, &ridge, err));
    movie_vector(state, movie, ridge.x);
    solve(ridge.lower, ridge.d, ridge.x);
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        movie_vector(state, movies[j], vector);
        for (int i = 0; i < ridge.d; i++) sum += ridge.x[i] * vector[i];
        shares[j] = (float)(sum * weight(state, stars[j]) * residual(state, movies[j], stars[j]));
    }
cleanup:
    ridge_free(&ridge);
    return status;
}

/* ---- views ---- */

const float *svd_movie_factors(const struct reel_model *model, int *k, int *stride) {
    const struct svd_state *state = model->state;
    *k = *stride = state->k;
    return state->movie_factors;
}

int svd_factor_view(const struct reel_model *model, struct factor_view *view) {
    const struct svd_state *state = model->state;
    if (!state->biased && state->mean != 0) return 0; /* see score_unbiased: not a plain sum */
    *view = (struct factor_view){.k = state->k,
                                 .stride = state->k,
                                 .pairs = 1,
                                 .mean = state->mean,
                                 .user_bias = state->user_bias,
                                 .movie_bias = state->movie_bias,
                                 .user_factors = state->user_factors,
                                 .movie_factors = state->movie_factors};
    return 1;
}
