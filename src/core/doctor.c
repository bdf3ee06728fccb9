#include "core/doctor.h"

#include <jansson.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <reel/context.h>
#include "backend/registry.h"
#include "reel_build.h"

static enum simd_level simd_of_cpu(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi"))
        return SIMD_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2"))
        return SIMD_AVX2;
#endif
    return SIMD_GENERIC;
}

enum simd_level simd_level(void) {
    enum simd_level found = simd_of_cpu(), allowed = SIMD_AVX512;
    const char *asked = getenv("REEL_SIMD");
    if (asked && strcmp(asked, "generic") == 0) allowed = SIMD_GENERIC;
    if (asked && strcmp(asked, "avx2") == 0) allowed = SIMD_AVX2;
    return found < allowed ? found : allowed;
}

const char *simd_level_name(enum simd_level level) {
    return level == SIMD_AVX512 ? "avx512" : level == SIMD_AVX2 ? "avx2" : "generic";
}

char *reel_doctor_json(void) {
    json_t *missing = json_array();
    if (!REEL_WITH_CUDA)
        json_array_append_new(missing, json_string("CUDA backend: install nvcc and build with -DREEL_CUDA=ON"));
    if (!REEL_WITH_ZIP)
        json_array_append_new(missing, json_string("ZIP import: apt-get install libzip-dev, then rebuild"));
    if (!REEL_WITH_SERVE)
        json_array_append_new(
            missing,
            json_string("HTTP service: apt-get install libmicrohttpd-dev libsqlite3-dev, build with -DREEL_SERVE=ON"));
    json_t *facts = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:i,s:f,s:o}", "version", REEL_VERSION, "commit", REEL_BUILD_COMMIT, "simd",
        simd_level_name(simd_level()), "devices_compiled", registry_compiled(), "devices_usable", registry_usable(),
        "processors", (int)sysconf(_SC_NPROCESSORS_ONLN), "memory_gib",
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE) / (1024.0 * 1024 * 1024), "missing", missing);
    char *text = facts ? json_dumps(facts, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(facts);
    return text;
}
