#include "model/row_top.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum { USERS_A_TASK = 256, ROWS_A_TASK = 1 << 13 };

struct top_node {
    struct row_part part;
    int left; /* 1: to be searched no more here, but by lists */
};

struct top {
    reel_context *ctx;
    const struct row_data *data;
    const uint16_t *copies;
    const struct row_limits *limits;
    struct row_tree *tree;
    int alone, n_workers;
    int64_t n_rows[STAR_TABLES]; /* the unknown ones included */
    int n_nodes;                 /* of the level that are not leaves */
    struct top_node nodes[ROW_TOP_NODES];
    uint64_t *masks[STAR_TABLES]; /* (n_rows,) bit k = nodes[k] is possible */
    tree_sum *sums[STAR_TABLES];  /* (n_rows, n_nodes); movies and hours: by worker, then added up in the first */
};

_Static_assert(ROW_TOP_NODES <= 64, "a node is a bit of a mask");

static void run(const struct top *top, int64_t n_tasks, task_fn task, void *arg) {
    if (!top->alone) {
        thread_pool_run(top->ctx->pool, n_tasks, task, arg);
        return;
    }
    for (int64_t t = 0; t < n_tasks; t++) task(arg, t, 0);
}

static int64_t n_tasks(const struct top *top) {
    return ((int64_t)top->data->ratings->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
}

static int32_t task_end(const struct top *top, int64_t task) {
    int64_t end = (task + 1) * USERS_A_TASK;
    return end < top->data->ratings->n_users ? (int32_t)end : top->data->ratings->n_users;
}

/* ---- life ---- */

static reel_status top_new(struct top *top, reel_error *err) {
    for (int t = 0; t < STAR_TABLES; t++) {
        top->n_rows[t] = (int64_t)top->data->star->n_rows[t] + 1;
        TRY_RETURN(MEM_RAW(&top->masks[t], top->n_rows[t], err));
        for (int64_t row = 0; row < top->n_rows[t]; row++) top->masks[t][row] = 1;
    }
    return REEL_OK;
}

static void free_sums(struct top *top) {
    for (int t = 0; t < STAR_TABLES; t++) {
        mem_free(top->sums[t]);
        top->sums[t] = NULL;
    }
}

static void top_free(struct top *top) {
    free_sums(top);
    for (int t = 0; t < STAR_TABLES; t++) mem_free(top->masks[t]);
}

/* ---- sums ---- */

/* One user's ratings; the flags are constants where it is inlined. */
static inline __attribute__((always_inline)) void sum_user(const struct top *top, int32_t user, tree_sum *movie_sums,
                                                           tree_sum *hour_sums, int by_stars, int weighted) {
    const struct ratings *ratings = top->data->ratings;
    const int n_nodes = top->n_nodes, stride = by_stars ? STAR_HALF_STARS : 1;
    const uint64_t *user_masks = top->masks[STAR_USER] + (int64_t)user * stride;
    const uint64_t *movie_masks = top->masks[STAR_MOVIE], *hour_masks = top->masks[STAR_CALENDAR];
    tree_sum *own = top->sums[STAR_USER] + (int64_t)user * stride * n_nodes;
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
        const uint8_t half_stars = ratings->user_ratings[i];
        const int shift = by_stars ? half_stars - 1 : 0, hour = top->data->hours[i];
        const int64_t movie = (int64_t)ratings->user_movies[i] * stride + shift;
        const uint64_t mask = user_masks[shift] & movie_masks[movie] & hour_masks[hour];
        if (!mask) continue;
        const int node = __builtin_ctzll(mask);
        const tree_sum one = row_sum(weighted ? top->copies[i] : 1, half_stars);
        own[shift * n_nodes + node] += one;
        movie_sums[movie * n_nodes + node] += one;
        hour_sums[hour * n_nodes + node] += one;
    }
}

static inline __attribute__((always_inline)) void sum_users(const struct top *top, int64_t task, int worker,
                                                            int by_stars, int weighted) {
    tree_sum *movie_sums = top->sums[STAR_MOVIE] + worker * top->n_rows[STAR_MOVIE] * top->n_nodes;
    tree_sum *hour_sums = top->sums[STAR_CALENDAR] + worker * top->n_rows[STAR_CALENDAR] * top->n_nodes;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < task_end(top, task); user++)
        sum_user(top, user, movie_sums, hour_sums, by_stars, weighted);
}

