#include "model/forest.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

/* ---- building ---- */

static reel_status grow(void **array, int32_t n, int32_t *capacity, size_t size, reel_error *err) {
    if (n < *capacity) return REEL_OK;
    void *larger;
    if (*capacity > INT32_MAX / 4) return error_set(err, REEL_UNSUPPORTED, "the forest has too many nodes");
    int32_t room = *capacity ? 2 * *capacity : 1024;
    TRY_RETURN(mem_zero(&larger, (size_t)room, size, err));
    if (*array) memcpy(larger, *array, (size_t)*capacity * size);
    mem_free(*array);
    *array = larger;
    *capacity = room;
    return REEL_OK;
}

reel_status forest_begin_tree(struct forest_builder *builder, reel_error *err) {
    TRY_RETURN(grow((void **)&builder->offsets, builder->n_trees + 1, &builder->tree_capacity, sizeof(int32_t), err));
    builder->offsets[builder->n_trees++] = builder->n_nodes;
    return REEL_OK;
}

reel_status forest_add_node(struct forest_builder *builder, struct forest_node node, int32_t *at, reel_error *err) {
    TRY_RETURN(grow((void **)&builder->nodes, builder->n_nodes, &builder->capacity, sizeof node, err));
    *at = builder->n_nodes;
    builder->nodes[builder->n_nodes++] = node;
    builder->offsets[builder->n_trees] = builder->n_nodes;
    return REEL_OK;
}

void forest_builder_free(struct forest_builder *builder) {
    mem_free(builder->nodes);
    mem_free(builder->offsets);
    *builder = (struct forest_builder){0};
}

/* ---- tensors ---- */

static const char *const table_tensors[STAR_TABLES] = {"user_columns", "movie_columns", "hour_columns"};

static reel_status put_table(const struct star *star, enum star_table table, struct tensor_set *set, reel_error *err) {
    int64_t shape[2] = {0, (int64_t)star->n_rows[table] + 1};
    void *data;
    for (int c = 0; c < star->n_columns; c++) shape[0] += star->columns[c].table == table;
    TRY_RETURN(tensor_set_add(set, table_tensors[table], DTYPE_F32, 2, shape, &data, err));
    float *to = data;
    for (int c = 0; c < star->n_columns; c++) {
        if (star->columns[c].table != table) continue;
        memcpy(to, star->columns[c].values, (size_t)shape[1] * sizeof *to);
        to += shape[1];
    }
    return REEL_OK;
}

reel_status forest_put_columns(const struct star *star, struct tensor_set *set, reel_error *err) {
    void *tables, *offsets, *names;
    for (int t = 0; t < STAR_TABLES; t++) TRY_RETURN(put_table(star, (enum star_table)t, set, err));
    TRY_RETURN(tensor_set_add1(set, "column_tables", DTYPE_U8, star->n_columns, &tables, err));
    TRY_RETURN(tensor_set_add1(set, "column_name_offsets", DTYPE_I64, star->n_columns + 1, &offsets, err));
    int64_t *ends = offsets;
    for (int c = 0; c < star->n_columns; c++) {
        ((uint8_t *)tables)[c] = (uint8_t)star->columns[c].table;
        ends[c + 1] = ends[c] + (int64_t)strlen(star->columns[c].name) + 1;
    }
    TRY_RETURN(tensor_set_add1(set, "column_names", DTYPE_U8, ends[star->n_columns], &names, err));
    for (int c = 0; c < star->n_columns; c++)
        memcpy((char *)names + ends[c], star->columns[c].name, strlen(star->columns[c].name) + 1);
    return REEL_OK;
}

reel_status forest_put_trees(const struct forest_builder *builder, float base, struct tensor_set *set,
                             reel_error *err) {
    int32_t n = builder->n_nodes;
    void *offsets, *columns, *thresholds, *lefts, *rights, *values, *base_tensor;
    TRY_RETURN(tensor_set_add1(set, "base", DTYPE_F32, 1, &base_tensor, err));
    TRY_RETURN(tensor_set_add1(set, "tree_offsets", DTYPE_I32, builder->n_trees + 1, &offsets, err));
    TRY_RETURN(tensor_set_add1(set, "node_columns", DTYPE_I32, n, &columns, err));
    TRY_RETURN(tensor_set_add1(set, "node_thresholds", DTYPE_F32, n, &thresholds, err));
    TRY_RETURN(tensor_set_add1(set, "node_lefts", DTYPE_I32, n, &lefts, err));
    TRY_RETURN(tensor_set_add1(set, "node_rights", DTYPE_I32, n, &rights, err));
    TRY_RETURN(tensor_set_add1(set, "node_values", DTYPE_F32, n, &values, err));
    *(float *)base_tensor = base;
    if (builder->n_trees) memcpy(offsets, builder->offsets, ((size_t)builder->n_trees + 1) * sizeof(int32_t));
    for (int32_t i = 0; i < n; i++) {
        const struct forest_node *node = &builder->nodes[i];
        ((int32_t *)columns)[i] = node->column;
        ((int32_t *)lefts)[i] = node->left;
        ((int32_t *)rights)[i] = node->right;
        ((float *)(node->column < 0 ? values : thresholds))[i] = node->value;
    }
    return REEL_OK;
}

