/* Several GPUs as one backend: operators, lists, als and bmf have the bits of one, and each device works on arrays of
 * its own. Each row runs on two and on three devices, exchanging by NCCL and by copies; it is skipped by name where
 * they are not there. */
#include "backend/gibbs_ops.h"
#include "model/planted.h"
#include "ops/factor_data.h"

static struct backend *one, *all; /* cuda:0, and the several */
static const char *all_name;      /* "cuda:0+1" */

/* ---- mirrored memory ---- */

/* Reads n floats at `at` on every device: pair_scores with nothing but row biases shares the pairs out in even parts,
 * and each part asks for all of them. Returns (all->several, n). */
static float *read_everywhere(const float *at, int32_t n) {
    struct job_memory job = {.backend = all};
    reel_error err;
    const int64_t pairs = (int64_t)all->several * n;
    int32_t *rows = make(pairs, sizeof *rows), *columns = make(pairs, sizeof *columns);
    for (int64_t i = 0; i < pairs; i++) {
        rows[i] = (int32_t)(i % n);
        columns[i] = -1;
    }
    struct pair_scores_args args = {.k = 0,
                                    .stride = 1,
                                    .n = pairs,
                                    .rows = PUT(&job, rows, pairs),
                                    .columns = PUT(&job, columns, pairs),
                                    .row_vectors = at,
                                    .column_vectors = at};
    REQUIRE_OK(job_zeros(&job, (void **)&args.out, (size_t)pairs * sizeof(float), &err), err);
    REQUIRE_OK(all->ops->pair_scores(all, &args, &err), err);
    float *found = get(&job, args.out, pairs);
    job_memory_free(&job);
    mem_free(columns);
    mem_free(rows);
    return found;
}

/* Each device holds `expected` (n,), which it frees, at `at`. */
static void check_everywhere(const char *what, float *expected, const float *at, int32_t n) {
    float *found = read_everywhere(at, n);
    for (int d = 0; d < all->several; d++)
        if (memcmp(expected, found + (int64_t)d * n, (size_t)n * sizeof *found) != 0) {
            fprintf(stderr, "%s: other bits on device %d of %s\n", what, d, all_name);
            test_failures++;
        }
    mem_free(found);
    mem_free(expected);
}

/* Arrays of several sizes, written in whole and inside, released in another order. */
static void memory_is_mirrored(void) {
    const int32_t sizes[] = {1, 100, 16384, 16385, 100003};
    float *arrays[5], *host = make(100003, sizeof *host), *expected[5];
    reel_error err;
    fill_normals(host, 100003, 1, 1);
    for (int i = 0; i < 5; i++) {
        const size_t n = (size_t)sizes[i], half = n / 2;
        REQUIRE_OK(all->ops->alloc(all, (void **)&arrays[i], n * sizeof(float), &err), err);
        REQUIRE_OK(all->ops->zero(all, arrays[i], n * sizeof(float), &err), err);
        REQUIRE_OK(all->ops->upload(all, arrays[i] + half, host, (n - half) * sizeof(float), &err), err);
        REQUIRE_OK(all->ops->zero(all, arrays[i] + n - 1, sizeof(float), &err), err);
        expected[i] = make((int64_t)n, sizeof(float));
        memcpy(expected[i] + half, host, (n - half - 1) * sizeof(float));
        REQUIRE_OK(all->ops->download(all, host, arrays[i] + half, (n - half) * sizeof(float), &err), err);
        CHECK(memcmp(host, expected[i] + half, (n - half) * sizeof(float)) == 0);
    }
    const int order[] = {3, 0, 4, 2, 1};
    for (int i = 0; i < 5; i++) {
        check_everywhere("memory", expected[order[i]], arrays[order[i]], sizes[order[i]]);
        all->ops->release(all, arrays[order[i]]);
    }
    all->ops->release(all, NULL);
    REQUIRE_OK(all->ops->sync(all, &err), err);
    mem_free(host);
}

