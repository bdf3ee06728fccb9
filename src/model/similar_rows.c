/* Cosines of dense rows: movie factors, or the tag genome's relevances. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/similar.h"

/* In sixteen partial sums of fixed order, which compilers turn into vectors. */
static float dot(const float *a, const float *b, int k) {
    enum { LANES = 16 };
    float sum[LANES] = {0}, rest = 0;
    int f = 0;
    for (; f + LANES <= k; f += LANES)
        for (int lane = 0; lane < LANES; lane++) sum[lane] += a[f + lane] * b[f + lane];
    for (; f < k; f++) rest += a[f] * b[f];
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int lane = 0; lane < width; lane++) sum[lane] += sum[lane + width];
    return sum[0] + rest;
}

enum { NORM_ROWS = 1024 };

static void norm_task(void *arg, int64_t task, int worker) {
    (void)worker;
    struct reel_similar_index *index = arg;
    int64_t first = task * NORM_ROWS, end = first + NORM_ROWS < index->n_rows ? first + NORM_ROWS : index->n_rows;
    for (int64_t i = first; i < end; i++) {
        const float *row = index->rows + i * index->stride;
        index->row_norms[i] = sqrtf(dot(row, row, index->k));
    }
}

static reel_status prepare_norms(reel_context *ctx, struct reel_similar_index *index, reel_error *err) {
    TRY_RETURN(MEM_RAW(&index->row_norms, index->n_rows, err));
    thread_pool_run(ctx->pool, (index->n_rows + NORM_ROWS - 1) / NORM_ROWS, norm_task, index);
    return REEL_OK;
}

reel_status similar_prepare_factors(reel_context *ctx, struct reel_similar_index *index, const struct reel_model *model,
                                    reel_error *err) {
    if (!model) return error_set(err, REEL_INVALID_ARGUMENT, "similarity by factors needs a model");
    int stride = 0;
    if (model->algorithm->movie_factors) index->rows = model->algorithm->movie_factors(model, &index->k, &stride);
    if (!index->rows)
        return error_set(err, REEL_UNSUPPORTED, "a model of algorithm %s has no movie factors", model->algorithm->name);
    index->stride = stride;
    index->n_rows = model->n_movies;
    const struct reel_dataset *dataset = index->dataset;
    for (int32_t m = 0, at = 0; m < dataset->n_movies; m++) {
        while (at < model->n_movies && model->movie_ids[at] < dataset->movie_ids[m]) at++;
        index->row_of[m] = at < model->n_movies && model->movie_ids[at] == dataset->movie_ids[m] ? at : -1;
    }
    return prepare_norms(ctx, index, err);
}

reel_status similar_prepare_genome(reel_context *ctx, struct reel_similar_index *index, reel_error *err) {
    const struct reel_dataset *dataset = index->dataset;
    if (dataset->n_genome_movies == 0)
        return error_set(err, REEL_UNSUPPORTED, "the dataset has no tag genome (genome-scores.csv)");
    index->rows = dataset->genome_relevance;
    index->stride = index->k = dataset->n_genome_tags;
    index->n_rows = dataset->n_genome_movies;
    for (int32_t m = 0; m < dataset->n_movies; m++) index->row_of[m] = -1;
    for (int32_t i = 0; i < index->n_rows; i++) index->row_of[dataset->genome_movies[i]] = i;
    return prepare_norms(ctx, index, err);
}

reel_status similar_by_rows(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err) {
    (void)err;
    int32_t own = index->row_of[movie];
    const float *own_row = own < 0 ? NULL : index->rows + own * index->stride;
    for (int32_t m = 0; m < index->dataset->n_movies; m++) {
        int32_t row = index->row_of[m];
        out[m] = SIMILAR_NONE;
        if (own < 0 || row < 0) continue;
        float norms = index->row_norms[own] * index->row_norms[row];
        float cosine = norms > 0 ? dot(own_row, index->rows + row * index->stride, index->k) / norms : 0;
        out[m] = cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
    }
    return REEL_OK;
}
