#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/foreign_forest.h"

/* Objectives whose prediction is the plain sum; options may follow ("huber alpha:0.9"). */
static const char *const objectives[] = {"regression", "regression_l1", "huber", "fair", "quantile", "mape", NULL};

struct text {
    const struct foreign_forest *forest;
    char *next; /* of the file, which ends with NUL */
    int64_t line;
};

/* What one key says; `value` NULL = it is not there. */
struct field {
    char *value;
    int64_t line;
};

/* The next line, ended with NUL; NULL at the end of the file. */
static char *next_line(struct text *text) {
    char *line = text->next, *end = line ? strchr(line, '\n') : NULL;
    if (!line || !*line) return NULL;
    text->line++;
    text->next = end ? end + 1 : line + strlen(line);
    if (end) *end = '\0';
    size_t length = strlen(line);
    if (length && line[length - 1] == '\r') line[length - 1] = '\0';
    return line;
}

/* 1 if the line is "key=value"; keeps it where `names` has its key. */
static int keep_field(char *line, int64_t number, const char *const *names, struct field *fields) {
    char *equals = strchr(line, '=');
    if (!equals) return 0;
    *equals = '\0';
    for (int i = 0; names[i]; i++)
        if (strcmp(line, names[i]) == 0) fields[i] = (struct field){equals + 1, number};
    return 1;
}

static reel_status whole_number(const struct text *text, const struct field *field, const char *name, long low,
                                long high, long *out, reel_error *err) {
    char *end = NULL;
    *out = field->value ? strtol(field->value, &end, 10) : low - 1;
    if (!field->value || end == field->value || *end || *out < low || *out > high)
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: %s must be %ld..%ld (found \"%.20s\")", text->forest->path,
                         (long long)(field->value ? field->line : text->line), name, low, high,
                         field->value ? field->value : "none");
    return REEL_OK;
}

/* Exactly n numbers (n,). */
static reel_status numbers(const struct text *text, const struct field *field, const char *name, int32_t n, double *out,
                           reel_error *err) {
    char *at = field->value;
    int32_t found = 0;
    for (; at && found < n; found++) {
        char *end;
        out[found] = strtod(at, &end);
        if (end == at) break;
        at = end;
    }
    if (!at || found < n || at[strspn(at, " ")])
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: %s must have %d numbers (found \"%.20s\")", text->forest->path,
                         (long long)(field->value ? field->line : text->line), name, n,
                         !field->value ? "none"
                         : at && *at   ? at
                                       : "fewer");
    return REEL_OK;
}

/* ---- the head ---- */

enum head_field { OBJECTIVE, FEATURE_NAMES, MAX_FEATURE, N_CLASSES, TREES_AN_ITERATION, HEAD_FIELDS };
static const char *const head_names[HEAD_FIELDS + 1] = {"objective", "feature_names",          "max_feature_idx",
                                                        "num_class", "num_tree_per_iteration", NULL};

static reel_status check_objective(const struct text *text, const struct field *field, reel_error *err) {
    const char *value = field->value ? field->value : "none";
    size_t length = strcspn(value, " ");
    int known = 0;
    for (const char *const *name = objectives; *name; name++)
        known |= strlen(*name) == length && strncmp(*name, value, length) == 0;
    if (known && !strstr(value, "sqrt")) return REEL_OK;
    return error_set(err, REEL_BAD_INPUT, "%s:%lld: objective \"%.40s\" is no plain sum of leaves in stars",
                     text->forest->path, (long long)(field->value ? field->line : text->line), value);
}

static reel_status read_names(struct foreign_forest *forest, const struct text *text, const struct field *fields,
                              reel_error *err) {
    long last;
    const struct field *names = &fields[FEATURE_NAMES];
    TRY_RETURN(whole_number(text, &fields[MAX_FEATURE], "max_feature_idx", 0, 1 << 20, &last, err));
    TRY_RETURN(foreign_begin(forest, last + 1, err));
    int32_t feature = 0;
    for (char *at = names->value; at && *at; feature++) {
        size_t length = strcspn(at, " ");
        TRY_RETURN(foreign_name(forest, feature, at, length, err));
        at += length + (at[length] == ' ');
    }
    if (feature == forest->n_features) return REEL_OK;
    return error_set(err, REEL_BAD_INPUT, "%s:%lld: %d feature names for %d features", forest->path,
                     (long long)(names->value ? names->line : text->line), feature, forest->n_features);
}

