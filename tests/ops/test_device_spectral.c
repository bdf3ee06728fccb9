/* The spectral operators on the GPU against the CPU reference: equal bits (backend/spectral_ops.h says which sums are
 * chains), but for eigenvectors of large matrices. */
#include "backend/spectral_ops.h"
#include "model/cluster_profiles.h"
#include "model/eigen_block.h"
#include "model/kmeans.h"
#include "ops/device.h"

enum { B = SPECTRAL_BLOCK };

static double *normals(int64_t n, uint32_t sub) {
    double *out = make(n, sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        float z[4];
        philox_normals(seed, philox_stream(PHILOX_TEST, sub), (uint64_t)i, z);
        out[i] = (double)z[0];
    }
    return out;
}

/* ---- affinity_apply ---- */

static reel_cluster_options options_of(reel_affinity affinity, int degree) {
    reel_cluster_options options;
    reel_cluster_options_default(&options);
    options.affinity = affinity;
    options.gamma = 0.3;
    options.degree = degree;
    options.neighbors = 5;
    return options;
}

static double *apply(struct backend *backend, const struct affinity *affinity, const double *in) {
    struct job_memory job = {.backend = backend};
    struct affinity_args args;
    reel_error err;
    const int64_t size = affinity->args.n * B;
    REQUIRE_OK(affinity_place(affinity, &job, &args, &err), err);
    args.in = PUT(&job, in, size);
    REQUIRE_OK(JOB_ZEROS(&job, &args.out, size, &err), err);
    REQUIRE_OK(backend->ops->affinity_apply(backend, &args, &err), err);
    double *out = get_bytes(&job, args.out, (size_t)size * sizeof *out);
    job_memory_free(&job);
    return out;
}

/* Both ways of applying it: feature map (where there is one) and tiles. */
static void compare_apply(const reel_cluster_options *options, int64_t n, int d) {
    struct affinity affinity;
    double error, *x = normals(n * d, 1), *in = normals(n * B, 2);
    reel_error err;
    for (int64_t i = 0; i < n * d; i++) x[i] = fabs(x[i]);
    REQUIRE_OK(affinity_new(context, x, n, d, options, &affinity, &error, &err), err);
    for (int map = affinity.args.n_monomials > 0; map >= 0; map--) {
        char what[96];
        snprintf(what, sizeof what, "affinity %d degree %d n %lld d %d map %d", (int)options->affinity, options->degree,
                 (long long)n, d, map);
        if (!map) affinity.args.n_monomials = 0;
        check_same(what, apply(reference, &affinity, in), apply(device, &affinity, in), (size_t)(n * B) * sizeof *in);
    }
    affinity_free(&affinity);
    mem_free(in);
    mem_free(x);
}

static void affinity_apply_matches(void) {
    const reel_affinity kinds[] = {REEL_AFFINITY_COSINE, REEL_AFFINITY_LINEAR, REEL_AFFINITY_POLYNOMIAL,
                                   REEL_AFFINITY_RBF, REEL_AFFINITY_NEIGHBORS};
    const int64_t sizes[] = {1, 2, 31, 32, 33, 63, 64, 65, 129, 300};
    const int ds[] = {1, 5, 16, 17, 33};
    for (size_t k = 0; k < 5; k++)
        for (size_t s = 0; s < 10; s++) {
            reel_cluster_options options = options_of(kinds[k], 3);
            compare_apply(&options, sizes[s], ds[(k + s) % 5]);
        }
    struct affinity_args none = {.kind = AFFINITY_RBF, .d = 3};
    reel_error err;
    CHECK_INT(device->ops->affinity_apply(device, &none, &err), REEL_OK);
}

static void affinity_apply_matches_at_every_degree(void) {
    for (int degree = 1; degree <= 8; degree++) {
        reel_cluster_options options = options_of(REEL_AFFINITY_POLYNOMIAL, degree);
        compare_apply(&options, 400, 3);
    }
}

static void affinity_apply_matches_on_large_inputs(void) {
    reel_cluster_options options = options_of(REEL_AFFINITY_POLYNOMIAL, 3);
    compare_apply(&options, 2500, 12);
    for (int i = 0; i < 4; i++) {
        options = options_of(i % 2 ? REEL_AFFINITY_RBF : REEL_AFFINITY_POLYNOMIAL, 2);
        compare_apply(&options, 1 + draw(3, i) % 900, 1 + (int)(draw(4, i) % 40));
    }
}

