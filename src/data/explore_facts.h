/* The figures of an explore report: computed once, then shown as text, JSON or HTML.
 *
 * "Mean, median, std" are those of NumPy: the median of an even number is the mean of the middle two, std is
 * the population's (ddof 0). A movie without genres counts as having one, "(no genres listed)". Every ranking
 * breaks ties by id, or by name for genres. Figures depend on the dataset alone, not on threads. */
#ifndef DATA_EXPLORE_FACTS_H
#define DATA_EXPLORE_FACTS_H

#include "core/mem.h"
#include "data/dataset.h"

/* Where n values lie. All zero when n is 0. */
struct spread {
    int64_t n;
    double min, max, mean, median, std;
};

/* `count` things have the value `value`. */
struct value_count {
    int64_t value, count;
};

/* Distinct values in ascending order (n,), and where they lie. */
struct distribution {
    struct spread spread;
    struct value_count *values;
    int64_t n;
};

struct genre_fact {
    const char *name;
    int64_t movies;
};

struct genre_pair_fact {
    int32_t first, second; /* genres of the dataset, first < second by name */
    int64_t movies;        /* that have both */
};

/* A user or a movie in a ranking. */
struct ranked {
    int32_t id;
    const char *title; /* NULL for users */
    int64_t votes;
    double mean; /* of its ratings, in stars */
};

enum { EXPLORE_TOP = 5, EXPLORE_MIN_VOTES = 50 };

/* The ends of a ranking: n = min(EXPLORE_TOP, how many there are) entries each. */
struct ranking {
    struct ranked first[EXPLORE_TOP], last[EXPLORE_TOP];
    int n;
};

/* What is known of the voters, or of the movies that were voted for. */
struct votes_facts {
    struct distribution votes;      /* of those with a vote */
    struct spread means;            /* of their mean ratings, in stars */
    struct ranking by_votes;        /* first = most votes, last = fewest */
    struct ranking by_mean;         /* first = highest mean, last = lowest */
    struct ranking by_mean_of_many; /* the same among those with at least EXPLORE_MIN_VOTES votes */
    int64_t n_of_many;
};

struct movie_facts {
    int64_t n;              /* in the catalogue, rated or not */
    int64_t n_placeholders; /* of these: known from ratings or tags alone, without title and genres; where that is
                             * all of them, the figures on genres and years below are empty */
    struct distribution genres_each;
    struct distribution years; /* of the titles that carry one */
    int64_t n_without_year;
    int32_t n_genres;          /* of the dataset: (n_genres,) names for the pairs and the matrix */
    const char **genre_names;  /* ascending */
    struct genre_fact *genres; /* (n_ranked_genres,) by count: those that occur, "(no genres listed)" among them */
    int32_t n_ranked_genres;
    struct genre_pair_fact *pairs; /* (n_pairs,) by count */
    int64_t n_pairs, n_pair_occurrences;
    int64_t *together; /* (n_genres, n_genres) movies with both; the diagonal: movies with that genre */
    struct votes_facts votes;
};

struct user_facts {
    int64_t n;
    struct votes_facts votes;
};

struct month_fact {
    int32_t year, month; /* month 1..12, UTC */
    int64_t n;
    double mean; /* stars; 0 when n is 0 */
};

struct rating_facts {
    struct spread spread;           /* stars */
    int64_t histogram[11];          /* [h] = ratings of h half stars; [0] is 0 */
    double density;                 /* ratings / (voters x rated movies); 0 without ratings */
    int64_t n_without_time;         /* whose source has no time: not in the months */
    uint32_t first_time, last_time; /* seconds since 1970; 0 where no rating has a time */
    struct month_fact *months;      /* (n_months,) from the first to the last without a gap */
    int64_t n_months;
};

struct explore_facts {
    struct arena arena;      /* owns every array and text */
    const char *source;      /* what was explored, as the caller named it */
    const char *fingerprint; /* of the dataset */
    struct movie_facts movies;
    struct user_facts users;
    struct rating_facts ratings;
};

/* Fills *out, which outlives the dataset. Texts are cleaned: what is no UTF-8 and control characters become
 * U+FFFD. Free with explore_facts_free, also after a failure. NO_MEMORY, CANCELLED. */
reel_status explore_facts_of(reel_context *ctx, const struct reel_dataset *dataset, const char *source,
                             struct explore_facts *out, reel_error *err);
void explore_facts_free(struct explore_facts *facts);

/* The three forms of a report, to free with reel_string_free; NULL when memory runs out. */
char *explore_text(const struct explore_facts *facts);
char *explore_json(const struct explore_facts *facts);
char *explore_html(const struct explore_facts *facts);

/* ---- what the three forms share ---- */

/* One step of a histogram of votes: from..to votes. */
struct vote_bin {
    int64_t from, to, count;
};
enum { VOTE_BINS = 64 };
/* Steps 1, 2, 3-4, 5-8, 9-16, ... up to the largest value; returns how many (none for an empty distribution). */
int explore_vote_bins(const struct distribution *votes, struct vote_bin bins[VOTE_BINS]);

#endif
