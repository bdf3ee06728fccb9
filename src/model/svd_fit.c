/* Training of `svd`: rows for the operator sgd_epoch, the epochs, and the way back to tensors. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/job_memory.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "model/baseline.h"
#include "model/checkpoint.h"
#include "kernels/common/dot.h"
#include "model/measure.h"
#include "model/sgd_grid.h"
#include "model/svd.h"
#include "model/svd_prior.h"

enum { ROW_CHUNK = 256, CHECK_LANES = 4 };

/* Per-lane constants of the operator, (stride,) each. */
struct lanes {
    float *user_step, *user_keep, *movie_step, *movie_keep;
};

struct trainer {
    reel_context *ctx;
    const struct fit_input *input;
    struct fit_output *output;
    struct backend *backend;
    struct sgd_grid grid;
    int k, stride, biased, epochs, patience;
    double mean;
    /* (rows + 1, stride): k factors, padding, then at stride - 2 and stride - 1 (user bias, 1) and (1, movie bias).
     * The row past the end stands for users and movies without ratings: no factors, no bias. */
    float *users, *movies;
    struct job_memory job; /* what the backend works on: the same arrays, or copies on the device */
    float *device_users, *device_movies;
    const int64_t *device_block_tiles;
    const struct sgd_tile *device_tiles;
    const uint32_t *device_entries;
    int shuffled;                    /* the epoch whose order the grid holds, -1: none */
    int stale;                       /* the device has changed its rows since they were fetched */
    float *best_users, *best_movies; /* copies of the best epoch, with early stopping */
    double best_rmse;
    int best_epoch;
    float *lane_memory;
    struct lanes train, still; /* `still` changes nothing: for measuring */
    float value[SGD_VALUES];
    double *block_squared;
};

/* Room for k factors and the two bias lanes, which must share the last SGD_LANES. */
static int row_stride(int k) {
    int stride = (k + SGD_LANES - 1) / SGD_LANES * SGD_LANES;
    return stride - k < 2 ? stride + SGD_LANES : stride;
}

/* ---- set-up ---- */

static void set_lanes(struct lanes *lanes, float *memory, int stride) {
    lanes->user_step = memory;
    lanes->user_keep = memory + stride;
    lanes->movie_step = memory + 2 * (ptrdiff_t)stride;
    lanes->movie_keep = memory + 3 * (ptrdiff_t)stride;
    for (int l = 0; l < stride; l++) {
        lanes->user_step[l] = lanes->movie_step[l] = 0;
        lanes->user_keep[l] = lanes->movie_keep[l] = 1;
    }
}

static void set_rate(const struct trainer *trainer, const char *term, int begin, int end, float *step, float *keep) {
    double rate = svd_rate(trainer->input->params, "learning_rate", term);
    double regularization = svd_rate(trainer->input->params, "regularization", term);
    for (int l = begin; l < end; l++) {
        step[l] = (float)rate;
        keep[l] = (float)(1 - rate * regularization);
    }
}

static reel_status make_lanes(struct trainer *trainer, reel_error *err) {
    int stride = trainer->stride, k = trainer->k;
    TRY_RETURN(MEM_NEW(&trainer->lane_memory, 8 * (int64_t)stride, err));
    set_lanes(&trainer->train, trainer->lane_memory, stride);
    set_lanes(&trainer->still, trainer->lane_memory + 4 * (ptrdiff_t)stride, stride);
    struct lanes *train = &trainer->train;
    set_rate(trainer, "pu", 0, k, train->user_step, train->user_keep);
    set_rate(trainer, "qi", 0, k, train->movie_step, train->movie_keep);
    if (trainer->biased) {
        set_rate(trainer, "bu", stride - 2, stride - 1, train->user_step, train->user_keep);
        set_rate(trainer, "bi", stride - 1, stride, train->movie_step, train->movie_keep);
    }
    double mean = trainer->biased ? trainer->mean : 0;
    for (int half_stars = 0; half_stars < SGD_VALUES; half_stars++)
        trainer->value[half_stars] = (float)(0.5 * half_stars - mean);
    return REEL_OK;
}

struct start_job {
    float *rows;
    const int32_t *indices;
    int32_t n_rows;
    int k, stride, one_lane; /* lane that holds 1, -1 without biases */
    float mean, std;
    uint64_t seed, stream;
};

