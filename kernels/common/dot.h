/* The scalar product of factor vectors with a fixed order of sums: 16 partial sums, then a tree. The compiler
 * turns it into the baseline's vector instructions, which do the same sums. */
#ifndef KERNELS_COMMON_DOT_H
#define KERNELS_COMMON_DOT_H

#include <string.h>

typedef float dot_lanes __attribute__((vector_size(16)));

static inline float dot_floats(const float *a, const float *b, int n) {
    dot_lanes sum[4] = {{0}}, x, y;
    int i = 0;
    for (; i + 16 <= n; i += 16)
        for (int part = 0; part < 4; part++) {
            memcpy(&x, a + i + 4 * part, sizeof x);
            memcpy(&y, b + i + 4 * part, sizeof y);
            sum[part] += x * y;
        }
    for (; i + 4 <= n; i += 4) {
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        sum[0] += x * y;
    }
    dot_lanes all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    float rest = 0;
    for (; i < n; i++) rest += a[i] * b[i];
    return ((all[0] + all[1]) + (all[2] + all[3])) + rest;
}

#endif
