/* Which ratings are held out. The random split numbers the ratings by a keyed permutation of 0..n-1 that
 * is computed, never stored, so it costs no memory and runs on any number of threads. */
#ifndef DATA_SPLIT_H
#define DATA_SPLIT_H

#include <reel/model.h>
#include "data/ratings.h"

enum { SPLIT_FOLDS_MAX = 250 };

/* labels[i] = the fold 0..folds-1 in which rating i (by-user order) is tested; 2 <= folds <= SPLIT_FOLDS_MAX.
 * Kinds as in split_fold; the time split has one fold: 0 for its test part, 1 for the others. */
reel_status split_folds(reel_context *ctx, const struct ratings *ratings, reel_split_kind kind, int folds,
                        uint64_t seed, uint8_t *labels, reel_error *err);
/* test[i] = 1 for the ratings (by-user order) of fold `fold` of `folds`. Random: fold sizes equal +-1 over
 * all ratings; per-user: over each user's; time: folds is ignored and the newest 10 % of each user's
 * ratings (rounded down; ties by movie) are marked. */
reel_status split_fold(reel_context *ctx, const struct ratings *ratings, reel_split_kind kind, int folds, int fold,
                       uint64_t seed, uint8_t *test, reel_error *err);
/* test[i] = 1 for a share 0 <= share < 1 of the ratings (rounded down). */
reel_status split_holdout(reel_context *ctx, const struct ratings *ratings, reel_split_kind kind, double share,
                          uint64_t seed, uint8_t *test, reel_error *err);

/* marks[i] = value for the ratings (by-user order) of users outside of `range`. */
void split_drop_users(const struct ratings *ratings, reel_user_range range, uint8_t value, uint8_t *marks);

/* The permutation itself: the place of index i among 0..n-1, 0 <= i < n. A bijection for each (seed, n). */
int64_t split_permute(uint64_t seed, int64_t n, int64_t index);

#endif
