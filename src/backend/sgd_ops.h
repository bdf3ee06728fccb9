/* Arguments of the operator `sgd_epoch`: one epoch of biased matrix factorization by SGD over a grid of
 * user bands x movie bands.
 *
 * What the epoch means is what this sequential program does, and every implementation gives its very bits:
 *
 *   for each block of block_order, for each tile of the block in tile_order, for each entry of the tile: visit it
 *
 * Blocks that share no band commute; those that share one keep their order. A tile's entries are best
 * arranged so that neighbours have different users and movies: then their visits overlap in the processor.
 *
 * A visit of rating r by p (user row) and q (movie row):
 *   error = value[r] - dot(p, q)
 *   p'[l] = fma(error * user_step[l],  q[l], user_keep[l]  * p[l])
 *   q'[l] = fma(error * movie_step[l], p[l], movie_keep[l] * q[l])
 * with p, q the values before the visit. The biases are two lanes more: (bias, 1) in a user row meets (1, bias) in
 * a movie row; the lanes that hold 1 have step 0 and keep 1, padding is 0.
 *
 * A tile of one movie (struct sgd_tile) is taken SGD_GROUP consecutive visits at a time, as long as so many are
 * left, then visit by visit. Its users are all different, because a user rates a movie once (data/ratings.h). The
 * visits v of a group meet the q before all of them, so that one in SGD_GROUP waits for another:
 *   error_v = value[r_v] - dot(p_v, q)
 *   p_v'[l] = fma(error_v * user_step[l], q[l], user_keep[l] * p_v[l])
 *   q'[l]   = ((k * k) * (k * k)) * q[l] with k = movie_keep[l], then for v = 0, 1, ...
 *   q'[l]   = fma(error_v * movie_step[l], p_v[l], q'[l])
 * For the movie that is a mini-batch step with the sum of the gradients (O. Dekel et al., Optimal Distributed Online
 * Prediction Using Mini-Batches, JMLR 13, 2012), regularized as often as visit by visit.
 *
 * Pointers without (dev) are to plain memory of the host. Waits; meanwhile the caller can prepare the next epoch.
 *
 * dot in SGD_LANES partial sums, with V = stride / SGD_LANES vectors p_v, q_v:
 *   even = p_0 q_0, then fma over v = 2, 4, ...; odd = p_1 q_1, then fma over v = 3, 5, ... (0 when V = 1)
 *   s = even + odd by lane; then s[l] + s[l + 8], s[l] + s[l + 4], s[l] + s[l + 2], s[0] + s[1]. */
#ifndef BACKEND_SGD_OPS_H
#define BACKEND_SGD_OPS_H

#include <stdint.h>

enum {
    SGD_LANES = 16,
    SGD_VALUES = 16,
    SGD_GROUP = 4,
    SGD_STRIDE_MAX = 1040, /* floats a row: 1024 factors and the bias lanes */
    SGD_AHEAD = 32         /* entries that may be read, not used, past the last */
};

/* An entry packs one rating: user row - tile's user_begin, movie row - tile's movie_begin, half stars (1..10). */
enum { SGD_TILE_USERS = 1 << 10, SGD_TILE_MOVIES = 1 << 18 };
static inline uint32_t sgd_entry(int32_t user, int32_t movie, int half_stars) {
    return (uint32_t)user << 22 | (uint32_t)movie << 4 | (uint32_t)half_stars;
}
static inline int32_t sgd_entry_user(uint32_t entry) {
    return (int32_t)(entry >> 22);
}
static inline int32_t sgd_entry_movie(uint32_t entry) {
    return (int32_t)(entry >> 4 & (SGD_TILE_MOVIES - 1));
}
static inline int sgd_entry_value(uint32_t entry) {
    return (int)(entry & 15);
}

/* A piece of a block: the ratings of up to SGD_TILE_USERS neighbouring user rows. */
struct sgd_tile {
    int64_t entry_begin;
    int32_t n_entries, user_begin, movie_begin;
    int32_t one_movie; /* 1: the block's movie band is the row movie_begin alone */
};

struct sgd_epoch_args {
    int32_t n_user_bands, n_movie_bands;
    int64_t n_tiles;
    const int32_t *block_order; /* (n_user_bands * n_movie_bands,) host; block = user_band * n_movie_bands + movie_band;
                                   every block once */
    const int64_t *block_tiles; /* (n_blocks + 1,) (dev) block b's tiles are block_tiles[b] .. block_tiles[b+1]-1 */
    const int32_t *tile_order;  /* (n_tiles,) host; within each block's range a permutation of it */
    const struct sgd_tile *tiles;         /* (n_tiles,) (dev) */
    const uint32_t *entries;              /* (n_ratings + SGD_AHEAD,) (dev), the rest 0 */
    int stride;                           /* floats a row, a multiple of SGD_LANES */
    float *users, *movies;                /* (rows, stride) (dev), aligned to 64 bytes */
    const float *value;                   /* (SGD_VALUES,) stars minus mean by half stars */
    const float *user_step, *user_keep;   /* (stride,) learning rate; 1 - learning rate * regularization. All */
    const float *movie_step, *movie_keep; /* lanes before the last SGD_LANES share one value */
    double *block_squared;                /* (n_blocks,) out: sum of squared errors before their visits */
    int (*stop)(const void *arg);         /* asked before each block from any thread, or once before the launch on a
                                             device; 1 ends the call with CANCELLED */
    const void *stop_arg;
    void (*meanwhile)(void *arg); /* NULL or called once, by this thread, when an epoch is on its way that will not
                                     read block_order and tile_order again: it may change them */
    void *meanwhile_arg;
};

#endif
