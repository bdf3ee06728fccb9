/* `als`: matrix factorization by alternating least squares. Explicit ratings with biases, regularized by
 * regularization * n_r (weighted: Zhou, Wilkinson, Schreiber and Pan, "Large-scale parallel collaborative filtering
 * for the Netflix prize", 2008) or by regularization alone; or implicit feedback (Hu, Koren and Volinsky,
 * "Collaborative filtering for implicit feedback datasets", 2008): preference 1 with confidence 1 + alpha stars for
 * rated movies, 0 with confidence 1 for all others; its scores rank, they are no stars.
 *
 * Tensors: those of `svd` (model/svd.h); with implicit also "movie_gram" F64 (k, k), sum q q^T over the movies. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/gibbs_ops.h"
#include "backend/job_memory.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "model/baseline.h"
#include "model/checkpoint.h"
#include "model/factor_backend.h"
#include "model/gibbs_prior.h"
#include "model/svd.h"
#include "model/warm_start.h"

static const struct param_spec als_params[] = {
    {"factors", PARAM_INT, "64", 1, FACTOR_K_MAX, NULL, "length of the factor vectors"},
    {"iterations", PARAM_INT, "15", 0, 100000, NULL, "rounds of one half-step by users and one by movies"},
    {"regularization", PARAM_REAL, "0.05", 1e-6, 1e6, NULL, "ridge on factors and biases"},
    {"weighted", PARAM_BOOL, "true", 0, 1, NULL, "multiply the ridge by a row's number of ratings (explicit only)"},
    {"implicit", PARAM_BOOL, "false", 0, 1, NULL, "rank by implicit feedback instead of predicting stars"},
    {"alpha", PARAM_REAL, "10", 1e-6, 1e6, NULL, "implicit: confidence is 1 + alpha stars"},
    {"init_std", PARAM_REAL, "0.1", 0, 100, NULL, "standard deviation of the start values"},
    {"solver", PARAM_CHOICE, "cholesky", 0, 0, "cholesky|cg",
     "exact solutions, or conjugate gradients from the last ones"},
    {"cg_steps", PARAM_INT, "3", 1, 1000, NULL, "steps of conjugate gradients a half-step, with solver=cg"},
    {"init", PARAM_TEXT, "", 0, 0, NULL, "model file (als, svd or bmf with as many factors) to start from"},
    {"early_stopping", PARAM_INT, "0", 0, 100000, NULL,
     "iterations without a better test RMSE before training stops and the best is kept; 0 = off"},
};

struct side {
    int32_t n;
    const int64_t *offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    float *vectors, *best;
};

struct als {
    reel_context *ctx;
    struct tensor_set *set; /* the model's, for its metadata */
    const struct fit_input *input;
    struct backend *backend;
    struct job_memory job;
    struct side users, movies;
    struct normal_prior prior;
    int k, d, stride, implicit, weighted, cg_steps; /* cg_steps 0 = exact */
    double mean, regularization, alpha;
    double *sum, *scatter;
    int64_t n_ratings;
    const int32_t *test_users, *test_movies;
    float *test_device, *test_scores;
    double best; /* with early stopping */
    int best_iteration;
};

static reel_status side_new(struct als *als, struct side *side, int32_t n, const int64_t *offsets,
                            const int32_t *columns, const uint8_t *ratings, enum philox_stream stream,
                            const struct warm_start *start, reel_error *err) {
    reel_status status = REEL_OK;
    float *host = NULL;
    const size_t stride = (size_t)als->stride;
    const float std = (float)params_number(als->input->params, "init_std");
    side->n = n;
    TRY(JOB_CONSTANT(&als->job, &side->offsets, offsets, (size_t)n + 1, err));
    TRY(JOB_CONSTANT(&als->job, &side->columns, columns, als->n_ratings, err));
    TRY(JOB_CONSTANT(&als->job, &side->ratings, ratings, als->n_ratings, err));
    TRY(JOB_ZEROS(&als->job, &side->vectors, (size_t)n * stride, err));
    TRY(JOB_ZEROS(&als->job, &side->best, (size_t)n * stride, err));
    TRY(MEM_NEW(&host, (size_t)n * stride, err));
    for (int32_t row = 0; row < n; row++)
        for (int f = 0; f < als->k && offsets[row + 1] > offsets[row]; f += 4) {
            float z[4];
            philox_normals(als->input->seed, philox_stream(stream, 2), (uint64_t)row * 128 + (uint64_t)f / 4, z);
            for (int l = 0; l < 4 && f + l < als->k; l++) host[(size_t)row * stride + (size_t)(f + l)] = std * z[l];
        }
    if (start->model)
        warm_start_fill(start, als->input, stream == PHILOX_INIT_MOVIES, als->stride, !als->implicit, host);
    TRY(als->backend->ops->upload(als->backend, side->vectors, host, (size_t)n * stride * sizeof *host, err));
cleanup:
    mem_free(host);
    return status;
}

