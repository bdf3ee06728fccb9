#include "model/foreign_forest.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum { FEATURES_MAX = 1 << 20, STACK = FOREST_DEPTH_MAX + 2 };

reel_status foreign_begin(struct foreign_forest *forest, int64_t n_features, reel_error *err) {
    if (n_features < 1 || n_features > FEATURES_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s: a forest needs 1..%d named features (found %lld)", forest->path,
                         FEATURES_MAX, (long long)n_features);
    forest->n_features = (int32_t)n_features;
    TRY_RETURN(MEM_RAW(&forest->columns, n_features, err));
    for (int32_t f = 0; f < forest->n_features; f++) forest->columns[f] = -1;
    return MEM_NEW(&forest->names, n_features, err);
}

static int same_name(const char *ours, const char *theirs, size_t length) {
    size_t i = 0;
    for (; i < length && ours[i]; i++) {
        char a = ours[i] == ' ' ? '_' : ours[i], b = theirs[i] == ' ' ? '_' : theirs[i];
        if (a != b) return 0;
    }
    return i == length && !ours[i];
}

reel_status foreign_name(struct foreign_forest *forest, int32_t feature, const char *name, size_t length,
                         reel_error *err) {
    if (feature >= forest->n_features)
        return error_set(err, REEL_BAD_INPUT, "%s: more than %d feature names", forest->path, forest->n_features);
    size_t kept = length < sizeof *forest->names ? length : sizeof *forest->names - 1;
    memcpy(forest->names[feature], name, kept);
    for (int c = 0; c < forest->star->n_columns; c++)
        if (same_name(forest->star->columns[c].name, name, length)) forest->columns[feature] = c;
    return REEL_OK;
}

struct open_node {
    int32_t node, parent; /* of the file; of the builder, -1 = none */
    int depth, right;
};

static reel_status check_node(const struct foreign_forest *forest, int32_t tree, const struct foreign_node *node,
                              const struct open_node *open, reel_error *err) {
    if (node->feature < -1 || node->feature >= forest->n_features)
        return error_set(err, REEL_BAD_INPUT, "%s: tree %d, node %d: feature %d of %d", forest->path, tree, open->node,
                         node->feature, forest->n_features);
    if (node->feature >= 0 && forest->columns[node->feature] < 0)
        return error_set(err, REEL_BAD_INPUT, "%s: tree %d, node %d: the dataset has no feature column \"%s\"",
                         forest->path, tree, open->node, forest->names[node->feature]);
    if (node->feature >= 0 && open->depth == FOREST_DEPTH_MAX)
        return error_set(err, REEL_BAD_INPUT, "%s: tree %d is deeper than %d levels", forest->path, tree,
                         FOREST_DEPTH_MAX);
    return REEL_OK;
}

/* Appends the node and hangs it below its parent. */
static reel_status add_node(struct foreign_forest *forest, const struct foreign_node *node,
                            const struct open_node *open, int32_t *at, reel_error *err) {
    struct forest_builder *builder = &forest->builder;
    int32_t column = node->feature < 0 ? -1 : forest->columns[node->feature];
    TRY_RETURN(forest_add_node(builder, (struct forest_node){column, 0, 0, node->value}, at, err));
    if (open->parent >= 0 && open->right) builder->nodes[open->parent].right = *at;
    if (open->parent >= 0 && !open->right) builder->nodes[open->parent].left = *at;
    return REEL_OK;
}

reel_status foreign_add_tree(struct foreign_forest *forest, int32_t tree, const struct foreign_node *nodes, int32_t n,
                             reel_error *err) {
    reel_status status = REEL_OK;
    uint8_t *seen = NULL;
    struct open_node stack[STACK] = {{0, -1, 0, 0}};
    int n_open = 1;
    TRY(forest_begin_tree(&forest->builder, err));
    TRY(MEM_NEW(&seen, n, err));
    while (n_open > 0) {
        struct open_node open = stack[--n_open];
        int32_t at;
        if (open.node < 0 || open.node >= n)
            TRY(error_set(err, REEL_BAD_INPUT, "%s: tree %d: child %d of %d nodes", forest->path, tree, open.node, n));
        if (seen[open.node])
            TRY(error_set(err, REEL_BAD_INPUT, "%s: tree %d: node %d is reached twice", forest->path, tree, open.node));
        seen[open.node] = 1;
        const struct foreign_node *node = &nodes[open.node];
        TRY(check_node(forest, tree, node, &open, err));
        TRY(add_node(forest, node, &open, &at, err));
        if (node->feature < 0) continue;
        stack[n_open++] = (struct open_node){node->right, at, open.depth + 1, 1};
        stack[n_open++] = (struct open_node){node->left, at, open.depth + 1, 0};
    }
cleanup:
    mem_free(seen);
    return status;
}

void foreign_free(struct foreign_forest *forest) {
    mem_free(forest->columns);
    mem_free(forest->names);
    forest_builder_free(&forest->builder);
}
