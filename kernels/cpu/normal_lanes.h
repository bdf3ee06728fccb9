/* Sixteen Philox blocks of normal variates side by side. All versions have the bits of philox_normals. */
#ifndef KERNELS_CPU_NORMAL_LANES_H
#define KERNELS_CPU_NORMAL_LANES_H

#include "kernels/common/normal.h"

enum { NORMAL_LANES = 16 };

/* out[j][l] = value j of block index[l]. */
typedef void (*normal_lanes_fn)(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES],
                                float out[4][NORMAL_LANES]);

void normal_lanes_generic(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES],
                          float out[4][NORMAL_LANES]);
void normal_lanes_avx2(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES], float out[4][NORMAL_LANES]);
void normal_lanes_avx512(uint64_t seed, uint64_t stream, const uint64_t index[NORMAL_LANES],
                         float out[4][NORMAL_LANES]);
/* The best this processor offers. */
normal_lanes_fn normal_lanes_choose(void);

/* From words to variates, in a loop that the compiler turns into vectors of the width its file may use. */
static inline void normal_lanes_turn(uint32_t words[4][NORMAL_LANES], float out[4][NORMAL_LANES]) {
    for (int pair = 0; pair < 4; pair += 2)
        for (int l = 0; l < NORMAL_LANES; l++)
            normal_turn(words[pair + 1][l], normal_radius(words[pair][l]), &out[pair][l], &out[pair + 1][l]);
}

#endif
