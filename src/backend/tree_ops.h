/* Operators on regression trees over the feature star.
 *
 * Scoring. A tree's decisions are on columns of the user, of the movie, or of the hour. The movies' ones are known
 * beforehand and are few: in a tree of depth 3 they tell at most 16 kinds of movies apart. So the trees are put into
 * groups, each of which sees the movies as some `cells` (at most 64 in a small group), and a movie's cell is stored.
 * For one user and hour a group becomes a table with a value a cell, and a score is a sum of look-ups, one a group:
 *
 *   table[g][c] = sum over the leaves l of the group's trees that the user and hour leave open of
 *                 value[l] if cell c is in the leaf's cell set
 *   score(m)    = (float)(base + sum over g of table[g][code[g][m]]) * 2^-shift
 *
 * Leaves are fixed point and sums are integers below 2^31 (struct forest_plan says why), so that every path gives the
 * same bits: look-ups, walks, any order, any device. The conversion rounds to nearest.
 *
 * Arrays of a plan marked (dev) lie where the backend's operators can read them; all other pointers are to plain
 * memory of the host. The operators wait. */
#ifndef BACKEND_TREE_OPS_H
#define BACKEND_TREE_OPS_H

#include <stdint.h>

struct tree_step; /* kernels/common/tree_walk.h */

enum {
    FOREST_TABLES = 3,        /* parts of a row: columns of the user, of the movie, of the hour */
    FOREST_COLUMNS_MAX = 128, /* of a row */
    FOREST_BLOCK = 256,       /* movies are padded to whole blocks */
    FOREST_SMALL_CELLS = 64,  /* cells of a small group: a table of 16-bit words that two AVX-512 registers hold */
    FOREST_LEAVES_MAX = 256,  /* of a tree in a plan */
    FOREST_STACK = 256        /* open nodes of a walk that takes both ways at decisions on the movie */
};

/* A forest prepared for scoring. U users, M movies, T trees, G groups, L leaves in all. */
struct forest_plan {
    int32_t n_users, n_movies;
    int32_t n_columns[FOREST_TABLES];
    /* (dev) (U + 1, n_columns[0]), (M + 1, n_columns[1]), (169, n_columns[2]); last rows: unknown */
    const float *rows[FOREST_TABLES];
    /* |base| + the largest |value| of each tree, summed, is below 2^31. */
    int32_t base; /* added to every sum */
    int shift;    /* 2^shift a star */
    int32_t n_trees, n_nodes, n_leaves;
    const struct tree_step *nodes; /* (dev) (n_nodes,) children behind their parents, no tree of more than
                                      FOREST_LEAVES_MAX leaves */
    const int32_t *roots;          /* (dev) (T,) the trees of a group lie together */
    /* Groups 0 .. n_small-1 have FOREST_SMALL_CELLS cells each; what they add to a score together is below 2^27, so
     * that its upper part (>> 12) fits 16 bits. */
    int32_t n_groups, n_small;
    const int32_t *group_trees; /* (dev) (G + 1,) trees group_trees[g] .. group_trees[g+1]-1 */
    const int32_t *group_cells; /* (dev) (G + 1,) offset of a group's cells among all; multiples of 64 */
    const uint16_t *codes;      /* (dev) (G, padded) a movie's cell within the group; 0 in the padding */
    int64_t padded;             /* M up to a multiple of FOREST_BLOCK */
    const int64_t *leaf_sets;   /* (dev) (L + 1,) offset of a leaf's cell set */
    const uint64_t *cell_sets;  /* (dev) (leaf_sets[L],) a bit a cell of the leaf's group */
};

/* forest_movies: scores of all movies for users given by their columns (a visitor has columns, but no number). Works
 * on the calling thread alone; may be called from several threads at the same time. */
struct forest_movies_args {
    const struct forest_plan *plan;
    int n_users;              /* a tile: 1 .. about 16 */
    const float *user_values; /* (n_users, n_columns[0]) */
    const int32_t *hours;     /* (n_users,) rows of the hours' table */
    float *scores;            /* (n_users, M) out, stars */
};

/* forest_pairs: scores of (user, movie, hour) rows. Works on the calling thread alone, likewise. */
struct forest_pairs_args {
    const struct forest_plan *plan;
    int64_t n;
    const int32_t *users, *movies, *hours; /* (n,) rows of the plan's tables, in range */
    float *scores;                         /* (n,) out, stars */
};

/* forest_topk: the n best unseen movies of many users, by score descending, then movie ascending. Runs on the
 * backend's thread pool. */
struct forest_topk_args {
    const struct forest_plan *plan;
    int64_t n_users;
    const int32_t *users;        /* (n_users,) rows of the plan's user table; n_users of the plan = unknown */
    int32_t hour;                /* the same for all */
    const int32_t *seen_rows;    /* (n_users,) rows of the CSR below */
    const int64_t *seen_offsets; /* NULL = nobody has seen anything */
    const int32_t *seen_movies;  /* movies to leave out */
    const uint8_t *candidates;   /* (M,) 1 = allowed; NULL = all */
    int n;                       /* >= 1 */
    int32_t *movies;             /* (n_users, n) out, -1 past the end */
    float *scores;               /* (n_users, n) out, NaN past the end */
};

#endif
