#include "model/bmf_chain.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "model/factor_backend.h"

/* Streams of one sample: sample * 16 + purpose (8.. are the time effects). */
enum { STREAM_DRAWS, STREAM_USERS, STREAM_MOVIES, STREAM_IMPLICIT, STREAM_FLIPPED };

static uint64_t stream_of(uint32_t sample, uint32_t purpose) {
    return philox_stream(PHILOX_GIBBS, sample * 16 + purpose);
}

static reel_status init_vectors(struct bmf_chain *chain, struct bmf_side *side, int has_set, enum philox_stream stream,
                                reel_error *err) {
    reel_status status = REEL_OK;
    float *host = NULL;
    size_t stride = (size_t)chain->stride, n = (size_t)side->n * stride;
    TRY(MEM_NEW(&host, n, err));
    for (int32_t row = 0; row < side->n; row++)
        for (int f = 0; f < chain->options.k; f += 4) {
            float z[4];
            philox_normals(chain->options.seed, philox_stream(stream, 1), (uint64_t)row * 128 + (uint64_t)f / 4, z);
            for (int l = 0; l < 4 && f + l < chain->options.k; l++)
                host[(size_t)row * stride + (size_t)(f + l)] = (float)chain->options.init_std * z[l];
        }
    TRY(JOB_ZEROS(&chain->job, &side->own, n, err));
    TRY(chain->job.backend->ops->upload(chain->job.backend, side->own, host, n * sizeof *host, err));
    side->vectors = side->own;
    if (!has_set) goto cleanup;
    TRY(JOB_ZEROS(&chain->job, &side->vectors, n, err));
    TRY(chain->job.backend->ops->upload(chain->job.backend, side->vectors, host, n * sizeof *host, err));
cleanup:
    mem_free(host);
    return status;
}

static reel_status side_new(struct bmf_chain *chain, struct bmf_side *side, int32_t n, const int64_t *offsets,
                            const int32_t *columns, const uint8_t *ratings, int has_set, int32_t n_features,
                            enum philox_stream stream, reel_error *err) {
    side->n = n;
    TRY_RETURN(JOB_CONSTANT(&chain->job, &side->offsets, offsets, (size_t)n + 1, err));
    TRY_RETURN(JOB_CONSTANT(&chain->job, &side->columns, columns, chain->n_ratings, err));
    TRY_RETURN(JOB_CONSTANT(&chain->job, &side->ratings, ratings, chain->n_ratings, err));
    TRY_RETURN(init_vectors(chain, side, has_set, stream, err));
    if (has_set) {
        TRY_RETURN(JOB_ZEROS(&chain->job, &side->set_sums, (size_t)n * (size_t)chain->stride, err));
        TRY_RETURN(JOB_ZEROS(&chain->job, &side->features, (size_t)n_features * (size_t)chain->stride, err));
    }
    if (chain->options.time) TRY_RETURN(JOB_ZEROS(&chain->job, &side->effects, chain->n_ratings, err));
    return normal_prior_new(chain->d, chain->stride, &side->prior, err);
}

/* By-user position of each by-movie rating: users come in ascending order on both sides. */
static reel_status order_by_movie(struct bmf_chain *chain, const struct ratings *ratings, reel_error *err) {
    reel_status status = REEL_OK;
    int64_t *next = NULL;
    TRY(MEM_RAW(&next, (size_t)ratings->n_movies + 1, err));
    TRY(MEM_RAW(&chain->movie_order_host, ratings->n_ratings, err));
    memcpy(next, ratings->movie_offsets, sizeof *next * ((size_t)ratings->n_movies + 1));
    for (int64_t i = 0; i < ratings->n_ratings; i++)
        chain->movie_order_host[next[ratings->user_movies[i]]++] = (int32_t)i;
    TRY(JOB_CONSTANT(&chain->job, &chain->movie_order, chain->movie_order_host, ratings->n_ratings, err));
cleanup:
    mem_free(next);
    return status;
}

static double mean_stars(const struct ratings *ratings) {
    int64_t sum = 0;
    for (int64_t i = 0; i < ratings->n_ratings; i++) sum += ratings->user_ratings[i];
    return 0.5 * (double)sum / (double)ratings->n_ratings;
}

/* Vectors: own, with a set also the sum of both and the set's, and the other side's features. By rating: residual;
 * with time its effects both ways, the order by movie and its place in each kind of group. */
static reel_status reserve(struct bmf_chain *chain, const struct ratings *ratings, reel_error *err) {
    const struct bmf_options *options = &chain->options;
    const int users = 1 + 2 * options->implicit_sets + options->flipped;
    const int movies = 1 + 2 * options->flipped + options->implicit_sets;
    const int words =
        (options->time || options->implicit_sets || options->flipped) + (options->time ? 3 + BMF_TIME_KINDS : 0);
    return factor_reserve(&chain->job, "bmf", ratings, chain->stride, users, movies,
                          (size_t)ratings->n_ratings * (size_t)words * sizeof(float), err);
}

