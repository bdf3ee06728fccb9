/* Spectral clustering (Ng, Jordan and Weiss, NIPS 2001; scikit-learn's conventions): leading eigenvectors of the
 * normalised affinity, divided by sqrt(degree), then k-means or cluster_qr. */
#include "model/clusters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/cluster_profiles.h"
#include "model/eigen_block.h"
#include "model/kmeans.h"
#include "model/model.h"

enum { K_MAX = 64, DENSE_ROWS = 128, LEAST_EIGENVALUES = 6, MAX_PRODUCTS = 2000 };

const char *const clusters_affinity_names[] = {"cosine", "linear", "polynomial", "rbf", "neighbors", NULL};
const char *const clusters_profile_names[] = {"genre-sums", "genre-means", "factors", NULL};
const char *const clusters_scaling_names[] = {"minmax", "l1", "l2", "none", NULL};

void reel_cluster_options_default(reel_cluster_options *options) {
    *options = (reel_cluster_options){.k = 4,
                                      .auto_k_max = 12,
                                      .affinity = REEL_AFFINITY_POLYNOMIAL,
                                      .gamma = 1,
                                      .coef0 = 1,
                                      .degree = 3,
                                      .neighbors = 10,
                                      .tolerance = 1e-9};
}

static reel_status check_options(const reel_cluster_options *o, reel_error *err) {
    if (o->k != 0 && (o->k < 2 || o->k > K_MAX))
        return error_set(err, REEL_INVALID_ARGUMENT, "k must be 2..%d, or 0 to choose it (found %d)", K_MAX, o->k);
    if (o->k == 0 && (o->auto_k_max < 2 || o->auto_k_max >= K_MAX))
        return error_set(err, REEL_INVALID_ARGUMENT, "auto_k_max must be 2..%d (found %d)", K_MAX - 1, o->auto_k_max);
    if (!(o->gamma > 0) || !isfinite(o->gamma))
        return error_set(err, REEL_INVALID_ARGUMENT, "gamma must be positive (found %g)", o->gamma);
    if (!(o->coef0 >= 0) || !isfinite(o->coef0))
        return error_set(err, REEL_INVALID_ARGUMENT, "coef0 must not be negative (found %g)", o->coef0);
    if (o->degree < 1 || o->degree > 8)
        return error_set(err, REEL_INVALID_ARGUMENT, "degree must be 1..8 (found %d)", o->degree);
    if (o->neighbors < 2 || o->neighbors > 256)
        return error_set(err, REEL_INVALID_ARGUMENT, "neighbors must be 2..256 (found %d)", o->neighbors);
    if (!(o->tolerance >= 1e-13 && o->tolerance <= 1e-2))
        return error_set(err, REEL_INVALID_ARGUMENT, "tolerance must be 1e-13..1e-2 (found %g)", o->tolerance);
    if (o->nystroem && (o->nystroem < 2 || o->nystroem > 4096))
        return error_set(err, REEL_INVALID_ARGUMENT, "the Nystroem approximation takes 2..4096 landmarks (found %d)",
                         o->nystroem);
    if (o->nystroem && o->affinity == REEL_AFFINITY_NEIGHBORS)
        return error_set(err, REEL_INVALID_ARGUMENT, "nearest neighbours have no Nystroem approximation");
    if (o->min_ratings < 0 || o->max_ratings < 0 || (o->max_ratings && o->max_ratings < o->min_ratings))
        return error_set(err, REEL_INVALID_ARGUMENT, "min_ratings %lld and max_ratings %lld exclude everybody",
                         (long long)o->min_ratings, (long long)o->max_ratings);
    return REEL_OK;
}

/* ---- eigenvectors ---- */

