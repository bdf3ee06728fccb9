/* Cosines of dense rows: movie factors, or the tag genome's relevances. Rows are brought to length 1, and similarities
 * are what the operators for factor models make of two of them. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/similar.h"

/* ---- rows of length 1 ---- */

struct pack_job {
    const struct reel_similar_index *index;
    const float *rows; /* (*, stride) */
    int64_t stride;
    const int32_t *row_of; /* (n_movies,) of the dataset */
    float *factors;        /* the panels' */
    int32_t *places;       /* (n_panels * TOPK_PANEL,) own place, -1 in the padding */
};

/* One over the row's length, 0 for a zero row. */
static double scale_of(const float *row, int k) {
    double sum = 0;
    for (int f = 0; f < k; f++) sum += (double)row[f] * (double)row[f];
    return sum > 0 ? 1 / sqrt(sum) : 0;
}

static void pack_panel(void *arg, int64_t panel, int worker) {
    (void)worker;
    const struct pack_job *job = arg;
    const struct factor_panels *panels = &job->index->panels;
    for (int64_t j = 0; j < TOPK_PANEL; j++) {
        const int64_t place = panel * TOPK_PANEL + j;
        job->places[place] = place < panels->n_movies ? (int32_t)place : -1;
        if (place >= panels->n_movies) continue;
        const float *row = job->rows + job->row_of[job->index->known[place]] * job->stride;
        const double scale = scale_of(row, panels->k);
        for (int f = 0; f < panels->k; f++)
            job->factors[(panel * panels->k + f) * TOPK_PANEL + j] = (float)(scale * (double)row[f]);
    }
}

/* Fills known and panels from rows, row_of[m] being movie m's row or -1; then row_of becomes places. */
static reel_status pack_rows(struct reel_similar_index *index, const float *rows, int64_t stride, int k,
                             reel_error *err) {
    const int32_t n_movies = index->dataset->n_movies;
    struct factor_panels *panels = &index->panels;
    struct pack_job job = {.index = index, .rows = rows, .stride = stride, .row_of = index->row_of};
    float *bias;
    TRY_RETURN(context_host_backend(index->ctx, &index->host, err));
    TRY_RETURN(MEM_RAW(&index->known, n_movies, err));
    for (int32_t i = 0; i < n_movies; i++)
        if (index->row_of[index->popular[i]] >= 0) index->known[panels->n_movies++] = index->popular[i];
    panels->k = k;
    panels->n_panels = (panels->n_movies + (int64_t)TOPK_PANEL - 1) / TOPK_PANEL;
    TRY_RETURN(MEM_NEW(&job.factors, (size_t)panels->n_panels * (size_t)k * TOPK_PANEL, err));
    panels->factors = job.factors;
    TRY_RETURN(MEM_NEW(&bias, panels->n_panels * TOPK_PANEL, err));
    panels->bias = bias;
    TRY_RETURN(MEM_RAW(&job.places, panels->n_panels * TOPK_PANEL, err));
    panels->movies = panels->positions = job.places;
    thread_pool_run(index->ctx->pool, panels->n_panels, pack_panel, &job);
    for (int32_t i = 0; i < panels->n_movies; i++) index->row_of[index->known[i]] = i;
    return REEL_OK;
}

reel_status similar_prepare_factors(struct reel_similar_index *index, const struct reel_model *model, reel_error *err) {
    if (!model) return error_set(err, REEL_INVALID_ARGUMENT, "similarity by factors needs a model");
    const float *rows = NULL;
    int k = 0, stride = 0;
    if (model->algorithm->movie_factors) rows = model->algorithm->movie_factors(model, &k, &stride);
    if (!rows)
        return error_set(err, REEL_UNSUPPORTED, "a model of algorithm %s has no movie factors", model->algorithm->name);
    const struct reel_dataset *dataset = index->dataset;
    for (int32_t m = 0, at = 0; m < dataset->n_movies; m++) {
        while (at < model->n_movies && model->movie_ids[at] < dataset->movie_ids[m]) at++;
        index->row_of[m] = at < model->n_movies && model->movie_ids[at] == dataset->movie_ids[m] ? at : -1;
    }
    return pack_rows(index, rows, stride, k, err);
}

