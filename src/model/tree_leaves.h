/* Leaves that are not means: boosting with the absolute, Huber and quantile losses needs medians and quantiles of the
 * residuals of each leaf. Order statistics of 32-bit integers by radix selection: exact, whatever the threads. */
#ifndef MODEL_TREE_LEAVES_H
#define MODEL_TREE_LEAVES_H

#include "model/tree_pass.h"

enum tree_loss_kind { TREE_SQUARED, TREE_ABSOLUTE, TREE_HUBER, TREE_QUANTILE };

struct tree_loss {
    enum tree_loss_kind kind;
    double alpha;  /* quantile: which one; huber: share of the ratings whose error counts squared */
    int32_t delta; /* huber: where squared turns into absolute, fixed point; set by tree_loss_gradient */
};

/* The constant that boosting starts from, fixed point: mean, median or quantile (linear between two ratings). */
int32_t tree_loss_base(const struct tree_loss *loss, const struct ratings *ratings);
/* The loss of one residual, both in stars. */
double tree_loss_of(const struct tree_loss *loss, double residual);
/* Sets what `pass` takes for the negative gradient at the present residuals. */
reel_status tree_loss_gradient(reel_context *ctx, struct tree_loss *loss, struct tree_pass *pass, reel_error *err);
/* The loss's best constant in each of the n_leaves leaves below the last level's splits, fixed point; 0 in empty ones;
 * of the ratings in the bag.
 * Leaves rows.nodes at the leaves. The quantile of n values at alpha is the ceil(alpha n)-th smallest. */
reel_status tree_loss_leaves(reel_context *ctx, const struct tree_loss *loss, struct tree_pass *pass, int n_leaves,
                             int32_t *leaves, reel_error *err);
/* Takes `leaves` off the residuals of the ratings that tree_loss_leaves placed, and puts them back at the root.
 * *mean_loss in stars (and their squares), *mean_squared of the residuals; fixed order of sums. */
reel_status tree_loss_update(reel_context *ctx, const struct tree_loss *loss, struct tree_pass *pass,
                             const int32_t *leaves, double *mean_loss, double *mean_squared, reel_error *err);

#endif
