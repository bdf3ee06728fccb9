/* sgd_epoch: every SIMD level and thread count gives the bits of the plain program run by one thread, and that
 * program does what plain double-precision SGD in the same order does. REEL_TEST_SEED repeats a run. */
#include "tests/test.h"

#include <stdio.h>
#include <time.h>

#include "backend/backend_ops.h"
#include "core/doctor.h"
#include "core/mem.h"
#include "model/sgd_grid.h"
#include "tests/ops/device.h"
#include "tests/data/random_ratings.h"

struct problem {
    int32_t n_users, n_movies;
    uint32_t percent;
    int k, bands;
    uint64_t seed;
};

/* What an epoch reads and writes. */
struct state {
    struct sgd_grid grid;
    int stride;
    float *users, *movies, *lanes;
    double *squared;
    size_t user_bytes, movie_bytes, squared_bytes;
    float value[SGD_VALUES];
};

static void *array(size_t n, size_t size) {
    void *pointer;
    reel_error err;
    REQUIRE_OK(mem_zero(&pointer, n, size, &err), err);
    return pointer;
}

static float small(uint64_t seed, uint64_t index) {
    return (float)((double)random_word(seed, index) / 4294967296.0 - 0.5);
}

/* Random rows; the last two lanes are (bias, 1) and (1, bias). */
static float *random_rows(const struct problem *problem, int32_t n, int stride, int one_lane, uint64_t salt) {
    float *rows = array((size_t)n * (size_t)stride + 1, sizeof(float));
    for (int64_t row = 0; row < n; row++) {
        float *at = rows + row * stride;
        for (int l = 0; l < problem->k; l++)
            at[l] = 0.5f * small(problem->seed + salt, (uint64_t)row * 2048 + (uint64_t)l);
        at[stride - 2] = at[stride - 1] = small(problem->seed + salt, (uint64_t)row * 2048 + 2000);
        at[one_lane] = 1;
    }
    return rows;
}

static struct state state_new(reel_context *ctx, const struct problem *problem, const struct ratings *ratings) {
    struct state s = {.stride = (problem->k + 2 + SGD_LANES - 1) / SGD_LANES * SGD_LANES};
    if (s.stride - problem->k % SGD_LANES == 1) s.stride += SGD_LANES;
    reel_error err;
    REQUIRE_OK(sgd_grid_build(ctx, ratings, problem->bands, problem->seed, &s.grid, &err), err);
    sgd_grid_shuffle(&s.grid, problem->seed, 3);
    s.users = random_rows(problem, s.grid.n_user_rows, s.stride, s.stride - 1, 1);
    s.movies = random_rows(problem, s.grid.n_movie_rows, s.stride, s.stride - 2, 2);
    s.lanes = array(4 * (size_t)s.stride, sizeof(float));
    for (int which = 0; which < 4; which++)
        for (int l = 0; l < s.stride; l++) {
            int one = l == (which < 2 ? s.stride - 1 : s.stride - 2), bias = l >= s.stride - 2;
            int padding = l >= problem->k && !bias;
            int keep = which % 2;
            float step = bias ? 0.03f : which < 2 ? 0.02f : 0.025f;
            s.lanes[which * s.stride + l] = one || padding ? (float)keep : keep ? 1 - step * 0.05f : step;
        }
    for (int v = 0; v < SGD_VALUES; v++) s.value[v] = 0.5f * (float)v - 2.9f;
    size_t n_blocks = (size_t)problem->bands * (size_t)problem->bands;
    s.squared = array(n_blocks, sizeof(double));
    s.user_bytes = (size_t)s.grid.n_user_rows * (size_t)s.stride * sizeof(float);
    s.movie_bytes = (size_t)s.grid.n_movie_rows * (size_t)s.stride * sizeof(float);
    s.squared_bytes = n_blocks * sizeof(double);
    return s;
}

static void state_free(struct state *s) {
    sgd_grid_free(&s->grid);
    mem_free(s->users);
    mem_free(s->movies);
    mem_free(s->lanes);
    mem_free(s->squared);
}

static struct sgd_epoch_args args_of(const struct state *s) {
    return (struct sgd_epoch_args){.n_user_bands = s->grid.n_user_bands,
                                   .n_movie_bands = s->grid.n_movie_bands,
                                   .n_tiles = s->grid.n_tiles,
                                   .block_order = s->grid.block_order,
                                   .block_tiles = s->grid.block_tiles,
                                   .tile_order = s->grid.tile_order,
                                   .tiles = s->grid.tiles,
                                   .entries = s->grid.entries,
                                   .stride = s->stride,
                                   .users = s->users,
                                   .movies = s->movies,
                                   .value = s->value,
                                   .user_step = s->lanes,
                                   .user_keep = s->lanes + s->stride,
                                   .movie_step = s->lanes + 2 * s->stride,
                                   .movie_keep = s->lanes + 3 * s->stride,
                                   .block_squared = s->squared};
}

