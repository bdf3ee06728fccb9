/* What device code calls: its place in the grid, barriers, warp primitives, shared memory, arithmetic.
 *
 * Every CUDA thread is a fiber that runs until it waits (scheduler.cc). A file and a line come with everything that may
 * wait, so that a deadlock can be told by name. */
#ifndef EMULATED_DEVICE_H
#define EMULATED_DEVICE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "emulated_vectors.h"

/* ---- where a thread is ---- */

struct emulated_thread {
    struct uint3 thread, block;
    struct dim3 block_dim, grid_dim;
};

extern __thread struct emulated_thread *emulated_now; /* NULL on the host */

#define threadIdx (emulated_now->thread)
#define blockIdx  (emulated_now->block)
#define blockDim  (emulated_now->block_dim)
#define gridDim   (emulated_now->grid_dim)
static const int warpSize = 32;

/* Where in the source a thread waits. */
struct emulated_site {
    const char *file;
    int line;
};
#define EMULATED_SITE struct emulated_site site = {__builtin_FILE(), __builtin_LINE()}

/* ---- barriers ---- */

enum emulated_vote { EMULATED_PLAIN, EMULATED_COUNT, EMULATED_AND, EMULATED_OR, EMULATED_ARRIVE };

/* The block's barrier; the result is the vote's over all its threads. */
int emulated_barrier(enum emulated_vote vote, int predicate, struct emulated_site site);
/* Lets all others run that can. */
void emulated_yield(struct emulated_site site);
/* Dies when the block has more threads than its __launch_bounds__ allow. */
void emulated_bounds(int threads);
/* The barrier of a cooperative launch's whole grid. */
void emulated_grid_barrier(struct emulated_site site);

static inline void __syncthreads(EMULATED_SITE) {
    (void)emulated_barrier(EMULATED_PLAIN, 0, site);
}
/* A barrier that a thread only tells that it came (bar.arrive), or waits at (bar.sync): here it waits, and knows no
 * more than if it did not. */
