/* Turns by number: warps of one launch that must do a piece of work in a given order wait for a count in memory and
 * raise it when done. What the warps before wrote is there for all lanes of the one whose turn it is; copies of it in
 * the L1 cache may be stale, so it reads past that (async_copy of 16 bytes, __ldcg) or rows that only it writes.
 *
 * All warps must be resident, and the order without cycles. */
#ifndef KERNELS_CUDA_TICKET_H
#define KERNELS_CUDA_TICKET_H

#include <cuda_runtime.h>

static __device__ __forceinline__ int load_acquire(const int *at) {
#if defined(REEL_CUDA_EMULATED)
    const int value = *(const volatile int *)at;
    __threadfence();
#else
    int value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
#endif
    return value;
}

static __device__ __forceinline__ void store_release(int *at, int value) {
#if defined(REEL_CUDA_EMULATED)
    __threadfence();
    *(volatile int *)at = value;
#else
    asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
#endif
}

/* Waits until *finished is `ticket`. The barrier of the warp orders the other lanes' reads behind lane 0's. */
static __device__ __forceinline__ void await_ticket(const int *finished, int ticket, int lane) {
    if (lane == 0)
        while (load_acquire(finished) != ticket) __nanosleep(20);
    __syncwarp();
}

static __device__ __forceinline__ void hand_on(int *finished, int ticket, int lane) {
    __syncwarp();
    if (lane == 0) store_release(finished, ticket + 1);
}

#endif
