/* One pass over the ratings a tree level: sends every rating one level down, and sums gradients by (user, node),
 * (movie, node) and (hour, node). All a split search wants to know of the ratings is in these sums.
 *
 * Targets, residuals and gradients are fixed point: TREE_ONE a star. Integer sums are exact, so neither threads nor
 * the order of ratings change a tree. 2^26 leaves room for +-32 stars in 32 bits and for 2^32 ratings in a 64-bit
 * sum; one leaf's rounding is 2^-27 star, a hundred trees together stay below 1e-6. */
#ifndef MODEL_TREE_PASS_H
#define MODEL_TREE_PASS_H

#include "data/ratings.h"
#include "data/star.h"
#include "model/features.h"

enum { TREE_ONE = 1 << 26, TREE_DEPTH_MAX = 8, TREE_LEAVES_MAX = 1 << TREE_DEPTH_MAX };

/* Two words that are added together: one 16-byte load, add and store. */
typedef int64_t tree_sum __attribute__((vector_size(16))); /* {sum of gradients, number of ratings} */

/* gradient(residual): itself; high from 0 up, low below; clamped to low .. high. */
enum tree_gradient { TREE_IDENTITY, TREE_SIGN, TREE_CLAMP };

struct tree_rows {
    const struct ratings *ratings;
    uint8_t *hours;     /* (n_ratings,) row of the calendar */
    int32_t *residuals; /* (n_ratings,) fixed point */
    uint8_t *nodes;     /* (n_ratings,) node within the level */
};

struct tree_pass {
    struct tree_rows rows;
    enum tree_gradient gradient;
    int32_t low, high;
    int stride;                  /* of features_row: rows of the tables a user or movie */
    int64_t n_rows[STAR_TABLES]; /* rows of the tables, the unknown ones included */
    const uint8_t *bag;          /* (n_ratings,) 1 = the sums count the rating, 0 = it only goes along; NULL = all */
    /* In: where the ratings stand and how they go on. */
    int split_level;             /* level whose splits are applied first; -1 = none: every rating is at the root */
    uint8_t *right[STAR_TABLES]; /* (n_rows, tree_right_bytes(split_level)): bit n = node n goes right */
    const int32_t *leaves;       /* (2 << split_level,) taken off the residuals, then all stand at the root; or NULL */
    /* Out: sums (n_rows, nodes of the level reached). */
    tree_sum *sums[STAR_TABLES];
    double squared; /* stars: of the residuals, summed when leaves are given; fixed order */
    /* Scratch. */
    int n_workers;
    tree_sum *worker_sums[2]; /* by worker: movies, calendar */
    double *task_squared;     /* (tree_pass_tasks,) */
    struct tree_quick *quick; /* another way to the same sums (tree_quick.h), or NULL */
};

static inline int tree_right_bytes(int level) {
    return level <= 3 ? 1 : 1 << (level - 3);
}

/* Allocates hours, residuals = rating - base (fixed point), nodes, bits and sums for trees up to `depth`. Where
 * `predictions` (n_ratings,) stars are given, they are taken off too. The ratings must outlive it; freed with
 * tree_pass_free, whatever the result. */
reel_status tree_pass_new(reel_context *ctx, const struct ratings *ratings, int stride, int depth, int32_t base,
                          const float *predictions, struct tree_pass *pass, reel_error *err);
void tree_pass_free(struct tree_pass *pass);
/* Runs the pass; `split_level`, `right` and `leaves` say what it does. */
reel_status tree_pass_run(reel_context *ctx, struct tree_pass *pass, reel_error *err);

#endif
