/* Scoring with `bmf`: the mean over the kept samples and its standard deviation; visitors are folded in by the
 * conditional posterior of their vector under each sample: precision A_s = Lambda_s + alpha_s sum x x^T with
 * x = (q, 1), mean A_s^-1 (Lambda_s mu_s + alpha_s sum t x). Linear in the targets t, so a score splits into one
 * share a rating. The score takes the means; its variance is that of the means over the samples, plus what a draw of
 * the vector in each sample adds (law of total variance), plus the noise. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "backend/factor_ops.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "model/bmf.h"
#include "kernels/common/dot.h"
#include "model/gibbs_prior.h"

/* ---- binding ---- */

static reel_status require_doubles(const struct reel_model *model, const char *name, int n_dims, const int64_t *shape,
                                   const double **out, reel_error *err) {
    const struct tensor *tensor;
    TRY_RETURN(tensor_set_require(model->set, name, DTYPE_F64, n_dims, shape, &tensor, err));
    *out = tensor->data;
    for (int64_t i = 0; i < tensor->n; i++)
        if (!isfinite((*out)[i]))
            return error_set(err, REEL_CORRUPT, "%s: %s holds a value that is not finite", tensor_set_path(model->set),
                             name);
    return REEL_OK;
}

static reel_status bind_groups(const struct reel_model *model, int kind, struct bmf_view *view, reel_error *err) {
    char name[TENSOR_NAME_MAX + 1];
    const struct tensor *keys;
    int64_t any = -1;
    snprintf(name, sizeof name, "time_%s_keys", bmf_time_names[kind]);
    TRY_RETURN(tensor_set_require(model->set, name, DTYPE_U64, 1, &any, &keys, err));
    view->group_keys[kind] = keys->data;
    view->n_groups[kind] = keys->n;
    for (int64_t g = 1; g < keys->n; g++)
        if (view->group_keys[kind][g] <= view->group_keys[kind][g - 1])
            return error_set(err, REEL_CORRUPT, "%s: %s is not ascending at entry %lld", tensor_set_path(model->set),
                             name, (long long)g);
    snprintf(name, sizeof name, "time_%s_effects", bmf_time_names[kind]);
    return model_require_floats(model, name, 1, &keys->n, &view->group_effects[kind], NULL, err);
}

static reel_status mean_biases(const float *biases, int32_t n, int samples, float **out, reel_error *err) {
    TRY_RETURN(MEM_RAW(out, n, err));
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
        for (int s = 0; s < samples; s++) sum += (double)biases[i * samples + s];
        (*out)[i] = (float)(sum / samples);
    }
    return REEL_OK;
}

reel_status bmf_bind(struct reel_model *model, reel_error *err) {
    struct bmf_view *view;
    TRY_RETURN(MEM_NEW(&view, 1, err));
    model->state = view;
    const struct tensor *noise;
    const double *mean;
    int64_t any = -1, one = 1;
    TRY_RETURN(tensor_set_require(model->set, "noise_precision", DTYPE_F64, 1, &any, &noise, err));
    int64_t wide, samples = noise->n;
    if (samples < 1 || samples > 1024)
        return error_set(err, REEL_CORRUPT, "%s: the model keeps %lld samples (1 to 1024 are understood)",
                         tensor_set_path(model->set), (long long)samples);
    TRY_RETURN(model_require_floats(model, "user_factors", 2, (int64_t[]){model->n_users, -1}, &view->user_factors,
                                    &wide, err));
    if (wide < samples || wide % samples || wide / samples > FACTOR_K_MAX)
        return error_set(err, REEL_CORRUPT, "%s: user_factors has %lld columns for %lld samples",
                         tensor_set_path(model->set), (long long)wide, (long long)samples);
    view->samples = (int)samples;
    view->k = (int)(wide / samples);
    const int64_t d = view->k + 1;
    TRY_RETURN(model_require_floats(model, "movie_factors", 2, (int64_t[]){model->n_movies, wide}, &view->movie_factors,
                                    NULL, err));
    TRY_RETURN(model_require_floats(model, "user_biases", 2, (int64_t[]){model->n_users, samples}, &view->user_biases,
                                    NULL, err));
    TRY_RETURN(model_require_floats(model, "movie_biases", 2, (int64_t[]){model->n_movies, samples},
                                    &view->movie_biases, NULL, err));
    TRY_RETURN(require_doubles(model, "mean", 1, &one, &mean, err));
    TRY_RETURN(require_doubles(model, "noise_precision", 1, &samples, &view->noise_precision, err));
    TRY_RETURN(require_doubles(model, "user_prior_mean", 2, (int64_t[]){samples, d}, &view->user_prior_mean, err));
    TRY_RETURN(require_doubles(model, "user_prior_precision", 3, (int64_t[]){samples, d, d},
                               &view->user_prior_precision, err));
    view->mean = *mean;
    if (tensor_set_find(model->set, "movie_set"))
        TRY_RETURN(model_require_floats(model, "movie_set", 3, (int64_t[]){model->n_movies, samples, d},
                                        &view->movie_set, NULL, err));
    view->has_time = tensor_set_find(model->set, "time_day_keys") != NULL;
    for (int kind = 0; view->has_time && kind < BMF_TIME_KINDS; kind++) TRY_RETURN(bind_groups(model, kind, view, err));
    for (int s = 0; s < view->samples; s++) {
        if (!(view->noise_precision[s] > 0))
            return error_set(err, REEL_CORRUPT, "%s: noise_precision must be positive", tensor_set_path(model->set));
        view->noise_variance += 1 / view->noise_precision[s] / view->samples;
    }
    TRY_RETURN(mean_biases(view->user_biases, model->n_users, view->samples, &view->user_bias, err));
    return mean_biases(view->movie_biases, model->n_movies, view->samples, &view->movie_bias, err);
}

