/* A view of ratings in both orders: what every trainer reads. Either the whole dataset (borrowed) or a
 * training part of it (owned). Immutable after it was made. */
#ifndef DATA_RATINGS_H
#define DATA_RATINGS_H

#include <stdint.h>
#include "core/context.h"

struct ratings {
    int32_t n_users, n_movies;
    int64_t n_ratings;
    /* by user: entries user_offsets[u] .. user_offsets[u+1]-1, movies ascending: a user rates a movie once */
    const int64_t *user_offsets; /* (n_users + 1,) */
    const int32_t *user_movies;  /* (n_ratings,) */
    const uint8_t *user_ratings; /* (n_ratings,) half stars 1..10 */
    const uint32_t *user_times;  /* (n_ratings,) seconds since 1970; NULL if left out */
    /* by movie, users ascending; NULL if left out */
    const int64_t *movie_offsets; /* (n_movies + 1,) */
    const int32_t *movie_users;   /* (n_ratings,) */
    const uint8_t *movie_ratings; /* (n_ratings,) */
    int scale_min, scale_max;     /* the rating scale in half stars: predictions are clipped to it */
    void *owned[8];               /* for ratings_free */
};

/* Ratings held out for testing; parallel arrays (n,). Indices may be -1 (unknown to the dataset). */
struct rating_pairs {
    int64_t n;
    const int32_t *users, *movies;
    const uint8_t *ratings; /* half stars */
    const uint32_t *times;  /* may be NULL */
    void *owned[4];
};

enum ratings_need { RATINGS_BY_MOVIE = 1, RATINGS_TIMES = 2 };

struct reel_dataset;

/* The whole dataset as a view; borrows. */
void ratings_of_dataset(const struct reel_dataset *dataset, struct ratings *out);
/* The ratings of `all` whose test[i] is 0, i the position in by-user order; `needs` is a set of
 * enum ratings_need; scale is taken over from `all`. Threads do not change the result. */
reel_status ratings_subset(reel_context *ctx, const struct ratings *all, const uint8_t *test, int needs,
                           struct ratings *out, reel_error *err);
/* The ratings of `all` whose test[i] is not 0, in by-user order. */
reel_status ratings_pairs(reel_context *ctx, const struct ratings *all, const uint8_t *test, struct rating_pairs *out,
                          reel_error *err);
void ratings_free(struct ratings *ratings); /* takes zeroed and borrowed views */
void rating_pairs_free(struct rating_pairs *pairs);

#endif
