/* A forest as XGBoost JSON (the model schema of its manual, "Introduction to Model IO"), read by XGBoost 1.3 and later.
 *
 * XGBoost goes left where x < t, Reel where x <= t: t is the next float above. Leaves and base_score are the same
 * floats; XGBoost adds them up in float, in order, so its scores differ by some 1e-6. Scores are not clipped to the
 * scale. */
#ifndef MODEL_XGBOOST_WRITE_H
#define MODEL_XGBOOST_WRITE_H

#include "model/forest.h"

reel_status xgboost_write(const struct forest *forest, const char *path, reel_error *err);

#endif
