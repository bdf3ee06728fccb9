#include "data/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "core/error.h"
#include "data/ratings.h"

reel_status dataset_fingerprint(const struct ratings *ratings, const int32_t *user_ids, const int32_t *movie_ids,
                                char out[33], reel_error *err) {
    const size_t n = (size_t)ratings->n_ratings, users = (size_t)ratings->n_users, movies = (size_t)ratings->n_movies;
    XXH3_state_t *state = XXH3_createState();
    if (!state) return error_set(err, REEL_NO_MEMORY, "out of memory for a hash state");
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, user_ids, users * sizeof(int32_t));
    XXH3_128bits_update(state, movie_ids, movies * sizeof(int32_t));
    XXH3_128bits_update(state, ratings->user_offsets, (users + 1) * sizeof(int64_t));
    XXH3_128bits_update(state, ratings->user_movies, n * sizeof(int32_t));
    XXH3_128bits_update(state, ratings->user_ratings, n);
    XXH3_128bits_update(state, ratings->user_times, n * sizeof(uint32_t));
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, (uint64_t)hash.high64, (uint64_t)hash.low64);
    return REEL_OK;
}
