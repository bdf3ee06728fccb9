#include "backend/registry.h"

#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "reel_build.h"

static reel_status open_cuda(int device, struct thread_pool *pool, struct backend **out, reel_error *err) {
#if REEL_WITH_CUDA
    return cuda_backend_open(device, pool, out, err);
#else
    (void)device, (void)pool, (void)out;
    return error_set(err, REEL_DEVICE,
                     "this build has no CUDA (configure with -DREEL_CUDA=ON where nvcc is installed)");
#endif
}

/* "cuda" is device 0, "cuda:N" device N; -1 for anything else. */
static int cuda_device_number(const char *device) {
    if (strcmp(device, "cuda") == 0) return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] < '0' || device[5] > '9') return -1;
    char *end;
    long number = strtol(device + 5, &end, 10);
    return *end || number > 1023 ? -1 : (int)number;
}

reel_status registry_open(const char *device, struct thread_pool *pool, struct backend **out, const char **notice,
                          reel_error *err) {
    *out = NULL;
    if (notice) *notice = NULL;
    if (strcmp(device, "cpu") == 0) return cpu_backend_open(pool, out, err);
    if (strcmp(device, "auto") == 0) {
        if (REEL_WITH_CUDA && open_cuda(0, pool, out, NULL) == REEL_OK) return REEL_OK;
        if (REEL_WITH_CUDA && notice) *notice = "no usable CUDA device; working on the CPU";
        return cpu_backend_open(pool, out, err);
    }
    int number = cuda_device_number(device);
    if (number < 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "no such device: %.40s (auto, cpu, cuda or cuda:N)", device);
    return open_cuda(number, pool, out, err);
}

void registry_close(struct backend *backend) {
    if (backend) backend->ops->close(backend);
}

const char *registry_compiled(void) {
    return REEL_WITH_CUDA ? "cpu cuda" : "cpu";
}

const char *registry_usable(void) {
    struct backend *backend = NULL;
    if (!REEL_WITH_CUDA || open_cuda(0, NULL, &backend, NULL) != REEL_OK) return "cpu";
    registry_close(backend);
    return "cpu cuda";
}

void registry_device_facts(struct device_facts *facts) {
#if REEL_WITH_CUDA
    cuda_backend_facts(facts);
#else
    *facts = (struct device_facts){.problem = "this build has no CUDA"};
#endif
}
