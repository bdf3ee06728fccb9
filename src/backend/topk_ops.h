/* Scoring with factor models in bulk: score(u, m) = <p_u, q_m> + ((mean + user bias) + movie bias).
 *
 * The dot product is one chain over f = 0..k-1, started at zero, for each pair on its own: wherever a pair
 * sits in a tile, whichever thread computes it, and in score_movies and topk_users its score has the same bits. That
 * is what makes the top n of many users equal the top n of one user exactly. (Chains are of fused
 * multiply-adds where the processor has them, of separate ones in the plain loops.)
 *
 * Pointers marked (dev) lie where the backend's operators can read them, all others in plain memory of the host. */
#ifndef BACKEND_TOPK_OPS_H
#define BACKEND_TOPK_OPS_H

#include <stdint.h>

enum {
    TOPK_PANEL = 32,         /* movies a panel: two AVX-512 registers */
    TOPK_DEVICE_N_MAX = 2048 /* the longest list that a device makes */
};

/* The movie side, packed once for any number of calls. A position is a place in the packed order; what the
 * order is only matters for speed: likely winners first. */
struct factor_panels {
    int32_t n_movies;
    int k;                    /* factors, >= 0 */
    int64_t n_panels;         /* ceil(n_movies / TOPK_PANEL) */
    const float *factors;     /* (dev) (n_panels, k, TOPK_PANEL), 0 in the padding */
    const float *bias;        /* (dev) (n_panels * TOPK_PANEL,), 0 in the padding */
    const int32_t *movies;    /* (dev) (n_panels * TOPK_PANEL,) movie at a position, -1 in the padding */
    const int32_t *positions; /* (dev) (n_movies,) position of a movie */
};

/* score_movies: one user's scores for all movies. Works on the calling thread alone; may be called from
 * several threads at the same time. */
struct score_movies_args {
    const struct factor_panels *panels;
    const float *factors; /* (k,) the user's */
    float base;           /* mean + user bias */
    float *scores;        /* (n_movies,) by movie */
};

/* topk_users: the n best unseen movies of many users, by score descending, then movie ascending. Waits. */
struct topk_users_args {
    const struct factor_panels *panels;
    int64_t n_users;
    const int32_t *rows;       /* (n_users,) rows of the two arrays below, -1 = unknown: zeros */
    const float *user_factors; /* (dev) (*, stride) */
    int64_t stride;
    const float *user_bias; /* (dev) (*,) */
    float mean;
    const int32_t *seen_rows;    /* (n_users,) rows of the CSR below */
    const int64_t *seen_offsets; /* (dev) NULL = nobody has seen anything */
    const int32_t *seen_movies;  /* (dev) movies to leave out */
    const uint8_t *candidates;   /* (n_movies,) 1 = allowed; NULL = all */
    int n;                       /* >= 1 */
    int32_t *movies;             /* (n_users, n) out, -1 past the end */
    float *scores;               /* (n_users, n) out, NaN past the end */
};

/* predict_pairs: scores of (user, movie) pairs, ((mean + user bias) + movie bias) + <p_u, q_m>; an index of -1 drops
 * its side's terms. The product is dot_floats (kernels/common/dot.h), sixteen running sums that are neither fused nor
 * reordered, as in a model's own predict, so that every path has its bits; the operators above differ from it in the
 * last places. (pair_scores of backend/gibbs_ops.h is for vectors while they are fitted: biases inside, all on the
 * device.) Works on the calling thread alone, likewise; a device takes one call at a time, and waits. */
struct predict_pairs_args {
    int k;
    int64_t stride;
    float mean;
    const float *user_factors, *movie_factors; /* (dev) (*, stride) */
    const float *user_bias, *movie_bias;       /* (dev) (*,) */
    int64_t n;
    const int32_t *users, *movies; /* (n,) rows of the arrays above, in range or -1 */
    float *scores;                 /* (n,) out */
};

#endif
