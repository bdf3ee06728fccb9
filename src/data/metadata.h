/* What The Movies Dataset (movies_metadata.csv) adds to a dataset, joined by TMDB id through links.csv. The
 * tensors, R = movies that have a row:
 *
 *   metadata_movies    I32 (R,)  movie index, ascending, no repeats
 *   metadata_genres    U32 (R,)  bit g = metadata_genre_name(g)
 *   metadata_imdb_ids  I32 (R,)  -1 = none
 *   metadata_revenue   I64 (R,)  US dollars, 0 = unknown
 *   metadata_runtime   F32 (R,)  minutes, 0 = unknown
 */
#ifndef DATA_METADATA_H
#define DATA_METADATA_H

#include "core/tensor_file.h"

/* TMDB's genres, in alphabetical order; the bits of metadata_genres. */
#define METADATA_GENRES 20
const char *metadata_genre_name(int genre);
/* Bit of a genre name, -1 if TMDB has no such genre. */
int metadata_genre_find(const char *name, size_t length);

struct metadata {
    int32_t n; /* 0 = the dataset has none */
    const int32_t *movies;
    const uint32_t *genres;
    const int32_t *imdb_ids;
    const int64_t *revenue;
    const float *runtime;
};

/* Views of the tensors, checked: movies ascend below n_movies, genres are known, numbers finite and in range.
 * A set without them gives n = 0. CORRUPT naming file and tensor. */
reel_status metadata_bind(const struct tensor_set *set, int32_t n_movies, struct metadata *out, reel_error *err);

#endif
