/* What the operators of the CUDA backend share: its context, and errors of the CUDA runtime as a status. */
#ifndef KERNELS_CUDA_BACKEND_CUDA_H
#define KERNELS_CUDA_BACKEND_CUDA_H

#include <cuda_runtime_api.h>

#include "backend/backend_ops.h"

enum { CUDA_SCRATCH_SLOTS = 4, CUDA_STAGES = 4 };

/* Pinned memory that large copies go through (transfers.cu). */
struct cuda_transfers {
    int state, next;                /* whether it is there; the buffer that the next copy begins with */
    size_t plain_bytes;             /* that came before it was there */
    char *pinned;                   /* CUDA_STAGES buffers, one after the other */
    cudaEvent_t moved[CUDA_STAGES]; /* the bus has done with a buffer */
};

struct cuda_backend {
    struct backend base; /* first, so that a struct backend * is one of these */
    int device;
    cudaStream_t stream; /* the job's stream: operators queue here and return */
    cudaStream_t beside; /* for operators that wait, and do two things at a time until then */
    cudaEvent_t so_far;  /* what `beside` waits for */
    int shares_pool;     /* devices work at the same time, and none may take the pool's threads */
    struct cuda_transfers transfers;
    int lost; /* the device context died of an earlier error; nothing works any more */
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
/* *limit = bytes of shared memory that a launch may ask for here. A kernel is allowed all of them
 * (cudaFuncSetAttribute), whatever this launch takes: contexts of one process share what is set for a kernel on a
 * device, and one that set less would make the launch of another fail. */
reel_status cuda_shared_limit(struct cuda_backend *backend, size_t *limit, reel_error *err);
/* *out = working memory of at least `bytes`, not cleared, aligned to 256. It is the caller's until the next operator
 * asks for the same slot: one stream runs them one after the other. NO_MEMORY says how much was needed. */
reel_status cuda_scratch(struct cuda_backend *backend, int slot, size_t bytes, void **out, reel_error *err);
/* Copies on `stream`, through pinned memory where that is faster. The source may be reused when cuda_copy_up returns;
 * cuda_copy_down waits. Errors as of cuda_status. */
reel_status cuda_copy_up(struct cuda_backend *backend, cudaStream_t stream, void *to, const void *from, size_t bytes,
                         reel_error *err);
reel_status cuda_copy_down(struct cuda_backend *backend, cudaStream_t stream, void *to, const void *from, size_t bytes,
                           reel_error *err);
void cuda_transfers_close(struct cuda_backend *backend);

#endif