/* ---- blocks ---- */

struct block_case {
    int64_t n, a_ld;
    int columns;
};
static const struct block_case block_cases[] = {{0, 8, 8},      {1, 1, 1},      {7, 9, 3},      {63, 8, 8},
                                                {64, 72, 64},   {65, 24, 17},   {1000, 80, 80}, {5000, 8, 8},
                                                {3001, 72, 65}, {900, 160, 160}};
enum { N_BLOCK_CASES = sizeof block_cases / sizeof block_cases[0] };

static double *dot(struct backend *backend, const struct block_case *c, const double *a, const double *b) {
    struct job_memory job = {.backend = backend};
    double *out = make(c->columns * B, sizeof *out);
    reel_error err;
    struct block_dot_args args = {.n = c->n,
                                  .a_columns = c->columns,
                                  .a_ld = c->a_ld,
                                  .a = PUT(&job, a, c->n * c->a_ld),
                                  .b = PUT(&job, b, c->n * B),
                                  .out = out};
    REQUIRE_OK(backend->ops->block_dot(backend, &args, &err), err);
    job_memory_free(&job);
    return out;
}

static double *update(struct backend *backend, const struct block_case *c, const double *a, const double *b,
                      double beta) {
    struct job_memory job = {.backend = backend};
    double *coefficients = normals(c->columns * B, 9);
    const int64_t out_ld = B + 3;
    double *old = normals(c->n * out_ld, 8);
    reel_error err;
    (void)b;
    struct block_update_args args = {.n = c->n,
                                     .a_columns = c->columns,
                                     .a_ld = c->a_ld,
                                     .out_ld = out_ld,
                                     .alpha = -0.7,
                                     .beta = beta,
                                     .a = PUT(&job, a, c->n * c->a_ld),
                                     .c = coefficients,
                                     .out = PUT(&job, old, c->n * out_ld)};
    REQUIRE_OK(backend->ops->block_update(backend, &args, &err), err);
    double *out = get_bytes(&job, args.out, (size_t)(c->n * out_ld) * sizeof *out);
    job_memory_free(&job);
    mem_free(coefficients);
    mem_free(old);
    return out;
}

static double *scale(struct backend *backend, const struct block_case *c, const double *in, int scaled) {
    struct job_memory job = {.backend = backend};
    const int64_t in_ld = B + 1, out_ld = B + 5;
    reel_error err;
    struct block_scale_args args = {.n = c->n,
                                    .in_ld = in_ld,
                                    .out_ld = out_ld,
                                    .scale = scaled ? PUT(&job, in, c->n) : NULL,
                                    .in = PUT(&job, in, c->n * in_ld)};
    REQUIRE_OK(JOB_ZEROS(&job, &args.out, c->n * out_ld, &err), err);
    REQUIRE_OK(backend->ops->block_scale(backend, &args, &err), err);
    double *out = get_bytes(&job, args.out, (size_t)(c->n * out_ld) * sizeof *out);
    job_memory_free(&job);
    return out;
}

static void block_operators_match(void) {
    for (size_t i = 0; i < N_BLOCK_CASES; i++) {
        const struct block_case *c = &block_cases[i];
        double *a = normals(c->n * (c->a_ld > B + 5 ? c->a_ld : B + 5), 6), *b = normals(c->n * B, 7);
        const size_t rows = (size_t)c->n * sizeof(double);
        check_same("block_dot", dot(reference, c, a, b), dot(device, c, a, b), (size_t)c->columns * B * sizeof *a);
        for (int with = 0; with < 2; with++) {
            check_same("block_update", update(reference, c, a, b, with ? 0.5 : 0),
                       update(device, c, a, b, with ? 0.5 : 0), rows * (B + 3));
            check_same("block_scale", scale(reference, c, a, with), scale(device, c, a, with), rows * (B + 5));
        }
        mem_free(a);
        mem_free(b);
    }
}

/* ---- kmeans_assign ---- */

enum { SETS = 3 };

struct assignment {
    int32_t *labels;
    double sums[SETS * 64 * 64], inertia[SETS];
    int64_t counts[SETS * 64];
};

