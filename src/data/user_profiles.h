/* User profiles for clustering: one row a user, one column a genre. */
#ifndef DATA_USER_PROFILES_H
#define DATA_USER_PROFILES_H

#include "data/dataset.h"

/* Users with min <= ratings <= max (max 0 = no bound): *users (n,) ascending indices, malloc'd by mem_alloc. */
reel_status user_profiles_filter(const struct reel_dataset *dataset, int64_t min_ratings, int64_t max_ratings,
                                 int32_t **users, int32_t *n, reel_error *err);
/* out (n_genres,): how many of the user's ratings are of movies of each genre. */
void user_profile_genre_sums(const struct reel_dataset *dataset, int32_t user, double *out);
/* out (n_genres,): the user's mean stars of each genre, the user's overall mean where there is no rating (0 for a
 * user without ratings). */
void user_profile_genre_means(const struct reel_dataset *dataset, int32_t user, double *out);

#endif