/* matrix (n, n) = N in full, SPECTRAL_BLOCK columns at a time. */
static reel_status fill_dense(struct backend *backend, const struct affinity_args *affinity, const double *scale,
                              double *matrix, int *products, reel_error *err) {
    reel_status status = REEL_OK;
    struct job_memory job = {.backend = backend};
    struct affinity_args args = *affinity;
    const int n = (int)affinity->n;
    const size_t bytes = (size_t)n * SPECTRAL_BLOCK * sizeof(double);
    double *host = NULL, *in;
    TRY(MEM_RAW(&host, n * SPECTRAL_BLOCK, err));
    TRY(JOB_ZEROS(&job, &in, n * SPECTRAL_BLOCK, err));
    TRY(JOB_ZEROS(&job, &args.out, n * SPECTRAL_BLOCK, err));
    args.in = in;
    for (int from = 0; from < n; from += SPECTRAL_BLOCK) {
        memset(host, 0, bytes);
        for (int c = 0; c < SPECTRAL_BLOCK && from + c < n; c++)
            host[(from + c) * SPECTRAL_BLOCK + c] = scale[from + c];
        TRY(backend->ops->upload(backend, in, host, bytes, err));
        TRY(backend->ops->affinity_apply(backend, &args, err));
        TRY(backend->ops->download(backend, host, args.out, bytes, err));
        for (int row = 0; row < n; row++)
            for (int c = 0; c < SPECTRAL_BLOCK && from + c < n; c++)
                matrix[row * n + from + c] = scale[row] * host[row * SPECTRAL_BLOCK + c];
        ++*products;
    }
cleanup:
    job_memory_free(&job);
    mem_free(host);
    return status;
}

/* Small problems: N in full, all its eigenpairs. */
static reel_status solve_dense(struct backend *backend, const struct affinity_args *affinity, const double *scale,
                               int wanted, struct eigen_result *out, reel_error *err) {
    reel_status status = REEL_OK;
    const int n = (int)affinity->n;
    const size_t size = (size_t)n;
    double *matrix = NULL, *values = NULL, *vectors = NULL;
    *out = (struct eigen_result){.n = wanted};
    TRY(MEM_RAW(&matrix, size * size, err));
    TRY(MEM_RAW(&values, size, err));
    TRY(MEM_RAW(&vectors, size * size, err));
    TRY(MEM_RAW(&out->values, wanted, err));
    TRY(MEM_NEW(&out->residuals, wanted, err));
    TRY(MEM_RAW(&out->vectors, size * (size_t)wanted, err));
    TRY(fill_dense(backend, affinity, scale, matrix, &out->products, err));
    TRY(eigen_dense(backend, matrix, n, values, vectors, err));
    memcpy(out->values, values, sizeof *values * (size_t)wanted);
    for (int row = 0; row < n; row++)
        memcpy(out->vectors + (size_t)row * (size_t)wanted, vectors + (size_t)row * size,
               sizeof *vectors * (size_t)wanted);
cleanup:
    mem_free(vectors);
    mem_free(values);
    mem_free(matrix);
    if (status != REEL_OK) eigen_result_free(out);
    return status;
}

static int largest_gap(const struct eigen_result *eigen, int most) {
    int best = 2;
    double gap = -1;
    for (int k = 2; k <= most && k < eigen->n; k++)
        if (eigen->values[k - 1] - eigen->values[k] > gap) {
            gap = eigen->values[k - 1] - eigen->values[k];
            best = k;
        }
    return best;
}

/* ---- one run ---- */

struct run {
    reel_context *ctx;
    const reel_cluster_options *options;
    struct backend *backend;
    struct profile_matrix matrix;
    struct affinity affinity;
    struct job_memory job;       /* holds what `placed` points at */
    struct affinity_args placed; /* the affinity's, for the backend */
    double *scale;               /* (n,) 1 / sqrt(degree), 0 = isolated */
    struct eigen_result eigen;
    int k;
    int32_t n_isolated;
    int32_t *labels; /* (n,) */
    double centers[K_MAX * K_MAX];
    reel_cluster_report report;
};

static reel_status scale_by_degree(struct run *run, reel_error *err) {
    const int32_t n = run->matrix.n;
    TRY_RETURN(MEM_RAW(&run->scale, n, err));
    TRY_RETURN(eigen_degrees(run->backend, &run->placed, run->scale, err));
    double largest = 0;
    for (int32_t i = 0; i < n; i++) largest = fmax(largest, run->scale[i]);
    for (int32_t i = 0; i < n; i++) {
        double degree = run->scale[i];
        if (!isfinite(degree) || degree < -1e-9 * largest)
            return error_set(
                err, REEL_INVALID_ARGUMENT,
                "user %d has affinities that add up to %g: spectral clustering needs affinities that are not "
                "negative (for factors, take rbf or neighbors)",
                run->matrix.users[i], degree);
        /* what is left of a degree of zero after rounding counts as zero */
        run->scale[i] = degree > 1e-14 * largest ? 1 / sqrt(degree) : 0;
        run->n_isolated += run->scale[i] == 0;
    }
    return REEL_OK;
}

