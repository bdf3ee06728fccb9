/* The search for the splits of a tree level through the backend's tree_splits (backend/tree_ops.h), which sees nothing
 * but the sums of the level, by rows of the feature star's tables in whatever numbering they were summed. */
#ifndef MODEL_TREE_SEARCH_H
#define MODEL_TREE_SEARCH_H

#include "backend/job_memory.h"
#include "backend/tree_ops.h"
#include "core/context.h"
#include "data/star.h"

/* A column of the star: its distinct values, and where each row is among them. */
struct tree_column {
    enum star_table table;
    int32_t n_rows, n_values;
    float *values;  /* (n_values,) ascending, distinct */
    int32_t *ranks; /* (n_rows + 1,) index into values */
};

struct tree_columns {
    int n;
    struct tree_column *columns;
};

/* Freed with tree_columns_free, whatever the result. */
reel_status tree_columns_new(reel_context *ctx, const struct star *star, struct tree_columns *columns, reel_error *err);
void tree_columns_free(struct tree_columns *columns);

/* The largest float that is not above the midpoint of low < high: for floats x, x <= result iff x <= midpoint. Where
 * the midpoint in double rounds to `high`, `low` stands in, as in scikit-learn. */
float tree_threshold(float low, float high);

struct tree_search {
    struct job_memory job;
    const struct tree_columns *from;
    int32_t n_rows[STAR_TABLES];                /* of the sums */
    const struct tree_total *sums[STAR_TABLES]; /* (dev) (n_rows, nodes of the level): where passes leave them */
    struct tree_split_column *columns;          /* (from->n,) with (dev) arrays */
    struct tree_candidate *best;                /* (from->n, nodes of the level) of the latest search */
    float *values;                              /* of all columns, on the host */
    int32_t *numbers;                           /* their ranks, orders and starts */
};

/* Prepares searches of at most n_nodes nodes on `backend`, over sums with n_rows rows a table, of which row i is the
 * star's row star_rows[table][i], or i itself where star_rows[table] is NULL. `columns` must outlive it; `sums` are the
 * caller's to set. Freed with tree_search_free, whatever the result. */
reel_status tree_search_new(reel_context *ctx, struct backend *backend, const struct tree_columns *columns,
                            const int32_t n_rows[STAR_TABLES], const int32_t *const star_rows[STAR_TABLES], int n_nodes,
                            struct tree_search *search, reel_error *err);
void tree_search_free(struct tree_search *search);
/* *total = of all ratings, from the sums of level 0. */
reel_status tree_search_root(const struct tree_search *search, struct tree_total *total, reel_error *err);
/* Fills `best` for a level of n_nodes nodes with these totals, of which those with open[node] = 1 may be split. */
reel_status tree_search_run(struct tree_search *search, int n_nodes, const struct tree_total *totals,
                            const uint8_t *open, int64_t min_leaf, reel_error *err);

#endif
