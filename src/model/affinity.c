/* The affinity operator of a clustering: feature maps, tiles, nearest neighbours, the Nystroem approximation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/philox.h"
#include "model/cluster_profiles.h"
#include "model/eigen_block.h"

enum { MONOMIALS_MAX = 60000, NEIGHBOR_ROWS = 64, ROWS = 1024, SAMPLE = 512 };

static double dot_rows(const double *x, const double *y, int d) {
    double sum = 0;
    for (int f = 0; f < d; f++) sum += x[f] * y[f];
    return sum;
}

static double squared_distance(const double *x, const double *y, int d) {
    double sum = 0;
    for (int f = 0; f < d; f++) sum += (x[f] - y[f]) * (x[f] - y[f]);
    return sum;
}

static double kernel(const struct affinity_args *args, const double *x, const double *y) {
    if (args->kind == AFFINITY_RBF) return exp(-args->gamma * squared_distance(x, y, args->d));
    double product = dot_rows(x, y, args->d);
    return args->kind == AFFINITY_POLYNOMIAL ? pow(args->gamma * product + args->coef0, args->degree) : product;
}

/* ---- feature maps ---- */

/* C(d + p, p), or 0 when it is beyond MONOMIALS_MAX. */
static int64_t count_monomials(int d, int degree) {
    double count = 1;
    for (int i = 1; i <= degree; i++) count = count * (d + i) / i;
    return count > MONOMIALS_MAX ? 0 : (int64_t)(count + 0.5);
}

/* (gamma <x,y> + c)^p = sum over monomials a of p! / (a! (p - |a|)!) gamma^|a| c^(p - |a|) x^a y^a. A monomial of
 * degree s is one of degree s - 1 times a variable not before its last one. */
static reel_status make_monomials(struct affinity *out, int64_t n_monomials, reel_error *err) {
    reel_status status = REEL_OK;
    const struct affinity_args *args = &out->args;
    const int degree = args->kind == AFFINITY_POLYNOMIAL ? args->degree : 1;
    struct {
        int degree, last, run;
        double inverse_factorials;
    } *shape = NULL;
    TRY(MEM_NEW(&out->monomials, n_monomials, err));
    TRY(MEM_NEW(&out->weights, n_monomials, err));
    TRY(MEM_NEW(&shape, n_monomials, err));
    shape[0].inverse_factorials = 1;
    int64_t n = 1;
    for (int64_t parent = 0; parent < n && n < n_monomials; parent++) {
        if (shape[parent].degree == degree) break;
        for (int variable = shape[parent].last; variable < args->d; variable++) {
            int run = parent > 0 && variable == shape[parent].last ? shape[parent].run + 1 : 1;
            out->monomials[n] = (struct monomial){(int32_t)parent, variable};
            shape[n].degree = shape[parent].degree + 1;
            shape[n].last = variable;
            shape[n].run = run;
            shape[n].inverse_factorials = shape[parent].inverse_factorials / run;
            n++;
        }
    }
    for (int64_t f = 0; f < n_monomials; f++) {
        int s = shape[f].degree;
        double weight = shape[f].inverse_factorials;
        for (int i = degree - s + 1; i <= degree; i++) weight *= i;
        if (args->kind == AFFINITY_POLYNOMIAL)
            out->weights[f] = weight * pow(args->gamma, s) * pow(args->coef0, degree - s);
        else
            out->weights[f] = s; /* linear: the variables alone */
    }
    out->args.n_monomials = n_monomials;
    out->args.monomials = out->monomials;
    out->args.monomial_weights = out->weights;
cleanup:
    mem_free(shape);
    return status;
}

/* ---- Nystroem ---- */

/* Relative Frobenius error of z z^T against the kernel on a sample of users. */
static double sample_error(const struct affinity_args *args, const double *z, int m, uint64_t seed) {
    double wrong = 0, all = 0;
    int64_t picks[SAMPLE];
    int sample = args->n < SAMPLE ? (int)args->n : SAMPLE;
    for (int i = 0; i < sample; i++)
        picks[i] =
            (int64_t)(philox_uniform(philox_block(seed, philox_stream(PHILOX_LANCZOS, 0xfffffffeu), (uint64_t)i).v[0]) *
                      (double)args->n);
    for (int i = 0; i < sample; i++)
        for (int j = 0; j < sample; j++) {
            double exact = kernel(args, args->x + picks[i] * args->d, args->x + picks[j] * args->d);
            double close = dot_rows(z + picks[i] * m, z + picks[j] * m, m);
            wrong += (exact - close) * (exact - close);
            all += exact * exact;
        }
    return sqrt(wrong / all);
}

