/* The host's side: devices, memory, streams, launches. Device memory is host memory from the allocator, so that a
 * sanitizer watches it; a table says what belongs to which device, and copies are checked against it. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "scheduler.h"

enum { DEVICES_MAX = 16, CUDA_VERSION = 13000, UNSET = 0xb7 };

struct emulated_stream {
    int device;
};

struct emulated_event {
    int device, recorded;
    struct timespec at;
};

struct allocation {
    struct allocation *next;
    char *at;
    size_t bytes;
    int device;
};

struct limit {
    const void *kernel;
    int bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct allocation *allocations;
static size_t used_bytes[DEVICES_MAX];
static struct limit *limits; /* of dynamic shared memory, where set */
static size_t n_limits;

static __thread int current_device;
static __thread cudaError_t last_error;

static cudaError_t fail(cudaError_t code) {
    if (code != cudaSuccess) last_error = code;
    return code;
}

/* ---- errors ---- */

cudaError_t cudaGetLastError(void) {
    const cudaError_t code = last_error;
    last_error = cudaSuccess;
    return code;
}

cudaError_t cudaPeekAtLastError(void) {
    return last_error;
}

const char *cudaGetErrorString(cudaError_t code) {
    switch (code) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle:
        return "invalid resource handle";
    case cudaErrorCooperativeLaunchTooLarge:
        return "too many blocks in cooperative launch";
    case cudaErrorPeerAccessAlreadyEnabled:
        return "peer access is already enabled";
    case cudaErrorPeerAccessNotEnabled:
        return "peer access has not been enabled";
    default:
        return "unknown error";
    }
}

const char *cudaGetErrorName(cudaError_t code) {
    return code == cudaSuccess ? "cudaSuccess" : cudaGetErrorString(code);
}

/* ---- devices ---- */

/* A whole number from the environment, 1..most; `otherwise` where there is none. */
static long long setting(const char *name, long long otherwise, long long most) {
    const char *text = getenv(name);
    const long long value = text ? strtoll(text, NULL, 10) : otherwise;
    return value < 1 ? 1 : value > most ? most : value;
}

static int device_count(void) {
    return (int)setting("REEL_EMULATED_DEVICES", 1, DEVICES_MAX);
}

static size_t device_bytes(void) {
    return (size_t)setting("REEL_EMULATED_MEMORY", 8192, 1 << 20) << 20;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDA_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDA_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *count) {
    *count = device_count();
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    if (device < 0 || device >= device_count()) return fail(cudaErrorInvalidDevice);
    current_device = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    *device = current_device;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device) {
    if (device < 0 || device >= device_count()) return fail(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "emulated on the CPU, after an H200");
    properties->totalGlobalMem = device_bytes();
    properties->major = 9;
    properties->sharedMemPerBlock = SHARED_STATIC_MAX;
    properties->sharedMemPerMultiprocessor = SHARED_PROCESSOR;
    properties->sharedMemPerBlockOptin = SHARED_BLOCK_MAX;
    properties->multiProcessorCount = PROCESSORS;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = BLOCK_THREADS_MAX;
    properties->maxThreadsPerMultiProcessor = PROCESSOR_THREADS;
    properties->maxBlocksPerMultiProcessor = PROCESSOR_BLOCKS;
    properties->maxGridSize[0] = 0x7fffffff;
    properties->maxGridSize[1] = properties->maxGridSize[2] = 65535;
    properties->maxThreadsDim[0] = properties->maxThreadsDim[1] = 1024;
    properties->maxThreadsDim[2] = 64;
    properties->regsPerBlock = properties->regsPerMultiprocessor = 65536;
    properties->l2CacheSize = 50 << 20;
    properties->cooperativeLaunch = properties->concurrentKernels = 1;
    properties->pciBusID = device;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr which, int device) {
    struct cudaDeviceProp properties;
    const cudaError_t code = cudaGetDeviceProperties(&properties, device);
    if (code != cudaSuccess) return code;
    switch (which) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = properties.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = SHARED_STATIC_MAX;
        break;
    case cudaDevAttrWarpSize:
        *value = 32;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = PROCESSORS;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = PROCESSOR_THREADS;
        break;
    case cudaDevAttrL2CacheSize:
        *value = properties.l2CacheSize;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = properties.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = properties.minor;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = SHARED_PROCESSOR;
        break;
    case cudaDevAttrCooperativeLaunch:
        *value = 1;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = SHARED_BLOCK_MAX;
        break;
    default:
        return fail(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void) {
    return cudaSuccess;
}

cudaError_t cudaDeviceReset(void) {
    return cudaSuccess;
}

static int is_peer(int device, int peer) {
    return device != peer && device >= 0 && peer >= 0 && device < device_count() && peer < device_count();
}

static unsigned peers[DEVICES_MAX]; /* a bit a device that may be reached */

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = is_peer(device, peer);
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned flags) {
    if (flags || !is_peer(current_device, peer)) return fail(cudaErrorInvalidDevice);
    const unsigned old = __atomic_fetch_or(&peers[current_device], 1u << peer, __ATOMIC_RELAXED);
    return old >> peer & 1 ? fail(cudaErrorPeerAccessAlreadyEnabled) : cudaSuccess;
}

