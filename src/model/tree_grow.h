/* Growing one regression tree on the feature star: the exact splits of scikit-learn's depth-first builder, found level
 * by level.
 *
 * A split's gain is (n_right sum_left - n_left sum_right)^2 / (n_left n_right), Friedman's improvement (Greedy function
 * approximation, Annals of Statistics 2001, eq. 35), which orders splits as the drop of squared error does. Every gap
 * between neighbouring values in the node is a candidate, values less than 1e-7 apart count as one, the threshold is
 * the midpoint; of equal splits the first column's first one is taken. */
#ifndef MODEL_TREE_GROW_H
#define MODEL_TREE_GROW_H

#include "model/tree_pass.h"
#include "model/tree_search.h"

struct tree_node {
    int64_t sum, count; /* gradients, fixed point; ratings */
    int column;         /* -1 = leaf */
    int32_t rank;       /* rows whose rank is above go right */
    float threshold;    /* values above go right: the midpoint, rounded down to a float */
    double gain;
    int alive; /* 1: ratings end or pass here */
};

/* A tree as a heap: the children of node i are 2 i + 1 and 2 i + 2. */
struct tree {
    int depth; /* levels of splits */
    struct tree_node nodes[2 * TREE_LEAVES_MAX - 1];
};

struct tree_limits {
    int depth; /* 1..TREE_DEPTH_MAX */
    int64_t min_samples_split, min_samples_leaf;
    int max_features; /* columns that vary which a split looks at; all of them, or drawn anew for each node */
    uint64_t seed;    /* of these draws */
    uint32_t tree;    /* their sub-stream */
};

/* order (n,) = a permutation of 0..n-1 drawn for node `id` of tree `tree`. */
void tree_draw_columns(uint64_t seed, uint32_t tree, uint64_t id, int n, int *order);

/* Grows a tree on pass's gradients, with the splits that `search` finds in its sums. `pass` says whether the ratings
 * still have to take the leaves of the tree before (split_level and leaves, as tree_grow and the caller left them);
 * afterwards split_level is the last level with splits and the ratings are to be sent there by the next pass. */
reel_status tree_grow(reel_context *ctx, struct tree_pass *pass, struct tree_search *search,
                      const struct tree_limits *limits, struct tree *tree, reel_error *err);
/* The leaf of the heap in which ratings with number `node` below the last level end. */
int tree_leaf_of(const struct tree *tree, int node);

#endif
