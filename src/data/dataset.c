#include "data/dataset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/sorted_ids.h"
#include "data/dataset_check.h"

/* ---- opening ---- */

/* Points *data at tensor `name` and stores its length in *n (if *n is -1) or requires length *n. */
static reel_status bind1(const struct tensor_set *set, const char *name, enum dtype dtype, int64_t *n,
                         const void **data, reel_error *err) {
    const struct tensor *tensor;
    int64_t shape[1] = {*n};
    TRY_RETURN(tensor_set_require(set, name, dtype, 1, shape, &tensor, err));
    *n = tensor->n;
    *data = tensor->data;
    return REEL_OK;
}

#define BIND(name, dtype, length, view)                                                    \
    do {                                                                                   \
        int64_t length_ = (length);                                                        \
        TRY_RETURN(bind1(ds->set, (name), (dtype), &length_, (const void **)(view), err)); \
    } while (0)

/* The number of entries of a one-dimensional tensor, at most `limit`. */
static reel_status count_of(const struct tensor_set *set, const char *name, enum dtype dtype, int64_t limit, int64_t *n,
                            reel_error *err) {
    const void *data;
    *n = -1;
    TRY_RETURN(bind1(set, name, dtype, n, &data, err));
    if (*n > limit)
        return error_set(err, REEL_CORRUPT, "%s: tensor %s has %lld entries, at most %lld are possible",
                         tensor_set_path(set), name, (long long)*n, (long long)limit);
    return REEL_OK;
}

static reel_status bind_text(struct reel_dataset *ds, const char *offsets_name, const char *text_name, int64_t n,
                             struct text_column *column, reel_error *err) {
    int64_t bytes = -1;
    BIND(offsets_name, DTYPE_I64, n + 1, &column->offsets);
    TRY_RETURN(bind1(ds->set, text_name, DTYPE_U8, &bytes, (const void **)&column->text, err));
    return dataset_check_text(ds, offsets_name, column, n, bytes, err);
}

static reel_status bind_ratings(struct reel_dataset *ds, reel_error *err) {
    struct ratings *all = &ds->ratings;
    all->n_users = ds->n_users;
    all->n_movies = ds->n_movies;
    all->n_ratings = ds->n_ratings;
    BIND("user_offsets", DTYPE_I64, ds->n_users + (int64_t)1, &all->user_offsets);
    BIND("user_movies", DTYPE_I32, ds->n_ratings, &all->user_movies);
    BIND("user_ratings", DTYPE_U8, ds->n_ratings, &all->user_ratings);
    BIND("user_times", DTYPE_U32, ds->n_ratings, &all->user_times);
    BIND("movie_offsets", DTYPE_I64, ds->n_movies + (int64_t)1, &all->movie_offsets);
    BIND("movie_users", DTYPE_I32, ds->n_ratings, &all->movie_users);
    BIND("movie_ratings", DTYPE_U8, ds->n_ratings, &all->movie_ratings);
    return REEL_OK;
}

static reel_status bind_movies(struct reel_dataset *ds, reel_error *err) {
    BIND("movie_years", DTYPE_I16, ds->n_movies, &ds->movie_years);
    BIND("movie_genres", DTYPE_U64, ds->n_movies, &ds->movie_genres);
    BIND("movie_imdb_ids", DTYPE_I32, ds->n_movies, &ds->movie_imdb_ids);
    BIND("movie_tmdb_ids", DTYPE_I32, ds->n_movies, &ds->movie_tmdb_ids);
    TRY_RETURN(bind_text(ds, "movie_title_offsets", "movie_titles", ds->n_movies, &ds->titles, err));
    return bind_text(ds, "genre_name_offsets", "genre_names", ds->n_genres, &ds->genres, err);
}

static reel_status bind_tags(struct reel_dataset *ds, reel_error *err) {
    BIND("tag_users", DTYPE_I32, ds->n_tags, &ds->tag_users);
    BIND("tag_movies", DTYPE_I32, ds->n_tags, &ds->tag_movies);
    BIND("tag_times", DTYPE_U32, ds->n_tags, &ds->tag_times);
    return bind_text(ds, "tag_text_offsets", "tag_texts", ds->n_tags, &ds->tags, err);
}

