#include "core/doctor.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <reel/context.h>
#include "backend/registry.h"
#include "core/json_text.h"
#include "reel_build.h"

#define GIB (1024.0 * 1024 * 1024)

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

static void add_missing(json_t *missing, const char *line) {
    json_array_append_new(missing, json_string(line));
}

static json_t *missing_parts(const struct device_facts *devices) {
    json_t *missing = json_array();
    char line[320];
    snprintf(line, sizeof line, "CUDA device: %s", devices->problem);
    if (!REEL_WITH_CUDA)
        add_missing(missing, "CUDA backend: install nvcc and build with -DREEL_CUDA=ON");
    else if (devices->problem[0])
        add_missing(missing, line);
    if (devices->n_devices > 1 && !devices->nccl_version)
        add_missing(missing, "NCCL: apt-get install libnccl2 (without it --device cuda:all exchanges by plain copies)");
    if (!REEL_WITH_ZIP) add_missing(missing, "ZIP import: apt-get install libzip-dev, then rebuild");
    if (!REEL_WITH_SERVE)
        add_missing(missing,
                    "HTTP service: apt-get install libmicrohttpd-dev libsqlite3-dev, build with -DREEL_SERVE=ON");
    return missing;
}

static json_t *gpu_list(const struct device_facts *devices) {
    json_t *gpus = json_array();
    for (int i = 0; i < devices->n_devices; i++) {
        const struct device_fact *gpu = &devices->devices[i];
        char device[32], capability[32];
        snprintf(device, sizeof device, "cuda:%d", i);
        snprintf(capability, sizeof capability, "%d.%d", gpu->capability / 10, gpu->capability % 10);
        json_array_append_new(gpus,
                              json_pack("{s:s,s:s,s:s,s:f}", "device", device, "name", gpu->name, "compute_capability",
                                        capability, "memory_gib", (double)gpu->memory_bytes / GIB));
    }
    return gpus;
}

/* "13.0", or "none". */
static const char *cuda_version(int version, char *text, size_t size) {
    snprintf(text, size, "%d.%d", version / 1000, version % 1000 / 10);
    return version ? text : "none";
}

/* "2.28.9", or "none". */
static const char *nccl_version(int version, char *text, size_t size) {
    snprintf(text, size, "%d.%d.%d", version / 10000, version % 10000 / 100, version % 100);
    return version ? text : "none";
}

char *reel_doctor_json(void) {
    struct device_facts devices;
    char driver[32], runtime[32], nccl[32];
    registry_device_facts(&devices);
    json_t *facts = json_pack(
        "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:f,s:o,s:o}", "version", REEL_VERSION, "commit", REEL_BUILD_COMMIT,
        "simd", simd_level_name(simd_level()), "devices_compiled", registry_compiled(), "devices_usable",
        registry_usable(), "cuda_driver", cuda_version(devices.driver_version, driver, sizeof driver), "cuda_runtime",
        cuda_version(devices.runtime_version, runtime, sizeof runtime), "nccl",
        nccl_version(devices.nccl_version, nccl, sizeof nccl), "processors", (int)sysconf(_SC_NPROCESSORS_ONLN),
        "memory_gib", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGE_SIZE) / GIB, "gpus",
        gpu_list(&devices), "missing", missing_parts(&devices));
    char *text = json_text(facts, JSON_COMPACT | JSON_REAL_PRECISION(6));
    json_decref(facts);
    return text;
}
