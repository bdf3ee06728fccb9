#include "serve/snapshot_parts.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/json_text.h"

reel_status file_stamp_get(const char *path, struct file_stamp *stamp, reel_error *err) {
    struct stat facts;
    if (stat(path, &facts) != 0)
        return error_errno(err, errno == ENOENT ? REEL_NOT_FOUND : REEL_IO, "cannot open %s", path);
    *stamp = (struct file_stamp){facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtim};
    return REEL_OK;
}

int file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b) {
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static reel_status make_context(int threads, reel_context **out, reel_error *err) {
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    return reel_context_new(&options, out, err);
}

/* ---- dataset ---- */

/* "id":1,"title":"...","genres":[...] */
static reel_status add_fragment(const struct reel_dataset *dataset, int32_t m, struct strbuf *out, reel_error *err) {
    json_t *genres = json_array();
    for (int32_t g = 0; g < dataset->n_genres; g++)
        if (dataset->movie_genres[m] >> g & 1) json_array_append_new(genres, json_string(text_at(&dataset->genres, g)));
    json_t *movie = json_pack("{s:i,s:s,s:o}", "id", (int)dataset->movie_ids[m], "title", text_at(&dataset->titles, m),
                              "genres", genres);
    char *text = json_text(movie, JSON_COMPACT);
    json_decref(movie);
    if (!text) return error_set(err, REEL_CORRUPT, "the title of movie %d is no UTF-8", dataset->movie_ids[m]);
    strbuf_add(out, text + 1, strlen(text) - 2);
    free(text);
    return out->failed ? error_no_memory(err, 0) : REEL_OK;
}

static reel_status make_fragments(struct base_part *part, reel_error *err) {
    reel_status status = REEL_OK;
    struct strbuf text = {0};
    const struct reel_dataset *dataset = part->dataset;
    TRY(MEM_NEW(&part->fragment_offsets, dataset->n_movies + 1, err));
    for (int32_t m = 0; m < dataset->n_movies; m++) {
        TRY(add_fragment(dataset, m, &text, err));
        part->fragment_offsets[m + 1] = (int64_t)text.length;
    }
    strbuf_puts(&text, "");
    part->fragments = strbuf_take(&text);
    if (!part->fragments) status = error_no_memory(err, 0);
cleanup:
    strbuf_free(&text);
    return status;
}

/* means (n,) in stars of rows of half stars. */
static reel_status make_means(const int64_t *offsets, const uint8_t *ratings, int32_t n, double **out,
                              reel_error *err) {
    TRY_RETURN(MEM_RAW(out, n, err));
    for (int32_t i = 0; i < n; i++) {
        int64_t sum = 0, count = offsets[i + 1] - offsets[i];
        for (int64_t r = offsets[i]; r < offsets[i + 1]; r++) sum += ratings[r];
        (*out)[i] = count ? (double)sum / (2.0 * (double)count) : NAN;
    }
    return REEL_OK;
}

reel_status base_part_load(const char *path, struct base_part **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct base_part *part;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&part, 1, err));
    atomic_init(&part->references, 1);
    TRY(file_stamp_get(path, &part->stamp, err));
    TRY(make_context(0, &part->ctx, err));
    TRY(reel_dataset_open(part->ctx, path, &part->dataset, err));
    const struct ratings *ratings = &part->dataset->ratings;
    TRY(make_fragments(part, err));
    TRY(make_means(ratings->user_offsets, ratings->user_ratings, part->dataset->n_users, &part->user_means, err));
    TRY(make_means(ratings->movie_offsets, ratings->movie_ratings, part->dataset->n_movies, &part->movie_means, err));
    TRY(reel_similar_index_new(part->ctx, part->dataset, NULL, REEL_SIMILAR_GENRE, &part->genre_index, err));
    *out = part;
    part = NULL;
cleanup:
    base_part_release(part);
    return status;
}

struct base_part *base_part_retain(struct base_part *part) {
    atomic_fetch_add(&part->references, 1);
    return part;
}