static reel_status sides_new(struct als *als, reel_error *err) {
    reel_status status = REEL_OK;
    const struct ratings *ratings = als->input->ratings;
    const char *path = params_text(als->input->params, "init");
    struct warm_start start = {0};
    if (*path) {
        TRY(warm_start_open(als->ctx, path, als->input, als->k, !als->implicit, &start, err));
        TRY(warm_start_name(&start, als->set, err));
    }
    TRY(side_new(als, &als->users, ratings->n_users, ratings->user_offsets, ratings->user_movies, ratings->user_ratings,
                 PHILOX_INIT_USERS, &start, err));
    TRY(side_new(als, &als->movies, ratings->n_movies, ratings->movie_offsets, ratings->movie_users,
                 ratings->movie_ratings, PHILOX_INIT_MOVIES, &start, err));
cleanup:
    warm_start_close(&start);
    return status;
}

static reel_status set_up(struct als *als, reel_error *err) {
    const struct ratings *ratings = als->input->ratings;
    const struct param_values *params = als->input->params;
    const struct rating_pairs *test = als->input->test;
    als->n_ratings = ratings->n_ratings;
    als->k = (int)params_number(params, "factors");
    als->implicit = params_number(params, "implicit") != 0;
    als->weighted = params_number(params, "weighted") != 0;
    als->regularization = params_number(params, "regularization");
    als->alpha = params_number(params, "alpha");
    als->d = als->k + !als->implicit;
    als->stride = factor_stride(als->k);
    als->mean = als->implicit ? 0 : baseline_mean(ratings);
    if (params_number(params, "solver") != 0) als->cg_steps = (int)params_number(params, "cg_steps");
    TRY_RETURN(factor_backend(als->ctx, "als", als->k, als->cg_steps > 0, &als->backend, err));
    als->job.backend = als->backend;
    TRY_RETURN(MEM_NEW(&als->sum, als->d, err));
    TRY_RETURN(MEM_NEW(&als->scatter, (size_t)als->d * (size_t)als->d, err));
    TRY_RETURN(normal_prior_new(als->d, als->stride, &als->prior, err));
    const size_t n_test = test ? (size_t)test->n : 0;
    TRY_RETURN(factor_reserve(&als->job, "als", ratings, als->stride, 2, 2, n_test * 3 * sizeof(float), err));
    TRY_RETURN(sides_new(als, err));
    if (n_test == 0) return REEL_OK;
    TRY_RETURN(JOB_CONSTANT(&als->job, &als->test_users, test->users, test->n, err));
    TRY_RETURN(JOB_CONSTANT(&als->job, &als->test_movies, test->movies, test->n, err));
    TRY_RETURN(JOB_ZEROS(&als->job, &als->test_device, test->n, err));
    return MEM_RAW(&als->test_scores, test->n, err);
}

static void tear_down(struct als *als) {
    job_memory_free(&als->job);
    normal_prior_free(&als->prior);
    mem_free(als->test_scores);
    mem_free(als->scatter);
    mem_free(als->sum);
}

static reel_status column_moments(struct als *als, const struct side *columns, reel_error *err) {
    struct moments_args args = {.d = als->d,
                                .stride = als->stride,
                                .n = columns->n,
                                .vectors = columns->vectors,
                                .sum = als->sum,
                                .scatter = als->scatter};
    return als->backend->ops->moments(als->backend, &args, err);
}

