#include "backend/factor_ops.h"

#include "core/error.h"

reel_status factor_solve_check(const struct factor_solve_args *args, reel_error *err) {
    if (args->noise && (!args->prior_root || args->ridge_per_rating != 0))
        return error_set(err, REEL_INTERNAL, "factor_solve: noise takes a prior's root and no ridge per rating");
    return REEL_OK;
}
