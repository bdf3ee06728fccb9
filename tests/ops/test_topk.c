/* Top-N operators: every SIMD level against a double-precision loop (chains of k rounded steps: error at most
 * about k * 2^-24 * sum |p||q| plus one rounding of the sum), and against each other bit for bit. */

#include "backend/backend_ops.h"
#include "backend/topk_ops.h"
#include "core/context.h"
#include "core/doctor.h"
#include "ops/device.h"

struct problem {
    int n_users, n_movies, k;
    float *user_factors, *user_bias, *movie_factors, *movie_bias; /* plain rows */
    float *packed, *packed_bias;
    int32_t *order, *positions, *rows, *seen_rows, *seen_movies;
    int64_t *seen_offsets;
    struct factor_panels panels;
};

static uint32_t state;

static float uniform(void) {
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / 16777216.0f - 0.5f;
}

/* Small multiples of 1/8 give many exact ties. */
static float coarse(void) {
    return (float)(int)(uniform() * 8) / 8;
}

static void *room(size_t n, size_t size) {
    void *out = calloc(n + 1, size);
    if (!out) exit(1);
    return out;
}

static void fill_seen(struct problem *p) {
    p->seen_offsets = room((size_t)p->n_users + 1, sizeof(int64_t));
    p->seen_movies = room((size_t)p->n_users * (size_t)p->n_movies, sizeof(int32_t));
    int64_t at = 0;
    for (int u = 0; u < p->n_users; u++) {
        /* one user saw everything, one nothing, the others some */
        float share = u == 0 ? 2.0f : u == 1 ? -2.0f : uniform();
        for (int m = 0; m < p->n_movies; m++)
            if (uniform() < share) p->seen_movies[at++] = m;
        p->seen_offsets[u + 1] = at;
    }
}

static struct problem make_problem(int n_users, int n_movies, int k, int ties) {
    struct problem p = {.n_users = n_users, .n_movies = n_movies, .k = k};
    float (*draw)(void) = ties ? coarse : uniform;
    state = (uint32_t)(n_users * 7919 + n_movies * 31 + k);
    size_t users = (size_t)n_users, movies = (size_t)n_movies, width = (size_t)k;
    int64_t n_panels = (n_movies + TOPK_PANEL - 1) / TOPK_PANEL;
    size_t padded = (size_t)n_panels * TOPK_PANEL;
    p.user_factors = room(users * width, 4), p.user_bias = room(users, 4);
    p.movie_factors = room(movies * width, 4), p.movie_bias = room(movies, 4);
    p.packed = room(padded * width, 4), p.packed_bias = room(padded, 4);
    p.order = room(padded, 4), p.positions = room(movies, 4);
    p.rows = room(users, 4), p.seen_rows = room(users, 4);
    for (size_t i = 0; i < users * width; i++) p.user_factors[i] = draw();
    for (size_t i = 0; i < users; i++) p.user_bias[i] = draw();
    for (size_t i = 0; i < movies * width; i++) p.movie_factors[i] = draw();
    for (size_t i = 0; i < movies; i++) p.movie_bias[i] = draw();
    /* any permutation will do: step through by a stride that is coprime to most sizes */
    for (size_t i = 0; i < padded; i++) p.order[i] = -1;
    int stride = n_movies % 7 ? 7 : 1;
    for (int i = 0; i < n_movies; i++) {
        int m = (int)((int64_t)i * stride % n_movies);
        p.order[i] = m, p.positions[m] = i;
        p.packed_bias[i] = p.movie_bias[m];
        for (int f = 0; f < k; f++)
            p.packed[(i / TOPK_PANEL * k + f) * TOPK_PANEL + i % TOPK_PANEL] = p.movie_factors[m * k + f];
    }
    for (int u = 0; u < n_users; u++) p.rows[u] = u % 5 == 4 ? -1 : u, p.seen_rows[u] = u;
    fill_seen(&p);
    p.panels = (struct factor_panels){n_movies, k, n_panels, p.packed, p.packed_bias, p.order, p.positions};
    return p;
}

