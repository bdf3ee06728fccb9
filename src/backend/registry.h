/* Which backends were compiled in and which work here. */
#ifndef BACKEND_REGISTRY_H
#define BACKEND_REGISTRY_H

#include "backend/backend_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

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

/* The GPUs of this machine, for reports; devices work even where a fact could not be had. */
enum { DEVICE_FACTS_MAX = 16 };
struct device_fact {
    char name[128];
    int capability; /* 90 = 9.0 */
    size_t memory_bytes;
};
struct device_facts {
    int driver_version, runtime_version; /* 13000 = CUDA 13.0; 0 = none */
    int n_devices;                       /* described below, at most DEVICE_FACTS_MAX */
    char problem[256];                   /* why no device can be used, "" where one can */
    struct device_fact devices[DEVICE_FACTS_MAX];
};
void registry_device_facts(struct device_facts *facts);

/* The CPU backend (kernels/cpu/backend_cpu.c). */
reel_status cpu_backend_open(struct thread_pool *pool, struct backend **out, reel_error *err);
/* The CUDA backend (kernels/cuda/backend_cuda.cu); present only where compiled. */
reel_status cuda_backend_open(int device, struct thread_pool *pool, struct backend **out, reel_error *err);
void cuda_backend_facts(struct device_facts *facts);

#ifdef __cplusplus
}
#endif

#endif
