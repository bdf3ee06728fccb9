/* Fitting `bmf`: runs the chain, averages the predictions of the held-out pairs, keeps samples. */
#include "model/bmf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/bmf_chain.h"
#include "model/checkpoint.h"
#include "model/factor_backend.h"

static const struct param_spec bmf_params[] = {
    {"factors", PARAM_INT, "32", 1, FACTOR_K_MAX, NULL, "length of the factor vectors"},
    {"samples", PARAM_INT, "100", 1, 100000, NULL, "samples that are averaged"},
    {"burn_in", PARAM_INT, "10", 0, 100000, NULL, "samples drawn and thrown away first"},
    {"keep", PARAM_INT, "16", 1, 1024, NULL, "samples kept in the model, evenly spaced"},
    {"time", PARAM_BOOL, "false", 0, 1, NULL, "effects of a user's day, of a movie over time and of the day"},
    {"implicit_sets", PARAM_BOOL, "false", 0, 1, NULL, "the set of movies a user rated (SVD++)"},
    {"flipped", PARAM_BOOL, "false", 0, 1, NULL, "the set of users who rated a movie"},
    {"init_std", PARAM_REAL, "0.1", 0, 100, NULL, "standard deviation of the start values"},
};

const char *const bmf_time_names[BMF_TIME_KINDS] = {"user_day", "movie_span", "day"};

/* Held-out pairs: running sums of their predictions. Indices without training ratings count as unknown. */
struct held_out {
    const struct rating_pairs *pairs;
    int32_t *users, *movies;
    int64_t (*groups)[BMF_TIME_KINDS]; /* of each pair; NULL without time */
    const int32_t *device_users, *device_movies;
    float *device_scores, *scores;
    double *sums;
};

/* Where the kept samples go. */
struct keeper {
    int samples, kept;
    float *user_factors, *movie_factors, *user_biases, *movie_biases, *movie_set;
    double *noise_precision, *prior_mean, *prior_precision, *mean;
    float *scratch; /* (the larger side, stride) */
};

static int32_t known(const int64_t *offsets, int32_t index) {
    return index >= 0 && offsets[index + 1] > offsets[index] ? index : -1;
}

static reel_status held_out_new(const struct rating_pairs *pairs, const struct ratings *ratings,
                                struct bmf_chain *chain, struct held_out *out, reel_error *err) {
    struct job_memory *job = &chain->job;
    const int timed = chain->options.time && pairs->times;
    out->pairs = pairs;
    TRY_RETURN(MEM_RAW(&out->users, pairs->n, err));
    TRY_RETURN(MEM_RAW(&out->movies, pairs->n, err));
    TRY_RETURN(MEM_RAW(&out->scores, pairs->n, err));
    TRY_RETURN(MEM_NEW(&out->sums, pairs->n, err));
    if (timed) TRY_RETURN(MEM_RAW(&out->groups, pairs->n, err));
    for (int64_t i = 0; i < pairs->n; i++) {
        out->users[i] = known(ratings->user_offsets, pairs->users[i]);
        out->movies[i] = known(ratings->movie_offsets, pairs->movies[i]);
        if (timed) bmf_time_groups(&chain->time, out->users[i], out->movies[i], pairs->times[i], out->groups[i]);
    }
    TRY_RETURN(JOB_CONSTANT(job, &out->device_users, out->users, pairs->n, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->device_movies, out->movies, pairs->n, err));
    return JOB_ZEROS(job, &out->device_scores, pairs->n, err);
}

static void held_out_free(struct held_out *held) {
    mem_free(held->users);
    mem_free(held->movies);
    mem_free(held->groups);
    mem_free(held->scores);
    mem_free(held->sums);
}

/* Adds this sample's predictions; returns the RMSE of the clipped running mean in *rmse. */
static reel_status held_out_add(struct held_out *held, const struct bmf_chain *chain, const struct ratings *ratings,
                                int n_averaged, double *rmse, reel_error *err) {
    const struct rating_pairs *pairs = held->pairs;
    struct pair_scores_args args = {.k = chain->options.k,
                                    .stride = chain->stride,
                                    .n = pairs->n,
                                    .rows = held->device_users,
                                    .columns = held->device_movies,
                                    .row_vectors = chain->users.vectors,
                                    .column_vectors = chain->movies.vectors,
                                    .out = held->device_scores};
    struct backend *backend = chain->job.backend;
    TRY_RETURN(backend->ops->pair_scores(backend, &args, err));
    TRY_RETURN(backend->ops->download(backend, held->scores, held->device_scores,
                                      (size_t)pairs->n * sizeof *held->scores, err));
    double squares = 0, low = 0.5 * ratings->scale_min, high = 0.5 * ratings->scale_max;
    for (int64_t i = 0; i < pairs->n; i++) {
        double score = chain->mean + (double)held->scores[i];
        if (held->groups) score += (double)bmf_time_effect(&chain->time, held->groups[i]);
        held->sums[i] += score;
        double error = fmin(fmax(held->sums[i] / n_averaged, low), high) - 0.5 * pairs->ratings[i];
        squares += error * error;
    }
    *rmse = sqrt(squares / (double)pairs->n);
    return REEL_OK;
}

