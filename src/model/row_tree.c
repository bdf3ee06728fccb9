#include "model/row_tree.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum {
    FEW_VALUES = 256,     /* columns with no more values are gone through whole */
    WIDE_NODE = 1 << 15,  /* ratings from which a node is worth more than one thread */
    SUBTREES = 64,        /* a node with this part of all ratings is left to one thread, with all below it */
    CHECK_EVERY = 1 << 14 /* ratings from which a node asks whether to stop */
};

/* ---- shared data ---- */

static void place_users(void *arg, int64_t user, int worker) {
    (void)worker;
    struct row_data *data = arg;
    const struct ratings *ratings = data->ratings;
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
        data->users[i] = features_row(data->stride, (int32_t)user, ratings->user_ratings[i]);
        data->hours[i] = (uint8_t)star_hour(ratings->user_times ? ratings->user_times[i] : 0);
    }
}

reel_status row_data_new(reel_context *ctx, const struct ratings *ratings, const struct features *features,
                         struct row_data *data, reel_error *err) {
    *data = (struct row_data){.ratings = ratings, .star = features_training(features), .stride = features->stride};
    if (ratings->n_ratings > INT32_MAX)
        return error_set(err, REEL_UNSUPPORTED, "at most %d ratings are possible here (found %lld)", INT32_MAX,
                         (long long)ratings->n_ratings);
    TRY_RETURN(tree_columns_new(ctx, data->star, &data->columns, err));
    TRY_RETURN(MEM_RAW(&data->users, ratings->n_ratings, err));
    TRY_RETURN(MEM_RAW(&data->hours, ratings->n_ratings, err));
    thread_pool_run(ctx->pool, ratings->n_users, place_users, data);
    return REEL_OK;
}

void row_data_free(struct row_data *data) {
    tree_columns_free(&data->columns);
    mem_free(data->users);
    mem_free(data->hours);
    *data = (struct row_data){0};
}

/* Where rating i stands in each table. */
static inline int32_t row_of(const struct row_data *data, enum star_table table, uint32_t i) {
    if (table == STAR_USER) return data->users[i];
    if (table == STAR_CALENDAR) return data->hours[i];
    return features_row(data->stride, data->ratings->user_movies[i], data->ratings->user_ratings[i]);
}

/* ---- sums of a node ---- */

/* {half stars of all copies, copies << 32 | ratings}. */
static inline tree_sum sum_of(const struct row_data *data, const uint16_t *copies, uint32_t i) {
    int64_t n = copies ? copies[i] : 1;
    return (tree_sum){n * data->ratings->user_ratings[i], n << 32 | 1};
}

static inline int64_t copies_of(tree_sum sum) {
    return sum[1] >> 32;
}

static inline int64_t ratings_of(tree_sum sum) {
    return sum[1] & 0xffffffff;
}

/* Scratch of one worker for one column at a time. */
struct column_scratch {
    tree_sum *bins; /* (most values,) zero between columns */
    uint64_t *keys; /* (most rows,) */
};

/* Sums of the node at work by row of a table: zero where a row does not occur. */
struct table_sums {
    tree_sum *sums;   /* (rows,) */
    int32_t *touched; /* (rows,) those that occur */
    int32_t n;
};

struct column_split {
    double gain; /* -1 = none */
    tree_sum left;
    int32_t rank;
    float threshold;
    int varies; /* the column has more than one value here */
};

/* One thread's, or one tree's, state while it grows. */
struct grower {
    reel_context *ctx;
    const struct row_data *data;
    const uint16_t *copies;
    const struct row_limits *limits;
    uint32_t *rows; /* the ratings, ordered by node */
    struct table_sums tables[STAR_TABLES];
    struct column_scratch *scratch; /* by worker of the pool that it may use */
    int n_scratch;
    struct column_split splits[STAR_COLUMNS_MAX];
    int order[STAR_COLUMNS_MAX];
    struct row_tree *tree;
    /* Set while the top of the tree grows on all threads. */
    struct top *top;
};

/* A node as it waits to be grown. */
struct part {
    int64_t begin, end; /* of rows */
    int depth;
    uint64_t id; /* names the node, whatever the order of growing */
    int32_t at;  /* its index */
};

