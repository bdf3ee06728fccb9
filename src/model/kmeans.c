#include "model/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/job_memory.h"
#include "backend/spectral_ops.h"
#include "core/error.h"
#include "core/lapack.h"
#include "core/mem.h"
#include "kernels/common/philox.h"

enum { STARTS = 10, ITERATIONS_MAX = 300 };

static double squared_distance(const double *a, const double *b, int d) {
    double sum = 0;
    for (int f = 0; f < d; f++) sum += (a[f] - b[f]) * (a[f] - b[f]);
    return sum;
}

/* Index of the first point whose running sum of `nearest` passes uniform * total. */
static int64_t draw_point(const double *nearest, int64_t n, double total, double uniform) {
    double target = uniform * total;
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++) {
        if (nearest[i] > 0) last = i;
        if ((target -= nearest[i]) < 0) return i;
    }
    return last;
}

/* Sum of squared distances to the nearest center if points[pick] became one. */
static double potential_with(const double *points, int64_t n, int d, const double *nearest, int64_t pick) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += fmin(nearest[i], squared_distance(points + i * d, points + pick * d, d));
    return sum;
}

/* Each next center is the best of a few points drawn with probability proportional to their squared distance to the
 * nearest center (the greedy variant of Arthur and Vassilvitskii's section 7). `nearest` (n,) is scratch. */
static reel_status seed_centers(const double *points, int64_t n, int d, int k, uint64_t seed, int start,
                                double *nearest, double *centers, reel_error *err) {
    const int trials = 2 + (int)log(k);
    uint64_t index = 0;
    for (int c = 0; c < k; c++) {
        double total = 0, best = INFINITY;
        int64_t pick = 0;
        for (int64_t i = 0; c > 0 && i < n; i++) total += nearest[i];
        if (c > 0 && !(total > 0))
            return error_set(err, REEL_BAD_INPUT, "there are only %d different users, but %d clusters were asked for",
                             c, k);
        for (int trial = 0; trial < (c == 0 ? 1 : trials); trial++) {
            double uniform =
                philox_uniform(philox_block(seed, philox_stream(PHILOX_KMEANS, (uint32_t)start), index++).v[0]);
            if (c == 0) {
                pick = (int64_t)(uniform * (double)n);
                break;
            }
            int64_t candidate = draw_point(nearest, n, total, uniform);
            double potential = potential_with(points, n, d, nearest, candidate);
            if (potential >= best) continue;
            best = potential;
            pick = candidate;
        }
        memcpy(centers + c * d, points + pick * d, sizeof(double) * (size_t)d);
        for (int64_t i = 0; i < n; i++) {
            double distance = squared_distance(points + i * d, centers + c * d, d);
            if (c == 0 || distance < nearest[i]) nearest[i] = distance;
        }
    }
    return REEL_OK;
}

/* An empty cluster takes the point farthest from its center. */
static void refill_empty(const double *points, int64_t n, int d, int k, const int32_t *labels, const double *centers,
                         double *next, const int64_t *counts) {
    for (int c = 0; c < k; c++) {
        if (counts[c] > 0) continue;
        int64_t farthest = 0;
        double most = -1;
        for (int64_t i = 0; i < n; i++) {
            double distance = squared_distance(points + i * d, centers + labels[i] * d, d);
            int taken = 0;
            for (int other = 0; other < c; other++)
                taken |= counts[other] == 0 && squared_distance(points + i * d, next + other * d, d) == 0;
            if (distance > most && !taken) {
                most = distance;
                farthest = i;
            }
        }
        memcpy(next + c * d, points + farthest * d, sizeof(double) * (size_t)d);
    }
}

/* The points of a run, on the host and on the device. */
struct kmeans_run {
    reel_context *ctx;
    struct backend *backend;
    struct job_memory job;
    int64_t n;
    int d, k;
    const double *points, *device_points; /* (n, d) */
    int32_t *labels, *device_labels;      /* (n,) the host's are filled on demand */
};