static void sum_plain(void *top, int64_t task, int worker) {
    sum_users(top, task, worker, 0, 0);
}
static void sum_weighted(void *top, int64_t task, int worker) {
    sum_users(top, task, worker, 0, 1);
}
static void sum_by_stars(void *top, int64_t task, int worker) {
    sum_users(top, task, worker, 1, 0);
}
static void sum_weighted_by_stars(void *top, int64_t task, int worker) {
    sum_users(top, task, worker, 1, 1);
}

static reel_status sum_level(struct top *top, reel_error *err) {
    static const task_fn tasks[2][2] = {{sum_plain, sum_weighted}, {sum_by_stars, sum_weighted_by_stars}};
    free_sums(top);
    for (int t = 0; t < STAR_TABLES; t++) {
        int64_t n = top->n_rows[t] * top->n_nodes;
        TRY_RETURN(MEM_NEW(&top->sums[t], n * (t == STAR_USER ? 1 : top->n_workers), err));
    }
    run(top, n_tasks(top), tasks[top->data->stride > 1][top->copies != NULL], top);
    for (int t = STAR_MOVIE; t < STAR_TABLES; t++) {
        int64_t n = top->n_rows[t] * top->n_nodes;
        for (int w = 1; w < top->n_workers; w++)
            for (int64_t i = 0; i < n; i++) top->sums[t][i] += top->sums[t][w * n + i];
    }
    return REEL_OK;
}

/* ---- splits ---- */

enum { NODES_A_TASK = 8 };

struct search {
    const struct top *top;
    tree_sum *bins; /* by worker: (most values, NODES_A_TASK) */
    int64_t bins_stride;
    struct row_split *splits; /* (columns, n_nodes) */
};

static int n_node_tasks(const struct top *top) {
    return (top->n_nodes + NODES_A_TASK - 1) / NODES_A_TASK;
}

/* bins (values, n) = the sums of n nodes by value instead of by row. */
static void fill_bins(const struct top *top, const struct tree_column *column, int first, int n, tree_sum *bins) {
    const tree_sum *sums = top->sums[column->table] + first;
    memset(bins, 0, sizeof *bins * (size_t)column->n_values * (size_t)n);
    for (int64_t row = 0; row <= column->n_rows; row++)
        for (int node = 0; node < n; node++)
            bins[(int64_t)column->ranks[row] * n + node] += sums[row * top->n_nodes + node];
}

/* Some nodes on one column. */
static void search_nodes(void *arg, int64_t task, int worker) {
    const struct search *search = arg;
    const struct top *top = search->top;
    const int64_t c = task / n_node_tasks(top);
    const struct tree_column *column = &top->data->columns.columns[c];
    const int first = (int)(task % n_node_tasks(top)) * NODES_A_TASK;
    const int n = top->n_nodes - first < NODES_A_TASK ? top->n_nodes - first : NODES_A_TASK;
    tree_sum *bins = search->bins + worker * search->bins_stride;
    fill_bins(top, column, first, n, bins);
    for (int node = 0; node < n; node++) {
        const struct top_node *at = &top->nodes[first + node];
        struct row_split *best = &search->splits[c * top->n_nodes + first + node];
        struct row_scan scan = {column, at->part.total, {0, 0}, -1, top->limits->min_samples_leaf};
        *best = (struct row_split){.gain = -1};
        for (int32_t value = 0; value < column->n_values && !at->left; value++)
            if (bins[(int64_t)value * n + node][1] != 0)
                row_scan_value(&scan, value, bins[(int64_t)value * n + node], best);
    }
}

/* As choose_column of row_lists.c. */
static int choose_column(const struct search *search, int node) {
    const struct row_limits *limits = search->top->limits;
    int order[STAR_COLUMNS_MAX], n = search->top->data->columns.n, seen = 0, best = -1;
    const struct row_split *splits = search->splits;
    const int n_nodes = search->top->n_nodes;
    tree_draw_columns(limits->seed, limits->tree, search->top->nodes[node].part.id, n, order);
    for (int i = 0; i < n && (seen < limits->max_features || best < 0); i++) {
        const struct row_split *split = &splits[order[i] * n_nodes + node];
        seen += split->varies;
        if (split->gain >= 0 && (best < 0 || split->gain > splits[best * n_nodes + node].gain)) best = order[i];
    }
    return best;
}

/* How a node's ratings go on; bits of the next level's nodes, 0 = none. */
struct step {
    int table; /* -1: all go left */
    const int32_t *ranks;
    int32_t rank;
    uint64_t left, right;
};