/* m landmark rows without repeats: a seeded partial shuffle. */
static reel_status pick_landmarks(int64_t n, int m, uint64_t seed, int64_t *picks, reel_error *err) {
    int64_t *order;
    TRY_RETURN(MEM_RAW(&order, n, err));
    for (int64_t i = 0; i < n; i++) order[i] = i;
    for (int i = 0; i < m; i++) {
        double uniform =
            philox_uniform(philox_block(seed, philox_stream(PHILOX_LANCZOS, 0xffffffffu), (uint64_t)i).v[0]);
        int64_t other = i + (int64_t)(uniform * (double)(n - i)), swap = order[i];
        order[i] = order[other];
        order[other] = swap;
        picks[i] = order[i];
    }
    mem_free(order);
    return REEL_OK;
}

/* Features z = K(x, L) K(L, L)^(-1/2): z z^T is the Nystroem approximation (Williams and Seeger, NIPS 2000). */
static reel_status make_nystroem(reel_context *ctx, int m, uint64_t seed, struct affinity *out, double *error,
                                 reel_error *err) {
    reel_status status = REEL_OK;
    struct affinity_args *args = &out->args;
    double *gram = NULL, *values = NULL, *vectors = NULL, *root = NULL, row[4096];
    int64_t *picks = NULL;
    struct backend *backend;
    const size_t size = (size_t)m;
    TRY(MEM_RAW(&picks, m, err));
    TRY(MEM_RAW(&gram, size * size, err));
    TRY(MEM_RAW(&values, m, err));
    TRY(MEM_RAW(&vectors, size * size, err));
    TRY(MEM_NEW(&root, size * size, err));
    TRY(MEM_NEW(&out->features, (size_t)args->n * size, err));
    TRY(pick_landmarks(args->n, m, seed, picks, err));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++)
            gram[i * m + j] = kernel(args, args->x + picks[i] * args->d, args->x + picks[j] * args->d);
    TRY(context_backend(ctx, &backend, err));
    if (!backend->ops->eigen_symmetric) context_first_device(ctx, "clustering", &backend);
    if (!backend->ops->eigen_symmetric) TRY(context_fall_back(ctx, "clustering", &backend, err));
    TRY(eigen_dense(backend, gram, m, values, vectors, err));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < m; j++)
            for (int f = 0; f < m && values[f] > 1e-12 * values[0]; f++)
                root[i * m + j] += vectors[i * m + f] * vectors[j * m + f] / sqrt(values[f]);
    for (int64_t i = 0; i < args->n; i++) {
        if (i % 1024 == 0) TRY(context_check(ctx, err));
        for (int j = 0; j < m; j++) row[j] = kernel(args, args->x + i * args->d, args->x + picks[j] * args->d);
        for (int j = 0; j < m; j++)
            for (int f = 0; f < m; f++) out->features[i * m + f] += row[j] * root[j * m + f];
    }
    *error = sample_error(args, out->features, m, seed);
    args->kind = AFFINITY_LINEAR;
    args->x = out->features;
    args->d = m;
cleanup:
    mem_free(root);
    mem_free(vectors);
    mem_free(values);
    mem_free(gram);
    mem_free(picks);
    return status;
}

/* ---- nearest neighbours ---- */

struct neighbor {
    double distance;
    int32_t index;
};

struct neighbor_job {
    const double *x;
    int64_t n;
    int d, k;
    int32_t *nearest; /* (n, k) */
};

static int closer(struct neighbor a, struct neighbor b) {
    return a.distance < b.distance || (a.distance == b.distance && a.index < b.index);
}

