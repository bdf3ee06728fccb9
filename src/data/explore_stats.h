/* Order-independent statistics of counted and of sorted values, and rankings of a few. */
#ifndef DATA_EXPLORE_STATS_H
#define DATA_EXPLORE_STATS_H

#include "data/explore_facts.h"

/* Of ascending, distinct values (n,) times `scale`, each met `count` > 0 times. */
struct spread spread_of_counts(const struct value_count *values, int64_t n, double scale);
/* Of n numbers, which it sorts. */
struct spread spread_of_numbers(double *numbers, int64_t n);
/* Counts the n values, which it sorts; the result lives in `arena`. NO_MEMORY. */
reel_status distribution_of(int64_t *values, int64_t n, struct arena *arena, struct distribution *out, reel_error *err);
/* Fills the votes section from one row a user or a movie: sums (n,) of half stars over `offsets` (n + 1,) of
 * ratings, ids (n,), titles may be NULL (users). Rows without votes are left out. The titles in the rankings
 * are the caller's. NO_MEMORY. */
struct votes_source {
    int32_t n;
    const int32_t *ids; /* ascending */
    const int64_t *offsets, *sums;
    const struct text_column *titles;
};
reel_status votes_facts_of(const struct votes_source *source, struct arena *arena, struct votes_facts *out,
                           reel_error *err);

#endif
