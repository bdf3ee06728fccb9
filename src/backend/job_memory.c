#include "backend/job_memory.h"

#include "core/error.h"

static reel_status take_slot(struct job_memory *job, size_t bytes, void **out, reel_error *err) {
    if (job->n == JOB_ARRAYS_MAX) return error_set(err, REEL_INTERNAL, "a job has more than %d arrays", job->n);
    TRY_RETURN(job->backend->ops->alloc(job->backend, out, bytes ? bytes : 1, err));
    job->arrays[job->n++] = *out;
    return REEL_OK;
}

reel_status job_reserve(struct job_memory *job, const char *what, size_t bytes, reel_error *err) {
    size_t available;
    if (!job->backend->ops->free_memory) return REEL_OK;
    TRY_RETURN(job->backend->ops->free_memory(job->backend, &available, err));
    if (bytes <= available) return REEL_OK;
    return error_set(err, REEL_NO_MEMORY,
                     "%s needs %zu MiB of the %s device's memory, %zu MiB are free (--device cpu uses the host's)",
                     what, (bytes >> 20) + 1, job->backend->ops->name, available >> 20);
}

reel_status job_zeros(struct job_memory *job, void **out, size_t bytes, reel_error *err) {
    TRY_RETURN(take_slot(job, bytes, out, err));
    return job->backend->ops->zero(job->backend, *out, bytes, err);
}

reel_status job_constant(struct job_memory *job, const void **out, const void *host, size_t bytes, reel_error *err) {
    *out = host;
    if (!host || job->backend->ops->uses_host_memory) return REEL_OK;
    void *copy;
    TRY_RETURN(take_slot(job, bytes, &copy, err));
    *out = copy;
    return job->backend->ops->upload(job->backend, copy, host, bytes, err);
}

void job_memory_free(struct job_memory *job) {
    for (int i = 0; i < job->n; i++) job->backend->ops->release(job->backend, job->arrays[i]);
    job->n = 0;
}
