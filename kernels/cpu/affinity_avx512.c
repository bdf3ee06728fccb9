/* The spectral operators' inner loops with AVX512. */
#if defined(__x86_64__)
#include "kernels/cpu/affinity_loops.h"

const struct affinity_kernels affinity_kernels_avx512 = AFFINITY_LOOPS;
#endif