cudaError_t cudaDeviceDisablePeerAccess(int peer) {
    if (!is_peer(current_device, peer)) return fail(cudaErrorInvalidDevice);
    const unsigned old = __atomic_fetch_and(&peers[current_device], ~(1u << peer), __ATOMIC_RELAXED);
    return old >> peer & 1 ? cudaSuccess : fail(cudaErrorPeerAccessNotEnabled);
}

/* ---- memory ---- */

/* The allocation that holds `pointer`, under the lock; NULL: no device memory. */
static struct allocation *find(const void *pointer) {
    for (struct allocation *a = allocations; a; a = a->next)
        if ((const char *)pointer >= a->at && (const char *)pointer < a->at + (a->bytes ? a->bytes : 1)) return a;
    return NULL;
}

/* Whether bytes pointer.. lie in the memory of a device (-1: of any), or none of them in any. */
static int is_device(const void *pointer, size_t bytes, int device) {
    pthread_mutex_lock(&lock);
    const struct allocation *a = find(pointer);
    const int yes =
        a && (device < 0 || a->device == device) && bytes <= a->bytes - (size_t)((const char *)pointer - a->at);
    pthread_mutex_unlock(&lock);
    return yes;
}

static int is_host(const void *pointer, size_t bytes) {
    pthread_mutex_lock(&lock);
    const int yes = !find(pointer) && (bytes == 0 || !find((const char *)pointer + bytes - 1));
    pthread_mutex_unlock(&lock);
    return yes;
}

static cudaError_t refuse(const char *what, const void *pointer, size_t bytes) {
    fprintf(stderr, "emulated CUDA: %s: %zu bytes at %p\n", what, bytes, pointer);
    return fail(cudaErrorInvalidValue);
}

cudaError_t cudaMalloc(void **out, size_t bytes) {
    struct allocation *a = NULL;
    void *at = NULL;
    *out = NULL;
    pthread_mutex_lock(&lock);
    const int fits = bytes <= device_bytes() - used_bytes[current_device];
    if (fits) used_bytes[current_device] += bytes;
    pthread_mutex_unlock(&lock);
    if (!fits) return fail(cudaErrorMemoryAllocation);
    if (posix_memalign(&at, 256, bytes ? bytes : 1) != 0) at = NULL;
    a = (struct allocation *)malloc(sizeof *a);
    if (!at || !a) {
        free(at);
        free(a);
        pthread_mutex_lock(&lock);
        used_bytes[current_device] -= bytes;
        pthread_mutex_unlock(&lock);
        return fail(cudaErrorMemoryAllocation);
    }
    memset(at, UNSET, bytes);
    pthread_mutex_lock(&lock);
    *a = {allocations, (char *)at, bytes, current_device};
    allocations = a;
    pthread_mutex_unlock(&lock);
    *out = at;
    return cudaSuccess;
}

cudaError_t cudaFree(void *pointer) {
    if (!pointer) return cudaSuccess;
    struct allocation *found = NULL;
    pthread_mutex_lock(&lock);
    for (struct allocation **a = &allocations; *a && !found; a = found ? a : &(*a)->next)
        if ((*a)->at == pointer) {
            found = *a;
            *a = found->next;
            used_bytes[found->device] -= found->bytes;
        }
    pthread_mutex_unlock(&lock);
    if (!found) return refuse("freeing what is no device memory", pointer, 0);
    free(found->at);
    free(found);
    return cudaSuccess;
}

cudaError_t cudaMallocAsync(void **out, size_t bytes, cudaStream_t) {
    return cudaMalloc(out, bytes);
}

cudaError_t cudaFreeAsync(void *pointer, cudaStream_t) {
    return cudaFree(pointer);
}

cudaError_t cudaMallocHost(void **out, size_t bytes) {
    const char *pinned = getenv("REEL_EMULATED_PINNED");
    *out = NULL;
    if (pinned && strcmp(pinned, "0") == 0) return fail(cudaErrorMemoryAllocation);
    *out = malloc(bytes ? bytes : 1);
    return *out ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaHostAlloc(void **out, size_t bytes, unsigned) {
    return cudaMallocHost(out, bytes);
}

cudaError_t cudaFreeHost(void *pointer) {
    free(pointer);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    pthread_mutex_lock(&lock);
    *total_bytes = device_bytes();
    *free_bytes = *total_bytes - used_bytes[current_device];
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *out, const void *pointer) {
    pthread_mutex_lock(&lock);
    const struct allocation *a = find(pointer);
    *out = {a ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered, a ? a->device : -2, a ? (void *)pointer : NULL,
            a ? NULL : (void *)pointer};
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind, cudaStream_t) {
    const int to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const int from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) return fail(cudaErrorInvalidMemcpyDirection);
    if (kind != cudaMemcpyDefault) {
        if (!(to_device ? is_device(to, bytes, -1) : is_host(to, bytes)))
            return refuse(to_device ? "copying to what is no device memory" : "copying to what is no host memory", to,
                          bytes);
        if (!(from_device ? is_device(from, bytes, -1) : is_host(from, bytes)))
            return refuse(from_device ? "copying from what is no device memory" : "copying from what is no host memory",
                          from, bytes);
    }
    memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind) {
    return cudaMemcpyAsync(to, from, bytes, kind, NULL);
}

