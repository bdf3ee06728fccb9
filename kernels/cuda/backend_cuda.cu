/* The CUDA backend: device memory and copies on one stream, and what the machine offers. */
#include "kernels/cuda/backend_cuda.h"

#include <stdio.h>
#include <string.h>

#include "backend/factor_ops.h"
#include "backend/registry.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/cuda/cuda_links.h"
#include "kernels/cuda/cuda_ops.h"

/* ---- errors ---- */

/* Errors after which the device context is gone for this process (CUDA C Programming Guide, "Error checking"). */
static int kills_context(cudaError_t code) {
    switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorIllegalInstruction:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorMisalignedAddress:
    case cudaErrorHardwareStackError:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorECCUncorrectable:
    case cudaErrorContained:
        return 1;
    default:
        return 0;
    }
}

reel_status cuda_status(struct cuda_backend *backend, cudaError_t code, const char *what, reel_error *err) {
    if (code == cudaSuccess) return REEL_OK;
    (void)cudaGetLastError();
    if (code == cudaErrorMemoryAllocation)
        return error_set(err, REEL_NO_MEMORY, "cuda:%d: %s: the GPU's memory is full", backend->device, what);
    if (kills_context(code) && !backend->lost) {
        backend->lost = 1;
        snprintf(backend->lost_reason, sizeof backend->lost_reason, "%s: %s", what, cudaGetErrorString(code));
    }
    return error_set(err, REEL_DEVICE, "cuda:%d: %s: %s", backend->device, what, cudaGetErrorString(code));
}

reel_status cuda_launched(struct cuda_backend *backend, const char *kernel, reel_error *err) {
    return cuda_status(backend, cudaGetLastError(), kernel, err);
}

reel_status cuda_backend_use(struct cuda_backend *backend, reel_error *err) {
    if (backend->lost)
        return error_set(err, REEL_DEVICE, "cuda:%d was lost (%s); start the program again", backend->device,
                         backend->lost_reason);
    return cuda_status(backend, cudaSetDevice(backend->device), "choosing the device", err);
}

reel_status cuda_shared_limit(struct cuda_backend *backend, size_t *limit, reel_error *err) {
    const int without_asking = 1 << 11; /* static variables, and what the system keeps */
    int most;
    TRY_RETURN(cuda_status(backend,
                           cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, backend->device),
                           "asking for the shared memory of a block", err));
    *limit = (size_t)(most - without_asking);
    return REEL_OK;
}

/* ---- memory ---- */

static struct cuda_backend *self(struct backend *backend) {
    return (struct cuda_backend *)backend;
}

static reel_status cuda_alloc(struct backend *backend, void **out, size_t bytes, reel_error *err) {
    *out = NULL;
    TRY_RETURN(cuda_backend_use(self(backend), err));
    cudaError_t code = cudaMalloc(out, bytes ? bytes : 1);
    if (code != cudaErrorMemoryAllocation) return cuda_status(self(backend), code, "allocating", err);
    size_t free_bytes = 0, total_bytes = 0;
    (void)cudaGetLastError();
    (void)cudaMemGetInfo(&free_bytes, &total_bytes);
    return error_set(err, REEL_NO_MEMORY, "cuda:%d: %zu MiB were asked for, %zu of %zu MiB are free",
                     self(backend)->device, bytes >> 20, free_bytes >> 20, total_bytes >> 20);
}

static void cuda_release(struct backend *backend, void *pointer) {
    if (pointer && cuda_backend_use(self(backend), NULL) == REEL_OK)
        (void)cuda_status(self(backend), cudaFree(pointer), "freeing", NULL);
}

reel_status cuda_scratch(struct cuda_backend *backend, int slot, size_t bytes, void **out, reel_error *err) {
    if (backend->scratch_bytes[slot] < bytes) {
        cuda_release(&backend->base, backend->scratch[slot]);
        backend->scratch[slot] = NULL;
        backend->scratch_bytes[slot] = 0;
        TRY_RETURN(cuda_alloc(&backend->base, &backend->scratch[slot], bytes, err));
        backend->scratch_bytes[slot] = bytes;
    }
    *out = backend->scratch[slot];
    return REEL_OK;
}