static void odd_pointers_and_sizes(void) {
    float *array, word = 0;
    size_t free_all, free_one;
    reel_error err;
    REQUIRE_OK(all->ops->alloc(all, (void **)&array, 64, &err), err);
    CHECK_INT(all->ops->upload(all, array + 16, &word, 0, &err), REEL_OK);
    CHECK_INT(all->ops->upload(all, &word, array, sizeof word, &err), REEL_INTERNAL);
    struct add_vectors_args args = {.n = 1, .a = &word, .out = array};
    CHECK_INT(all->ops->add_vectors(all, &args, &err), REEL_INTERNAL);
    all->ops->release(all, array);
    void *none;
    CHECK_INT(all->ops->alloc(all, &none, (size_t)1 << 50, &err), REEL_NO_MEMORY);
    CHECK(none == NULL);
    REQUIRE_OK(all->ops->free_memory(all, &free_all, &err), err);
    REQUIRE_OK(one->ops->free_memory(one, &free_one, &err), err);
    CHECK(free_all > 0 && free_all <= free_one + ((size_t)1 << 30));
}

/* ---- operators in parts ---- */

static float *solve(struct backend *backend, const struct data *p, int noise, int fixed) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    struct factor_solve_args args = place_solve(&job, p, noise, fixed);
    REQUIRE_OK(backend->ops->factor_solve(backend, &args, &err), err);
    float *out = get(&job, args.row_vectors, p->n_rows * p->stride);
    if (backend == all && p->n_rows > 0) {
        float *copy = get(&job, args.row_vectors, p->n_rows * p->stride);
        check_everywhere("row vectors", copy, args.row_vectors, p->n_rows * p->stride);
    }
    job_memory_free(&job);
    return out;
}

static void factor_solve_has_the_bits_of_one(void) {
    const int32_t rows[] = {0, 1, 2, 9};
    for (int r = 0; r < 4; r++)
        for (int mode = 0; mode < 4; mode++) {
            /* emulated, a long row takes a second and more: there it comes in two modes of four */
            const int64_t length = REEL_WITH_EMULATION && mode % 3 ? 70 : FACTOR_CHUNK + 40;
            const int64_t lengths[] = {40, length, 0, 9, 100, 1, 33};
            struct data p =
                data_new(mode == 3 && rows[r] == 2 ? 75 : 9, mode & 1, rows[r], 2 * FACTOR_CHUNK, lengths, 7);
            char what[64];
            snprintf(what, sizeof what, "factor_solve, %d rows, mode %d", rows[r], mode);
            check_same(what, solve(one, &p, mode & 1, mode >> 1), solve(all, &p, mode & 1, mode >> 1),
                       (size_t)p.n_rows * (size_t)p.stride * sizeof(float));
            data_free(&p);
        }
}

/* With zeros in the place of the first device's column vectors: only its rows may notice. */
static void parts_read_their_own_device(void) {
    struct data p = data_new(8, 1, 3 * N_SHORT, 400, short_lengths, N_SHORT);
    const int64_t n = (int64_t)p.n_rows * p.stride;
    struct job_memory job = {.backend = all};
    reel_error err;
    float *expected = solve(one, &p, 0, 0);
    struct factor_solve_args args = place_solve(&job, &p, 0, 0);
    REQUIRE_OK(all->first->ops->zero(all->first, (void *)(uintptr_t)args.column_vectors,
                                     (size_t)p.n_columns * (size_t)p.stride * sizeof(float), &err),
               err);
    REQUIRE_OK(all->ops->factor_solve(all, &args, &err), err);
    float *found = get(&job, args.row_vectors, n);
    int64_t first = 0; /* the last element that differs */
    for (int64_t i = 0; i < n; i++)
        if (expected[i] != found[i]) first = i;
    CHECK(first > 0 && first < n * 3 / 4 / (all->several - 1));
    mem_free(found);
    mem_free(expected);
    job_memory_free(&job);
    data_free(&p);
}

static void failures_name_the_row(void) {
    struct data p = data_new(4, 1, 3 * N_SHORT, 100, short_lengths, N_SHORT);
    struct job_memory job = {.backend = all};
    reel_error err, expected;
    memset(p.prior, 0, (size_t)(p.k + 1) * (size_t)p.stride * sizeof(float));
    for (int32_t r = 0; r <= p.n_rows; r++) p.offsets[r] = r < 20 ? (int64_t)r * 30 : 600; /* rows 20.. are empty */
    struct factor_solve_args args = place_solve(&job, &p, 0, 0);
    CHECK_INT(all->ops->factor_solve(all, &args, &err), REEL_NUMERIC);
    job_memory_free(&job);
    job.backend = one;
    args = place_solve(&job, &p, 0, 0);
    CHECK_INT(one->ops->factor_solve(one, &args, &expected), REEL_NUMERIC);
    CHECK_STR(err.message, expected.message);
    job_memory_free(&job);
    data_free(&p);
}

