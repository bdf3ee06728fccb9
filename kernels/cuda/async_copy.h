/* Copies from global to shared memory that pass no register (cp.async, compute capability 8.0). What a thread copied is
 * there for it after async_copy_wait, for the others after a barrier behind that. */
#ifndef KERNELS_CUDA_ASYNC_COPY_H
#define KERNELS_CUDA_ASYNC_COPY_H

#include <cuda_runtime.h>
#include <stdint.h>

#if defined(REEL_CUDA_EMULATED)

template <int FLOATS> static __device__ inline void async_copy(float *shared, const float *global, int take) {
    emulated_copy(shared, take ? global : NULL, FLOATS * sizeof(float));
}

static __device__ inline void async_copy_if(int yes, float *shared, const float *global) {
    if (yes) emulated_copy(shared, global, 4 * sizeof(float));
}

static __device__ inline void async_copy_wait(void) {
    emulated_copy_wait_all();
}

static __device__ inline void async_copy_commit(void) {
    emulated_copy_commit();
}

template <int GROUPS> static __device__ inline void async_copy_wait_but(void) {
    emulated_copy_wait(GROUPS);
}

#else

/* FLOATS (1, 2 or 4) floats, both sides aligned to as many; zeros where `take` is 0, and then nothing is read. */
template <int FLOATS> static __device__ __forceinline__ void async_copy(float *shared, const float *global, int take) {
    const uint32_t to = (uint32_t)__cvta_generic_to_shared(shared);
    const int bytes = take ? 4 * FLOATS : 0;
    if (FLOATS == 4)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(to), "l"(global), "r"(bytes), "n"(4 * FLOATS)
                     : "memory");
}

/* Of four floats, or nothing, without a branch: where only a few warps share a processor a branch costs some forty
 * cycles (its predicate, the jump, the meeting behind it), as much as twenty instructions. */
static __device__ __forceinline__ void async_copy_if(int yes, float *shared, const float *global) {
    const uint32_t to = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile(
        "{\n.reg .pred yes;\nsetp.ne.s32 yes, %0, 0;\n@yes cp.async.cg.shared.global [%1], [%2], 16;\n}" ::"r"(yes),
        "r"(to), "l"(global)
        : "memory");
}

static __device__ __forceinline__ void async_copy_wait(void) {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

/* Makes the thread's copies since the last call a group. */
static __device__ __forceinline__ void async_copy_commit(void) {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits for all groups but the last GROUPS. */
template <int GROUPS> static __device__ __forceinline__ void async_copy_wait_but(void) {
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
}

#endif

#endif
