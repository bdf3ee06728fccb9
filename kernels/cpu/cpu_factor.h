/* The factor operators of the CPU backend. */
#ifndef KERNELS_CPU_CPU_FACTOR_H
#define KERNELS_CPU_CPU_FACTOR_H

#include "backend/backend_ops.h"
#include "backend/factor_ops.h"

reel_status cpu_factor_solve(struct backend *backend, const struct factor_solve_args *args, reel_error *err);

#endif
