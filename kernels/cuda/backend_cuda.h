/* What the operators of the CUDA backend share: its context, and errors of the CUDA runtime as a status. */
#ifndef KERNELS_CUDA_BACKEND_CUDA_H
#define KERNELS_CUDA_BACKEND_CUDA_H

#include <cuda_runtime_api.h>

#include "backend/backend_ops.h"

struct cuda_backend {
    struct backend base; /* first, so that a struct backend * is one of these */
    int device;
    cudaStream_t stream; /* the job's one stream: operators queue here and return */
    int lost;            /* the device context died of an earlier error; nothing works any more */
    char lost_reason[256];
};

/* Makes the backend's device current for this thread; DEVICE with the first reason once the context is lost. */
reel_status cuda_backend_use(struct cuda_backend *backend, reel_error *err);
/* OK for cudaSuccess; else NO_MEMORY or DEVICE, "cuda:N: WHAT: reason". Remembers errors that kill the context and
 * clears the others, so that a later call does not report them again. */
reel_status cuda_status(struct cuda_backend *backend, cudaError_t code, const char *what, reel_error *err);
/* The same for the launch of `kernel` just made. */
reel_status cuda_launched(struct cuda_backend *backend, const char *kernel, reel_error *err);

#endif
