/* The spectral operators' inner loops with AVX2. */
#if defined(__x86_64__)
#include "kernels/cpu/affinity_loops.h"

const struct affinity_kernels affinity_kernels_avx2 = AFFINITY_LOOPS;
#endif