reel_status bmf_chain_new(struct backend *backend, const struct ratings *ratings, const struct bmf_options *options,
                          struct bmf_chain *out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = (struct bmf_chain){.options = *options, .job = {.backend = backend}, .n_ratings = ratings->n_ratings};
    out->d = options->k + options->biases;
    out->stride = factor_stride(options->k);
    out->mean = mean_stars(ratings);
    for (int v = 0; v < FACTOR_VALUES; v++) out->value[v] = 0.5f * (float)v - (float)out->mean;
    TRY(reserve(out, ratings, err));
    TRY(MEM_RAW(&out->sum, out->d, err));
    TRY(MEM_RAW(&out->scatter, (size_t)out->d * (size_t)out->d, err));
    TRY(side_new(out, &out->users, ratings->n_users, ratings->user_offsets, ratings->user_movies, ratings->user_ratings,
                 options->implicit_sets, ratings->n_movies, PHILOX_INIT_USERS, err));
    TRY(side_new(out, &out->movies, ratings->n_movies, ratings->movie_offsets, ratings->movie_users,
                 ratings->movie_ratings, options->flipped, ratings->n_users, PHILOX_INIT_MOVIES, err));
    if (options->time || options->implicit_sets || options->flipped)
        TRY(JOB_ZEROS(&out->job, &out->residual, ratings->n_ratings, err));
    if (options->time) {
        TRY(order_by_movie(out, ratings, err));
        TRY(bmf_time_new(ratings, &out->job, &out->time, err));
    }
    return REEL_OK;
cleanup:
    bmf_chain_free(out);
    return status;
}

void bmf_chain_free(struct bmf_chain *chain) {
    job_memory_free(&chain->job);
    bmf_time_free(&chain->time);
    normal_prior_free(&chain->users.prior);
    normal_prior_free(&chain->movies.prior);
    mem_free(chain->movie_order_host);
    mem_free(chain->scatter);
    mem_free(chain->sum);
    *chain = (struct bmf_chain){0};
}

/* Residuals in the row side's order, and the sum of their squares. */
static reel_status refresh_residuals(struct bmf_chain *chain, const struct bmf_side *rows,
                                     const struct bmf_side *columns, double *sum_squares, reel_error *err) {
    struct residuals_args args = {.k = chain->options.k,
                                  .stride = chain->stride,
                                  .n_rows = rows->n,
                                  .offsets = rows->offsets,
                                  .columns = rows->columns,
                                  .ratings = rows->ratings,
                                  .effects = rows->effects,
                                  .row_vectors = rows->vectors,
                                  .column_vectors = columns->vectors,
                                  .out = chain->residual,
                                  .sum_squares = sum_squares};
    memcpy(args.value, chain->value, sizeof args.value);
    return chain->job.backend->ops->residuals(chain->job.backend, &args, err);
}

static reel_status draw_prior(struct bmf_chain *chain, struct bmf_side *side, struct draws *draws, reel_error *err) {
    struct moments_args args = {.d = chain->d,
                                .stride = chain->stride,
                                .n = side->n,
                                .vectors = side->own,
                                .sum = chain->sum,
                                .scatter = chain->scatter};
    TRY_RETURN(chain->job.backend->ops->moments(chain->job.backend, &args, err));
    return normal_prior_draw(&side->prior, side->n, chain->sum, chain->scatter, draws, err);
}

static reel_status publish_vectors(struct bmf_chain *chain, struct bmf_side *side, reel_error *err) {
    if (!side->set_sums) return REEL_OK;
    struct add_vectors_args args = {
        .n = (int64_t)side->n * chain->stride, .a = side->own, .b = side->set_sums, .out = side->vectors};
    return chain->job.backend->ops->add_vectors(chain->job.backend, &args, err);
}

static reel_status draw_vectors(struct bmf_chain *chain, struct bmf_side *rows, const struct bmf_side *columns,
                                uint64_t stream, reel_error *err) {
    struct factor_solve_args args = {.k = chain->options.k,
                                     .stride = chain->stride,
                                     .biases = chain->options.biases,
                                     .n_rows = rows->n,
                                     .n_columns = columns->n,
                                     .offsets = rows->offsets,
                                     .columns = rows->columns,
                                     .ratings = rows->ratings,
                                     .residual = rows->effects,
                                     .column_vectors = columns->vectors,
                                     .row_offsets = rows->set_sums,
                                     .alpha = (float)chain->alpha,
                                     .prior_precision = rows->prior.precision,
                                     .prior_root = rows->prior.root,
                                     .prior_shift = rows->prior.shift,
                                     .noise = 1,
                                     .seed = chain->options.seed,
                                     .stream = stream,
                                     .row_vectors = rows->own};
    for (int v = 0; v < FACTOR_VALUES; v++) {
        args.value[v] = chain->value[v];
        args.weight[v] = 1;
    }
    TRY_RETURN(chain->job.backend->ops->factor_solve(chain->job.backend, &args, err));
    return publish_vectors(chain, rows, err);
}

