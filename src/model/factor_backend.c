#include "model/factor_backend.h"

#include <stdio.h>

#include "core/error.h"

reel_status factor_backend(reel_context *ctx, const char *algorithm, int k, int cg, struct backend **out,
                           reel_error *err) {
    char work[64];
    TRY_RETURN(context_backend(ctx, out, err));
    const struct backend_ops *ops = (*out)->ops;
    if (cg && !ops->factor_cg) {
        snprintf(work, sizeof work, "%s with solver=cg", algorithm);
        return context_fall_back(ctx, work, out, err);
    }
    if (ops->factor_solve && k <= ops->factor_k_max) return REEL_OK;
    snprintf(work, sizeof work, "%s with %d factors", algorithm, k);
    return context_fall_back(ctx, work, out, err);
}