void base_part_release(struct base_part *part) {
    if (!part || atomic_fetch_sub(&part->references, 1) != 1) return;
    reel_similar_index_free(part->genre_index);
    mem_free(part->user_means);
    mem_free(part->movie_means);
    mem_free(part->fragment_offsets);
    free(part->fragments);
    reel_dataset_free(part->dataset);
    reel_context_free(part->ctx);
    mem_free(part);
}

/* ---- models ---- */

reel_status model_part_load(struct base_part *base, const char *path, int with_index, uint64_t generation,
                            struct model_part **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct model_part *part;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&part, 1, err));
    atomic_init(&part->references, 1);
    part->base = base_part_retain(base);
    part->generation = generation;
    part->path = strdup(path);
    if (!part->path) TRY(error_no_memory(err, 0));
    TRY(file_stamp_get(path, &part->stamp, err));
    TRY(make_context(1, &part->ctx, err));
    TRY(reel_model_open(part->ctx, path, &part->model, err));
    TRY(reel_scorer_new(part->ctx, base->dataset, part->model, &part->scorer, err));
    if (with_index) {
        status = reel_similar_index_new(part->ctx, base->dataset, part->model, REEL_SIMILAR_FACTORS,
                                        &part->factor_index, err);
        if (status == REEL_UNSUPPORTED) status = REEL_OK;
        if (status != REEL_OK) goto cleanup;
    }
    *out = part;
    part = NULL;
cleanup:
    model_part_release(part);
    return status;
}

struct model_part *model_part_retain(struct model_part *part) {
    atomic_fetch_add(&part->references, 1);
    return part;
}

void model_part_release(struct model_part *part) {
    if (!part || atomic_fetch_sub(&part->references, 1) != 1) return;
    reel_similar_index_free(part->factor_index);
    reel_scorer_free(part->scorer);
    reel_model_free(part->model);
    reel_context_free(part->ctx);
    base_part_release(part->base);
    free(part->path);
    mem_free(part);
}

/* ---- clusters ---- */

static reel_status place_users(struct cluster_part *part, reel_error *err) {
    const struct reel_dataset *dataset = part->base->dataset;
    int k = reel_clusters_count(part->clusters);
    TRY_RETURN(MEM_RAW(&part->user_clusters, dataset->n_users, err));
    for (int32_t u = 0; u < dataset->n_users; u++)
        part->user_clusters[u] = reel_clusters_of_user(part->clusters, dataset->user_ids[u]);
    TRY_RETURN(MEM_NEW(&part->candidates, k, err));
    for (int c = 0; c < k; c++) {
        TRY_RETURN(MEM_NEW(&part->candidates[c], dataset->n_movies, err));
        TRY_RETURN(reel_clusters_candidates(part->clusters, dataset, c, part->candidates[c], err));
    }
    return REEL_OK;
}

reel_status cluster_part_load(struct base_part *base, const char *path, struct cluster_part **out, reel_error *err) {
    reel_status status = REEL_OK;
    struct cluster_part *part;
    *out = NULL;
    TRY_RETURN(MEM_NEW(&part, 1, err));
    atomic_init(&part->references, 1);
    part->base = base_part_retain(base);
    TRY(file_stamp_get(path, &part->stamp, err));
    TRY(reel_clusters_open(base->ctx, path, &part->clusters, err));
    TRY(place_users(part, err));
    *out = part;
    part = NULL;
cleanup:
    cluster_part_release(part);
    return status;
}

struct cluster_part *cluster_part_retain(struct cluster_part *part) {
    atomic_fetch_add(&part->references, 1);
    return part;
}

void cluster_part_release(struct cluster_part *part) {
    if (!part || atomic_fetch_sub(&part->references, 1) != 1) return;
    int k = part->clusters ? reel_clusters_count(part->clusters) : 0;
    for (int c = 0; part->candidates && c < k; c++) mem_free(part->candidates[c]);
    mem_free(part->candidates);
    mem_free(part->user_clusters);
    reel_clusters_free(part->clusters);
    base_part_release(part->base);
    mem_free(part);
}
