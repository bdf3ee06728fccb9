/* What factor_solve and factor_cg keep in working memory besides matrices: a report to the host, the prior, and a list
 * of rows. */
#ifndef KERNELS_CUDA_FACTOR_INPUTS_H
#define KERNELS_CUDA_FACTOR_INPUTS_H

#include "backend/factor_ops.h"
#include "kernels/cuda/backend_cuda.h"

/* (dev) */
struct factor_inputs {
    void *report;
    float *prior_precision, *prior_shift; /* (d, stride), (d,) */
    void *list;                           /* n_rows elements */
};

static inline size_t factor_aligned(size_t bytes) {
    return (bytes + 255) / 256 * 256;
}

/* Places them in slot 0 and copies there the report as it is now and the prior. */
static inline reel_status factor_inputs_place(struct cuda_backend *cuda, const struct factor_solve_args *args,
                                              const void *report, size_t report_bytes, size_t list_element,
                                              struct factor_inputs *out, reel_error *err) {
    struct backend *backend = &cuda->base;
    const size_t solved = (size_t)(args->k + (args->biases ? 1 : 0)), shift_bytes = solved * sizeof(float);
    const size_t precision_bytes = shift_bytes * (size_t)args->stride;
    const size_t precision_at = factor_aligned(report_bytes), shift_at = precision_at + factor_aligned(precision_bytes);
    const size_t list_at = shift_at + factor_aligned(shift_bytes);
    char *at;
    TRY_RETURN(cuda_scratch(cuda, 0, list_at + (size_t)args->n_rows * list_element, (void **)&at, err));
    *out = {at, (float *)(at + precision_at), (float *)(at + shift_at), at + list_at};
    TRY_RETURN(backend->ops->upload(backend, out->report, report, report_bytes, err));
    TRY_RETURN(backend->ops->upload(backend, out->prior_precision, args->prior_precision, precision_bytes, err));
    return backend->ops->upload(backend, out->prior_shift, args->prior_shift, shift_bytes, err);
}

#endif
