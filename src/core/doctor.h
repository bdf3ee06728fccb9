/* CPU features that the kernels choose by. */
#ifndef CORE_DOCTOR_H
#define CORE_DOCTOR_H

enum simd_level { SIMD_GENERIC, SIMD_AVX2, SIMD_AVX512 };
/* The best level this processor offers and REEL_SIMD=generic|avx2|avx512 (environment) allows. */
enum simd_level simd_level(void);
const char *simd_level_name(enum simd_level level);

#endif