static reel_status bind_genome(struct reel_dataset *ds, reel_error *err) {
    if (!tensor_set_find(ds->set, "genome_movies")) return REEL_OK;
    int64_t n;
    TRY_RETURN(count_of(ds->set, "genome_movies", DTYPE_I32, ds->n_movies, &n, err));
    ds->n_genome_movies = (int32_t)n;
    TRY_RETURN(count_of(ds->set, "genome_tag_offsets", DTYPE_I64, INT32_MAX, &n, err));
    if (n < 2) return error_set(err, REEL_CORRUPT, "%s: the genome has no tags", tensor_set_path(ds->set));
    ds->n_genome_tags = (int32_t)(n - 1);
    BIND("genome_movies", DTYPE_I32, ds->n_genome_movies, &ds->genome_movies);
    const struct tensor *relevance;
    int64_t shape[2] = {ds->n_genome_movies, ds->n_genome_tags};
    TRY_RETURN(tensor_set_require(ds->set, "genome_relevance", DTYPE_F32, 2, shape, &relevance, err));
    ds->genome_relevance = relevance->data;
    return bind_text(ds, "genome_tag_offsets", "genome_tags", ds->n_genome_tags, &ds->genome_tags, err);
}

static reel_status bind_counts(struct reel_dataset *ds, reel_error *err) {
    int64_t n;
    TRY_RETURN(count_of(ds->set, "user_ids", DTYPE_I32, INT32_MAX - 1, &n, err));
    ds->n_users = (int32_t)n;
    TRY_RETURN(count_of(ds->set, "movie_ids", DTYPE_I32, INT32_MAX - 1, &n, err));
    ds->n_movies = (int32_t)n;
    TRY_RETURN(count_of(ds->set, "user_movies", DTYPE_I32, INT64_MAX, &ds->n_ratings, err));
    TRY_RETURN(count_of(ds->set, "tag_users", DTYPE_I32, INT64_MAX, &ds->n_tags, err));
    TRY_RETURN(count_of(ds->set, "genre_name_offsets", DTYPE_I64, 65, &n, err));
    if (n < 1) return error_set(err, REEL_CORRUPT, "%s: tensor genre_name_offsets is empty", tensor_set_path(ds->set));
    ds->n_genres = (int32_t)(n - 1);
    BIND("user_ids", DTYPE_I32, ds->n_users, &ds->user_ids);
    BIND("movie_ids", DTYPE_I32, ds->n_movies, &ds->movie_ids);
    return REEL_OK;
}

/* The number in metadata `key`, lowest..highest. */
static reel_status metadata_int(const struct reel_dataset *ds, const char *key, int lowest, int highest, int *out,
                                reel_error *err) {
    const char *text = tensor_set_get(ds->set, key);
    char *end = NULL;
    long value = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || value < lowest || value > highest)
        return error_set(err, REEL_CORRUPT, "%s: metadata %s must be %d..%d (found %.40s)", tensor_set_path(ds->set),
                         key, lowest, highest, text ? text : "none");
    *out = (int)value;
    return REEL_OK;
}

static reel_status bind_metadata(struct reel_dataset *ds, reel_error *err) {
    const char *version = tensor_set_get(ds->set, "version");
    if (!version || strcmp(version, "1") != 0)
        return error_set(err, REEL_CORRUPT, "%s: dataset version %.20s is not known to this reel (it reads version 1)",
                         tensor_set_path(ds->set), version ? version : "(none)");
    ds->fingerprint = tensor_set_get(ds->set, "fingerprint");
    if (!ds->fingerprint || strlen(ds->fingerprint) != 32 || strspn(ds->fingerprint, "0123456789abcdef") != 32)
        return error_set(err, REEL_CORRUPT, "%s: metadata fingerprint must be 32 hex digits (found %.40s)",
                         tensor_set_path(ds->set), ds->fingerprint ? ds->fingerprint : "none");
    TRY_RETURN(metadata_int(ds, "scale.min", 1, 10, &ds->ratings.scale_min, err));
    return metadata_int(ds, "scale.max", ds->ratings.scale_min, 10, &ds->ratings.scale_max, err);
}

