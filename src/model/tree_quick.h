/* Passes over the ratings through the backend's tree_sums (backend/tree_ops.h), for squared errors and trees of at most
 * three levels: the same sums as tree_pass_run's own loops, at a fraction of the time.
 *
 * The ratings of a user are put into runs of one kind of calendar row: hours whose values are the same in every column,
 * such as the 24 of a weekday. With rows by stars (features.h) a run is of one row, and those rows that no rating has
 * are left out. */
#ifndef MODEL_TREE_QUICK_H
#define MODEL_TREE_QUICK_H

#include "model/tree_grow.h"

struct tree_quick;

/* 1 if passes for such trees, of squared errors, can go this way: without a bag. */
int tree_quick_can(const struct tree_pass *pass, const struct tree_limits *limits);
/* Makes pass->quick, and the search over its sums, which lie on the backend. Takes the residuals over: rows.residuals,
 * in another order from now on, live there too; the pass's other arrays are freed. `columns` must outlive both; *search
 * is the caller's to free, before the pass, whatever the result. */
reel_status tree_quick_new(reel_context *ctx, struct tree_pass *pass, const struct tree_columns *columns,
                           struct tree_search *search, reel_error *err);
void tree_quick_free(struct tree_quick *quick); /* takes NULL */
/* tree_pass_run of a pass that has pass->quick. */
reel_status tree_quick_run(struct tree_pass *pass, reel_error *err);
/* Lets the next pass know the splits of `level`. */
reel_status tree_quick_split(const struct tree_pass *pass, const struct tree_search *search, const struct tree *tree,
                             int level, reel_error *err);
/* The farthest residual from 0, fixed point; up to twice too large. */
int64_t tree_quick_reach(const struct tree_pass *pass);

#endif