/* ---- kept samples ---- */

static reel_status add_tensor(struct tensor_set *set, const char *name, enum dtype dtype, int n_dims, int64_t a,
                              int64_t b, int64_t c, void *data, reel_error *err) {
    return tensor_set_add(set, name, dtype, n_dims, (int64_t[]){a, b, c}, data, err);
}

static reel_status keeper_new(const struct bmf_chain *chain, int samples, struct tensor_set *set, struct keeper *out,
                              reel_error *err) {
    const int64_t users = chain->users.n, movies = chain->movies.n, k = chain->options.k, d = chain->d, s = samples;
    out->samples = samples;
    TRY_RETURN(add_tensor(set, "user_factors", DTYPE_F32, 2, users, s * k, 0, &out->user_factors, err));
    TRY_RETURN(add_tensor(set, "movie_factors", DTYPE_F32, 2, movies, s * k, 0, &out->movie_factors, err));
    TRY_RETURN(add_tensor(set, "user_biases", DTYPE_F32, 2, users, s, 0, &out->user_biases, err));
    TRY_RETURN(add_tensor(set, "movie_biases", DTYPE_F32, 2, movies, s, 0, &out->movie_biases, err));
    TRY_RETURN(add_tensor(set, "mean", DTYPE_F64, 1, 1, 0, 0, &out->mean, err));
    TRY_RETURN(add_tensor(set, "noise_precision", DTYPE_F64, 1, s, 0, 0, &out->noise_precision, err));
    TRY_RETURN(add_tensor(set, "user_prior_mean", DTYPE_F64, 2, s, d, 0, &out->prior_mean, err));
    TRY_RETURN(add_tensor(set, "user_prior_precision", DTYPE_F64, 3, s, d, d, &out->prior_precision, err));
    if (chain->options.implicit_sets)
        TRY_RETURN(add_tensor(set, "movie_set", DTYPE_F32, 3, movies, s, d, &out->movie_set, err));
    *out->mean = chain->mean;
    return MEM_RAW(&out->scratch, (size_t)(users > movies ? users : movies) * (size_t)chain->stride, err);
}

static reel_status keep_side(struct keeper *keeper, const struct bmf_chain *chain, const struct bmf_side *side,
                             const int64_t *offsets, float *factors, float *biases, reel_error *err) {
    const int k = chain->options.k, stride = chain->stride, s = keeper->samples;
    const float scale = 1 / sqrtf((float)s);
    struct backend *backend = chain->job.backend;
    TRY_RETURN(backend->ops->download(backend, keeper->scratch, side->vectors,
                                      (size_t)side->n * (size_t)stride * sizeof(float), err));
    for (int64_t row = 0; row < side->n; row++) {
        if (offsets[row + 1] == offsets[row]) continue;
        const float *vector = keeper->scratch + row * stride;
        float *out = factors + (row * s + keeper->kept) * k;
        for (int f = 0; f < k; f++) out[f] = scale * vector[f];
        biases[row * s + keeper->kept] = vector[k];
    }
    return REEL_OK;
}