void bmf_unbind(struct reel_model *model) {
    struct bmf_view *view = model->state;
    if (!view) return;
    mem_free(view->user_bias);
    mem_free(view->movie_bias);
    mem_free(view);
}

/* ---- known users ---- */

static float time_effect(const struct bmf_view *view, int32_t user, int32_t movie, uint32_t when) {
    float sum = 0;
    for (int kind = 0; view->has_time && kind < BMF_TIME_KINDS; kind++) {
        if ((kind == BMF_USER_DAY && user < 0) || (kind == BMF_MOVIE_SPAN && movie < 0)) continue;
        uint64_t key = bmf_time_key((enum bmf_time_kind)kind, user, movie, when);
        int64_t g = bmf_time_find(view->group_keys[kind], view->n_groups[kind], key);
        if (g >= 0) sum += view->group_effects[kind][g];
    }
    return sum;
}

/* A user's side of a score: factors laid end to end (S * k,), one bias a sample, and the biases' mean. */
struct bmf_user {
    const float *factors, *biases; /* NULL = unknown */
    float bias;
};

static struct bmf_user user_of(const struct bmf_view *view, int32_t user) {
    if (user < 0) return (struct bmf_user){NULL, NULL, 0};
    return (struct bmf_user){view->user_factors + (int64_t)user * view->samples * view->k,
                             view->user_biases + (int64_t)user * view->samples, view->user_bias[user]};
}

static float score_one(const struct bmf_view *view, const struct bmf_user *user, int32_t movie) {
    float score = (float)view->mean + user->bias + (movie >= 0 ? view->movie_bias[movie] : 0);
    if (user->factors && movie >= 0)
        score += dot_floats(user->factors, view->movie_factors + (int64_t)movie * view->samples * view->k,
                            view->samples * view->k);
    return score;
}

/* Variance of the score over the samples plus that of the noise. */
static float deviation_one(const struct bmf_view *view, const struct bmf_user *user, int32_t movie) {
    const int k = view->k, samples = view->samples;
    double sum = 0, squares = 0;
    for (int s = 0; s < samples; s++) {
        double score = (user->biases ? (double)user->biases[s] : 0);
        if (movie >= 0) score += (double)view->movie_biases[(int64_t)movie * samples + s];
        if (movie >= 0 && user->factors)
            score += samples * (double)dot_floats(user->factors + s * k,
                                                  view->movie_factors + ((int64_t)movie * samples + s) * k, k);
        sum += score;
        squares += score * score;
    }
    double variance = samples > 1 ? (squares - sum * sum / samples) / (samples - 1) : 0;
    return (float)sqrt((variance > 0 ? variance : 0) + view->noise_variance);
}

reel_status bmf_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                        const uint32_t *times, float *scores, float *sds, reel_error *err) {
    (void)err;
    const struct bmf_view *view = model->state;
    for (int64_t i = 0; i < n; i++) {
        struct bmf_user user = user_of(view, users[i]);
        scores[i] = score_one(view, &user, movies[i]);
        if (times) scores[i] += time_effect(view, users[i], movies[i], times[i]);
        if (sds) sds[i] = deviation_one(view, &user, movies[i]);
    }
    return REEL_OK;
}

static void score_all(const struct reel_model *model, const struct bmf_user *user, int32_t index, uint32_t time,
                      float *scores, float *sds) {
    const struct bmf_view *view = model->state;
    for (int32_t m = 0; m < model->n_movies; m++) {
        scores[m] = score_one(view, user, m);
        if (view->has_time) scores[m] += time_effect(view, index, m, time);
        if (sds) sds[m] = deviation_one(view, user, m);
    }
}

