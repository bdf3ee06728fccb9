#define _GNU_SOURCE
#include "core/context.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "backend/registry.h"
#include "core/error.h"
#include "core/progress.h"
#include "reel_build.h"

void reel_context_options_default(reel_context_options *options) {
    *options = (reel_context_options){.device = "auto", .log_level = REEL_LOG_INFO};
}

static int usable_cpus(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

reel_status reel_context_new(const reel_context_options *options, reel_context **out, reel_error *err) {
    reel_status status = REEL_OK;
    *out = NULL;
    reel_context *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return error_no_memory(err, sizeof *ctx);
    if (options)
        ctx->options = *options;
    else
        reel_context_options_default(&ctx->options);
    const char *device = ctx->options.device ? ctx->options.device : "auto";
    if (strlen(device) >= sizeof ctx->device) {
        status = registry_no_such_device(device, err);
        goto cleanup;
    }
    memcpy(ctx->device, device, strlen(device) + 1);
    ctx->options.device = ctx->device;
    atomic_init(&ctx->cancelled, 0);
    TRY(thread_pool_new(ctx->options.threads ? ctx->options.threads : usable_cpus(), &ctx->pool, err));
    if (!ctx->options.progress) ctx->display = progress_display_new(ctx->options.progress_mode);
    /* A device asked for by name must work now, not after an hour of import; "auto" may wait until it is used. */
    if (strcmp(device, "auto") != 0) {
        struct backend *backend;
        TRY(context_backend(ctx, &backend, err));
    }
    *out = ctx;
    return REEL_OK;
cleanup:
    reel_context_free(ctx);
    return status;
}

void reel_context_free(reel_context *ctx) {
    if (!ctx) return;
    registry_close(ctx->host);
    registry_close(ctx->cpu);
    registry_close(ctx->backend);
    progress_display_free(ctx->display);
    thread_pool_free(ctx->pool);
    free(ctx);
}

void reel_context_cancel(reel_context *ctx) {
    atomic_store(&ctx->cancelled, 1);
}

void reel_context_resume(reel_context *ctx) {
    atomic_store(&ctx->cancelled, 0);
}

int reel_context_threads(const reel_context *ctx) {
    return thread_pool_size(ctx->pool);
}

const char *reel_context_backend(const reel_context *ctx) {
    return ctx->backend && !ctx->cpu ? ctx->backend->ops->name : "cpu";
}

reel_status context_check(const reel_context *ctx, reel_error *err) {
    if (!atomic_load_explicit(&ctx->cancelled, memory_order_relaxed)) return REEL_OK;
    return error_set(err, REEL_CANCELLED, "interrupted; nothing was changed");
}

void context_log(const reel_context *ctx, reel_log_level level, const char *format, ...) {
    reel_log_level most = ctx->options.log ? ctx->options.log_level : REEL_LOG_WARNING;
    if (level > most) return;
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    progress_display_clear(ctx->display);
    if (ctx->options.log)
        ctx->options.log(ctx->options.user_data, level, message);
    else
        fprintf(stderr, "reel: %s\n", message);
}

void context_progress(const reel_context *ctx, const char *stage, const char *unit, int64_t done, int64_t total,
                      const char *metric_name, double metric, int finished) {
    reel_progress progress = {stage, unit, done, total, metric_name, metric, finished};
    if (ctx->options.progress)
        ctx->options.progress(ctx->options.user_data, &progress);
    else if (ctx->display)
        progress_display_update(ctx->display, &progress);
}

reel_status context_backend(reel_context *ctx, struct backend **out, reel_error *err) {
    if (!ctx->backend) {
        const char *notice = NULL;
        TRY_RETURN(registry_open(ctx->device, ctx->pool, &ctx->backend, &notice, err));
        if (notice) context_log(ctx, REEL_LOG_WARNING, "%s", notice);
    }
    *out = ctx->backend;
    return REEL_OK;
}

reel_status context_fall_back(reel_context *ctx, const char *work, struct backend **backend, reel_error *err) {
    const char *name = (*backend)->ops->name;
    if (strcmp(ctx->device, "auto") != 0)
        return error_set(err, REEL_UNSUPPORTED, "the %s backend does not offer %s (use --device cpu)", name, work);
    if (!ctx->cpu) TRY_RETURN(cpu_backend_open(ctx->pool, &ctx->cpu, err));
    context_log(ctx, REEL_LOG_WARNING, "the %s backend does not offer %s; working on the CPU", name, work);
    *backend = ctx->cpu;
    return REEL_OK;
}

void context_first_device(reel_context *ctx, const char *work, struct backend **backend) {
    if (!(*backend)->first) return;
    context_log(ctx, REEL_LOG_WARNING, "%s is not shared by several GPUs; the first of %s works alone", work,
                (*backend)->ops->name);
    *backend = (*backend)->first;
}

reel_status context_host_backend(reel_context *ctx, struct backend **out, reel_error *err) {
    TRY_RETURN(context_backend(ctx, out, err));
    if ((*out)->ops->uses_host_memory) return REEL_OK;
    if (!ctx->host) TRY_RETURN(cpu_backend_open(ctx->pool, &ctx->host, err));
    *out = ctx->host;
    return REEL_OK;
}

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int64_t peak_rss_bytes(void) {
    /* getrusage's figure starts at that of the process that forked this one; VmHWM starts anew at exec. */
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long long kib = -1;
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %lld kB", &kib) != 1) kib = -1;
    if (file) fclose(file);
    if (kib >= 0) return (int64_t)kib * 1024;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

const char *reel_version(void) {
    return REEL_VERSION;
}

const char *reel_build_commit(void) {
    return REEL_BUILD_COMMIT;
}
