#include "model/kmeans.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "backend/job_memory.h"
#include "backend/spectral_ops.h"
#include "core/error.h"
#include "core/lapack.h"
#include "core/mem.h"
#include "kernels/common/philox.h"

enum { STARTS = 10, ITERATIONS_MAX = 300 };

static inline double squared_distance(const double *a, const double *b, int d) {
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

/* ---- seeding, a task a start ---- */

enum { TRIALS_MAX = 8 };

struct seed_job {
    const double *points; /* (n, d) */
    int64_t n;
    int d, k;
    uint64_t seed;
    double *nearest; /* (STARTS, n) squared distances to the nearest center */
    double *centers; /* (STARTS, k, d) */
    int found[STARTS];
};

/* Takes `center` into `nearest` and returns the sum of these. */
static double add_center(const struct seed_job *job, const double *center, int first, double *nearest) {
    double total = 0;
    for (int64_t i = 0; i < job->n; i++) {
        double distance = squared_distance(job->points + i * job->d, center, job->d);
        nearest[i] = first || distance < nearest[i] ? distance : nearest[i];
        total += nearest[i];
    }
    return total;
}

/* The pick that leaves the smallest sum of squared distances if it becomes a center (ties: the first). */
static int64_t best_pick(const struct seed_job *job, const double *nearest, const int64_t *picks, int trials) {
    double sums[TRIALS_MAX] = {0};
    const double *chosen[TRIALS_MAX];
    for (int t = 0; t < trials; t++) chosen[t] = job->points + picks[t] * job->d;
    for (int64_t i = 0; i < job->n; i++)
        for (int t = 0; t < trials; t++) {
            double distance = squared_distance(job->points + i * job->d, chosen[t], job->d);
            sums[t] += distance < nearest[i] ? distance : nearest[i];
        }
    int best = 0;
    for (int t = 1; t < trials; t++)
        if (sums[t] < sums[best]) best = t;
    return picks[best];
}

/* Each next center is the best of a few points drawn with probability proportional to their squared distance to the
 * nearest center (the greedy variant of Arthur and Vassilvitskii's section 7). */
static void seed_task(void *arg, int64_t start, int worker) {
    (void)worker;
    struct seed_job *job = arg;
    const int trials = 2 + (int)log(job->k);
    const uint64_t stream = philox_stream(PHILOX_KMEANS, (uint32_t)start);
    double *nearest = job->nearest + start * job->n, *centers = job->centers + start * job->k * job->d, total = 0;
    uint64_t index = 0;
    int64_t picks[TRIALS_MAX] = {0};
    job->found[start] = 0;
    for (int c = 0; c < job->k; c++) {
        if (c > 0 && !(total > 0)) return;
        for (int trial = 0; trial < (c == 0 ? 1 : trials); trial++) {
            double uniform = philox_uniform(philox_block(job->seed, stream, index++).v[0]);
            picks[trial] = c == 0 ? (int64_t)(uniform * (double)job->n) : draw_point(nearest, job->n, total, uniform);
        }
        const int64_t pick = c == 0 ? picks[0] : best_pick(job, nearest, picks, trials);
        memcpy(centers + c * job->d, job->points + pick * job->d, sizeof(double) * (size_t)job->d);
        total = add_center(job, centers + c * job->d, c == 0, nearest);
        job->found[start]++;
    }
}

/* centers (STARTS, k, d) */
static reel_status seed_starts(reel_context *ctx, const double *points, int64_t n, int d, int k, uint64_t seed,
                               double *centers, reel_error *err) {
    struct seed_job job = {.points = points, .n = n, .d = d, .k = k, .seed = seed, .centers = centers};
    TRY_RETURN(MEM_RAW(&job.nearest, STARTS * n, err));
    thread_pool_run(ctx->pool, STARTS, seed_task, &job);
    mem_free(job.nearest);
    for (int start = 0; start < STARTS; start++)
        if (job.found[start] < k)
            return error_set(err, REEL_BAD_INPUT, "there are only %d different users, but %d clusters were asked for",
                             job.found[start], k);
    return REEL_OK;
}

/* ---- iterations, all starts side by side ---- */

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
    int32_t *labels;                      /* (n,) filled on demand */
    int32_t *device_labels;               /* (STARTS, n) of the sets of the last call */
    double *sets, *next;                  /* (STARTS, k, d) centers to the operator and sums from it */
    int64_t *counts;                      /* (STARTS, k) */
};

static reel_status get_labels(struct kmeans_run *run, int set, reel_error *err) {
    return run->backend->ops->download(run->backend, run->labels, run->device_labels + set * run->n,
                                       sizeof *run->labels * (size_t)run->n, err);
}

static int any_empty(const int64_t *counts, int k) {
    for (int c = 0; c < k; c++)
        if (counts[c] == 0) return 1;
    return 0;
}

