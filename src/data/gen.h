/* Inside of the twin generator: a made-up MovieLens with the marginals of the real one and a planted truth.
 *
 * Method
 *
 * 1. Degrees (gen_degrees.c). Ratings a user and ratings a movie are read off fitted quantile curves (a
 *    profile's knots), one point for each user and movie, warped between median and maximum until they add up
 *    to n_ratings, and rounded with carry: min, median, max and sum are exact by construction.
 * 2. Catalogue (gen_catalogue.c). A real movies.csv, or one made up from the joint frequencies of MovieLens
 *    20M's genre sets and years.
 * 3. Truth (gen_truth.c). Every movie has a bias, a drift in time and factors that lean on its genres; every
 *    user a bias, factors and a few sessions in time, each with its own mood. The latent rating is
 *        mean = b_u + b_m + drift_m (t - t_mid) + mood_session + p_u . q_m,   latent = mean + noise,
 *    all of it recomputed from counters (seed, thing) whenever it is needed, so nothing is stored by rating.
 *    Movie counts are dealt out by a score of bias, age, genre and chance: what is popular is better liked.
 * 4. Picks (gen_weights.c, gen_picks.c). A user takes movies one by one without replacement, with probability
 *    proportional to w_m exp(p_u . q_m), among those released by the user's last session. A movie is then
 *    taken by a user of d ratings with probability close to 1 - exp(-tau_d w_m); the weights w are fitted
 *    to the movie counts of step 1 under that formula, and what chance leaves over is moved, rating by
 *    rating, from movies above their count to movies below it.
 * 5. Scale (gen_scale.c). The latent ratings are cut into stars at their own quantiles, so the histogram comes
 *    out as wanted: one set of cuts for whole stars (before February 2003), one for half stars (after).
 *    The oracle predicts E[stars | mean], which the cuts and the noise give in closed form.
 *
 * Work is cut into blocks of whole users by rating counts, never by thread count. */
#ifndef DATA_GEN_H
#define DATA_GEN_H

#include <reel/explore.h>
#include "core/context.h"
#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/gen_math.h"

enum {
    GEN_KNOTS_MAX = 24,
    GEN_YEARS_MAX = 24,
    GEN_FACTORS_MAX = 128,
    GEN_SESSIONS_MAX = 64,
    GEN_MIN_USER_RATINGS = 20,
    GEN_BLOCK_RATINGS = 16384,
    GEN_HALF_STARS_FROM = 1044057600 /* 2003-02-01 00:00:00 UTC */
};

/* Quantile q of a degree distribution; ascending in both, first q = 0, last q = 1. */
struct gen_knot {
    double q, value;
};

/* What a real data set looks like, and the truth that makes trainers see what they see on it. */
struct gen_profile {
    const char *name;
    int32_t n_users, n_movies, n_rated;
    int64_t n_ratings, n_tags;
    int64_t histogram[10]; /* ratings of 0.5, 1.0 ... 5.0 stars */
    struct gen_knot user_knots[GEN_KNOTS_MAX], movie_knots[GEN_KNOTS_MAX];
    int n_user_knots, n_movie_knots;
    int first_year, n_years;
    double year_weights[GEN_YEARS_MAX]; /* share of users who join in each year */
    uint32_t begin, end;                /* seconds since 1970: nothing is rated outside */
    /* standard deviations in latent stars */
    double user_bias, movie_bias, taste, drift, mood, noise;
    double factor_decay; /* scale of factor f is proportional to factor_decay^f */
};
/* NULL if unknown. */
const struct gen_profile *gen_profile_find(const char *name);
/* Names for an error message: "ml-20m, ml-1m, ml-latest-small". */
extern const char gen_profile_names[];

struct gen_catalogue {
    int32_t n;
    int32_t *ids;                        /* (n,) ascending */
    int16_t *years;                      /* (n,) 0 = unknown */
    uint32_t *genres;                    /* (n,) bit g = gen_genres[g] */
    struct strbuf movies_csv, links_csv; /* the files */
};
#define GEN_GENRES 19
struct gen_genre {
    const char *name;
    float popularity; /* added to the popularity score */
};
extern const struct gen_genre gen_genres[GEN_GENRES];

/* A user as planted; see gen_user_draw. */
struct gen_user {
    float bias;
    float factors[GEN_FACTORS_MAX]; /* padded with zeros to gen.stride */
    int n_sessions;
    uint32_t start[GEN_SESSIONS_MAX], length[GEN_SESSIONS_MAX]; /* seconds */
    float mood[GEN_SESSIONS_MAX];
    float until[GEN_SESSIONS_MAX]; /* cumulated share of the ratings; the last is 1 */
};

