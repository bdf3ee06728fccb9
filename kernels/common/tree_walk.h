/* Walking a regression tree, the same on host and device. */
#ifndef KERNELS_COMMON_TREE_WALK_H
#define KERNELS_COMMON_TREE_WALK_H

#include <stdint.h>
#include "kernels/common/philox.h"

/* One node. A row is what a (user, movie, hour) triple has in all columns. */
struct tree_step {
    int32_t column;      /* of the row, -1 = leaf */
    float threshold;     /* values above go right */
    int32_t left, right; /* nodes; in a leaf: what it adds, fixed point, and its number among the forest's leaves */
};

/* The leaf that a row reaches from node `at`; its columns lie `stride` floats apart. */
static inline REEL_HOST_DEVICE const struct tree_step *tree_walk_strided(const struct tree_step *nodes, int32_t at,
                                                                         const float *row, int stride) {
    const struct tree_step *node = nodes + at;
    while (node->column >= 0) node = nodes + (row[node->column * stride] > node->threshold ? node->right : node->left);
    return node;
}

static inline REEL_HOST_DEVICE const struct tree_step *tree_walk(const struct tree_step *nodes, int32_t at,
                                                                 const float *row) {
    return tree_walk_strided(nodes, at, row, 1);
}

#endif
