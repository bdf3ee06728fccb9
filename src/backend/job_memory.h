/* The arrays of one job on one backend, freed together. On a backend that reads host memory nothing is copied. */
#ifndef BACKEND_JOB_MEMORY_H
#define BACKEND_JOB_MEMORY_H

#include "backend/backend_ops.h"

enum { JOB_ARRAYS_MAX = 64 };

struct job_memory {
    struct backend *backend;
    void *arrays[JOB_ARRAYS_MAX];
    int n;
};

/* Asks before a job allocates: NO_MEMORY, with what `what` needs and what is free, where the backend has memory of its
 * own and less than `bytes` of it left. `bytes` counts the job's arrays and its operators' working memory. */
reel_status job_reserve(struct job_memory *job, const char *what, size_t bytes, reel_error *err);
/* *out = a zeroed array of `bytes` on the backend. */
reel_status job_zeros(struct job_memory *job, void **out, size_t bytes, reel_error *err);
/* *out = the host array as the backend's operators may read it: itself, or an uploaded copy. NULL stays NULL. */
reel_status job_constant(struct job_memory *job, const void **out, const void *host, size_t bytes, reel_error *err);
void job_memory_free(struct job_memory *job);

#define JOB_ZEROS(job, out, n, err) job_zeros((job), (void **)(out), (size_t)(n) * sizeof **(out), (err))
#define JOB_CONSTANT(job, out, host, n, err) \
    job_constant((job), (const void **)(out), (host), (size_t)(n) * sizeof **(out), (err))

#endif
