/* Copies to a device and back give the bytes that went there, whatever their size: small ones, ones that go through
 * pinned memory in one stage or several, and those of a device that gets no pinned memory. */
#include "ops/device.h"

static const int64_t sizes[] = {
    0, 1, 4095, (1 << 20) - 1, 1 << 20, (4 << 20) + 3, 8 << 20, (25 << 20) + 1, (16 << 20) + 5, 100001, (12 << 20) - 1};

static uint8_t *pattern(int64_t n, uint32_t sub) {
    uint8_t *out = make(n, 1);
    for (int64_t i = 0; i < n; i++) out[i] = (uint8_t)((uint64_t)i * (2 * sub + 1) >> 3 ^ (uint64_t)i >> 16);
    return out;
}

/* Two arrays at odd places of one allocation, up one after the other and back. */
static void there_and_back(struct backend *backend, int64_t n, uint32_t sub) {
    struct job_memory job = {.backend = backend};
    const struct backend_ops *ops = backend->ops;
    char *at;
    reel_error err;
    uint8_t *first = pattern(n, sub), *second = pattern(n, sub + 7), *reused = pattern(n, sub);
    REQUIRE_OK(job_zeros(&job, (void **)&at, (size_t)(2 * n + 3), &err), err);
    REQUIRE_OK(ops->upload(backend, at + 1, reused, (size_t)n, &err), err);
    memset(reused, 99, (size_t)n);
    REQUIRE_OK(ops->upload(backend, at + 2 + n, second, (size_t)n, &err), err);
    REQUIRE_OK(ops->download(backend, reused, at + 1, (size_t)n, &err), err);
    check_same("the first", first, reused, (size_t)n);
    check_same("the second", second, get_bytes(&job, at + 2 + n, (size_t)n), (size_t)n);
    char edges[3];
    REQUIRE_OK(ops->download(backend, edges, at, 1, &err), err);
    REQUIRE_OK(ops->download(backend, edges + 1, at + 1 + n, 1, &err), err);
    REQUIRE_OK(ops->download(backend, edges + 2, at + 2 + 2 * n, 1, &err), err);
    CHECK(edges[0] == 0 && edges[1] == 0 && edges[2] == 0);
    job_memory_free(&job);
}

static void all_sizes(struct backend *backend) {
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) there_and_back(backend, sizes[i], (uint32_t)i);
}

static void bytes_come_back(void) {
    all_sizes(device);
}

/* Devices of one host copy at the same time. */
static void threads_are_shared(void) {
    struct backend *all;
    reel_error err;
    if (registry_open("cuda:all", reference->pool, &all, NULL, &err) != REEL_OK) return;
    all_sizes(all);
    registry_close(all);
}

#if REEL_WITH_EMULATION
static void without_pinned_memory(void) {
    struct backend *other;
    reel_error err;
    setenv("REEL_EMULATED_PINNED", "0", 1);
    REQUIRE_OK(registry_open("cuda", reference->pool, &other, NULL, &err), err);
    all_sizes(other);
    registry_close(other);
    unsetenv("REEL_EMULATED_PINNED");
}
#endif

static const struct device_row device_rows[] = {
    DEVICE_ROW(bytes_come_back),
    DEVICE_ROW(threads_are_shared),
#if REEL_WITH_EMULATION
    DEVICE_ROW(without_pinned_memory),
#endif
};

int main(void) {
    device_begin();
    return device_end(device_rows, sizeof device_rows / sizeof device_rows[0]);
}
