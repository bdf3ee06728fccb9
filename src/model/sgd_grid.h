/* The grid of blocks that SGD walks: the training ratings rearranged for the operator sgd_epoch.
 *
 * Users and movies get rows: users in a seeded random order, cut into user bands of about equal numbers of ratings;
 * movies dealt to movie bands likewise, popular movies first within a band. Users and movies without
 * ratings get no row. A band's users are cut further into tiles of consecutive rows; (tile of users) x (movie
 * band) is one struct sgd_tile; those of a band with one movie are marked. All of it depends on the ratings, the bands
 * and the seed alone. */
#ifndef MODEL_SGD_GRID_H
#define MODEL_SGD_GRID_H

#include "backend/sgd_ops.h"
#include "data/ratings.h"

enum { SGD_BANDS_MAX = 512 };

struct sgd_grid {
    int32_t n_user_bands, n_movie_bands;
    int32_t n_user_rows, n_movie_rows;
    int32_t *user_rows, *movie_rows; /* (n_users,), (n_movies,) row of an index, -1 = no ratings */
    int32_t *row_users, *row_movies; /* (rows,) the index of a row */
    int64_t n_tiles;
    int64_t *block_tiles;   /* (n_blocks + 1,) */
    struct sgd_tile *tiles; /* (n_tiles,) by block */
    uint32_t *entries;      /* (n_ratings + SGD_AHEAD,) by tile */
    int32_t *block_order;   /* (n_blocks,) by sgd_grid_shuffle */
    int32_t *tile_order;    /* (n_tiles,) by sgd_grid_shuffle */
};

/* Bands for n ratings when the user names none; on a device a band is a warp's work, so there are more. */
int sgd_grid_bands(int64_t n_ratings);
int sgd_grid_device_bands(int64_t n_ratings);
/* Zeroed first; freed by the caller also on failure. `bands` (1..SGD_BANDS_MAX) on both sides. */
reel_status sgd_grid_build(reel_context *ctx, const struct ratings *ratings, int bands, uint64_t seed,
                           struct sgd_grid *grid, reel_error *err);
void sgd_grid_free(struct sgd_grid *grid);
/* Orders blocks and tiles for one epoch. Blocks come in rounds: in each, every user band meets a different movie
 * band, so that n_bands blocks can run at once; bands and rounds are shuffled. */
void sgd_grid_shuffle(struct sgd_grid *grid, uint64_t seed, int epoch);

#endif
