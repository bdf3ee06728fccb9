/* `linear`: ridge regression on standardised features (Hoerl and Kennard, Technometrics 12, 1970), as scikit-learn's
 * make_pipeline(StandardScaler(), Ridge(alpha)); the intercept is not shrunk. Tensors: the columns of forest.h, and
 * "coefficients" F64 (C,), of the features as they are, and "intercept" F64 (1,), stars.
 *
 * The table of ratings times features is never made. Two columns of one table are multiplied by its rows, each as often
 * as it occurs; a column of users and one of movies by users: the movie columns summed over a user's ratings, times the
 * user's; a column of movies and one of hours likewise. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/dense.h"
#include "model/features.h"
#include "model/forest.h"

static const struct param_spec linear_params[] = {
    {"alpha", PARAM_REAL, "1", 0, 1e12, NULL, "ridge on the coefficients of the standardised features"},
    FEATURE_PARAMS,
};
enum { N_PARAMS = sizeof linear_params / sizeof linear_params[0], PARTS = 64, HOUR_ROWS = STAR_HOURS + 1 };

/* A table of the star, row by row. */
struct side {
    int n;                         /* columns */
    int columns[STAR_COLUMNS_MAX]; /* their numbers */
    int64_t n_rows;
    double *x;              /* (n_rows, n) standardised */
    int64_t *counts, *sums; /* (n_rows,) ratings, half stars */
};

struct regression {
    const struct ratings *ratings;
    struct features features;
    struct side sides[STAR_TABLES];
    int n; /* columns */
    double mean[STAR_COLUMNS_MAX], scale[STAR_COLUMNS_MAX];
    double *gram;    /* (n, n) */
    double *parts;   /* (PARTS, n, n): products across tables, of one part of the users */
    double *scratch; /* by worker: (STAR_HALF_STARS + HOUR_ROWS, n) */
    double right[STAR_COLUMNS_MAX];
    double mean_stars;
};

/* ---- standardised tables ---- */

static void count_rows(struct regression *fit) {
    const struct ratings *ratings = fit->ratings;
    int stride = fit->features.stride;
    for (int32_t u = 0; u < ratings->n_users; u++)
        for (int64_t i = ratings->user_offsets[u]; i < ratings->user_offsets[u + 1]; i++) {
            uint8_t stars = ratings->user_ratings[i];
            const int32_t rows[STAR_TABLES] = {features_row(stride, u, stars),
                                               features_row(stride, ratings->user_movies[i], stars),
                                               star_hour(ratings->user_times ? ratings->user_times[i] : 0)};
            for (int t = 0; t < STAR_TABLES; t++) {
                fit->sides[t].counts[rows[t]]++;
                fit->sides[t].sums[rows[t]] += stars;
            }
        }
}

/* Mean and standard deviation of a column over the ratings; a column that does not vary is left as it is. */
static void standardise(struct regression *fit, struct side *side, int at) {
    int c = side->columns[at];
    const float *values = features_training(&fit->features)->columns[c].values;
    double n = (double)fit->ratings->n_ratings, sum = 0, squares = 0;
    for (int64_t row = 0; row < side->n_rows; row++) sum += (double)side->counts[row] * (double)values[row];
    fit->mean[c] = sum / n;
    for (int64_t row = 0; row < side->n_rows; row++) {
        double distance = (double)values[row] - fit->mean[c];
        squares += (double)side->counts[row] * distance * distance;
    }
    double deviation = sqrt(squares / n);
    fit->scale[c] = deviation > 1e-12 * (1 + fabs(fit->mean[c])) ? deviation : 1;
    for (int64_t row = 0; row < side->n_rows; row++)
        side->x[row * side->n + at] = ((double)values[row] - fit->mean[c]) / fit->scale[c];
}

static reel_status make_sides(struct regression *fit, reel_error *err) {
    const struct star *star = features_training(&fit->features);
    for (int c = 0; c < star->n_columns; c++) {
        struct side *side = &fit->sides[star->columns[c].table];
        side->columns[side->n++] = c;
    }
    for (int t = 0; t < STAR_TABLES; t++) {
        struct side *side = &fit->sides[t];
        side->n_rows = (int64_t)star->n_rows[t] + 1;
        TRY_RETURN(MEM_RAW(&side->x, side->n_rows * side->n, err));
        TRY_RETURN(MEM_NEW(&side->counts, side->n_rows, err));
        TRY_RETURN(MEM_NEW(&side->sums, side->n_rows, err));
    }
    count_rows(fit);
    for (int t = 0; t < STAR_TABLES; t++)
        for (int at = 0; at < fit->sides[t].n; at++) standardise(fit, &fit->sides[t], at);
    return REEL_OK;
}

