/* Normal variates from Philox words (Box and Muller 1958), the same formula on host and device; the
 * elementary functions may differ in the last place between the two. */
#ifndef KERNELS_COMMON_NORMAL_H
#define KERNELS_COMMON_NORMAL_H

#include <math.h>

#include "kernels/common/philox.h"

/* Four independent N(0, 1) values of block `index` of `stream`. */
static inline REEL_HOST_DEVICE void philox_normals(uint64_t seed, uint64_t stream, uint64_t index, float out[4]) {
    struct philox4 words = philox_block(seed, stream, index);
    for (int pair = 0; pair < 2; pair++) {
        double radius = sqrt(-2.0 * log(philox_uniform(words.v[2 * pair])));
        double angle = 6.283185307179586 * philox_uniform(words.v[2 * pair + 1]);
        out[2 * pair] = (float)(radius * cos(angle));
        out[2 * pair + 1] = (float)(radius * sin(angle));
    }
}

#endif
