/* The fingerprint of a dataset: XXH3-128 over ids, offsets, movies, ratings and times, as 32 hex digits. */
#ifndef DATA_FINGERPRINT_H
#define DATA_FINGERPRINT_H

#include <stdint.h>
#include <reel/status.h>

struct ratings;

/* Of the by-user order of `ratings` (with times) and the ids of its users and movies. NO_MEMORY. */
reel_status dataset_fingerprint(const struct ratings *ratings, const int32_t *user_ids, const int32_t *movie_ids,
                                char out[33], reel_error *err);

#endif