/* Draws the features of the row side's set, one sweep, and their prior. */
static reel_status draw_set(struct bmf_chain *chain, struct bmf_side *rows, const struct bmf_side *columns,
                            uint64_t stream, struct draws *draws, reel_error *err) {
    if (!rows->features) return REEL_OK;
    double sum_squares;
    struct moments_args moments = {.d = chain->d,
                                   .stride = chain->stride,
                                   .n = columns->n,
                                   .vectors = rows->features,
                                   .sum = chain->sum,
                                   .scatter = chain->scatter};
    TRY_RETURN(chain->job.backend->ops->moments(chain->job.backend, &moments, err));
    feature_prior_draw(columns->n, chain->d, chain->sum, chain->scatter, draws, rows->feature_mean,
                       rows->feature_precision);
    TRY_RETURN(refresh_residuals(chain, rows, columns, &sum_squares, err));
    struct set_sweep_args args = {.k = chain->options.k,
                                  .stride = chain->stride,
                                  .biases = chain->options.biases,
                                  .n_rows = rows->n,
                                  .n_columns = columns->n,
                                  .offsets = rows->offsets,
                                  .columns = rows->columns,
                                  .column_offsets = columns->offsets,
                                  .column_rows = columns->columns,
                                  .column_vectors = columns->vectors,
                                  .features = rows->features,
                                  .row_sums = rows->set_sums,
                                  .residual = chain->residual,
                                  .alpha = (float)chain->alpha,
                                  .prior_mean = rows->feature_mean,
                                  .prior_precision = rows->feature_precision,
                                  .seed = chain->options.seed,
                                  .stream = stream};
    TRY_RETURN(chain->job.backend->ops->set_sweep(chain->job.backend, &args, err));
    return publish_vectors(chain, rows, err);
}

/* The time effects of each rating, in both orders. */
static reel_status publish_time(struct bmf_chain *chain, reel_error *err) {
    struct backend *backend = chain->job.backend;
    TRY_RETURN(bmf_time_totals(&chain->time, backend, chain->users.effects, err));
    struct gather_args args = {
        .n = chain->n_ratings, .index = chain->movie_order, .in = chain->users.effects, .out = chain->movies.effects};
    return backend->ops->gather(backend, &args, err);
}

static reel_status draw_time(struct bmf_chain *chain, uint32_t sample, struct draws *draws, reel_error *err) {
    TRY_RETURN(bmf_time_sweep(&chain->time, chain->job.backend, chain->residual, (float)chain->alpha,
                              chain->options.seed, sample, draws, err));
    return publish_time(chain, err);
}

/* ---- checkpoints ---- */

/* Calls `move` for each part of a sample that the next one depends on. */
typedef reel_status (*move_fn)(struct bmf_chain *chain, void *arg, const char *name, void *device, size_t n_floats,
                               reel_error *err);

static reel_status each_part(struct bmf_chain *chain, move_fn move, void *arg, reel_error *err) {
    const size_t stride = (size_t)chain->stride;
    struct bmf_side *sides[] = {&chain->users, &chain->movies};
    static const char *const names[2][4] = {{"users.own", "users.vectors", "users.set_sums", "users.features"},
                                            {"movies.own", "movies.vectors", "movies.set_sums", "movies.features"}};
    for (int i = 0; i < 2; i++) {
        size_t n = (size_t)sides[i]->n * stride, n_features = (size_t)sides[1 - i]->n * stride;
        TRY_RETURN(move(chain, arg, names[i][0], sides[i]->own, n, err));
        TRY_RETURN(move(chain, arg, names[i][1], sides[i]->vectors, n, err));
        if (!sides[i]->features) continue;
        TRY_RETURN(move(chain, arg, names[i][2], sides[i]->set_sums, n, err));
        TRY_RETURN(move(chain, arg, names[i][3], sides[i]->features, n_features, err));
    }
    for (int kind = 0; chain->options.time && kind < BMF_TIME_KINDS; kind++) {
        static const char *const time_names[] = {"time.0", "time.1", "time.2"};
        TRY_RETURN(move(chain, arg, time_names[kind], chain->time.kinds[kind].device_effects,
                        (size_t)chain->time.kinds[kind].n, err));
    }
    return REEL_OK;
}

