/* factor_solve and the Gibbs sampler's operators on the GPU against the CPU reference, from the same inputs. */
#include "backend/gibbs_ops.h"
#include "ops/factor_data.h"
#include "reel_build.h"

/* Fewer and smaller cases: on an emulated device, or where REEL_TEST_SMALL is set. */
static int small(void) {
    return REEL_WITH_EMULATION || getenv("REEL_TEST_SMALL") != NULL;
}

/* The largest difference, relative to the largest element of the expected. Frees both. */
static double worst_of(float *expected, float *found, int64_t n) {
    double worst = 0, largest = 1e-6;
    for (int64_t i = 0; i < n; i++) {
        double difference = fabs((double)expected[i] - (double)found[i]);
        if (!(difference <= worst)) worst = difference; /* NaN stays */
        largest = fmax(largest, fabs((double)expected[i]));
    }
    mem_free(expected);
    mem_free(found);
    return worst / largest;
}

/* ---- factor_solve ---- */

enum solver { EXACT, GRADIENTS };

static float *solve_with(struct backend *backend, enum solver solver, const struct data *p, int noise, int fixed,
                         reel_status *status) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    struct factor_solve_args args = place_solve(&job, p, noise, fixed);
    if (solver == GRADIENTS) args.row_offsets = NULL;
    args.cg_steps = 3;
    *status = solver == GRADIENTS ? backend->ops->factor_cg(backend, &args, &err)
                                  : backend->ops->factor_solve(backend, &args, &err);
    float *out = get(&job, args.row_vectors, p->n_rows * p->stride);
    job_memory_free(&job);
    return out;
}

static float *solve(struct backend *backend, const struct data *p, int noise, int fixed, reel_status *status) {
    return solve_with(backend, EXACT, p, noise, fixed, status);
}

/* The CPU adds a matrix up by fused multiply-adds, whose rounding errors have random signs: some sqrt(n) 2^-24 = 1e-6
 * of it for 300 ratings. On tensor cores (kernels/cuda/mma.h) products are 2^-21 = 5e-7 off, and each of the six steps
 * of sixteen products cuts up to 2^-22 off a sum that is half of the last one on average: 7e-7; the n / 16 additions
 * of such sums round like the CPU's. Some d roundings of 6e-8 on either side in what follows, with signs at random:
 * 1e-6. Times a condition number below 25 here. */
static void compare_solve(int k, int biases, int32_t n_rows, int32_t n_columns, const int64_t *lengths, int n_lengths) {
    struct data p = data_new(k, biases, n_rows, n_columns, lengths, n_lengths);
    for (int mode = 0; mode < 4; mode += small() ? 3 : 1) {
        reel_status status;
        char what[64];
        snprintf(what, sizeof what, "k=%d biases=%d noise=%d fixed=%d", k, biases, mode & 1, mode >> 1);
        p.unweighted = mode < 2;
        float *expected = solve(reference, &p, mode & 1, mode >> 1, &status);
        CHECK_INT(status, REEL_OK);
        float *found = solve(device, &p, mode & 1, mode >> 1, &status);
        CHECK_INT(status, REEL_OK);
        check_close(what, worst_of(expected, found, (int64_t)p.n_rows * p.stride), 2e-4);
    }
    data_free(&p);
}

/* Every number of tiles up to six, both sides of each change in the number of warps, and the most factors. */
static void factor_solve_matches(void) {
    const int ks[] = {1, 7, 8, 15, 16, 30, 31, 32, 40, 62, 63, 64, 100, 126, 127, 128, 129, 198, 200, 255, 256};
    const int64_t lengths[] = {0, 1, 2, 8, 31, 33, 64, 65, 129, 300};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++)
        for (int biases = 0; biases < 2; biases++)
            if (!small() || biases == (int)i % 2)
                compare_solve(ks[i], biases, small() ? 4 : 20, 400, lengths + (small() ? 5 : 0), small() ? 4 : 10);
}