reel_status bmf_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores, float *sds,
                             reel_error *err) {
    (void)err;
    struct bmf_user side = user_of(model->state, user);
    score_all(model, &side, user, time, scores, sds);
    return REEL_OK;
}

/* ---- visitors ---- */

/* Scratch of one visitor: (d, d) Cholesky factor, and vectors (d,). */
struct visitor {
    const struct reel_model *model;
    int64_t n;
    const int32_t *movies;
    const float *stars;
    double *lower, *right, *set, *x;
};

static reel_status visitor_new(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                               struct visitor *out, reel_error *err) {
    const struct bmf_view *view = model->state;
    const size_t d = (size_t)view->k + 1;
    *out = (struct visitor){.model = model, .n = n, .movies = movies, .stars = stars};
    TRY_RETURN(MEM_RAW(&out->lower, d * d + 3 * d, err));
    out->right = out->lower + d * d;
    out->set = out->right + d;
    out->x = out->set + d;
    return REEL_OK;
}

/* x = (factors of `movie` in sample s, 1). */
static void movie_vector(const struct bmf_view *view, int32_t movie, int s, double *x) {
    const float *q = view->movie_factors + ((int64_t)movie * view->samples + s) * view->k;
    const double scale = sqrt(view->samples);
    for (int f = 0; f < view->k; f++) x[f] = scale * (double)q[f];
    x[view->k] = 1;
}

static double dot_double(const double *a, const double *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* What rating j says beyond mean, movie bias and the set's part, in sample s; x is its movie vector. */
static double visitor_target(const struct visitor *visitor, int s, int64_t j, const double *x) {
    const struct bmf_view *view = visitor->model->state;
    return (double)visitor->stars[j] - view->mean -
           (double)view->movie_biases[(int64_t)visitor->movies[j] * view->samples + s] -
           dot_double(x, visitor->set, view->k + 1);
}

/* Factors A_s into `lower`, puts the solution for the visitor's own vector into `right`, the set's part in `set`. */
static reel_status visitor_solve(struct visitor *visitor, int s, reel_error *err) {
    const struct bmf_view *view = visitor->model->state;
    const int d = view->k + 1;
    const double alpha = view->noise_precision[s];
    const double *precision = view->user_prior_precision + (int64_t)s * d * d;
    const double *mean = view->user_prior_mean + (int64_t)s * d;
    memset(visitor->set, 0, sizeof(double) * (size_t)d);
    for (int64_t j = 0; view->movie_set && j < visitor->n; j++)
        for (int f = 0; f < d; f++)
            visitor->set[f] += (double)view->movie_set[((int64_t)visitor->movies[j] * view->samples + s) * d + f] /
                               sqrt((double)visitor->n);
    memcpy(visitor->lower, precision, sizeof(double) * (size_t)d * (size_t)d);
    for (int f = 0; f < d; f++) visitor->right[f] = dot_double(precision + (int64_t)f * d, mean, d);
    for (int64_t j = 0; j < visitor->n; j++) {
        movie_vector(view, visitor->movies[j], s, visitor->x);
        double target = visitor_target(visitor, s, j, visitor->x);
        for (int f = 0; f < d; f++) {
            visitor->right[f] += alpha * target * visitor->x[f];
            for (int g = 0; g <= f; g++) visitor->lower[(int64_t)f * d + g] += alpha * visitor->x[f] * visitor->x[g];
        }
    }
    if (!dense_cholesky(visitor->lower, d))
        return error_set(err, REEL_NUMERIC, "folding in: the posterior precision is not positive definite");
    dense_forward(visitor->lower, d, visitor->right);
    dense_backward(visitor->lower, d, visitor->right);
    return REEL_OK;
}

/* The visitor's vectors under all samples: conditional means laid out as a user's, and one draw's distance from the
 * mean a sample, A_s^(-T/2) z, factors (S, k) and biases (S,). */
struct visitor_vectors {
    float *factors, *biases, *drawn_factors, *drawn_biases;
    float bias; /* mean of the biases */
};

static reel_status visitor_vectors_new(const struct bmf_view *view, struct visitor_vectors *out, reel_error *err) {
    const size_t samples = (size_t)view->samples, wide = samples * (size_t)view->k;
    TRY_RETURN(MEM_NEW(&out->factors, 2 * (wide + samples), err));
    out->drawn_factors = out->factors + wide;
    out->biases = out->drawn_factors + wide;
    out->drawn_biases = out->biases + samples;
    return REEL_OK;
}

/* The same numbers for every visitor: equal ratings get equal answers. */
static void draw_visitor(struct visitor *visitor, int s, struct visitor_vectors *out) {
    const struct bmf_view *view = visitor->model->state;
    const int k = view->k;
    float z[FACTOR_K_MAX + 4];
    for (int f = 0; f <= k; f += 4)
        philox_normals(0, philox_stream(PHILOX_FOLD_IN, (uint32_t)s), (uint64_t)f / 4, z + f);
    for (int f = 0; f <= k; f++) visitor->x[f] = (double)z[f];
    dense_backward(visitor->lower, k + 1, visitor->x);
    for (int f = 0; f < k; f++) out->drawn_factors[s * k + f] = (float)visitor->x[f];
    out->drawn_biases[s] = (float)visitor->x[k];
}

static reel_status visitor_sample(struct visitor *visitor, int s, int draw, struct visitor_vectors *out,
                                  reel_error *err) {
    const struct bmf_view *view = visitor->model->state;
    const int k = view->k, samples = view->samples;
    TRY_RETURN(visitor_solve(visitor, s, err));
    for (int f = 0; f < k; f++)
        out->factors[s * k + f] = (float)((visitor->right[f] + visitor->set[f]) / sqrt(samples));
    out->biases[s] = (float)(visitor->right[k] + visitor->set[k]);
    out->bias += out->biases[s] / (float)samples;
    if (draw) draw_visitor(visitor, s, out);
    return REEL_OK;
}

/* Mean square, over the samples, of how far a draw of the visitor's vector moves the score of `movie`: with one draw a
 * sample an unbiased estimate of the mean conditional variance, at the cost of a score. */
static float drawing_variance(const struct bmf_view *view, const struct visitor_vectors *visitor, int32_t movie) {
    const int k = view->k, samples = view->samples;
    const float *q = view->movie_factors + (int64_t)movie * samples * k, scale = sqrtf((float)samples);
    float sum = 0;
    for (int s = 0; s < samples; s++) {
        float moved = scale * dot_floats(visitor->drawn_factors + s * k, q + s * k, k) + visitor->drawn_biases[s];
        sum += moved * moved;
    }
    return sum / (float)samples;
}

reel_status bmf_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        uint32_t time, float *scores, float *sds, reel_error *err) {
    reel_status status = REEL_OK;
    const struct bmf_view *view = model->state;
    struct visitor visitor = {0};
    struct visitor_vectors vectors = {0};
    TRY(visitor_new(model, n, movies, stars, &visitor, err));
    TRY(visitor_vectors_new(view, &vectors, err));
    for (int s = 0; s < view->samples; s++) TRY(visitor_sample(&visitor, s, sds != NULL, &vectors, err));
    score_all(model, &(struct bmf_user){vectors.factors, vectors.biases, vectors.bias}, -1, time, scores, sds);
    for (int32_t m = 0; sds && m < model->n_movies; m++)
        sds[m] = sqrtf(sds[m] * sds[m] + drawing_variance(view, &vectors, m));
cleanup:
    mem_free(vectors.factors);
    mem_free(visitor.lower);
    return status;
}