/* ---- binding ---- */

enum { NO_PARENT = 255 };

/* A node's place, checked against its tree: nodes first .. end-1. `depths` are counted from the root, NO_PARENT before
 * the node that has this child was seen. */
static reel_status check_node(const struct reel_model *model, const struct forest *forest, int32_t at, int32_t first,
                              int32_t end, uint8_t *depths, reel_error *err) {
    const char *path = tensor_set_path(model->set);
    const struct tree_step *node = &forest->nodes[at];
    if (at == first) depths[at] = 0;
    if (depths[at] == NO_PARENT) return error_set(err, REEL_CORRUPT, "%s: node %d is nobody's child", path, at);
    if (node->column < -1 || node->column >= forest->columns.n)
        return error_set(err, REEL_CORRUPT, "%s: node %d asks for column %d of %d", path, at, node->column,
                         forest->columns.n);
    if (node->column < 0) return REEL_OK;
    if (depths[at] == FOREST_DEPTH_MAX)
        return error_set(err, REEL_CORRUPT, "%s: node %d lies deeper than %d levels", path, at, FOREST_DEPTH_MAX);
    const int32_t children[2] = {node->left, node->right};
    for (int i = 0; i < 2; i++) {
        if (children[i] <= at || children[i] >= end)
            return error_set(err, REEL_CORRUPT, "%s: node %d has child %d, allowed are %d..%d", path, at, children[i],
                             at + 1, end - 1);
        if (depths[children[i]] != NO_PARENT)
            return error_set(err, REEL_CORRUPT, "%s: node %d is the child of two", path, children[i]);
        depths[children[i]] = (uint8_t)(depths[at] + 1);
    }
    return REEL_OK;
}

static reel_status bind_nodes(const struct reel_model *model, struct forest *forest, reel_error *err) {
    reel_status status = REEL_OK;
    const struct tensor *offsets, *columns, *lefts, *rights;
    const float *thresholds, *values;
    uint8_t *depths = NULL;
    int64_t any = -1;
    TRY(tensor_set_require(model->set, "tree_offsets", DTYPE_I32, 1, &any, &offsets, err));
    TRY(tensor_set_require(model->set, "node_columns", DTYPE_I32, 1, &any, &columns, err));
    int64_t n = columns->n;
    TRY(tensor_set_require(model->set, "node_lefts", DTYPE_I32, 1, &n, &lefts, err));
    TRY(tensor_set_require(model->set, "node_rights", DTYPE_I32, 1, &n, &rights, err));
    TRY(model_require_floats(model, "node_thresholds", 1, &n, &thresholds, NULL, err));
    TRY(model_require_floats(model, "node_values", 1, &n, &values, NULL, err));
    forest->offsets = offsets->data;
    const int32_t *ends = offsets->data;
    if (offsets->n < 1 || offsets->n > INT32_MAX || n > INT32_MAX || ends[0] != 0 || ends[offsets->n - 1] != n) {
        status = error_set(err, REEL_CORRUPT, "%s: tree_offsets do not cover the %lld nodes",
                           tensor_set_path(model->set), (long long)n);
        goto cleanup;
    }
    forest->n_trees = (int32_t)offsets->n - 1;
    TRY(MEM_RAW(&forest->nodes, n, err));
    TRY(MEM_RAW(&depths, n, err));
    memset(depths, NO_PARENT, (size_t)n);
    for (int64_t i = 0; i < n; i++) {
        int32_t column = ((const int32_t *)columns->data)[i];
        forest->nodes[i] = (struct tree_step){column, column < 0 ? values[i] : thresholds[i],
                                              ((const int32_t *)lefts->data)[i], ((const int32_t *)rights->data)[i]};
    }
    for (int32_t t = 0; t < forest->n_trees; t++) {
        if (ends[t + 1] <= ends[t] || ends[t + 1] > n) {
            status = error_set(err, REEL_CORRUPT, "%s: tree %d has nodes %d..%d", tensor_set_path(model->set), t,
                               ends[t], ends[t + 1] - 1);
            goto cleanup;
        }
        for (int32_t at = ends[t]; at < ends[t + 1]; at++)
            TRY(check_node(model, forest, at, ends[t], ends[t + 1], depths, err));
    }
cleanup:
    mem_free(depths);
    return status;
}

