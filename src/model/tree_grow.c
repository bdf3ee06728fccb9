#include "model/tree_grow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/philox.h"

/* Nodes of the level whose splits are searched at most. */
enum { NODES_MAX = TREE_LEAVES_MAX / 2 };

/* ---- columns ---- */

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int32_t rank_of(const struct tree_column *column, float value) {
    int32_t low = 0, high = column->n_values - 1;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (column->values[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void rank_column(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct star_column *from = &((const struct star *)((void **)arg)[0])->columns[task];
    struct tree_column *column = &((struct tree_columns *)((void **)arg)[1])->columns[task];
    int32_t n = column->n_rows + 1;
    memcpy(column->values, from->values, (size_t)n * sizeof(float));
    qsort(column->values, (size_t)n, sizeof(float), compare_floats);
    column->n_values = 1;
    for (int32_t i = 1; i < n; i++)
        if (column->values[i] != column->values[column->n_values - 1])
            column->values[column->n_values++] = column->values[i];
    for (int32_t i = 0; i < n; i++) column->ranks[i] = rank_of(column, from->values[i]);
}

reel_status tree_columns_new(reel_context *ctx, const struct star *star, struct tree_columns *columns,
                             reel_error *err) {
    *columns = (struct tree_columns){.n = star->n_columns};
    TRY_RETURN(MEM_NEW(&columns->columns, columns->n, err));
    for (int c = 0; c < columns->n; c++) {
        struct tree_column *column = &columns->columns[c];
        column->table = star->columns[c].table;
        column->n_rows = star->n_rows[column->table];
        TRY_RETURN(MEM_RAW(&column->values, (int64_t)column->n_rows + 1, err));
        TRY_RETURN(MEM_RAW(&column->ranks, (int64_t)column->n_rows + 1, err));
    }
    thread_pool_run(ctx->pool, columns->n, rank_column, (void *[]){(void *)(uintptr_t)star, columns});
    return REEL_OK;
}

void tree_columns_free(struct tree_columns *columns) {
    for (int c = 0; columns->columns && c < columns->n; c++) {
        mem_free(columns->columns[c].values);
        mem_free(columns->columns[c].ranks);
    }
    mem_free(columns->columns);
    *columns = (struct tree_columns){0};
}

/* ---- split search ---- */

struct candidate_split {
    double gain; /* -1 = none */
    int64_t left_sum, left_count;
    int32_t rank;
    float threshold;
    int varies; /* the column has more than one value in the node */
};

struct search {
    const struct tree_pass *pass;
    const struct tree_columns *columns;
    const struct tree_limits *limits;
    const struct tree_node *nodes; /* of the level */
    int n_nodes;
    const uint8_t *open;          /* (n_nodes,) 1 = may be split */
    struct candidate_split *best; /* (columns, n_nodes) */
    tree_sum *bins;               /* by worker: (max n_values, n_nodes) */
    int64_t bins_stride;
};

/* sums by value instead of by row. */
static void fill_bins(const struct tree_column *column, const tree_sum *sums, int n_nodes, tree_sum *bins) {
    memset(bins, 0, sizeof *bins * (size_t)column->n_values * (size_t)n_nodes);
    for (int64_t row = 0; row <= column->n_rows; row++) {
        tree_sum *bin = bins + (int64_t)column->ranks[row] * n_nodes;
        for (int node = 0; node < n_nodes; node++) bin[node] += sums[row * n_nodes + node];
    }
}

float tree_threshold(float low, float high) {
    double middle = (double)low / 2 + (double)high / 2;
    if (middle == (double)high || isinf(middle)) return low;
    float rounded = (float)middle;
    return (double)rounded > middle ? nextafterf(rounded, -INFINITY) : rounded;
}

static void scan_node(const struct tree_column *column, const tree_sum *bins, int n_nodes, int at,
                      const struct tree_node *node, int64_t min_leaf, struct candidate_split *best) {
    int64_t sum = 0, count = 0;
    int32_t previous = -1;
    const double total = (double)node->sum, n = (double)node->count;
    for (int32_t value = 0; value < column->n_values; value++) {
        tree_sum bin = bins[(int64_t)value * n_nodes + at];
        if (bin[1] == 0) continue;
        int64_t right = node->count - count;
        int apart = previous >= 0 && column->values[value] > column->values[previous] + 1e-7f;
        best->varies |= apart;
        if (apart && count >= min_leaf && right >= min_leaf) {
            double difference = n * (double)sum - (double)count * total;
            double gain = difference * difference / ((double)count * (double)right);
            if (gain > best->gain)
                *best = (struct candidate_split){
                    gain, sum, count, previous, tree_threshold(column->values[previous], column->values[value]), 1};
        }
        sum += bin[0];
        count += bin[1];
        previous = value;
    }
}

static void search_column(void *arg, int64_t task, int worker) {
    const struct search *search = arg;
    const struct tree_column *column = &search->columns->columns[task];
    tree_sum *bins = search->bins + worker * search->bins_stride;
    fill_bins(column, search->pass->sums[column->table], search->n_nodes, bins);
    for (int node = 0; node < search->n_nodes; node++) {
        struct candidate_split *best = &search->best[task * search->n_nodes + node];
        *best = (struct candidate_split){.gain = -1};
        if (search->open[node])
            scan_node(column, bins, search->n_nodes, node, &search->nodes[node], search->limits->min_samples_leaf,
                      best);
    }
}

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

static void split_node(struct tree *tree, int at, int column, const struct candidate_split *split) {
    struct tree_node *node = &tree->nodes[at];
    node->column = column;
    node->rank = split->rank;
    node->threshold = split->threshold;
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
static int choose_column(const struct search *search, int first, int node) {
    const struct tree_limits *limits = search->limits;
    int order[STAR_COLUMNS_MAX], n = search->columns->n, drawn = limits->max_features < n, column = -1, seen = 0;
    const struct candidate_split *best = NULL;
    if (drawn) tree_draw_columns(limits->seed, limits->tree, (uint64_t)first + (uint64_t)node, n, order);
    for (int i = 0; i < n && (!best || seen < limits->max_features); i++) {
        int c = drawn ? order[i] : i;
        const struct candidate_split *split = &search->best[(int64_t)c * search->n_nodes + node];
        seen += split->varies;
        if (split->gain < 0 || (best && split->gain <= best->gain)) continue;
        best = split;
        column = c;
    }
    return column;
}

/* Picks each node's best split. Returns how many nodes were split. */
static int choose_splits(const struct search *search, struct tree *tree, int first) {
    int n_split = 0;
    for (int node = 0; node < search->n_nodes; node++) {
        int column = choose_column(search, first, node);
        if (column < 0) continue;
        split_node(tree, first + node, column, &search->best[(int64_t)column * search->n_nodes + node]);
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

static void set_root(const struct tree_pass *pass, struct tree_node *root) {
    tree_sum total = {0, 0};
    for (int hour = 0; hour <= STAR_HOURS; hour++) total += pass->sums[STAR_CALENDAR][hour];
    *root = (struct tree_node){.sum = total[0], .count = total[1], .column = -1, .alive = 1};
}

/* Searches and applies the splits of one level, whose sums are in the pass. */
static reel_status split_level(reel_context *ctx, const struct tree_pass *pass, const struct tree_columns *columns,
                               const struct tree_limits *limits, struct tree *tree, int level, int *n_split,
                               reel_error *err) {
    reel_status status = REEL_OK;
    uint8_t open[NODES_MAX];
    int first = (1 << level) - 1, n_open = 0;
    struct search search = {.pass = pass,
                            .columns = columns,
                            .limits = limits,
                            .nodes = tree->nodes + first,
                            .n_nodes = 1 << level,
                            .open = open};
    *n_split = 0;
    for (int node = 0; node < search.n_nodes; node++)
        n_open += open[node] = (uint8_t)may_split(pass, limits, &tree->nodes[first + node]);
    if (n_open == 0) return REEL_OK;
    for (int c = 0; c < columns->n; c++)
        if (columns->columns[c].n_values * (int64_t)search.n_nodes > search.bins_stride)
            search.bins_stride = columns->columns[c].n_values * (int64_t)search.n_nodes;
    TRY(MEM_RAW(&search.bins, search.bins_stride * thread_pool_size(ctx->pool), err));
    TRY(MEM_RAW(&search.best, (int64_t)columns->n * search.n_nodes, err));
    thread_pool_run(ctx->pool, columns->n, search_column, &search);
    *n_split = choose_splits(&search, tree, first);
cleanup:
    mem_free(search.bins);
    mem_free(search.best);
    return status;
}

reel_status tree_grow(reel_context *ctx, struct tree_pass *pass, const struct tree_columns *columns,
                      const struct tree_limits *limits, struct tree *tree, reel_error *err) {
    for (int i = 0; i < 2 * TREE_LEAVES_MAX - 1; i++) tree->nodes[i] = (struct tree_node){.column = -1};
    tree->depth = 0;
    for (int level = 0; level < limits->depth; level++) {
        int n_split;
        TRY_RETURN(context_check(ctx, err));
        TRY_RETURN(tree_pass_run(ctx, pass, err));
        if (level == 0) {
            set_root(pass, &tree->nodes[0]);
            pass->leaves = NULL;
        }
        TRY_RETURN(split_level(ctx, pass, columns, limits, tree, level, &n_split, err));
        set_right_bits(pass, columns, tree, level); /* no splits: all bits 0, the ratings stay where they are */
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
