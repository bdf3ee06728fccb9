/* The order of users and movies in the grid of SGD, and its bands. */
#ifndef MODEL_SGD_ROWS_H
#define MODEL_SGD_ROWS_H

#include "data/ratings.h"
#include "kernels/common/philox.h"

/* Users or movies: their rows, and the bands of rows. */
struct sgd_side {
    int32_t n, n_rows, n_bands;
    int64_t *counts;      /* (n,) ratings of each index */
    int64_t *row_counts;  /* (n,) of each row */
    int32_t *rows;        /* (n,) row of an index, -1 = no ratings */
    int32_t *indices;     /* (n,) index of a row */
    int32_t *band_begins; /* (n_bands + 1,) rows */
};

/* Zeroed arrays; freed by the caller also on failure. */
reel_status sgd_side_new(struct sgd_side *side, int32_t n, int32_t n_bands, reel_error *err);
void sgd_side_free(struct sgd_side *side);
/* Fills both sides: users in a seeded random order, cut into bands of about equal numbers of ratings; movies by falling
 * number of ratings, each dealt to the band that has the fewest, then band after band. */
reel_status sgd_rows_order(const struct ratings *ratings, uint64_t seed, struct sgd_side *users,
                           struct sgd_side *movies, reel_error *err);
/* A seeded permutation of n numbers in place (Fisher and Yates). */
void sgd_shuffle(int32_t *numbers, int32_t n, uint64_t seed, enum philox_stream purpose, uint32_t sub);

#endif
