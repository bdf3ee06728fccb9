#include "model/row_split.h"

#include "core/error.h"

int row_may_split(const struct row_limits *limits, const struct row_part *part) {
    int64_t n = row_ratings(part->total);
    return part->depth < limits->depth && n >= limits->min_samples_split && n / 2 >= limits->min_samples_leaf;
}

struct forest_node row_leaf(tree_sum total) {
    return (struct forest_node){-1, 0, 0, (float)(0.5 * (double)total[0] / (double)row_copies(total))};
}

/* Mixes the path into a number (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
 * 2014: the finaliser of SplitMix64). */
static uint64_t child_id(uint64_t id, int right) {
    uint64_t z = id + (right ? 0x9e3779b97f4a7c15u : 0x3c6ef372fe94f82au);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

reel_status row_split_node(struct row_tree *tree, const struct row_part *part, int column,
                           const struct row_split *split, struct row_part *children, reel_error *err) {
    struct forest_builder *nodes = &tree->nodes;
    for (int right = 0; right < 2; right++) {
        children[right] = (struct row_part){.depth = part->depth + 1,
                                            .id = child_id(part->id, right),
                                            .total = right ? part->total - split->left : split->left};
        TRY_RETURN(forest_add_node(nodes, row_leaf(children[right].total), &children[right].at, err));
    }
    nodes->nodes[part->at] = (struct forest_node){column, children[0].at, children[1].at, split->threshold};
    tree->importances[column] += split->gain / (double)row_copies(part->total);
    return REEL_OK;
}