/* The k nearest of each row, itself among them; insertion into a short sorted list. */
static void neighbor_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct neighbor_job *job = arg;
    struct neighbor best[256];
    int64_t end = (task + 1) * NEIGHBOR_ROWS < job->n ? (task + 1) * NEIGHBOR_ROWS : job->n;
    for (int64_t row = task * NEIGHBOR_ROWS; row < end; row++) {
        int n_best = 0;
        for (int64_t other = 0; other < job->n; other++) {
            struct neighbor candidate = {
                other == row ? -1 : squared_distance(job->x + row * job->d, job->x + other * job->d, job->d),
                (int32_t)other};
            if (n_best == job->k && !closer(candidate, best[n_best - 1])) continue;
            int at = n_best < job->k ? n_best++ : n_best - 1;
            for (; at > 0 && closer(candidate, best[at - 1]); at--) best[at] = best[at - 1];
            best[at] = candidate;
        }
        for (int i = 0; i < job->k; i++) job->nearest[row * job->k + i] = best[i].index;
    }
}

static int is_neighbor(const int32_t *nearest, int k, int32_t index) {
    for (int i = 0; i < k; i++)
        if (nearest[i] == index) return 1;
    return 0;
}

static int compare_int32(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* CSR of (A + A^T) / 2: each pair once a direction, 1 where both name each other, else 1/2. */
static reel_status symmetrise(const struct neighbor_job *job, struct affinity *out, reel_error *err) {
    reel_status status = REEL_OK;
    int64_t *next = NULL;
    const int k = job->k;
    TRY(MEM_NEW(&out->offsets, job->n + 1, err));
    TRY(MEM_RAW(&next, job->n, err));
    for (int64_t row = 0; row < job->n; row++)
        for (int i = 0; i < k; i++) {
            int32_t other = job->nearest[row * k + i];
            if (other == row) continue;
            out->offsets[row + 1]++;
            if (!is_neighbor(job->nearest + (int64_t)other * k, k, (int32_t)row)) out->offsets[other + 1]++;
        }
    for (int64_t row = 0; row < job->n; row++) {
        out->offsets[row + 1] += out->offsets[row];
        next[row] = out->offsets[row];
    }
    TRY(MEM_RAW(&out->columns, out->offsets[job->n], err));
    TRY(MEM_RAW(&out->values, out->offsets[job->n], err));
    for (int64_t row = 0; row < job->n; row++)
        for (int i = 0; i < k; i++) {
            int32_t other = job->nearest[row * k + i];
            if (other == row) continue;
            out->columns[next[row]++] = other;
            if (!is_neighbor(job->nearest + (int64_t)other * k, k, (int32_t)row))
                out->columns[next[other]++] = (int32_t)row;
        }
    for (int64_t row = 0; row < job->n; row++) {
        int64_t begin = out->offsets[row], end = out->offsets[row + 1];
        qsort(out->columns + begin, (size_t)(end - begin), sizeof *out->columns, compare_int32);
        for (int64_t i = begin; i < end; i++) {
            int32_t other = out->columns[i];
            int both = is_neighbor(job->nearest + row * k, k, other) &&
                       is_neighbor(job->nearest + (int64_t)other * k, k, (int32_t)row);
            out->values[i] = both ? 1 : 0.5;
        }
    }
cleanup:
    mem_free(next);
    return status;
}

reel_status affinity_neighbors(reel_context *ctx, const double *x, int64_t n, int d, int neighbors,
                               struct affinity *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct neighbor_job job = {.x = x, .n = n, .d = d, .k = neighbors < n ? neighbors : (int)n};
    TRY(MEM_RAW(&job.nearest, n * job.k, err));
    thread_pool_run(ctx->pool, (n + NEIGHBOR_ROWS - 1) / NEIGHBOR_ROWS, neighbor_task, &job);
    TRY(symmetrise(&job, out, err));
    out->args.kind = AFFINITY_SPARSE;
    out->args.sparse_offsets = out->offsets;
    out->args.sparse_columns = out->columns;
    out->args.sparse_values = out->values;
cleanup:
    mem_free(job.nearest);
    return status;
}

/* ---- all ---- */

static int64_t row_tasks(int64_t n) {
    return (n + ROWS - 1) / ROWS;
}

static int64_t row_task_end(int64_t n, int64_t task) {
    return (task + 1) * ROWS < n ? (task + 1) * ROWS : n;
}

static void normalise_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct affinity *affinity = arg;
    const int d = affinity->args.d;
    for (int64_t i = task * ROWS; i < row_task_end(affinity->args.n, task); i++) {
        const double *row = affinity->args.x + i * d;
        double length = sqrt(dot_rows(row, row, d));
        for (int f = 0; f < d; f++) affinity->normalised[i * d + f] = length > 0 ? row[f] / length : 0;
    }
}