/* Up to the first tree. */
static reel_status read_head(struct foreign_forest *forest, struct text *text, int *average, reel_error *err) {
    struct field fields[HEAD_FIELDS] = {{0}};
    char *line = next_line(text);
    long one;
    if (!line || strcmp(line, "tree") != 0)
        return error_set(err, REEL_BAD_INPUT, "%s:1: not a text model of LightGBM's", forest->path);
    while (strncmp(text->next, "Tree=", 5) != 0 && (line = next_line(text)))
        if (!keep_field(line, text->line, head_names, fields) && strcmp(line, "average_output") == 0) *average = 1;
    TRY_RETURN(check_objective(text, &fields[OBJECTIVE], err));
    TRY_RETURN(whole_number(text, &fields[N_CLASSES], "num_class", 1, 1, &one, err));
    TRY_RETURN(whole_number(text, &fields[TREES_AN_ITERATION], "num_tree_per_iteration", 1, 1, &one, err));
    return read_names(forest, text, fields, err);
}

/* ---- trees ---- */

enum tree_field { N_LEAVES, N_CATEGORIES, FEATURES, THRESHOLDS, DECISIONS, LEFTS, RIGHTS, LEAVES, LINEAR, TREE_FIELDS };
static const char *const tree_names[TREE_FIELDS + 1] = {"num_leaves",    "num_cat",    "split_feature", "threshold",
                                                        "decision_type", "left_child", "right_child",   "leaf_value",
                                                        "is_linear",     NULL};

/* The numbers of one tree, (n_leaves - 1,) each, leaves (n_leaves,). */
struct tree_lists {
    double *lists[TREE_FIELDS];
    int32_t n_leaves;
};

static void lists_free(struct tree_lists *lists) {
    for (int i = 0; i < TREE_FIELDS; i++) mem_free(lists->lists[i]);
}

static reel_status read_lists(const struct text *text, const struct field *fields, struct tree_lists *lists,
                              reel_error *err) {
    long n, none;
    /* No list is longer than its text: a count that claims more asks for no memory. */
    size_t room = fields[LEAVES].value ? (strlen(fields[LEAVES].value) + 1) / 2 : 1;
    TRY_RETURN(whole_number(text, &fields[N_LEAVES], "num_leaves", 1, room < 1 << 24 ? (long)room : 1 << 24, &n, err));
    TRY_RETURN(whole_number(text, &fields[N_CATEGORIES], "num_cat", 0, 0, &none, err));
    if (fields[LINEAR].value) TRY_RETURN(whole_number(text, &fields[LINEAR], "is_linear", 0, 0, &none, err));
    lists->n_leaves = (int32_t)n;
    for (int i = FEATURES; i <= LEAVES; i++) {
        int32_t count = i == LEAVES ? lists->n_leaves : lists->n_leaves - 1;
        TRY_RETURN(MEM_RAW(&lists->lists[i], count, err));
        if (count) TRY_RETURN(numbers(text, &fields[i], tree_names[i], count, lists->lists[i], err));
    }
    return REEL_OK;
}

/* The largest float that is not above x; FLT_MAX where all are, -infinity where none is. */
static float float_below(double x) {
    if (x >= (double)FLT_MAX) return FLT_MAX;
    float value = (float)x;
    return (double)value > x ? nextafterf(value, -INFINITY) : value;
}

/* A whole number of 32 bits, or INT32_MIN, which no index may be. */
static int32_t whole(double value) {
    return value == floor(value) && fabs(value) < 0x1p31 ? (int32_t)value : INT32_MIN;
}

/* The place among all nodes of a child as LightGBM numbers it: leaves are -1, -2, ... */
static int32_t child(double value, int32_t n_splits) {
    int32_t number = whole(value);
    if (number >= 0) return number < n_splits ? number : INT32_MIN;
    return number == INT32_MIN || ~number > n_splits ? INT32_MIN : n_splits + ~number;
}

