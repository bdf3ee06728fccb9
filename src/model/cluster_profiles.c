#include "model/cluster_profiles.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/user_profiles.h"
#include "model/model.h"

void profile_raw(const struct reel_dataset *dataset, reel_profile profile, const reel_model *model, int32_t user,
                 double *out) {
    if (profile == REEL_PROFILE_GENRE_SUMS) {
        user_profile_genre_sums(dataset, user, out);
        return;
    }
    if (profile == REEL_PROFILE_GENRE_MEANS) {
        user_profile_genre_means(dataset, user, out);
        return;
    }
    struct factor_view view;
    int32_t low = 0, high = model->n_users, id = dataset->user_ids[user];
    model->algorithm->factor_view(model, &view);
    memset(out, 0, sizeof *out * (size_t)view.k);
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (model->user_ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == model->n_users || model->user_ids[low] != id) return;
    for (int f = 0; f < view.k; f++) out[f] = (double)view.user_factors[(int64_t)low * view.stride + f];
}

void profile_scale(reel_scaling scaling, const double *low, const double *span, int d, double *row) {
    double sum = 0;
    for (int f = 0; f < d; f++) sum += scaling == REEL_SCALE_L1 ? fabs(row[f]) : row[f] * row[f];
    double length = scaling == REEL_SCALE_L1 ? sum : sqrt(sum);
    for (int f = 0; f < d; f++) {
        if (scaling == REEL_SCALE_MIN_MAX)
            row[f] = (row[f] - low[f]) / span[f];
        else if (scaling != REEL_SCALE_NONE && length > 0)
            row[f] /= length;
    }
}

static reel_status columns_of(const struct reel_dataset *dataset, const reel_cluster_options *options, int *d,
                              reel_error *err) {
    *d = dataset->n_genres;
    if (options->profile == REEL_PROFILE_FACTORS) {
        struct factor_view view;
        if (!options->model || !options->model->algorithm->factor_view ||
            !options->model->algorithm->factor_view(options->model, &view))
            return error_set(err, REEL_INVALID_ARGUMENT,
                             "factor profiles need a model with user factors (svd, als, bmf)");
        *d = view.k;
    }
    if (*d < 1) return error_set(err, REEL_BAD_INPUT, "the dataset has no genres to make user profiles of");
    return REEL_OK;
}

/* ---- the matrix, ROWS of it a task ---- */

enum { ROWS = 1024 };

struct profile_job {
    const struct reel_dataset *dataset;
    const reel_cluster_options *options;
    struct profile_matrix *matrix;
    double *ranges; /* (tasks, 2, d) least and largest of each column among a task's rows */
};

static int32_t rows_end(const struct profile_matrix *m, int64_t task) {
    return m->n - task * ROWS < ROWS ? m->n : (int32_t)(task + 1) * ROWS;
}

static void fill_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct profile_job *job = arg;
    const struct profile_matrix *m = job->matrix;
    double *low = job->ranges + task * 2 * m->d, *high = low + m->d;
    for (int f = 0; f < m->d; f++) {
        low[f] = INFINITY;
        high[f] = -INFINITY;
    }
    for (int32_t i = (int32_t)task * ROWS; i < rows_end(m, task); i++) {
        double *row = m->x + (int64_t)i * m->d;
        profile_raw(job->dataset, job->options->profile, job->options->model, m->users[i], row);
        for (int f = 0; f < m->d; f++) {
            low[f] = row[f] < low[f] ? row[f] : low[f];
            high[f] = row[f] > high[f] ? row[f] : high[f];
        }
    }
}

/* Column minima and ranges; a constant column has range 1, so that it becomes 0. */
static void fit_columns(struct profile_matrix *m, const double *ranges, int64_t tasks) {
    for (int f = 0; f < m->d; f++) {
        double low = INFINITY, high = -INFINITY;
        for (int64_t t = 0; t < tasks; t++) {
            low = fmin(low, ranges[t * 2 * m->d + f]);
            high = fmax(high, ranges[(t * 2 + 1) * m->d + f]);
        }
        m->column_low[f] = low;
        m->column_span[f] = high > low ? high - low : 1;
    }
}

static void scale_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct profile_job *job = arg;
    const struct profile_matrix *m = job->matrix;
    for (int32_t i = (int32_t)task * ROWS; i < rows_end(m, task); i++)
        profile_scale(job->options->scaling, m->column_low, m->column_span, m->d, m->x + (int64_t)i * m->d);
}

static int all_alike(const struct profile_matrix *m) {
    for (int32_t i = 1; i < m->n; i++)
        if (memcmp(m->x + (int64_t)i * m->d, m->x, sizeof *m->x * (size_t)m->d) != 0) return 0;
    return 1;
}

static reel_status fill_matrix(reel_context *ctx, struct profile_job *job, reel_error *err) {
    struct profile_matrix *m = job->matrix;
    const int64_t tasks = (m->n + ROWS - 1) / ROWS;
    TRY_RETURN(MEM_RAW(&job->ranges, tasks * 2 * m->d, err));
    thread_pool_run(ctx->pool, tasks, fill_task, job);
    fit_columns(m, job->ranges, tasks);
    mem_free(job->ranges);
    thread_pool_run(ctx->pool, tasks, scale_task, job);
    if (all_alike(m))
        return error_set(err, REEL_BAD_INPUT, "all %d users have the same profile: there is nothing to cluster", m->n);
    return REEL_OK;
}

reel_status profile_matrix_new(reel_context *ctx, const struct reel_dataset *dataset,
                               const reel_cluster_options *options, struct profile_matrix *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct profile_job job = {.dataset = dataset, .options = options, .matrix = out};
    *out = (struct profile_matrix){0};
    TRY(columns_of(dataset, options, &out->d, err));
    TRY(user_profiles_filter(dataset, options->min_ratings, options->max_ratings, &out->users, &out->n, err));
    out->n_filtered = dataset->n_users - out->n;
    if (out->n < 2) {
        status = error_set(err, REEL_INVALID_ARGUMENT,
                           "there are %d users to cluster of %d (min_ratings %lld, max_ratings %lld)", out->n,
                           dataset->n_users, (long long)options->min_ratings, (long long)options->max_ratings);
        goto cleanup;
    }
    TRY(MEM_RAW(&out->x, (int64_t)out->n * out->d, err));
    TRY(MEM_RAW(&out->column_low, out->d, err));
    TRY(MEM_RAW(&out->column_span, out->d, err));
    TRY(fill_matrix(ctx, &job, err));
cleanup:
    if (status != REEL_OK) profile_matrix_free(out);
    return status;
}

void profile_matrix_free(struct profile_matrix *matrix) {
    mem_free(matrix->users);
    mem_free(matrix->x);
    mem_free(matrix->column_low);
    mem_free(matrix->column_span);
    *matrix = (struct profile_matrix){0};
}