static reel_status keep_sample(struct keeper *keeper, const struct bmf_chain *chain, const struct ratings *ratings,
                               reel_error *err) {
    const size_t d = (size_t)chain->d, at = (size_t)keeper->kept;
    TRY_RETURN(
        keep_side(keeper, chain, &chain->users, ratings->user_offsets, keeper->user_factors, keeper->user_biases, err));
    TRY_RETURN(keep_side(keeper, chain, &chain->movies, ratings->movie_offsets, keeper->movie_factors,
                         keeper->movie_biases, err));
    keeper->noise_precision[at] = chain->alpha;
    memcpy(keeper->prior_mean + at * d, chain->users.prior.mean, d * sizeof(double));
    memcpy(keeper->prior_precision + at * d * d, chain->users.prior.matrix, d * d * sizeof(double));
    if (keeper->movie_set) {
        struct backend *backend = chain->job.backend;
        TRY_RETURN(backend->ops->download(backend, keeper->scratch, chain->users.features,
                                          (size_t)chain->movies.n * (size_t)chain->stride * sizeof(float), err));
        for (size_t m = 0; m < (size_t)chain->movies.n; m++)
            memcpy(keeper->movie_set + (m * (size_t)keeper->samples + at) * d,
                   keeper->scratch + m * (size_t)chain->stride, d * sizeof(float));
    }
    keeper->kept++;
    return REEL_OK;
}

static void add_time_sums(struct bmf_time *time) {
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++)
        for (int64_t g = 0; g < time->kinds[kind].n; g++)
            time->kinds[kind].sums[g] += (double)time->kinds[kind].effects[g];
}

static reel_status put_time(const struct bmf_time *time, int samples, struct tensor_set *set, reel_error *err) {
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++) {
        const struct bmf_groups *groups = &time->kinds[kind];
        char name[TENSOR_NAME_MAX + 1];
        void *data;
        snprintf(name, sizeof name, "time_%s_keys", bmf_time_names[kind]);
        TRY_RETURN(tensor_set_add1(set, name, DTYPE_U64, groups->n, &data, err));
        memcpy(data, groups->keys, (size_t)groups->n * sizeof *groups->keys);
        snprintf(name, sizeof name, "time_%s_effects", bmf_time_names[kind]);
        TRY_RETURN(tensor_set_add1(set, name, DTYPE_F32, groups->n, &data, err));
        for (int64_t g = 0; g < groups->n; g++) ((float *)data)[g] = (float)(groups->sums[g] / samples);
    }
    return REEL_OK;
}

/* ---- the run ---- */

struct run {
    const struct fit_input *input;
    struct bmf_chain chain;
    struct held_out held;
    struct keeper keeper;
    int samples, burn_in, keep;
};

/* Running sums and kept samples: what a checkpoint holds beside the chain. `set` has the model's tensors so far. */
static reel_status save_run(reel_context *ctx, struct run *run, const struct tensor_set *set, int step,
                            reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *state = NULL;
    double *sums;
    TRY(tensor_set_new(&state, err));
    TRY(bmf_chain_save(&run->chain, state, err));
    TRY(tensor_set_putf(state, "kept", err, "%d", run->keeper.kept));
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *tensor = tensor_set_at(set, i);
        TRY(tensor_set_add_borrowed(state, tensor->name, tensor->dtype, tensor->n_dims, tensor->shape, tensor->data,
                                    err));
    }
    if (run->held.pairs) {
        TRY(tensor_set_add1(state, "test_sums", DTYPE_F64, run->held.pairs->n, (void **)&sums, err));
        memcpy(sums, run->held.sums, (size_t)run->held.pairs->n * sizeof *sums);
    }
    TRY(checkpoint_write(ctx, run->input, "bmf", step, state, err));
cleanup:
    tensor_set_free(state);
    return status;
}

static reel_status load_run(reel_context *ctx, struct run *run, struct tensor_set *set, int *step, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *state = NULL;
    const struct tensor *tensor;
    int64_t done;
    TRY(checkpoint_read(ctx, run->input, "bmf", &state, &done, err));
    *step = (int)done;
    if (!state) return REEL_OK;
    TRY(bmf_chain_load(&run->chain, state, err));
    const char *kept = tensor_set_get(state, "kept");
    run->keeper.kept = kept ? atoi(kept) : 0;
    for (size_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *own = tensor_set_at(set, i);
        TRY(tensor_set_require(state, own->name, own->dtype, own->n_dims, own->shape, &tensor, err));
        if (own->bytes) memcpy(own->data, tensor->data, own->bytes);
    }
    if (run->held.pairs) {
        TRY(tensor_set_require(state, "test_sums", DTYPE_F64, 1, &run->held.pairs->n, &tensor, err));
        memcpy(run->held.sums, tensor->data, tensor->bytes);
    }
    if (done > run->burn_in + run->samples || run->keeper.kept < 0 || run->keeper.kept > run->keep)
        status = error_set(err, REEL_CORRUPT, "%s: step %lld and %d kept samples do not fit this run",
                           tensor_set_path(state), (long long)done, run->keeper.kept);
cleanup:
    tensor_set_free(state);
    return status;
}