static reel_status make_split(const struct text *text, const struct tree_lists *lists, const struct field *fields,
                              int32_t at, struct foreign_node *node, reel_error *err) {
    enum { CATEGORY = 1, DEFAULT_LEFT = 2, MISSING = 12, MISSING_IS_ZERO = 4 };
    double threshold = lists->lists[THRESHOLDS][at];
    int32_t type = whole(lists->lists[DECISIONS][at]), n = lists->n_leaves - 1;
    *node = (struct foreign_node){whole(lists->lists[FEATURES][at]), child(lists->lists[LEFTS][at], n),
                                  child(lists->lists[RIGHTS][at], n), float_below(threshold)};
    const char *path = text->forest->path;
    long long line = fields[THRESHOLDS].line;
    if (isnan(threshold) || !isfinite(node->value))
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: threshold %d is no finite float", path, line, at);
    if (node->feature < 0)
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: split_feature %d is no number from 0 up", path,
                         (long long)fields[FEATURES].line, at);
    if (type < 0 || type & CATEGORY)
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: decision_type %d is no comparison with a threshold", path,
                         (long long)fields[DECISIONS].line, at);
    /* With zero_as_missing a zero goes the default way; that way must be the threshold's. */
    if ((type & MISSING) == MISSING_IS_ZERO && ((type & DEFAULT_LEFT) != 0) != (threshold >= 0))
        return error_set(err, REEL_BAD_INPUT, "%s:%lld: at split %d zeros are missing values (zero_as_missing)", path,
                         (long long)fields[DECISIONS].line, at);
    return REEL_OK;
}

static reel_status make_tree(struct foreign_forest *forest, const struct text *text, const struct field *fields,
                             const struct tree_lists *lists, reel_error *err) {
    reel_status status = REEL_OK;
    struct foreign_node *nodes = NULL;
    int32_t n_splits = lists->n_leaves - 1;
    TRY(MEM_RAW(&nodes, 2 * (int64_t)n_splits + 1, err));
    for (int32_t at = 0; at < n_splits; at++) TRY(make_split(text, lists, fields, at, &nodes[at], err));
    for (int32_t leaf = 0; leaf < lists->n_leaves; leaf++) {
        float value = (float)lists->lists[LEAVES][leaf];
        nodes[n_splits + leaf] = (struct foreign_node){-1, 0, 0, value};
        if (!isfinite(value))
            TRY(error_set(err, REEL_BAD_INPUT, "%s:%lld: leaf_value %d is no finite float", forest->path,
                          (long long)fields[LEAVES].line, leaf));
    }
    TRY(foreign_add_tree(forest, forest->builder.n_trees, nodes, 2 * n_splits + 1, err));
cleanup:
    mem_free(nodes);
    return status;
}

/* One tree, whose line "Tree=..." comes next. */
static reel_status read_tree(struct foreign_forest *forest, struct text *text, reel_error *err) {
    reel_status status = REEL_OK;
    struct field fields[TREE_FIELDS] = {{0}};
    struct tree_lists lists = {{0}, 0};
    for (char *line = next_line(text); line && *line; line = next_line(text))
        keep_field(line, text->line, tree_names, fields);
    TRY(read_lists(text, fields, &lists, err));
    TRY(make_tree(forest, text, fields, &lists, err));
cleanup:
    lists_free(&lists);
    return status;
}

/* Random forests: the mean instead of the sum. */
static void divide_leaves(struct foreign_forest *forest) {
    struct forest_builder *builder = &forest->builder;
    for (int32_t i = 0; i < builder->n_nodes; i++)
        if (builder->nodes[i].column < 0) builder->nodes[i].value /= (float)builder->n_trees;
}

static reel_status read_text(struct foreign_forest *forest, struct text *text, reel_error *err) {
    int average = 0;
    char *line;
    TRY_RETURN(read_head(forest, text, &average, err));
    for (;;) {
        if (strncmp(text->next, "Tree=", 5) == 0) {
            TRY_RETURN(read_tree(forest, text, err));
            continue;
        }
        line = next_line(text);
        if (!line)
            return error_set(err, REEL_BAD_INPUT, "%s:%lld: the file ends before \"end of trees\"", forest->path,
                             (long long)text->line);
        if (strcmp(line, "end of trees") == 0) break;
    }
    if (forest->builder.n_trees == 0) return error_set(err, REEL_BAD_INPUT, "%s: the model has no trees", forest->path);
    if (average) divide_leaves(forest);
    return REEL_OK;
}

reel_status lightgbm_read(struct foreign_forest *forest, const char *data, size_t size, reel_error *err) {
    reel_status status = REEL_OK;
    char *copy = NULL;
    TRY(MEM_RAW(&copy, size + 1, err));
    if (size) memcpy(copy, data, size);
    copy[size] = '\0';
    struct text text = {.forest = forest, .next = copy};
    TRY(read_text(forest, &text, err));
cleanup:
    mem_free(copy);
    return status;
}
