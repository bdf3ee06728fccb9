/* The plain loop over sixteen Philox blocks, and the choice among its vector forms. */
#include "kernels/cpu/normal_lanes.h"

#include "core/doctor.h"

void normal_lanes_generic(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES],
                          float out[4][NORMAL_LANES]) {
    for (int l = 0; l < NORMAL_LANES; l++) {
        float four[4];
        philox_normals(seed, stream, index[l], four);
        for (int j = 0; j < 4; j++) out[j][l] = four[j];
    }
}

normal_lanes_fn normal_lanes_choose(void) {
#if defined(__x86_64__)
    enum simd_level level = simd_level();
    if (level == SIMD_AVX512) return normal_lanes_avx512;
    if (level == SIMD_AVX2) return normal_lanes_avx2;
#endif
    return normal_lanes_generic;
}
