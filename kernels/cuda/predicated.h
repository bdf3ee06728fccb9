/* Memory accesses that a thread makes or leaves out without a branch. Where only a few warps share a processor a branch
 * costs some forty cycles (its predicate, the jump, the meeting behind it), as much as twenty instructions. */
#ifndef KERNELS_CUDA_PREDICATED_H
#define KERNELS_CUDA_PREDICATED_H

#include <cuda_runtime.h>
#include <stdint.h>

#include "kernels/cuda/async_copy.h"

#if defined(REEL_CUDA_EMULATED)

static __device__ inline void store_global_if(int yes, float *to, float value) {
    if (yes) *to = value;
}

static __device__ inline void store_shared_if(int yes, float *to, float value) {
    if (yes) *to = value;
}

static __device__ inline void async_copy_if(int yes, float *shared, const float *global) {
    if (yes) async_copy<4>(shared, global, 1);
}

#else

static __device__ __forceinline__ void store_global_if(int yes, float *to, float value) {
    asm volatile("{\n.reg .pred yes;\nsetp.ne.s32 yes, %0, 0;\n@yes st.global.f32 [%1], %2;\n}" ::"r"(yes), "l"(to),
                 "f"(value)
                 : "memory");
}

static __device__ __forceinline__ void store_shared_if(int yes, float *to, float value) {
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("{\n.reg .pred yes;\nsetp.ne.s32 yes, %0, 0;\n@yes st.shared.f32 [%1], %2;\n}" ::"r"(yes), "r"(at),
                 "f"(value)
                 : "memory");
}

/* Of four floats, past the L1 cache. */
static __device__ __forceinline__ void async_copy_if(int yes, float *shared, const float *global) {
    const uint32_t to = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile(
        "{\n.reg .pred yes;\nsetp.ne.s32 yes, %0, 0;\n@yes cp.async.cg.shared.global [%1], [%2], 16;\n}" ::"r"(yes),
        "r"(to), "l"(global)
        : "memory");
}

#endif

#endif