static void assign(struct backend *backend, const double *points, const double *centers, int64_t n, int d, int k,
                   int sets, struct assignment *out) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    memset(out, 0, sizeof *out);
    struct kmeans_assign_args args = {.n = n,
                                      .d = d,
                                      .k = k,
                                      .sets = sets,
                                      .points = PUT(&job, points, n * d),
                                      .centers = centers,
                                      .sums = out->sums,
                                      .counts = out->counts,
                                      .inertia = out->inertia};
    REQUIRE_OK(JOB_ZEROS(&job, &args.labels, sets * n, &err), err);
    REQUIRE_OK(backend->ops->kmeans_assign(backend, &args, &err), err);
    out->labels = get_bytes(&job, args.labels, (size_t)(sets * n) * sizeof *out->labels);
    job_memory_free(&job);
}

/* Several sets of centers at once on the device, one after the other on the reference. */
static void compare_sets(const double *points, const double *centers, int64_t n, int d, int k, int sets) {
    static struct assignment expected, found;
    assign(device, points, centers, n, d, k, sets, &found);
    for (int s = 0; s < sets; s++) {
        assign(reference, points, centers + s * k * d, n, d, k, 1, &expected);
        CHECK_INT(memcmp(expected.labels, found.labels + s * n, (size_t)n * sizeof(int32_t)), 0);
        CHECK_INT(memcmp(expected.sums, found.sums + s * k * d, (size_t)(k * d) * sizeof(double)), 0);
        CHECK_INT(memcmp(expected.counts, found.counts + s * k, (size_t)k * sizeof(int64_t)), 0);
        CHECK_INT(memcmp(expected.inertia, &found.inertia[s], sizeof(double)), 0);
        mem_free(expected.labels);
    }
    mem_free(found.labels);
}

