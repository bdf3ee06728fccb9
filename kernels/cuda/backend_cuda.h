/* What the operators of the CUDA backend share: its context, and errors of the CUDA runtime as a status. */
#ifndef KERNELS_CUDA_BACKEND_CUDA_H
#define KERNELS_CUDA_BACKEND_CUDA_H

#include <cuda_runtime_api.h>

#include "backend/backend_ops.h"

enum { CUDA_SCRATCH_SLOTS = 3 };

struct cuda_backend {
    struct backend base; /* first, so that a struct backend * is one of these */
    int device;
    cudaStream_t stream; /* the job's one stream: operators queue here and return */
    int lost;            /* the device context died of an earlier error; nothing works any more */
    char lost_reason[256];
    void *scratch[CUDA_SCRATCH_SLOTS]; /* working memory of the operators, kept from call to call */
    size_t scratch_bytes[CUDA_SCRATCH_SLOTS];
};

/* How many devices there are, or DEVICE with why none can be used. */
reel_status cuda_device_count(int *count, reel_error *err);
/* Makes the backend's device current for this thread; DEVICE with the first reason once the context is lost. */
reel_status cuda_backend_use(struct cuda_backend *backend, reel_error *err);
/* OK for cudaSuccess; else NO_MEMORY or DEVICE, "cuda:N: WHAT: reason". Remembers errors that kill the context and
 * clears the others, so that a later call does not report them again. */
reel_status cuda_status(struct cuda_backend *backend, cudaError_t code, const char *what, reel_error *err);
/* The same for the launch of `kernel` just made. */
reel_status cuda_launched(struct cuda_backend *backend, const char *kernel, reel_error *err);
/* *out = working memory of at least `bytes`, not cleared, aligned to 256. It is the caller's until the next operator
 * asks for the same slot: one stream runs them one after the other. NO_MEMORY says how much was needed. */
reel_status cuda_scratch(struct cuda_backend *backend, int slot, size_t bytes, void **out, reel_error *err);

#endif
