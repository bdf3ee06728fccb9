/* `bias`: mean + user bias + movie bias, both shrunk by a count: the baselines of Koren, "Factor in the
 * neighbors" (TKDD 2010, section 2.2), alternating as Surprise's BaselineOnly with method "als" does. Tensors: see
 * baseline.h.
 *
 * A half-step fits all biases of one side while the other side stands still, so its rows are independent: each
 * row's sum runs in the order of its ratings, whatever the threads. */
#include <math.h>
#include <stdio.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/baseline.h"
#include "model/measure.h"

static const struct param_spec bias_params[] = {
    {"epochs", PARAM_INT, "10", 0, 1000000, NULL, "passes over both sides"},
    {"reg_u", PARAM_REAL, "15", 0, 1e9, NULL, "shrinkage of user biases, in ratings"},
    {"reg_i", PARAM_REAL, "10", 0, 1e9, NULL, "shrinkage of movie biases, in ratings"},
};
enum { N_PARAMS = sizeof bias_params / sizeof bias_params[0], ROW_CHUNK = 256 };

/* One side's view of the ratings. */
struct side {
    int32_t n_rows;
    const int64_t *offsets;
    const int32_t *others;
    const uint8_t *ratings;
    const float *other_bias;
    float *bias;
    double mean, regularization;
    double *squared; /* (chunks,) sums of squared errors, by sum_errors_chunk */
};

static int64_t chunks_of(const struct side *side) {
    return ((int64_t)side->n_rows + ROW_CHUNK - 1) / ROW_CHUNK;
}

static int32_t chunk_end(const struct side *side, int64_t chunk) {
    int64_t end = (chunk + 1) * ROW_CHUNK;
    return end < side->n_rows ? (int32_t)end : side->n_rows;
}

/* bias[row] = sum(rating - mean - other_bias) / (regularization + n). */
static void half_step_chunk(void *arg, int64_t chunk, int worker) {
    (void)worker;
    const struct side *side = arg;
    for (int32_t row = (int32_t)(chunk * ROW_CHUNK); row < chunk_end(side, chunk); row++) {
        int64_t first = side->offsets[row], last = side->offsets[row + 1];
        double sum = 0;
        for (int64_t i = first; i < last; i++)
            sum += 0.5 * side->ratings[i] - side->mean - (double)side->other_bias[side->others[i]];
        side->bias[row] = last > first ? (float)(sum / (side->regularization + (double)(last - first))) : 0;
    }
}

static void sum_errors_chunk(void *arg, int64_t chunk, int worker) {
    (void)worker;
    const struct side *side = arg;
    double squared = 0;
    for (int32_t row = (int32_t)(chunk * ROW_CHUNK); row < chunk_end(side, chunk); row++)
        for (int64_t i = side->offsets[row]; i < side->offsets[row + 1]; i++) {
            double expected = side->mean + (double)side->bias[row] + (double)side->other_bias[side->others[i]];
            double error = 0.5 * side->ratings[i] - expected;
            squared += error * error;
        }
    side->squared[chunk] = squared;
}

static double train_rmse(reel_context *ctx, struct side *users, int64_t n_ratings) {
    double squared = 0;
    thread_pool_run(ctx->pool, chunks_of(users), sum_errors_chunk, users);
    for (int64_t c = 0; c < chunks_of(users); c++) squared += users->squared[c];
    return sqrt(squared / (double)n_ratings);
}

static reel_status score_pairs(const void *arg, const struct rating_pairs *pairs, int64_t begin, int64_t n,
                               float *scores, reel_error *err) {
    (void)err;
    const struct side *users = arg;
    for (int64_t i = 0; i < n; i++) {
        int32_t user = pairs->users[begin + i], movie = pairs->movies[begin + i];
        float user_bias = user >= 0 ? users->bias[user] : 0, movie_bias = movie >= 0 ? users->other_bias[movie] : 0;
        scores[i] = (float)users->mean + user_bias + movie_bias;
    }
    return REEL_OK;
}