static struct state run_problem(const struct problem *problem, const struct ratings *ratings, const char *simd,
                                int threads) {
    reel_context *ctx = context_of(threads);
    struct backend *backend;
    reel_error err;
    setenv("REEL_SIMD", simd, 1);
    struct state s = state_new(ctx, problem, ratings);
    struct sgd_epoch_args args = args_of(&s);
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    for (int epoch = 0; epoch < 2; epoch++) REQUIRE_OK(backend->ops->sgd_epoch(backend, &args, &err), err);
    unsetenv("REEL_SIMD");
    reel_context_free(ctx);
    return s;
}

static int same(const struct state *a, const struct state *b) {
    return memcmp(a->users, b->users, a->user_bytes) == 0 && memcmp(a->movies, b->movies, a->movie_bytes) == 0 &&
           memcmp(a->squared, b->squared, a->squared_bytes) == 0;
}

static const char *const levels[] = {"generic", "avx2", "avx512"};

static void check_bits(const struct problem *problem) {
    static const int threads[] = {1, 2, 3, 8};
    struct ratings ratings = random_ratings(problem->n_users, problem->n_movies, problem->percent, problem->seed);
    struct state reference = run_problem(problem, &ratings, "generic", 1);
    for (int level = 0; level <= (int)simd_level(); level++)
        for (size_t t = UNDER_TSAN; t < sizeof threads / sizeof threads[0]; t++) {
            struct state got = run_problem(problem, &ratings, levels[level], threads[t]);
            if (!same(&reference, &got)) {
                fprintf(stderr, "%s, %d threads differ: %d users, %d movies, %u %%, k %d, %d bands, seed %llu\n",
                        levels[level], threads[t], problem->n_users, problem->n_movies, problem->percent, problem->k,
                        problem->bands, (unsigned long long)problem->seed);
                test_failures++;
            }
            state_free(&got);
        }
    state_free(&reference);
    ratings_free(&ratings);
}

/* Tiles of one movie: of every number of visits around a group, around the chunks of the device, and more than a tile's
 * users; then beside tiles of several movies. */
static void check_one_movie(void (*check)(const struct problem *problem), const int *factors, size_t n) {
    static const int32_t visits[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 66, 95, 200, 1100};
    for (size_t f = 0; f < n; f++) {
        for (size_t i = 0; i < sizeof visits / sizeof visits[0]; i += UNDER_TSAN ? 5 : 1)
            check(&(struct problem){visits[i], 1, 100, factors[f], 1, 31 + i});
        check(&(struct problem){150, 1, 0, factors[f], 1, 12});  /* no visits */
        check(&(struct problem){150, 1, 30, factors[f], 7, 13}); /* bands without movies */
        check(&(struct problem){400, 5, 40, factors[f], 4, 14}); /* three bands of one movie, one of two */
    }
}

static void test_bits_one_movie(void) {
    static const int factors[] = {1, 14, 15, 30, 100, 128, 200};
    check_one_movie(check_bits, factors, UNDER_TSAN ? 1 : sizeof factors / sizeof factors[0]);
}

static void test_bits_fixed_shapes(void) {
    static const int factors[] = {1, 7, 14, 15, 16, 30, 100, 128, 200};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i += UNDER_TSAN ? 3 : 1) {
        check_bits(&(struct problem){67, 43, 40, factors[i], 3, 5});
        check_bits(&(struct problem){5, 300, 90, factors[i], 2, 6}); /* few users, many ratings each */
        check_bits(&(struct problem){300, 2, 60, factors[i], 4, 7}); /* neighbouring visits of the same movie */
    }
    check_bits(&(struct problem){10, 10, 0, 8, 2, 8}); /* no ratings */
    check_bits(&(struct problem){1, 1, 100, 8, 1, 9}); /* one rating */
    check_bits(&(struct problem){1, 1, 100, 8, 5, 9}); /* more bands than rows */
    check_bits(&(struct problem){2, 1, 100, 100, 1, 9});
    check_bits(&(struct problem){900, 700, 25, 20, 8, 10}); /* several tiles a block */
}

