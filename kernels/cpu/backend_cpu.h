/* What the operators of the CPU backend share. */
#ifndef KERNELS_CPU_BACKEND_CPU_H
#define KERNELS_CPU_BACKEND_CPU_H

#include <stddef.h>

#include "backend/backend_ops.h"

/* *out = working memory of at least `bytes`, not cleared, aligned as mem_alloc does. It is kept from call to call,
 * which saves the system handing out and clearing the same pages for every sample, and is the caller's until the next
 * operator asks. NO_MEMORY. */
reel_status cpu_scratch(struct backend *backend, size_t bytes, void **out, reel_error *err);

#endif