static reel_status find_eigenvectors(struct run *run, reel_error *err) {
    const reel_cluster_options *o = run->options;
    const int32_t active = run->matrix.n - run->n_isolated;
    int wanted = (o->k ? o->k : o->auto_k_max) + 1;
    if (o->k > active)
        return error_set(err, REEL_INVALID_ARGUMENT, "k = %d is more than the %d users that can be clustered", o->k,
                         active);
    if (wanted < LEAST_EIGENVALUES) wanted = LEAST_EIGENVALUES;
    if (wanted > active) wanted = (int)active;
    if (wanted < 2) return error_set(err, REEL_BAD_INPUT, "only %d users have any affinity to others", active);
    if (run->matrix.n <= DENSE_ROWS)
        TRY_RETURN(solve_dense(run->backend, &run->placed, run->scale, wanted, &run->eigen, err));
    else {
        struct eigen_problem problem = {.affinity = &run->placed,
                                        .scale = run->scale,
                                        .wanted = wanted,
                                        .tolerance = o->tolerance,
                                        .max_products = MAX_PRODUCTS,
                                        .seed = o->seed};
        TRY_RETURN(eigen_solve(run->ctx, run->backend, &problem, &run->eigen, err));
    }
    eigen_fix_signs(run->ctx, &run->eigen, run->matrix.n);
    run->k = o->k ? o->k : largest_gap(&run->eigen, o->auto_k_max);
    return REEL_OK;
}

/* k-means sees the users that have an embedding; the others get -1. */
static reel_status assign(struct run *run, reel_error *err) {
    reel_status status = REEL_OK;
    const int32_t n = run->matrix.n;
    const int k = run->k;
    double *points = NULL;
    int32_t *active_labels = NULL;
    int64_t active = 0;
    TRY(MEM_RAW(&points, (size_t)n * (size_t)k, err));
    TRY(MEM_RAW(&active_labels, n, err));
    TRY(MEM_RAW(&run->labels, n, err));
    for (int32_t i = 0; i < n; i++) {
        if (run->scale[i] == 0) continue;
        /* cluster_qr reads the orthonormal eigenvectors, k-means the embedding (scikit-learn gives both the latter) */
        for (int f = 0; f < k; f++)
            points[active * k + f] = run->eigen.vectors[(int64_t)i * run->eigen.n + f] * run->scale[i];
        active++;
    }
    if (run->options->assignment == REEL_ASSIGN_CLUSTER_QR)
        TRY(cluster_qr(points, active, k, active_labels, run->centers, err));
    else
        TRY(kmeans(run->ctx, run->backend, points, active, k, k, run->options->seed, active_labels, run->centers, err));
    int64_t at = 0;
    for (int32_t i = 0; i < n; i++) run->labels[i] = run->scale[i] == 0 ? -1 : active_labels[at++];
cleanup:
    mem_free(active_labels);
    mem_free(points);
    return status;
}

/* ---- the file ---- */

static reel_status put_doubles(struct tensor_set *set, const char *name, int n_dims, int64_t rows, int64_t columns,
                               const double *from, int64_t from_ld, reel_error *err) {
    double *data;
    TRY_RETURN(tensor_set_add(set, name, DTYPE_F64, n_dims, (int64_t[]){rows, columns}, (void **)&data, err));
    int64_t width = n_dims == 2 ? columns : 1;
    for (int64_t row = 0; row < rows; row++)
        memcpy(data + row * width, from + row * from_ld, sizeof *data * (size_t)width);
    return REEL_OK;
}

