#include "data/user_profiles.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

reel_status user_profiles_filter(const struct reel_dataset *dataset, int64_t min_ratings, int64_t max_ratings,
                                 int32_t **users, int32_t *n, reel_error *err) {
    const int64_t *offsets = dataset->ratings.user_offsets;
    *n = 0;
    TRY_RETURN(MEM_RAW(users, dataset->n_users, err));
    for (int32_t u = 0; u < dataset->n_users; u++) {
        int64_t count = offsets[u + 1] - offsets[u];
        if (count >= min_ratings && (max_ratings == 0 || count <= max_ratings)) (*users)[(*n)++] = u;
    }
    return REEL_OK;
}

void user_profile_genre_sums(const struct reel_dataset *dataset, int32_t user, double *out) {
    const struct ratings *ratings = &dataset->ratings;
    memset(out, 0, sizeof *out * (size_t)dataset->n_genres);
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++)
        for (uint64_t bits = dataset->movie_genres[ratings->user_movies[i]]; bits; bits &= bits - 1)
            out[__builtin_ctzll(bits)] += 1;
}

void user_profile_genre_means(const struct reel_dataset *dataset, int32_t user, double *out) {
    const struct ratings *ratings = &dataset->ratings;
    double sums[64] = {0}, counts[64] = {0}, sum = 0;
    int64_t begin = ratings->user_offsets[user], end = ratings->user_offsets[user + 1];
    for (int64_t i = begin; i < end; i++) {
        double stars = 0.5 * ratings->user_ratings[i];
        sum += stars;
        for (uint64_t bits = dataset->movie_genres[ratings->user_movies[i]]; bits; bits &= bits - 1) {
            sums[__builtin_ctzll(bits)] += stars;
            counts[__builtin_ctzll(bits)] += 1;
        }
    }
    double mean = end > begin ? sum / (double)(end - begin) : 0;
    for (int g = 0; g < dataset->n_genres; g++) out[g] = counts[g] > 0 ? sums[g] / counts[g] : mean;
}