static void test_bits_random_shapes(void) {
    const char *given = getenv("REEL_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    printf("     REEL_TEST_SEED=%llu\n", (unsigned long long)seed);
    for (uint64_t i = 0; i < (UNDER_TSAN ? 2 : 12); i++) {
        const uint64_t at = 100 * i;
        check_bits(&(struct problem){.n_users = 1 + (int32_t)(random_word(seed, at) % 400),
                                     .n_movies = 1 + (int32_t)(random_word(seed, at + 1) % 200),
                                     .percent = random_word(seed, at + 2) % 101,
                                     .k = 1 + (int)(random_word(seed, at + 3) % 160),
                                     .bands = 1 + (int)(random_word(seed, at + 4) % 9),
                                     .seed = seed + i});
    }
}

/* ---- against double precision ---- */

struct plain {
    double *users, *movies; /* (rows, stride) */
    double squared;
};

static void plain_visit(struct plain *plain, const struct state *s, double *p, double *q, int value) {
    double error = (double)s->value[value];
    for (int l = 0; l < s->stride; l++) error -= p[l] * q[l];
    for (int l = 0; l < s->stride; l++) {
        double old = p[l];
        p[l] = error * (double)s->lanes[l] * q[l] + (double)s->lanes[s->stride + l] * old;
        q[l] = error * (double)s->lanes[2 * s->stride + l] * old + (double)s->lanes[3 * s->stride + l] * q[l];
    }
    plain->squared += error * error;
}

/* A group's visits meet the movie as it was before them. */
static void plain_group(struct plain *plain, const struct state *s, const struct sgd_tile *tile, int64_t begin) {
    double *q = plain->movies + (ptrdiff_t)tile->movie_begin * s->stride;
    double *before = array((size_t)s->stride, sizeof *before);
    memcpy(before, q, (size_t)s->stride * sizeof *q);
    for (int l = 0; l < s->stride; l++) q[l] *= pow((double)s->lanes[3 * s->stride + l], SGD_GROUP);
    for (int64_t e = begin; e < begin + SGD_GROUP; e++) {
        uint32_t entry = s->grid.entries[e];
        double *p = plain->users + (ptrdiff_t)(tile->user_begin + sgd_entry_user(entry)) * s->stride;
        double error = (double)s->value[sgd_entry_value(entry)];
        for (int l = 0; l < s->stride; l++) error -= p[l] * before[l];
        for (int l = 0; l < s->stride; l++) {
            q[l] += error * (double)s->lanes[2 * s->stride + l] * p[l];
            p[l] = error * (double)s->lanes[l] * before[l] + (double)s->lanes[s->stride + l] * p[l];
        }
        plain->squared += error * error;
    }
    mem_free(before);
}

static void plain_tile(struct plain *plain, const struct state *s, const struct sgd_tile *tile) {
    int64_t begin = tile->entry_begin, end = begin + tile->n_entries;
    for (; tile->one_movie && begin + SGD_GROUP <= end; begin += SGD_GROUP) plain_group(plain, s, tile, begin);
    for (int64_t e = begin; e < end; e++) {
        uint32_t entry = s->grid.entries[e];
        plain_visit(plain, s, plain->users + (ptrdiff_t)(tile->user_begin + sgd_entry_user(entry)) * s->stride,
                    plain->movies + (ptrdiff_t)(tile->movie_begin + sgd_entry_movie(entry)) * s->stride,
                    sgd_entry_value(entry));
    }
}

static double worst_difference(const float *a, const double *b, size_t n) {
    double worst = 0;
    for (size_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - b[i]));
    return worst;
}

/* Some 60 visits a row, each with a rounding error below 2^-23 of numbers below 1 in a dot of 36 lanes, damped by
 * steps of 0.03: far below 1e-4 unless an update is wrong. */
