#include "model/xgboost_write.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"

/* The characters that XGBoost refuses in names, and those that JSON would want escaped. */
static void put_name(struct strbuf *text, const char *name) {
    strbuf_puts(text, "\"");
    for (; *name; name++) {
        int plain = (unsigned char)*name >= ' ' && !strchr("\"\\[]<", *name);
        strbuf_add(text, plain ? name : "_", 1);
    }
    strbuf_puts(text, "\"");
}

/* Nine digits: every float has its own text. */
static void put_float(struct strbuf *text, float value) {
    strbuf_printf(text, "%.8E", (double)value);
}

/* A tree in XGBoost's order: level by level, siblings side by side. Its prediction takes a right child to be the one
 * behind the left. */
struct tree_text {
    struct strbuf *text;
    const struct tree_step *nodes; /* of the forest */
    int32_t n;                     /* nodes of the tree */
    int32_t *order;                /* (n,) the forest's node at a place */
    int32_t *lefts, *parents;      /* (n,) places; of leaves 0 */
};

static void order_nodes(struct tree_text *tree, int32_t root) {
    int32_t next = 1;
    tree->order[0] = root;
    for (int32_t at = 0; at < tree->n; at++) {
        const struct tree_step *node = &tree->nodes[tree->order[at]];
        if (node->column < 0) continue;
        tree->lefts[at] = next;
        for (int side = 0; side < 2; side++, next++) {
            tree->order[next] = side ? node->right : node->left;
            tree->parents[next] = at;
        }
    }
}

enum field { LEFTS, RIGHTS, PARENTS, COLUMNS, CONDITIONS, ZERO_REALS, ZEROS, ONES };

static void put_value(const struct tree_text *tree, enum field field, int32_t at) {
    const struct tree_step *node = &tree->nodes[tree->order[at]];
    int leaf = node->column < 0;
    switch (field) {
    case LEFTS:
        strbuf_printf(tree->text, "%d", leaf ? -1 : tree->lefts[at]);
        break;
    case RIGHTS:
        strbuf_printf(tree->text, "%d", leaf ? -1 : tree->lefts[at] + 1);
        break;
    case PARENTS:
        strbuf_printf(tree->text, "%d", at == 0 ? INT32_MAX : tree->parents[at]);
        break;
    case COLUMNS:
        strbuf_printf(tree->text, "%d", leaf ? 0 : node->column);
        break;
    case CONDITIONS:
        put_float(tree->text, leaf ? node->threshold : nextafterf(node->threshold, FLT_MAX));
        break;
    case ZERO_REALS:
        strbuf_puts(tree->text, "0E0");
        break;
    case ZEROS:
        strbuf_puts(tree->text, "0");
        break;
    case ONES:
        strbuf_puts(tree->text, "1E0");
        break;
    }
}

static void put_array(const struct tree_text *tree, const char *name, enum field field) {
    strbuf_printf(tree->text, "\"%s\":[", name);
    for (int32_t at = 0; at < tree->n; at++) {
        if (at) strbuf_puts(tree->text, ",");
        put_value(tree, field, at);
    }
    strbuf_puts(tree->text, "],");
}

static void put_tree(const struct tree_text *tree, int32_t id, int n_columns) {
    strbuf_puts(tree->text, "{");
    put_array(tree, "base_weights", ZERO_REALS);
    strbuf_puts(tree->text, "\"categories\":[],\"categories_nodes\":[],\"categories_segments\":[],"
                            "\"categories_sizes\":[],");
    put_array(tree, "default_left", ZEROS);
    strbuf_printf(tree->text, "\"id\":%d,", id);
    put_array(tree, "left_children", LEFTS);
    put_array(tree, "loss_changes", ZERO_REALS);
    put_array(tree, "parents", PARENTS);
    put_array(tree, "right_children", RIGHTS);
    put_array(tree, "split_conditions", CONDITIONS);
    put_array(tree, "split_indices", COLUMNS);
    put_array(tree, "split_type", ZEROS);
    put_array(tree, "sum_hessian", ONES);
    strbuf_printf(tree->text,
                  "\"tree_param\":{\"num_deleted\":\"0\",\"num_feature\":\"%d\",\"num_nodes\":\"%d\","
                  "\"size_leaf_vector\":\"1\"}}",
                  n_columns, tree->n);
}

static void put_names(struct strbuf *text, const struct forest_columns *columns) {
    strbuf_puts(text, "\"feature_names\":[");
    for (int c = 0; c < columns->n; c++) {
        if (c) strbuf_puts(text, ",");
        put_name(text, columns->names[c]);
    }
    strbuf_puts(text, "],\"feature_types\":[");
    for (int c = 0; c < columns->n; c++) strbuf_puts(text, c ? ",\"float\"" : "\"float\"");
    strbuf_puts(text, "],");
}

static void put_numbers(struct strbuf *text, const char *name, int32_t n, int rising) {
    strbuf_printf(text, "\"%s\":[", name);
    for (int32_t i = 0; i < n; i++) strbuf_printf(text, i ? ",%d" : "%d", rising ? i : 0);
    strbuf_puts(text, "],");
}

static void put_forest(struct strbuf *text, const struct forest *forest, int32_t *places) {
    strbuf_puts(text, "{\"learner\":{\"attributes\":{},");
    put_names(text, &forest->columns);
    strbuf_printf(text,
                  "\"gradient_booster\":{\"model\":{\"gbtree_model_param\":{\"num_parallel_tree\":\"1\","
                  "\"num_trees\":\"%d\"},",
                  forest->n_trees);
    put_numbers(text, "iteration_indptr", forest->n_trees + 1, 1);
    put_numbers(text, "tree_info", forest->n_trees, 0);
    strbuf_puts(text, "\"trees\":[");
    for (int32_t t = 0; t < forest->n_trees; t++) {
        int32_t n = forest->offsets[t + 1] - forest->offsets[t];
        struct tree_text tree = {text, forest->nodes, n, places, places + n, places + 2 * n};
        order_nodes(&tree, forest->offsets[t]);
        if (t) strbuf_puts(text, ",");
        put_tree(&tree, t, forest->columns.n);
    }
    strbuf_puts(text, "]},\"name\":\"gbtree\"},\"learner_model_param\":{\"base_score\":\"");
    put_float(text, forest->base);
    strbuf_printf(text,
                  "\",\"boost_from_average\":\"0\",\"num_class\":\"0\",\"num_feature\":\"%d\",\"num_target\":\"1\"},"
                  "\"objective\":{\"name\":\"reg:squarederror\",\"reg_loss_param\":{\"scale_pos_weight\":\"1\"}}},"
                  "\"version\":[2,0,0]}\n",
                  forest->columns.n);
}

reel_status xgboost_write(const struct forest *forest, const char *path, reel_error *err) {
    reel_status status = REEL_OK;
    struct strbuf text = {0};
    int32_t *places = NULL;
    TRY(MEM_NEW(&places, 3 * (int64_t)forest->offsets[forest->n_trees], err));
    put_forest(&text, forest, places);
    if (text.failed)
        status = error_no_memory(err, 0);
    else
        status = file_replace(path, text.data, text.length, err);
cleanup:
    strbuf_free(&text);
    mem_free(places);
    return status;
}
