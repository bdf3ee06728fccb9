#include "model/tree_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

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

float tree_threshold(float low, float high) {
    double middle = (double)low / 2 + (double)high / 2;
    if (middle == (double)high || isinf(middle)) return low;
    float rounded = (float)middle;
    return (double)rounded > middle ? nextafterf(rounded, -INFINITY) : rounded;
}

/* ---- columns by the sums' rows ---- */

/* A column's arrays while they are filled. */
struct sorted_column {
    const struct tree_column *from;
    const int32_t *star_rows;
    int32_t n_rows;
    float *values;
    int32_t *ranks, *order, *starts;
    int32_t common;
};

/* Counting sort of the rows by rank. */
static void sort_column(void *arg, int64_t task, int worker) {
    (void)worker;
    struct sorted_column *column = (struct sorted_column *)arg + task;
    const int32_t n_values = column->from->n_values;
    int32_t *starts = column->starts;
    memcpy(column->values, column->from->values, (size_t)n_values * sizeof(float));
    memset(starts, 0, (size_t)(n_values + 1) * sizeof *starts);
    for (int32_t row = 0; row < column->n_rows; row++) {
        column->ranks[row] = column->from->ranks[column->star_rows ? column->star_rows[row] : row];
        starts[column->ranks[row] + 1]++;
    }
    column->common = -1;
    for (int32_t value = 0; value < n_values; value++) {
        if (starts[value + 1] > column->n_rows / 2) column->common = value;
        starts[value + 1] += starts[value];
    }
    for (int32_t row = 0; row < column->n_rows; row++) column->order[starts[column->ranks[row]]++] = row;
    /* Every start has moved on to the next one's. */
    memmove(starts + 1, starts, (size_t)n_values * sizeof *starts);
    starts[0] = 0;
}

/* Lays the arrays of all columns out in one each of floats and of integers. */
static reel_status make_room(struct tree_search *search, const int32_t *const star_rows[STAR_TABLES],
                             struct sorted_column *sorted, int64_t *n_values, int64_t *n_numbers, reel_error *err) {
    *n_values = *n_numbers = 0;
    for (int c = 0; c < search->from->n; c++) {
        const struct tree_column *column = &search->from->columns[c];
        *n_values += column->n_values;
        *n_numbers += 2 * (int64_t)search->n_rows[column->table] + column->n_values + 1;
    }
    TRY_RETURN(MEM_RAW(&search->values, *n_values, err));
    TRY_RETURN(MEM_RAW(&search->numbers, *n_numbers, err));
    float *values = search->values;
    int32_t *numbers = search->numbers;
    for (int c = 0; c < search->from->n; c++) {
        const struct tree_column *column = &search->from->columns[c];
        int32_t n_rows = search->n_rows[column->table];
        sorted[c] = (struct sorted_column){.from = column,
                                           .star_rows = star_rows[column->table],
                                           .n_rows = n_rows,
                                           .values = values,
                                           .ranks = numbers,
                                           .order = numbers + n_rows,
                                           .starts = numbers + 2 * (int64_t)n_rows};
        values += column->n_values;
        numbers += 2 * (int64_t)n_rows + column->n_values + 1;
    }
    return REEL_OK;
}

static reel_status place_columns(struct tree_search *search, const struct sorted_column *sorted, int64_t n_values,
                                 int64_t n_numbers, reel_error *err) {
    const float *values;
    const int32_t *numbers;
    TRY_RETURN(JOB_CONSTANT(&search->job, &values, search->values, n_values, err));
    TRY_RETURN(JOB_CONSTANT(&search->job, &numbers, search->numbers, n_numbers, err));
    for (int c = 0; c < search->from->n; c++)
        search->columns[c] = (struct tree_split_column){.table = (int)sorted[c].from->table,
                                                        .n_rows = sorted[c].n_rows,
                                                        .n_values = sorted[c].from->n_values,
                                                        .values = values + (sorted[c].values - search->values),
                                                        .ranks = numbers + (sorted[c].ranks - search->numbers),
                                                        .order = numbers + (sorted[c].order - search->numbers),
                                                        .starts = numbers + (sorted[c].starts - search->numbers),
                                                        .common = sorted[c].common};
    return REEL_OK;
}

reel_status tree_search_new(reel_context *ctx, struct backend *backend, const struct tree_columns *columns,
                            const int32_t n_rows[STAR_TABLES], const int32_t *const star_rows[STAR_TABLES], int n_nodes,
                            struct tree_search *search, reel_error *err) {
    reel_status status = REEL_OK;
    struct sorted_column *sorted = NULL;
    int64_t n_values, n_numbers;
    *search = (struct tree_search){.job.backend = backend, .from = columns};
    memcpy(search->n_rows, n_rows, sizeof search->n_rows);
    TRY(MEM_NEW(&sorted, columns->n, err));
    TRY(MEM_NEW(&search->columns, columns->n, err));
    TRY(MEM_RAW(&search->best, (int64_t)columns->n * n_nodes, err));
    TRY(make_room(search, star_rows, sorted, &n_values, &n_numbers, err));
    thread_pool_run(ctx->pool, columns->n, sort_column, sorted);
    TRY(place_columns(search, sorted, n_values, n_numbers, err));
cleanup:
    mem_free(sorted);
    return status;
}

void tree_search_free(struct tree_search *search) {
    job_memory_free(&search->job);
    mem_free(search->columns);
    mem_free(search->best);
    mem_free(search->values);
    mem_free(search->numbers);
    *search = (struct tree_search){0};
}

/* ---- searches ---- */

reel_status tree_search_root(const struct tree_search *search, struct tree_total *total, reel_error *err) {
    struct tree_total sums[STAR_HOURS + 1];
    struct backend *backend = search->job.backend;
    const int32_t n = search->n_rows[STAR_CALENDAR];
    *total = (struct tree_total){0, 0};
    TRY_RETURN(backend->ops->download(backend, sums, search->sums[STAR_CALENDAR], (size_t)n * sizeof *sums, err));
    for (int32_t row = 0; row < n; row++) {
        total->sum += sums[row].sum;
        total->count += sums[row].count;
    }
    return REEL_OK;
}

reel_status tree_search_run(struct tree_search *search, int n_nodes, const struct tree_total *totals,
                            const uint8_t *open, int64_t min_leaf, reel_error *err) {
    struct backend *backend = search->job.backend;
    struct tree_splits_args args = {.n_columns = search->from->n,
                                    .columns = search->columns,
                                    .n_nodes = n_nodes,
                                    .totals = totals,
                                    .open = open,
                                    .min_leaf = min_leaf,
                                    .best = search->best};
    memcpy(args.sums, search->sums, sizeof args.sums);
    return backend->ops->tree_splits(backend, &args, err);
}
