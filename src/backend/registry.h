/* Which backends were compiled in and which work here. */
#ifndef BACKEND_REGISTRY_H
#define BACKEND_REGISTRY_H

#include "backend/backend_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

struct thread_pool;

enum { REGISTRY_DEVICES_MAX = 16 }; /* that work as one */

/* Opens "auto", "cpu", "cuda", "cuda:N", or several GPUs as one: "cuda:N+M", "cuda:all". "auto" takes the best single
 * device that works; *notice (may be NULL) gets a static sentence when it is not quite what was asked for, else NULL.
 * DEVICE when a backend asked for by name does not work,
 * INVALID_ARGUMENT for a name that is none. */
reel_status registry_open(const char *device, struct thread_pool *pool, struct backend **out, const char **notice,
                          reel_error *err);
void registry_close(struct backend *backend); /* takes NULL */
/* INVALID_ARGUMENT, with what there is instead. */
reel_status registry_no_such_device(const char *device, reel_error *err);
/* "cpu" or "cpu cuda": compiled in; and the same for those that open here. Static strings. In a build for tests whose
 * kernels run on the CPU (REEL_CUDA=EMULATED) it is "cuda-emulated", and "auto" never takes it. */
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
    int nccl_version;                    /* 22809 = 2.28.9; 0 = not found */
    int n_devices;                       /* described below, at most DEVICE_FACTS_MAX */
    char problem[256];                   /* why no device can be used, "" where one can */
    struct device_fact devices[DEVICE_FACTS_MAX];
};
void registry_device_facts(struct device_facts *facts);

/* The CPU backend (kernels/cpu/backend_cpu.c). */
reel_status cpu_backend_open(struct thread_pool *pool, struct backend **out, reel_error *err);
/* The CUDA backend (kernels/cuda/backend_cuda.cu); present only where compiled. */
reel_status cuda_backend_open(int device, struct thread_pool *pool, struct backend **out, reel_error *err);
/* Several at once (kernels/cuda/cuda_all.cu): `devices` (n,), n <= REGISTRY_DEVICES_MAX, or with n = 0 all there are;
 * one alone is opened as itself. *notice may get a static sentence. */
reel_status cuda_all_open(const int *devices, int n, struct thread_pool *pool, struct backend **out,
                          const char **notice, reel_error *err);
void cuda_backend_facts(struct device_facts *facts);

#ifdef __cplusplus
}
#endif

#endif