static reel_status save_part(struct bmf_chain *chain, void *arg, const char *name, void *device, size_t n_floats,
                             reel_error *err) {
    void *data;
    TRY_RETURN(tensor_set_add1(arg, name, DTYPE_F32, (int64_t)n_floats, &data, err));
    return chain->job.backend->ops->download(chain->job.backend, data, device, n_floats * sizeof(float), err);
}

static reel_status load_part(struct bmf_chain *chain, void *arg, const char *name, void *device, size_t n_floats,
                             reel_error *err) {
    const struct tensor *tensor;
    int64_t n = (int64_t)n_floats;
    TRY_RETURN(tensor_set_require(arg, name, DTYPE_F32, 1, &n, &tensor, err));
    return chain->job.backend->ops->upload(chain->job.backend, device, tensor->data, tensor->bytes, err);
}

/* Scalars and the running sums of the time effects: (1 + 1 + 3,) and (n,) a kind. */
reel_status bmf_chain_save(struct bmf_chain *chain, struct tensor_set *state, reel_error *err) {
    double *scalars, *sums;
    TRY_RETURN(each_part(chain, save_part, state, err));
    TRY_RETURN(tensor_set_add1(state, "scalars", DTYPE_F64, 2 + BMF_TIME_KINDS, (void **)&scalars, err));
    scalars[0] = chain->alpha;
    scalars[1] = chain->train_rmse;
    for (int kind = 0; chain->options.time && kind < BMF_TIME_KINDS; kind++) {
        char name[16];
        snprintf(name, sizeof name, "time_sums.%d", kind);
        scalars[2 + kind] = chain->time.kinds[kind].precision;
        TRY_RETURN(tensor_set_add1(state, name, DTYPE_F64, chain->time.kinds[kind].n, (void **)&sums, err));
        memcpy(sums, chain->time.kinds[kind].sums, (size_t)chain->time.kinds[kind].n * sizeof *sums);
    }
    return REEL_OK;
}

reel_status bmf_chain_load(struct bmf_chain *chain, struct tensor_set *state, reel_error *err) {
    const struct tensor *scalars, *sums;
    int64_t n = 2 + BMF_TIME_KINDS;
    TRY_RETURN(each_part(chain, load_part, state, err));
    TRY_RETURN(tensor_set_require(state, "scalars", DTYPE_F64, 1, &n, &scalars, err));
    chain->alpha = ((const double *)scalars->data)[0];
    chain->train_rmse = ((const double *)scalars->data)[1];
    if (!chain->options.time) return REEL_OK;
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++) {
        struct bmf_groups *groups = &chain->time.kinds[kind];
        char name[16];
        snprintf(name, sizeof name, "time_sums.%d", kind);
        TRY_RETURN(tensor_set_require(state, name, DTYPE_F64, 1, &groups->n, &sums, err));
        memcpy(groups->sums, sums->data, sums->bytes);
        groups->precision = ((const double *)scalars->data)[2 + kind];
        TRY_RETURN(chain->job.backend->ops->download(chain->job.backend, groups->effects, groups->device_effects,
                                                     (size_t)groups->n * sizeof(float), err));
    }
    return publish_time(chain, err);
}

reel_status bmf_chain_step(struct bmf_chain *chain, uint32_t sample, reel_error *err) {
    struct draws draws = {.seed = chain->options.seed, .stream = stream_of(sample, STREAM_DRAWS)};
    double sum_squares;
    TRY_RETURN(refresh_residuals(chain, &chain->users, &chain->movies, &sum_squares, err));
    if (!isfinite(sum_squares)) return error_set(err, REEL_NUMERIC, "sample %u: the factors left their range", sample);
    chain->train_rmse = sqrt(sum_squares / (double)chain->n_ratings);
    /* noise precision, Gamma(1, 1) a priori */
    chain->alpha = draw_gamma(&draws, 1 + 0.5 * (double)chain->n_ratings, 1 + 0.5 * sum_squares);
    if (chain->options.time) TRY_RETURN(draw_time(chain, sample, &draws, err));
    TRY_RETURN(draw_prior(chain, &chain->users, &draws, err));
    TRY_RETURN(draw_vectors(chain, &chain->users, &chain->movies, stream_of(sample, STREAM_USERS), err));
    TRY_RETURN(draw_set(chain, &chain->users, &chain->movies, stream_of(sample, STREAM_IMPLICIT), &draws, err));
    TRY_RETURN(draw_prior(chain, &chain->movies, &draws, err));
    TRY_RETURN(draw_vectors(chain, &chain->movies, &chain->users, stream_of(sample, STREAM_MOVIES), err));
    return draw_set(chain, &chain->movies, &chain->users, stream_of(sample, STREAM_FLIPPED), &draws, err);
}
