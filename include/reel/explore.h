/* The synthetic twin and the explore reports. */
#ifndef REEL_EXPLORE_H
#define REEL_EXPLORE_H

#include <reel/dataset.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_gen_options {
    const char *like;  /* "ml-20m", "ml-1m" or "ml-latest-small" */
    int32_t n_users;   /* 0 = as `like` has it, in step with n_ratings where that is given */
    int32_t n_movies;  /* catalogue size, 0 = as `like`, or all of `catalogue` */
    int64_t n_ratings; /* 0 = as `like`, in step with n_users where that is given */
    int factors;       /* planted factors; 0 = default */
    uint64_t seed;
    const char *catalogue; /* movies.csv whose titles and genres are used; NULL = made up */
} reel_gen_options;

typedef struct reel_gen_report {
    int32_t n_users, n_movies;
    int32_t n_rated; /* movies with at least one rating */
    int64_t n_ratings;
    double oracle_rmse; /* RMSE of the planted expectation of the written (rounded) ratings: the noise floor */
    double seconds;
} reel_gen_report;

REEL_API void reel_gen_options_default(reel_gen_options *options);
/* Writes ratings.csv, movies.csv, links.csv and tags.csv into folder `out_dir` (made if missing). Same
 * options and seed give the same bytes at any thread count. */
REEL_API reel_status reel_gen(reel_context *ctx, const reel_gen_options *options, const char *out_dir,
                              reel_gen_report *report, reel_error *err);

typedef struct reel_explore_report reel_explore_report;

/* Explores a dataset file, or a bare movies.csv or ratings.csv. */
REEL_API reel_status reel_explore(reel_context *ctx, const char *path, reel_explore_report **out, reel_error *err);
REEL_API void reel_explore_free(reel_explore_report *report);
/* The report as text with bars, one JSON object, or one self-contained HTML page; to free with
 * reel_string_free; NULL when out of memory. */
REEL_API char *reel_explore_text(const reel_explore_report *report);
REEL_API char *reel_explore_json(const reel_explore_report *report);
REEL_API char *reel_explore_html(const reel_explore_report *report);

#ifdef __cplusplus
}
#endif
#endif
