/* From a dataset to the matrix that is clustered, and from there to the affinity operator. */
#ifndef MODEL_CLUSTER_PROFILES_H
#define MODEL_CLUSTER_PROFILES_H

#include <reel/cluster.h>
#include "backend/job_memory.h"
#include "backend/spectral_ops.h"
#include "core/context.h"
#include "data/dataset.h"

struct profile_matrix {
    int32_t n;
    int d;
    int32_t *users;                   /* (n,) dataset indices, ascending */
    double *x;                        /* (n, d) scaled */
    double *column_low, *column_span; /* (d,) */
    int32_t n_filtered;
};
/* Errors: INVALID_ARGUMENT (a model without user factors), BAD_INPUT (no users, all users alike). */
reel_status profile_matrix_new(reel_context *ctx, const struct reel_dataset *dataset,
                               const reel_cluster_options *options, struct profile_matrix *out, reel_error *err);
void profile_matrix_free(struct profile_matrix *matrix); /* takes a zeroed struct */
/* Raw profile (d,) of one dataset user; zeros of a user the model does not know. */
void profile_raw(const struct reel_dataset *dataset, reel_profile profile, const reel_model *model, int32_t user,
                 double *out);
/* Scales one row in place. */
void profile_scale(reel_scaling scaling, const double *low, const double *span, int d, double *row);

/* The affinity over the rows of x, with all the arrays it points at. */
struct affinity {
    struct affinity_args args;
    double *normalised, *self, *weights, *features;
    struct monomial *monomials;
    int64_t *offsets;
    int32_t *columns;
    double *values;
};
reel_status affinity_new(reel_context *ctx, const double *x, int64_t n, int d, const reel_cluster_options *options,
                         struct affinity *out, double *approximation_error, reel_error *err);
void affinity_free(struct affinity *affinity); /* takes a zeroed struct */
/* *out = the affinity's arguments with its arrays where the job's backend can read them. */
reel_status affinity_place(const struct affinity *affinity, struct job_memory *job, struct affinity_args *out,
                           reel_error *err);
/* Nearest-neighbour graph (A + A^T) / 2 without its diagonal, each row's own point counted as a neighbour as in
 * scikit-learn. */
reel_status affinity_neighbors(reel_context *ctx, const double *x, int64_t n, int d, int neighbors,
                               struct affinity *out, reel_error *err);

#endif