/* One half-step: the rows' vectors given the columns'. */
static reel_status half_step(struct als *als, struct side *rows, const struct side *columns, reel_error *err) {
    struct factor_solve_args args = {.k = als->k,
                                     .stride = als->stride,
                                     .biases = !als->implicit,
                                     .n_rows = rows->n,
                                     .n_columns = columns->n,
                                     .offsets = rows->offsets,
                                     .columns = rows->columns,
                                     .ratings = rows->ratings,
                                     .column_vectors = columns->vectors,
                                     .alpha = 1,
                                     .cg_steps = als->cg_steps,
                                     .row_vectors = rows->vectors};
    for (int v = 0; v < FACTOR_VALUES; v++) {
        double stars = 0.5 * v, confidence = als->alpha * stars;
        args.value[v] = (float)(als->implicit ? (v ? 1 + 1 / confidence : 0) : stars - als->mean);
        args.weight[v] = als->implicit ? (float)sqrt(confidence) : 1;
    }
    /* Weighted rows keep a trace of plain ridge, so that a row without ratings is solvable and zero. */
    double plain = als->regularization;
    if (als->implicit)
        TRY_RETURN(column_moments(als, columns, err));
    else if (als->weighted) {
        args.ridge_per_rating = (float)als->regularization;
        plain = 1e-6;
    }
    normal_prior_set_ridge(&als->prior, plain, als->implicit ? als->scatter : NULL);
    args.prior_precision = als->prior.precision;
    args.prior_shift = als->prior.shift;
    if (als->cg_steps) return als->backend->ops->factor_cg(als->backend, &args, err);
    if (als->implicit) TRY_RETURN(normal_prior_find_root(&als->prior, err));
    args.prior_root = als->prior.has_root ? als->prior.root : NULL;
    return als->backend->ops->factor_solve(als->backend, &args, err);
}

/* RMSE over the training ratings; NaN for implicit feedback, whose scores are no stars. */
static reel_status train_rmse(struct als *als, double *rmse, reel_error *err) {
    double sum_squares;
    struct residuals_args args = {.k = als->k,
                                  .stride = als->stride,
                                  .n_rows = als->users.n,
                                  .offsets = als->users.offsets,
                                  .columns = als->users.columns,
                                  .ratings = als->users.ratings,
                                  .row_vectors = als->users.vectors,
                                  .column_vectors = als->movies.vectors,
                                  .sum_squares = &sum_squares};
    *rmse = NAN;
    if (als->implicit) return REEL_OK;
    for (int v = 0; v < FACTOR_VALUES; v++) args.value[v] = (float)(0.5 * v - als->mean);
    TRY_RETURN(als->backend->ops->residuals(als->backend, &args, err));
    *rmse = sqrt(sum_squares / (double)als->n_ratings);
    return REEL_OK;
}

static reel_status test_rmse(struct als *als, double *rmse, reel_error *err) {
    const struct rating_pairs *test = als->input->test;
    *rmse = NAN;
    if (!als->test_scores || als->implicit) return REEL_OK;
    struct pair_scores_args args = {.k = als->k,
                                    .stride = als->stride,
                                    .n = test->n,
                                    .rows = als->test_users,
                                    .columns = als->test_movies,
                                    .row_vectors = als->users.vectors,
                                    .column_vectors = als->movies.vectors,
                                    .out = als->test_device};
    TRY_RETURN(als->backend->ops->pair_scores(als->backend, &args, err));
    TRY_RETURN(als->backend->ops->download(als->backend, als->test_scores, als->test_device,
                                           (size_t)test->n * sizeof(float), err));
    double squares = 0, low = 0.5 * als->input->ratings->scale_min, high = 0.5 * als->input->ratings->scale_max;
    for (int64_t i = 0; i < test->n; i++) {
        double score = fmin(fmax(als->mean + (double)als->test_scores[i], low), high);
        double error = score - 0.5 * test->ratings[i];
        squares += error * error;
    }
    *rmse = sqrt(squares / (double)test->n);
    return REEL_OK;
}

static reel_status copy_vectors(struct als *als, float *to_users, const float *users, float *to_movies,
                                const float *movies, reel_error *err) {
    struct add_vectors_args args = {.n = (int64_t)als->users.n * als->stride, .a = users, .out = to_users};
    TRY_RETURN(als->backend->ops->add_vectors(als->backend, &args, err));
    args = (struct add_vectors_args){.n = (int64_t)als->movies.n * als->stride, .a = movies, .out = to_movies};
    return als->backend->ops->add_vectors(als->backend, &args, err);
}

