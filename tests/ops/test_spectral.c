/* The spectral operators against plain loops, and every vector path and thread count against each other. */
#include "tests/test.h"

#include "backend/backend_ops.h"
#include "backend/spectral_ops.h"
#include "core/context.h"
#include "core/mem.h"
#include "core/threads.h"
#include "kernels/common/normal.h"
#include "kernels/common/spectral_math.h"
#include "model/cluster_profiles.h"

enum { B = SPECTRAL_BLOCK };

static reel_context *open_cpu(int threads, struct backend **backend) {
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    reel_context *ctx;
    reel_error err;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    REQUIRE_OK(context_backend(ctx, backend, &err), err);
    return ctx;
}

static double *randoms(int64_t n, uint32_t sub, int positive) {
    double *out = malloc((size_t)(n + 1) * sizeof *out);
    for (int64_t i = 0; i < n; i++) {
        float z[4];
        philox_normals(3, philox_stream(PHILOX_TEST, sub), (uint64_t)i, z);
        out[i] = positive ? fabs((double)z[0]) : (double)z[0];
    }
    return out;
}

static double kernel(const reel_cluster_options *o, const double *x, const double *y, int d) {
    double product = 0, distance = 0, xx = 0, yy = 0;
    for (int f = 0; f < d; f++) {
        product += x[f] * y[f];
        distance += (x[f] - y[f]) * (x[f] - y[f]);
        xx += x[f] * x[f];
        yy += y[f] * y[f];
    }
    if (o->affinity == REEL_AFFINITY_RBF) return exp(-o->gamma * distance);
    if (o->affinity == REEL_AFFINITY_COSINE) return product / sqrt(xx * yy);
    if (o->affinity == REEL_AFFINITY_LINEAR) return product;
    return pow(o->gamma * product + o->coef0, o->degree);
}

/* out = W in by both ways of computing it (feature map and tiles) against the plain double loop. Errors: some n * d
 * sums of rounding errors of 1e-16 of the terms' size. */
static void affinity_matches_plain_loops(void) {
    const reel_affinity kinds[] = {REEL_AFFINITY_COSINE, REEL_AFFINITY_LINEAR, REEL_AFFINITY_POLYNOMIAL,
                                   REEL_AFFINITY_RBF};
    const int sizes[] = {1, 2, 31, 32, 33, 65, 300};
    for (int k = 0; k < 4; k++)
        for (int s = 0; s < 7; s++)
            for (int map = 0; map < 2; map++) {
                struct backend *backend;
                reel_context *ctx = open_cpu(2, &backend);
                reel_cluster_options o;
                reel_cluster_options_default(&o);
                o.affinity = kinds[k];
                o.gamma = 0.7;
                const int n = sizes[s], d = 5;
                double *x = randoms((int64_t)n * d, 1, 1), *in = randoms((int64_t)n * B, 2, 0),
                       *out = randoms((int64_t)n * B, 3, 0), error;
                struct affinity affinity;
                reel_error err;
                REQUIRE_OK(affinity_new(ctx, x, n, d, &o, &affinity, &error, &err), err);
                if (!map) affinity.args.n_monomials = 0;
                affinity.args.in = in;
                affinity.args.out = out;
                REQUIRE_OK(backend->ops->affinity_apply(backend, &affinity.args, &err), err);
                double worst = 0, size = 1;
                for (int i = 0; i < n; i++)
                    for (int c = 0; c < B; c++) {
                        double sum = 0;
                        for (int j = 0; j < n; j++)
                            if (i != j) sum += kernel(&o, x + i * d, x + j * d, d) * in[j * B + c];
                        worst = fmax(worst, fabs(sum - out[i * B + c]));
                        size = fmax(size, fabs(sum));
                    }
                if (!(worst < 1e-12 * size)) fprintf(stderr, "kind %d n %d map %d: %g of %g\n", k, n, map, worst, size);
                CHECK(worst < 1e-12 * size);
                affinity_free(&affinity);
                free(x), free(in), free(out);
                reel_context_free(ctx);
            }
}