static void factor_solve_matches_on_random_shapes(void) {
    for (int i = 0; i < (small() ? 3 : 8); i++) {
        int64_t lengths[5];
        for (int l = 0; l < 5; l++) lengths[l] = draw(50, i * 8 + l) % (small() ? 40 : 500);
        compare_solve(1 + (int)(draw(51, i) % FACTOR_K_MAX), (int)(draw(52, i) % 2),
                      1 + (int32_t)(draw(53, i) % (small() ? 4 : 60)), 1 + (int32_t)(draw(54, i) % 600), lengths, 5);
    }
}

/* What a device may solve in as many unknowns as ratings: the prior is a ridge, or it has a root, and then there may be
 * noise, fixed parts and weights. */
enum short_rows { RIDGE, ROOT, NOISE, NOISE_AND_FIXED, SHORT_ROWS };

static void compare_short_rows(int k, int biases, enum short_rows what, int32_t n_rows, const int64_t *lengths, int n) {
    static const char *const names[] = {"ridge", "root", "noise", "noise and fixed parts"};
    struct data p = data_new(k, biases, n_rows, 150, lengths, n);
    char text[64];
    snprintf(text, sizeof text, "short rows, k=%d biases=%d, %s", k, biases, names[what]);
    p.rooted = what != RIDGE;
    p.unweighted = what == NOISE;
    for (int i = 0; what == RIDGE && i <= k; i++) {
        p.shift[i] = 0;
        for (int j = 0; j <= k; j++) p.prior[i * p.stride + j] = i == j ? 2 : 0;
    }
    reel_status status;
    float *expected = solve(reference, &p, what >= NOISE, what == NOISE_AND_FIXED, &status);
    CHECK_INT(status, REEL_OK);
    float *found = solve(device, &p, what >= NOISE, what == NOISE_AND_FIXED, &status);
    CHECK_INT(status, REEL_OK);
    check_close(text, worst_of(expected, found, (int64_t)p.n_rows * p.stride), 2e-4);
    data_free(&p);
}

/* Both sides of the longest short row and of each change in the number of warps, and rows without ratings. */
static void factor_solve_matches_on_short_rows(void) {
    const int ks[] = {1, 2, 6, 20, 21, 41, 64, 86, 127, 128, 171, 256};
    const int64_t lengths[] = {0, 1, 14, 15, 16, 31, 32, 62, 63, 64, 95, 96, 97, 127, 128, 129};
    enum { N_LENGTHS = sizeof lengths / sizeof lengths[0] };
    for (int i = 0; i < (int)(sizeof ks / sizeof ks[0]); i++)
        for (int what = 0; what < SHORT_ROWS; what++) {
            if (small() && (i + what) % 4 != 0) continue;
            const int d = ks[i] + (i + what / 2) % 2, most = factor_short_row(d);
            int64_t some[N_LENGTHS + 2] = {most, most + 1};
            int n = 2;
            for (int l = 0; l < N_LENGTHS; l++)
                if (lengths[l] < most) some[n++] = lengths[l];
            compare_short_rows(ks[i], d - ks[i], (enum short_rows)what, small() ? n : 3 * n, some, n);
        }
}

static void factor_solve_matches_on_long_rows(void) {
    const int64_t lengths[] = {FACTOR_CHUNK - 1, 5, FACTOR_CHUNK + 1, FACTOR_CHUNK, 3 * FACTOR_CHUNK + 7,
                               2 * FACTOR_CHUNK};
    compare_solve(small() ? 5 : 9, 1, small() ? 3 : 6, 4 * FACTOR_CHUNK, lengths, 6);
    if (small()) return;
    compare_solve(128, 1, 6, 4 * FACTOR_CHUNK, lengths, 6);
    compare_solve(256, 1, 6, 4 * FACTOR_CHUNK, lengths, 6);
}

/* With so strong a prior x = b / 1000 and b is a sum of one or two products, whose errors nothing averages: 2^-21 from
 * the tensor cores, some ten roundings of 2^-24 besides. Without the low parts of their factors it would be 2^-12. */