reel_status bmf_explain(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                        int32_t movie, float *shares, reel_error *err) {
    reel_status status = REEL_OK;
    const struct bmf_view *view = model->state;
    const int d = view->k + 1;
    struct visitor visitor = {0};
    double *weights = NULL;
    memset(shares, 0, sizeof *shares * (size_t)n);
    TRY(visitor_new(model, n, movies, stars, &visitor, err));
    TRY(MEM_RAW(&weights, d, err));
    for (int s = 0; s < view->samples; s++) {
        TRY(visitor_solve(&visitor, s, err));
        movie_vector(view, movie, s, weights);
        dense_forward(visitor.lower, d, weights);
        dense_backward(visitor.lower, d, weights);
        for (int64_t j = 0; j < n; j++) {
            movie_vector(view, movies[j], s, visitor.x);
            double target = visitor_target(&visitor, s, j, visitor.x);
            shares[j] += (float)(view->noise_precision[s] * target * dot_double(weights, visitor.x, d) / view->samples);
        }
    }
cleanup:
    mem_free(weights);
    mem_free(visitor.lower);
    return status;
}

/* ---- views ---- */

const float *bmf_movie_factors(const struct reel_model *model, int *k, int *stride) {
    const struct bmf_view *view = model->state;
    *k = *stride = view->samples * view->k;
    return view->movie_factors;
}

int bmf_factor_view(const struct reel_model *model, struct factor_view *view) {
    const struct bmf_view *own = model->state;
    if (own->has_time) return 0; /* scores depend on the day */
    int wide = own->samples * own->k;
    *view = (struct factor_view){.k = wide,
                                 .stride = wide,
                                 .pairs = 1,
                                 .mean = (float)own->mean,
                                 .user_bias = own->user_bias,
                                 .movie_bias = own->movie_bias,
                                 .user_factors = own->user_factors,
                                 .movie_factors = own->movie_factors};
    return 1;
}
