/* The planted truth: what movies and users are like, and what a user thinks of a movie at a time. */
#include "data/gen.h"

#include <stdlib.h>

enum { DAY = 86400, YEAR = 31557600 };

/* Seconds from 1970 to January 1st of a year (Gregorian). */
static int64_t year_begin(int year) {
    int64_t y = year - 1;
    return (365 * y + y / 4 - y / 100 + y / 400 - 719162) * DAY;
}

/* A moment of the year, inside the profile's time. */
static uint32_t time_in_year(const struct gen_profile *profile, int year, double share) {
    int64_t begin = year_begin(year), end = year_begin(year + 1);
    if (begin < profile->begin) begin = profile->begin;
    if (end > profile->end) end = profile->end;
    if (end <= begin) return profile->end;
    return (uint32_t)(begin + (int64_t)(share * (double)(end - begin)));
}

/* ---- movies ---- */

float gen_taste(const float *user, const float *movie, int stride) {
    float sum[4] = {0};
    for (int f = 0; f < stride; f += 4)
        for (int lane = 0; lane < 4; lane++) sum[lane] += user[f + lane] * movie[f + lane];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Mean effect of a movie's genres, scaled to unit variance: `effects` has one entry each `step`. */
static double genre_mean(uint32_t genres, const float *effects, int step) {
    double sum = 0;
    int n = 0;
    for (int g = 0; g < GEN_GENRES; g++)
        if (genres >> g & 1) {
            sum += effects[g * step];
            n++;
        }
    return n ? sum / sqrt(n) : 0;
}

/* Share of the users who join in or after a year: who can have seen its movies. */
static double share_after(const struct gen_profile *profile, int year) {
    double after = 0, all = 0;
    for (int y = 0; y < profile->n_years; y++) {
        all += profile->year_weights[y];
        if (profile->first_year + y >= year) after += profile->year_weights[y];
    }
    return after / all > 1e-4 ? after / all : 1e-4;
}

/* How much a movie is asked for. Better liked movies, movies that were there early (small ids) and popular
 * genres come first; the coefficients give the real sets' correlation of 0.3 between ln(count) and mean. */
static double popularity(const struct gen *gen, int32_t m, double quality, struct gen_rng *rng) {
    uint32_t genres = gen->catalogue.genres[m];
    int year = gen->catalogue.years[m];
    double score = 0.85 * quality + 1.2 * gen_rng_normal(rng) - 3.0 * m / gen->n_movies;
    for (int g = 0; g < GEN_GENRES; g++)
        if (genres >> g & 1) score += gen_genres[g].popularity;
    if (!genres) score -= 2;
    if (!year) return score - 1;
    if (year < 1980) score -= 0.015 * (1980 - year);
    return score + 0.8 * gen_log(share_after(gen->profile, year));
}

static void draw_movie(struct gen *gen, int32_t m, const float *loadings, const float *scales, double *score) {
    const struct gen_profile *profile = gen->profile;
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_MOVIE, m);
    uint32_t genres = gen->catalogue.genres[m];
    int step = gen->factors + 1;
    double quality = 0.3 * genre_mean(genres, loadings + gen->factors, step) + 0.954 * gen_rng_normal(&rng);
    gen->movie_bias[m] = (float)(profile->movie_bias * quality);
    gen->movie_drift[m] = (float)(profile->drift * gen_rng_normal(&rng));
    for (int f = 0; f < gen->factors; f++) {
        double own = gen_rng_normal(&rng);
        double z = genres ? 0.6 * genre_mean(genres, loadings + f, step) + 0.8 * own : own;
        gen->movie_factors[(int64_t)m * gen->stride + f] = (float)(scales[f] * z);
    }
    int year = gen->catalogue.years[m];
    if (year >= profile->first_year && year < profile->first_year + profile->n_years)
        gen->released[m] = time_in_year(profile, year, 0.8 * gen_rng_uniform(&rng));
    *score = popularity(gen, m, quality, &rng);
}

struct ranked {
    double score;
    int32_t movie;
};

static int compare_ranked(const void *a, const void *b) {
    const struct ranked *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? -1 : 1;
    return x->movie < y->movie ? -1 : x->movie > y->movie;
}