static void factor_solve_multiplies_in_single_precision(void) {
    const int64_t lengths[] = {1, 2};
    reel_status status;
    struct data p = data_new(40, 1, 6, 30, lengths, 2);
    for (int i = 0; i <= p.k; i++) {
        p.shift[i] = 0;
        for (int j = 0; j <= p.k; j++) p.prior[i * p.stride + j] = i == j ? 1000 : 0;
    }
    float *expected = solve(reference, &p, 0, 0, &status), *found = solve(device, &p, 0, 0, &status);
    check_close("products", worst_of(expected, found, (int64_t)p.n_rows * p.stride), 1.2e-6);
    data_free(&p);
}

static void factor_solve_repeats_its_bits(void) {
    const int64_t lengths[] = {40, 100, 0, FACTOR_CHUNK + 40, 2 * FACTOR_CHUNK};
    struct data p = data_new(20, 1, small() ? 3 : 25, 3 * FACTOR_CHUNK, lengths, 5);
    reel_status status;
    float *first = solve(device, &p, 1, 1, &status), *second = solve(device, &p, 1, 1, &status);
    CHECK(memcmp(first, second, (size_t)p.n_rows * (size_t)p.stride * sizeof *first) == 0);
    mem_free(first);
    mem_free(second);
    data_free(&p);
}

static void factor_solve_reports_errors(void) {
    CHECK_INT(device->ops->factor_k_max, FACTOR_K_MAX); /* what trainers ask before they choose the device */
    const int ks[] = {4, 200};
    for (int i = 0; i < 2; i++) {
        struct data p = data_new(ks[i], 1, small() ? 3 : N_SHORT, 100, short_lengths, N_SHORT);
        reel_status status;
        p.root[0] = 0; /* no root: short rows meet infinities */
        mem_free(solve(device, &p, 1, 0, &status));
        CHECK_INT(status, REEL_NUMERIC);
        mem_free(p.root);
        p.root = NULL;
        mem_free(solve(device, &p, 1, 0, &status));
        CHECK_INT(status, REEL_INTERNAL);
        memset(p.prior, 0, (size_t)(p.k + 1) * (size_t)p.stride * sizeof(float));
        for (int solver = EXACT; solver <= GRADIENTS; solver++) {
            mem_free(solve_with(device, (enum solver)solver, &p, 0, 0, &status));
            CHECK_INT(status, REEL_NUMERIC);
        }
        for (int f = 0; f <= p.k; f++) p.prior[f * p.stride + f] = -1e6f;
        mem_free(solve_with(device, GRADIENTS, &p, 0, 0, &status));
        CHECK_INT(status, REEL_NUMERIC);
        p.n_rows = 0;
        for (int solver = EXACT; solver <= GRADIENTS; solver++) {
            mem_free(solve_with(device, (enum solver)solver, &p, 0, 0, &status));
            CHECK_INT(status, REEL_OK);
        }
        data_free(&p);
    }
}

/* ---- factor_cg ---- */

/* Sums over n ratings of products over k factors in another order: sqrt(n) + sqrt(k) roundings of 6e-8 of what they
 * add, at most 2e-6 here. A step moves an error in the residual on to the solution no further than the exact inverse
 * would, which is at most the condition number, below 25; three steps and the first residual: four times that. */
static void compare_cg(int k, int biases, int diagonal, int32_t n_rows, int32_t n_columns, const int64_t *lengths,
                       int n_lengths) {
    struct data p = data_new(k, biases, n_rows, n_columns, lengths, n_lengths);
    for (int i = 0; diagonal && i <= k; i++)
        for (int j = 0; j <= k; j++)
            if (i != j) p.prior[i * p.stride + j] = 0;
    for (int residuals = 0; residuals < 2; residuals++) {
        reel_status status;
        char what[64];
        snprintf(what, sizeof what, "k=%d biases=%d diagonal=%d residuals=%d", k, biases, diagonal, residuals);
        float *expected = solve_with(reference, GRADIENTS, &p, 0, residuals, &status);
        CHECK_INT(status, REEL_OK);
        float *found = solve_with(device, GRADIENTS, &p, 0, residuals, &status);
        CHECK_INT(status, REEL_OK);
        for (int32_t r = 0; r < p.n_rows; r++) /* what is not solved for stays */
            CHECK(biases || found[(int64_t)r * p.stride + k] == expected[(int64_t)r * p.stride + k]);
        check_close(what, worst_of(expected, found, (int64_t)p.n_rows * p.stride), 2e-4);
    }
    data_free(&p);
}

