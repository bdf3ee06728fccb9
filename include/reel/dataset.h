/* Datasets: ratings, movies, tags, links and genome of one MovieLens-like data set, imported once,
 * immutable afterwards, mapped into memory when opened.
 *
 * A dataset keeps the data set's own ids (0..2^31-1) at its edges; inside, users and movies are
 * dense indices 0..n-1 in ascending order of id. */
#ifndef REEL_DATASET_H
#define REEL_DATASET_H

#include <stddef.h>
#include <stdint.h>
#include <reel/context.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_dataset reel_dataset;

typedef struct reel_import_options {
    const char *columns;  /* names of user,movie,rating[,time] columns of a CSV of another shape; NULL = detect */
    const char *metadata; /* movies_metadata.csv of The Movies Dataset, joined through links; NULL = none */
    int skip_bad;         /* 1: go on past bad lines, count and list them */
    int max_listed;       /* how many bad lines are logged in full with skip_bad; default 20 */
} reel_import_options;

typedef struct reel_import_report {
    const char *format; /* "ml-100k", "ml-1m", "ml-10m", "ml-csv", "csv": a static string */
    int32_t n_users, n_movies;
    int64_t n_ratings, n_tags;
    int64_t n_bad_lines;    /* skipped with skip_bad */
    int64_t n_duplicates;   /* (user, movie) pairs met again; the latest rating won */
    int64_t n_placeholders; /* rated or tagged movies that the movie file lacks */
    int64_t n_metadata;     /* movies that The Movies Dataset has a row for */
    int64_t source_bytes;   /* bytes of the ratings file */
    int64_t bytes;          /* bytes of the dataset file */
    double seconds;
    char fingerprint[33]; /* 32 hex digits + NUL */
} reel_import_report;

typedef struct reel_dataset_info {
    int32_t n_users, n_movies, n_genres;
    int64_t n_ratings, n_tags;
    int32_t n_genome_tags; /* 0 = no genome */
    double mean_rating;    /* stars; NaN for a dataset without ratings */
    char fingerprint[33];  /* XXH3-128 over ids, offsets, movies, ratings and times, hex */
} reel_dataset_info;

/* One movie; pointers live as long as the dataset. */
typedef struct reel_movie {
    int32_t id;          /* the data set's own */
    int32_t year;        /* from the title, 0 = unknown */
    const char *title;   /* UTF-8, NUL-terminated, as in the source (with its year) */
    uint64_t genre_bits; /* bit g = reel_dataset_genre(ds, g); 0 = "(no genres listed)" */
    int64_t n_ratings;
    int32_t imdb_id; /* -1 = none */
    int32_t tmdb_id; /* -1 = none */
} reel_movie;

REEL_API void reel_import_options_default(reel_import_options *options);
/* Reads a folder, a ZIP or one ratings file and writes the dataset file `out_path` (atomically and
 * durably: the old file or the complete new one). `report` may be NULL. Errors: BAD_INPUT with file
 * and line, NOT_FOUND, IO, NO_MEMORY, CANCELLED. */
REEL_API reel_status reel_dataset_import(reel_context *ctx, const char *source, const reel_import_options *options,
                                         const char *out_path, reel_import_report *report, reel_error *err);
/* Maps a dataset file; everything that is indexed with later is validated here. Errors: NOT_FOUND,
 * CORRUPT, IO, NO_MEMORY. */
REEL_API reel_status reel_dataset_open(reel_context *ctx, const char *path, reel_dataset **out, reel_error *err);
REEL_API void reel_dataset_free(reel_dataset *dataset);
REEL_API void reel_dataset_get_info(const reel_dataset *dataset, reel_dataset_info *info);
/* Index of an id, or -1. */
REEL_API int32_t reel_dataset_user_index(const reel_dataset *dataset, int64_t user_id);
REEL_API int32_t reel_dataset_movie_index(const reel_dataset *dataset, int64_t movie_id);
/* The id of user `user`, 0 <= user < n_users. */
REEL_API int32_t reel_dataset_user_id(const reel_dataset *dataset, int32_t user);
/* Fills *movie for 0 <= index < n_movies. */
REEL_API void reel_dataset_get_movie(const reel_dataset *dataset, int32_t index, reel_movie *movie);
/* Name of genre g, 0 <= g < n_genres. */
REEL_API const char *reel_dataset_genre(const reel_dataset *dataset, int32_t genre);
/* The ratings of one user: returns how many and points at movies (n,) ascending indices, ratings (n,)
 * in half stars 1..10 and times (n,) in seconds since 1970; any pointer may be NULL. */
REEL_API int64_t reel_dataset_user_ratings(const reel_dataset *dataset, int32_t user, const int32_t **movies,
                                           const uint8_t **ratings, const uint32_t **times);

/* Files of rows to score: CSV with a header (other columns are passed over) or without one. */
typedef enum reel_rows_kind {
    REEL_ROWS_PAIRS, /* userId,movieId[,timestamp]; ids that the dataset lacks are fine */
    REEL_ROWS_USERS, /* userId, known ones */
    REEL_ROWS_RATED  /* movieId,rating: one visitor's ratings of known movies, each once, 0.5..5 in half steps */
} reel_rows_kind;

/* Arrays (n,), NULL where the kind or the file has no such column. */
typedef struct reel_rows {
    int64_t n;
    int32_t *user_ids, *movie_ids; /* as in the file */
    int32_t *users, *movies;       /* dense indices, -1 = not in the dataset */
    uint32_t *times;               /* seconds since 1970 */
    float *stars;
} reel_rows;

/* Errors: BAD_INPUT with file and line, NOT_FOUND, IO, NO_MEMORY, CANCELLED. */
REEL_API reel_status reel_rows_read(reel_context *ctx, const reel_dataset *dataset, const char *path,
                                    reel_rows_kind kind, reel_rows *rows, reel_error *err);
REEL_API void reel_rows_free(reel_rows *rows);

/* Describes (info) or fully checks (verify: every hash too) a dataset or model file as a JSON object,
 * to free with reel_string_free. Errors: NOT_FOUND, CORRUPT, IO, NO_MEMORY. */
REEL_API reel_status reel_file_info(reel_context *ctx, const char *path, char **json, reel_error *err);
REEL_API reel_status reel_file_verify(reel_context *ctx, const char *path, char **json, reel_error *err);

#ifdef __cplusplus
}
#endif
#endif