struct steps {
    struct top *top;
    struct step at[ROW_TOP_NODES];
    int n, table;
};

static void step_rows(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct steps *steps = arg;
    uint64_t *masks = steps->top->masks[steps->table];
    int64_t end = (task + 1) * ROWS_A_TASK, n = steps->top->n_rows[steps->table];
    for (int64_t row = task * ROWS_A_TASK; row < (end < n ? end : n); row++) {
        uint64_t next = 0;
        for (int node = 0; node < steps->n; node++) {
            const struct step *step = &steps->at[node];
            uint64_t to = step->left | step->right;
            if (step->table == steps->table) to = step->ranks[row] > step->rank ? step->right : step->left;
            next |= to & (0 - (masks[row] >> node & 1));
        }
        masks[row] = next;
    }
}

static uint64_t keep(struct top *top, struct row_part part, int left) {
    top->nodes[top->n_nodes] = (struct top_node){part, left};
    return UINT64_C(1) << top->n_nodes++;
}

/* Splits the level's nodes; *n_left = those that the next level has to search. */
static reel_status split_nodes(struct top *top, const struct search *search, int *n_left, reel_error *err) {
    struct top_node nodes[ROW_TOP_NODES];
    struct steps steps = {.top = top, .n = top->n_nodes};
    int columns[ROW_TOP_NODES];
    *n_left = 0;
    memcpy(nodes, top->nodes, sizeof nodes);
    for (int node = 0; node < steps.n; node++) columns[node] = nodes[node].left ? -1 : choose_column(search, node);
    top->n_nodes = 0;
    for (int node = 0; node < steps.n; node++) {
        const int c = columns[node];
        const struct row_split *split = &search->splits[c * steps.n + node];
        struct row_part children[2];
        steps.at[node] = (struct step){.table = -1};
        /* A split that gains nothing may be one of equal ratings, which lists tell. */
        if (nodes[node].left || (c >= 0 && split->gain <= 0)) steps.at[node].left = keep(top, nodes[node].part, 1);
        if (c < 0 || split->gain <= 0) continue;
        TRY_RETURN(row_split_node(top->tree, &nodes[node].part, c, split, children, err));
        const struct tree_column *column = &top->data->columns.columns[c];
        steps.at[node] = (struct step){(int)column->table, column->ranks, split->rank, 0, 0};
        if (row_may_split(top->limits, &children[0])) steps.at[node].left = keep(top, children[0], 0), ++*n_left;
        if (row_may_split(top->limits, &children[1])) steps.at[node].right = keep(top, children[1], 0), ++*n_left;
    }
    for (int t = 0; t < STAR_TABLES; t++) {
        steps.table = t;
        run(top, (top->n_rows[t] + ROWS_A_TASK - 1) / ROWS_A_TASK, step_rows, &steps);
    }
    return REEL_OK;
}

static reel_status split_level(struct top *top, int *n_left, reel_error *err) {
    reel_status status = REEL_OK;
    const struct tree_columns *columns = &top->data->columns;
    struct search search = {.top = top};
    for (int c = 0; c < columns->n; c++)
        if (columns->columns[c].n_values * (int64_t)NODES_A_TASK > search.bins_stride)
            search.bins_stride = columns->columns[c].n_values * (int64_t)NODES_A_TASK;
    TRY(MEM_RAW(&search.bins, search.bins_stride * top->n_workers, err));
    TRY(MEM_RAW(&search.splits, (int64_t)columns->n * top->n_nodes, err));
    run(top, (int64_t)columns->n * n_node_tasks(top), search_nodes, &search);
    TRY(split_nodes(top, &search, n_left, err));
cleanup:
    mem_free(search.bins);
    mem_free(search.splits);
    return status;
}

/* ---- records ---- */

struct scatter {
    const struct top *top;
    struct row_record *records; /* NULL: only count */
    int64_t *places;            /* (tasks, ROW_TOP_NODES): how many, then where the next one goes */
};