/* Start values belong to the user's or movie's index, so bands do not change them. */
static void start_chunk(void *arg, int64_t chunk, int worker) {
    (void)worker;
    const struct start_job *job = arg;
    int64_t end = (chunk + 1) * ROW_CHUNK < job->n_rows ? (chunk + 1) * ROW_CHUNK : job->n_rows;
    int groups = (job->k + 3) / 4;
    for (int64_t row = chunk * ROW_CHUNK; row < end; row++) {
        float *values = job->rows + row * job->stride;
        for (int group = 0; group < groups; group++) {
            float normals[4];
            philox_normals(job->seed, job->stream, (uint64_t)job->indices[row] * (uint64_t)groups + (uint64_t)group,
                           normals);
            for (int l = 4 * group; l < 4 * group + 4 && l < job->k; l++)
                values[l] = job->mean + job->std * normals[l % 4];
        }
    }
}

static reel_status start_rows(struct trainer *trainer, int32_t n_rows, const int32_t *indices,
                              enum philox_stream purpose, int one_lane, float **rows, reel_error *err) {
    int stride = trainer->stride;
    TRY_RETURN(MEM_NEW(rows, ((int64_t)n_rows + 1) * stride, err));
    if (trainer->biased)
        for (int64_t row = 0; row <= n_rows; row++) (*rows)[row * stride + one_lane] = 1;
    struct start_job job = {.rows = *rows,
                            .indices = indices,
                            .n_rows = n_rows,
                            .k = trainer->k,
                            .stride = stride,
                            .mean = (float)params_number(trainer->input->params, "init_mean"),
                            .std = (float)params_number(trainer->input->params, "init_std"),
                            .seed = trainer->input->seed,
                            .stream = philox_stream(purpose, 0)};
    thread_pool_run(trainer->ctx->pool, ((int64_t)n_rows + ROW_CHUNK - 1) / ROW_CHUNK, start_chunk, &job);
    return context_check(trainer->ctx, err);
}

static size_t rows_bytes(const struct trainer *trainer, int32_t n_rows) {
    return ((size_t)n_rows + 1) * (size_t)trainer->stride * sizeof(float);
}

static reel_status put_rows(struct trainer *trainer, reel_error *err) {
    struct backend *backend = trainer->backend;
    if (backend->ops->uses_host_memory) return REEL_OK;
    TRY_RETURN(backend->ops->upload(backend, trainer->device_users, trainer->users,
                                    rows_bytes(trainer, trainer->grid.n_user_rows), err));
    return backend->ops->upload(backend, trainer->device_movies, trainer->movies,
                                rows_bytes(trainer, trainer->grid.n_movie_rows), err);
}

/* Brings the host's rows up to date. */
static reel_status fetch_rows(struct trainer *trainer, reel_error *err) {
    struct backend *backend = trainer->backend;
    if (!trainer->stale) return REEL_OK;
    trainer->stale = 0;
    TRY_RETURN(backend->ops->download(backend, trainer->users, trainer->device_users,
                                      rows_bytes(trainer, trainer->grid.n_user_rows), err));
    return backend->ops->download(backend, trainer->movies, trainer->device_movies,
                                  rows_bytes(trainer, trainer->grid.n_movie_rows), err);
}

/* The grid and the rows where the operator can reach them. */
static reel_status place(struct trainer *trainer, reel_error *err) {
    const struct sgd_grid *grid = &trainer->grid;
    const int64_t n_entries = trainer->input->ratings->n_ratings + SGD_AHEAD;
    const int64_t n_blocks = (int64_t)grid->n_user_bands * grid->n_movie_bands;
    const size_t user_bytes = rows_bytes(trainer, grid->n_user_rows);
    const size_t movie_bytes = rows_bytes(trainer, grid->n_movie_rows);
    trainer->job.backend = trainer->backend;
    trainer->device_users = trainer->users;
    trainer->device_movies = trainer->movies;
    TRY_RETURN(job_reserve(&trainer->job, "svd",
                           user_bytes + movie_bytes + (size_t)n_entries * sizeof(uint32_t) +
                               (size_t)grid->n_tiles * (sizeof(struct sgd_tile) + sizeof(int32_t)) +
                               (size_t)n_blocks * 9 * sizeof(double), /* first tile, step (6), order and place, sum */
                           err));
    TRY_RETURN(JOB_CONSTANT(&trainer->job, &trainer->device_block_tiles, grid->block_tiles, n_blocks + 1, err));
    TRY_RETURN(JOB_CONSTANT(&trainer->job, &trainer->device_tiles, grid->tiles, grid->n_tiles, err));
    TRY_RETURN(JOB_CONSTANT(&trainer->job, &trainer->device_entries, grid->entries, n_entries, err));
    if (trainer->backend->ops->uses_host_memory) return REEL_OK;
    TRY_RETURN(job_zeros(&trainer->job, (void **)&trainer->device_users, user_bytes, err));
    TRY_RETURN(job_zeros(&trainer->job, (void **)&trainer->device_movies, movie_bytes, err));
    return put_rows(trainer, err);
}