static reel_status put_options(const struct run *run, const struct reel_dataset *dataset, struct tensor_set *set,
                               reel_error *err) {
    const reel_cluster_options *o = run->options;
    TRY_RETURN(tensor_set_put(set, "format", "reel-clusters", err));
    TRY_RETURN(tensor_set_put(set, "version", "1", err));
    TRY_RETURN(tensor_set_put(set, "affinity", clusters_affinity_names[o->affinity], err));
    TRY_RETURN(tensor_set_put(set, "profile", clusters_profile_names[o->profile], err));
    TRY_RETURN(tensor_set_put(set, "scaling", clusters_scaling_names[o->scaling], err));
    TRY_RETURN(tensor_set_put(set, "assignment", o->assignment == REEL_ASSIGN_KMEANS ? "kmeans" : "cluster_qr", err));
    TRY_RETURN(tensor_set_putf(set, "gamma", err, "%.17g", o->gamma));
    TRY_RETURN(tensor_set_putf(set, "coef0", err, "%.17g", o->coef0));
    TRY_RETURN(tensor_set_putf(set, "degree", err, "%d", o->degree));
    TRY_RETURN(tensor_set_putf(set, "neighbors", err, "%d", o->neighbors));
    TRY_RETURN(tensor_set_putf(set, "min_ratings", err, "%lld", (long long)o->min_ratings));
    TRY_RETURN(tensor_set_putf(set, "max_ratings", err, "%lld", (long long)o->max_ratings));
    TRY_RETURN(tensor_set_putf(set, "nystroem", err, "%d", o->nystroem));
    TRY_RETURN(tensor_set_putf(set, "seed", err, "%llu", (unsigned long long)o->seed));
    TRY_RETURN(tensor_set_put(set, "dataset.fingerprint", dataset->fingerprint, err));
    return tensor_set_put(set, "build.commit", reel_build_commit(), err);
}

static reel_status make_set(const struct run *run, const struct reel_dataset *dataset, struct tensor_set **out,
                            reel_error *err) {
    reel_status status = REEL_OK;
    struct tensor_set *set = NULL;
    const struct profile_matrix *m = &run->matrix;
    int32_t *ids, *labels;
    TRY(tensor_set_new(&set, err));
    TRY(put_options(run, dataset, set, err));
    TRY(tensor_set_add1(set, "user_ids", DTYPE_I32, m->n, (void **)&ids, err));
    for (int32_t i = 0; i < m->n; i++) ids[i] = dataset->user_ids[m->users[i]];
    TRY(tensor_set_add1(set, "labels", DTYPE_I32, m->n, (void **)&labels, err));
    memcpy(labels, run->labels, sizeof *labels * (size_t)m->n);
    TRY(put_doubles(set, "profiles", 2, m->n, m->d, m->x, m->d, err));
    TRY(put_doubles(set, "row_scale", 1, m->n, 0, run->scale, 1, err));
    TRY(put_doubles(set, "eigenvectors", 2, m->n, run->k, run->eigen.vectors, run->eigen.n, err));
    TRY(put_doubles(set, "eigenvalues", 1, run->k, 0, run->eigen.values, 1, err));
    TRY(put_doubles(set, "centers", 2, run->k, run->k, run->centers, run->k, err));
    TRY(put_doubles(set, "column_low", 1, m->d, 0, m->column_low, 1, err));
    TRY(put_doubles(set, "column_span", 1, m->d, 0, m->column_span, 1, err));
    *out = set;
    return REEL_OK;
cleanup:
    tensor_set_free(set);
    return status;
}

static void fill_report(struct run *run) {
    reel_cluster_report *r = &run->report;
    r->k = run->k;
    r->n_eigenvalues = run->eigen.n;
    for (int j = 0; j < run->eigen.n; j++) {
        r->eigenvalues[j] = run->eigen.values[j];
        r->residuals[j] = run->eigen.residuals[j];
    }
    r->iterations = run->eigen.products;
    r->n_clustered = run->matrix.n - run->n_isolated;
    r->n_isolated = run->n_isolated;
    r->n_filtered = run->matrix.n_filtered;
    r->peak_rss_bytes = peak_rss_bytes();
}