static reel_status get_labels(struct kmeans_run *run, reel_error *err) {
    return run->backend->ops->download(run->backend, run->labels, run->device_labels,
                                       sizeof *run->labels * (size_t)run->n, err);
}

static int any_empty(const int64_t *counts, int k) {
    for (int c = 0; c < k; c++)
        if (counts[c] == 0) return 1;
    return 0;
}

/* Lloyd's iterations from `centers` until they move by no more than `tolerance` (squared). */
static reel_status lloyd(struct kmeans_run *run, double tolerance, double *centers, double *inertia, reel_error *err) {
    const int k = run->k, d = run->d;
    double next[64 * 64];
    int64_t counts[64];
    struct kmeans_assign_args args = {.n = run->n,
                                      .d = d,
                                      .k = k,
                                      .points = run->device_points,
                                      .centers = centers,
                                      .labels = run->device_labels,
                                      .sums = next,
                                      .counts = counts,
                                      .inertia = inertia};
    for (int iteration = 0; iteration < ITERATIONS_MAX; iteration++) {
        TRY_RETURN(context_check(run->ctx, err));
        TRY_RETURN(run->backend->ops->kmeans_assign(run->backend, &args, err));
        for (int c = 0; c < k; c++)
            for (int f = 0; f < d && counts[c] > 0; f++) next[c * d + f] /= (double)counts[c];
        if (any_empty(counts, k)) {
            TRY_RETURN(get_labels(run, err));
            refill_empty(run->points, run->n, d, k, run->labels, centers, next, counts);
        }
        double moved = 0;
        for (int i = 0; i < k * d; i++) moved += (next[i] - centers[i]) * (next[i] - centers[i]);
        memcpy(centers, next, sizeof(double) * (size_t)(k * d));
        if (moved <= tolerance) break;
    }
    return run->backend->ops->kmeans_assign(run->backend, &args, err);
}

/* Squared movement of 1e-6 of the columns' mean variance: starts are compared when they have all but settled. */
static double settled(const double *points, int64_t n, int d) {
    double total = 0;
    for (int f = 0; f < d; f++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += points[i * d + f];
            squares += points[i * d + f] * points[i * d + f];
        }
        total += fmax(0, squares / (double)n - sum / (double)n * (sum / (double)n));
    }
    return 1e-6 * total / d;
}

struct order {
    int64_t count, first;
    int old;
};

static int compare_order(const void *a, const void *b) {
    const struct order *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return x->first < y->first ? -1 : x->first > y->first;
}

/* Renumbers clusters by size and moves their centers (k, d) along. */
static void renumber(int64_t n, int d, int k, int32_t *labels, double *centers) {
    struct order orders[64];
    double moved[64 * 64];
    int32_t renamed[64];
    for (int c = 0; c < k; c++) orders[c] = (struct order){0, n, c};
    for (int64_t i = n - 1; i >= 0; i--) {
        orders[labels[i]].count++;
        orders[labels[i]].first = i;
    }
    qsort(orders, (size_t)k, sizeof orders[0], compare_order);
    for (int c = 0; c < k; c++) {
        renamed[orders[c].old] = c;
        memcpy(moved + c * d, centers + orders[c].old * d, sizeof(double) * (size_t)d);
    }
    memcpy(centers, moved, sizeof(double) * (size_t)(k * d));
    for (int64_t i = 0; i < n; i++) labels[i] = renamed[labels[i]];
}

