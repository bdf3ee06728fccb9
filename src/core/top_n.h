/* Exact selection of the n best of a stream of scored items, in the order "score descending, then rank
 * ascending". Score and rank are packed into one 64-bit key whose integer order is that order, so ties are
 * decided by the key and the result does not depend on the order of the offers. */
#ifndef CORE_TOP_N_H
#define CORE_TOP_N_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct top_n {
    uint64_t *keys;  /* (capacity,) the caller's */
    size_t n;        /* how many are wanted, >= 1 */
    size_t capacity; /* top_n_capacity(n) */
    size_t count;    /* keys held, unordered */
    uint64_t least;  /* keys up to this one cannot get in */
    float floor;     /* scores below this one cannot get in (NaN and -infinity never can) */
};

/* Room that a selection of n needs, in keys: pruning at twice n costs a constant time an offer; the rest is
 * room for top_n_finish. */
static inline size_t top_n_capacity(size_t n) {
    return 2 * n + 32;
}

static inline void top_n_init(struct top_n *top, uint64_t *keys, size_t n) {
    *top = (struct top_n){.keys = keys, .n = n, .capacity = top_n_capacity(n), .floor = -FLT_MAX};
}

static inline uint64_t top_n_key(float score, uint32_t rank) {
    score += 0.0f; /* -0 and 0 are a tie */
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : UINT32_C(0x80000000);
    return (uint64_t)bits << 32 | (uint32_t)~rank;
}

static inline uint32_t top_n_rank(uint64_t key) {
    return ~(uint32_t)key;
}

static inline float top_n_score(uint64_t key) {
    uint32_t bits = (uint32_t)(key >> 32);
    bits ^= bits >> 31 ? UINT32_C(0x80000000) : UINT32_MAX;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

/* Drops all but the n best. */
void top_n_prune(struct top_n *top);

/* Offers an item whose score is not below top->floor. */
static inline void top_n_offer(struct top_n *top, float score, uint32_t rank) {
    uint64_t key = top_n_key(score, rank);
    if (key <= top->least) return;
    top->keys[top->count++] = key;
    if (top->count == top->capacity) top_n_prune(top);
}

/* Leaves the best keys, at most n, in keys[0..], best first, and returns how many. */
size_t top_n_finish(struct top_n *top);

/* Sorts n keys descending; `scratch` has room for n keys. */
void top_n_sort(uint64_t *keys, size_t n, uint64_t *scratch);

#endif