static float *residuals(struct backend *backend, const struct data *p, int keep, double *sum) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    struct residuals_args args = place_residuals(&job, p, keep, sum);
    float *kept = args.out;
    if (!keep) args.out = NULL;
    REQUIRE_OK(backend->ops->residuals(backend, &args, &err), err);
    float *out = get(&job, kept, p->n);
    if (backend == all && p->n > 0) check_everywhere("residuals", get(&job, kept, p->n), kept, (int32_t)p->n);
    job_memory_free(&job);
    return out;
}

static void residuals_have_the_bits_of_one(void) {
    const int32_t rows[] = {0, 1, 2, 700};
    for (int r = 0; r < 4; r++)
        for (int keep = 0; keep < 2; keep++) {
            struct data p = data_new(10, 1, rows[r], 400, short_lengths, N_SHORT);
            double expected_sum, found_sum;
            float *expected = residuals(one, &p, keep, &expected_sum), *found = residuals(all, &p, keep, &found_sum);
            check_same("residuals", expected, found, (size_t)p.n * sizeof(float));
            CHECK(expected_sum == found_sum);
            data_free(&p);
        }
}

static float *pair_scores(struct backend *backend, const struct data *p, int64_t n) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    int32_t *rows = make(n, sizeof *rows), *columns = make(n, sizeof *columns);
    for (int64_t i = 0; i < n; i++) {
        rows[i] = (int32_t)(draw(60, i) % (uint32_t)(p->n_rows + 1)) - 1;
        columns[i] = (int32_t)(draw(61, i) % (uint32_t)(p->n_columns + 1)) - 1;
    }
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
    mem_free(columns);
    mem_free(rows);
    return out;
}

static void pair_scores_have_the_bits_of_one(void) {
    const int64_t sizes[] = {0, 1, 2, 3, 1000};
    struct data p = data_new(21, 1, 40, 50, short_lengths, N_SHORT);
    for (int s = 0; s < 5; s++)
        check_same("pair_scores", pair_scores(one, &p, sizes[s]), pair_scores(all, &p, sizes[s]),
                   (size_t)sizes[s] * sizeof(float));
    data_free(&p);
}

/* ---- operators that run on every device ---- */

static float *set_sweep(struct backend *backend, const struct data *p) {
    struct job_memory job = {.backend = backend};
    reel_error err;
    float mean[8] = {0.1f}, precision[8] = {2, 3, 4, 5, 6, 7, 8, 9};
    struct set_sweep_args args = place_sets(&job, p, mean, precision);
    REQUIRE_OK(backend->ops->set_sweep(backend, &args, &err), err);
    if (backend == all) {
        const int32_t n_rows = p->n_rows * p->stride, n_columns = p->n_columns * p->stride;
        check_everywhere("features", get(&job, args.features, n_columns), args.features, n_columns);
        check_everywhere("row sums", get(&job, args.row_sums, n_rows), args.row_sums, n_rows);
    }
    float *out = get(&job, args.residual, p->n);
    job_memory_free(&job);
    return out;
}

static void set_sweep_has_the_bits_of_one(void) {
    struct data p = data_new(2, 1, 40, 6, short_lengths, N_SHORT);
    check_same("set_sweep", set_sweep(one, &p), set_sweep(all, &p), (size_t)p.n * sizeof(float));
    data_free(&p);
}

/* ---- models and lists, end to end ---- */

enum { USERS = 300, MOVIES = 40, LIST = 12 };

static void count_notices(void *user_data, reel_log_level level, const char *message) {
    (void)message;
    if (level == REEL_LOG_WARNING) (*(int *)user_data)++;
}

