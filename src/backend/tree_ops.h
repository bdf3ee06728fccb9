/* Operators on regression trees over the feature star.
 *
 * Growing. All that a split search wants to know of the ratings is sums of their residuals by (user, node), (movie,
 * node) and (calendar row, node): tree_sums makes them in one pass a level, fixed point, 2^26 a star. Ratings lie in
 * runs of one user and one kind of calendar row, so that only the movie differs from rating to rating. A rating's way
 * down is a byte: user_bits | movie_bits | kind_bits, bit 0 = right at the root, bits 1 and 2 = right at the nodes of
 * level 1, bits 3 to 6 = those of level 2. tree_splits finds each column's best split of each node in these sums, the
 * trainer picks one a node, and tree_bits writes what goes right there. Sums are of integers and gains are the same
 * operations on the same numbers: every path gives the same bits.
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

#include <stddef.h>
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
    int32_t n_cells;            /* group_cells[G] */
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

/* forest_pairs: scores of (user, movie, hour) rows. Works on the calling thread alone, likewise; a device takes one
 * call at a time. */
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
    const int64_t *seen_offsets; /* (dev) NULL = nobody has seen anything */
    const int32_t *seen_movies;  /* (dev) movies to leave out */
    const uint8_t *candidates;   /* (M,) 1 = allowed; NULL = all */
    int n;                       /* >= 1; on a device at most TOPK_DEVICE_N_MAX (backend/topk_ops.h) */
    int32_t *movies;             /* (n_users, n) out, -1 past the end */
    float *scores;               /* (n_users, n) out, NaN past the end */
};

/* What a sum is multiplied by to be stars; exact. */
static inline float forest_scale(const struct forest_plan *plan) {
    return 1.0f / (float)(INT64_C(1) << plan->shift);
}

struct tree_total {
    int64_t sum, count; /* of residuals; of ratings */
};

/* Splits of three levels at most, so depths 1 to 3. */
enum { TREE_BITS = 7, TREE_PATHS = 1 << TREE_BITS, TREE_RUN_MAX = 1 << 11 };

/* Runs of ratings; the same for all passes of a fit. N ratings, R runs, K kinds of calendar rows. */
struct tree_runs {
    int32_t n_users, n_movies, n_kinds;
    int64_t n_ratings, n_runs;
    const int64_t *begins; /* (dev) (R + 1,) ratings begins[r] .. begins[r+1]-1, at most TREE_RUN_MAX of them */
    const int32_t *users;  /* (dev) (R,) ascending */
    const uint8_t *kinds;  /* (dev) (R,) */
    const int32_t *movies; /* (dev) (N,) no movie twice with one owner */
    /* (dev) (U,) ascending: who rates as several users, in 0..n_owners-1; NULL = each user is one */
    const int32_t *owners;
    int32_t n_owners;     /* with owners */
    int64_t n_parts;      /* how the work is cut: by users, about as many ratings each */
    const int64_t *parts; /* (n_parts + 1,) first run of a part, on the host; no user is in two */
};

/* Words of scratch a thread. */
static inline int64_t tree_sums_room(const struct tree_runs *runs) {
    return 3 * 2 * (int64_t)runs->n_movies + 2 * 4 * runs->n_kinds;
}

/* A sum and a count share a word of 64 bits, the count from bit 47 on: an owner rates a movie once, and the residuals
 * of 2^14 of them, below 2^31 each, stay below 2^46. */
enum { TREE_COUNT_AT = 47, TREE_SEGMENT_BITS = 14 };

/* The ratings once more, movie by movie, on devices that want them so. */
enum { TREE_PIECE_MAX = 1 << 11 };

struct tree_piece { /* of one movie's ratings */
    int64_t begin;
    int32_t movie, n; /* 1 <= n <= TREE_PIECE_MAX */
};

struct tree_by_movie {
    int64_t n_pieces;
    struct tree_piece *pieces; /* (dev) (tree_pieces_most(),) */
    int32_t *runs;             /* (dev) (N,) a rating's run */
    int32_t *residuals;        /* (dev) (N,) kept up to date by tree_sums */
};

static inline int64_t tree_pieces_most(const struct tree_runs *runs) {
    return runs->n_movies + runs->n_ratings / TREE_PIECE_MAX;
}

/* Bytes of a device's arrays above, and of its working memory. */
static inline size_t tree_sums_device_bytes(const struct tree_runs *runs) {
    return (size_t)runs->n_ratings * 2 * sizeof(int32_t) + (size_t)tree_pieces_most(runs) * sizeof(struct tree_piece) +
           (size_t)runs->n_runs + (size_t)runs->n_movies * sizeof(int64_t);
}