reel_status kmeans(reel_context *ctx, struct backend *backend, const double *points, int64_t n, int d, int k,
                   uint64_t seed, int32_t *labels, double *centers, reel_error *err) {
    reel_status status = REEL_OK;
    double *nearest = NULL, trial[64 * 64], best = INFINITY, inertia = 0, tolerance = settled(points, n, d);
    struct kmeans_run run = {.ctx = ctx,
                             .backend = backend,
                             .job = {.backend = backend},
                             .n = n,
                             .d = d,
                             .k = k,
                             .points = points,
                             .labels = labels};
    TRY(MEM_RAW(&nearest, n, err));
    TRY(JOB_CONSTANT(&run.job, &run.device_points, points, (size_t)n * (size_t)d, err));
    TRY(JOB_ZEROS(&run.job, &run.device_labels, n, err));
    for (int start = 0; start < STARTS; start++) {
        TRY(seed_centers(points, n, d, k, seed, start, nearest, trial, err));
        TRY(lloyd(&run, tolerance, trial, &inertia, err));
        if (inertia >= best) continue;
        best = inertia;
        memcpy(centers, trial, sizeof(double) * (size_t)(k * d));
    }
    /* the winner runs to the end */
    TRY(lloyd(&run, 0, centers, &inertia, err));
    TRY(get_labels(&run, err));
    renumber(n, d, k, labels, centers);
cleanup:
    job_memory_free(&run.job);
    mem_free(nearest);
    return status;
}

/* Rows of the k points that a pivoted QR of points^T picks: each time the row with the largest part outside the span
 * of those before. */
static reel_status pick_pivots(const double *points, int64_t n, int k, int64_t *pivots, reel_error *err) {
    reel_status status = REEL_OK;
    double *left = NULL;
    TRY(MEM_RAW(&left, (size_t)n * (size_t)k, err));
    memcpy(left, points, sizeof(double) * (size_t)n * (size_t)k);
    for (int p = 0; p < k; p++) {
        double most = -1, direction[64];
        for (int64_t i = 0; i < n; i++) {
            double length = 0;
            for (int f = 0; f < k; f++) length += left[i * k + f] * left[i * k + f];
            if (length > most) {
                most = length;
                pivots[p] = i;
            }
        }
        if (!(most > 1e-24)) {
            status = error_set(err, REEL_BAD_INPUT, "the embedding has fewer than %d different directions", k);
            goto cleanup;
        }
        for (int f = 0; f < k; f++) direction[f] = left[pivots[p] * k + f] / sqrt(most);
        for (int64_t i = 0; i < n; i++) {
            double along = 0;
            for (int f = 0; f < k; f++) along += left[i * k + f] * direction[f];
            for (int f = 0; f < k; f++) left[i * k + f] -= along * direction[f];
        }
    }
cleanup:
    mem_free(left);
    return status;
}

reel_status cluster_qr(const double *points, int64_t n, int k, int32_t *labels, double *centers, reel_error *err) {
    int64_t pivots[64], counts[64] = {0};
    double chosen[64 * 64], u[64 * 64], vt[64 * 64], sigma[64], rotation[64 * 64];
    TRY_RETURN(pick_pivots(points, n, k, pivots, err));
    /* chosen = points[pivots]^T; its polar factor turns the embedding so that clusters lie along the axes */
    for (int p = 0; p < k; p++)
        for (int f = 0; f < k; f++) chosen[f * k + p] = points[pivots[p] * k + f];
    TRY_RETURN(lapack_svd(k, chosen, u, sigma, vt, err));
    for (int i = 0; i < k; i++)
        for (int j = 0; j < k; j++) {
            rotation[i * k + j] = 0;
            for (int f = 0; f < k; f++) rotation[i * k + j] += u[i * k + f] * vt[f * k + j];
        }
    memset(centers, 0, sizeof(double) * (size_t)(k * k));
    for (int64_t i = 0; i < n; i++) {
        double most = -1;
        for (int j = 0; j < k; j++) {
            double along = 0;
            for (int f = 0; f < k; f++) along += points[i * k + f] * rotation[f * k + j];
            if (fabs(along) > most) {
                most = fabs(along);
                labels[i] = j;
            }
        }
        counts[labels[i]]++;
        for (int f = 0; f < k; f++) centers[labels[i] * k + f] += points[i * k + f];
    }
    for (int c = 0; c < k; c++)
        for (int f = 0; f < k && counts[c] > 0; f++) centers[c * k + f] /= (double)counts[c];
    renumber(n, k, k, labels, centers);
    return REEL_OK;
}
