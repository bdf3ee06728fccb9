/* The passes over all ratings. */
#ifndef DATA_EXPLORE_RATINGS_H
#define DATA_EXPLORE_RATINGS_H

#include "data/explore_facts.h"

/* What one pass over the ratings by user and one by movie add up. */
struct rating_sums {
    int64_t *user_sums;  /* (n_users,) of half stars */
    int64_t *movie_sums; /* (n_movies,) of half stars */
    int64_t histogram[11];
    struct day_sum *days; /* (EXPLORE_DAYS,) by day since 1970 */
    int64_t n_without_time;
    uint32_t first_time, last_time; /* 0 where no rating has a time */
};

struct day_sum {
    int64_t n, sum; /* ratings, half stars */
};
enum { EXPLORE_DAYS = (int)(UINT32_MAX / 86400) + 1 };

/* Both passes, in parts that depend on the sizes alone. Free with rating_sums_free, also after a failure.
 * NO_MEMORY, CANCELLED. */
reel_status rating_sums_of(reel_context *ctx, const struct ratings *ratings, struct rating_sums *out, reel_error *err);
void rating_sums_free(struct rating_sums *sums);
/* Months from the first to the last with a rating; they live in `arena`. NO_MEMORY. */
reel_status months_of(const struct day_sum *days, struct arena *arena, struct rating_facts *out, reel_error *err);

#endif