struct top {
    struct part *parts; /* left for later */
    int32_t n, capacity;
    int64_t small; /* ratings of a node that is left for later */
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
        TRY_RETURN(MEM_RAW(&grower->tables[t].touched, n, err));
    }
    TRY_RETURN(MEM_NEW(&grower->scratch, n_scratch, err));
    for (int w = 0; w < n_scratch; w++) {
        TRY_RETURN(MEM_NEW(&grower->scratch[w].bins, values, err));
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
        mem_free(grower->scratch[w].keys);
    }
    mem_free(grower->scratch);
}

struct node_job {
    struct grower *grower;
    const struct part *part;
    tree_sum total;
};

static void sum_table(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct node_job *job = arg;
    const struct grower *grower = job->grower;
    struct table_sums *table = &job->grower->tables[task];
    for (int64_t at = job->part->begin; at < job->part->end; at++) {
        int32_t row = row_of(grower->data, (enum star_table)task, grower->rows[at]);
        if (table->sums[row][1] == 0) table->touched[table->n++] = row;
        table->sums[row] += sum_of(grower->data, grower->copies, grower->rows[at]);
    }
}

static void clear_tables(struct grower *grower) {
    for (int t = 0; t < STAR_TABLES; t++) {
        struct table_sums *table = &grower->tables[t];
        for (int32_t i = 0; i < table->n; i++) table->sums[table->touched[i]] = (tree_sum){0, 0};
        table->n = 0;
    }
}

/* ---- the best split of a column ---- */

/* A walk over a column's values in order. */
struct scan {
    const struct tree_column *column;
    tree_sum total, left;
    int32_t previous; /* value, -1 = none yet */
    int64_t min_leaf;
};

