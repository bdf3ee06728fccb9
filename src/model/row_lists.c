#include "model/row_lists.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum {
    WORDS_A_ROW = 4, /* words of marks to look through for a row that occurs; where there are more, rows are sorted */
    WIDE_NODE = 1 << 15,  /* records from which a node is worth more than one thread */
    SUBTREES = 64,        /* a node with this part of all records is left to one thread, with all below it */
    CHECK_EVERY = 1 << 14 /* records from which a node asks whether to stop */
};

/* Scratch of one worker for one column at a time. */
struct column_scratch {
    tree_sum *bins;  /* (most values,) zero between columns */
    uint64_t *marks; /* a bit a value; likewise */
    uint64_t *keys;  /* (most rows,) */
};

/* Sums of the node at work by row of a table: zero where a row does not occur. */
struct table_sums {
    tree_sum *sums;   /* (rows,) */
    int32_t *touched; /* (rows + 1,) those that occur */
    int32_t n;
};

/* One thread's, or one tree's, state while it grows. */
struct grower {
    reel_context *ctx;
    const struct row_data *data;
    const struct row_limits *limits;
    struct row_record *const *records; /* (2,): those of a node lie in [0] or [1] */
    struct table_sums tables[STAR_TABLES];
    struct column_scratch *scratch; /* by worker of the pool that it may use */
    int n_scratch;
    struct row_split splits[STAR_COLUMNS_MAX];
    int order[STAR_COLUMNS_MAX];
    struct row_tree *tree;
    /* Set while large nodes grow on all threads. */
    struct later *later;
};

/* Nodes left for later, one thread each. */
struct later {
    struct list *lists;
    int32_t n, capacity;
    int64_t small; /* records of such a node at most */
};

struct list {
    struct row_part part;
    int side; /* its records lie in records[side] */
};

static reel_status grower_new(reel_context *ctx, const struct row_data *data, int n_scratch, struct grower *grower,
                              reel_error *err) {
    int64_t values = 1, most = 1;
    *grower = (struct grower){.ctx = ctx, .data = data, .n_scratch = n_scratch};
    for (int c = 0; c < data->columns.n; c++)
        if (data->columns.columns[c].n_values > values) values = data->columns.columns[c].n_values;
    for (int t = 0; t < STAR_TABLES; t++) {
        int64_t n = (int64_t)data->star->n_rows[t] + 1;
        if (n > most) most = n;
        TRY_RETURN(MEM_NEW(&grower->tables[t].sums, n, err));
        TRY_RETURN(MEM_RAW(&grower->tables[t].touched, n + 1, err));
    }
    TRY_RETURN(MEM_NEW(&grower->scratch, n_scratch, err));
    for (int w = 0; w < n_scratch; w++) {
        TRY_RETURN(MEM_NEW(&grower->scratch[w].bins, values, err));
        TRY_RETURN(MEM_NEW(&grower->scratch[w].marks, values / 64 + 1, err));
        TRY_RETURN(MEM_RAW(&grower->scratch[w].keys, most, err));
    }
    return REEL_OK;
}

static void grower_free(struct grower *grower) {
    for (int t = 0; t < STAR_TABLES; t++) {
        mem_free(grower->tables[t].sums);
        mem_free(grower->tables[t].touched);
    }
    for (int w = 0; grower->scratch && w < grower->n_scratch; w++) {
        mem_free(grower->scratch[w].bins);
        mem_free(grower->scratch[w].marks);
        mem_free(grower->scratch[w].keys);
    }
    mem_free(grower->scratch);
}

/* ---- sums of a node ---- */

struct node_job {
    struct grower *grower;
    const struct list *list;
};

static inline void add_row(struct table_sums *table, int32_t row, tree_sum sum) {
    table->touched[table->n] = row;
    table->n += table->sums[row][1] == 0;
    table->sums[row] += sum;
}

static void sum_table(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct node_job *job = arg;
    struct table_sums *table = &job->grower->tables[task];
    const struct row_record *records = job->grower->records[job->list->side];
    for (int64_t at = job->list->part.begin; at < job->list->part.end; at++) {
        const struct row_record *record = &records[at];
        int32_t row = task == STAR_USER ? record->user : task == STAR_MOVIE ? record->movie : record->hour;
        add_row(table, row, row_sum(record->copies, record->half_stars));
    }
}

