/* Prepares a forest for the scoring operators (backend/tree_ops.h): which movies its trees tell apart, trees that share
 * their distinctions put together, and for each leaf the cells of its group that can reach it. */
#ifndef MODEL_FOREST_PLAN_H
#define MODEL_FOREST_PLAN_H

#include "backend/job_memory.h"
#include "backend/tree_ops.h"
#include "core/context.h"
#include "model/forest.h"

/* The plan of a forest for the movies of one dataset. */
struct forest_planned {
    struct forest_plan plan; /* of the arrays below: for backends that read host memory */
    int32_t user_mean;       /* place among the user's columns of what a visitor's mean replaces; -1 = none */
    float *rows[FOREST_TABLES];
    struct tree_step *nodes;
    int32_t *roots, *group_trees, *group_cells;
    uint16_t *codes;
    int64_t *leaf_sets;
    uint64_t *cell_sets;
};

/* Plans for movies 0 .. n_movies-1, movie_map[m] being the model's index (-1 = unknown; NULL = the same). *out = NULL,
 * which is no failure, for a forest that has no plan: sums that are not fixed, more than FOREST_LEAVES_MAX leaves in a
 * tree, or a tree that tells more than 65,536 kinds of movies apart. */
reel_status forest_plan_new(reel_context *ctx, const struct reel_model *model, const struct forest *forest,
                            int32_t n_movies, const int32_t *movie_map, struct forest_planned **out, reel_error *err);
void forest_plan_free(struct forest_planned *planned);
/* *out = the plan with its arrays where the job's backend reads them, and what they take there. Keeps pointers to
 * `planned` where that is the host's memory. */
reel_status forest_plan_place(const struct forest_planned *planned, struct job_memory *job, struct forest_plan *out,
                              reel_error *err);
size_t forest_plan_bytes(const struct forest_planned *planned);
/* The user columns (n_columns[0],) of a visitor with n ratings. */
void forest_plan_visitor(const struct forest_planned *planned, int64_t n, const float *stars, float *values);

#endif