/* From pageable memory: the source may be reused when this returns. */
static reel_status cuda_upload(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    return cuda_copy_up(self(backend), self(backend)->stream, to, from, bytes, err);
}

static reel_status cuda_sync(struct backend *backend, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    return cuda_status(self(backend), cudaStreamSynchronize(self(backend)->stream), "waiting for the device", err);
}

static reel_status cuda_download(struct backend *backend, void *to, const void *from, size_t bytes, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    return cuda_copy_down(self(backend), self(backend)->stream, to, from, bytes, err);
}

static reel_status cuda_zero(struct backend *backend, void *at, size_t bytes, reel_error *err) {
    TRY_RETURN(cuda_backend_use(self(backend), err));
    if (!bytes) return REEL_OK;
    return cuda_status(self(backend), cudaMemsetAsync(at, 0, bytes, self(backend)->stream), "clearing device memory",
                       err);
}

/* Working memory that the operators keep counts as free: they would use it again. */
static reel_status cuda_free_memory(struct backend *backend, size_t *bytes, reel_error *err) {
    size_t total;
    TRY_RETURN(cuda_backend_use(self(backend), err));
    TRY_RETURN(cuda_status(self(backend), cudaMemGetInfo(bytes, &total), "asking for free memory", err));
    for (int slot = 0; slot < CUDA_SCRATCH_SLOTS; slot++) *bytes += self(backend)->scratch_bytes[slot];
    return REEL_OK;
}

/* ---- opening and closing ---- */

static void cuda_close(struct backend *backend) {
    struct cuda_backend *cuda = self(backend);
    for (int slot = 0; slot < CUDA_SCRATCH_SLOTS; slot++) cuda_release(backend, cuda->scratch[slot]);
    if (cuda->stream && cudaSetDevice(cuda->device) == cudaSuccess) {
        (void)cudaStreamDestroy(cuda->stream);
        if (cuda->beside) (void)cudaStreamDestroy(cuda->beside);
        if (cuda->so_far) (void)cudaEventDestroy(cuda->so_far);
        cuda_transfers_close(cuda);
    }
    mem_free(cuda);
}

static const struct backend_ops cuda_ops = {
    .name = "cuda",
    .close = cuda_close,
    .alloc = cuda_alloc,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .zero = cuda_zero,
    .sync = cuda_sync,
    .free_memory = cuda_free_memory,
    .sgd_epoch = cuda_sgd_epoch,
    .factor_solve = cuda_factor_solve,
    .factor_k_max = FACTOR_K_MAX,
    .factor_cg = cuda_factor_cg,
    .topk_users = cuda_topk_users,
    .predict_pairs = cuda_predict_pairs,
    .residuals = cuda_residuals,
    .set_sweep = cuda_set_sweep,
    .group_sweep = cuda_group_sweep,
    .group_add = cuda_group_add,
    .moments = cuda_moments,
    .gather = cuda_gather,
    .add_vectors = cuda_add_vectors,
    .pair_scores = cuda_pair_scores,
    .affinity_apply = cuda_affinity_apply,
    .block_dot = cuda_block_dot,
    .block_update = cuda_block_update,
    .block_scale = cuda_block_scale,
    .eigen_symmetric = cuda_eigen_symmetric,
    .kmeans_assign = cuda_kmeans_assign,
    .forest_pairs = cuda_forest_pairs,
    .forest_topk = cuda_forest_topk,
    .tree_order = cuda_tree_order,
    .tree_sums = cuda_tree_sums,
    .tree_splits = cuda_tree_splits,
    .tree_bits = cuda_tree_bits,
};

/* Proves that this build has code for the device: a launch is what fails when it has not. */
static __global__ void probe_kernel(int *out) {
    *out = 1;
}