static reel_status set_up(struct trainer *trainer, reel_error *err) {
    const struct param_values *params = trainer->input->params;
    const struct ratings *ratings = trainer->input->ratings;
    int bands = (int)params_number(params, "bands");
    trainer->k = (int)params_number(params, "factors");
    trainer->stride = row_stride(trainer->k);
    trainer->biased = params_number(params, "biased") != 0;
    trainer->epochs = (int)params_number(params, "epochs");
    trainer->patience = (int)params_number(params, "early_stopping");
    trainer->mean = baseline_mean(ratings);
    trainer->best_rmse = INFINITY;
    TRY_RETURN(context_backend(trainer->ctx, &trainer->backend, err));
    if (!trainer->backend->ops->sgd_epoch) context_first_device(trainer->ctx, "svd", &trainer->backend);
    if (!trainer->backend->ops->sgd_epoch) TRY_RETURN(context_fall_back(trainer->ctx, "svd", &trainer->backend, err));
    if (trainer->patience && !(trainer->input->test && trainer->input->test->n))
        return error_set(err, REEL_INVALID_ARGUMENT, "early_stopping needs a held-out part (--holdout or --test)");
    if (!bands)
        bands = trainer->backend->ops->uses_host_memory ? sgd_grid_bands(ratings->n_ratings)
                                                        : sgd_grid_device_bands(ratings->n_ratings);
    TRY_RETURN(sgd_grid_build(trainer->ctx, ratings, bands, trainer->input->seed, &trainer->grid, err));
    const struct sgd_grid *grid = &trainer->grid;
    TRY_RETURN(make_lanes(trainer, err));
    TRY_RETURN(MEM_NEW(&trainer->block_squared, grid->n_user_bands * grid->n_movie_bands, err));
    TRY_RETURN(start_rows(trainer, grid->n_user_rows, grid->row_users, PHILOX_INIT_USERS, trainer->stride - 1,
                          &trainer->users, err));
    TRY_RETURN(start_rows(trainer, grid->n_movie_rows, grid->row_movies, PHILOX_INIT_MOVIES, trainer->stride - 2,
                          &trainer->movies, err));
    return place(trainer, err);
}

static void tear_down(struct trainer *trainer) {
    if (trainer->job.backend) job_memory_free(&trainer->job);
    sgd_grid_free(&trainer->grid);
    mem_free(trainer->users);
    mem_free(trainer->movies);
    mem_free(trainer->best_users);
    mem_free(trainer->best_movies);
    mem_free(trainer->lane_memory);
    mem_free(trainer->block_squared);
}

/* ---- epochs ---- */

static int stop_asked(const void *arg) {
    return context_check(arg, NULL) != REEL_OK;
}

/* The order of the epoch after the present one. */
static void prepare_next(void *arg) {
    struct trainer *trainer = arg;
    trainer->shuffled++;
    sgd_grid_shuffle(&trainer->grid, trainer->input->seed, trainer->shuffled);
}