static void check_against_doubles(const struct problem *problem) {
    struct ratings ratings = random_ratings(problem->n_users, problem->n_movies, problem->percent, problem->seed);
    reel_context *ctx = context_of(1);
    const int n_blocks = problem->bands * problem->bands;
    struct state start = state_new(ctx, problem, &ratings), got = run_problem(problem, &ratings, "generic", 1);
    size_t n_users = start.user_bytes / sizeof(float), n_movies = start.movie_bytes / sizeof(float);
    struct plain plain = {array(n_users, sizeof(double)), array(n_movies, sizeof(double)), 0};
    for (size_t i = 0; i < n_users; i++) plain.users[i] = (double)start.users[i];
    for (size_t i = 0; i < n_movies; i++) plain.movies[i] = (double)start.movies[i];
    for (int epoch = 0; epoch < 2; epoch++) {
        plain.squared = 0;
        for (int b = 0; b < n_blocks; b++) {
            int32_t block = start.grid.block_order[b];
            for (int64_t t = start.grid.block_tiles[block]; t < start.grid.block_tiles[block + 1]; t++)
                plain_tile(&plain, &start, &start.grid.tiles[start.grid.tile_order[t]]);
        }
    }
    double squared = 0;
    for (int b = 0; b < n_blocks; b++) squared += got.squared[b];
    CHECK_NEAR(squared, plain.squared, 1e-4 * plain.squared);
    CHECK(worst_difference(got.users, plain.users, n_users) < 1e-4);
    CHECK(worst_difference(got.movies, plain.movies, n_movies) < 1e-4);
    CHECK(worst_difference(start.users, plain.users, n_users) > 1e-2); /* it did move */
    mem_free(plain.users);
    mem_free(plain.movies);
    state_free(&start);
    state_free(&got);
    ratings_free(&ratings);
    reel_context_free(ctx);
}

static void test_against_doubles(void) {
    check_against_doubles(&(struct problem){120, 80, 50, 33, 4, 77});
    check_against_doubles(&(struct problem){60, 4, 90, 33, 4, 78}); /* bands of one movie */
}

static int stop_now(const void *arg) {
    (void)arg;
    return 1;
}

/* What `meanwhile` may do: the order is no longer read. */
struct spoiler {
    struct state *state;
    int calls;
};

static void spoil_order(void *arg) {
    struct spoiler *spoiler = arg;
    sgd_grid_shuffle(&spoiler->state->grid, 77, 9);
    spoiler->calls++;
}

static void test_stop(void) {
    struct problem problem = {50, 40, 50, 8, 4, 3};
    struct ratings ratings = random_ratings(problem.n_users, problem.n_movies, problem.percent, problem.seed);
    reel_context *ctx = context_of(3);
    struct state s = state_new(ctx, &problem, &ratings);
    struct sgd_epoch_args args = args_of(&s);
    struct backend *backend;
    reel_error err;
    struct spoiler spoiler = {&s, 0};
    args.meanwhile = spoil_order;
    args.meanwhile_arg = &spoiler;
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    REQUIRE_OK(backend->ops->sgd_epoch(backend, &args, &err), err);
    CHECK_INT(spoiler.calls, 1);
    args.stop = stop_now;
    CHECK_INT(backend->ops->sgd_epoch(backend, &args, &err), REEL_CANCELLED);
    CHECK_INT(spoiler.calls, 1);
    state_free(&s);
    ratings_free(&ratings);
    reel_context_free(ctx);
}

/* ---- on a device ---- */

/* Two epochs on the device from `s`, whose rows and errors then are the device's. */
static void run_on_device(struct state *s) {
    struct job_memory job = {.backend = device};
    struct sgd_epoch_args args = args_of(s);
    const int64_t n_blocks = (int64_t)s->grid.n_user_bands * s->grid.n_movie_bands;
    int64_t n_entries = 0;
    reel_error err;
    for (int64_t t = 0; t < s->grid.n_tiles; t++) n_entries += s->grid.tiles[t].n_entries;
    args.block_tiles = PUT(&job, s->grid.block_tiles, n_blocks + 1);
    args.tiles = PUT(&job, s->grid.tiles, s->grid.n_tiles);
    args.entries = PUT(&job, s->grid.entries, n_entries + SGD_AHEAD);
    args.users = PUT(&job, s->users, (int64_t)(s->user_bytes / sizeof(float)));
    args.movies = PUT(&job, s->movies, (int64_t)(s->movie_bytes / sizeof(float)));
    struct spoiler spoiler = {s, 0};
    for (int epoch = 0; epoch < 2; epoch++) {
        args.meanwhile = epoch == 1 ? spoil_order : NULL;
        args.meanwhile_arg = &spoiler;
        REQUIRE_OK(device->ops->sgd_epoch(device, &args, &err), err);
    }
    CHECK_INT(spoiler.calls, 1);
    REQUIRE_OK(device->ops->download(device, s->users, args.users, s->user_bytes, &err), err);
    REQUIRE_OK(device->ops->download(device, s->movies, args.movies, s->movie_bytes, &err), err);
    args.stop = stop_now;
    CHECK_INT(device->ops->sgd_epoch(device, &args, &err), REEL_CANCELLED);
    job_memory_free(&job);
}