static void factor_cg_matches(void) {
    const int ks[] = {1, 7, 31, 32, 33, 64, 95, 96, 100, 128, 159, 160, 200, 255, 256};
    const int64_t lengths[] = {0, 3, 4, 5, 33, 300}, long_lengths[] = {511, 512, 513, 700, 5000};
    for (size_t i = 0; i < sizeof ks / sizeof ks[0]; i++) {
        compare_cg(ks[i], (int)i % 2, (int)i / 2 % 2, small() ? 5 : 24, 400, lengths, 6);
        if (!small()) compare_cg(ks[i], (int)(i + 1) % 2, (int)i / 2 % 2, 10, 6000, long_lengths, 5);
    }
    compare_cg(20, 1, 0, 2, 6000, long_lengths + 1, 2);
}

static void factor_cg_repeats_its_bits(void) {
    const int64_t lengths[] = {40, 1000, 0, 600};
    struct data p = data_new(20, 1, small() ? 4 : 40, 2000, lengths, 4);
    reel_status status;
    float *first = solve_with(device, GRADIENTS, &p, 0, 0, &status);
    float *second = solve_with(device, GRADIENTS, &p, 0, 0, &status);
    CHECK(memcmp(first, second, (size_t)p.n_rows * (size_t)p.stride * sizeof *first) == 0);
    mem_free(first);
    mem_free(second);
    data_free(&p);
}

/* ---- residuals, pair_scores ---- */

static float *residuals(struct backend *backend, const struct data *p, int fixed, double *sum) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    struct residuals_args args = place_residuals(&job, p, fixed, sum);
    REQUIRE_OK(backend->ops->residuals(backend, &args, &err), err);
    float *out = get(&job, args.out, p->n);
    double again;
    args.out = NULL;
    args.sum_squares = &again;
    REQUIRE_OK(backend->ops->residuals(backend, &args, &err), err);
    CHECK(again == *sum);
    job_memory_free(&job);
    return out;
}

/* Residuals see the same operations in the same order: equal bits. The double sum is another order of n terms. */
static void residuals_match(void) {
    const int ks[] = {1, 16, 50, 128, 256};
    for (int i = 0; i < 5; i++) {
        struct data p = data_new(ks[i], 1, i == 0 ? 1 : 5000, i == 0 ? 3 : 400, short_lengths, N_SHORT);
        double expected_sum, found_sum;
        float *expected = residuals(reference, &p, i % 2, &expected_sum);
        float *found = residuals(device, &p, i % 2, &found_sum);
        CHECK_INT(memcmp(expected, found, (size_t)p.n * sizeof *expected), 0);
        CHECK_NEAR(found_sum, expected_sum, 1e-12 * expected_sum);
        mem_free(expected);
        mem_free(found);
        data_free(&p);
    }
}

static float *pair_scores(struct backend *backend, const struct data *p, const int32_t *rows, const int32_t *columns,
                          int64_t n) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    struct pair_scores_args args = {.k = p->k,
                                    .stride = p->stride,
                                    .n = n,
                                    .rows = PUT(&job, rows, n),
                                    .columns = PUT(&job, columns, n),
                                    .row_vectors = PUT(&job, p->row_vectors, p->n_rows * p->stride),
                                    .column_vectors = PUT(&job, p->column_vectors, p->n_columns * p->stride)};
    REQUIRE_OK(job_zeros(&job, (void **)&args.out, (size_t)n * sizeof(float), &err), err);
    REQUIRE_OK(backend->ops->pair_scores(backend, &args, &err), err);
    float *out = get(&job, args.out, n);
    job_memory_free(&job);
    return out;
}

