#include "model/tree_grow.h"

#include <string.h>

#include "core/error.h"
#include "kernels/common/philox.h"
#include "model/tree_quick.h"

_Static_assert(TREE_LEAVES_MAX / 2 <= TREE_NODES_MAX, "the search takes the nodes of every level");

/* ---- levels ---- */

/* All gradients alike: nothing to gain, and scikit-learn makes it a leaf. */
static int is_pure(const struct tree_pass *pass, const struct tree_node *node) {
    if (pass->gradient == TREE_IDENTITY) return 0;
    return node->sum == node->count * pass->low || node->sum == node->count * pass->high;
}

static int may_split(const struct tree_pass *pass, const struct tree_limits *limits, const struct tree_node *node) {
    return node->alive && node->count >= limits->min_samples_split && node->count >= 2 * limits->min_samples_leaf &&
           !is_pure(pass, node);
}

static void split_node(const struct tree_search *search, struct tree *tree, int at, int column,
                       const struct tree_candidate *split) {
    struct tree_node *node = &tree->nodes[at];
    const float *values = search->from->columns[column].values;
    node->column = column;
    node->rank = split->rank;
    node->threshold = tree_threshold(values[split->rank], values[split->next]);
    node->gain = split->gain / (double)node->count;
    tree->nodes[2 * at + 1] =
        (struct tree_node){.sum = split->left_sum, .count = split->left_count, .column = -1, .alive = 1};
    tree->nodes[2 * at + 2] = (struct tree_node){
        .sum = node->sum - split->left_sum, .count = node->count - split->left_count, .column = -1, .alive = 1};
}

void tree_draw_columns(uint64_t seed, uint32_t tree, uint64_t id, int n, int *order) {
    struct philox4 words = {{0}};
    for (int c = 0; c < n; c++) order[c] = c;
    for (int i = 0; i < n - 1; i++) {
        if (i % 4 == 0) words = philox_block(seed ^ id, philox_stream(PHILOX_TREES, tree), (uint64_t)i / 4 + 1);
        int other = i + (int)((uint64_t)words.v[i % 4] * (uint64_t)(n - i) >> 32);
        int swap = order[i];
        order[i] = order[other];
        order[other] = swap;
    }
}

/* The column of a node's best split, -1 = none: of all, or of the first max_features of a drawn order that vary; of
 * more where none of these has one. */
static int choose_column(const struct tree_search *search, const struct tree_limits *limits, int level, int node) {
    int order[STAR_COLUMNS_MAX], n = search->from->n, drawn = limits->max_features < n, column = -1, seen = 0;
    const struct tree_candidate *best = NULL;
    const uint64_t id = (UINT64_C(1) << level) - 1 + (uint64_t)node;
    if (drawn) tree_draw_columns(limits->seed, limits->tree, id, n, order);
    for (int i = 0; i < n && (!best || seen < limits->max_features); i++) {
        int c = drawn ? order[i] : i;
        const struct tree_candidate *split = &search->best[((int64_t)c << level) + node];
        seen += split->varies;
        if (split->gain < 0 || (best && split->gain <= best->gain)) continue;
        best = split;
        column = c;
    }
    return column;
}

/* Picks each node's best split. Returns how many nodes were split. */
static int choose_splits(const struct tree_search *search, const struct tree_limits *limits, struct tree *tree,
                         int level) {
    int n_split = 0;
    for (int node = 0; node < 1 << level; node++) {
        int column = choose_column(search, limits, level, node);
        if (column < 0) continue;
        split_node(search, tree, (1 << level) - 1 + node, column, &search->best[((int64_t)column << level) + node]);
        n_split++;
    }
    return n_split;
}

/* Writes the bits that say which rows go right at the splits of `level`. */
static void set_right_bits(struct tree_pass *pass, const struct tree_columns *columns, const struct tree *tree,
                           int level) {
    const int64_t *rows = pass->n_rows;
    const int bytes = tree_right_bytes(level);
    for (int t = 0; t < STAR_TABLES; t++) memset(pass->right[t], 0, (size_t)(rows[t] * bytes));
    for (int node = 0; node < 1 << level; node++) {
        const struct tree_node *split = &tree->nodes[(1 << level) - 1 + node];
        if (split->column < 0) continue;
        const struct tree_column *column = &columns->columns[split->column];
        uint8_t *right = pass->right[column->table] + (node >> 3);
        for (int64_t row = 0; row < rows[column->table]; row++)
            right[row * bytes] |= (uint8_t)((column->ranks[row] > split->rank) << (node & 7));
    }
}

static reel_status set_root(const struct tree_search *search, struct tree_node *root, reel_error *err) {
    struct tree_total total;
    TRY_RETURN(tree_search_root(search, &total, err));
    *root = (struct tree_node){.sum = total.sum, .count = total.count, .column = -1, .alive = 1};
    return REEL_OK;
}

/* Searches and applies the splits of one level, whose sums are in place. */
static reel_status split_level(const struct tree_pass *pass, struct tree_search *search,
                               const struct tree_limits *limits, struct tree *tree, int level, int *n_split,
                               reel_error *err) {
    uint8_t open[TREE_NODES_MAX];
    struct tree_total totals[TREE_NODES_MAX];
    const struct tree_node *nodes = tree->nodes + (1 << level) - 1;
    int n_open = 0;
    *n_split = 0;
    for (int node = 0; node < 1 << level; node++) {
        totals[node] = (struct tree_total){nodes[node].sum, nodes[node].count};
        n_open += open[node] = (uint8_t)may_split(pass, limits, &nodes[node]);
    }
    if (n_open == 0) return REEL_OK;
    TRY_RETURN(tree_search_run(search, 1 << level, totals, open, limits->min_samples_leaf, err));
    *n_split = choose_splits(search, limits, tree, level);
    return REEL_OK;
}

reel_status tree_grow(reel_context *ctx, struct tree_pass *pass, struct tree_search *search,
                      const struct tree_limits *limits, struct tree *tree, reel_error *err) {
    for (int i = 0; i < 2 * TREE_LEAVES_MAX - 1; i++) tree->nodes[i] = (struct tree_node){.column = -1};
    tree->depth = 0;
    for (int level = 0; level < limits->depth; level++) {
        int n_split;
        TRY_RETURN(context_check(ctx, err));
        TRY_RETURN(tree_pass_run(ctx, pass, err));
        if (level == 0) {
            TRY_RETURN(set_root(search, &tree->nodes[0], err));
            pass->leaves = NULL;
        }
        TRY_RETURN(split_level(pass, search, limits, tree, level, &n_split, err));
        /* No splits: all bits 0, the ratings stay where they are. */
        if (pass->quick)
            TRY_RETURN(tree_quick_split(pass, search, tree, level, err));
        else
            set_right_bits(pass, search->from, tree, level);
        pass->split_level = level;
        tree->depth = level + 1;
        if (n_split == 0) break;
    }
    return REEL_OK;
}

int tree_leaf_of(const struct tree *tree, int node) {
    int at = 0;
    for (int level = 0; level < tree->depth && tree->nodes[at].column >= 0; level++)
        at = 2 * at + 1 + (node >> (tree->depth - 1 - level) & 1);
    return at;
}