cudaError_t cudaMemcpyPeerAsync(void *to, int to_device, const void *from, int from_device, size_t bytes,
                                cudaStream_t) {
    if (!is_device(to, bytes, to_device)) return refuse("copying to what is not that device's", to, bytes);
    if (!is_device(from, bytes, from_device)) return refuse("copying from what is not that device's", from, bytes);
    memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyPeer(void *to, int to_device, const void *from, int from_device, size_t bytes) {
    return cudaMemcpyPeerAsync(to, to_device, from, from_device, bytes, NULL);
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t) {
    if (!is_device(at, bytes, -1)) return refuse("setting what is no device memory", at, bytes);
    memset(at, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *at, int value, size_t bytes) {
    return cudaMemsetAsync(at, value, bytes, NULL);
}

/* ---- streams and events: work is done when it is queued ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned flags) {
    if (flags & ~(unsigned)cudaStreamNonBlocking) return fail(cudaErrorInvalidValue);
    *out = (cudaStream_t)malloc(sizeof **out);
    if (!*out) return fail(cudaErrorMemoryAllocation);
    (*out)->device = current_device;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *out) {
    return cudaStreamCreateWithFlags(out, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    free(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t) {
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t) {
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned) {
    *out = (cudaEvent_t)calloc(1, sizeof **out);
    if (!*out) return fail(cudaErrorMemoryAllocation);
    (*out)->device = current_device;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *out) {
    return cudaEventCreateWithFlags(out, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    if (event->device != (stream ? stream->device : current_device)) return fail(cudaErrorInvalidResourceHandle);
    event->recorded = 1;
    clock_gettime(CLOCK_MONOTONIC, &event->at);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t) {
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t) {
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    if (!begin->recorded || !end->recorded) return fail(cudaErrorInvalidResourceHandle);
    *milliseconds = (float)(1e3 * (double)(end->at.tv_sec - begin->at.tv_sec) +
                            1e-6 * (double)(end->at.tv_nsec - begin->at.tv_nsec));
    return cudaSuccess;
}

/* ---- launches ---- */

/* Bytes of dynamic shared memory that a kernel may ask for. */
static int allowed_shared(const void *kernel) {
    int bytes = SHARED_STATIC_MAX;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n_limits; i++)
        if (limits[i].kernel == kernel) bytes = limits[i].bytes;
    pthread_mutex_unlock(&lock);
    return bytes;
}

cudaError_t emulated_set_attribute(const void *kernel, enum cudaFuncAttribute which, int value) {
    if (which == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (which != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > SHARED_BLOCK_MAX)
        return fail(cudaErrorInvalidValue);
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < n_limits && limits[i].kernel != kernel) i++;
    if (i == n_limits) {
        limits = (struct limit *)realloc(limits, (n_limits + 1) * sizeof *limits);
        if (!limits) abort();
        n_limits++;
    }
    limits[i] = {kernel, value};
    pthread_mutex_unlock(&lock);
    return cudaSuccess;
}

cudaError_t emulated_get_attributes(struct cudaFuncAttributes *out, const void *kernel) {
    *out = {0, 0, BLOCK_THREADS_MAX, 0, allowed_shared(kernel)};
    return cudaSuccess;
}

cudaError_t emulated_occupancy(int *blocks, const void *kernel, int threads, size_t shared) {
    *blocks = 0;
    if (threads < 1) return fail(cudaErrorInvalidValue);
    if (threads <= BLOCK_THREADS_MAX && shared <= (size_t)allowed_shared(kernel))
        *blocks = scheduler_blocks_per_processor(threads, shared);
    return cudaSuccess;
}

static cudaError_t check_launch(const struct emulated_config *config) {
    const dim3 grid = config->grid, block = config->block;
    const uint64_t threads = (uint64_t)block.x * block.y * block.z, blocks = (uint64_t)grid.x * grid.y * grid.z;
    if (blocks == 0 || grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) return cudaErrorInvalidConfiguration;
    if (threads == 0 || threads > BLOCK_THREADS_MAX || block.z > 64) return cudaErrorInvalidConfiguration;
    if (config->shared > (size_t)allowed_shared(config->kernel)) return cudaErrorInvalidValue;
    if (config->stream && config->stream->device != current_device) return cudaErrorInvalidResourceHandle;
    if (config->cooperative &&
        blocks > (uint64_t)PROCESSORS * (uint64_t)scheduler_blocks_per_processor((int)threads, config->shared))
        return cudaErrorCooperativeLaunchTooLarge;
    return cudaSuccess;
}

cudaError_t emulated_enqueue(const struct emulated_config *config, emulated_body body, void *arguments) {
    const cudaError_t code = check_launch(config);
    if (code == cudaSuccess) scheduler_run(config, body, arguments);
    free(arguments);
    return fail(code);
}