reel_status reel_cluster(reel_context *ctx, const reel_dataset *dataset, const reel_cluster_options *options,
                         reel_clusters **out, reel_cluster_report *report, reel_error *err) {
    reel_status status = REEL_OK;
    struct run run = {.ctx = ctx, .options = options};
    struct tensor_set *set = NULL;
    *out = NULL;
    TRY(check_options(options, err));
    TRY(context_backend(ctx, &run.backend, err));
    if (!run.backend->ops->affinity_apply) context_first_device(ctx, "clustering", &run.backend);
    if (!run.backend->ops->affinity_apply) TRY(context_fall_back(ctx, "clustering", &run.backend, err));
    run.job.backend = run.backend;
    double start = clock_seconds();
    TRY(profile_matrix_new(ctx, dataset, options, &run.matrix, err));
    run.report.profile_seconds = clock_seconds() - start;
    start = clock_seconds();
    TRY(affinity_new(ctx, run.matrix.x, run.matrix.n, run.matrix.d, options, &run.affinity,
                     &run.report.approximation_error, err));
    TRY(affinity_place(&run.affinity, &run.job, &run.placed, err));
    TRY(scale_by_degree(&run, err));
    TRY(find_eigenvectors(&run, err));
    run.report.eigen_seconds = clock_seconds() - start;
    start = clock_seconds();
    TRY(assign(&run, err));
    run.report.assign_seconds = clock_seconds() - start;
    TRY(make_set(&run, dataset, &set, err));
    fill_report(&run);
    if (report) *report = run.report;
    status = clusters_from_set(set, out, err);
cleanup:
    mem_free(run.labels);
    mem_free(run.scale);
    eigen_result_free(&run.eigen);
    job_memory_free(&run.job);
    affinity_free(&run.affinity);
    profile_matrix_free(&run.matrix);
    return status;
}

/* ---- binding ---- */

static int name_index(const char *const *names, const char *name) {
    for (int i = 0; name && names[i]; i++)
        if (strcmp(names[i], name) == 0) return i;
    return -1;
}

static reel_status bind_doubles(const reel_clusters *c, const char *name, int n_dims, const int64_t *shape,
                                const double **out, reel_error *err) {
    const struct tensor *tensor;
    TRY_RETURN(tensor_set_require(c->set, name, DTYPE_F64, n_dims, shape, &tensor, err));
    *out = tensor->data;
    for (int64_t i = 0; i < tensor->n; i++)
        if (!isfinite((*out)[i]))
            return error_set(err, REEL_CORRUPT, "%s: %s holds a value that is not finite", tensor_set_path(c->set),
                             name);
    return REEL_OK;
}

static reel_status bind_options(reel_clusters *c, reel_error *err) {
    const struct tensor_set *set = c->set;
    int affinity = name_index(clusters_affinity_names, tensor_set_get(set, "affinity"));
    int profile = name_index(clusters_profile_names, tensor_set_get(set, "profile"));
    int scaling = name_index(clusters_scaling_names, tensor_set_get(set, "scaling"));
    const char *gamma = tensor_set_get(set, "gamma"), *coef0 = tensor_set_get(set, "coef0");
    const char *degree = tensor_set_get(set, "degree"), *neighbors = tensor_set_get(set, "neighbors");
    c->affinity = (reel_affinity)affinity;
    c->profile = (reel_profile)profile;
    c->scaling = (reel_scaling)scaling;
    c->gamma = gamma ? strtod(gamma, NULL) : NAN;
    c->coef0 = coef0 ? strtod(coef0, NULL) : NAN;
    c->degree = degree ? atoi(degree) : 0;
    c->neighbors = neighbors ? atoi(neighbors) : 0;
    if (affinity < 0 || profile < 0 || scaling < 0 || !isfinite(c->gamma) || !isfinite(c->coef0) || c->degree < 1 ||
        c->degree > 8 || c->neighbors < 2 || c->neighbors > 256)
        return error_set(err, REEL_CORRUPT, "%s: the clustering's parameters are missing or out of range",
                         tensor_set_path(set));
    return REEL_OK;
}

static reel_status bind_users(reel_clusters *c, reel_error *err) {
    const struct tensor *ids, *labels, *profiles, *values;
    int64_t any = -1;
    TRY_RETURN(tensor_set_require(c->set, "user_ids", DTYPE_I32, 1, &any, &ids, err));
    TRY_RETURN(tensor_set_require(c->set, "eigenvalues", DTYPE_F64, 1, &any, &values, err));
    TRY_RETURN(tensor_set_require(c->set, "labels", DTYPE_I32, 1, &ids->n, &labels, err));
    TRY_RETURN(tensor_set_require(c->set, "profiles", DTYPE_F64, 2, (int64_t[]){ids->n, -1}, &profiles, err));
    if (ids->n > INT32_MAX || values->n < 2 || values->n > K_MAX || profiles->shape[1] < 1 ||
        profiles->shape[1] > 65536)
        return error_set(err, REEL_CORRUPT, "%s: impossible sizes", tensor_set_path(c->set));
    c->n = (int32_t)ids->n;
    c->k = (int)values->n;
    c->d = (int)profiles->shape[1];
    c->user_ids = ids->data;
    c->labels = labels->data;
    for (int32_t i = 0; i < c->n; i++)
        if (c->user_ids[i] < 0 || (i > 0 && c->user_ids[i] <= c->user_ids[i - 1]) || c->labels[i] < -1 ||
            c->labels[i] >= c->k)
            return error_set(err, REEL_CORRUPT, "%s: entry %d: user id %d, label %d", tensor_set_path(c->set), i,
                             c->user_ids[i], c->labels[i]);
    return REEL_OK;
}