static int compare_times(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* No movie can be rated by more than the users who were there after it came out: a score whose count would come
 * near that falls to where the counts (n_rated, ascending) allow it. */
static void demote_late(const struct gen *gen, struct ranked *ranked, const int64_t *counts) {
    int32_t unrated = gen->n_movies - gen->n_rated;
    for (int32_t i = 0; i < gen->n_rated; i++) {
        int year = gen->catalogue.years[ranked[unrated + i].movie];
        if (year < gen->profile->first_year) continue;
        double most = 0.5 * gen->n_users * share_after(gen->profile, year);
        int32_t low = 0, high = i;
        while (low < high) {
            int32_t middle = low + (high - low + 1) / 2;
            if ((double)counts[middle] <= most)
                low = middle;
            else
                high = middle - 1;
        }
        ranked[unrated + i].score = ranked[unrated + low].score;
    }
}

/* The largest count to the highest score. */
static reel_status deal_counts(struct gen *gen, struct ranked *ranked, reel_error *err) {
    const struct gen_profile *profile = gen->profile;
    struct gen_degree_curve curve = {profile->movie_knots, profile->n_movie_knots, profile->n_rated,
                                     profile->n_ratings};
    int32_t unrated = gen->n_movies - gen->n_rated;
    int64_t *counts;
    TRY_RETURN(MEM_RAW(&counts, gen->n_rated, err));
    reel_status status = gen_degrees(&curve, gen->n_users, gen->n_ratings, gen->n_rated, counts, err);
    if (status == REEL_OK) {
        qsort(ranked, (size_t)gen->n_movies, sizeof *ranked, compare_ranked);
        demote_late(gen, ranked, counts);
        qsort(ranked, (size_t)gen->n_movies, sizeof *ranked, compare_ranked);
        for (int32_t i = 0; i < gen->n_rated; i++) gen->movie_targets[ranked[unrated + i].movie] = counts[i];
    }
    mem_free(counts);
    return status;
}

reel_status gen_movies_plan(struct gen *gen, reel_error *err) {
    struct ranked *ranked = NULL;
    float *loadings = NULL; /* (GEN_GENRES, factors + 1): factor loadings of a genre, and its bias */
    float scales[GEN_FACTORS_MAX];
    reel_status status = REEL_OK;
    int64_t n = gen->n_movies;
    TRY(MEM_NEW(&gen->movie_bias, n, err));
    TRY(MEM_NEW(&gen->movie_drift, n, err));
    TRY(MEM_NEW(&gen->movie_factors, n * gen->stride, err));
    TRY(MEM_NEW(&gen->released, n, err));
    TRY(MEM_NEW(&gen->releases, n, err));
    TRY(MEM_NEW(&gen->movie_targets, n, err));
    TRY(MEM_RAW(&ranked, n, err));
    int64_t n_loadings = (int64_t)GEN_GENRES * (gen->factors + 1);
    TRY(MEM_RAW(&loadings, n_loadings, err));
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_GENRES, 0);
    for (int64_t i = 0; i < n_loadings; i++) loadings[i] = (float)gen_rng_normal(&rng);
    double scale = 1, squares = 0;
    for (int f = 0; f < gen->factors; f++, scale *= gen->profile->factor_decay) {
        scales[f] = (float)scale;
        squares += scale * scale;
    }
    for (int f = 0; f < gen->factors; f++) scales[f] *= (float)(gen->profile->taste / sqrt(squares));
    for (int32_t m = 0; m < gen->n_movies; m++) {
        ranked[m].movie = m;
        draw_movie(gen, m, loadings, scales, &ranked[m].score);
    }
    TRY(deal_counts(gen, ranked, err));
    memcpy(gen->releases, gen->released, (size_t)n * sizeof *gen->releases);
    qsort(gen->releases, (size_t)n, sizeof *gen->releases, compare_times);
cleanup:
    mem_free(ranked);
    mem_free(loadings);
    return status;
}

/* ---- users ---- */

