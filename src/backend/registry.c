#include "backend/registry.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "reel_build.h"

/* Those of `devices` (n,); all with n = 0. */
static reel_status open_cuda(const int *devices, int n, struct thread_pool *pool, struct backend **out,
                             const char **notice, reel_error *err) {
#if REEL_WITH_CUDA
    if (n == 1) return cuda_backend_open(devices[0], pool, out, err);
    return cuda_all_open(devices, n, pool, out, notice, err);
#else
    (void)devices, (void)n, (void)pool, (void)out, (void)notice;
    return error_set(err, REEL_DEVICE,
                     "this build has no CUDA (configure with -DREEL_CUDA=ON where nvcc is installed)");
#endif
}

/* The first device, for "auto". */
static reel_status open_first(struct thread_pool *pool, struct backend **out) {
    const int first = 0;
    return open_cuda(&first, 1, pool, out, NULL, NULL);
}

/* The devices of "cuda" (0), "cuda:N" or "cuda:N+M"; returns how many, 0 for "cuda:all", -1 for anything else. */
static int cuda_devices(const char *name, int devices[REGISTRY_DEVICES_MAX]) {
    int n = 0;
    devices[0] = 0;
    if (strcmp(name, "cuda") == 0) return 1;
    if (strcmp(name, "cuda:all") == 0) return 0;
    if (strncmp(name, "cuda:", 5) != 0) return -1;
    for (const char *at = name + 5;; at++) {
        char *end;
        long number = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : -1;
        if (number < 0 || number > 1023 || n == REGISTRY_DEVICES_MAX) return -1;
        for (int i = 0; i < n; i++)
            if (devices[i] == number) return -1;
        devices[n++] = (int)number;
        if (!*end) return n;
        if (*end != '+') return -1;
        at = end;
    }
}

reel_status registry_no_such_device(const char *device, reel_error *err) {
    return error_set(err, REEL_INVALID_ARGUMENT,
                     "no such device: %.40s (auto, cpu, cuda, cuda:N, cuda:N+M or cuda:all)", device);
}

reel_status registry_open(const char *device, struct thread_pool *pool, struct backend **out, const char **notice,
                          reel_error *err) {
    const char *ignored;
    int devices[REGISTRY_DEVICES_MAX];
    if (!notice) notice = &ignored;
    *out = NULL;
    *notice = NULL;
    if (strcmp(device, "cpu") == 0) return cpu_backend_open(pool, out, err);
    if (strcmp(device, "auto") == 0) {
        if (REEL_WITH_CUDA && !REEL_WITH_EMULATION && open_first(pool, out) == REEL_OK) return REEL_OK;
        if (REEL_WITH_EMULATION)
            *notice = "this build's cuda is an emulation for tests; working on the CPU";
        else if (REEL_WITH_CUDA)
            *notice = "no usable CUDA device; working on the CPU";
        return cpu_backend_open(pool, out, err);
    }
    int n = cuda_devices(device, devices);
    if (n < 0) return registry_no_such_device(device, err);
    return open_cuda(devices, n, pool, out, notice, err);
}

void registry_close(struct backend *backend) {
    if (backend) backend->ops->close(backend);
}

const char *registry_compiled(void) {
    if (!REEL_WITH_CUDA) return "cpu";
    return REEL_WITH_EMULATION ? "cpu cuda-emulated" : "cpu cuda";
}

const char *registry_usable(void) {
    struct backend *backend = NULL;
    if (!REEL_WITH_CUDA || open_first(NULL, &backend) != REEL_OK) return "cpu";
    registry_close(backend);
    return registry_compiled();
}

void registry_device_facts(struct device_facts *facts) {
#if REEL_WITH_CUDA
    cuda_backend_facts(facts);
#else
    *facts = (struct device_facts){.problem = "this build has no CUDA"};
#endif
}