static reel_context *open_context(const char *name, int *notices) {
    reel_context_options options;
    reel_context *ctx;
    reel_error err;
    reel_context_options_default(&options);
    options.device = name;
    options.threads = 2;
    options.log = count_notices;
    options.user_data = notices;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    return ctx;
}

/* Lists of all users and of an unknown one, with scores: (2, USERS, LIST). */
static float *lists_of(reel_context *ctx, const struct planted *p, const reel_model *model) {
    float *lists = make((int64_t)2 * USERS * LIST, sizeof *lists);
    int32_t users[USERS];
    reel_scorer *scorer;
    reel_error err;
    for (int u = 0; u < USERS; u++) users[u] = USERS - 1 - u;
    REQUIRE_OK(reel_scorer_new(ctx, &p->dataset, model, &scorer, &err), err);
    REQUIRE_OK(reel_scorer_recommend_many(scorer, USERS, users, LIST, NULL, (int32_t *)lists,
                                          lists + (int64_t)USERS * LIST, &err),
               err);
    reel_scorer_free(scorer);
    return lists;
}

struct fitted {
    reel_context *ctx;
    struct planted planted;
    int16_t years[MOVIES]; /* unknown */
    reel_model *model;
    int notices;
};

static void fit(struct fitted *out, const char *device_name, const char *algorithm, const reel_param *params,
                size_t n) {
    struct fit_output output;
    reel_status status;
    reel_error err;
    out->notices = 0;
    out->ctx = open_context(device_name, &out->notices);
    out->notices = 0; /* of opening: NCCL may be missing */
    out->planted = planted_new(out->ctx, USERS, MOVIES, 10, 0.5f, 5);
    out->planted.dataset.movie_years = memset(out->years, 0, sizeof out->years);
    out->model = planted_fit(out->ctx, &out->planted, algorithm, params, n, &output, &status, &err);
    REQUIRE_OK(status, err);
    fit_output_free(&output);
}

static void fitted_free(struct fitted *fitted) {
    reel_model_free(fitted->model);
    planted_free(&fitted->planted);
    reel_context_free(fitted->ctx);
}

static void check_same_model(const char *what, const reel_model *a, const reel_model *b) {
    CHECK_INT(tensor_set_count(a->set), tensor_set_count(b->set));
    for (size_t i = 0; i < tensor_set_count(a->set); i++) {
        const struct tensor *x = tensor_set_at(a->set, i), *y = tensor_set_at(b->set, i);
        if (x->bytes == y->bytes && memcmp(x->data, y->data, x->bytes) == 0) continue;
        fprintf(stderr, "%s on %s: tensor %s has other bits\n", what, all_name, x->name);
        test_failures++;
    }
}

/* Fits on one and on several; the models and their lists are the same. Returns how many notices there were. */
static int compare_fits(const char *algorithm, const reel_param *params, size_t n) {
    struct fitted expected, found;
    fit(&expected, "cuda:0", algorithm, params, n);
    fit(&found, all_name, algorithm, params, n);
    CHECK_STR(reel_context_backend(found.ctx), all_name);
    check_same_model(algorithm, expected.model, found.model);
    check_same(algorithm, lists_of(expected.ctx, &expected.planted, expected.model),
               lists_of(found.ctx, &found.planted, found.model), (size_t)2 * USERS * LIST * sizeof(float));
    const int notices = found.notices - expected.notices;
    fitted_free(&expected);
    fitted_free(&found);
    return notices;
}

static void als_has_the_bits_of_one(void) {
    const reel_param plain[] = {{"factors", "5"}, {"iterations", "2"}, {"early_stopping", "2"}};
    const reel_param implicit[] = {{"factors", "4"}, {"iterations", "1"}, {"implicit", "1"}};
    CHECK_INT(compare_fits("als", plain, 3), 0);
    CHECK_INT(compare_fits("als", implicit, 3), 0);
}

static void bmf_has_the_bits_of_one(void) {
    const reel_param plain[] = {{"factors", "5"}, {"samples", "2"}, {"burn_in", "1"}};
    const reel_param time[] = {{"factors", "3"}, {"samples", "2"}, {"time", "1"}};
    CHECK_INT(compare_fits("bmf", plain, 3), 0);
    CHECK_INT(compare_fits("bmf", time, 3), 0);
}