/* ---- checkpoints ---- */

enum { N_PARTS = 4 };
static const char *const part_names[N_PARTS] = {"users", "movies", "best_users", "best_movies"};

static float *part_of(const struct als *als, int part, int64_t *n) {
    const struct side *side = part % 2 ? &als->movies : &als->users;
    *n = (int64_t)side->n * als->stride;
    return part < 2 ? side->vectors : side->best;
}

static reel_status save_state(struct als *als, int step, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *state = NULL;
    void *data;
    int64_t n;
    TRY(tensor_set_new(&state, err));
    for (int part = 0; part < N_PARTS; part++) {
        float *device = part_of(als, part, &n);
        TRY(tensor_set_add1(state, part_names[part], DTYPE_F32, n, &data, err));
        TRY(als->backend->ops->download(als->backend, data, device, (size_t)n * sizeof(float), err));
    }
    TRY(tensor_set_add1(state, "best", DTYPE_F64, 2, &data, err));
    ((double *)data)[0] = als->best;
    ((double *)data)[1] = als->best_iteration;
    TRY(checkpoint_write(als->ctx, als->input, "als", step, state, err));
cleanup:
    tensor_set_free(state);
    return status;
}

/* *step = iterations already done. */
static reel_status load_state(struct als *als, int64_t *step, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *state = NULL;
    const struct tensor *tensor;
    int64_t n;
    TRY(checkpoint_read(als->ctx, als->input, "als", &state, step, err));
    if (!state) return REEL_OK;
    for (int part = 0; part < N_PARTS; part++) {
        float *device = part_of(als, part, &n);
        TRY(tensor_set_require(state, part_names[part], DTYPE_F32, 1, &n, &tensor, err));
        TRY(als->backend->ops->upload(als->backend, device, tensor->data, tensor->bytes, err));
    }
    n = 2;
    TRY(tensor_set_require(state, "best", DTYPE_F64, 1, &n, &tensor, err));
    als->best = ((const double *)tensor->data)[0];
    als->best_iteration = (int)((const double *)tensor->data)[1];
cleanup:
    tensor_set_free(state);
    return status;
}

/* ---- the run ---- */

static reel_status iterate(struct als *als, struct fit_output *output, reel_error *err) {
    const int iterations = (int)params_number(als->input->params, "iterations");
    const int patience = (int)params_number(als->input->params, "early_stopping");
    int64_t done;
    als->best = INFINITY;
    char stage[64];
    snprintf(stage, sizeof stage, "%sals", als->input->stage);
    TRY_RETURN(load_state(als, &done, err));
    for (int i = done ? (int)done + 1 : 0; i <= iterations; i++) {
        TRY_RETURN(context_check(als->ctx, err));
        double start = clock_seconds();
        if (i > 0) {
            TRY_RETURN(half_step(als, &als->users, &als->movies, err));
            TRY_RETURN(half_step(als, &als->movies, &als->users, err));
            output->visited += 2 * als->n_ratings;
        }
        reel_epoch epoch = {.epoch = i, .seconds = clock_seconds() - start};
        output->fit_seconds += epoch.seconds;
        TRY_RETURN(train_rmse(als, &epoch.train_rmse, err));
        TRY_RETURN(test_rmse(als, &epoch.test_rmse, err));
        TRY_RETURN(fit_output_epoch(output, epoch, err));
        int tested = !isnan(epoch.test_rmse);
        context_progress(als->ctx, stage, "iterations", i, iterations, tested ? "rmse" : "train rmse",
                         tested ? epoch.test_rmse : epoch.train_rmse, i == iterations);
        if (patience && epoch.test_rmse < als->best) {
            als->best = epoch.test_rmse;
            als->best_iteration = i;
            TRY_RETURN(
                copy_vectors(als, als->users.best, als->users.vectors, als->movies.best, als->movies.vectors, err));
        } else if (patience && i - als->best_iteration >= patience)
            break;
        if (i > 0 && checkpoint_due(als->input, i, iterations)) TRY_RETURN(save_state(als, i, err));
    }
    if (!patience) return REEL_OK;
    return copy_vectors(als, als->users.vectors, als->users.best, als->movies.vectors, als->movies.best, err);
}

/* ---- tensors ---- */

