/* tree_splits and tree_bits on the CPU: a thread a column, its rows in the order of their values, all nodes side by
 * side. Nothing is written but candidates.
 *
 * Most columns are 0/1 and mostly 0. What more than half of the rows have in common is not gone through: its sums are
 * the node's less those of the other rows. */
#include <string.h>

#include "core/error.h"
#include "core/threads.h"
#include "kernels/cpu/cpu_forest.h"

/* Where the search of a node stands. */
struct scan {
    int node;
    int32_t previous;   /* the last value that occurred; -1 = none */
    int64_t sum, count; /* up to there */
    struct tree_total node_total;
    struct tree_candidate best;
};

static inline void add_total(struct tree_total *to, struct tree_total from) {
    to->sum += from.sum;
    to->count += from.count;
}

/* The next value of the node: the gap below it is a candidate. */
static inline void step(struct scan *scan, const float *values, int32_t value, struct tree_total at_value,
                        int64_t min_leaf) {
    if (at_value.count == 0) return;
    int64_t right = scan->node_total.count - scan->count;
    int apart = scan->previous >= 0 && values[value] > values[scan->previous] + 1e-7f;
    scan->best.varies |= apart;
    if (apart && scan->count >= min_leaf && right >= min_leaf) {
        const double n = (double)scan->node_total.count, total = (double)scan->node_total.sum;
        double difference = n * (double)scan->sum - (double)scan->count * total;
        double gain = difference * difference / ((double)scan->count * (double)right);
        if (gain > scan->best.gain)
            scan->best = (struct tree_candidate){gain, scan->sum, scan->count, scan->previous, value, 1};
    }
    scan->sum += at_value.sum;
    scan->count += at_value.count;
    scan->previous = value;
}

/* out (n_nodes,) = what the rows of values first .. last - 1 add up to. */
static inline void sum_values(const struct tree_split_column *column, const struct tree_total *sums, int n_nodes,
                              int32_t first, int32_t last, struct tree_total *out) {
    for (int64_t i = column->starts[first]; i < column->starts[last]; i++) {
        const struct tree_total *row = sums + (int64_t)column->order[i] * n_nodes;
        for (int node = 0; node < n_nodes; node++) add_total(&out[node], row[node]);
    }
}

/* n_nodes is a constant where it is inlined. */
static inline __attribute__((always_inline)) void scan_column(const struct tree_splits_args *args,
                                                              const struct tree_split_column *column, int n_nodes,
                                                              struct scan *scans, int n_scans) {
    const struct tree_total *sums = args->sums[column->table];
    struct tree_total others[TREE_NODES_MAX], own[TREE_NODES_MAX];
    if (column->common >= 0) {
        memset(others, 0, (size_t)n_nodes * sizeof *others);
        sum_values(column, sums, n_nodes, 0, column->common, others);
        sum_values(column, sums, n_nodes, column->common + 1, column->n_values, others);
        for (int s = 0; s < n_scans; s++) {
            struct tree_total total = args->totals[scans[s].node], *rest = &others[scans[s].node];
            *rest = (struct tree_total){total.sum - rest->sum, total.count - rest->count};
        }
    }
    for (int32_t value = 0; value < column->n_values; value++) {
        const struct tree_total *at_value = own;
        if (value == column->common) {
            at_value = others;
        } else if (column->starts[value + 1] - column->starts[value] == 1) {
            at_value = sums + (int64_t)column->order[column->starts[value]] * n_nodes;
        } else {
            memset(own, 0, (size_t)n_nodes * sizeof *own);
            sum_values(column, sums, n_nodes, value, value + 1, own);
        }
        for (int s = 0; s < n_scans; s++)
            step(&scans[s], column->values, value, at_value[scans[s].node], args->min_leaf);
    }
}

static void column_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct tree_splits_args *args = arg;
    const struct tree_split_column *column = &args->columns[task];
    struct scan scans[TREE_NODES_MAX];
    struct tree_candidate *best = args->best + task * args->n_nodes;
    int n = 0;
    for (int node = 0; node < args->n_nodes; node++) {
        best[node] = (struct tree_candidate){.gain = -1};
        if (args->open[node]) scans[n++] = (struct scan){node, -1, 0, 0, args->totals[node], best[node]};
    }
    if (args->n_nodes == 1)
        scan_column(args, column, 1, scans, n);
    else if (args->n_nodes == 2)
        scan_column(args, column, 2, scans, n);
    else if (args->n_nodes == 4)
        scan_column(args, column, 4, scans, n);
    else
        scan_column(args, column, args->n_nodes, scans, n);
    for (int s = 0; s < n; s++) best[scans[s].node] = scans[s].best;
}

reel_status cpu_tree_splits(struct backend *backend, const struct tree_splits_args *args, reel_error *err) {
    (void)err;
    thread_pool_run(backend->pool, args->n_columns, column_task, (void *)(uintptr_t)args);
    return REEL_OK;
}

reel_status cpu_tree_bits(struct backend *backend, const struct tree_bits_args *args, reel_error *err) {
    (void)backend, (void)err;
    const int shift = (1 << args->level) - 1;
    for (int t = 0; t < FOREST_TABLES && args->level == 0; t++) memset(args->bits[t], 0, (size_t)args->n_rows[t]);
    for (int node = 0; node < 1 << args->level; node++) {
        const struct tree_choice *split = &args->splits[node];
        if (split->table < 0) continue;
        uint8_t *bits = args->bits[split->table];
        for (int32_t row = 0; row < args->n_rows[split->table]; row++)
            bits[row] |= (uint8_t)((split->ranks[row] > split->rank) << (shift + node));
    }
    return REEL_OK;
}