static int64_t movies_released(const struct gen *gen, uint32_t time) {
    int64_t low = 0, high = gen->n_movies;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (gen->releases[middle] <= time)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t join_time(const struct gen_profile *profile, struct gen_rng *rng) {
    double all = 0, at = 0;
    for (int y = 0; y < profile->n_years; y++) all += profile->year_weights[y];
    double u = gen_rng_uniform(rng) * all;
    int year = 0;
    while (year < profile->n_years - 1 && u > at + profile->year_weights[year]) at += profile->year_weights[year++];
    return time_in_year(profile, profile->first_year + year, (u - at) / profile->year_weights[year]);
}

/* Most users come once; the others return after gaps of days to years, and give their first session the
 * largest share. */
static void draw_sessions(const struct gen *gen, int32_t u, struct gen_rng *rng, struct gen_user *user) {
    const struct gen_profile *profile = gen->profile;
    int64_t n_ratings = gen->user_offsets[u + 1] - gen->user_offsets[u];
    int n = 1;
    if (gen_rng_uniform(rng) > 0.55) n += 1 + (int)(gen_rng_exponential(rng) * (1.5 + (double)n_ratings / 150));
    if (n > GEN_SESSIONS_MAX) n = GEN_SESSIONS_MAX;
    double first = n == 1 ? 1 : 0.5 + 0.5 * gen_rng_uniform(rng), time = join_time(profile, rng);
    if (u == 0) time = profile->begin; /* the first user opens the set, whatever chance says */
    for (int s = 0; s < n; s++) {
        double share = s == 0 ? first : (1 - first) / (n - 1);
        user->until[s] = (float)(s == 0 ? share : s == n - 1 ? 1 : user->until[s - 1] + share);
        if (s) time += DAY * (0.5 + 20 * gen_exp_double(1.8 * gen_rng_normal(rng)));
        double length = 60 + 18 * share * (double)n_ratings, latest = (double)profile->end - length;
        if (latest < profile->begin) latest = profile->begin;
        if (time > latest) time = latest;
        user->start[s] = (uint32_t)time;
        user->length[s] = (uint32_t)(time + length > profile->end ? profile->end - time : length);
        user->mood[s] = (float)(profile->mood * gen_rng_normal(rng));
    }
    user->n_sessions = n;
    /* Who has rated more than half of what was out by then must have come again later. */
    if (2 * n_ratings > movies_released(gen, user->start[n - 1])) {
        uint32_t latest = profile->end - user->length[n - 1];
        user->start[n - 1] = latest - (uint32_t)(gen_rng_uniform(rng) * 0.5 * (latest - user->start[n - 1]));
    }
}

void gen_user_draw(const struct gen *gen, int32_t u, struct gen_user *out) {
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_USER, u);
    int64_t n_ratings = gen->user_offsets[u + 1] - gen->user_offsets[u];
    /* Those who rate much are a little harder to please. */
    double bias = gen->profile->user_bias * gen_rng_normal(&rng) - 0.06 * gen_log((double)n_ratings / 70);
    out->bias = (float)bias;
    for (int f = 0; f < gen->factors; f++) out->factors[f] = (float)gen_rng_normal(&rng);
    for (int f = gen->factors; f < gen->stride; f++) out->factors[f] = 0;
    draw_sessions(gen, u, &rng, out);
}

struct gen_rating gen_rate(const struct gen *gen, const struct gen_user *user, int64_t at, int32_t movie) {
    struct philox4 words = philox_block(gen->seed, philox_stream(PHILOX_GEN, GEN_DRAW_RATING), (uint64_t)at);
    float share = (float)philox_uniform(words.v[0]);
    int s = 0;
    while (s < user->n_sessions - 1 && share > user->until[s]) s++;
    if (gen->released[movie] > user->start[s]) s = user->n_sessions - 1;
    struct gen_rating rating;
    rating.time = user->start[s] + (uint32_t)((uint64_t)words.v[1] * user->length[s] >> 32);
    double years = ((double)rating.time - 0.5 * ((double)gen->profile->begin + gen->profile->end)) / YEAR;
    rating.mean = user->bias + gen->movie_bias[movie] + gen->movie_drift[movie] * (float)years + user->mood[s] +
                  gen_taste(user->factors, gen->movie_factors + (int64_t)movie * gen->stride, gen->stride);
    rating.latent = rating.mean + (float)(gen->profile->noise * gen_normal_quantile(philox_uniform(words.v[2])));
    return rating;
}