static reel_status run_sample(reel_context *ctx, struct run *run, int sample, struct fit_output *output,
                              reel_error *err) {
    TRY_RETURN(context_check(ctx, err));
    double start = clock_seconds();
    TRY_RETURN(bmf_chain_step(&run->chain, (uint32_t)sample, err));
    /* a sample's seconds are all of its work, and none of the one before */
    TRY_RETURN(run->chain.job.backend->ops->sync(run->chain.job.backend, err));
    double seconds = clock_seconds() - start, rmse = NAN;
    output->fit_seconds += seconds;
    output->visited += run->chain.n_ratings;
    int averaged = sample - run->burn_in + 1;
    if (averaged > 0) {
        if (run->held.pairs)
            TRY_RETURN(held_out_add(&run->held, &run->chain, run->input->ratings, averaged, &rmse, err));
        if ((int64_t)averaged * run->keep / run->samples > (int64_t)(averaged - 1) * run->keep / run->samples)
            TRY_RETURN(keep_sample(&run->keeper, &run->chain, run->input->ratings, err));
        if (run->chain.options.time) add_time_sums(&run->chain.time);
    }
    char stage[96];
    snprintf(stage, sizeof stage, "%s%s", run->input->stage, averaged > 0 ? "sample" : "burn-in");
    int total = run->samples + run->burn_in;
    context_progress(ctx, stage, "samples", sample + 1, total, isnan(rmse) ? "train rmse" : "rmse",
                     isnan(rmse) ? run->chain.train_rmse : rmse, sample + 1 == total);
    return fit_output_epoch(output, (reel_epoch){sample + 1, run->chain.train_rmse, rmse, seconds}, err);
}

static reel_status bmf_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                           struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    const struct param_values *params = input->params;
    struct run run = {.input = input,
                      .samples = (int)params_number(params, "samples"),
                      .burn_in = (int)params_number(params, "burn_in"),
                      .keep = (int)params_number(params, "keep")};
    if (run.keep > run.samples) run.keep = run.samples;
    struct bmf_options options = {.k = (int)params_number(params, "factors"),
                                  .biases = 1,
                                  .time = params_number(params, "time") != 0,
                                  .implicit_sets = params_number(params, "implicit_sets") != 0,
                                  .flipped = params_number(params, "flipped") != 0,
                                  .init_std = params_number(params, "init_std"),
                                  .seed = input->seed};
    struct backend *backend;
    TRY(factor_backend(ctx, "bmf", options.k, 0, &backend, err));
    TRY(bmf_chain_new(backend, input->ratings, &options, &run.chain, err));
    if (input->test && input->test->n > 0) TRY(held_out_new(input->test, input->ratings, &run.chain, &run.held, err));
    TRY(keeper_new(&run.chain, run.keep, set, &run.keeper, err));
    int step, total = run.burn_in + run.samples;
    TRY(load_run(ctx, &run, set, &step, err));
    while (step < total) {
        TRY(run_sample(ctx, &run, step++, output, err));
        if (checkpoint_due(input, step, total)) TRY(save_run(ctx, &run, set, step, err));
    }
    if (options.time) TRY(put_time(&run.chain.time, run.samples, set, err));
    if (run.held.pairs) {
        TRY(MEM_RAW(&output->test_predictions, run.held.pairs->n, err));
        for (int64_t i = 0; i < run.held.pairs->n; i++)
            output->test_predictions[i] = (float)(run.held.sums[i] / run.samples);
    }
cleanup:
    mem_free(run.keeper.scratch);
    held_out_free(&run.held);
    bmf_chain_free(&run.chain);
    return status;
}

const struct algorithm algorithm_bmf = {
    .name = "bmf",
    .summary = "Bayesian matrix factorization by Gibbs sampling: the best accuracy, with error bars",
    .params = bmf_params,
    .n_params = sizeof bmf_params / sizeof bmf_params[0],
    .needs = RATINGS_BY_MOVIE | RATINGS_TIMES,
    .predicts_test = 1,
    .checkpoints = 1,
    .fit = bmf_fit,
    .bind = bmf_bind,
    .unbind = bmf_unbind,
    .predict = bmf_predict,
    .score_movies = bmf_score_movies,
    .fold_in = bmf_fold_in,
    .explain = bmf_explain,
    .movie_factors = bmf_movie_factors,
    .factor_view = bmf_factor_view,
};