static reel_status put_side(struct als *als, const struct side *side, const char *factors_name, const char *bias_name,
                            struct tensor_set *set, reel_error *err) {
    reel_status status = REEL_OK;
    float *host = NULL, *factors, *bias;
    const size_t k = (size_t)als->k, stride = (size_t)als->stride;
    TRY(tensor_set_add(set, factors_name, DTYPE_F32, 2, (int64_t[]){side->n, als->k}, (void **)&factors, err));
    TRY(tensor_set_add1(set, bias_name, DTYPE_F32, side->n, (void **)&bias, err));
    TRY(MEM_RAW(&host, (size_t)side->n * stride, err));
    TRY(als->backend->ops->download(als->backend, host, side->vectors, (size_t)side->n * stride * sizeof *host, err));
    for (size_t row = 0; row < (size_t)side->n; row++) {
        memcpy(factors + row * k, host + row * stride, k * sizeof *host);
        bias[row] = host[row * stride + k];
    }
cleanup:
    mem_free(host);
    return status;
}

static reel_status put_tensors(struct als *als, struct tensor_set *set, reel_error *err) {
    void *data;
    TRY_RETURN(tensor_set_add1(set, "mean", DTYPE_F32, 1, &data, err));
    *(float *)data = (float)als->mean;
    TRY_RETURN(put_side(als, &als->users, "user_factors", "user_bias", set, err));
    TRY_RETURN(put_side(als, &als->movies, "movie_factors", "movie_bias", set, err));
    if (!als->implicit) return REEL_OK;
    TRY_RETURN(column_moments(als, &als->movies, err));
    TRY_RETURN(tensor_set_add(set, "movie_gram", DTYPE_F64, 2, (int64_t[]){als->k, als->k}, &data, err));
    memcpy(data, als->scatter, sizeof(double) * (size_t)als->k * (size_t)als->k);
    return REEL_OK;
}

static reel_status als_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                           struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct als als = {.ctx = ctx, .input = input, .set = set};
    int patience = (int)params_number(input->params, "early_stopping");
    if (patience && !(input->test && input->test->n))
        return error_set(err, REEL_INVALID_ARGUMENT, "early_stopping needs a held-out part (--holdout or --test)");
    if (patience && params_number(input->params, "implicit") != 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "early_stopping goes by RMSE, which implicit=1 does not have");
    TRY(set_up(&als, err));
    TRY(iterate(&als, output, err));
    TRY(put_tensors(&als, set, err));
cleanup:
    tear_down(&als);
    return status;
}

static reel_status als_bind(struct reel_model *model, reel_error *err) {
    struct param_values params;
    TRY_RETURN(params_of_set(model->set, als_params, sizeof als_params / sizeof als_params[0], &params, err));
    int k = (int)params_number(&params, "factors"), implicit = params_number(&params, "implicit") != 0;
    double ridge = params_number(&params, "regularization");
    struct svd_fold fold = {.factor_ridge = ridge,
                            .bias_ridge = ridge,
                            .per_rating = !implicit && params_number(&params, "weighted") != 0,
                            .alpha = params_number(&params, "alpha")};
    if (implicit) {
        const struct tensor *gram;
        TRY_RETURN(tensor_set_require(model->set, "movie_gram", DTYPE_F64, 2, (int64_t[]){k, k}, &gram, err));
        fold.gram = gram->data;
        for (int64_t i = 0; i < gram->n; i++)
            if (!isfinite(fold.gram[i]))
                return error_set(err, REEL_CORRUPT, "%s: movie_gram holds a value that is not finite",
                                 tensor_set_path(model->set));
    }
    return svd_bind_factors(model, k, !implicit, &fold, err);
}

const struct algorithm algorithm_als = {
    .name = "als",
    .summary = "matrix factorization by alternating least squares, for stars or for ranking",
    .params = als_params,
    .n_params = sizeof als_params / sizeof als_params[0],
    .needs = RATINGS_BY_MOVIE,
    .checkpoints = 1,
    .fit = als_fit,
    .bind = als_bind,
    .unbind = svd_unbind,
    .predict = svd_predict,
    .score_movies = svd_score_movies,
    .fold_in = svd_fold_in,
    .explain = svd_explain,
    .movie_factors = svd_movie_factors,
    .factor_view = svd_factor_view,
};
