#include "data/dataset_write.h"

#include <sys/stat.h>

#include "core/error.h"
#include "data/dataset.h"

struct verify_job {
    reel_context *ctx;
    int64_t bytes;
};

static reel_status verify_file(void *arg, const char *path, reel_error *err) {
    struct verify_job *job = arg;
    reel_dataset *dataset;
    struct stat info;
    context_progress(job->ctx, "verify", "bytes", 0, 0, NULL, 0, 0);
    TRY_RETURN(reel_dataset_open(job->ctx, path, &dataset, err));
    reel_status status = tensor_file_verify(dataset->set, job->ctx->pool, err);
    reel_dataset_free(dataset);
    if (status == REEL_OK && stat(path, &info) != 0) return error_errno(err, REEL_IO, "%s: cannot be read back", path);
    if (status == REEL_OK) job->bytes = (int64_t)info.st_size;
    return status;
}

reel_status dataset_write(reel_context *ctx, const struct tensor_set *set, const char *path, int64_t *bytes,
                          reel_error *err) {
    struct verify_job job = {.ctx = ctx};
    context_progress(ctx, "write", "bytes", 0, 0, NULL, 0, 0);
    TRY_RETURN(tensor_file_write_checked(path, set, ctx->pool, verify_file, &job, err));
    context_progress(ctx, "verify", "bytes", job.bytes, job.bytes, NULL, 0, 1);
    *bytes = job.bytes;
    return REEL_OK;
}
