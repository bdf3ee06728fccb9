/* Files of ratings that refer to a dataset. */
#ifndef DATA_PAIRS_H
#define DATA_PAIRS_H

#include "data/dataset.h"

/* Sets marks[place] = 1 (by-user order) for every pair that `ratings` has; unknown pairs (-1 too) are passed over. */
void pairs_mark(reel_context *ctx, const struct ratings *ratings, const struct rating_pairs *pairs, uint8_t *marks);
/* Sets marks[place] = 1 for every rating that the file lists; `marks` (n_ratings,) by-user order. BAD_INPUT with file
 * and line for a rating that the dataset lacks or has with another value. */
reel_status pairs_mark_file(reel_context *ctx, const struct reel_dataset *dataset, const char *path, uint8_t *marks,
                            reel_error *err);

#endif