/* Cuts of the latent scale (gen_scale.c). */
enum { GEN_BINS = 65536, GEN_EXPECT = 4096 };
struct gen_scale {
    uint8_t *stars[2];                 /* (GEN_BINS,) half stars of a bin: [0] whole-star time, [1] after */
    float expected[2][GEN_EXPECT + 1]; /* E[stars | mean] at mean = -8 + 16 i / GEN_EXPECT */
};

struct gen {
    reel_context *ctx;
    const struct gen_profile *profile;
    uint64_t seed;
    int32_t n_users, n_movies, n_rated;
    int64_t n_ratings;
    int factors, stride; /* stride: factors rounded up to a multiple of 4 */
    struct gen_catalogue catalogue;
    /* truth, by movie */
    float *movie_bias, *movie_drift; /* (n_movies,); drift in stars a year */
    float *movie_factors;            /* (n_movies, stride) */
    uint32_t *released;              /* (n_movies,) seconds since 1970; 0 = always there */
    uint32_t *releases;              /* the same, ascending */
    /* degrees */
    int64_t *user_offsets;  /* (n_users + 1,) */
    int64_t *movie_targets; /* (n_movies,) wanted ratings, 0 = unrated */
    uint32_t *user_last;    /* (n_users,) end of the last session */
    float *weights;         /* (n_movies,) pick weights, 0 = unrated */
    int32_t *picks;         /* (n_ratings,) movies by user, ascending once repaired */
    /* blocks of whole users */
    int32_t n_blocks, *block_users; /* (n_blocks + 1,) */
    struct gen_scale scale;
};

/* The steps. Each fills its own part of *gen and returns NO_MEMORY, CANCELLED or what its comment says. */

/* n counts >= the first knot, <= `cap`, ascending, that add up to `total` (n first <= total <= n cap). */
struct gen_degree_curve {
    const struct gen_knot *knots;
    int n_knots;
    int64_t base_n, base_total; /* what the knots were measured on: there they come out as they are */
};
reel_status gen_degrees(const struct gen_degree_curve *curve, int64_t cap, int64_t total, int64_t n, int64_t *out,
                        reel_error *err);
/* Deals the users' counts out: user_offsets, blocks. */
reel_status gen_users_plan(struct gen *gen, reel_error *err);

/* Reads `path` (BAD_INPUT with file and line) or makes a catalogue of n_movies up when it is NULL. Sets
 * n_movies when that is 0, else takes the first n_movies rows. */
reel_status gen_catalogue_load(struct gen *gen, const char *path, reel_error *err);
void gen_catalogue_free(struct gen_catalogue *catalogue);

/* Movie parameters, then popularity: which movie gets which count. */
reel_status gen_movies_plan(struct gen *gen, reel_error *err);
void gen_user_draw(const struct gen *gen, int32_t user, struct gen_user *out);
/* One rating as planted: position `at` in the rating table, movie m. */
struct gen_rating {
    uint32_t time;
    float mean, latent;
};
struct gen_rating gen_rate(const struct gen *gen, const struct gen_user *user, int64_t at, int32_t movie);
float gen_taste(const float *user, const float *movie, int stride);

reel_status gen_weights_fit(struct gen *gen, reel_error *err);
reel_status gen_picks_draw(struct gen *gen, reel_error *err);
reel_status gen_picks_repair(struct gen *gen, reel_error *err);

reel_status gen_scale_fit(struct gen *gen, reel_error *err);
void gen_scale_free(struct gen_scale *scale);
/* Bin of a latent rating. */
static inline int32_t gen_bin(float latent) {
    float at = (latent + 8.0f) * ((float)GEN_BINS / 16);
    return at <= 0 ? 0 : at >= GEN_BINS - 1 ? GEN_BINS - 1 : (int32_t)at;
}
double gen_scale_expect(const struct gen_scale *scale, int halves, float mean);

/* Writes the four files; *oracle_rmse is measured on the way. */
reel_status gen_write(struct gen *gen, const char *folder, double *oracle_rmse, reel_error *err);

/* Frees what the steps have made. */
void gen_free(struct gen *gen);

/* Runs fn over all blocks, in rounds, with progress and a look at the cancel flag between rounds. */
reel_status gen_run_blocks(const struct gen *gen, const char *stage, task_fn fn, void *arg, reel_error *err);

#endif