/* Between the values before and `value`, whose ratings sum up to `sum`. */
static inline void scan_value(struct scan *scan, int32_t value, tree_sum sum, struct column_split *best) {
    const float *values = scan->column->values;
    if (scan->previous >= 0 && values[value] > values[scan->previous] + 1e-7f) {
        best->varies = 1;
        tree_sum right = scan->total - scan->left;
        if (ratings_of(scan->left) >= scan->min_leaf && ratings_of(right) >= scan->min_leaf) {
            double n_left = (double)copies_of(scan->left), n_right = (double)copies_of(right);
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

static void scan_bins(struct scan *scan, const struct table_sums *table, tree_sum *bins, struct column_split *best) {
    const struct tree_column *column = scan->column;
    for (int32_t i = 0; i < table->n; i++) bins[column->ranks[table->touched[i]]] += table->sums[table->touched[i]];
    for (int32_t value = 0; value < column->n_values; value++) {
        if (bins[value][1] == 0) continue;
        scan_value(scan, value, bins[value], best);
        bins[value] = (tree_sum){0, 0};
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

static void scan_sorted(struct scan *scan, const struct table_sums *table, uint64_t *keys, struct column_split *best) {
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
        scan_value(scan, value, sum, best);
    }
}

static void search_column(void *arg, int64_t task, int worker) {
    const struct node_job *job = arg;
    struct grower *grower = job->grower;
    const struct tree_column *column = &grower->data->columns.columns[task];
    const struct table_sums *table = &grower->tables[column->table];
    struct column_split *best = &grower->splits[task];
    struct scan scan = {column, job->total, {0, 0}, -1, grower->limits->min_samples_leaf};
    *best = (struct column_split){.gain = -1};
    if (column->n_values < 2) return;
    if (column->n_values <= FEW_VALUES || column->n_values / 4 <= table->n)
        scan_bins(&scan, table, grower->scratch[worker].bins, best);
    else
        scan_sorted(&scan, table, grower->scratch[worker].keys, best);
}

/* ---- the best split of a node ---- */

/* The column with the best split, -1 = none. Of those that vary, max_features are looked at, and more until there is a
 * split. The order is drawn, so that of equal splits, which small nodes are full of, no column is preferred. */
static int choose_column(struct grower *grower, struct node_job *job) {
    int n = grower->data->columns.n, seen = 0, best = -1;
    int wide = grower->top && job->part->end - job->part->begin >= WIDE_NODE;
    tree_draw_columns(grower->limits->seed, grower->limits->tree, job->part->id, n, grower->order);
    if (wide) thread_pool_run(grower->ctx->pool, n, search_column, job);
    for (int i = 0; i < n && (seen < grower->limits->max_features || best < 0); i++) {
        int c = grower->order[i];
        if (!wide) search_column(job, c, 0);
        seen += grower->splits[c].varies;
        if (grower->splits[c].gain >= 0 && (best < 0 || grower->splits[c].gain > grower->splits[best].gain)) best = c;
    }
    return best;
}

static tree_sum sum_part(const struct grower *grower, const struct part *part, int *pure) {
    tree_sum total = {0, 0};
    uint8_t first = grower->data->ratings->user_ratings[grower->rows[part->begin]];
    *pure = 1;
    for (int64_t at = part->begin; at < part->end; at++) {
        *pure &= grower->data->ratings->user_ratings[grower->rows[at]] == first;
        total += sum_of(grower->data, grower->copies, grower->rows[at]);
    }
    return total;
}

/* Sends the ratings left or right; returns where the right ones begin. */
static int64_t partition(const struct grower *grower, const struct part *part, int c, int32_t rank) {
    const struct tree_column *column = &grower->data->columns.columns[c];
    int64_t low = part->begin, high = part->end;
    while (low < high) {
        uint32_t i = grower->rows[low];
        if (column->ranks[row_of(grower->data, column->table, i)] <= rank) {
            low++;
            continue;
        }
        grower->rows[low] = grower->rows[--high];
        grower->rows[high] = i;
    }
    return low;
}

static int choose_split(struct grower *grower, const struct part *part, tree_sum total) {
    struct node_job job = {grower, part, total};
    if (grower->top && part->end - part->begin >= WIDE_NODE)
        thread_pool_run(grower->ctx->pool, STAR_TABLES, sum_table, &job);
    else
        for (int t = 0; t < STAR_TABLES; t++) sum_table(&job, t, 0);
    int column = choose_column(grower, &job);
    clear_tables(grower);
    return column;
}

/* ---- growing ---- */

/* Mixes the path into a number (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA
 * 2014: the finaliser of SplitMix64). */
static uint64_t child_id(uint64_t id, int right) {
    uint64_t z = id + (right ? 0x9e3779b97f4a7c15u : 0x3c6ef372fe94f82au);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static reel_status leave_for_later(struct top *top, const struct part *part, reel_error *err) {
    if (top->n == top->capacity) {
        struct part *larger;
        TRY_RETURN(MEM_NEW(&larger, 2 * (int64_t)top->capacity + 64, err));
        if (top->n) memcpy(larger, top->parts, (size_t)top->n * sizeof *larger);
        mem_free(top->parts);
        top->parts = larger;
        top->capacity = 2 * top->capacity + 64;
    }
    top->parts[top->n++] = *part;
    return REEL_OK;
}

/* Grows the node that was added at part.at, and what is below. The depth of recursion is that of the tree. */
static reel_status grow(struct grower *grower, struct part part, reel_error *err) {
    const struct row_limits *limits = grower->limits;
    struct forest_builder *nodes = &grower->tree->nodes;
    int64_t n = part.end - part.begin;
    int pure, column = -1;
    if (grower->top && n <= grower->top->small) return leave_for_later(grower->top, &part, err);
    if (n >= CHECK_EVERY) TRY_RETURN(context_check(grower->ctx, err));
    tree_sum total = sum_part(grower, &part, &pure);
    if (part.depth < limits->depth && n >= limits->min_samples_split && n / 2 >= limits->min_samples_leaf && !pure)
        column = choose_split(grower, &part, total);
    if (column < 0) {
        nodes->nodes[part.at] =
            (struct forest_node){-1, 0, 0, (float)(0.5 * (double)total[0] / (double)copies_of(total))};
        return REEL_OK;
    }
    const struct column_split split = grower->splits[column];
    grower->tree->importances[column] += split.gain / (double)copies_of(total);
    int64_t middle = partition(grower, &part, column, split.rank);
    int32_t left, right;
    const struct forest_node unknown = {-1, 0, 0, 0};
    TRY_RETURN(forest_add_node(nodes, unknown, &left, err));
    TRY_RETURN(forest_add_node(nodes, unknown, &right, err));
    nodes->nodes[part.at] = (struct forest_node){column, left, right, split.threshold};
    TRY_RETURN(grow(grower, (struct part){part.begin, middle, part.depth + 1, child_id(part.id, 0), left}, err));
    return grow(grower, (struct part){middle, part.end, part.depth + 1, child_id(part.id, 1), right}, err);
}

static reel_status take_rows(const struct row_data *data, const uint16_t *copies, uint32_t **rows, int64_t *n,
                             reel_error *err) {
    TRY_RETURN(MEM_RAW(rows, data->ratings->n_ratings, err));
    *n = 0;
    for (int64_t i = 0; i < data->ratings->n_ratings; i++)
        if (!copies || copies[i]) (*rows)[(*n)++] = (uint32_t)i;
    return REEL_OK;
}

/* ---- subtrees on all threads ---- */

struct subtrees {
    struct grower *growers; /* by worker */
    const struct part *parts;
    struct row_tree *trees; /* by part */
    reel_status *statuses;
    reel_error *errors;
};

static void grow_subtree(void *arg, int64_t task, int worker) {
    const struct subtrees *subtrees = arg;
    struct grower *grower = &subtrees->growers[worker];
    struct part part = subtrees->parts[task];
    reel_error *err = &subtrees->errors[task];
    grower->tree = &subtrees->trees[task];
    reel_status status = forest_begin_tree(&grower->tree->nodes, err);
    if (status == REEL_OK)
        status = forest_add_node(&grower->tree->nodes, (struct forest_node){-1, 0, 0, 0}, &part.at, err);
    if (status == REEL_OK) status = grow(grower, part, err);
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

static reel_status grow_parts(const struct grower *top, const struct part *parts, int32_t n, struct row_tree *tree,
                              reel_error *err) {
    reel_status status = REEL_OK;
    struct thread_pool *pool = top->ctx->pool;
    int workers = thread_pool_size(pool);
    struct subtrees subtrees = {.parts = parts};
    if (n == 0) return REEL_OK;
    TRY(MEM_NEW(&subtrees.growers, workers, err));
    TRY(MEM_NEW(&subtrees.trees, n, err));
    TRY(MEM_NEW(&subtrees.statuses, n, err));
    TRY(MEM_NEW(&subtrees.errors, n, err));
    for (int w = 0; w < workers; w++) {
        TRY(grower_new(top->ctx, top->data, 1, &subtrees.growers[w], err));
        subtrees.growers[w].copies = top->copies;
        subtrees.growers[w].limits = top->limits;
        subtrees.growers[w].rows = top->rows;
    }
    thread_pool_run(pool, n, grow_subtree, &subtrees);
    for (int32_t i = 0; i < n; i++) {
        if (subtrees.statuses[i] != REEL_OK) {
            if (err) *err = subtrees.errors[i];
            status = subtrees.statuses[i];
            goto cleanup;
        }
        TRY(attach(tree, parts[i].at, &subtrees.trees[i], err));
        row_tree_free(&subtrees.trees[i]);
    }
cleanup:
    for (int w = 0; subtrees.growers && w < workers; w++) grower_free(&subtrees.growers[w]);
    for (int32_t i = 0; subtrees.trees && i < n; i++) row_tree_free(&subtrees.trees[i]);
    mem_free(subtrees.growers);
    mem_free(subtrees.trees);
    mem_free(subtrees.statuses);
    mem_free(subtrees.errors);
    return status;
}

reel_status row_tree_grow(reel_context *ctx, const struct row_data *data, const uint16_t *copies,
                          const struct row_limits *limits, int alone, struct row_tree *tree, reel_error *err) {
    reel_status status = REEL_OK;
    struct grower grower = {0};
    struct top top = {0};
    struct part root = {.id = 1};
    *tree = (struct row_tree){0};
    TRY(grower_new(ctx, data, alone ? 1 : thread_pool_size(ctx->pool), &grower, err));
    grower.copies = copies;
    grower.limits = limits;
    grower.tree = tree;
    TRY(take_rows(data, copies, &grower.rows, &root.end, err));
    top.small = root.end / SUBTREES;
    if (!alone) grower.top = &top;
    TRY(forest_begin_tree(&tree->nodes, err));
    TRY(forest_add_node(&tree->nodes, (struct forest_node){-1, 0, 0, 0}, &root.at, err));
    TRY(grow(&grower, root, err));
    TRY(grow_parts(&grower, top.parts, top.n, tree, err));
cleanup:
    mem_free(grower.rows);
    mem_free(top.parts);
    grower_free(&grower);
    return status;
}

void row_tree_free(struct row_tree *tree) {
    forest_builder_free(&tree->nodes);
}

float row_tree_score(const struct row_data *data, const struct row_tree *tree, int64_t i) {
    const struct forest_node *node = tree->nodes.nodes;
    while (node->column >= 0) {
        const struct star_column *column = &data->star->columns[node->column];
        float value = column->values[row_of(data, column->table, (uint32_t)i)];
        node = &tree->nodes.nodes[value > node->value ? node->right : node->left];
    }
    return node->value;
}