static reel_status record_epoch(reel_context *ctx, const struct fit_input *input, struct side *users, int epoch,
                                double seconds, struct fit_output *output, reel_error *err) {
    const struct ratings *ratings = input->ratings;
    reel_metrics test = {.rmse = NAN};
    if (input->test && input->test->n)
        TRY_RETURN(measure_pairs(ctx, input->test, 0.5f * (float)ratings->scale_min, 0.5f * (float)ratings->scale_max,
                                 score_pairs, users, NULL, &test, err));
    reel_epoch record = {epoch, train_rmse(ctx, users, ratings->n_ratings), test.rmse, seconds};
    return fit_output_epoch(output, record, err);
}

static reel_status run_epochs(reel_context *ctx, const struct fit_input *input, struct side *users, struct side *movies,
                              struct fit_output *output, reel_error *err) {
    int epochs = (int)params_number(input->params, "epochs");
    char stage[96];
    snprintf(stage, sizeof stage, "%.60sbias", input->stage);
    TRY_RETURN(record_epoch(ctx, input, users, 0, 0, output, err));
    for (int epoch = 1; epoch <= epochs; epoch++) {
        TRY_RETURN(context_check(ctx, err));
        double start = clock_seconds();
        thread_pool_run(ctx->pool, chunks_of(movies), half_step_chunk, movies);
        thread_pool_run(ctx->pool, chunks_of(users), half_step_chunk, users);
        double seconds = clock_seconds() - start;
        output->fit_seconds += seconds;
        output->visited += input->ratings->n_ratings;
        TRY_RETURN(record_epoch(ctx, input, users, epoch, seconds, output, err));
        context_progress(ctx, stage, "epochs", epoch, epochs, "rmse", output->epochs[epoch].train_rmse,
                         epoch == epochs);
    }
    return REEL_OK;
}

static reel_status bias_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                            struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    const struct ratings *ratings = input->ratings;
    double mean = baseline_mean(ratings);
    float *out_mean, *user_bias, *movie_bias;
    TRY_RETURN(baseline_add(set, ratings, &out_mean, &user_bias, &movie_bias, err));
    *out_mean = (float)mean;
    struct side users = {.n_rows = ratings->n_users,
                         .offsets = ratings->user_offsets,
                         .others = ratings->user_movies,
                         .ratings = ratings->user_ratings,
                         .other_bias = movie_bias,
                         .bias = user_bias,
                         .mean = mean,
                         .regularization = params_number(input->params, "reg_u")};
    struct side movies = {.n_rows = ratings->n_movies,
                          .offsets = ratings->movie_offsets,
                          .others = ratings->movie_users,
                          .ratings = ratings->movie_ratings,
                          .other_bias = user_bias,
                          .bias = movie_bias,
                          .mean = mean,
                          .regularization = params_number(input->params, "reg_i")};
    TRY(MEM_NEW(&users.squared, chunks_of(&users), err));
    TRY(run_epochs(ctx, input, &users, &movies, output, err));
cleanup:
    mem_free(users.squared);
    return status;
}

static reel_status bias_bind(struct reel_model *model, reel_error *err) {
    struct param_values params;
    TRY_RETURN(params_of_set(model->set, bias_params, N_PARAMS, &params, err));
    TRY_RETURN(baseline_bind(model, err));
    struct baseline *state = model->state;
    state->fold_in = 1;
    state->fold_in_regularization = params_number(&params, "reg_u");
    return REEL_OK;
}

const struct algorithm algorithm_bias = {
    .name = "bias",
    .summary = "mean + user bias + movie bias, regularised baselines by alternating least squares",
    .params = bias_params,
    .n_params = N_PARAMS,
    .needs = RATINGS_BY_MOVIE,
    .fit = bias_fit,
    .bind = bias_bind,
    .unbind = baseline_unbind,
    .predict = baseline_predict,
    .score_movies = baseline_score_movies,
    .fold_in = baseline_fold_in,
    .explain = baseline_explain,
};