reel_status similar_prepare_genome(struct reel_similar_index *index, reel_error *err) {
    const struct reel_dataset *dataset = index->dataset;
    if (dataset->n_genome_movies == 0)
        return error_set(err, REEL_UNSUPPORTED, "the dataset has no tag genome (genome-scores.csv)");
    for (int32_t m = 0; m < dataset->n_movies; m++) index->row_of[m] = -1;
    for (int32_t i = 0; i < dataset->n_genome_movies; i++) index->row_of[dataset->genome_movies[i]] = i;
    return pack_rows(index, dataset->genome_relevance, dataset->n_genome_tags, dataset->n_genome_tags, err);
}

void similar_rows_free(struct reel_similar_index *index) {
    if (index->bulk.job.backend) job_memory_free(&index->bulk.job);
    mem_free(index->known);
    mem_free((void *)(uintptr_t)index->panels.factors);
    mem_free((void *)(uintptr_t)index->panels.bias);
    mem_free((void *)(uintptr_t)index->panels.movies);
    mem_free(index->vectors);
    mem_free(index->zeros);
    mem_free(index->own_offsets);
}

/* ---- one movie ---- */

static void copy_row(const struct factor_panels *panels, int32_t place, float *out) {
    const float *from = panels->factors + (int64_t)(place / TOPK_PANEL) * panels->k * TOPK_PANEL + place % TOPK_PANEL;
    for (int f = 0; f < panels->k; f++) out[f] = from[f * TOPK_PANEL];
}

reel_status similar_by_rows(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err) {
    reel_status status = REEL_OK;
    const struct factor_panels *panels = &index->panels;
    float *own = NULL, *scores = NULL; /* scores (n_movies,) of the panels */
    for (int32_t m = 0; m < index->dataset->n_movies; m++) out[m] = SIMILAR_NONE;
    if (index->row_of[movie] < 0) return REEL_OK;
    TRY(MEM_RAW(&own, panels->k, err));
    TRY(MEM_RAW(&scores, panels->n_movies, err));
    copy_row(panels, index->row_of[movie], own);
    struct score_movies_args args = {.panels = panels, .factors = own, .scores = scores};
    TRY(index->host->ops->score_movies(index->host, &args, err));
    for (int32_t i = 0; i < panels->n_movies; i++) out[index->known[i]] = scores[i];
cleanup:
    mem_free(own);
    mem_free(scores);
    return status;
}

/* ---- many movies ---- */

enum { ROWS_A_TASK = 128 };

static int64_t tasks_of(int64_t n_rows) {
    return (n_rows + ROWS_A_TASK - 1) / ROWS_A_TASK;
}

static int64_t end_of(int64_t task, int64_t n_rows) {
    return (task + 1) * ROWS_A_TASK < n_rows ? (task + 1) * ROWS_A_TASK : n_rows;
}

static void vectors_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct reel_similar_index *index = arg;
    const struct factor_panels *panels = &index->panels;
    for (int64_t i = task * ROWS_A_TASK; i < end_of(task, panels->n_movies); i++)
        copy_row(panels, (int32_t)i, index->vectors + i * panels->k);
}

/* The rows once more, one after the other, as the operator takes its users. */
static reel_status make_vectors(struct reel_similar_index *index, reel_error *err) {
    const struct factor_panels *panels = &index->panels;
    const int64_t n = panels->n_movies;
    if (index->own_offsets) return REEL_OK;
    if (!index->vectors) TRY_RETURN(MEM_RAW(&index->vectors, (size_t)n * (size_t)panels->k, err));
    if (!index->zeros) TRY_RETURN(MEM_NEW(&index->zeros, n, err));
    TRY_RETURN(MEM_RAW(&index->own_offsets, n + 1, err));
    thread_pool_run(index->ctx->pool, tasks_of(n), vectors_task, index);
    for (int64_t i = 0; i <= n; i++) index->own_offsets[i] = i;
    return REEL_OK;
}