static void same_bits_on_every_path(void) {
    const char *levels[] = {"generic", "avx2", "avx512"};
    const int threads[] = {1, 2, 3, 8};
    const int n = 500, d = 6;
    double *x = randoms(n * d, 1, 1), *in = randoms(n * B, 2, 0), *first = malloc(sizeof *first * (size_t)n * B * 3),
           *out = malloc(sizeof *out * (size_t)n * B * 3);
    for (int l = 0; l < 3; l++)
        for (int t = 0; t < 4; t++) {
            setenv("REEL_SIMD", levels[l], 1);
            struct backend *backend;
            reel_context *ctx = open_cpu(threads[t], &backend);
            reel_error err;
            for (int k = 0; k < 2; k++) {
                reel_cluster_options o;
                reel_cluster_options_default(&o);
                o.affinity = k ? REEL_AFFINITY_RBF : REEL_AFFINITY_POLYNOMIAL;
                struct affinity affinity;
                double error;
                REQUIRE_OK(affinity_new(ctx, x, n, d, &o, &affinity, &error, &err), err);
                affinity.args.in = in;
                affinity.args.out = out + k * n * B;
                REQUIRE_OK(backend->ops->affinity_apply(backend, &affinity.args, &err), err);
                affinity_free(&affinity);
            }
            double *rest = out + 2 * n * B;
            memset(rest, 0, sizeof *rest * (size_t)n * B);
            struct block_dot_args dot = {.n = n, .a_columns = d, .a_ld = d, .a = x, .b = in, .out = rest};
            REQUIRE_OK(backend->ops->block_dot(backend, &dot, &err), err);
            struct block_update_args update = {.n = n - d,
                                               .a_columns = d,
                                               .a_ld = d,
                                               .out_ld = B,
                                               .alpha = -0.5,
                                               .a = x,
                                               .c = dot.out,
                                               .out = rest + d * B};
            REQUIRE_OK(backend->ops->block_update(backend, &update, &err), err);
            if (l + t == 0) memcpy(first, out, sizeof *out * (size_t)n * B * 3);
            CHECK(memcmp(first, out, sizeof *out * (size_t)n * B * 3) == 0);
            reel_context_free(ctx);
            unsetenv("REEL_SIMD");
        }
    double sum = 0; /* one entry of the product, plainly */
    for (int i = 0; i < n; i++) sum += x[i * d + 2] * in[i * B + 3];
    CHECK_NEAR(first[2 * n * B + 2 * B + 3], sum, 1e-10);
    free(x), free(in), free(first), free(out);
}

static void neighbours_match_brute_force(void) {
    struct backend *backend;
    reel_context *ctx = open_cpu(3, &backend);
    const int n = 150, d = 3, k = 6;
    double *x = randoms(n * d, 5, 0);
    struct affinity affinity = {.args = {.n = n, .d = d, .x = x}};
    reel_error err;
    REQUIRE_OK(affinity_neighbors(ctx, x, n, d, k, &affinity, &err), err);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) {
            double expected = 0, found = 0;
            for (int side = 0; side < 2 && i != j; side++) {
                int from = side ? j : i, to = side ? i : j, nearer = 0;
                for (int other = 0; other < n; other++) {
                    double distance = 0, mine = 0;
                    for (int f = 0; f < d; f++) {
                        distance += pow(x[from * d + f] - x[other * d + f], 2);
                        mine += pow(x[from * d + f] - x[to * d + f], 2);
                    }
                    nearer += other != to && (distance < mine || (distance == mine && other < to));
                }
                expected += nearer < k ? 0.5 : 0;
            }
            for (int64_t e = affinity.offsets[i]; e < affinity.offsets[i + 1]; e++)
                if (affinity.columns[e] == j) found = affinity.values[e];
            CHECK_NEAR(found, expected, 0);
        }
    affinity_free(&affinity);
    free(x);
    reel_context_free(ctx);
}

/* What a device's kernels take from kernels/common against what the operators do. */
static void common_arithmetic_matches_the_operators(void) {
    struct backend *backend;
    reel_context *ctx = open_cpu(1, &backend);
    reel_error err;
    for (int i = 0; i < 400; i++) {
        const double distance = i < 200 ? 0.037 * i : 4.1 * i, gamma = 0.9;
        const double x[2] = {0, sqrt(distance)}, self[2] = {1, 1};
        double in[2 * B] = {0}, out[2 * B], square = (x[0] - x[1]) * (x[0] - x[1]);
        in[B] = 1;
        struct affinity_args args = {
            .kind = AFFINITY_RBF, .n = 2, .d = 1, .x = x, .gamma = gamma, .self = self, .in = in, .out = out};
        REQUIRE_OK(backend->ops->affinity_apply(backend, &args, &err), err);
        CHECK(out[0] == spectral_exp(-gamma * square));
        CHECK_NEAR(out[0], exp(-gamma * square), 4e-16 * exp(-gamma * square) + 1e-307);
        args.kind = AFFINITY_POLYNOMIAL;
        args.coef0 = 1;
        args.degree = 1 + i % 8;
        args.x = (const double[]){1.5, x[1]};
        REQUIRE_OK(backend->ops->affinity_apply(backend, &args, &err), err);
        CHECK(out[0] == spectral_power(gamma * (1.5 * x[1]) + 1, args.degree));
    }
    for (int64_t n = 0; n < 200; n++)
        for (int64_t part = 0; part <= SPECTRAL_PIECES; part++)
            CHECK(spectral_part_begin(n, SPECTRAL_PIECES, part) == part_begin(n, SPECTRAL_PIECES, part));
    CHECK_INT(spectral_tile_part_begin(100, SPECTRAL_TILE, SPECTRAL_PIECES, SPECTRAL_PIECES), 100);
    CHECK_INT(spectral_tile_part_begin(100, SPECTRAL_TILE, SPECTRAL_PIECES, 3), 96);
    reel_context_free(ctx);
}

int main(void) {
    RUN(common_arithmetic_matches_the_operators);
    RUN(affinity_matches_plain_loops);
    RUN(same_bits_on_every_path);
    RUN(neighbours_match_brute_force);
    TEST_EXIT();
}