/* Walks all ratings once; *rmse is over the errors before each visit. */
static reel_status run_epoch(struct trainer *trainer, const struct lanes *lanes, int epoch, double *rmse,
                             reel_error *err) {
    struct sgd_grid *grid = &trainer->grid;
    if (trainer->shuffled != epoch) sgd_grid_shuffle(grid, trainer->input->seed, epoch);
    trainer->shuffled = epoch;
    struct sgd_epoch_args args = {.n_user_bands = grid->n_user_bands,
                                  .n_movie_bands = grid->n_movie_bands,
                                  .n_tiles = grid->n_tiles,
                                  .block_order = grid->block_order,
                                  .block_tiles = trainer->device_block_tiles,
                                  .tile_order = grid->tile_order,
                                  .tiles = trainer->device_tiles,
                                  .entries = trainer->device_entries,
                                  .stride = trainer->stride,
                                  .users = trainer->device_users,
                                  .movies = trainer->device_movies,
                                  .value = trainer->value,
                                  .user_step = lanes->user_step,
                                  .user_keep = lanes->user_keep,
                                  .movie_step = lanes->movie_step,
                                  .movie_keep = lanes->movie_keep,
                                  .block_squared = trainer->block_squared,
                                  .stop = stop_asked,
                                  .stop_arg = trainer->ctx,
                                  .meanwhile = epoch < trainer->epochs ? prepare_next : NULL,
                                  .meanwhile_arg = trainer};
    TRY_RETURN(trainer->backend->ops->sgd_epoch(trainer->backend, &args, err));
    trainer->stale = !trainer->backend->ops->uses_host_memory;
    double squared = 0;
    for (int32_t b = 0; b < grid->n_user_bands * grid->n_movie_bands; b++) squared += trainer->block_squared[b];
    *rmse = sqrt(squared / (double)trainer->input->ratings->n_ratings);
    return REEL_OK;
}

static reel_status score_pairs(const void *arg, const struct rating_pairs *pairs, int64_t begin, int64_t n,
                               float *scores, reel_error *err) {
    (void)err;
    const struct trainer *trainer = arg;
    const struct sgd_grid *grid = &trainer->grid;
    for (int64_t i = 0; i < n; i++) {
        int32_t user = pairs->users[begin + i], movie = pairs->movies[begin + i];
        int64_t user_row = user >= 0 ? grid->user_rows[user] : -1,
                movie_row = movie >= 0 ? grid->movie_rows[movie] : -1;
        int known = user_row >= 0 && movie_row >= 0;
        if (user_row < 0) user_row = grid->n_user_rows;
        if (movie_row < 0) movie_row = grid->n_movie_rows;
        float product = dot_floats(trainer->users + user_row * trainer->stride,
                                   trainer->movies + movie_row * trainer->stride, trainer->stride);
        scores[i] = trainer->biased || !known ? (float)trainer->mean + product : product;
    }
    return REEL_OK;
}

static reel_status measure_test(struct trainer *trainer, double *rmse, reel_error *err) {
    const struct fit_input *input = trainer->input;
    reel_metrics metrics = {.rmse = NAN};
    *rmse = NAN;
    if (!input->test || !input->test->n) return REEL_OK;
    TRY_RETURN(fetch_rows(trainer, err));
    TRY_RETURN(measure_pairs(trainer->ctx, input->test, 0.5f * (float)input->ratings->scale_min,
                             0.5f * (float)input->ratings->scale_max, score_pairs, trainer, NULL, &metrics, err));
    *rmse = metrics.rmse;
    return REEL_OK;
}

/* Keeps a copy of the best epoch so far. */
static reel_status note_best(struct trainer *trainer, int epoch, double test_rmse, reel_error *err) {
    const struct sgd_grid *grid = &trainer->grid;
    if (!trainer->patience || !(test_rmse < trainer->best_rmse)) return REEL_OK;
    size_t user_bytes = rows_bytes(trainer, grid->n_user_rows), movie_bytes = rows_bytes(trainer, grid->n_movie_rows);
    if (!trainer->best_users) TRY_RETURN(mem_alloc((void **)&trainer->best_users, user_bytes, 1, err));
    if (!trainer->best_movies) TRY_RETURN(mem_alloc((void **)&trainer->best_movies, movie_bytes, 1, err));
    memcpy(trainer->best_users, trainer->users, user_bytes);
    memcpy(trainer->best_movies, trainer->movies, movie_bytes);
    trainer->best_rmse = test_rmse;
    trainer->best_epoch = epoch;
    return REEL_OK;
}

static void restore_best(struct trainer *trainer) {
    if (!trainer->best_users) return;
    float *users = trainer->users, *movies = trainer->movies;
    trainer->users = trainer->best_users;
    trainer->movies = trainer->best_movies;
    trainer->best_users = users;
    trainer->best_movies = movies;
}