/* The operator on the centers of `active` starts; their labels, sums, counts and inertia lie one after the other. */
static reel_status assign_sets(struct kmeans_run *run, const double *centers, const int *active, int n_active,
                               double *inertia, reel_error *err) {
    const size_t size = (size_t)run->k * (size_t)run->d;
    struct kmeans_assign_args args = {.n = run->n,
                                      .d = run->d,
                                      .k = run->k,
                                      .sets = n_active,
                                      .points = run->device_points,
                                      .centers = run->sets,
                                      .labels = run->device_labels,
                                      .sums = run->next,
                                      .counts = run->counts,
                                      .inertia = inertia};
    for (int s = 0; s < n_active; s++)
        memcpy(run->sets + (size_t)s * size, centers + (size_t)active[s] * size, sizeof(double) * size);
    return run->backend->ops->kmeans_assign(run->backend, &args, err);
}

/* centers (k, d) become the means of what was assigned to them in set `set`; *moved = how far, squared. */
static reel_status move_centers(struct kmeans_run *run, int set, double *centers, double *moved, reel_error *err) {
    const int k = run->k, d = run->d;
    double *next = run->next + (ptrdiff_t)set * k * d;
    const int64_t *counts = run->counts + (ptrdiff_t)set * k;
    for (int c = 0; c < k; c++)
        for (int f = 0; f < d && counts[c] > 0; f++) next[c * d + f] /= (double)counts[c];
    if (any_empty(counts, k)) {
        TRY_RETURN(get_labels(run, set, err));
        refill_empty(run->points, run->n, d, k, run->labels, centers, next, counts);
    }
    *moved = 0;
    for (int i = 0; i < k * d; i++) *moved += (next[i] - centers[i]) * (next[i] - centers[i]);
    memcpy(centers, next, sizeof(double) * (size_t)(k * d));
    return REEL_OK;
}

/* Lloyd's iterations from centers (starts, k, d), each start until it moves by no more than `tolerance` (squared);
 * then its inertia. */
static reel_status lloyd(struct kmeans_run *run, int starts, double tolerance, double *centers, double *inertia,
                         reel_error *err) {
    int active[STARTS], settled[STARTS] = {0}, n_active = starts;
    double found[STARTS];
    for (int start = 0; start < starts; start++) active[start] = start;
    for (int iteration = 1; n_active > 0; iteration++) {
        TRY_RETURN(context_check(run->ctx, err));
        TRY_RETURN(assign_sets(run, centers, active, n_active, found, err));
        int kept = 0;
        for (int s = 0; s < n_active; s++) {
            const int start = active[s];
            double moved;
            inertia[start] = found[s];
            if (settled[start]) continue;
            TRY_RETURN(move_centers(run, s, centers + (ptrdiff_t)start * run->k * run->d, &moved, err));
            settled[start] = moved <= tolerance || iteration == ITERATIONS_MAX;
            active[kept++] = start;
        }
        n_active = kept;
    }
    return REEL_OK;
}

/* Squared movement of 1e-6 of the columns' mean variance: starts are compared when they have all but settled. */
static double movement_bound(const double *points, int64_t n, int d) {
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
    const size_t size = (size_t)k * (size_t)d;
    double *trials = NULL, inertia[STARTS];
    struct kmeans_run run = {.ctx = ctx,
                             .backend = backend,
                             .job = {.backend = backend},
                             .n = n,
                             .d = d,
                             .k = k,
                             .points = points,
                             .labels = labels};
    TRY(MEM_RAW(&trials, STARTS * size, err));
    TRY(MEM_RAW(&run.sets, STARTS * size, err));
    TRY(MEM_RAW(&run.next, STARTS * size, err));
    TRY(MEM_RAW(&run.counts, STARTS * k, err));
    TRY(JOB_CONSTANT(&run.job, &run.device_points, points, (size_t)n * (size_t)d, err));
    TRY(JOB_ZEROS(&run.job, &run.device_labels, STARTS * n, err));
    TRY(seed_starts(ctx, points, n, d, k, seed, trials, err));
    TRY(lloyd(&run, STARTS, movement_bound(points, n, d), trials, inertia, err));
    int best = 0;
    for (int start = 1; start < STARTS; start++)
        if (inertia[start] < inertia[best]) best = start;
    memcpy(centers, trials + (size_t)best * size, sizeof(double) * size);
    /* the winner runs to the end */
    TRY(lloyd(&run, 1, 0, centers, inertia, err));
    TRY(get_labels(&run, 0, err));
    renumber(n, d, k, labels, centers);
cleanup:
    job_memory_free(&run.job);
    mem_free(run.counts);
    mem_free(run.next);
    mem_free(run.sets);
    mem_free(trials);
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