/* The CPU takes the product of the biases off again: a few roundings more. */
static void pair_scores_match(void) {
    enum { N = 5001 };
    int32_t rows[N], columns[N];
    struct data p = data_new(37, 1, 60, 90, short_lengths, N_SHORT);
    for (int i = 0; i < N; i++) {
        rows[i] = (int32_t)(draw(60, i) % 61) - 1;
        columns[i] = (int32_t)(draw(61, i) % 91) - 1;
    }
    const int64_t sizes[] = {0, 1, 15, 16, 17, N};
    for (int i = 0; i < 6; i++)
        check_close("pair_scores",
                    worst_of(pair_scores(reference, &p, rows, columns, sizes[i]),
                             pair_scores(device, &p, rows, columns, sizes[i]), sizes[i]),
                    1e-6);
    data_free(&p);
}

/* ---- set_sweep ---- */

static void set_sweep(struct backend *backend, const struct data *p, float **out) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    float mean[FACTOR_K_MAX + 1], precision[FACTOR_K_MAX + 1];
    for (int f = 0; f <= p->k; f++) {
        mean[f] = 0.01f * (float)(f % 7);
        precision[f] = 2 + 0.1f * (float)(f % 5);
    }
    struct set_sweep_args args = place_sets(&job, p, mean, precision);
    REQUIRE_OK(backend->ops->set_sweep(backend, &args, &err), err);
    out[0] = get(&job, args.features, p->n_columns * p->stride);
    out[1] = get(&job, args.row_sums, p->n_rows * p->stride);
    out[2] = get(&job, args.residual, p->n);
    job_memory_free(&job);
}

static void check_set_sweep(struct data *p, double bound) {
    float *expected[3], *found[3];
    set_sweep(reference, p, expected);
    set_sweep(device, p, found);
    check_close("features", worst_of(expected[0], found[0], (int64_t)p->n_columns * p->stride), bound);
    check_close("row sums", worst_of(expected[1], found[1], (int64_t)p->n_rows * p->stride), bound);
    check_close("residuals", worst_of(expected[2], found[2], p->n), bound);
    data_free(p);
}

/* Sums over up to 3,000 rows in another order (2e-6 of their size), handed on from draw to draw: each draw moves what
 * it was wrong by into the residuals, so that errors do not grow; some ten times that much. */
static void set_sweep_matches(void) {
    const int ks[] = {1, 8, 33};
    for (int i = 0; i < 3; i++) {
        const int32_t n_rows = i == 0 ? 7 : small() ? 300 : 3000;
        struct data p = data_new(ks[i], i % 2, n_rows, i == 0 ? 5 : small() ? 140 : 310, short_lengths, N_SHORT);
        check_set_sweep(&p, 1e-4);
    }
}

/* Columns and rows whose sums are cut into several pieces, and batches of which one block has many ratings; then more
 * batches than have their matrices in memory at a time (COLUMN_CHUNK and GROUP of kernels/cuda/set_params.h). */
static void set_sweep_matches_on_long_lists(void) {
    const int64_t longer[] = {40, 140, 700}, few[] = {900, 1, 0, 17};
    struct data p = data_new(9, 1, small() ? 300 : 5000, 130, longer, 3);
    check_set_sweep(&p, 1e-4);
    p = data_new(2, 0, 40, 600, longer, 3);
    check_set_sweep(&p, 1e-4);
    p = data_new(1, 1, 90, (small() ? 16 : 256) * 64 + 70, few, 4);
    check_set_sweep(&p, 1e-4);
}

static void set_sweep_of_nothing(void) {
    const int64_t none[] = {0};
    struct data p = data_new(3, 1, 4, 70, none, 1);
    check_set_sweep(&p, 1e-6);
}