static reel_status probe(struct cuda_backend *cuda, reel_error *err) {
    void *word = NULL;
    TRY_RETURN(cuda_alloc(&cuda->base, &word, sizeof(int), err));
    probe_kernel<<<1, 1, 0, cuda->stream>>>((int *)word);
    reel_status status = cuda_launched(cuda, "the first kernel", err);
    int answer = 0;
    if (status == REEL_OK) status = cuda_download(&cuda->base, &answer, word, sizeof answer, err);
    if (status == REEL_OK && answer != 1)
        status = error_set(err, REEL_DEVICE, "cuda:%d: the first kernel gave a wrong answer", cuda->device);
    cuda_release(&cuda->base, word);
    return status;
}

reel_status cuda_device_count(int *count, reel_error *err) {
    int driver = 0, needed = 0;
    *count = 0;
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
        (void)cudaGetLastError();
        return error_set(err, REEL_DEVICE, "no NVIDIA driver is installed here; --device cpu works without one");
    }
    cudaError_t code = cudaGetDeviceCount(count);
    (void)cudaGetLastError();
    (void)cudaRuntimeGetVersion(&needed);
    if (code == cudaErrorInsufficientDriver)
        return error_set(err, REEL_DEVICE,
                         "the NVIDIA driver offers CUDA %d.%d, this build needs %d.%d: update the driver",
                         driver / 1000, driver % 1000 / 10, needed / 1000, needed % 1000 / 10);
    if (code == cudaErrorNoDevice || (code == cudaSuccess && *count == 0))
        return error_set(err, REEL_DEVICE, "the NVIDIA driver shows no GPU (see nvidia-smi and CUDA_VISIBLE_DEVICES)");
    if (code != cudaSuccess)
        return error_set(err, REEL_DEVICE, "the NVIDIA driver fails: %s", cudaGetErrorString(code));
    return REEL_OK;
}

static reel_status make_streams(struct cuda_backend *cuda, reel_error *err) {
    const char *what = "making a stream";
    TRY_RETURN(cuda_status(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking), what, err));
    TRY_RETURN(cuda_status(cuda, cudaStreamCreateWithFlags(&cuda->beside, cudaStreamNonBlocking), what, err));
    return cuda_status(cuda, cudaEventCreateWithFlags(&cuda->so_far, cudaEventDisableTiming), what, err);
}

reel_status cuda_backend_open(int device, struct thread_pool *pool, struct backend **out, reel_error *err) {
    int count;
    *out = NULL;
    TRY_RETURN(cuda_device_count(&count, err));
    if (device >= count)
        return error_set(err, REEL_DEVICE, "there is no cuda:%d: this machine shows %d GPU%s, counted from cuda:0",
                         device, count, count == 1 ? "" : "s");
    struct cuda_backend *cuda;
    TRY_RETURN(MEM_NEW(&cuda, 1, err));
    cuda->base.ops = &cuda_ops;
    cuda->base.pool = pool;
    cuda->device = device;
    reel_status status = cuda_backend_use(cuda, err);
    if (status == REEL_OK) status = make_streams(cuda, err);
    if (status == REEL_OK) status = probe(cuda, err);
    if (status != REEL_OK) {
        cuda_close(&cuda->base);
        return status;
    }
    *out = &cuda->base;
    return REEL_OK;
}

/* ---- what is here ---- */

void cuda_backend_facts(struct device_facts *facts) {
    reel_error err;
    memset(facts, 0, sizeof *facts);
    (void)cudaDriverGetVersion(&facts->driver_version);
    (void)cudaRuntimeGetVersion(&facts->runtime_version);
    facts->nccl_version = cuda_links_nccl_version();
    if (cuda_device_count(&facts->n_devices, &err) != REEL_OK) {
        facts->n_devices = 0;
        snprintf(facts->problem, sizeof facts->problem, "%.*s", (int)sizeof facts->problem - 1, err.message);
        return;
    }
    if (facts->n_devices > DEVICE_FACTS_MAX) facts->n_devices = DEVICE_FACTS_MAX;
    for (int i = 0; i < facts->n_devices; i++) {
        struct device_fact *fact = &facts->devices[i];
        cudaDeviceProp properties;
        if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
        snprintf(fact->name, sizeof fact->name, "%.*s", (int)sizeof fact->name - 1, properties.name);
        fact->capability = properties.major * 10 + properties.minor;
        fact->memory_bytes = properties.totalGlobalMem;
    }
    (void)cudaGetLastError();
}
