#include "data/star.h"

#include <stdio.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

reel_status star_add_column(struct star *star, enum star_table table, const char *name, float **values,
                            reel_error *err) {
    if (star->n_columns == STAR_COLUMNS_MAX)
        return error_set(err, REEL_UNSUPPORTED, "more than %d feature columns (at '%s')", STAR_COLUMNS_MAX, name);
    struct star_column *column = &star->columns[star->n_columns];
    column->table = table;
    snprintf(column->name, sizeof column->name, "%s", name);
    TRY_RETURN(MEM_NEW(&column->values, (int64_t)star->n_rows[table] + 1, err));
    star->n_columns++;
    *values = column->values;
    return REEL_OK;
}

void star_free(struct star *star) {
    for (int c = 0; c < star->n_columns; c++) mem_free(star->columns[c].values);
    *star = (struct star){0};
}

/* ---- means ---- */

struct total {
    int64_t sum, count; /* half stars */
};

static float mean_of(struct total total, float fallback) {
    return total.count ? (float)(0.5 * (double)total.sum / (double)total.count) : fallback;
}

/* movies (n_movies,) and users (n_users,): exact sums, so their order does not matter. */
static struct total sum_ratings(const struct ratings *ratings, struct total *users, struct total *movies) {
    struct total all = {0};
    for (int32_t u = 0; u < ratings->n_users; u++) {
        for (int64_t i = ratings->user_offsets[u]; i < ratings->user_offsets[u + 1]; i++) {
            struct total *movie = &movies[ratings->user_movies[i]];
            movie->sum += ratings->user_ratings[i];
            movie->count++;
            users[u].sum += ratings->user_ratings[i];
        }
        users[u].count = ratings->user_offsets[u + 1] - ratings->user_offsets[u];
        all.sum += users[u].sum;
        all.count += users[u].count;
    }
    return all;
}

static reel_status add_means(const struct ratings *ratings, struct star *star, reel_error *err) {
    reel_status status = REEL_OK;
    struct total *users = NULL, *movies = NULL;
    float *user_mean, *movie_mean, *popularity;
    int32_t n_users = ratings->n_users, n_movies = ratings->n_movies;
    TRY(star_add_column(star, STAR_USER, "user_rt_mean", &user_mean, err));
    TRY(star_add_column(star, STAR_MOVIE, "movie_rt_mean", &movie_mean, err));
    TRY(star_add_column(star, STAR_MOVIE, "popularity", &popularity, err));
    TRY(MEM_NEW(&users, n_users, err));
    TRY(MEM_NEW(&movies, n_movies, err));
    float mean = mean_of(sum_ratings(ratings, users, movies), 0);
    for (int32_t u = 0; u < n_users; u++) user_mean[u] = mean_of(users[u], mean);
    for (int32_t m = 0; m < n_movies; m++) {
        movie_mean[m] = mean_of(movies[m], mean);
        popularity[m] = (float)movies[m].count;
    }
    user_mean[n_users] = movie_mean[n_movies] = mean;
cleanup:
    mem_free(users);
    mem_free(movies);
    return status;
}

/* ---- leave one out ---- */

/* What is left of `total` without a rating of so many half stars; nothing of what has no ratings. */
static struct total without(struct total total, int half_stars) {
    return total.count ? (struct total){total.sum - half_stars, total.count - 1} : total;
}

/* Means of `n` totals without one rating of each value (n, STAR_HALF_STARS); where none is left, the mean of all
 * others. `counts` may be NULL. */
static void fill_left_out(const struct total *totals, int32_t n, struct total all, float *means, float *counts) {
    for (int32_t i = 0; i < n; i++)
        for (int stars = 1; stars <= STAR_HALF_STARS; stars++) {
            int64_t at = (int64_t)i * STAR_HALF_STARS + stars - 1;
            struct total rest = without(totals[i], stars);
            means[at] = mean_of(rest, mean_of(without(all, stars), 0));
            if (counts) counts[at] = (float)rest.count;
        }
}

static reel_status copy_by_stars(const struct star *star, struct star *out, reel_error *err) {
    for (int c = 0; c < star->n_columns; c++) {
        const struct star_column *from = &star->columns[c];
        float *to;
        TRY_RETURN(star_add_column(out, from->table, from->name, &to, err));
        int32_t n = star->n_rows[from->table], each = from->table == STAR_CALENDAR ? 1 : STAR_HALF_STARS;
        for (int64_t i = 0; i < (int64_t)n * each; i++) to[i] = from->values[i / each];
        to[(int64_t)n * each] = from->values[n];
    }
    return REEL_OK;
}