static void sum_tables(struct grower *grower, const struct list *list) {
    const struct row_record *records = grower->records[list->side];
    for (int64_t at = list->part.begin; at < list->part.end; at++) {
        const struct row_record *record = &records[at];
        const tree_sum sum = row_sum(record->copies, record->half_stars);
        add_row(&grower->tables[STAR_USER], record->user, sum);
        add_row(&grower->tables[STAR_MOVIE], record->movie, sum);
        add_row(&grower->tables[STAR_CALENDAR], record->hour, sum);
    }
}

static void clear_tables(struct grower *grower) {
    for (int t = 0; t < STAR_TABLES; t++) {
        struct table_sums *table = &grower->tables[t];
        for (int32_t i = 0; i < table->n; i++) table->sums[table->touched[i]] = (tree_sum){0, 0};
        table->n = 0;
    }
}

static int is_pure(const struct grower *grower, const struct list *list) {
    const struct row_record *records = grower->records[list->side];
    const uint8_t first = records[list->part.begin].half_stars;
    for (int64_t at = list->part.begin; at < list->part.end; at++)
        if (records[at].half_stars != first) return 0;
    return 1;
}

/* ---- the best split of a column ---- */

/* Marks the values that occur, and goes through the marks. */
static void scan_marks(struct row_scan *scan, const struct table_sums *table, const struct column_scratch *scratch,
                       struct row_split *best) {
    const struct tree_column *column = scan->column;
    for (int32_t i = 0; i < table->n; i++) {
        const int32_t row = table->touched[i], value = column->ranks[row];
        scratch->bins[value] += table->sums[row];
        scratch->marks[value >> 6] |= UINT64_C(1) << (value & 63);
    }
    for (int32_t word = 0; word <= (column->n_values - 1) >> 6; word++) {
        for (uint64_t marks = scratch->marks[word]; marks; marks &= marks - 1) {
            const int32_t value = 64 * word + __builtin_ctzll(marks);
            row_scan_value(scan, value, scratch->bins[value], best);
            scratch->bins[value] = (tree_sum){0, 0};
        }
        scratch->marks[word] = 0;
    }
}

