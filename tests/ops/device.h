/* What the tests of a device against the CPU reference share. Each row is skipped by name where no device opens.
 * REEL_TEST_DEVICE=cpu runs the rows against the reference itself; REEL_TEST_SEED=N draws other inputs. */
#ifndef TESTS_OPS_DEVICE_H
#define TESTS_OPS_DEVICE_H

#include <reel/context.h>

#include "backend/job_memory.h"
#include "backend/registry.h"
#include "core/context.h"
#include "core/mem.h"
#include "kernels/common/normal.h"
#include "reel_build.h"
#include "tests/test.h"

static struct backend *reference, *device;
static reel_context *context; /* the reference's */
static uint64_t seed = 1;

static inline void *make(int64_t n, size_t size) {
    void *pointer = NULL;
    reel_error err;
    REQUIRE_OK(mem_zero(&pointer, (size_t)n, size, &err), err);
    return pointer;
}

static inline void fill_normals(float *out, int64_t n, uint32_t sub, float scale) {
    for (int64_t i = 0; i < n; i += 4) {
        float z[4];
        philox_normals(seed, philox_stream(PHILOX_TEST, sub), (uint64_t)i, z);
        for (int64_t l = 0; l < 4 && i + l < n; l++) out[i + l] = scale * z[l];
    }
}

static inline uint32_t draw(uint32_t sub, int64_t i) {
    return philox_block(seed, philox_stream(PHILOX_TEST, sub), (uint64_t)i).v[0];
}

/* ---- arrays on a backend ---- */

/* A copy of n floats (or other elements of `size`) that the backend's operators may write. */
static inline void *put(struct job_memory *job, const void *host, int64_t n, size_t size) {
    void *out;
    reel_error err;
    REQUIRE_OK(job_zeros(job, &out, (size_t)n * size, &err), err);
    REQUIRE_OK(job->backend->ops->upload(job->backend, out, host, (size_t)n * size, &err), err);
    return out;
}
#define PUT(job, host, n) put((job), (host), (n), sizeof *(host))

/* A copy of `bytes` at `at` on the host. */
static inline void *get_bytes(struct job_memory *job, const void *at, size_t bytes) {
    void *host = make((int64_t)bytes, 1);
    reel_error err;
    REQUIRE_OK(job->backend->ops->download(job->backend, host, at, bytes, &err), err);
    return host;
}

static inline float *get(struct job_memory *job, const float *at, int64_t n) {
    return get_bytes(job, at, (size_t)n * sizeof(float));
}

static inline void check_close(const char *what, double worst, double bound) {
    if (!(worst <= bound))
        fprintf(stderr, "%s: %g is more than %g (REEL_TEST_SEED=%llu)\n", what, worst, bound, (unsigned long long)seed);
    CHECK(worst <= bound);
}

/* Whether two arrays have the same bytes; frees both. */
static inline void check_same(const char *what, void *expected, void *found, size_t bytes) {
    if (memcmp(expected, found, bytes) != 0) {
        fprintf(stderr, "%s: the bits differ (REEL_TEST_SEED=%llu)\n", what, (unsigned long long)seed);
        test_failures++;
    }
    mem_free(expected);
    mem_free(found);
}

/* `check` on a CPU backend of its own with so many threads. */
static inline void on_threads(int threads, void (*check)(struct backend *)) {
    reel_context_options options;
    reel_context *ctx;
    struct backend *backend;
    reel_error err;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    check(backend);
    reel_context_free(ctx);
}

/* ---- the rows ---- */

struct device_row {
    const char *name;
    void (*run)(void);
};
#define DEVICE_ROW(function) \
    { #function, function }

/* Opens the reference. */
static inline void device_begin(void) {
    const char *seed_text = getenv("REEL_TEST_SEED");
    reel_context_options options;
    reel_error err;
    if (seed_text) seed = strtoull(seed_text, NULL, 10);
    printf("REEL_TEST_SEED=%llu\n", (unsigned long long)seed);
    reel_context_options_default(&options);
    options.device = "cpu";
    options.threads = 2;
    REQUIRE_OK(reel_context_new(&options, &context, &err), err);
    REQUIRE_OK(context_backend(context, &reference, &err), err);
}

/* Opens the device, runs the rows, or skips them, and returns the exit status. */
static inline int device_end(const struct device_row *rows, size_t n) {
    const char *name = getenv("REEL_TEST_DEVICE");
    reel_error err;
    int opened = registry_open(name ? name : "cuda", reference->pool, &device, NULL, &err) == REEL_OK;
    for (size_t i = 0; i < n; i++) {
        if (!opened) {
            char row[96];
            snprintf(row, sizeof row, "%s on CUDA", rows[i].name);
            SKIP(row, err.message);
            continue;
        }
        int before = test_failures;
        rows[i].run();
        printf("%s %s%s\n", test_failures == before ? "ok  " : "FAIL", rows[i].name,
               REEL_WITH_EMULATION && !name ? " (emulated)" : "");
        fflush(stdout);
    }
    if (opened) registry_close(device);
    reel_context_free(context);
    TEST_EXIT();
}

#endif