reel_status clusters_from_set(struct tensor_set *set, reel_clusters **out, reel_error *err) {
    reel_status status = REEL_OK;
    reel_clusters *c = NULL;
    *out = NULL;
    status = MEM_NEW(&c, 1, err);
    if (status != REEL_OK) {
        tensor_set_free(set);
        return status;
    }
    c->set = set;
    TRY(bind_options(c, err));
    TRY(bind_users(c, err));
    const int64_t n = c->n, d = c->d, k = c->k;
    TRY(bind_doubles(c, "profiles", 2, (int64_t[]){n, d}, &c->profiles, err));
    TRY(bind_doubles(c, "row_scale", 1, &n, &c->row_scale, err));
    TRY(bind_doubles(c, "eigenvectors", 2, (int64_t[]){n, k}, &c->eigenvectors, err));
    TRY(bind_doubles(c, "eigenvalues", 1, &k, &c->eigenvalues, err));
    TRY(bind_doubles(c, "centers", 2, (int64_t[]){k, k}, &c->centers, err));
    TRY(bind_doubles(c, "column_low", 1, &d, &c->column_low, err));
    TRY(bind_doubles(c, "column_span", 1, &d, &c->column_span, err));
    *out = c;
    return REEL_OK;
cleanup:
    reel_clusters_free(c);
    return status;
}

reel_status reel_clusters_open(reel_context *ctx, const char *path, reel_clusters **out, reel_error *err) {
    struct tensor_set *set;
    *out = NULL;
    TRY_RETURN(context_check(ctx, err));
    TRY_RETURN(tensor_file_open(path, "reel-clusters", &set, err));
    return clusters_from_set(set, out, err);
}

reel_status reel_clusters_save(reel_context *ctx, const reel_clusters *clusters, const char *path, reel_error *err) {
    TRY_RETURN(context_check(ctx, err));
    return tensor_file_write(path, clusters->set, ctx->pool, err);
}

void reel_clusters_free(reel_clusters *clusters) {
    if (!clusters) return;
    tensor_set_free(clusters->set);
    mem_free(clusters);
}

/* ---- questions ---- */

int reel_clusters_count(const reel_clusters *clusters) {
    return clusters->k;
}

