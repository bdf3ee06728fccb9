/* Atomic functions of CUDA (CUDA C++ Programming Guide, "Atomic Functions"); each returns the old value. The _block and
 * _system forms are the same here. */
#ifndef EMULATED_ATOMICS_H
#define EMULATED_ATOMICS_H

#include <string.h>

#include "emulated_device.h"

/* Counts a thread's atomics; one that does nothing else for long is taken to wait for others, and lets them run. */
void emulated_spin(struct emulated_site site);

/* *at = change(old), atomically, for words of 4 and 8 bytes. */
template <class T, class F> static inline T emulated_change(T *at, F change, struct emulated_site site) {
    T old, now;
    emulated_spin(site);
    __atomic_load(at, &old, __ATOMIC_RELAXED);
    do {
        now = change(old);
    } while (!__atomic_compare_exchange(at, &old, &now, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
}

#define EMULATED_ATOMIC(name, type, expression)                                  \
    static inline type name(type *at, type value, EMULATED_SITE) {               \
        return emulated_change(                                                  \
            at, [value](type old) -> type { return (type)(expression); }, site); \
    }                                                                            \
    static inline type name##_block(type *at, type value, EMULATED_SITE) {       \
        return name(at, value, site);                                            \
    }                                                                            \
    static inline type name##_system(type *at, type value, EMULATED_SITE) {      \
        return name(at, value, site);                                            \
    }

EMULATED_ATOMIC(atomicAdd, int, (unsigned)old + (unsigned)value)
EMULATED_ATOMIC(atomicAdd, unsigned, old + value)
EMULATED_ATOMIC(atomicAdd, unsigned long long, old + value)
EMULATED_ATOMIC(atomicAdd, float, old + value)
EMULATED_ATOMIC(atomicAdd, double, old + value)
EMULATED_ATOMIC(atomicSub, int, (unsigned)old - (unsigned)value)
EMULATED_ATOMIC(atomicSub, unsigned, old - value)
EMULATED_ATOMIC(atomicExch, int, ((void)old, value))
EMULATED_ATOMIC(atomicExch, unsigned, ((void)old, value))
EMULATED_ATOMIC(atomicExch, unsigned long long, ((void)old, value))
EMULATED_ATOMIC(atomicExch, float, ((void)old, value))
EMULATED_ATOMIC(atomicMin, int, value < old ? value : old)
EMULATED_ATOMIC(atomicMin, unsigned, value < old ? value : old)
EMULATED_ATOMIC(atomicMin, long long, value < old ? value : old)
EMULATED_ATOMIC(atomicMin, unsigned long long, value < old ? value : old)
EMULATED_ATOMIC(atomicMax, int, value > old ? value : old)
EMULATED_ATOMIC(atomicMax, unsigned, value > old ? value : old)
EMULATED_ATOMIC(atomicMax, long long, value > old ? value : old)
EMULATED_ATOMIC(atomicMax, unsigned long long, value > old ? value : old)
EMULATED_ATOMIC(atomicInc, unsigned, old >= value ? 0 : old + 1)
EMULATED_ATOMIC(atomicDec, unsigned, old == 0 || old > value ? value : old - 1)
EMULATED_ATOMIC(atomicAnd, int, old &value)
EMULATED_ATOMIC(atomicAnd, unsigned, old &value)
EMULATED_ATOMIC(atomicAnd, unsigned long long, old &value)
EMULATED_ATOMIC(atomicOr, int, old | value)
EMULATED_ATOMIC(atomicOr, unsigned, old | value)
EMULATED_ATOMIC(atomicOr, unsigned long long, old | value)
EMULATED_ATOMIC(atomicXor, int, old ^ value)
EMULATED_ATOMIC(atomicXor, unsigned, old ^ value)
EMULATED_ATOMIC(atomicXor, unsigned long long, old ^ value)
#undef EMULATED_ATOMIC

#define EMULATED_CAS(type)                                                              \
    static inline type atomicCAS(type *at, type expected, type value, EMULATED_SITE) {  \
        return emulated_change(                                                         \
            at, [=](type old) -> type { return old == expected ? value : old; }, site); \
    }
EMULATED_CAS(int)
EMULATED_CAS(unsigned)
EMULATED_CAS(unsigned short)
EMULATED_CAS(unsigned long long)
#undef EMULATED_CAS

#endif