static inline void emulated_meet(int waits, EMULATED_SITE) {
    (void)emulated_barrier(waits ? EMULATED_PLAIN : EMULATED_ARRIVE, 0, site);
}
static inline int __syncthreads_count(int predicate, EMULATED_SITE) {
    return emulated_barrier(EMULATED_COUNT, predicate, site);
}
static inline int __syncthreads_and(int predicate, EMULATED_SITE) {
    return emulated_barrier(EMULATED_AND, predicate, site);
}
static inline int __syncthreads_or(int predicate, EMULATED_SITE) {
    return emulated_barrier(EMULATED_OR, predicate, site);
}
static inline void __nanosleep(unsigned, EMULATED_SITE) {
    emulated_yield(site);
}
static inline void __threadfence(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void __threadfence_block(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
static inline void __threadfence_system(void) {
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* ---- shared memory ---- */

void *emulated_dynamic_shared(void);
void *emulated_shared_piece(const void *key, const char *name, size_t size, size_t align);

/* The block's memory of one declaration of shared memory; T is local to the declaring function. */
template <class T> static inline T *emulated_static_shared(const char *name) {
    static const char key = 0;
    return (T *)emulated_shared_piece(&key, name, sizeof(T), alignof(T));
}

/* Whether races on shared memory are looked for. */
int emulated_races(void);

/* ---- copies that come late ---- */

/* `bytes` to shared memory, zeros where `from` is NULL; now or at any time up to the wait that waits for it. */
void emulated_copy(void *to, const void *from, size_t bytes);
/* Ends a group of the thread's copies. */
void emulated_copy_commit(void);
/* Waits for all of its groups but the latest ones; for all its copies. */
void emulated_copy_wait(int latest);
void emulated_copy_wait_all(void);

/* ---- warp primitives ---- */

enum emulated_operation {
    EMULATED_SYNC,
    EMULATED_SHFL,
    EMULATED_SHFL_UP,
    EMULATED_SHFL_DOWN,
    EMULATED_SHFL_XOR,
    EMULATED_BALLOT,
    EMULATED_MATCH_ANY,
    EMULATED_MATCH_ALL,
    EMULATED_ADD,
    EMULATED_MIN,
    EMULATED_MAX,
    EMULATED_MIN_SIGNED,
    EMULATED_MAX_SIGNED,
    EMULATED_BIT_AND,
    EMULATED_BIT_OR,
    EMULATED_BIT_XOR,
    EMULATED_GATHER
};

/* An operation with a shuffle's lane or distance and the width of its segments: one word, so that all arguments of the
 * call stay in registers. */
static inline uint64_t emulated_word(enum emulated_operation operation, int argument = 0, int width = 32) {
    return (uint64_t)(uint32_t)argument << 32 | (uint64_t)(uint32_t)width << 8 | (uint64_t)operation;
}

/* Waits until all lanes of `mask` that have not ended are here; returns the lane's result. */
uint64_t emulated_collect(uint64_t word, unsigned mask, uint64_t value, struct emulated_site site);
void emulated_collect_bytes(const void *mine, void *all, size_t size, struct emulated_site site);

/* Each lane of the warp brings `size` bytes; each gets all 32 times `size`, in the order of the lanes. */
static inline void emulated_warp_gather(const void *mine, void *all, size_t size, EMULATED_SITE) {
    emulated_collect_bytes(mine, all, size, site);
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATED_SITE) {
    (void)emulated_collect(emulated_word(EMULATED_SYNC), mask, 0, site);
}

template <class T>
static inline T emulated_shuffle(enum emulated_operation operation, unsigned mask, T value, int argument, int width,
                                 struct emulated_site site) {
    static_assert(sizeof(T) <= 8, "shuffles take up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = emulated_collect(emulated_word(operation, argument, width), mask, bits, site);
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> static inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32, EMULATED_SITE) {
    return emulated_shuffle(EMULATED_SHFL, mask, value, lane, width, site);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATED_SITE) {
    return emulated_shuffle(EMULATED_SHFL_UP, mask, value, (int)by, width, site);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATED_SITE) {
    return emulated_shuffle(EMULATED_SHFL_DOWN, mask, value, (int)by, width, site);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32, EMULATED_SITE) {
    return emulated_shuffle(EMULATED_SHFL_XOR, mask, value, by, width, site);
}

static inline uint64_t emulated_reduce(enum emulated_operation operation, unsigned mask, uint64_t value,
                                       struct emulated_site site) {
    return emulated_collect(emulated_word(operation), mask, value, site);
}
static inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_BALLOT, mask, predicate != 0, site);
}
static inline int __any_sync(unsigned mask, int predicate, EMULATED_SITE) {
    return (int)emulated_reduce(EMULATED_BIT_OR, mask, predicate != 0, site);
}
static inline int __all_sync(unsigned mask, int predicate, EMULATED_SITE) {
    return (int)emulated_reduce(EMULATED_BIT_AND, mask, predicate != 0, site);
}
static inline unsigned __reduce_add_sync(unsigned mask, unsigned value, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_ADD, mask, value, site);
}
static inline int __reduce_add_sync(unsigned mask, int value, EMULATED_SITE) {
    return (int)emulated_reduce(EMULATED_ADD, mask, (uint64_t)value, site);
}
static inline unsigned __reduce_min_sync(unsigned mask, unsigned value, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_MIN, mask, value, site);
}
static inline int __reduce_min_sync(unsigned mask, int value, EMULATED_SITE) {
    return (int)emulated_reduce(EMULATED_MIN_SIGNED, mask, (uint64_t)value, site);
}
static inline unsigned __reduce_max_sync(unsigned mask, unsigned value, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_MAX, mask, value, site);
}
static inline int __reduce_max_sync(unsigned mask, int value, EMULATED_SITE) {
    return (int)emulated_reduce(EMULATED_MAX_SIGNED, mask, (uint64_t)value, site);
}
static inline unsigned __reduce_and_sync(unsigned mask, unsigned value, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_BIT_AND, mask, value, site);
}
static inline unsigned __reduce_or_sync(unsigned mask, unsigned value, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_BIT_OR, mask, value, site);
}
static inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, EMULATED_SITE) {
    return (unsigned)emulated_reduce(EMULATED_BIT_XOR, mask, value, site);
}
template <class T> static inline unsigned __match_any_sync(unsigned mask, T value, EMULATED_SITE) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return (unsigned)emulated_reduce(EMULATED_MATCH_ANY, mask, bits, site);
}
template <class T> static inline unsigned __match_all_sync(unsigned mask, T value, int *all, EMULATED_SITE) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    const unsigned same = (unsigned)emulated_reduce(EMULATED_MATCH_ALL, mask, bits, site);
    *all = same != 0;
    return same;
}

/* ---- loads and stores with a hint ---- */

template <class T> static inline T __ldg(const T *from) {
    return *from;
}
template <class T> static inline T __ldcg(const T *from) {
    return *(const volatile T *)from;
}
template <class T> static inline T __ldca(const T *from) {
    return *from;
}
template <class T> static inline T __ldcs(const T *from) {
    return *from;
}
template <class T> static inline T __ldcv(const T *from) {
    return *(const volatile T *)from;
}
template <class T> static inline void __stcg(T *to, T value) {
    *to = value;
}
template <class T> static inline void __stcs(T *to, T value) {
    *to = value;
}
template <class T> static inline void __stwt(T *to, T value) {
    *to = value;
}

/* ---- arithmetic ---- */