/* ---- products ---- */

/* Of the columns of one table, and with the stars. */
static void multiply_within(void *arg, int64_t task, int worker) {
    (void)worker;
    struct regression *fit = arg;
    const struct side *side = &fit->sides[task];
    for (int64_t row = 0; row < side->n_rows; row++) {
        const double *x = side->x + row * side->n, count = (double)side->counts[row];
        double stars = 0.5 * (double)side->sums[row] - count * fit->mean_stars;
        if (side->counts[row] == 0) continue;
        for (int a = 0; a < side->n; a++) {
            fit->right[side->columns[a]] += x[a] * stars;
            for (int b = 0; b <= a; b++) fit->gram[side->columns[a] * fit->n + side->columns[b]] += count * x[a] * x[b];
        }
    }
}

static void add_row(double *restrict to, const double *restrict row, int n) {
    for (int i = 0; i < n; i++) to[i] += row[i];
}

/* gram[a's columns, b's columns] += x_a sums_b^T. */
static void add_outer(const struct side *a, const double *x, const struct side *b, const double *sums, int n,
                      double *gram) {
    for (int i = 0; i < a->n; i++)
        for (int j = 0; j < b->n; j++) gram[a->columns[i] * n + b->columns[j]] += x[i] * sums[j];
}

/* Of user columns with the others, and of movie columns with hour columns, for one user. */
static void multiply_user(const struct regression *fit, int32_t user, double *sums, double *by_hour, double *gram) {
    const struct ratings *ratings = fit->ratings;
    const struct side *users = &fit->sides[STAR_USER], *movies = &fit->sides[STAR_MOVIE];
    const struct side *hours = &fit->sides[STAR_CALENDAR];
    const int stride = fit->features.stride, n = fit->n;
    int used[STAR_HALF_STARS] = {0};
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
        uint8_t stars = ratings->user_ratings[i];
        int hour = star_hour(ratings->user_times ? ratings->user_times[i] : 0), group = stride > 1 ? stars - 1 : 0;
        const double *movie = movies->x + (int64_t)features_row(stride, ratings->user_movies[i], stars) * movies->n;
        if (!used[group]) memset(sums + group * n, 0, sizeof *sums * (size_t)n);
        used[group] = 1;
        add_row(sums + group * n, movie, movies->n);
        add_row(sums + group * n + movies->n, hours->x + (int64_t)hour * hours->n, hours->n);
        add_row(by_hour + (int64_t)hour * movies->n, movie, movies->n);
    }
    for (int group = 0; group < STAR_HALF_STARS; group++) {
        if (!used[group]) continue;
        const double *x = users->x + (int64_t)features_row(stride, user, (uint8_t)(group + 1)) * users->n;
        add_outer(users, x, movies, sums + group * n, n, gram);
        add_outer(users, x, hours, sums + group * n + movies->n, n, gram);
    }
}

static void multiply_across(void *arg, int64_t part, int worker) {
    const struct regression *fit = arg;
    const struct side *movies = &fit->sides[STAR_MOVIE], *hours = &fit->sides[STAR_CALENDAR];
    double *sums = fit->scratch + (int64_t)worker * (STAR_HALF_STARS + HOUR_ROWS) * fit->n;
    double *by_hour = sums + STAR_HALF_STARS * fit->n, *gram = fit->parts + part * fit->n * fit->n;
    memset(by_hour, 0, sizeof *by_hour * (size_t)(HOUR_ROWS * fit->n));
    int32_t end = (int32_t)part_begin(fit->ratings->n_users, PARTS, part + 1);
    for (int32_t user = (int32_t)part_begin(fit->ratings->n_users, PARTS, part); user < end; user++)
        multiply_user(fit, user, sums, by_hour, gram);
    for (int hour = 0; hour < HOUR_ROWS; hour++)
        add_outer(movies, by_hour + (int64_t)hour * movies->n, hours, hours->x + (int64_t)hour * hours->n, fit->n,
                  gram);
}