static void set_sweep_repeats_its_bits(void) {
    struct data p = data_new(16, 1, small() ? 200 : 700, 100, short_lengths, N_SHORT);
    float *expected[3], *found[3];
    set_sweep(device, &p, expected);
    set_sweep(device, &p, found);
    check_same("features", expected[0], found[0], sizeof(float) * (size_t)p.n_columns * (size_t)p.stride);
    check_same("row sums", expected[1], found[1], sizeof(float) * (size_t)p.n_rows * (size_t)p.stride);
    check_same("residuals", expected[2], found[2], sizeof(float) * (size_t)p.n);
    data_free(&p);
}

/* ---- grouped effects, gather ---- */

/* Groups are the rows of the data, positions a shuffle of the ratings. */
static void groups(struct backend *backend, const struct data *p, const int32_t *positions, float **out) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    struct group_sweep_args sweep = {.n_groups = p->n_rows,
                                     .offsets = PUT(&job, p->offsets, p->n_rows + 1),
                                     .positions = PUT(&job, positions, p->n),
                                     .effects = PUT(&job, p->row_vectors, p->n_rows),
                                     .residual = PUT(&job, p->residual, p->n),
                                     .alpha = 1.5f,
                                     .prior_precision = 4,
                                     .seed = seed,
                                     .stream = philox_stream(PHILOX_GIBBS, 5)};
    REQUIRE_OK(backend->ops->group_sweep(backend, &sweep, &err), err);
    struct group_add_args add = {.n_groups = p->n_rows,
                                 .offsets = sweep.offsets,
                                 .positions = sweep.positions,
                                 .effects = sweep.effects,
                                 .out = PUT(&job, p->residual, p->n)};
    REQUIRE_OK(backend->ops->group_add(backend, &add, &err), err);
    struct gather_args gather = {
        .n = p->n, .index = sweep.positions, .in = add.out, .out = PUT(&job, p->residual, p->n)};
    REQUIRE_OK(backend->ops->gather(backend, &gather, &err), err);
    out[0] = get(&job, sweep.effects, p->n_rows);
    out[1] = get(&job, sweep.residual, p->n);
    out[2] = get(&job, add.out, p->n);
    out[3] = get(&job, gather.out, p->n);
    job_memory_free(&job);
}

/* The same operations in the same order, the noise included: equal bits. */
static void group_effects_match(void) {
    const int32_t sizes[] = {0, 1, 255, 256, 257, 4000};
    for (int s = 0; s < 6; s++) {
        struct data p = data_new(4, 1, sizes[s], 350, short_lengths, N_SHORT);
        int32_t *positions = make(p.n, sizeof *positions);
        float *expected[4], *found[4];
        for (int64_t i = 0; i < p.n; i++) positions[i] = (int32_t)i;
        for (int64_t i = p.n - 1; i > 0; i--) {
            int64_t j = draw(70, i) % (i + 1);
            int32_t swap = positions[i];
            positions[i] = positions[j];
            positions[j] = swap;
        }
        groups(reference, &p, positions, expected);
        groups(device, &p, positions, found);
        for (int i = 0; i < 4; i++) check_close("groups", worst_of(expected[i], found[i], i ? p.n : p.n_rows), 0);
        mem_free(positions);
        data_free(&p);
    }
}

/* ---- moments, add_vectors ---- */

/* The scatter is made of the same parts in the same order: equal bits. The sum of n doubles has another order. */
static void moments_match(void) {
    const int ds[] = {1, 8, 33, 101, 129, 257}, sizes[] = {0, 1, 255, 256, 257, 5000};
    for (int i = 0; i < 6; i++)
        for (int s = 0; s < 6; s++) {
            const int d = ds[i], stride = factor_stride(d), n = sizes[s];
            float *vectors = make((int64_t)n * stride, sizeof *vectors);
            double *sums = make(4 * (d + 1) * d, sizeof *sums), *expected = sums, *found = sums + 2 * (d + 1) * d;
            reel_error err;
            fill_vectors(vectors, n, stride, d, 80);
            for (int b = 0; b < 2; b++) {
                struct job_memory job = {.backend = b ? device : reference};
                double *out = b ? found : expected;
                struct moments_args args = {.d = d,
                                            .stride = stride,
                                            .n = n,
                                            .vectors = PUT(&job, vectors, (int64_t)n * stride),
                                            .sum = out,
                                            .scatter = out + d};
                REQUIRE_OK(job.backend->ops->moments(job.backend, &args, &err), err);
                job_memory_free(&job);
            }
            for (int f = 0; f < d; f++) CHECK_NEAR(found[f], expected[f], 1e-10);
            CHECK_INT(memcmp(expected + d, found + d, sizeof *sums * (size_t)(d * d)), 0);
            mem_free(sums);
            mem_free(vectors);
        }
}