static void kmeans_assign_matches(void) {
    const int shapes[][3] = {{0, 2, 2},    {1, 1, 1},     {63, 4, 4},    {64, 3, 7},    {65, 8, 5},
                             {999, 4, 64}, {500, 64, 64}, {20000, 4, 4}, {3000, 13, 2}, {2000, 63, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const int64_t n = shapes[i][0];
        const int d = shapes[i][1], k = shapes[i][2];
        double *points = normals(n * d, 11), *centers = normals((int64_t)SETS * k * d, 12);
        for (int f = 0; f < d && k > 2; f++) centers[2 * d + f] = centers[f]; /* a tie goes to the lower index */
        compare_sets(points, centers, n, d, k, 1);
        compare_sets(points, centers, n, d, k, SETS);
        mem_free(points);
        mem_free(centers);
    }
}

/* ---- eigen_symmetric ---- */

/* Up to 256 the same LAPACK. Beyond, a backward stable solver: |A v - lambda v| of some n roundings of |A| = 2 sqrt(n),
 * and eigenvalues as close. Ten times that is allowed. */
static void eigen_symmetric_matches(void) {
    const int sizes[] = {1, 2, 31, 100, 256, 300};
    for (int s = 0; s < 6; s++) {
        const int n = sizes[s];
        const size_t bytes = (size_t)n * (size_t)n * sizeof(double);
        double *a = normals((int64_t)n * n, 14), *vectors[2], *values[2];
        reel_error err;
        for (int b = 0; b < 2; b++) {
            struct backend *backend = b ? device : reference;
            vectors[b] = make((int64_t)n * n, sizeof(double));
            values[b] = make(n, sizeof(double));
            memcpy(vectors[b], a, bytes);
            struct eigen_symmetric_args args = {.n = n, .a = vectors[b], .values = values[b]};
            REQUIRE_OK(backend->ops->eigen_symmetric(backend, &args, &err), err);
        }
        const double bound = 10 * 2.2e-16 * n * 2 * sqrt(n);
        for (int j = 0; j < n; j++) {
            double squares = 0;
            CHECK_NEAR(values[1][j], values[0][j], bound);
            for (int i = 0; i < n; i++) {
                double part = -values[1][j] * vectors[1][i * n + j];
                for (int l = 0; l < n; l++) part += a[i >= l ? i * n + l : l * n + i] * vectors[1][l * n + j];
                squares += part * part;
            }
            CHECK_NEAR(sqrt(squares), 0, bound);
        }
        if (n <= 256) CHECK_INT(memcmp(vectors[0], vectors[1], bytes), 0);
        for (int b = 0; b < 2; b++) {
            mem_free(vectors[b]);
            mem_free(values[b]);
        }
        mem_free(a);
    }
}

/* ---- the solver and k-means on top ---- */

static void cluster(struct backend *backend, const double *x, int64_t n, int d, const reel_cluster_options *options,
                    struct eigen_result *eigen, int32_t *labels) {
    struct job_memory job = {.backend = backend};
    struct affinity affinity;
    struct affinity_args args;
    double error, *degrees = make(n, sizeof *degrees), centers[16];
    reel_error err;
    REQUIRE_OK(affinity_new(context, x, n, d, options, &affinity, &error, &err), err);
    REQUIRE_OK(affinity_place(&affinity, &job, &args, &err), err);
    REQUIRE_OK(eigen_degrees(backend, &args, degrees, &err), err);
    for (int64_t i = 0; i < n; i++) degrees[i] = 1 / sqrt(degrees[i]);
    struct eigen_problem problem = {
        .affinity = &args, .scale = degrees, .wanted = 6, .tolerance = 1e-9, .max_products = 300, .seed = seed};
    REQUIRE_OK(eigen_solve(context, backend, &problem, eigen, &err), err);
    double *points = make(n * 4, sizeof *points);
    for (int64_t i = 0; i < n; i++)
        for (int f = 0; f < 4; f++) points[i * 4 + f] = eigen->vectors[i * 6 + f] * degrees[i];
    REQUIRE_OK(kmeans(context, backend, points, n, 4, 4, seed, labels, centers, &err), err);
    mem_free(points);
    mem_free(degrees);
    job_memory_free(&job);
    affinity_free(&affinity);
}

static void whole_clusterings_match(void) {
    const reel_affinity kinds[] = {REEL_AFFINITY_POLYNOMIAL, REEL_AFFINITY_RBF};
    enum { N = REEL_WITH_EMULATION ? 300 : 700, D = 6 };
    static int32_t labels[2][N];
    for (int k = 0; k < 2; k++) {
        double *x = normals(N * D, 16);
        for (int i = 0; i < N * D; i++) x[i] = fabs(x[i]) + 3 * (i % D == i / D % 4);
        reel_cluster_options options = options_of(kinds[k], 3);
        struct eigen_result eigen[2];
        for (int b = 0; b < 2; b++) cluster(b ? device : reference, x, N, D, &options, &eigen[b], labels[b]);
        CHECK_INT(eigen[0].products, eigen[1].products);
        CHECK_INT(memcmp(eigen[0].values, eigen[1].values, 6 * sizeof(double)), 0);
        CHECK_INT(memcmp(eigen[0].residuals, eigen[1].residuals, 6 * sizeof(double)), 0);
        CHECK_INT(memcmp(eigen[0].vectors, eigen[1].vectors, 6 * N * sizeof(double)), 0);
        CHECK_INT(memcmp(labels[0], labels[1], sizeof labels[0]), 0);
        for (int b = 0; b < 2; b++) eigen_result_free(&eigen[b]);
        mem_free(x);
    }
}

/* ---- memory ---- */

static void jobs_that_do_not_fit_are_refused(void) {
    struct job_memory job = {.backend = device};
    reel_error err;
    CHECK_INT(job_reserve(&job, "this", 1 << 20, &err), REEL_OK);
    if (!device->ops->free_memory) return;
    CHECK_INT(job_reserve(&job, "this", (size_t)1 << 50, &err), REEL_NO_MEMORY);
    CHECK(strstr(err.message, "this needs 1073741825 MiB") != NULL);
}

static const struct device_row rows[] = {
    DEVICE_ROW(affinity_apply_matches),
    DEVICE_ROW(affinity_apply_matches_at_every_degree),
    DEVICE_ROW(affinity_apply_matches_on_large_inputs),
    DEVICE_ROW(block_operators_match),
    DEVICE_ROW(kmeans_assign_matches),
    DEVICE_ROW(eigen_symmetric_matches),
    DEVICE_ROW(whole_clusterings_match),
    DEVICE_ROW(jobs_that_do_not_fit_are_refused),
};

int main(void) {
    device_begin();
    return device_end(rows, sizeof rows / sizeof rows[0]);
}