/* What the leaves of tree t lie between, stars. */
struct leaf_range {
    float low, high;
};

static struct leaf_range range_of(const struct forest *forest, int32_t t) {
    struct leaf_range range = {INFINITY, -INFINITY};
    for (int32_t at = forest->offsets[t]; at < forest->offsets[t + 1]; at++) {
        if (forest->nodes[at].column >= 0) continue;
        range.low = fminf(range.low, forest->nodes[at].threshold);
        range.high = fmaxf(range.high, forest->nodes[at].threshold);
    }
    return range;
}

/* The largest shift that the sums leave room for; -1 = none. */
static int shift_for(double moving, double total, int32_t n_trees) {
    for (int shift = 30; shift >= 0; shift--)
        if (ldexp(moving, shift) + n_trees < 0x1p27 && ldexp(total, shift) + n_trees < 0x1p31 - 1)
            return ldexp(n_trees + 1.0, -shift - 1) <= 1e-4 ? shift : -1;
    return -1;
}

static void number_leaves(struct forest *forest, int32_t t, int32_t centre) {
    int32_t n = 0;
    for (int32_t at = forest->offsets[t]; at < forest->offsets[t + 1]; at++) {
        struct tree_step *node = &forest->nodes[at];
        if (node->column >= 0) continue;
        node->left = forest->fixed ? (int32_t)lrint(ldexp((double)node->threshold, forest->shift)) - centre : 0;
        node->right = n++;
    }
}

/* Fills what makes scores integer sums; every tree has a leaf, as children lie behind their parents. */
static void bind_fixed(struct forest *forest) {
    double moving = 0, total = fabs((double)forest->base);
    for (int32_t t = 0; t < forest->n_trees; t++) {
        struct leaf_range range = range_of(forest, t);
        moving += ((double)range.high - (double)range.low) / 2;
        total += fmax(fabs((double)range.low), fabs((double)range.high));
    }
    forest->shift = shift_for(moving, total, forest->n_trees);
    forest->fixed = forest->shift >= 0;
    if (forest->fixed) forest->fixed_base = (int32_t)lrint(ldexp((double)forest->base, forest->shift));
    for (int32_t t = 0; t < forest->n_trees; t++) {
        struct leaf_range range = range_of(forest, t);
        int32_t centre = 0;
        if (forest->fixed) centre = (int32_t)lrint(ldexp(((double)range.low + (double)range.high) / 2, forest->shift));
        forest->fixed_base += centre;
        number_leaves(forest, t, centre);
    }
}

/* The name of column c, or NULL where the texts are no texts. */
static const char *column_name(const struct tensor *offsets, const struct tensor *names, int64_t c) {
    const int64_t *begins = offsets->data;
    if (begins[c] < 0 || begins[c] >= begins[c + 1] || begins[c + 1] > names->n) return NULL;
    const char *text = (const char *)names->data + begins[c];
    return text[begins[c + 1] - begins[c] - 1] == '\0' ? text : NULL;
}