/* ---- checkpoints ---- */

struct part {
    const char *name;
    float **rows;
    int32_t n_rows;
};

/* What a checkpoint holds beside the best error and its epoch; returns how many parts. */
static int parts_of(struct trainer *trainer, struct part parts[4]) {
    int32_t n_users = trainer->grid.n_user_rows, n_movies = trainer->grid.n_movie_rows;
    parts[0] = (struct part){"users", &trainer->users, n_users};
    parts[1] = (struct part){"movies", &trainer->movies, n_movies};
    parts[2] = (struct part){"best_users", &trainer->best_users, n_users};
    parts[3] = (struct part){"best_movies", &trainer->best_movies, n_movies};
    return trainer->patience ? 4 : 2;
}

static reel_status save_state(struct trainer *trainer, int epoch, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *state = NULL;
    struct part parts[4];
    double *best;
    int n = parts_of(trainer, parts);
    TRY(fetch_rows(trainer, err));
    TRY(tensor_set_new(&state, err));
    for (int i = 0; i < n; i++) {
        int64_t shape[2] = {(int64_t)parts[i].n_rows + 1, trainer->stride};
        TRY(tensor_set_add_borrowed(state, parts[i].name, DTYPE_F32, 2, shape, *parts[i].rows, err));
    }
    TRY(tensor_set_add1(state, "best", DTYPE_F64, 2, (void **)&best, err));
    best[0] = trainer->best_rmse;
    best[1] = trainer->best_epoch;
    TRY(checkpoint_write(trainer->ctx, trainer->input, "svd", epoch, state, err));
cleanup:
    tensor_set_free(state);
    return status;
}

/* *done = epochs already walked. */
static reel_status load_state(struct trainer *trainer, int64_t *done, reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *state = NULL;
    const struct tensor *tensor;
    struct part parts[4];
    int n = parts_of(trainer, parts);
    int64_t two = 2;
    TRY(checkpoint_read(trainer->ctx, trainer->input, "svd", &state, done, err));
    if (!state) return REEL_OK;
    for (int i = 0; i < n; i++) {
        int64_t shape[2] = {(int64_t)parts[i].n_rows + 1, trainer->stride};
        TRY(tensor_set_require(state, parts[i].name, DTYPE_F32, 2, shape, &tensor, err));
        if (!*parts[i].rows) TRY(mem_alloc((void **)parts[i].rows, tensor->bytes, 1, err));
        memcpy(*parts[i].rows, tensor->data, tensor->bytes);
    }
    TRY(tensor_set_require(state, "best", DTYPE_F64, 1, &two, &tensor, err));
    trainer->best_rmse = ((const double *)tensor->data)[0];
    trainer->best_epoch = (int)((const double *)tensor->data)[1];
    TRY(put_rows(trainer, err));
cleanup:
    tensor_set_free(state);
    return status;
}

/* ---- the run ---- */

static reel_status fail_diverged(const struct trainer *trainer, int epoch, reel_error *err) {
    return error_set(err, REEL_NUMERIC,
                     "svd diverged in epoch %d (the training error is not finite): lower learning_rate (%.10g)", epoch,
                     params_number(trainer->input->params, "learning_rate"));
}

static reel_status one_epoch(struct trainer *trainer, int epoch, reel_error *err) {
    reel_epoch record = {.epoch = epoch};
    double start = clock_seconds();
    TRY_RETURN(run_epoch(trainer, epoch ? &trainer->train : &trainer->still, epoch, &record.train_rmse, err));
    if (!isfinite(record.train_rmse)) return fail_diverged(trainer, epoch, err);
    if (epoch) {
        record.seconds = clock_seconds() - start;
        trainer->output->fit_seconds += record.seconds;
        trainer->output->visited += trainer->input->ratings->n_ratings;
    }
    TRY_RETURN(measure_test(trainer, &record.test_rmse, err));
    TRY_RETURN(note_best(trainer, epoch, record.test_rmse, err));
    return fit_output_epoch(trainer->output, record, err);
}