static void drop(struct problem *p) {
    void *all[] = {p->user_factors, p->user_bias, p->movie_factors, p->movie_bias, p->packed,      p->packed_bias,
                   p->order,        p->positions, p->rows,          p->seen_rows,  p->seen_movies, p->seen_offsets};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static reel_context *context_of(int threads) {
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    reel_context *ctx;
    reel_error err;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    return ctx;
}

static void scores_of(const struct problem *p, struct backend *backend, int u, float *scores) {
    static const float zeros[256];
    int32_t row = p->rows[u];
    struct score_movies_args args = {.panels = &p->panels,
                                     .factors = row < 0 ? zeros : p->user_factors + row * p->k,
                                     .base = row < 0 ? 3.5f : 3.5f + p->user_bias[row],
                                     .scores = scores};
    reel_error err;
    REQUIRE_OK(backend->ops->score_movies(backend, &args, &err), err);
}

static void check_scores(const struct problem *p, struct backend *backend) {
    float *scores = room((size_t)p->n_movies, 4);
    for (int u = 0; u < p->n_users; u++) {
        scores_of(p, backend, u, scores);
        for (int m = 0; m < p->n_movies; m++) {
            double sum = 0, size = 4;
            for (int f = 0; f < p->k && p->rows[u] >= 0; f++) {
                double term = (double)p->user_factors[u * p->k + f] * (double)p->movie_factors[m * p->k + f];
                sum += term, size += fabs(term);
            }
            double base = 3.5 + (p->rows[u] < 0 ? 0 : (double)p->user_bias[u]) + (double)p->movie_bias[m];
            CHECK_NEAR((double)scores[m], sum + base, (p->k + 3) * size * 0x1p-24);
        }
    }
    free(scores);
}

/* The best movies by plain insertion. */
static int best_of(const struct problem *p, int u, const float *scores, int n, int32_t *best) {
    int count = 0;
    for (int32_t m = 0; m < p->n_movies; m++) {
        int seen = 0;
        for (int64_t at = p->seen_offsets[u]; at < p->seen_offsets[u + 1]; at++) seen |= p->seen_movies[at] == m;
        if (seen) continue;
        int at = count;
        while (at > 0 && scores[best[at - 1]] < scores[m]) at--;
        if (at >= n) continue;
        count += count < n;
        memmove(best + at + 1, best + at, (size_t)(count - 1 - at) * sizeof *best);
        best[at] = m;
    }
    return count;
}

static void check_topk(const struct problem *p, struct backend *backend, int n) {
    size_t users = (size_t)p->n_users, wanted = (size_t)n;
    int32_t *movies = room(users * wanted, 4), *best = room(wanted, 4);
    float *top = room(users * wanted, 4), *scores = room((size_t)p->n_movies, 4);
    struct topk_users_args args = {.panels = &p->panels,
                                   .n_users = p->n_users,
                                   .rows = p->rows,
                                   .user_factors = p->user_factors,
                                   .stride = p->k,
                                   .user_bias = p->user_bias,
                                   .mean = 3.5f,
                                   .seen_rows = p->seen_rows,
                                   .seen_offsets = p->seen_offsets,
                                   .seen_movies = p->seen_movies,
                                   .n = n,
                                   .movies = movies,
                                   .scores = top};
    reel_error err;
    REQUIRE_OK(backend->ops->topk_users(backend, &args, &err), err);
    for (int u = 0; u < p->n_users; u++) {
        scores_of(p, backend, u, scores);
        int count = best_of(p, u, scores, n, best);
        for (int i = 0; i < n; i++) {
            size_t at = (size_t)u * wanted + (size_t)i;
            CHECK_INT(movies[at], i < count ? best[i] : -1);
            if (i < count && movies[at] >= 0) CHECK(memcmp(&top[at], &scores[movies[at]], 4) == 0);
            if (i >= count) CHECK(isnan(top[at]));
        }
    }
    free(movies), free(best), free(top), free(scores);
}

static void check_all(const char *simd, int threads) {
    setenv("REEL_SIMD", simd, 1);
    reel_context *ctx = context_of(threads);
    struct backend *backend;
    reel_error err;
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    static const int sizes[][3] = {{0, 5, 3},   {1, 1, 0},    {1, 31, 1},  {3, 32, 7},   {13, 33, 16},
                                   {97, 64, 5}, {12, 500, 9}, {5, 65, 33}, {2, 700, 100}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int ties = 0; ties < 2; ties++) {
            struct problem p = make_problem(sizes[i][0], sizes[i][1], sizes[i][2], ties);
            check_scores(&p, backend);
            check_topk(&p, backend, 1);
            check_topk(&p, backend, 10);
            check_topk(&p, backend, p.n_movies + 3);
            drop(&p);
        }
    reel_context_free(ctx);
}

static void generic_level(void) {
    check_all("generic", 1);
    check_all("generic", 3);
}

static void best_level(void) {
    check_all("avx2", 2);
    check_all("avx512", 1);
    check_all("avx512", 4);
}

/* Fused levels run the same chains, so their bits agree. */
static void fused_levels_agree(void) {
    unsetenv("REEL_SIMD");
    if (simd_level() < SIMD_AVX512) {
        puts("skip fused_levels_agree: this processor has no AVX-512");
        return;
    }
    reel_context *ctx = context_of(1);
    struct backend *backend;
    reel_error err;
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    struct problem p = make_problem(4, 333, 37, 0);
    float *a = room(333, 4), *b = room(333, 4);
    for (int u = 0; u < 4; u++) {
        setenv("REEL_SIMD", "avx2", 1);
        scores_of(&p, backend, u, a);
        setenv("REEL_SIMD", "avx512", 1);
        scores_of(&p, backend, u, b);
        CHECK(memcmp(a, b, 333 * 4) == 0);
    }
    free(a), free(b), drop(&p);
    reel_context_free(ctx);
}

/* ---- on a device ---- */

struct lists {
    int32_t *movies;
    float *scores;
};

static struct lists lists_of(struct backend *backend, const struct problem *p, int n, const uint8_t *candidates,
                             int with_seen) {
    struct job_memory job = {.backend = backend};
    const size_t results = (size_t)p->n_users * (size_t)n;
    struct lists out = {room(results, 4), room(results, 4)};
    struct factor_panels panels = p->panels;
    const int64_t padded = panels.n_panels * TOPK_PANEL;
    reel_error err;
    panels.factors = PUT(&job, panels.factors, padded * p->k);
    panels.bias = PUT(&job, panels.bias, padded);
    panels.movies = PUT(&job, panels.movies, padded);
    panels.positions = PUT(&job, panels.positions, p->n_movies);
    struct topk_users_args args = {.panels = &panels,
                                   .n_users = p->n_users,
                                   .rows = p->rows,
                                   .user_factors = PUT(&job, p->user_factors, p->n_users * p->k),
                                   .stride = p->k,
                                   .user_bias = PUT(&job, p->user_bias, p->n_users),
                                   .mean = 3.5f,
                                   .seen_rows = p->seen_rows,
                                   .seen_offsets = with_seen ? PUT(&job, p->seen_offsets, p->n_users + 1) : NULL,
                                   .seen_movies = PUT(&job, p->seen_movies, p->seen_offsets[p->n_users]),
                                   .candidates = candidates,
                                   .n = n,
                                   .movies = out.movies,
                                   .scores = out.scores};
    REQUIRE_OK(backend->ops->topk_users(backend, &args, &err), err);
    job_memory_free(&job);
    return out;
}

/* Scores are the same chains of fused multiply-adds: lists and scores are the same, ties included. Where the processor
 * has no fused ones the scores differ in their last places and lists may: such a machine is skipped. */
static void compare_lists(const struct problem *p, int n, const uint8_t *candidates, int with_seen) {
    struct lists expected = lists_of(reference, p, n, candidates, with_seen);
    struct lists found = lists_of(device, p, n, candidates, with_seen);
    const size_t results = (size_t)p->n_users * (size_t)n;
    size_t wrong = 0;
    for (size_t i = 0; i < results; i++)
        wrong += expected.movies[i] != found.movies[i] ||
                 !(expected.scores[i] == found.scores[i] || (isnan(expected.scores[i]) && isnan(found.scores[i])));
    if (wrong) fprintf(stderr, "%d users, %d movies, k %d, n %d\n", p->n_users, p->n_movies, p->k, n);
    CHECK_INT(wrong, 0);
    free(expected.movies), free(expected.scores), free(found.movies), free(found.scores);
}

static void topk_users_matches(void) {
    static const int sizes[][3] = {{0, 5, 3},      {1, 1, 0},      {1, 31, 1},      {3, 32, 7},      {13, 33, 16},
                                   {97, 64, 5},    {12, 500, 9},   {5, 65, 33},     {2, 700, 100},   {127, 129, 15},
                                   {128, 128, 17}, {129, 1000, 8}, {300, 2600, 20}, {40, 3000, 128}, {3, 40, 300}};
    if (simd_level() == SIMD_GENERIC) {
        puts("skip topk_users_matches: this processor has no fused multiply-adds");
        return;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int ties = 0; ties < 2; ties++) {
            struct problem p = make_problem(sizes[i][0], sizes[i][1], sizes[i][2], ties);
            uint8_t *candidates = room((size_t)p.n_movies, 1);
            for (int m = 0; m < p.n_movies; m++) candidates[m] = uniform() < 0.2f;
            compare_lists(&p, 1, NULL, 1);
            compare_lists(&p, 10, candidates, 1);
            compare_lists(&p, 150, NULL, 0);
            compare_lists(&p, p.n_movies + 3 < TOPK_DEVICE_N_MAX ? p.n_movies + 3 : TOPK_DEVICE_N_MAX, candidates, 1);
            free(candidates);
            drop(&p);
        }
}

/* ---- pairs ---- */

static float *pairs_of(struct backend *backend, const struct problem *p, int64_t n, const int32_t *users,
                       const int32_t *movies) {
    struct job_memory job = {.backend = backend};
    float *scores = make(n, sizeof *scores);
    reel_error err;
    struct predict_pairs_args args = {.k = p->k,
                                      .stride = p->k,
                                      .mean = 3.5f,
                                      .user_factors = PUT(&job, p->user_factors, p->n_users * p->k),
                                      .movie_factors = PUT(&job, p->movie_factors, p->n_movies * p->k),
                                      .user_bias = PUT(&job, p->user_bias, p->n_users),
                                      .movie_bias = PUT(&job, p->movie_bias, p->n_movies),
                                      .n = n,
                                      .users = users,
                                      .movies = movies,
                                      .scores = scores};
    REQUIRE_OK(backend->ops->predict_pairs(backend, &args, &err), err);
    job_memory_free(&job);
    return scores;
}

/* Within rounding of a double-precision loop: k products and at most k + 3 sums, each off by 2^-24 of what there is. */
static void check_pairs(const struct problem *p, int64_t n, const int32_t *users, const int32_t *movies,
                        const float *scores) {
    for (int64_t i = 0; i < n; i++) {
        double sum = 3.5, size = 3.5;
        if (users[i] >= 0) sum += (double)p->user_bias[users[i]], size += 0.5;
        if (movies[i] >= 0) sum += (double)p->movie_bias[movies[i]], size += 0.5;
        for (int f = 0; f < p->k && users[i] >= 0 && movies[i] >= 0; f++) {
            double term = (double)p->user_factors[users[i] * p->k + f] * (double)p->movie_factors[movies[i] * p->k + f];
            sum += term, size += fabs(term);
        }
        CHECK_NEAR((double)scores[i], sum, (2 * p->k + 3) * size * 0x1p-24);
    }
}

static void for_pairs(void (*run)(const struct problem *p, int64_t n, const int32_t *users, const int32_t *movies)) {
    static const int widths[] = {0, 1, 3, 4, 15, 16, 19, 20, 31, 33, 128, 300};
    static const int64_t counts[] = {0, 1, 17, 3001};
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        struct problem p = make_problem(29, 53, widths[w], 0);
        int32_t *users = make(3001, sizeof *users), *movies = make(3001, sizeof *movies);
        for (int64_t i = 0; i < 3001; i++) {
            users[i] = (int32_t)(draw(71, i) % 30) - 1; /* -1 = unknown */
            movies[i] = (int32_t)(draw(72, i) % 54) - 1;
        }
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) run(&p, counts[c], users, movies);
        mem_free(users), mem_free(movies);
        drop(&p);
    }
}

static void check_reference(const struct problem *p, int64_t n, const int32_t *users, const int32_t *movies) {
    float *scores = pairs_of(reference, p, n, users, movies);
    check_pairs(p, n, users, movies, scores);
    mem_free(scores);
}

static void predict_pairs_plain(void) {
    for_pairs(check_reference);
}

static void check_device(const struct problem *p, int64_t n, const int32_t *users, const int32_t *movies) {
    check_same("predict_pairs", pairs_of(reference, p, n, users, movies), pairs_of(device, p, n, users, movies),
               (size_t)n * sizeof(float));
}

static void predict_pairs_match(void) {
    for_pairs(check_device);
}

static const struct device_row device_rows[] = {DEVICE_ROW(topk_users_matches), DEVICE_ROW(predict_pairs_match)};

int main(void) {
    device_begin();
    RUN(generic_level);
    RUN(best_level);
    RUN(fused_levels_agree);
    RUN(predict_pairs_plain);
    unsetenv("REEL_SIMD");
    return device_end(device_rows, sizeof device_rows / sizeof device_rows[0]);
}