reel_status dataset_of_set(reel_context *ctx, struct tensor_set *set, reel_dataset **out, reel_error *err) {
    struct reel_dataset *ds = NULL;
    *out = NULL;
    reel_status status = MEM_NEW(&ds, 1, err);
    if (status != REEL_OK) {
        tensor_set_free(set);
        return status;
    }
    ds->set = set;
    TRY(bind_metadata(ds, err));
    TRY(bind_counts(ds, err));
    TRY(bind_ratings(ds, err));
    TRY(bind_movies(ds, err));
    TRY(bind_tags(ds, err));
    TRY(bind_genome(ds, err));
    TRY(metadata_bind(ds->set, ds->n_movies, &ds->metadata, err));
    TRY(dataset_check(ctx, ds, err));
    *out = ds;
    return REEL_OK;
cleanup:
    reel_dataset_free(ds);
    return status;
}

reel_status reel_dataset_open(reel_context *ctx, const char *path, reel_dataset **out, reel_error *err) {
    struct tensor_set *set;
    *out = NULL;
    TRY_RETURN(tensor_file_open(path, "reel-dataset", &set, err));
    return dataset_of_set(ctx, set, out, err);
}

void reel_dataset_free(reel_dataset *dataset) {
    if (!dataset) return;
    tensor_set_free(dataset->set);
    mem_free(dataset);
}

/* ---- access ---- */

void reel_dataset_get_info(const reel_dataset *dataset, reel_dataset_info *info) {
    *info = (reel_dataset_info){.n_users = dataset->n_users,
                                .n_movies = dataset->n_movies,
                                .n_genres = dataset->n_genres,
                                .n_ratings = dataset->n_ratings,
                                .n_tags = dataset->n_tags,
                                .n_genome_tags = dataset->n_genome_tags,
                                .mean_rating = dataset->mean_rating};
    memcpy(info->fingerprint, dataset->fingerprint, sizeof info->fingerprint);
}

int32_t reel_dataset_user_index(const reel_dataset *dataset, int64_t user_id) {
    return (int32_t)sorted_ids_find(dataset->user_ids, dataset->n_users, user_id);
}

int32_t reel_dataset_movie_index(const reel_dataset *dataset, int64_t movie_id) {
    return (int32_t)sorted_ids_find(dataset->movie_ids, dataset->n_movies, movie_id);
}

int32_t reel_dataset_user_id(const reel_dataset *dataset, int32_t user) {
    return dataset->user_ids[user];
}

void reel_dataset_get_movie(const reel_dataset *dataset, int32_t index, reel_movie *movie) {
    const int64_t *offsets = dataset->ratings.movie_offsets;
    *movie = (reel_movie){.id = dataset->movie_ids[index],
                          .year = dataset->movie_years[index],
                          .title = text_at(&dataset->titles, index),
                          .genre_bits = dataset->movie_genres[index],
                          .n_ratings = offsets[index + 1] - offsets[index],
                          .imdb_id = dataset->movie_imdb_ids[index],
                          .tmdb_id = dataset->movie_tmdb_ids[index]};
}

const char *reel_dataset_genre(const reel_dataset *dataset, int32_t genre) {
    return text_at(&dataset->genres, genre);
}

int64_t reel_dataset_user_ratings(const reel_dataset *dataset, int32_t user, const int32_t **movies,
                                  const uint8_t **ratings, const uint32_t **times) {
    const struct ratings *all = &dataset->ratings;
    int64_t begin = all->user_offsets[user];
    if (movies) *movies = all->user_movies + begin;
    if (ratings) *ratings = all->user_ratings + begin;
    if (times) *times = all->user_times + begin;
    return all->user_offsets[user + 1] - begin;
}
