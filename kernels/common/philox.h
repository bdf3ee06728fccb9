/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random numbers:
 * as easy as 1, 2, 3" (SC 2011). Host and device run the same integer code, so a (seed, stream, counter)
 * triple means the same four words everywhere. */
#ifndef KERNELS_COMMON_PHILOX_H
#define KERNELS_COMMON_PHILOX_H

#include <stdint.h>

#ifdef __CUDACC__
#define REEL_HOST_DEVICE __host__ __device__
#else
#define REEL_HOST_DEVICE
#endif

/* Four 32-bit words. */
struct philox4 {
    uint32_t v[4];
};

/* One block: key (seed), 128-bit counter. */
static inline REEL_HOST_DEVICE struct philox4 philox4x32(uint32_t key0, uint32_t key1, struct philox4 counter) {
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * counter.v[0];
        uint64_t product1 = (uint64_t)0xCD9E8D57u * counter.v[2];
        struct philox4 next;
        next.v[0] = (uint32_t)(product1 >> 32) ^ counter.v[1] ^ key0;
        next.v[1] = (uint32_t)product1;
        next.v[2] = (uint32_t)(product0 >> 32) ^ counter.v[3] ^ key1;
        next.v[3] = (uint32_t)product0;
        counter = next;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

/* Block `index` of `stream` under `seed`: streams (one a purpose, see enum philox_stream) never overlap. */
static inline REEL_HOST_DEVICE struct philox4 philox_block(uint64_t seed, uint64_t stream, uint64_t index) {
    struct philox4 counter = {{(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    return philox4x32((uint32_t)seed, (uint32_t)(seed >> 32), counter);
}

/* Uniform in the open interval (0, 1), 32 bits of a word: never 0, never 1. */
static inline REEL_HOST_DEVICE double philox_uniform(uint32_t word) {
    return ((double)word + 0.5) * (1.0 / 4294967296.0);
}

/* Streams in use; add at the end, never renumber: model bytes depend on them. The low 32 bits of a stream
 * are free for a sub-stream (epoch, fold, tree ...). */
enum philox_stream {
    PHILOX_SPLIT = 1,
    PHILOX_INIT_USERS = 2,
    PHILOX_INIT_MOVIES = 3,
    PHILOX_SHUFFLE_USERS = 4,
    PHILOX_GEN = 5,
    PHILOX_GIBBS = 6,
    PHILOX_TREES = 7,
    PHILOX_KMEANS = 8,
    PHILOX_LANCZOS = 9,
    PHILOX_TEST = 10,
    PHILOX_SHUFFLE_BLOCKS = 11,
    PHILOX_SHUFFLE_TILES = 12,
    PHILOX_BOOTSTRAP = 13,
    PHILOX_FOLD_IN = 14
};
static inline REEL_HOST_DEVICE uint64_t philox_stream(enum philox_stream purpose, uint32_t sub) {
    return ((uint64_t)purpose << 32) | sub;
}

#endif