static void add_vectors_matches(void) {
    const int64_t sizes[] = {0, 1, 255, 100001};
    for (int s = 0; s < 4; s++)
        for (int both = 0; both < 2; both++) {
            int64_t n = sizes[s];
            float *a = make(n, sizeof *a), *b = make(n, sizeof *b), *out[2];
            fill_normals(a, n, 90, 1);
            fill_normals(b, n, 91, 1);
            for (int i = 0; i < 2; i++) {
                struct job_memory job = {.backend = i ? device : reference};
                struct add_vectors_args args = {
                    .n = n, .a = PUT(&job, a, n), .b = both ? PUT(&job, b, n) : NULL, .out = PUT(&job, b, n)};
                reel_error err;
                REQUIRE_OK(job.backend->ops->add_vectors(job.backend, &args, &err), err);
                out[i] = get(&job, args.out, n);
                job_memory_free(&job);
            }
            CHECK_INT(memcmp(out[0], out[1], (size_t)n * sizeof *a), 0);
            mem_free(out[0]);
            mem_free(out[1]);
            mem_free(a);
            mem_free(b);
        }
}

/* ---- work without a kernel ---- */

static void ignore_log(void *user_data, reel_log_level level, const char *message) {
    (void)level;
    (*(int *)user_data)++;
    CHECK(strlen(message) > 0);
}

static void work_without_a_kernel_falls_back_under_auto_alone(void) {
    const char *const names[] = {"auto", "cpu"};
    for (int i = 0; i < 2; i++) {
        reel_context_options options;
        reel_context *ctx;
        reel_error err;
        struct backend *backend;
        int notices = 0;
        reel_context_options_default(&options);
        options.device = names[i];
        options.log = ignore_log;
        options.user_data = &notices;
        REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
        REQUIRE_OK(context_backend(ctx, &backend, &err), err);
        int before = notices;
        CHECK_INT(context_fall_back(ctx, "this", &backend, &err), i ? REEL_UNSUPPORTED : REEL_OK);
        CHECK_STR(backend->ops->name, "cpu");
        CHECK_STR(reel_context_backend(ctx), "cpu");
        CHECK_INT(notices - before, 1 - i);
        reel_context_free(ctx);
    }
}

/* ---- the rows ---- */

static const struct device_row rows[] = {
    DEVICE_ROW(factor_solve_matches),
    DEVICE_ROW(factor_solve_matches_on_random_shapes),
    DEVICE_ROW(factor_solve_matches_on_short_rows),
    DEVICE_ROW(factor_solve_matches_on_long_rows),
    DEVICE_ROW(factor_solve_multiplies_in_single_precision),
    DEVICE_ROW(factor_solve_repeats_its_bits),
    DEVICE_ROW(factor_solve_reports_errors),
    DEVICE_ROW(factor_cg_matches),
    DEVICE_ROW(factor_cg_repeats_its_bits),
    DEVICE_ROW(residuals_match),
    DEVICE_ROW(pair_scores_match),
    DEVICE_ROW(set_sweep_matches),
    DEVICE_ROW(set_sweep_matches_on_long_lists),
    DEVICE_ROW(set_sweep_of_nothing),
    DEVICE_ROW(set_sweep_repeats_its_bits),
    DEVICE_ROW(group_effects_match),
    DEVICE_ROW(moments_match),
    DEVICE_ROW(add_vectors_matches),
};

int main(void) {
    device_begin();
    RUN(work_without_a_kernel_falls_back_under_auto_alone);
    return device_end(rows, sizeof rows / sizeof rows[0]);
}