static void check_device(const struct problem *problem) {
    struct ratings ratings = random_ratings(problem->n_users, problem->n_movies, problem->percent, problem->seed);
    reel_context *ctx = context_of(1);
    struct state expected = run_problem(problem, &ratings, "generic", 1), got = state_new(ctx, problem, &ratings);
    run_on_device(&got);
    if (!same(&expected, &got)) {
        fprintf(stderr, "the device differs: %d users, %d movies, %u %%, k %d, %d bands, seed %llu\n", problem->n_users,
                problem->n_movies, problem->percent, problem->k, problem->bands, (unsigned long long)problem->seed);
        test_failures++;
    }
    state_free(&got);
    state_free(&expected);
    ratings_free(&ratings);
    reel_context_free(ctx);
}

static void sgd_epoch_matches(void) {
    static const int factors[] = {1, 7, 14, 15, 16, 30, 46, 62, 78, 100, 128, 200, 254, 300, 700, 1024};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        check_device(&(struct problem){67, 43, 40, factors[i], 3, 5});
        check_device(&(struct problem){5, 300, 90, factors[i], 2, 6});
        check_device(&(struct problem){300, 2, 60, factors[i], 4, 7});
    }
    check_device(&(struct problem){10, 10, 0, 8, 2, 8});
    check_device(&(struct problem){1, 1, 100, 8, 1, 9});
    check_device(&(struct problem){1, 1, 100, 8, 5, 9});
    check_device(&(struct problem){900, 700, 25, 20, 8, 10});
    check_device(&(struct problem){900, 700, 25, 20, 33, 11});
}

static void sgd_epoch_matches_on_tiles_of_one_movie(void) {
    static const int factors[] = {1, 14, 15, 30, 62, 128, 254, 300, 1024};
    check_one_movie(check_device, factors, sizeof factors / sizeof factors[0]);
}

static void sgd_epoch_matches_on_random_shapes(void) {
    for (uint64_t i = 0; i < 12; i++) {
        const uint64_t at = 3000 + 100 * i;
        check_device(&(struct problem){.n_users = 1 + (int32_t)(random_word(seed, at) % 400),
                                       .n_movies = 1 + (int32_t)(random_word(seed, at + 1) % 200),
                                       .percent = random_word(seed, at + 2) % 101,
                                       .k = 1 + (int)(random_word(seed, at + 3) % 160),
                                       .bands = 1 + (int)(random_word(seed, at + 4) % 70),
                                       .seed = seed + i});
    }
}

/* All warps of a device must run at once; more bands than that are refused. */
static void too_many_bands_are_refused(void) {
    enum { BANDS = 8192 };
    const float value[SGD_VALUES] = {0};
    struct job_memory job = {.backend = device};
    int64_t *block_tiles = array(BANDS + 1, sizeof *block_tiles);
    int32_t *order = array(BANDS, sizeof *order);
    float *rates = array(SGD_STRIDE_MAX, sizeof *rates);
    double *squared = array(BANDS, sizeof *squared);
    const struct sgd_epoch_args args = {.n_user_bands = BANDS,
                                        .n_movie_bands = 1,
                                        .block_order = order,
                                        .block_tiles = PUT(&job, block_tiles, BANDS + 1),
                                        .tile_order = order,
                                        .stride = SGD_STRIDE_MAX,
                                        .value = value,
                                        .user_step = rates,
                                        .user_keep = rates,
                                        .movie_step = rates,
                                        .movie_keep = rates,
                                        .block_squared = squared};
    reel_error err;
    for (int32_t b = 0; b < BANDS; b++) order[b] = b;
    if (!device->ops->uses_host_memory) {
        CHECK_INT(device->ops->sgd_epoch(device, &args, &err), REEL_UNSUPPORTED);
        CHECK(strstr(err.message, "(found 8192): give it fewer (-p bands=N)") != NULL);
    }
    job_memory_free(&job);
    mem_free(block_tiles);
    mem_free(order);
    mem_free(rates);
    mem_free(squared);
}

static const struct device_row device_rows[] = {
    DEVICE_ROW(too_many_bands_are_refused),
    DEVICE_ROW(sgd_epoch_matches),
    DEVICE_ROW(sgd_epoch_matches_on_tiles_of_one_movie),
    DEVICE_ROW(sgd_epoch_matches_on_random_shapes),
};

int main(void) {
    device_begin();
    printf("     SIMD levels up to %s\n", simd_level_name(simd_level()));
    RUN(test_bits_fixed_shapes);
    RUN(test_bits_one_movie);
    RUN(test_bits_random_shapes);
    RUN(test_against_doubles);
    RUN(test_stop);
    return device_end(device_rows, sizeof device_rows / sizeof device_rows[0]);
}
