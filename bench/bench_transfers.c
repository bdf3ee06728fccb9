/* bench_transfers [THREADS]: copies to a device, and back to memory that is fresh the first time. The first row has the
 * pinning of the buffers in it. */
#include <stdio.h>
#include <stdlib.h>

#include <reel/context.h>
#include "backend/backend_ops.h"
#include "bench/bench.h"
#include "core/context.h"
#include "core/doctor.h"
#include "core/mem.h"

static void need(reel_status status, const reel_error *err) {
    if (status == REEL_OK) return;
    fprintf(stderr, "bench_transfers: %s\n", err->message);
    exit(1);
}

static void report(const char *what, int threads, size_t mib, int turn, double seconds) {
    char parameters[96];
    snprintf(parameters, sizeof parameters, "%zu MiB %s memory", mib, turn ? "used" : "fresh");
    bench_row(what, threads, parameters, (double)(mib << 20) / seconds / 1e9, "", NAN, "GB/s");
}

static void time_size(struct backend *backend, int threads, size_t mib, char *from, void *at) {
    const struct backend_ops *ops = backend->ops;
    const size_t bytes = mib << 20;
    char *back;
    reel_error err;
    need(MEM_RAW(&back, bytes, &err), &err);
    for (int turn = 0; turn < 2; turn++) {
        double start = clock_seconds();
        need(ops->upload(backend, at, from, bytes, &err), &err);
        need(ops->sync(backend, &err), &err);
        report("gpu copy up", threads, mib, turn, clock_seconds() - start);
        start = clock_seconds();
        need(ops->download(backend, back, at, bytes, &err), &err);
        report("gpu copy down", threads, mib, turn, clock_seconds() - start);
    }
    mem_free(back);
}

int main(int argc, char **argv) {
    static const size_t sizes[] = {300, 1, 4, 16, 64};
    reel_context_options options;
    reel_context *ctx;
    struct backend *backend;
    reel_error err;
    char *from;
    void *at;
    reel_context_options_default(&options);
    options.device = "cuda";
    options.threads = argc > 1 ? atoi(argv[1]) : 0;
    need(reel_context_new(&options, &ctx, &err), &err);
    if (context_backend(ctx, &backend, &err) != REEL_OK) {
        fprintf(stderr, "bench_transfers: skipped: %s\n", err.message);
        reel_context_free(ctx);
        return 0;
    }
    need(MEM_NEW(&from, (size_t)300 << 20, &err), &err);
    need(backend->ops->alloc(backend, &at, (size_t)300 << 20, &err), &err);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        time_size(backend, reel_context_threads(ctx), sizes[i], from, at);
    backend->ops->release(backend, at);
    mem_free(from);
    reel_context_free(ctx);
    return 0;
}