reel_status forest_bind_columns(const struct reel_model *model, struct forest_columns *columns, reel_error *err) {
    const char *path = tensor_set_path(model->set);
    const int64_t rows[STAR_TABLES] = {(int64_t)model->n_users + 1, (int64_t)model->n_movies + 1, STAR_HOURS + 1};
    const struct tensor *tables, *offsets, *names;
    const float *values[STAR_TABLES];
    int64_t any = -1, used[STAR_TABLES] = {0}, there[STAR_TABLES];
    TRY_RETURN(tensor_set_require(model->set, "column_tables", DTYPE_U8, 1, &any, &tables, err));
    if (tables->n < 1 || tables->n > STAR_COLUMNS_MAX)
        return error_set(err, REEL_CORRUPT, "%s: 1..%d columns are possible (found %lld)", path, STAR_COLUMNS_MAX,
                         (long long)tables->n);
    columns->n = (int)tables->n;
    any = tables->n + 1;
    TRY_RETURN(tensor_set_require(model->set, "column_name_offsets", DTYPE_I64, 1, &any, &offsets, err));
    any = -1;
    TRY_RETURN(tensor_set_require(model->set, "column_names", DTYPE_U8, 1, &any, &names, err));
    for (int t = 0; t < STAR_TABLES; t++) {
        int64_t shape[2] = {-1, rows[t]};
        const struct tensor *tensor;
        TRY_RETURN(model_require_floats(model, table_tensors[t], 2, shape, &values[t], NULL, err));
        TRY_RETURN(tensor_set_require(model->set, table_tensors[t], DTYPE_F32, 2, shape, &tensor, err));
        there[t] = tensor->shape[0];
    }
    columns->user_mean = -1;
    for (int c = 0; c < columns->n; c++) {
        unsigned table = ((const uint8_t *)tables->data)[c];
        const char *name = column_name(offsets, names, c);
        if (!name || table >= STAR_TABLES || used[table] == there[table])
            return error_set(err, REEL_CORRUPT, "%s: column %d is missing", path, c);
        columns->tables[c] = (uint8_t)table;
        columns->names[c] = name;
        columns->values[c] = values[table] + used[table]++ * rows[table];
        if (table == STAR_USER && strcmp(name, "user_rt_mean") == 0) columns->user_mean = c;
    }
    return REEL_OK;
}

reel_status forest_bind(struct reel_model *model, reel_error *err) {
    struct forest *forest;
    const float *base;
    int64_t one = 1;
    TRY_RETURN(MEM_NEW(&forest, 1, err));
    model->state = forest;
    TRY_RETURN(model_require_floats(model, "base", 1, &one, &base, NULL, err));
    forest->base = *base;
    TRY_RETURN(forest_bind_columns(model, &forest->columns, err));
    TRY_RETURN(bind_nodes(model, forest, err));
    bind_fixed(forest);
    return REEL_OK;
}

void forest_unbind(struct reel_model *model) {
    struct forest *forest = model->state;
    if (forest) {
        mem_free(forest->nodes);
        reel_model_free(forest->init);
    }
    mem_free(forest);
}

/* ---- scoring ---- */

void forest_fetch_row(const struct reel_model *model, const struct forest_columns *columns, int32_t user, int32_t movie,
                      int32_t hour, float *row) {
    const int32_t at[STAR_TABLES] = {user < 0 ? model->n_users : user, movie < 0 ? model->n_movies : movie, hour};
    for (int c = 0; c < columns->n; c++) row[c] = columns->values[c][at[columns->tables[c]]];
}

static float score_row(const struct forest *forest, const float *row) {
    int32_t fixed = forest->fixed_base;
    double score = (double)forest->base;
    for (int32_t t = 0; t < forest->n_trees; t++) {
        const struct tree_step *leaf = tree_walk(forest->nodes, forest->offsets[t], row);
        fixed += leaf->left;
        if (!forest->fixed) score += (double)leaf->threshold;
    }
    return forest->fixed ? (float)fixed / (float)(INT64_C(1) << forest->shift) : (float)score;
}

reel_status forest_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                           const uint32_t *times, float *scores, float *sds, reel_error *err) {
    (void)sds, (void)err;
    const struct forest *forest = model->state;
    float row[STAR_COLUMNS_MAX];
    for (int64_t i = 0; i < n; i++) {
        forest_fetch_row(model, &forest->columns, users[i], movies[i], star_hour(times ? times[i] : 0), row);
        scores[i] = score_row(forest, row);
    }
    return REEL_OK;
}

void forest_score_visitor(const struct reel_model *model, int64_t n, const float *stars, uint32_t time,
                          forest_row_fn score, float *scores) {
    const struct forest *forest = model->state;
    float row[STAR_COLUMNS_MAX];
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)stars[i];
    for (int32_t m = 0; m < model->n_movies; m++) {
        forest_fetch_row(model, &forest->columns, -1, m, star_hour(time), row);
        if (n && forest->columns.user_mean >= 0) row[forest->columns.user_mean] = (float)(sum / (double)n);
        scores[m] = score(model, row);
    }
}

static float score_sum(const struct reel_model *model, const float *row) {
    return score_row(model->state, row);
}

reel_status forest_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                           uint32_t time, float *scores, float *sds, reel_error *err) {
    (void)movies, (void)sds, (void)err;
    forest_score_visitor(model, n, stars, time, score_sum, scores);
    return REEL_OK;
}

const struct forest *forest_view(const struct reel_model *model) {
    const struct forest *forest = model->state;
    return forest->init ? NULL : forest;
}
