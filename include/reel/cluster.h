/* Spectral clustering of users by their taste. The affinity between all users is applied, never stored, so all users
 * of MovieLens 20M are clustered exactly. */
#ifndef REEL_CLUSTER_H
#define REEL_CLUSTER_H

#include <reel/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_clusters reel_clusters;

typedef enum reel_affinity {
    REEL_AFFINITY_COSINE,
    REEL_AFFINITY_LINEAR,
    REEL_AFFINITY_POLYNOMIAL, /* (gamma <x, y> + coef0)^degree */
    REEL_AFFINITY_RBF,        /* exp(-gamma |x - y|^2) */
    REEL_AFFINITY_NEIGHBORS   /* k nearest neighbours, made symmetric: (A + A^T) / 2 */
} reel_affinity;

typedef enum reel_profile {
    REEL_PROFILE_GENRE_SUMS,  /* how many ratings of movies of each genre */
    REEL_PROFILE_GENRE_MEANS, /* mean rating of each genre (the user's own mean where there is none) */
    REEL_PROFILE_FACTORS      /* user factors of a model */
} reel_profile;

typedef enum reel_scaling {
    REEL_SCALE_MIN_MAX, /* each column to 0..1 over the clustered users */
    REEL_SCALE_L1,      /* each row sums to 1 in absolute value */
    REEL_SCALE_L2,      /* each row has length 1 */
    REEL_SCALE_NONE
} reel_scaling;

typedef enum reel_assignment {
    REEL_ASSIGN_KMEANS,    /* k-means++ with ten seeded starts */
    REEL_ASSIGN_CLUSTER_QR /* Damle, Minden and Ying 2019: no seed, no iterations */
} reel_assignment;

typedef struct reel_cluster_options {
    int k;          /* clusters, 2..64; 0 = by the largest eigengap among 2..auto_k_max */
    int auto_k_max; /* default 12 */
    reel_affinity affinity;
    double gamma, coef0; /* gamma NaN = 1 for polynomial, 1 / columns for rbf */
    int degree;          /* 1..8 */
    int neighbors;       /* for NEIGHBORS, default 10 */
    reel_profile profile;
    reel_scaling scaling;
    const reel_model *model;          /* for FACTORS */
    int64_t min_ratings, max_ratings; /* users with min <= ratings <= max are clustered; max 0 = no bound */
    reel_assignment assignment;
    int nystroem;     /* landmarks of the Nystroem approximation; 0 = exact */
    double tolerance; /* of the eigenvalues' residuals, default 1e-9 */
    uint64_t seed;
} reel_cluster_options;

/* What one clustering run tells. */
typedef struct reel_cluster_report {
    int k;
    int n_eigenvalues;
    double eigenvalues[80];     /* of D^-1/2 W D^-1/2, descending: the k used and a few more */
    double residuals[80];       /* |A v - lambda v| of each */
    int iterations;             /* block products with the affinity */
    int32_t n_clustered;        /* users that took part */
    int32_t n_filtered;         /* left out by min_ratings and max_ratings */
    int32_t n_isolated;         /* took no part: no affinity to anyone (no genres) */
    double approximation_error; /* Nystroem: relative Frobenius error on a sample of users; 0 = exact */
    double profile_seconds, eigen_seconds, assign_seconds;
    int64_t peak_rss_bytes;
} reel_cluster_report;

REEL_API void reel_cluster_options_default(reel_cluster_options *options);
/* Clusters the users of a dataset. Errors: INVALID_ARGUMENT (k < 2, k > users, NaN parameters, an affinity that is
 * negative somewhere), NUMERIC (no convergence), BAD_INPUT (all users alike), NO_MEMORY, CANCELLED. */
REEL_API reel_status reel_cluster(reel_context *ctx, const reel_dataset *dataset, const reel_cluster_options *options,
                                  reel_clusters **out, reel_cluster_report *report, reel_error *err);
REEL_API reel_status reel_clusters_open(reel_context *ctx, const char *path, reel_clusters **out, reel_error *err);
REEL_API reel_status reel_clusters_save(reel_context *ctx, const reel_clusters *clusters, const char *path,
                                        reel_error *err);
REEL_API void reel_clusters_free(reel_clusters *clusters);
REEL_API int reel_clusters_count(const reel_clusters *clusters);
/* Cluster of a user id, 0..k-1; -1 for a user who was not clustered. */
REEL_API int reel_clusters_of_user(const reel_clusters *clusters, int32_t user_id);
/* Places a user of the dataset, clustered or not, by the Nystroem extension of the embedding (Bengio et al. 2004):
 * the cluster with the nearest center; -1 when the user has no affinity to anyone. */
REEL_API reel_status reel_clusters_place(const reel_clusters *clusters, const reel_dataset *dataset, int32_t user,
                                         int *cluster, reel_error *err);
/* candidates (n_movies,) = 1 for each movie that any user of the cluster rated, else 0. */
REEL_API reel_status reel_clusters_candidates(const reel_clusters *clusters, const reel_dataset *dataset, int cluster,
                                              uint8_t *candidates, reel_error *err);

/* Profiles of the clusters (size, genre preference against the average, mean rating, activity, top movies) as text,
 * one JSON object, or one self-contained HTML page with plots. To free with reel_string_free; NULL when memory is
 * out. `report` may be NULL. */
REEL_API char *reel_clusters_text(const reel_clusters *clusters, const reel_dataset *dataset,
                                  const reel_cluster_report *report);
REEL_API char *reel_clusters_json(const reel_clusters *clusters, const reel_dataset *dataset,
                                  const reel_cluster_report *report);
REEL_API char *reel_clusters_html(const reel_clusters *clusters, const reel_dataset *dataset,
                                  const reel_cluster_report *report);

#ifdef __cplusplus
}
#endif
#endif
