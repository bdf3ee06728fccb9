/* The device for a fit of factors. */
#ifndef MODEL_FACTOR_BACKEND_H
#define MODEL_FACTOR_BACKEND_H

#include "backend/backend_ops.h"
#include "core/context.h"

/* *out = the context's backend, or under "auto" its CPU, with one line of notice, where the device does not solve for
 * k factors or, with `cg`, offers no conjugate gradients. UNSUPPORTED where it was asked for by name. */
reel_status factor_backend(reel_context *ctx, const char *algorithm, int k, int cg, struct backend **out,
                           reel_error *err);

#endif
