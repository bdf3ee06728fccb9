/* From ratings in file order to the two orders of a dataset: by user (movies ascending) and by movie (users
 * ascending). */
#ifndef DATA_RATING_TABLE_H
#define DATA_RATING_TABLE_H

#include "data/id_map.h"
#include "data/rating_reader.h"

/* Owned arrays; see data/dataset.h for their meaning. */
struct rating_table {
    int64_t n;
    int64_t *user_offsets;  /* (n_users + 1,) */
    int32_t *user_movies;   /* (n,) indices */
    uint8_t *user_ratings;  /* (n,) half stars */
    uint32_t *user_times;   /* (n,) */
    int64_t *movie_offsets; /* (n_movies + 1,) */
    int32_t *movie_users;   /* (n,) indices */
    uint8_t *movie_ratings; /* (n,) */
};

/* Builds the table; the maps know every id of `raw`, whose arrays are taken over (its chunks stay). A repeated
 * (user, movie) is BAD_INPUT naming both lines, the repeat that comes first in the file; with bad->skip the
 * latest rating wins (by time, then by line), *n_duplicates counts the others and the first are listed. *out
 * must be freed, whatever the result. */
reel_status rating_table_build(reel_context *ctx, struct raw_ratings *raw, const struct id_map *users,
                               const struct id_map *movies, struct bad_lines *bad, struct rating_table *out,
                               int64_t *n_duplicates, reel_error *err);
void rating_table_free(struct rating_table *table);

#endif
