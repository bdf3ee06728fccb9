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

/* Bits 0..7 as the bytes of a word, each 0 or 1: a product lays the low seven bits down every seven places, and of
 * copy i bit i falls on byte i, no other bit of any copy on a byte's lowest place. */
static inline uint64_t bytes_of(uint64_t bits) {
    return ((bits & 0x7f) * 0x2040810204081 & 0x101010101010101) | (bits & 0x80) << 49;
}

enum { WORDS_MAX = 8, BYTE_MAX = 255 };

/* counts (words,): a byte a genre, of at most BYTE_MAX ratings. Without branches, which the genres of one movie after
 * the other would mislead. `words` is a constant where this is called. */
static inline __attribute__((always_inline)) void count_genres(const uint64_t *genres, const int32_t *movies, int64_t n,
                                                               const int words, uint64_t *counts) {
    for (int64_t i = 0; i < n; i++) {
        const uint64_t bits = genres[movies[i]];
        for (int w = 0; w < words; w++) counts[w] += bytes_of(bits >> 8 * w);
    }
}

void user_profile_genre_sums(const struct reel_dataset *dataset, int32_t user, double *out) {
    const struct ratings *ratings = &dataset->ratings;
    const int64_t end = ratings->user_offsets[user + 1];
    memset(out, 0, sizeof *out * (size_t)dataset->n_genres);
    for (int64_t begin = ratings->user_offsets[user]; begin < end; begin += BYTE_MAX) {
        const int64_t n = end - begin < BYTE_MAX ? end - begin : BYTE_MAX;
        uint64_t counts[WORDS_MAX] = {0};
        if (dataset->n_genres <= 24)
            count_genres(dataset->movie_genres, ratings->user_movies + begin, n, 3, counts);
        else
            count_genres(dataset->movie_genres, ratings->user_movies + begin, n, WORDS_MAX, counts);
        for (int g = 0; g < dataset->n_genres; g++) out[g] += (double)(counts[g / 8] >> 8 * (g % 8) & 0xff);
    }
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
