/* k-means on the rows of an embedding: k-means++ seeding (Arthur and Vassilvitskii, SODA 2007), Lloyd's iterations,
 * ten seeded starts, the best inertia wins. */
#ifndef MODEL_KMEANS_H
#define MODEL_KMEANS_H

#include "backend/backend_ops.h"
#include "core/context.h"

/* points (n, d); labels (n,) 0..k-1 and centers (k, d) out. Clusters are renumbered by size, largest first (ties: the
 * first member's index). BAD_INPUT when there are fewer than k different points. */
reel_status kmeans(reel_context *ctx, struct backend *backend, const double *points, int64_t n, int d, int k,
                   uint64_t seed, int32_t *labels, double *centers, reel_error *err);
/* Labels by pivoted QR of the embedding's transpose (Damle, Minden and Ying, "Simple, direct and efficient multi-way
 * spectral clustering", 2019): d = k. Centers are the means of the members. */
reel_status cluster_qr(const double *points, int64_t n, int k, int32_t *labels, double *centers, reel_error *err);

#endif
