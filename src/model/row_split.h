/* The best split of a node of a deep tree, from sums of its ratings: what row_top.h and row_lists.h share. The splits
 * are scikit-learn's exact ones, as in tree_grow.h, but of equal ones a random one is taken, as there. */
#ifndef MODEL_ROW_SPLIT_H
#define MODEL_ROW_SPLIT_H

#include "model/row_tree.h"

/* Sums of ratings: {half stars of all copies, copies << 32 | ratings}. */
static inline tree_sum row_sum(int64_t copies, uint8_t half_stars) {
    return (tree_sum){copies * half_stars, copies << 32 | (copies > 0)};
}
static inline int64_t row_copies(tree_sum sum) {
    return sum[1] >> 32;
}
static inline int64_t row_ratings(tree_sum sum) {
    return sum[1] & 0xffffffff;
}

struct row_split {
    double gain; /* -1 = none */
    tree_sum left;
    int32_t rank; /* ranks above go right */
    float threshold;
    int varies; /* the column has more than one value here */
};

/* A walk over a column's values in order. */
struct row_scan {
    const struct tree_column *column;
    tree_sum total, left;
    int32_t previous; /* value, -1 = none yet */
    int64_t min_leaf;
};

/* Between the values before and `value`, whose ratings sum up to `sum`. */
static inline void row_scan_value(struct row_scan *scan, int32_t value, tree_sum sum, struct row_split *best) {
    const float *values = scan->column->values;
    if (scan->previous >= 0 && values[value] > values[scan->previous] + 1e-7f) {
        best->varies = 1;
        tree_sum right = scan->total - scan->left;
        if (row_ratings(scan->left) >= scan->min_leaf && row_ratings(right) >= scan->min_leaf) {
            double n_left = (double)row_copies(scan->left), n_right = (double)row_copies(right);
            double difference = n_right * (double)scan->left[0] - n_left * (double)right[0];
            double gain = difference * difference / (n_left * n_right);
            if (gain > best->gain) {
                best->gain = gain;
                best->left = scan->left;
                best->rank = scan->previous;
                best->threshold = tree_threshold(values[scan->previous], values[value]);
            }
        }
    }
    scan->left += sum;
    scan->previous = value;
}

/* A node as it waits to be grown. */
struct row_part {
    int64_t begin, end; /* its records, once they lie together */
    int depth;
    uint64_t id;    /* names the node, whatever the order of growing; the root's is 1 */
    tree_sum total; /* of its ratings */
    int32_t at;     /* its index among the tree's nodes */
};

/* 1 unless a limit makes the node a leaf. */
int row_may_split(const struct row_limits *limits, const struct row_part *part);
struct forest_node row_leaf(tree_sum total);
/* Splits node `part` of the tree by `column` and adds its children, leaves so far; their totals, ids and indices, not
 * their records, go into children[0] (left) and [1]. */
reel_status row_split_node(struct row_tree *tree, const struct row_part *part, int column,
                           const struct row_split *split, struct row_part *children, reel_error *err);

#endif
