/* Files of ratings that refer to a dataset. */
#ifndef DATA_PAIRS_H
#define DATA_PAIRS_H

#include "data/dataset.h"

/* Place of the rating of (user, movie) in by-user order, or -1; the indices may be -1. */
int64_t pairs_find(const struct ratings *ratings, int32_t user, int32_t movie);
/* Sets marks[place] = 1 for every rating that the file lists; `marks` (n_ratings,) by-user order. BAD_INPUT with file
 * and line for a rating that the dataset lacks or has with another value. */
reel_status pairs_mark_file(reel_context *ctx, const struct reel_dataset *dataset, const char *path, uint8_t *marks,
                            reel_error *err);

#endif