static reel_status place_arrays(struct reel_similar_index *index, struct similar_bulk *bulk, reel_error *err) {
    const struct factor_panels *panels = &index->panels;
    const size_t n = (size_t)panels->n_movies, padded = (size_t)panels->n_panels * TOPK_PANEL, k = (size_t)panels->k;
    struct job_memory *job = &bulk->job;
    TRY_RETURN(job_reserve(
        job, "similarity in bulk",
        sizeof(float) * (padded + n) * (k + 1) + sizeof(int32_t) * padded + sizeof(int64_t) * (n + 1), err));
    bulk->panels = *panels;
    TRY_RETURN(JOB_CONSTANT(job, &bulk->panels.factors, panels->factors, padded * k, err));
    TRY_RETURN(JOB_CONSTANT(job, &bulk->panels.bias, panels->bias, padded, err));
    TRY_RETURN(JOB_CONSTANT(job, &bulk->panels.movies, panels->movies, padded, err));
    bulk->panels.positions = bulk->own = bulk->panels.movies;
    TRY_RETURN(JOB_CONSTANT(job, &bulk->vectors, index->vectors, n * k, err));
    TRY_RETURN(JOB_CONSTANT(job, &bulk->zeros, index->zeros, n, err));
    return JOB_CONSTANT(job, &bulk->own_offsets, index->own_offsets, n + 1, err);
}

/* Arrays on the device that makes lists of n movies. */
static reel_status prepare_bulk(struct reel_similar_index *index, int n, struct backend **device, reel_error *err) {
    struct similar_bulk *bulk = &index->bulk;
    TRY_RETURN(context_backend(index->ctx, device, err));
    if (!(*device)->ops->uses_host_memory && n > TOPK_DEVICE_N_MAX)
        TRY_RETURN(context_fall_back(index->ctx, "lists of more than 2,048 movies", device, err));
    if (bulk->job.backend == *device) return REEL_OK;
    if (bulk->job.backend) job_memory_free(&bulk->job);
    TRY_RETURN(make_vectors(index, err));
    *bulk = (struct similar_bulk){.job.backend = *device};
    reel_status status = place_arrays(index, bulk, err);
    if (status == REEL_OK) return REEL_OK;
    job_memory_free(&bulk->job);
    bulk->job.backend = NULL;
    return status;
}

struct finish_job {
    const struct reel_similar_index *index;
    int64_t n_movies;
    const int32_t *rows; /* (n_movies,) */
    int n;
    int32_t *similar;
    float *similarities; /* (n_movies, n) */
};

static void finish_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct finish_job *job = arg;
    int32_t *similar = job->similar;
    float *similarities = job->similarities;
    for (int64_t i = task * ROWS_A_TASK; i < end_of(task, job->n_movies); i++)
        for (int64_t at = i * job->n; at < (i + 1) * job->n; at++) {
            if (job->rows[i] < 0) similar[at] = -1, similarities[at] = NAN;
            if (similar[at] < 0) continue;
            similar[at] = job->index->known[similar[at]];
            similarities[at] = similar_clip(similarities[at]);
        }
}

/* Places to movies; empty lists for movies without a row. */
static void finish_lists(const struct reel_similar_index *index, int64_t n_movies, const int32_t *rows, int n,
                         int32_t *similar, float *similarities) {
    struct finish_job job = {index, n_movies, rows, n, similar, similarities};
    thread_pool_run(index->ctx->pool, tasks_of(n_movies), finish_task, &job);
}

reel_status similar_many_by_rows(struct reel_similar_index *index, int64_t n_movies, const int32_t *movies, int n,
                                 int32_t *similar, float *similarities, reel_error *err) {
    reel_status status = REEL_OK;
    const struct similar_bulk *bulk = &index->bulk;
    struct backend *device;
    int32_t *rows = NULL, *seen = NULL;
    TRY(MEM_RAW(&rows, n_movies, err));
    TRY(MEM_RAW(&seen, n_movies, err));
    for (int64_t i = 0; i < n_movies; i++) {
        rows[i] = index->row_of[movies[i]];
        seen[i] = rows[i] < 0 ? 0 : rows[i];
    }
    if (index->panels.n_movies > 0) {
        TRY(prepare_bulk(index, n, &device, err));
        struct topk_users_args args = {.panels = &bulk->panels,
                                       .n_users = n_movies,
                                       .rows = rows,
                                       .user_factors = bulk->vectors,
                                       .stride = index->panels.k,
                                       .user_bias = bulk->zeros,
                                       .seen_rows = seen,
                                       .seen_offsets = bulk->own_offsets,
                                       .seen_movies = bulk->own,
                                       .n = n,
                                       .movies = similar,
                                       .scores = similarities};
        TRY(device->ops->topk_users(device, &args, err));
    }
    finish_lists(index, n_movies, rows, n, similar, similarities);
cleanup:
    mem_free(rows);
    mem_free(seen);
    return status;
}
