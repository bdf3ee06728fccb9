/* The feature star: hand-made features as columns of three small tables (users, movies, hours of the week) instead of
 * one wide row a rating. A rating's value in a column is the value of its user, its movie or its hour, so 20 M rows of
 * 30 features are 138 k + 27 k x 22 + 169 x 7 numbers.
 *
 * Columns come in the order user_rt_mean, movie_rt_mean, popularity, weekday_0 .. weekday_6 (Monday = 0, UTC), one 0/1
 * column a genre, then the optional ones. Values are float: what scikit-learn casts its features to. */
#ifndef DATA_STAR_H
#define DATA_STAR_H

#include "data/dataset.h"

enum star_table { STAR_USER, STAR_MOVIE, STAR_CALENDAR, STAR_TABLES };
enum star_genres { STAR_MOVIELENS, STAR_TMDB };
enum { STAR_HOURS = 168, STAR_COLUMNS_MAX = 128, STAR_HALF_STARS = 10 };
enum { STAR_USER_MEAN, STAR_MOVIE_MEAN, STAR_POPULARITY }; /* the first columns */

struct star_column {
    char name[48];
    enum star_table table;
    float *values; /* (n_rows[table] + 1,): the last one stands for an unknown user, movie or time */
};

struct star {
    int32_t n_rows[STAR_TABLES]; /* users, movies, STAR_HOURS */
    int n_columns;
    struct star_column columns[STAR_COLUMNS_MAX];
};

struct star_options {
    enum star_genres genres; /* the dataset's own genres or those of movies_metadata.csv */
    int year, hour;          /* 1: add the movie's year (0 = unknown), the hour of the day (-1 = unknown) */
};

/* Builds the columns of `dataset`; means and popularity are taken from `ratings`: the training part, or all ratings for
 * a protocol that leaks on purpose. Who has no ratings there gets the mean of all of them and popularity 0. Freed with
 * star_free, whatever the result. UNSUPPORTED: TMDB genres of a dataset without them. */
reel_status star_build(const struct reel_dataset *dataset, const struct ratings *ratings,
                       const struct star_options *options, struct star *star, reel_error *err);
void star_free(struct star *star);
/* Adds a zeroed column: *values (n_rows[table] + 1,). UNSUPPORTED when there are STAR_COLUMNS_MAX. */
reel_status star_add_column(struct star *star, enum star_table table, const char *name, float **values,
                            reel_error *err);
/* Adds the columns of a CSV. Its header is userId, movieId, weekday (0..6, Monday = 0) or hour (0..23, UTC), which says
 * the table, and then the columns' names; its rows are a key and numbers. Keys that the dataset lacks are passed over;
 * what has no value gets the mean of the given ones. BAD_INPUT with file and line, NOT_FOUND, IO. */
reel_status star_read_columns(const struct reel_dataset *dataset, const char *path, struct star *star, reel_error *err);
/* The star of `ratings` as each of them sees it when it is left out of the means and of popularity: users and movies
 * have STAR_HALF_STARS rows, row i * STAR_HALF_STARS + h - 1 for a rating of h half stars. What has no other rating
 * gets the mean of all others. `star` was built of the same ratings. Freed with star_free, whatever the result. */
reel_status star_leave_one_out(const struct star *star, const struct ratings *ratings, struct star *out,
                               reel_error *err);

/* The row of the calendar: hours since Monday 00:00 UTC; STAR_HOURS (unknown) for time 0. */
static inline int32_t star_hour(uint32_t time) {
    return time ? (int32_t)((time / 3600 + 3 * 24) % STAR_HOURS) : STAR_HOURS; /* 1970 began on a Thursday */
}

#endif