static int32_t row_of(const reel_clusters *c, int32_t user_id) {
    int32_t low = 0, high = c->n;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (c->user_ids[middle] < user_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->n && c->user_ids[low] == user_id ? low : -1;
}

int reel_clusters_of_user(const reel_clusters *clusters, int32_t user_id) {
    int32_t row = row_of(clusters, user_id);
    return row < 0 ? -1 : clusters->labels[row];
}

double clusters_kernel(const reel_clusters *c, const double *x, const double *y) {
    double product = 0, distance = 0, x_square = 0, y_square = 0;
    for (int f = 0; f < c->d; f++) {
        product += x[f] * y[f];
        distance += (x[f] - y[f]) * (x[f] - y[f]);
        x_square += x[f] * x[f];
        y_square += y[f] * y[f];
    }
    switch (c->affinity) {
    case REEL_AFFINITY_COSINE:
        return x_square > 0 && y_square > 0 ? product / sqrt(x_square * y_square) : 0;
    case REEL_AFFINITY_LINEAR:
        return product;
    case REEL_AFFINITY_POLYNOMIAL:
        return pow(c->gamma * product + c->coef0, c->degree);
    case REEL_AFFINITY_RBF:
        return exp(-c->gamma * distance);
    case REEL_AFFINITY_NEIGHBORS:
        break;
    }
    return -distance;
}

/* For NEIGHBORS a newcomer has affinity 1 to its nearest clustered users: turns negative distances into 0 or 1. */
static void keep_nearest(const reel_clusters *c, double *affinities) {
    for (int round = 0; round < c->neighbors && round < c->n; round++) {
        int32_t best = -1;
        for (int32_t i = 0; i < c->n; i++)
            if (affinities[i] <= 0 && (best < 0 || affinities[i] > affinities[best])) best = i;
        if (best >= 0) affinities[best] = 1;
    }
    for (int32_t i = 0; i < c->n; i++)
        if (affinities[i] < 1) affinities[i] = 0;
}

static int nearest_center(const reel_clusters *c, const double *point) {
    int best = 0;
    double least = INFINITY;
    for (int j = 0; j < c->k; j++) {
        double distance = 0;
        for (int f = 0; f < c->k; f++)
            distance += (point[f] - c->centers[j * c->k + f]) * (point[f] - c->centers[j * c->k + f]);
        if (distance < least) {
            least = distance;
            best = j;
        }
    }
    return best;
}

/* The embedding of a new x: sum_j K(x, x_j) v_j / sqrt(deg_j) / (lambda deg(x)). */
static reel_status place_profile(const reel_clusters *c, const double *x, int *cluster, reel_error *err) {
    double *affinities, point[K_MAX] = {0}, degree = 0;
    TRY_RETURN(MEM_RAW(&affinities, c->n, err));
    for (int32_t i = 0; i < c->n; i++) affinities[i] = clusters_kernel(c, x, c->profiles + (int64_t)i * c->d);
    if (c->affinity == REEL_AFFINITY_NEIGHBORS) keep_nearest(c, affinities);
    for (int32_t i = 0; i < c->n; i++) {
        degree += affinities[i];
        for (int f = 0; f < c->k; f++)
            point[f] += affinities[i] * c->row_scale[i] * c->eigenvectors[(int64_t)i * c->k + f];
    }
    for (int f = 0; f < c->k && degree > 0; f++) point[f] /= c->eigenvalues[f] * degree;
    *cluster = degree > 0 ? nearest_center(c, point) : -1;
    mem_free(affinities);
    return REEL_OK;
}

reel_status reel_clusters_place(const reel_clusters *clusters, const reel_dataset *dataset, int32_t user, int *cluster,
                                reel_error *err) {
    reel_status status = REEL_OK;
    double *x = NULL;
    *cluster = -1;
    if (user < 0 || user >= dataset->n_users)
        return error_set(err, REEL_INVALID_ARGUMENT, "there is no user with index %d", user);
    int32_t row = row_of(clusters, dataset->user_ids[user]);
    if (row >= 0) {
        *cluster = clusters->labels[row];
        return REEL_OK;
    }
    if (clusters->profile == REEL_PROFILE_FACTORS)
        return error_set(err, REEL_UNSUPPORTED, "clusters of factors place only the users they were made of");
    if (clusters->d != dataset->n_genres)
        return error_set(err, REEL_MISMATCH, "the clusters know %d genres, the dataset has %d", clusters->d,
                         dataset->n_genres);
    TRY(MEM_RAW(&x, clusters->d, err));
    profile_raw(dataset, clusters->profile, NULL, user, x);
    profile_scale(clusters->scaling, clusters->column_low, clusters->column_span, clusters->d, x);
    TRY(place_profile(clusters, x, cluster, err));
cleanup:
    mem_free(x);
    return status;
}

reel_status reel_clusters_candidates(const reel_clusters *clusters, const reel_dataset *dataset, int cluster,
                                     uint8_t *candidates, reel_error *err) {
    if (cluster < 0 || cluster >= clusters->k)
        return error_set(err, REEL_INVALID_ARGUMENT, "there is no cluster %d (0..%d)", cluster, clusters->k - 1);
    memset(candidates, 0, (size_t)dataset->n_movies);
    for (int32_t i = 0; i < clusters->n; i++) {
        if (clusters->labels[i] != cluster) continue;
        int32_t user = reel_dataset_user_index(dataset, clusters->user_ids[i]);
        if (user < 0) continue;
        for (int64_t r = dataset->ratings.user_offsets[user]; r < dataset->ratings.user_offsets[user + 1]; r++)
            candidates[dataset->ratings.user_movies[r]] = 1;
    }
    return REEL_OK;
}