static reel_status run_epochs(struct trainer *trainer, reel_error *err) {
    int64_t n_ratings = trainer->input->ratings->n_ratings, done;
    char stage[96];
    snprintf(stage, sizeof stage, "%.60ssvd", trainer->input->stage);
    TRY_RETURN(load_state(trainer, &done, err));
    for (int epoch = done ? (int)done + 1 : 0; epoch <= trainer->epochs; epoch++) {
        TRY_RETURN(one_epoch(trainer, epoch, err));
        const reel_epoch *record = &trainer->output->epochs[trainer->output->n_epochs - 1];
        int stop = trainer->patience && epoch - trainer->best_epoch >= trainer->patience;
        double rmse = isnan(record->test_rmse) ? record->train_rmse : record->test_rmse;
        context_progress(trainer->ctx, stage, "ratings", epoch * n_ratings, trainer->epochs * n_ratings, "rmse", rmse,
                         stop || epoch == trainer->epochs);
        if (stop) break;
        if (epoch && checkpoint_due(trainer->input, epoch, trainer->epochs))
            TRY_RETURN(save_state(trainer, epoch, err));
    }
    TRY_RETURN(fetch_rows(trainer, err));
    restore_best(trainer);
    return REEL_OK;
}

/* ---- the way back ---- */

/* Copies rows to (n, k) factors and (n,) biases in index order; 0 when a value is not finite. */
static int copy_rows(const struct trainer *trainer, int32_t n_rows, const int32_t *indices, const float *rows,
                     int bias_lane, float *factors, float *bias) {
    float bad = 0;
    for (int64_t row = 0; row < n_rows; row++) {
        const float *from = rows + row * trainer->stride;
        float *to = factors + (int64_t)indices[row] * trainer->k;
        for (int l = 0; l < trainer->k; l++) {
            to[l] = from[l];
            bad += from[l] * 0;
        }
        bias[indices[row]] = from[bias_lane];
        bad += from[bias_lane] * 0;
    }
    return bad == 0;
}

static reel_status make_tensors(struct trainer *trainer, struct tensor_set *set, reel_error *err) {
    const struct ratings *ratings = trainer->input->ratings;
    const struct sgd_grid *grid = &trainer->grid;
    float *mean, *user_bias, *movie_bias, *users, *movies;
    int64_t user_shape[2] = {ratings->n_users, trainer->k}, movie_shape[2] = {ratings->n_movies, trainer->k};
    int d = trainer->k + trainer->biased;
    int64_t prior_shape[2] = {d, d};
    float *precision;
    TRY_RETURN(baseline_add(set, ratings, &mean, &user_bias, &movie_bias, err));
    TRY_RETURN(tensor_set_add(set, "user_factors", DTYPE_F32, 2, user_shape, (void **)&users, err));
    TRY_RETURN(tensor_set_add(set, "movie_factors", DTYPE_F32, 2, movie_shape, (void **)&movies, err));
    *mean = (float)trainer->mean;
    int fine =
        copy_rows(trainer, grid->n_user_rows, grid->row_users, trainer->users, trainer->stride - 2, users, user_bias);
    fine &= copy_rows(trainer, grid->n_movie_rows, grid->row_movies, trainer->movies, trainer->stride - 1, movies,
                      movie_bias);
    if (!fine) return fail_diverged(trainer, trainer->output->n_epochs - 1, err);
    TRY_RETURN(tensor_set_add(set, "fold_in_precision", DTYPE_F32, 2, prior_shape, (void **)&precision, err));
    const reel_epoch *last = &trainer->output->epochs[trainer->output->n_epochs - 1];
    TRY_RETURN(svd_prior(trainer->ctx, trainer->users, grid->n_user_rows, trainer->stride, trainer->k,
                         trainer->stride - 2, d, last->train_rmse * last->train_rmse, precision, err));
    if (!trainer->patience) return REEL_OK;
    return tensor_set_putf(set, "best_epoch", err, "%d", trainer->best_epoch);
}

reel_status svd_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set, struct fit_output *output,
                    reel_error *err) {
    reel_status status = REEL_OK;
    struct trainer trainer = {.ctx = ctx, .input = input, .output = output, .shuffled = -1};
    double start = clock_seconds();
    TRY(set_up(&trainer, err));
    output->fit_seconds = clock_seconds() - start;
    TRY(run_epochs(&trainer, err));
    TRY(make_tensors(&trainer, set, err));
cleanup:
    tear_down(&trainer);
    return status;
}