static inline int __popc(unsigned bits) {
    return __builtin_popcount(bits);
}
static inline int __popcll(unsigned long long bits) {
    return __builtin_popcountll(bits);
}
static inline int __ffs(int bits) {
    return __builtin_ffs(bits);
}
static inline int __ffsll(long long bits) {
    return __builtin_ffsll(bits);
}
static inline int __clz(int bits) {
    return bits ? __builtin_clz((unsigned)bits) : 32;
}
static inline int __clzll(long long bits) {
    return bits ? __builtin_clzll((unsigned long long)bits) : 64;
}
static inline unsigned __brev(unsigned bits) {
    unsigned out = 0;
    for (int i = 0; i < 32; i++) out |= (bits >> i & 1) << (31 - i);
    return out;
}
static inline int __mulhi(int a, int b) {
    return (int)((int64_t)a * b >> 32);
}
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
    return (unsigned)((((uint64_t)high << 32 | low) << (by & 31)) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return (unsigned)(((uint64_t)high << 32 | low) >> (by & 31));
}

template <class To, class From> static inline To emulated_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "the same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float x) {
    return emulated_bits<unsigned>(x);
}
static inline int __float_as_int(float x) {
    return emulated_bits<int>(x);
}
static inline float __uint_as_float(unsigned x) {
    return emulated_bits<float>(x);
}
static inline float __int_as_float(int x) {
    return emulated_bits<float>(x);
}
static inline long long __double_as_longlong(double x) {
    return emulated_bits<long long>(x);
}
static inline double __longlong_as_double(long long x) {
    return emulated_bits<double>(x);
}

/* The nearest half (IEEE 754's binary16), ties to even, and back. */
static inline uint16_t emulated_half_of(float x) {
    const uint16_t sign = (uint16_t)(__float_as_uint(x) >> 16 & 0x8000u);
    const double size = fabs((double)x);
    if (!(size < 65520)) return (uint16_t)(sign | (size >= 65520 ? 0x7c00 : 0x7e00));
    const int exponent = size < 0x1p-14 ? -14 : ilogb(size);
    return (uint16_t)(sign | (((exponent + 15) << 10) + (int)nearbyint(ldexp(size, 10 - exponent)) - 1024));
}
static inline float emulated_float_of(uint16_t half) {
    const float size = __uint_as_float((uint32_t)(half & 0x7fff) << 13) * 0x1p112f;
    const float value = (half & 0x7c00) == 0x7c00 ? (half & 0x3ff ? NAN : INFINITY) : size;
    return half & 0x8000 ? -value : value;
}

/* Rounded once, as IEEE 754 says; the build forbids contraction. */
static inline float __fadd_rn(float a, float b) {
    return a + b;
}
static inline float __fsub_rn(float a, float b) {
    return a - b;
}
static inline float __fmul_rn(float a, float b) {
    return a * b;
}
static inline float __fdiv_rn(float a, float b) {
    return a / b;
}
static inline float __fmaf_rn(float a, float b, float c) {
    return fmaf(a, b, c);
}
static inline float __fsqrt_rn(float a) {
    return sqrtf(a);
}
static inline float __frcp_rn(float a) {
    return 1.0f / a;
}
static inline double __dadd_rn(double a, double b) {
    return a + b;
}
static inline double __dsub_rn(double a, double b) {
    return a - b;
}
static inline double __dmul_rn(double a, double b) {
    return a * b;
}
static inline double __ddiv_rn(double a, double b) {
    return a / b;
}
static inline double __fma_rn(double a, double b, double c) {
    return fma(a, b, c);
}
static inline double __dsqrt_rn(double a) {
    return sqrt(a);
}
static inline int __float2int_rn(float x) {
    return (int)nearbyintf(x);
}
static inline int __float2int_rz(float x) {
    return (int)x;
}
static inline unsigned __float2uint_rn(float x) {
    return (unsigned)nearbyintf(x);
}
static inline float __int2float_rn(int x) {
    return (float)x;
}
static inline long long __double2ll_rn(double x) {
    return llrint(x);
}
/* A GPU's are not exact either way: what depends on their last place fails on one of the two. */
static inline float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}
static inline double rsqrt(double x) {
    return 1.0 / sqrt(x);
}
static inline float __frsqrt_rn(float x) {
    return (float)(1.0 / sqrt((double)x));
}
static inline float __fdividef(float a, float b) {
    return a / b;
}
/* Macros, since the host's library has functions of these names. */
#define __expf(x)    expf(x)
#define __logf(x)    logf(x)
#define __log2f(x)   log2f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x)    sinf(x)
#define __cosf(x)    cosf(x)

#define EMULATED_MIN_MAX(type)               \
    static inline type min(type a, type b) { \
        return b < a ? b : a;                \
    }                                        \
    static inline type max(type a, type b) { \
        return a < b ? b : a;                \
    }
EMULATED_MIN_MAX(int)
EMULATED_MIN_MAX(unsigned)
EMULATED_MIN_MAX(long)
EMULATED_MIN_MAX(unsigned long)
EMULATED_MIN_MAX(long long)
EMULATED_MIN_MAX(unsigned long long)
#undef EMULATED_MIN_MAX
static inline float min(float a, float b) {
    return fminf(a, b);
}
static inline float max(float a, float b) {
    return fmaxf(a, b);
}
static inline double min(double a, double b) {
    return fmin(a, b);
}
static inline double max(double a, double b) {
    return fmax(a, b);
}

#endif