static reel_status normalise_rows(reel_context *ctx, struct affinity *out, reel_error *err) {
    struct affinity_args *args = &out->args;
    TRY_RETURN(MEM_RAW(&out->normalised, args->n * args->d, err));
    thread_pool_run(ctx->pool, row_tasks(args->n), normalise_task, out);
    args->x = out->normalised;
    return REEL_OK;
}

static void self_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct affinity *affinity = arg;
    const struct affinity_args *args = &affinity->args;
    for (int64_t i = task * ROWS; i < row_task_end(args->n, task); i++)
        affinity->self[i] = kernel(args, args->x + i * args->d, args->x + i * args->d);
}

reel_status affinity_new(reel_context *ctx, const double *x, int64_t n, int d, const reel_cluster_options *options,
                         struct affinity *out, double *approximation_error, reel_error *err) {
    reel_status status = REEL_OK;
    static const enum affinity_kind kinds[] = {AFFINITY_COSINE, AFFINITY_LINEAR, AFFINITY_POLYNOMIAL, AFFINITY_RBF,
                                               AFFINITY_SPARSE};
    *approximation_error = 0;
    *out = (struct affinity){.args = {.kind = kinds[options->affinity],
                                      .n = n,
                                      .d = d,
                                      .x = x,
                                      .gamma = options->gamma,
                                      .coef0 = options->coef0,
                                      .degree = options->degree}};
    if (out->args.kind == AFFINITY_SPARSE) {
        TRY(affinity_neighbors(ctx, x, n, d, options->neighbors, out, err));
        return REEL_OK;
    }
    if (out->args.kind == AFFINITY_COSINE) TRY(normalise_rows(ctx, out, err));
    if (options->nystroem) TRY(make_nystroem(ctx, options->nystroem, options->seed, out, approximation_error, err));
    TRY(MEM_RAW(&out->self, n, err));
    thread_pool_run(ctx->pool, row_tasks(n), self_task, out);
    out->args.self = out->self;
    if (out->args.kind != AFFINITY_RBF) {
        int64_t n_monomials =
            out->args.kind == AFFINITY_POLYNOMIAL ? count_monomials(d, options->degree) : out->args.d + 1;
        /* with few users, tiles are cheaper than a wide feature map */
        if (n_monomials > 0 && n_monomials < 2 * n) TRY(make_monomials(out, n_monomials, err));
    }
    return REEL_OK;
cleanup:
    affinity_free(out);
    return status;
}

reel_status affinity_place(const struct affinity *affinity, struct job_memory *job, struct affinity_args *out,
                           reel_error *err) {
    const struct affinity_args *args = &affinity->args;
    const int64_t n_sparse = args->sparse_offsets ? args->sparse_offsets[args->n] : 0;
    const size_t cells = (size_t)args->n * (size_t)args->d;
    /* the kernels' working memory holds a second x and the sums of the feature map's pieces */
    const size_t bytes = sizeof(double) * (2 * cells + 3 * (size_t)args->n * SPECTRAL_BLOCK) +
                         (size_t)args->n_monomials * SPECTRAL_BLOCK * (SPECTRAL_PIECES + 2) * sizeof(double) +
                         (size_t)n_sparse * (sizeof(double) + sizeof(int32_t));
    *out = *args;
    TRY_RETURN(job_reserve(job, "the affinity", bytes, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->x, args->x, cells, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->monomials, args->monomials, args->n_monomials, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->monomial_weights, args->monomial_weights, args->n_monomials, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->self, args->self, args->n, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->sparse_offsets, args->sparse_offsets, args->n + 1, err));
    TRY_RETURN(JOB_CONSTANT(job, &out->sparse_columns, args->sparse_columns, n_sparse, err));
    return JOB_CONSTANT(job, &out->sparse_values, args->sparse_values, n_sparse, err);
}

void affinity_free(struct affinity *affinity) {
    mem_free(affinity->normalised);
    mem_free(affinity->self);
    mem_free(affinity->weights);
    mem_free(affinity->features);
    mem_free(affinity->monomials);
    mem_free(affinity->offsets);
    mem_free(affinity->columns);
    mem_free(affinity->values);
    *affinity = (struct affinity){0};
}