/* Quicksort that recurses into the smaller part. */
static void sort_keys(uint64_t *keys, int64_t n) {
    while (n > 24) {
        uint64_t a = keys[0], b = keys[n / 2], c = keys[n - 1];
        uint64_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        int64_t low = 0, high = n - 1;
        while (low <= high) {
            while (keys[low] < pivot) low++;
            while (keys[high] > pivot) high--;
            if (low > high) break;
            uint64_t swap = keys[low];
            keys[low++] = keys[high];
            keys[high--] = swap;
        }
        if (high + 1 < n - low) {
            sort_keys(keys, high + 1);
            keys += low;
            n -= low;
        } else {
            sort_keys(keys + low, n - low);
            n = high + 1;
        }
    }
    for (int64_t i = 1; i < n; i++) {
        uint64_t key = keys[i];
        int64_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--) keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

static void scan_sorted(struct row_scan *scan, const struct table_sums *table, uint64_t *keys, struct row_split *best) {
    const struct tree_column *column = scan->column;
    for (int32_t i = 0; i < table->n; i++) {
        uint32_t row = (uint32_t)table->touched[i];
        keys[i] = (uint64_t)(uint32_t)column->ranks[row] << 32 | row;
    }
    sort_keys(keys, table->n);
    for (int32_t i = 0; i < table->n;) {
        int32_t value = (int32_t)(keys[i] >> 32);
        tree_sum sum = {0, 0};
        for (; i < table->n && (int32_t)(keys[i] >> 32) == value; i++) sum += table->sums[(uint32_t)keys[i]];
        row_scan_value(scan, value, sum, best);
    }
}

static void search_column(void *arg, int64_t task, int worker) {
    const struct node_job *job = arg;
    struct grower *grower = job->grower;
    const struct tree_column *column = &grower->data->columns.columns[task];
    const struct table_sums *table = &grower->tables[column->table];
    struct row_split *best = &grower->splits[task];
    struct row_scan scan = {column, job->list->part.total, {0, 0}, -1, grower->limits->min_samples_leaf};
    *best = (struct row_split){.gain = -1};
    if (column->n_values < 2) return;
    if (column->n_values / 64 <= WORDS_A_ROW * (int64_t)table->n)
        scan_marks(&scan, table, &grower->scratch[worker], best);
    else
        scan_sorted(&scan, table, grower->scratch[worker].keys, best);
}

/* ---- the best split of a node ---- */

/* The column with the best split, -1 = none. Of those that vary, max_features are looked at, and more until there is a
 * split. The order is drawn, so that of equal splits, which small nodes are full of, no column is preferred. */
static int choose_column(struct grower *grower, struct node_job *job, int wide) {
    int n = grower->data->columns.n, seen = 0, best = -1;
    tree_draw_columns(grower->limits->seed, grower->limits->tree, job->list->part.id, n, grower->order);
    if (wide) thread_pool_run(grower->ctx->pool, n, search_column, job);
    for (int i = 0; i < n && (seen < grower->limits->max_features || best < 0); i++) {
        int c = grower->order[i];
        if (!wide) search_column(job, c, 0);
        seen += grower->splits[c].varies;
        if (grower->splits[c].gain >= 0 && (best < 0 || grower->splits[c].gain > grower->splits[best].gain)) best = c;
    }
    return best;
}

static int choose_split(struct grower *grower, const struct list *list) {
    struct node_job job = {grower, list};
    int wide = grower->later && list->part.end - list->part.begin >= WIDE_NODE;
    if (wide)
        thread_pool_run(grower->ctx->pool, STAR_TABLES, sum_table, &job);
    else
        sum_tables(grower, list);
    int column = choose_column(grower, &job, wide);
    clear_tables(grower);
    return column;
}

/* Sends the records to the other side, left ones first, both in their order. */
static void send(const struct grower *grower, const struct list *list, int c, const struct row_split *split) {
    const struct tree_column *column = &grower->data->columns.columns[c];
    const struct row_record *from = grower->records[list->side];
    struct row_record *to = grower->records[!list->side];
    int64_t next[2] = {list->part.begin, list->part.begin + row_ratings(split->left)};
    for (int64_t at = list->part.begin; at < list->part.end; at++) {
        int32_t row = column->table == STAR_USER    ? from[at].user
                      : column->table == STAR_MOVIE ? from[at].movie
                                                    : from[at].hour;
        to[next[column->ranks[row] > split->rank]++] = from[at];
    }
}

/* ---- growing ---- */

static reel_status leave_for_later(struct later *later, const struct list *list, reel_error *err) {
    if (later->n == later->capacity) {
        struct list *larger;
        TRY_RETURN(MEM_NEW(&larger, 2 * (int64_t)later->capacity + 64, err));
        if (later->n) memcpy(larger, later->lists, (size_t)later->n * sizeof *larger);
        mem_free(later->lists);
        later->lists = larger;
        later->capacity = 2 * later->capacity + 64;
    }
    later->lists[later->n++] = *list;
    return REEL_OK;
}

/* Grows a node and what is below. The depth of recursion is that of the tree. */
static reel_status grow(struct grower *grower, const struct list *list, reel_error *err) {
    const struct row_limits *limits = grower->limits;
    int64_t n = list->part.end - list->part.begin;
    if (!row_may_split(limits, &list->part)) return REEL_OK;
    if (grower->later && n <= grower->later->small) return leave_for_later(grower->later, list, err);
    if (n >= CHECK_EVERY) TRY_RETURN(context_check(grower->ctx, err));
    if (is_pure(grower, list)) return REEL_OK;
    int column = choose_split(grower, list);
    if (column < 0) return REEL_OK;
    const struct row_split split = grower->splits[column];
    struct row_part children[2];
    TRY_RETURN(row_split_node(grower->tree, &list->part, column, &split, children, err));
    if (!row_may_split(limits, &children[0]) && !row_may_split(limits, &children[1])) return REEL_OK;
    send(grower, list, column, &split);
    children[0].begin = list->part.begin;
    children[0].end = children[1].begin = list->part.begin + row_ratings(split.left);
    children[1].end = list->part.end;
    TRY_RETURN(grow(grower, &(struct list){children[0], !list->side}, err));
    return grow(grower, &(struct list){children[1], !list->side}, err);
}

/* ---- subtrees on all threads ---- */

struct subtrees {
    struct grower *growers; /* by worker */
    const struct list *lists;
    struct row_tree *trees; /* by list */
    reel_status *statuses;
    reel_error *errors;
};

static void grow_subtree(void *arg, int64_t task, int worker) {
    const struct subtrees *subtrees = arg;
    struct grower *grower = &subtrees->growers[worker];
    struct list list = subtrees->lists[task];
    reel_error *err = &subtrees->errors[task];
    grower->tree = &subtrees->trees[task];
    reel_status status = forest_begin_tree(&grower->tree->nodes, err);
    if (status == REEL_OK)
        status = forest_add_node(&grower->tree->nodes, row_leaf(list.part.total), &list.part.at, err);
    if (status == REEL_OK) status = grow(grower, &list, err);
    subtrees->statuses[task] = status;
}

/* Puts a subtree, whose root stands at `at` already, behind the nodes of `tree`. */
static reel_status attach(struct row_tree *tree, int32_t at, const struct row_tree *subtree, reel_error *err) {
    int32_t shift = tree->nodes.n_nodes - 1, unused;
    for (int32_t i = 0; i < subtree->nodes.n_nodes; i++) {
        struct forest_node node = subtree->nodes.nodes[i];
        if (node.column >= 0) {
            if (node.left > INT32_MAX - shift || node.right > INT32_MAX - shift)
                return error_set(err, REEL_UNSUPPORTED, "the tree has too many nodes");
            node.left += shift;
            node.right += shift;
        }
        if (i == 0)
            tree->nodes.nodes[at] = node;
        else
            TRY_RETURN(forest_add_node(&tree->nodes, node, &unused, err));
    }
    for (int c = 0; c < STAR_COLUMNS_MAX; c++) tree->importances[c] += subtree->importances[c];
    return REEL_OK;
}

static reel_status attach_all(struct subtrees *subtrees, int32_t n, struct row_tree *tree, reel_error *err) {
    for (int32_t i = 0; i < n; i++) {
        if (subtrees->statuses[i] != REEL_OK) {
            if (err) *err = subtrees->errors[i];
            return subtrees->statuses[i];
        }
        TRY_RETURN(attach(tree, subtrees->lists[i].part.at, &subtrees->trees[i], err));
        row_tree_free(&subtrees->trees[i]);
    }
    return REEL_OK;
}

static reel_status grow_later(const struct grower *top, const struct later *later, struct row_tree *tree,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct thread_pool *pool = top->ctx->pool;
    int32_t workers = thread_pool_size(pool), n = later->n;
    struct subtrees subtrees = {.lists = later->lists};
    if (n == 0) return REEL_OK;
    TRY(MEM_NEW(&subtrees.growers, workers, err));
    TRY(MEM_NEW(&subtrees.trees, n, err));
    TRY(MEM_NEW(&subtrees.statuses, n, err));
    TRY(MEM_NEW(&subtrees.errors, n, err));
    for (int w = 0; w < workers; w++) {
        TRY(grower_new(top->ctx, top->data, 1, &subtrees.growers[w], err));
        subtrees.growers[w].limits = top->limits;
        subtrees.growers[w].records = top->records;
    }
    thread_pool_run(pool, n, grow_subtree, &subtrees);
    TRY(attach_all(&subtrees, n, tree, err));
cleanup:
    for (int w = 0; subtrees.growers && w < workers; w++) grower_free(&subtrees.growers[w]);
    for (int32_t i = 0; subtrees.trees && i < n; i++) row_tree_free(&subtrees.trees[i]);
    mem_free(subtrees.growers);
    mem_free(subtrees.trees);
    mem_free(subtrees.statuses);
    mem_free(subtrees.errors);
    return status;
}

reel_status row_lists_grow(reel_context *ctx, const struct row_data *data, const struct row_limits *limits, int alone,
                           const struct row_records *records, const struct row_part *parts, int n_parts,
                           struct row_tree *tree, reel_error *err) {
    reel_status status = REEL_OK;
    struct grower grower = {0};
    struct later later = {.small = records->n / SUBTREES};
    TRY(grower_new(ctx, data, alone ? 1 : thread_pool_size(ctx->pool), &grower, err));
    grower.limits = limits;
    grower.records = records->at;
    grower.tree = tree;
    if (!alone) grower.later = &later;
    for (int i = 0; i < n_parts; i++) TRY(grow(&grower, &(struct list){parts[i], 0}, err));
    TRY(grow_later(&grower, &later, tree, err));
cleanup:
    mem_free(later.lists);
    grower_free(&grower);
    return status;
}
