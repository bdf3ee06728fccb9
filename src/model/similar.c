#include "model/similar.h"

#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"

static int64_t votes(const struct reel_dataset *dataset, int32_t movie) {
    return dataset->ratings.movie_offsets[movie + 1] - dataset->ratings.movie_offsets[movie];
}

/* The number of ratings of a movie is below 2^31, a count of users, so it fits the key's upper half. */
static reel_status sort_popular(struct reel_similar_index *index, reel_error *err) {
    reel_status status = REEL_OK;
    int32_t n = index->dataset->n_movies;
    uint64_t *keys = NULL;
    TRY(MEM_RAW(&keys, (size_t)n * 2, err));
    TRY(MEM_RAW(&index->popular, n, err));
    for (int32_t m = 0; m < n; m++) keys[m] = (uint64_t)votes(index->dataset, m) << 32 | (uint32_t)~m;
    top_n_sort(keys, (size_t)n, keys + n);
    for (int32_t i = 0; i < n; i++) index->popular[i] = (int32_t)top_n_rank(keys[i]);
cleanup:
    mem_free(keys);
    return status;
}

static reel_status prepare(reel_context *ctx, struct reel_similar_index *index, const struct reel_model *model,
                           reel_error *err) {
    TRY_RETURN(sort_popular(index, err));
    TRY_RETURN(MEM_RAW(&index->row_of, index->dataset->n_movies, err));
    switch (index->by) {
    case REEL_SIMILAR_GENRE:
        return similar_prepare_genre(index, err);
    case REEL_SIMILAR_FACTORS:
        return similar_prepare_factors(index, model, err);
    case REEL_SIMILAR_GENOME:
        return similar_prepare_genome(index, err);
    case REEL_SIMILAR_RATINGS:
        return similar_prepare_ratings(ctx, index, err);
    }
    return error_set(err, REEL_INVALID_ARGUMENT, "there is no similarity %d", (int)index->by);
}

reel_status reel_similar_index_new(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                   reel_similarity by, reel_similar_index **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct reel_similar_index *index = NULL;
    *out = NULL;
    TRY(MEM_NEW(&index, 1, err));
    *index = (struct reel_similar_index){.ctx = ctx, .dataset = dataset, .by = by};
    TRY(prepare(ctx, index, model, err));
    *out = index;
    index = NULL;
cleanup:
    reel_similar_index_free(index);
    return status;
}

void reel_similar_index_free(reel_similar_index *index) {
    if (!index) return;
    mem_free(index->popular);
    mem_free(index->row_of);
    mem_free(index->sets);
    mem_free(index->set_norms);
    similar_rows_free(index);
    mem_free(index->user_means);
    mem_free(index);
}

static reel_status similarities(const struct reel_similar_index *index, int32_t movie, float *out, reel_error *err) {
    switch (index->by) {
    case REEL_SIMILAR_GENRE:
        return similar_by_genre(index, movie, out, err);
    case REEL_SIMILAR_RATINGS:
        return similar_by_ratings(index, movie, out, err);
    default:
        return similar_by_rows(index, movie, out, err);
    }
}

int similar_select(const struct reel_similar_index *index, const float *similar, int n, uint64_t *keys,
                   reel_similar_movie *items) {
    struct top_n top;
    top_n_init(&top, keys, (size_t)n);
    for (int32_t rank = 0; rank < index->dataset->n_movies; rank++) {
        float score = similar[index->popular[rank]];
        if (score >= top.floor) top_n_offer(&top, score, (uint32_t)rank);
    }
    int n_items = (int)top_n_finish(&top);
    for (int i = 0; i < n_items; i++)
        items[i] = (reel_similar_movie){index->popular[top_n_rank(keys[i])], similar_clip(top_n_score(keys[i]))};
    return n_items;
}

reel_status reel_similar_index_query(const reel_similar_index *index, int32_t movie, int n, reel_similar_movie *items,
                                     int *n_items, reel_error *err) {
    reel_status status = REEL_OK;
    float *similar = NULL;
    uint64_t *keys = NULL;
    int32_t n_movies = index->dataset->n_movies;
    *n_items = 0;
    if (n < 1) return error_set(err, REEL_INVALID_ARGUMENT, "n must be >= 1 (found %d)", n);
    if (movie < 0 || movie >= n_movies)
        return error_set(err, REEL_INVALID_ARGUMENT, "movie index must be 0..%d (found %d)", n_movies - 1, movie);
    if (n > n_movies) n = n_movies;
    TRY(MEM_RAW(&similar, n_movies, err));
    TRY(MEM_RAW(&keys, top_n_capacity((size_t)n), err));
    TRY(similarities(index, movie, similar, err));
    similar[movie] = SIMILAR_NONE;
    *n_items = similar_select(index, similar, n, keys, items);
cleanup:
    mem_free(similar);
    mem_free(keys);
    return status;
}

reel_status reel_similar(reel_context *ctx, const reel_dataset *dataset, const reel_model *model, int32_t movie,
                         reel_similarity by, int n, reel_similar_movie *items, int *n_items, reel_error *err) {
    reel_similar_index *index;
    *n_items = 0;
    TRY_RETURN(reel_similar_index_new(ctx, dataset, model, by, &index, err));
    reel_status status = reel_similar_index_query(index, movie, n, items, n_items, err);
    reel_similar_index_free(index);
    return status;
}