/* The lower triangle of the products of all columns, summed in a fixed order. */
static reel_status multiply(reel_context *ctx, struct regression *fit, reel_error *err) {
    const int n = fit->n;
    TRY_RETURN(MEM_NEW(&fit->gram, n * n, err));
    TRY_RETURN(MEM_NEW(&fit->parts, PARTS * n * n, err));
    TRY_RETURN(MEM_RAW(&fit->scratch, thread_pool_size(ctx->pool) * (STAR_HALF_STARS + HOUR_ROWS) * n, err));
    thread_pool_run(ctx->pool, STAR_TABLES, multiply_within, fit);
    TRY_RETURN(context_check(ctx, err));
    thread_pool_run(ctx->pool, PARTS, multiply_across, fit);
    for (int part = 0; part < PARTS; part++)
        for (int a = 0; a < n; a++)
            for (int b = 0; b < n; b++) fit->gram[a > b ? a * n + b : b * n + a] += fit->parts[(part * n + a) * n + b];
    return REEL_OK;
}

/* ---- the fit ---- */

static reel_status solve(struct regression *fit, double alpha, double *coefficients, double *intercept,
                         reel_error *err) {
    const double varies = 1e-10 * (double)fit->ratings->n_ratings;
    int solved;
    for (int c = 0; c < fit->n; c++) {
        double *square = &fit->gram[c * fit->n + c];
        *square = *square > varies ? *square + alpha : 1; /* a constant column gets 0 */
    }
    solved = dense_cholesky(fit->gram, fit->n);
    for (int c = 0; c < fit->n; c++) solved &= fit->gram[c * fit->n + c] * fit->gram[c * fit->n + c] > varies;
    if (!solved)
        return error_set(
            err, REEL_NUMERIC,
            "some features are sums of others, so alpha=%g leaves the regression without an answer (take a "
            "larger alpha)",
            alpha);
    dense_forward(fit->gram, fit->n, fit->right);
    dense_backward(fit->gram, fit->n, fit->right);
    *intercept = fit->mean_stars;
    for (int c = 0; c < fit->n; c++) {
        coefficients[c] = fit->right[c] / fit->scale[c];
        *intercept -= coefficients[c] * fit->mean[c];
    }
    return REEL_OK;
}

static void regression_free(struct regression *fit) {
    for (int t = 0; t < STAR_TABLES; t++) {
        mem_free(fit->sides[t].x);
        mem_free(fit->sides[t].counts);
        mem_free(fit->sides[t].sums);
    }
    mem_free(fit->gram);
    mem_free(fit->parts);
    mem_free(fit->scratch);
    features_free(&fit->features);
    mem_free(fit);
}

static double mean_stars(const struct side *hours, int64_t n) {
    int64_t sum = 0;
    for (int hour = 0; hour < HOUR_ROWS; hour++) sum += hours->sums[hour];
    return 0.5 * (double)sum / (double)n;
}

static reel_status linear_fit(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                              struct fit_output *output, reel_error *err) {
    reel_status status = REEL_OK;
    struct regression *fit = NULL;
    void *coefficients, *intercept;
    char stage[96];
    snprintf(stage, sizeof stage, "%.60slinear", input->stage);
    TRY_RETURN(MEM_NEW(&fit, 1, err));
    fit->ratings = input->ratings;
    TRY(features_new(ctx, input, &fit->features, output, err));
    fit->n = fit->features.star.n_columns;
    double start = clock_seconds();
    context_progress(ctx, stage, "ratings", 0, input->ratings->n_ratings, NULL, 0, 0);
    TRY(make_sides(fit, err));
    fit->mean_stars = mean_stars(&fit->sides[STAR_CALENDAR], input->ratings->n_ratings);
    TRY(multiply(ctx, fit, err));
    TRY(tensor_set_add1(set, "coefficients", DTYPE_F64, fit->n, &coefficients, err));
    TRY(tensor_set_add1(set, "intercept", DTYPE_F64, 1, &intercept, err));
    TRY(solve(fit, params_number(input->params, "alpha"), coefficients, intercept, err));
    context_progress(ctx, stage, "ratings", input->ratings->n_ratings, input->ratings->n_ratings, NULL, 0, 1);
    output->fit_seconds += clock_seconds() - start;
    output->visited += input->ratings->n_ratings;
    TRY(forest_put_columns(&fit->features.star, set, err));
cleanup:
    regression_free(fit);
    return status;
}

/* ---- scoring ---- */

/* What each row of each table adds to a score: a score is the intercept and three of them. */
struct linear_state {
    double intercept;
    double *parts[STAR_TABLES];     /* (rows + 1,), the last one unknown */
    double user_mean, unknown_mean; /* coefficient of user_rt_mean, and its value for an unknown user */
};

