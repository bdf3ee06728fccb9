/* Inside of a dataset: typed, validated views over its tensor file.
 *
 * The dataset file (safetensors, metadata format = "reel-dataset", version = "1"), U users, M movies,
 * N ratings, T tags, G genres, L genome movies, K genome tags:
 *
 *   user_ids             I32 (U,)      ascending, >= 0
 *   movie_ids            I32 (M,)      ascending, >= 0
 *   user_offsets         I64 (U+1,)    by user: entries user_offsets[u] .. user_offsets[u+1]-1
 *   user_movies          I32 (N,)      movie index, ascending within a user, no repeats
 *   user_ratings         U8  (N,)      half stars 1..10
 *   user_times           U32 (N,)      seconds since 1970-01-01 UTC (0 where the source has none)
 *   movie_offsets        I64 (M+1,)    by movie: the same ratings
 *   movie_users          I32 (N,)      user index, ascending within a movie
 *   movie_ratings        U8  (N,)
 *   movie_title_offsets  I64 (M+1,)    into movie_titles
 *   movie_titles         U8  (*,)      UTF-8, each title followed by NUL
 *   movie_years          I16 (M,)      0 = unknown
 *   movie_genres         U64 (M,)      bit g = genre g; 0 = "(no genres listed)"
 *   movie_imdb_ids       I32 (M,)      -1 = none
 *   movie_tmdb_ids       I32 (M,)      -1 = none
 *   genre_name_offsets   I64 (G+1,)    into genre_names; G <= 64, names ascending (strcmp)
 *   genre_names          U8  (*,)      each followed by NUL
 *   tag_users            I32 (T,)      user index; tags ordered by (user, movie, time, text)
 *   tag_movies           I32 (T,)
 *   tag_times            U32 (T,)
 *   tag_text_offsets     I64 (T+1,)    into tag_texts
 *   tag_texts            U8  (*,)      each followed by NUL
 * and, where the source has a genome:
 *   genome_movies        I32 (L,)      movie index, ascending
 *   genome_relevance     F32 (L, K)    0..1
 *   genome_tag_offsets   I64 (K+1,), genome_tags U8 (*,)
 *
 * and, where movies_metadata.csv was imported (R rows matched by tmdb id): see metadata tensors in
 * data/metadata.h.
 * Metadata also: "source.format", "n_placeholders", "scale.min"/"scale.max" (half stars seen),
 * "fingerprint" (XXH3-128, 32 hex digits, over user_ids, movie_ids, user_offsets, user_movies,
 * user_ratings, user_times in that order). */
#ifndef DATA_DATASET_H
#define DATA_DATASET_H

#include <reel/dataset.h>
#include "core/tensor_file.h"
#include "data/metadata.h"
#include "data/ratings.h"

/* Text pool: string i is text + offsets[i], NUL-terminated. */
struct text_column {
    const int64_t *offsets;
    const char *text;
};

struct reel_dataset {
    struct tensor_set *set;
    int32_t n_users, n_movies, n_genres, n_genome_movies, n_genome_tags;
    int64_t n_ratings, n_tags;
    const int32_t *user_ids, *movie_ids;
    struct ratings ratings; /* borrowed view of the six rating tensors */
    struct text_column titles, genres, tags, genome_tags;
    const int16_t *movie_years;
    const uint64_t *movie_genres;
    const int32_t *movie_imdb_ids, *movie_tmdb_ids;
    const int32_t *tag_users, *tag_movies;
    const uint32_t *tag_times;
    const int32_t *genome_movies;
    const float *genome_relevance; /* (n_genome_movies, n_genome_tags) */
    struct metadata metadata;      /* n = 0 without The Movies Dataset */
    const char *fingerprint;
    double mean_rating; /* stars */
    uint32_t newest_time;
};

static inline const char *text_at(const struct text_column *column, int64_t index) {
    return column->text + column->offsets[index];
}

/* Binds and checks a tensor set as a dataset (see above); the set is the dataset's from then on, or freed after a
 * failure. Tensors it borrows must live as long. CORRUPT, NO_MEMORY. */
reel_status dataset_of_set(reel_context *ctx, struct tensor_set *set, reel_dataset **out, reel_error *err);
/* Reads a CSV of ratings (header, userId,movieId,rating[,timestamp], or a headerless u.data / `::` file)
 * as test pairs; ids the dataset lacks become -1. BAD_INPUT with file and line. */
reel_status dataset_read_pairs(reel_context *ctx, const struct reel_dataset *dataset, const char *path,
                               struct rating_pairs *out, reel_error *err);

#endif
