/* A sum of regression trees over feature columns: the tensors, their check, and scoring. Shared by all algorithms that
 * end in trees. C columns, N nodes, T trees:
 *
 *   base                F32 (1,)      added to every score, stars
 *   user_columns        F32 (*, U+1)  columns of the user table in their order; the last value: unknown user
 *   movie_columns       F32 (*, M+1)
 *   hour_columns        F32 (*, 169)  by hour of the week (data/star.h); the last value: unknown time
 *   column_tables       U8  (C,)      enum star_table of each column
 *   column_name_offsets I64 (C+1,)    into column_names
 *   column_names        U8  (*,)      each followed by NUL
 *   tree_offsets        I32 (T+1,)    nodes tree_offsets[t] .. tree_offsets[t+1]-1, the root first
 *   node_columns        I32 (N,)      column, -1 = leaf
 *   node_thresholds     F32 (N,)      values above go right
 *   node_lefts          I32 (N,)      index of the child, above the node's own; 0 in a leaf
 *   node_rights         I32 (N,)
 *   node_values         F32 (N,)      what a leaf adds, stars
 */
#ifndef MODEL_FOREST_H
#define MODEL_FOREST_H

#include "data/star.h"
#include "kernels/common/tree_walk.h"
#include "model/model.h"

enum { FOREST_DEPTH_MAX = 64 };

struct forest_node {
    int32_t column; /* -1 = leaf */
    int32_t left, right;
    float value; /* threshold, or what the leaf adds */
};

struct forest_columns {
    int n;
    uint8_t tables[STAR_COLUMNS_MAX];
    const char *names[STAR_COLUMNS_MAX];
    const float *values[STAR_COLUMNS_MAX]; /* (rows of the table + 1,) */
    int user_mean;                         /* column whose value for a visitor is the mean of the ratings; -1 = none */
};

/* Scores are sums in fixed point, so that neither order nor device changes a bit: each leaf becomes an integer, rounded
 * at 2^-shift stars, less the middle of its tree, which goes to the base. `shift` is the largest (at most 30) for which
 * what the trees still add stays below 2^27 and all together below 2^31. A score is off the exact sum by at most
 * (T + 1) 2^-(shift + 1) stars, and half a unit of its own last place. Where that is more than 1e-4 (many thousands of
 * trees, or leaves of many stars) `fixed` is 0 and scores are sums in double. */
struct forest {
    struct forest_columns columns;
    int32_t n_trees;
    const int32_t *offsets;
    struct tree_step *nodes; /* leaves: threshold = value in stars, left = fixed point, right = number in its tree */
    int fixed, shift;
    int32_t fixed_base;
    float base;
    struct reel_model *init; /* gbdt: its clipped score goes below the trees'; NULL = none. Freed by forest_unbind */
    double init_line[2];     /* what is added is [0] + [1] * that score */
};

/* Trees while they are collected. Zero-initialise; freed with forest_builder_free. */
struct forest_builder {
    int32_t n_nodes, capacity;
    struct forest_node *nodes;
    int32_t n_trees, tree_capacity;
    int32_t *offsets; /* (n_trees + 1,) once there is a tree */
};
/* Starts a tree; its nodes follow, parents before children, the root first. */
reel_status forest_begin_tree(struct forest_builder *builder, reel_error *err);
/* Appends a node with indices into the builder; *at is its index. */
reel_status forest_add_node(struct forest_builder *builder, struct forest_node node, int32_t *at, reel_error *err);
void forest_builder_free(struct forest_builder *builder);

/* Adds the tensors of the columns, and those of the trees. */
reel_status forest_put_columns(const struct star *star, struct tensor_set *set, reel_error *err);
reel_status forest_put_trees(const struct forest_builder *builder, float base, struct tensor_set *set, reel_error *err);

/* The column tensors above, checked; for any algorithm that has them. */
reel_status forest_bind_columns(const struct reel_model *model, struct forest_columns *columns, reel_error *err);
/* row (columns->n,): what user and movie (model indices, -1 = unknown) and hour have in each column. */
void forest_fetch_row(const struct reel_model *model, const struct forest_columns *columns, int32_t user, int32_t movie,
                      int32_t hour, float *row);

/* Entries of struct algorithm; model->state is a struct forest. Bind checks every index and number: a child lies behind
 * its node and inside its tree and has no other parent, so that no walk is endless, and no path is longer than
 * FOREST_DEPTH_MAX. */
reel_status forest_bind(struct reel_model *model, reel_error *err);
void forest_unbind(struct reel_model *model);
reel_status forest_predict(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                           const uint32_t *times, float *scores, float *sds, reel_error *err);
/* NULL where scores are more than sums of trees. */
const struct forest *forest_view(const struct reel_model *model);
/* scores (n_movies,) of a visitor, a user whose mean is that of the stars (n,) at hand; `score` tells that of a row of
 * features. */
typedef float (*forest_row_fn)(const struct reel_model *model, const float *row);
void forest_score_visitor(const struct reel_model *model, int64_t n, const float *stars, uint32_t time,
                          forest_row_fn score, float *scores);
reel_status forest_fold_in(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                           uint32_t time, float *scores, float *sds, reel_error *err);

#endif