reel_status star_leave_one_out(const struct star *star, const struct ratings *ratings, struct star *out,
                               reel_error *err) {
    reel_status status = REEL_OK;
    struct total *users = NULL, *movies = NULL;
    int32_t n_users = ratings->n_users, n_movies = ratings->n_movies, most = INT32_MAX / STAR_HALF_STARS - 1;
    *out = (struct star){0};
    if (n_users > most || n_movies > most)
        return error_set(err, REEL_UNSUPPORTED, "means=loo takes at most %d users and movies", most);
    out->n_rows[STAR_USER] = n_users * STAR_HALF_STARS;
    out->n_rows[STAR_MOVIE] = n_movies * STAR_HALF_STARS;
    out->n_rows[STAR_CALENDAR] = STAR_HOURS;
    TRY(MEM_NEW(&users, n_users, err));
    TRY(MEM_NEW(&movies, n_movies, err));
    TRY(copy_by_stars(star, out, err));
    struct total all = sum_ratings(ratings, users, movies);
    fill_left_out(users, n_users, all, out->columns[STAR_USER_MEAN].values, NULL);
    fill_left_out(movies, n_movies, all, out->columns[STAR_MOVIE_MEAN].values, out->columns[STAR_POPULARITY].values);
cleanup:
    mem_free(users);
    mem_free(movies);
    return status;
}

/* ---- calendar and genres ---- */

static reel_status add_weekdays(struct star *star, reel_error *err) {
    for (int day = 0; day < 7; day++) {
        char name[24];
        float *values;
        snprintf(name, sizeof name, "weekday_%d", day);
        TRY_RETURN(star_add_column(star, STAR_CALENDAR, name, &values, err));
        for (int hour = 0; hour < 24; hour++) values[24 * day + hour] = 1;
    }
    return REEL_OK;
}

static reel_status add_movielens_genres(const struct reel_dataset *dataset, struct star *star, reel_error *err) {
    for (int32_t g = 0; g < dataset->n_genres; g++) {
        float *values;
        TRY_RETURN(star_add_column(star, STAR_MOVIE, text_at(&dataset->genres, g), &values, err));
        for (int32_t m = 0; m < dataset->n_movies; m++) values[m] = (float)(dataset->movie_genres[m] >> g & 1);
    }
    return REEL_OK;
}

static reel_status add_tmdb_genres(const struct reel_dataset *dataset, struct star *star, reel_error *err) {
    const struct metadata *metadata = &dataset->metadata;
    if (metadata->n == 0)
        return error_set(err, REEL_UNSUPPORTED,
                         "genres=tmdb needs a dataset that was imported with movies_metadata.csv");
    for (int g = 0; g < METADATA_GENRES; g++) {
        float *values;
        TRY_RETURN(star_add_column(star, STAR_MOVIE, metadata_genre_name(g), &values, err));
        for (int32_t i = 0; i < metadata->n; i++) values[metadata->movies[i]] = (float)(metadata->genres[i] >> g & 1);
    }
    return REEL_OK;
}

static reel_status add_optional(const struct reel_dataset *dataset, const struct star_options *options,
                                struct star *star, reel_error *err) {
    float *values;
    if (options->year) {
        TRY_RETURN(star_add_column(star, STAR_MOVIE, "year", &values, err));
        for (int32_t m = 0; m < dataset->n_movies; m++) values[m] = (float)dataset->movie_years[m];
    }
    if (options->hour) {
        TRY_RETURN(star_add_column(star, STAR_CALENDAR, "hour", &values, err));
        for (int hour = 0; hour < STAR_HOURS; hour++) values[hour] = (float)(hour % 24);
        values[STAR_HOURS] = -1;
    }
    return REEL_OK;
}

reel_status star_build(const struct reel_dataset *dataset, const struct ratings *ratings,
                       const struct star_options *options, struct star *star, reel_error *err) {
    *star = (struct star){.n_rows = {dataset->n_users, dataset->n_movies, STAR_HOURS}};
    TRY_RETURN(add_means(ratings, star, err));
    TRY_RETURN(add_weekdays(star, err));
    if (options->genres == STAR_TMDB)
        TRY_RETURN(add_tmdb_genres(dataset, star, err));
    else
        TRY_RETURN(add_movielens_genres(dataset, star, err));
    return add_optional(dataset, options, star, err);
}
