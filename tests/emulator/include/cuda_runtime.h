/* What a translated CUDA file includes first: the runtime's interface, launches and everything that device code calls.
 */
#ifndef EMULATED_CUDA_RUNTIME_H
#define EMULATED_CUDA_RUNTIME_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cuda_runtime_api.h>

#define __CUDACC__ 1
#define __host__
#define __device__
#define __global__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n)    __attribute__((aligned(n)))

#include "emulated_vectors.h"
#include "emulated_launch.h"
#include "emulated_device.h"
#include "emulated_atomics.h"

#endif