/* tree_order: makes that order, of a movie's ratings any. NULL where tree_sums goes by the runs alone. Waits. */
struct tree_order_args {
    const struct tree_runs *runs;
    const int32_t *residuals; /* (dev) (N,) in the order of the runs */
    struct tree_by_movie *out;
};

/* tree_sums: one pass. Waits where leaves are given. */
struct tree_sums_args {
    const struct tree_runs *runs;
    int32_t *residuals;                   /* (dev) (N,) in the order of the runs */
    const struct tree_by_movie *by_movie; /* NULL where there is no tree_order */
    const uint8_t *user_bits;             /* (dev) (U,) */
    const uint8_t *movie_bits;            /* (dev) (M,) */
    const uint8_t *kind_bits;             /* (dev) (K,) */
    const int32_t *leaves;     /* (dev) (TREE_PATHS,) by a rating's byte: taken off its residual first; NULL = none */
    int level;                 /* 0..2: nodes 0 .. (1 << level) - 1 are told apart by the bits of the levels above */
    struct tree_total *users;  /* (dev) (U, 1 << level) out */
    struct tree_total *movies; /* (dev) (M, 1 << level) out */
    const struct tree_total *above; /* (dev) (M, 1 << (level - 1)) movies' sums of the level above, elsewhere than
                                       `movies`; NULL at level 0 */
    struct tree_total *kinds;       /* (dev) (K, 1 << level) out */
    uint64_t *scratch;              /* (threads of the pool, tree_sums_room) on the host */
    uint64_t squares[2];            /* out with leaves: sum of squared residuals, lower and upper word; else 0 */
    uint32_t reach;                 /* out with leaves: residuals lie in -reach - 1 .. reach; at most twice too large */
};

enum { TREE_NODES_MAX = 128 }; /* of a level that tree_splits takes */

/* A column as the search wants it; the same for all searches of a fit. R rows of its table, V distinct values. */
struct tree_split_column {
    int table; /* 0..FOREST_TABLES-1 */
    int32_t n_rows, n_values;
    const float *values;   /* (dev) (V,) ascending, distinct, finite */
    const int32_t *ranks;  /* (dev) (R,) index into values */
    const int32_t *order;  /* (dev) (R,) rows by rank, then by number */
    const int32_t *starts; /* (dev) (V + 1,) rows of value v: order[starts[v]] .. order[starts[v+1]-1]; may be none */
    int32_t common;        /* the value of more than half of the rows; -1 = none */
};

/* The best split of a node on a column: rows of ranks up to `rank` go left. Without one gain is -1 and all but
 * `varies` is 0. */
struct tree_candidate {
    double gain;                  /* (n sum_left - n_left sum)^2 / (n_left n_right), >= 0 */
    int64_t left_sum, left_count; /* of the ratings that go left */
    int32_t rank, next;           /* the values of the node that the threshold lies between */
    int32_t varies;               /* 1: the node has values that are apart */
};

/* tree_splits: the best split of each open node on each column. Candidates are the gaps between neighbouring values
 * that occur in the node and are apart: the upper one is above (float)(the lower one + 1e-7f). Of equal gains the
 * first counts. The gain is computed in double as
 *
 *   difference = n * sum_left - n_left * sum;  gain = difference * difference / (n_left * n_right)
 *
 * with every integer converted first and every operation rounded. Waits. */
struct tree_splits_args {
    int n_columns;                                /* at most FOREST_COLUMNS_MAX */
    const struct tree_split_column *columns;      /* (n_columns,) on the host, with (dev) arrays */
    int n_nodes;                                  /* 1..TREE_NODES_MAX */
    const struct tree_total *sums[FOREST_TABLES]; /* (dev) (rows of the table, n_nodes); each table's add up to the
                                                     totals of the open nodes */
    const struct tree_total *totals;              /* (n_nodes,) on the host */
    const uint8_t *open;                          /* (n_nodes,) on the host, 1 = may be split */
    int64_t min_leaf;                             /* ratings on each side at least; >= 1 */
    struct tree_candidate *best;                  /* (n_columns, n_nodes) out, on the host */
};

/* A split of a level that was chosen. */
struct tree_choice {
    int table;            /* -1 = the node is not split */
    const int32_t *ranks; /* (dev) (rows of the table,) of its column */
    int32_t rank;         /* ranks above it go right */
};

/* tree_bits: puts the splits of a level among the bits that tree_sums reads. Those of level 0 begin a tree: bits left
 * of an earlier one are dropped. */
struct tree_bits_args {
    int level;                        /* 0..2 */
    const struct tree_choice *splits; /* (1 << level,) on the host */
    int32_t n_rows[FOREST_TABLES];    /* U, M, K */
    uint8_t *bits[FOREST_TABLES];     /* (dev) (rows,) in and out */
};

#endif
