/* What must hold of a dataset file's values before anything is indexed with them. */
#ifndef DATA_DATASET_CHECK_H
#define DATA_DATASET_CHECK_H

#include "data/dataset.h"

/* Offsets (n + 1,) rise from 0 to `bytes`, each text ends with NUL. CORRUPT names the file and `name`. */
reel_status dataset_check_text(const struct reel_dataset *ds, const char *name, const struct text_column *column,
                               int64_t n, int64_t bytes, reel_error *err);
/* Checks all values of a bound dataset and fills mean_rating and newest_time: ids and both orders of the
 * ratings (ascending, in range, half stars 1..10 inside the scale, the same counts a user and a movie in both
 * orders), genres, years, tags, genome. CORRUPT names file, tensor and row; NO_MEMORY. */
reel_status dataset_check(reel_context *ctx, struct reel_dataset *ds, reel_error *err);

#endif