static void scatter_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct scatter *scatter = arg;
    const struct top *top = scatter->top;
    const struct row_data *data = top->data;
    const struct ratings *ratings = data->ratings;
    int64_t *places = scatter->places + task * ROW_TOP_NODES;
    for (int32_t u = (int32_t)(task * USERS_A_TASK); u < task_end(top, task); u++) {
        for (int64_t i = ratings->user_offsets[u]; i < ratings->user_offsets[u + 1]; i++) {
            const uint8_t half_stars = ratings->user_ratings[i], hour = data->hours[i];
            const int32_t user = features_row(data->stride, u, half_stars);
            const int32_t movie = features_row(data->stride, ratings->user_movies[i], half_stars);
            const uint16_t n = top->copies ? top->copies[i] : 1;
            const uint64_t mask =
                top->masks[STAR_USER][user] & top->masks[STAR_MOVIE][movie] & top->masks[STAR_CALENDAR][hour];
            if (!mask || !n) continue;
            const int64_t at = places[__builtin_ctzll(mask)]++;
            if (scatter->records) scatter->records[at] = (struct row_record){user, movie, n, hour, half_stars};
        }
    }
}

/* Numbers of records to places: parts one after another, each in the order of tasks. */
static int64_t place_parts(const struct top *top, int64_t *places, struct row_part *parts) {
    int64_t n = 0;
    for (int part = 0; part < top->n_nodes; part++) {
        parts[part] = top->nodes[part].part;
        parts[part].begin = n;
        for (int64_t task = 0; task < n_tasks(top); task++) {
            int64_t *place = &places[task * ROW_TOP_NODES + part], count = *place;
            *place = n;
            n += count;
        }
        parts[part].end = n;
    }
    return n;
}

static reel_status take_records(struct top *top, struct row_records *records, struct row_part *parts, reel_error *err) {
    reel_status status = REEL_OK;
    struct scatter scatter = {.top = top};
    TRY(MEM_NEW(&scatter.places, n_tasks(top) * ROW_TOP_NODES, err));
    run(top, n_tasks(top), scatter_task, &scatter);
    records->n = place_parts(top, scatter.places, parts);
    for (int side = 0; side < 2; side++) TRY(MEM_RAW(&records->at[side], records->n, err));
    scatter.records = records->at[0];
    run(top, n_tasks(top), scatter_task, &scatter);
cleanup:
    mem_free(scatter.places);
    return status;
}

void row_records_free(struct row_records *records) {
    for (int side = 0; side < 2; side++) mem_free(records->at[side]);
    *records = (struct row_records){0};
}

/* ---- growing ---- */

struct total_job {
    const struct top *top;
    tree_sum *totals; /* by task */
};

static void total_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct total_job *job = arg;
    const struct top *top = job->top;
    const struct ratings *ratings = top->data->ratings;
    const int64_t end = ratings->user_offsets[task_end(top, task)];
    tree_sum total = {0, 0};
    for (int64_t i = ratings->user_offsets[task * USERS_A_TASK]; i < end; i++)
        total += row_sum(top->copies ? top->copies[i] : 1, ratings->user_ratings[i]);
    job->totals[task] = total;
}

static reel_status set_root(struct top *top, reel_error *err) {
    struct total_job job = {.top = top};
    struct row_part root = {.id = 1};
    TRY_RETURN(MEM_NEW(&job.totals, n_tasks(top), err));
    run(top, n_tasks(top), total_task, &job);
    for (int64_t task = 0; task < n_tasks(top); task++) root.total += job.totals[task];
    mem_free(job.totals);
    root.at = top->tree->nodes.n_nodes - 1;
    top->tree->nodes.nodes[root.at] = row_leaf(root.total);
    if (row_may_split(top->limits, &root)) keep(top, root, 0);
    return REEL_OK;
}

reel_status row_top_grow(reel_context *ctx, const struct row_data *data, const uint16_t *copies,
                         const struct row_limits *limits, int alone, struct row_tree *tree, struct row_records *records,
                         struct row_part *parts, int *n_parts, reel_error *err) {
    reel_status status = REEL_OK;
    struct top top = {.ctx = ctx,
                      .data = data,
                      .copies = copies,
                      .limits = limits,
                      .tree = tree,
                      .alone = alone,
                      .n_workers = alone ? 1 : thread_pool_size(ctx->pool)};
    *records = (struct row_records){0};
    TRY(top_new(&top, err));
    TRY(set_root(&top, err));
    for (int level = 0, n_left = top.n_nodes; level < limits->levels && n_left > 0; level++) {
        TRY(context_check(ctx, err));
        TRY(sum_level(&top, err));
        TRY(split_level(&top, &n_left, err));
    }
    free_sums(&top);
    *n_parts = top.n_nodes;
    if (top.n_nodes > 0) TRY(take_records(&top, records, parts, err));
cleanup:
    top_free(&top);
    return status;
}