/* Trees are grown on the first, and their lists made on all. */
static void what_is_not_shared_runs_on_the_first(void) {
    const reel_param svd[] = {{"factors", "4"}, {"epochs", "2"}}, gbdt[] = {{"n_estimators", "3"}, {"max_depth", "2"}};
    CHECK_INT(compare_fits("svd", svd, 2), 1);
    CHECK_INT(compare_fits("gbdt", gbdt, 2), 1);
}

/* ---- a way that fails ---- */

#ifdef REEL_TEST_NCCL
static void a_failed_exchange_is_final(void) {
    enum { N = 1 << 16 };
    float *host = make(N, sizeof *host), *array, word;
    reel_error err;
    setenv("REEL_NCCL", REEL_TEST_NCCL, 1);
    REQUIRE_OK(registry_open("cuda:all", reference->pool, &all, NULL, &err), err);
    CHECK_STR(all->ops->name, "cuda:0+1+2");
    REQUIRE_OK(all->ops->alloc(all, (void **)&array, N * sizeof *host, &err), err);
    setenv("REEL_EMULATED_NCCL_FAILS", "1", 1);
    CHECK_INT(all->ops->upload(all, array, host, N * sizeof *host, &err), REEL_DEVICE);
    unsetenv("REEL_EMULATED_NCCL_FAILS");
    CHECK(strstr(err.message, "unhandled system error") != NULL);
    CHECK_INT(all->ops->upload(all, array, host, N * sizeof *host, &err), REEL_DEVICE);
    CHECK(strstr(err.message, "was lost") != NULL);
    CHECK_INT(all->ops->download(all, &word, array, sizeof word, &err), REEL_DEVICE);
    all->ops->release(all, array);
    registry_close(all);
    all = NULL;
    mem_free(host);
}
#endif

/* ---- the rows ---- */

static const struct device_row rows[] = {
    DEVICE_ROW(memory_is_mirrored),
    DEVICE_ROW(odd_pointers_and_sizes),
    DEVICE_ROW(factor_solve_has_the_bits_of_one),
    DEVICE_ROW(parts_read_their_own_device),
    DEVICE_ROW(failures_name_the_row),
    DEVICE_ROW(residuals_have_the_bits_of_one),
    DEVICE_ROW(pair_scores_have_the_bits_of_one),
    DEVICE_ROW(set_sweep_has_the_bits_of_one),
    DEVICE_ROW(als_has_the_bits_of_one),
    DEVICE_ROW(bmf_has_the_bits_of_one),
    DEVICE_ROW(what_is_not_shared_runs_on_the_first),
};

/* Every row on the devices of `name`, with NCCL's library `nccl`; "off" = copies, "" = the system's. 0 where they could
 * not be opened: the rows are skipped. */
static int run_rows(const char *name, const char *nccl) {
    reel_error err;
    const char *notice = NULL;
    setenv("REEL_NCCL", nccl, 1);
    int opened = registry_open("cuda:0", reference->pool, &one, NULL, &err) == REEL_OK &&
                 registry_open(name, reference->pool, &all, &notice, &err) == REEL_OK && !notice;
    all_name = name;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char row[160];
        const int before = test_failures;
        snprintf(row, sizeof row, "%s on %s by %s", rows[i].name, name, strcmp(nccl, "off") == 0 ? "copies" : "NCCL");
        if (!opened) {
            SKIP(row, notice ? notice : err.message);
            continue;
        }
        rows[i].run();
        printf("%s %s\n", test_failures == before ? "ok  " : "FAIL", row);
        fflush(stdout);
    }
    registry_close(all);
    registry_close(one);
    one = all = NULL;
    return opened;
}

int main(void) {
    setenv("REEL_EMULATED_DEVICES", "3", 0);
    device_begin();
#ifdef REEL_TEST_NCCL /* the emulator's */
    const char *nccl = REEL_TEST_NCCL;
    RUN(a_failed_exchange_is_final);
#else
    const char *nccl = "";
#endif
    if (run_rows("cuda:0+1", "off") && run_rows("cuda:0+1+2", "off")) run_rows("cuda:0+1+2", nccl);
    reel_context_free(context);
    TEST_EXIT();
}
