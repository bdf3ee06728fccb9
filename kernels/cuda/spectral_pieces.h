/* What the files of the spectral operators share. */
#ifndef KERNELS_CUDA_SPECTRAL_PIECES_H
#define KERNELS_CUDA_SPECTRAL_PIECES_H

#include "backend/spectral_ops.h"
#include "kernels/cuda/backend_cuda.h"

/* Blocks of `threads` for n elements, one a thread. */
static inline unsigned blocks_for(int64_t n, int threads) {
    return (unsigned)((n + threads - 1) / threads);
}

static inline size_t aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* Queues out_i = (sum over the SPECTRAL_PIECES pieces of partial[piece][i], in order) * weights[i / SPECTRAL_BLOCK],
 * unweighted where weights is NULL, for i < size. All (dev). affinity.cu */
reel_status spectral_add_pieces(struct cuda_backend *cuda, const double *partial, int64_t size, const double *weights,
                                double *out, reel_error *err);

#endif