static reel_status require_doubles(const struct reel_model *model, const char *name, int64_t n, const double **out,
                                   reel_error *err) {
    const struct tensor *tensor;
    TRY_RETURN(tensor_set_require(model->set, name, DTYPE_F64, 1, &n, &tensor, err));
    *out = tensor->data;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite((*out)[i]))
            return error_set(err, REEL_CORRUPT, "%s: %s holds a value that is not finite", tensor_set_path(model->set),
                             name);
    return REEL_OK;
}

static reel_status linear_bind(struct reel_model *model, reel_error *err) {
    struct linear_state *state;
    struct forest_columns columns;
    const double *coefficients, *intercept;
    const int64_t rows[STAR_TABLES] = {(int64_t)model->n_users + 1, (int64_t)model->n_movies + 1, HOUR_ROWS};
    TRY_RETURN(MEM_NEW(&state, 1, err));
    model->state = state;
    TRY_RETURN(forest_bind_columns(model, &columns, err));
    TRY_RETURN(require_doubles(model, "coefficients", columns.n, &coefficients, err));
    TRY_RETURN(require_doubles(model, "intercept", 1, &intercept, err));
    state->intercept = *intercept;
    for (int t = 0; t < STAR_TABLES; t++) TRY_RETURN(MEM_NEW(&state->parts[t], rows[t], err));
    for (int c = 0; c < columns.n; c++) {
        double *part = state->parts[columns.tables[c]];
        for (int64_t row = 0; row < rows[columns.tables[c]]; row++)
            part[row] += coefficients[c] * (double)columns.values[c][row];
    }
    if (columns.user_mean >= 0) {
        state->user_mean = coefficients[columns.user_mean];
        state->unknown_mean = (double)columns.values[columns.user_mean][model->n_users];
    }
    return REEL_OK;
}

static void linear_unbind(struct reel_model *model) {
    struct linear_state *state = model->state;
    for (int t = 0; state && t < STAR_TABLES; t++) mem_free(state->parts[t]);
    mem_free(state);
}

static reel_status linear_predict(const struct reel_model *model, int64_t n, const int32_t *users,
                                  const int32_t *movies, const uint32_t *times, float *scores, float *sds,
                                  reel_error *err) {
    (void)sds, (void)err;
    const struct linear_state *state = model->state;
    for (int64_t i = 0; i < n; i++) {
        int32_t user = users[i] < 0 ? model->n_users : users[i], movie = movies[i] < 0 ? model->n_movies : movies[i];
        scores[i] = (float)(state->intercept + state->parts[STAR_USER][user] + state->parts[STAR_MOVIE][movie] +
                            state->parts[STAR_CALENDAR][star_hour(times ? times[i] : 0)]);
    }
    return REEL_OK;
}

static void score_all(const struct reel_model *model, double user_part, uint32_t time, float *scores) {
    const struct linear_state *state = model->state;
    double hour_part = state->parts[STAR_CALENDAR][star_hour(time)];
    for (int32_t m = 0; m < model->n_movies; m++)
        scores[m] = (float)(state->intercept + user_part + state->parts[STAR_MOVIE][m] + hour_part);
}

static reel_status linear_score_movies(const struct reel_model *model, int32_t user, uint32_t time, float *scores,
                                       float *sds, reel_error *err) {
    (void)sds, (void)err;
    const struct linear_state *state = model->state;
    score_all(model, state->parts[STAR_USER][user < 0 ? model->n_users : user], time, scores);
    return REEL_OK;
}

/* A visitor is a user whose mean is that of the ratings at hand. */
static reel_status linear_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                                  uint32_t time, float *scores, float *sds, reel_error *err) {
    (void)movies, (void)sds, (void)err;
    const struct linear_state *state = model->state;
    double sum = 0, part = state->parts[STAR_USER][model->n_users];
    for (int64_t i = 0; i < n; i++) sum += (double)stars[i];
    if (n) part += state->user_mean * ((double)(float)(sum / (double)n) - state->unknown_mean);
    score_all(model, part, time, scores);
    return REEL_OK;
}

const struct algorithm algorithm_linear = {
    .name = "linear",
    .summary = "ridge regression on hand-made features, standardised",
    .params = linear_params,
    .n_params = N_PARAMS,
    .needs = RATINGS_TIMES,
    .fit = linear_fit,
    .bind = linear_bind,
    .unbind = linear_unbind,
    .predict = linear_predict,
    .score_movies = linear_score_movies,
    .fold_in = linear_fold_in,
};
