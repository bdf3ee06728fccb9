#include "data/metadata.h"

#include <string.h>

#include "core/error.h"

static const char *const genre_names[METADATA_GENRES] = {
    "Action",  "Adventure",       "Animation", "Comedy",   "Crime",  "Documentary", "Drama",
    "Family",  "Fantasy",         "Foreign",   "History",  "Horror", "Music",       "Mystery",
    "Romance", "Science Fiction", "TV Movie",  "Thriller", "War",    "Western"};

const char *metadata_genre_name(int genre) {
    return genre_names[genre];
}

int metadata_genre_find(const char *name, size_t length) {
    for (int g = 0; g < METADATA_GENRES; g++)
        if (strlen(genre_names[g]) == length && memcmp(genre_names[g], name, length) == 0) return g;
    return -1;
}

static reel_status require(const struct tensor_set *set, const char *name, enum dtype dtype, int64_t n,
                           const void **data, reel_error *err) {
    const struct tensor *tensor;
    TRY_RETURN(tensor_set_require(set, name, dtype, 1, &n, &tensor, err));
    *data = tensor->data;
    return REEL_OK;
}

static reel_status check_values(const struct tensor_set *set, const struct metadata *metadata, int32_t n_movies,
                                reel_error *err) {
    int bad = 0;
    for (int32_t i = 0; i < metadata->n; i++) {
        int32_t before = i ? metadata->movies[i - 1] : -1;
        bad |= (metadata->movies[i] <= before) | (metadata->movies[i] >= n_movies);
        bad |= (metadata->genres[i] >> METADATA_GENRES) != 0;
        bad |= (metadata->imdb_ids[i] < -1) | (metadata->revenue[i] < 0);
        bad |= !(metadata->runtime[i] >= 0) | !(metadata->runtime[i] <= 1e9f);
    }
    return bad ? error_set(err, REEL_CORRUPT, "%s: the metadata tensors hold a value out of range",
                           tensor_set_path(set))
               : REEL_OK;
}

reel_status metadata_bind(const struct tensor_set *set, int32_t n_movies, struct metadata *out, reel_error *err) {
    *out = (struct metadata){0};
    const struct tensor *movies = tensor_set_find(set, "metadata_movies");
    if (!movies) return REEL_OK;
    if (movies->n > n_movies)
        return error_set(err, REEL_CORRUPT, "%s: metadata of more movies than there are", tensor_set_path(set));
    out->n = (int32_t)movies->n;
    TRY_RETURN(require(set, "metadata_movies", DTYPE_I32, out->n, (const void **)&out->movies, err));
    TRY_RETURN(require(set, "metadata_genres", DTYPE_U32, out->n, (const void **)&out->genres, err));
    TRY_RETURN(require(set, "metadata_imdb_ids", DTYPE_I32, out->n, (const void **)&out->imdb_ids, err));
    TRY_RETURN(require(set, "metadata_revenue", DTYPE_I64, out->n, (const void **)&out->revenue, err));
    TRY_RETURN(require(set, "metadata_runtime", DTYPE_F32, out->n, (const void **)&out->runtime, err));
    return check_values(set, out, n_movies, err);
}
