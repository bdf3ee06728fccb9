/* Which backends were compiled in and which work here. */
#ifndef BACKEND_REGISTRY_H
#define BACKEND_REGISTRY_H

#include "backend/backend_ops.h"

struct thread_pool;

/* Opens "auto", "cpu", "cuda" or "cuda:N". "auto" takes the best that works; *notice (may be NULL) gets a
 * static sentence when it fell back, else NULL. DEVICE when a backend asked for by name does not work,
 * INVALID_ARGUMENT for a name that is none. */
reel_status registry_open(const char *device, struct thread_pool *pool, struct backend **out, const char **notice,
                          reel_error *err);
void registry_close(struct backend *backend); /* takes NULL */
/* "cpu" or "cpu cuda": compiled in; and the same for those that open here. Static strings. */
const char *registry_compiled(void);
const char *registry_usable(void);

/* The CPU backend (kernels/cpu/backend_cpu.c). */
reel_status cpu_backend_open(struct thread_pool *pool, struct backend **out, reel_error *err);
/* The CUDA backend (kernels/cuda/backend_cuda.cu); present only where compiled. */
reel_status cuda_backend_open(int device, struct thread_pool *pool, struct backend **out, reel_error *err);

#endif
