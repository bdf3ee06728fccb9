/* Inside of a clustering.
 *
 * The cluster file (safetensors, metadata format = "reel-clusters", version = "1"), n clustered users, d columns, k
 * clusters:
 *   user_ids      I32 (n,)   ascending
 *   labels        I32 (n,)   0..k-1 by size, largest first; -1 = no affinity to anyone
 *   profiles      F64 (n, d) scaled profiles
 *   row_scale     F64 (n,)   1 / sqrt(degree), 0 for labels of -1
 *   eigenvectors  F64 (n, k), eigenvalues F64 (k,) descending
 *   centers       F64 (k, k) in the embedding eigenvectors / sqrt(degree)
 *   column_low, column_span F64 (d,)  min-max scaling: (x - low) / span
 * Metadata: "affinity", "gamma", "coef0", "degree", "neighbors", "profile", "scaling", "min_ratings", "max_ratings",
 * "assignment", "nystroem", "seed", "dataset.fingerprint", "build.commit". */
#ifndef MODEL_CLUSTERS_H
#define MODEL_CLUSTERS_H

#include <reel/cluster.h>
#include "core/context.h"
#include "core/tensor_file.h"
#include "data/dataset.h"

struct reel_clusters {
    struct tensor_set *set;
    int32_t n;
    int d, k;
    const int32_t *user_ids, *labels;
    const double *profiles, *row_scale, *eigenvectors, *eigenvalues, *centers, *column_low, *column_span;
    reel_affinity affinity;
    reel_profile profile;
    reel_scaling scaling;
    double gamma, coef0;
    int degree, neighbors;
};

/* Validates a set and takes it over, also on failure. */
reel_status clusters_from_set(struct tensor_set *set, reel_clusters **out, reel_error *err);
/* K(x, y) of two scaled profiles (d,). For NEIGHBORS the negative squared distance. */
double clusters_kernel(const reel_clusters *clusters, const double *x, const double *y);

extern const char *const clusters_affinity_names[]; /* "cosine", ... in the enum's order */
extern const char *const clusters_profile_names[];
extern const char *const clusters_scaling_names[];

#endif
