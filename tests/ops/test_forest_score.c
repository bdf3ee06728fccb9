/* Forest scoring: every path against a walk of each tree, bit for bit (sums are integers), on random forests: shallow
 * and deep ones, one leaf only, no columns of a table, more cells than a small group holds. */
#include "backend/backend_ops.h"
#include "backend/tree_ops.h"
#include "core/context.h"
#include "core/doctor.h"
#include "kernels/common/tree_walk.h"
#include "model/forest_plan.h"
#include "ops/device.h"

enum { N_USERS = 23, ROWS_MAX = 4096, NODES_MAX = 65536, COLUMNS = 12 };

struct problem {
    struct forest forest;
    struct reel_model model;
    float values[COLUMNS][ROWS_MAX];
    struct tree_step nodes[NODES_MAX];
    int32_t offsets[512];
    int32_t n_movies, map[ROWS_MAX];
};

static uint32_t state;

static uint32_t random_word(void) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5; /* Marsaglia's xorshift */
    return state >> 3;
}

/* A random tree below node `at`; ends early now and then. */
static void grow(struct problem *p, int32_t *n_nodes, int32_t *n_leaves, int depth) {
    int32_t at = (*n_nodes)++;
    if (depth == 0 || random_word() % 16 == 0) {
        int32_t value = (int32_t)(random_word() % 2000001) - 1000000;
        p->nodes[at] = (struct tree_step){-1, 0, value, (*n_leaves)++};
        return;
    }
    int32_t column = (int32_t)(random_word() % (unsigned)p->forest.columns.n), left = *n_nodes;
    grow(p, n_nodes, n_leaves, depth - 1);
    int32_t right = *n_nodes;
    grow(p, n_nodes, n_leaves, depth - 1);
    p->nodes[at] = (struct tree_step){column, (float)(random_word() % 64) / 8, left, right};
}

/* `tables` says which tables have columns; a third of the movies is unknown to the model when `mapped`. */
static struct problem *make_problem(int32_t n_movies, int n_trees, int depth, const char *tables, int mapped) {
    struct problem *p = calloc(1, sizeof *p);
    if (!p) exit(1);
    state = 2463534242u + (uint32_t)(n_movies * 31 + n_trees * 7 + depth + mapped);
    p->n_movies = n_movies;
    p->model.n_users = N_USERS;
    p->model.n_movies = n_movies;
    p->forest = (struct forest){
        .n_trees = n_trees, .offsets = p->offsets, .nodes = p->nodes, .fixed = 1, .shift = 22, .fixed_base = 14680064};
    struct forest_columns *columns = &p->forest.columns;
    columns->user_mean = -1;
    for (int c = 0; tables[c]; c++) {
        columns->tables[c] = (uint8_t)(tables[c] == 'u' ? STAR_USER : tables[c] == 'm' ? STAR_MOVIE : STAR_CALENDAR);
        columns->values[c] = p->values[c];
        columns->n++;
        for (int i = 0; i < ROWS_MAX; i++)
            p->values[c][i] = (float)(random_word() % 64) / 8 + (float)(random_word() % 2) / 16;
    }
    int32_t n_nodes = 0;
    for (int t = 0; t < n_trees; t++) {
        int32_t n_leaves = 0;
        grow(p, &n_nodes, &n_leaves, depth);
        p->offsets[t + 1] = n_nodes;
    }
    for (int32_t m = 0; m < n_movies; m++) p->map[m] = mapped && m % 3 == 1 ? -1 : m;
    return p;
}

/* movie is the plan's, n_movies = unknown. */
static float walked(const struct problem *p, int32_t user, int32_t movie, int32_t hour) {
    int32_t known = movie == p->n_movies || p->map[movie] < 0 ? p->n_movies : p->map[movie];
    const int32_t at[STAR_TABLES] = {user, known, hour};
    float row[COLUMNS];
    int64_t sum = p->forest.fixed_base;
    for (int c = 0; c < p->forest.columns.n; c++) row[c] = p->values[c][at[p->forest.columns.tables[c]]];
    for (int t = 0; t < p->forest.n_trees; t++) sum += tree_walk(p->nodes, p->offsets[t], row)->left;
    return (float)sum / (float)(1 << p->forest.shift);
}

static void check_movies(const struct problem *p, struct backend *backend, const struct forest_planned *planned) {
    enum { USERS = 3 };
    const int32_t users[USERS] = {0, N_USERS, 7}, hours[USERS] = {5, STAR_HOURS, 99};
    int32_t width = planned->plan.n_columns[0];
    float values[USERS * COLUMNS], *scores = calloc((size_t)p->n_movies * USERS + 1, sizeof *scores);
    reel_error err;
    for (int u = 0; u < USERS; u++)
        for (int c = 0; c < width; c++) values[u * width + c] = planned->rows[0][users[u] * width + c];
    struct forest_movies_args args = {&planned->plan, USERS, values, hours, scores};
    REQUIRE_OK(backend->ops->forest_movies(backend, &args, &err), err);
    for (int u = 0; u < USERS; u++)
        for (int32_t m = 0; m < p->n_movies; m++) {
            float expected = walked(p, users[u], m, hours[u]);
            CHECK(memcmp(&scores[u * p->n_movies + m], &expected, sizeof expected) == 0);
        }
    free(scores);
}

static void check_pairs(const struct problem *p, struct backend *backend, const struct forest_planned *planned) {
    enum { PAIRS = 301 };
    int32_t users[PAIRS], movies[PAIRS], hours[PAIRS];
    float scores[PAIRS];
    reel_error err;
    for (int i = 0; i < PAIRS; i++) {
        users[i] = i % (N_USERS + 1);
        movies[i] = (int32_t)(random_word() % (unsigned)(p->n_movies + 1));
        hours[i] = (int32_t)(random_word() % (STAR_HOURS + 1));
    }
    struct forest_pairs_args args = {&planned->plan, PAIRS, users, movies, hours, scores};
    REQUIRE_OK(backend->ops->forest_pairs(backend, &args, &err), err);
    for (int i = 0; i < PAIRS; i++) {
        float expected = walked(p, users[i], movies[i], hours[i]);
        CHECK(memcmp(&scores[i], &expected, sizeof expected) == 0);
    }
}

/* The best movies by plain insertion; user u has seen movies u, u + 5, .. below u + 50, and odd ones are no candidates.
 */
static int best_of(const struct problem *p, int32_t user, int n, int32_t *best) {
    int count = 0;
    for (int32_t m = 0; m < p->n_movies; m += 2) {
        if (m >= user && m < user + 50 && (m - user) % 5 == 0) continue;
        int at = count;
        while (at > 0 && walked(p, user, best[at - 1], 30) < walked(p, user, m, 30)) at--;
        if (at >= n) continue;
        count += count < n;
        memmove(best + at + 1, best + at, (size_t)(count - 1 - at) * sizeof *best);
        best[at] = m;
    }
    return count;
}

static void check_topk(const struct problem *p, struct backend *backend, const struct forest_planned *planned, int n) {
    int32_t users[N_USERS], seen[N_USERS * 10], *movies = calloc((size_t)n * N_USERS, 4), *best = calloc((size_t)n, 4);
    int64_t offsets[N_USERS + 1] = {0};
    uint8_t candidates[ROWS_MAX];
    float *scores = calloc((size_t)n * N_USERS, 4);
    reel_error err;
    for (int u = 0; u < N_USERS; u++) {
        users[u] = u;
        offsets[u + 1] = offsets[u];
        for (int32_t m = u; m < u + 50 && m < p->n_movies; m += 5) seen[offsets[u + 1]++] = m;
    }
    for (int m = 0; m < ROWS_MAX; m++) candidates[m] = m % 2 == 0;
    struct forest_topk_args args = {&planned->plan, N_USERS,    users, 30,     users, offsets,
                                    seen,           candidates, n,     movies, scores};
    REQUIRE_OK(backend->ops->forest_topk(backend, &args, &err), err);
    for (int u = 0; u < N_USERS; u++) {
        int count = best_of(p, u, n, best);
        for (int i = 0; i < n; i++) {
            CHECK_INT(movies[u * n + i], i < count ? best[i] : -1);
            if (i < count) CHECK(scores[u * n + i] == walked(p, u, best[i], 30));
            if (i >= count) CHECK(isnan(scores[u * n + i]));
        }
    }
    free(movies), free(best), free(scores);
}

static void check_problem(reel_context *ctx, struct problem *p, int big) {
    struct backend *backend;
    struct forest_planned *planned;
    reel_error err;
    REQUIRE_OK(context_backend(ctx, &backend, &err), err);
    REQUIRE_OK(forest_plan_new(ctx, &p->model, &p->forest, p->n_movies, p->map, &planned, &err), err);
    CHECK(planned != NULL);
    if (planned) {
        CHECK_INT(planned->plan.n_groups > planned->plan.n_small, big);
        check_movies(p, backend, planned);
        check_pairs(p, backend, planned);
        if (p->n_movies < 400) check_topk(p, backend, planned, 1);
        if (p->n_movies < 400) check_topk(p, backend, planned, 7);
        if (p->n_movies < 40) check_topk(p, backend, planned, 60);
    }
    forest_plan_free(planned);
    free(p);
}

static void check_level(const char *simd, int threads) {
    setenv("REEL_SIMD", simd, 1);
    reel_context_options options;
    reel_context *ctx;
    reel_error err;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    check_problem(ctx, make_problem(0, 3, 3, "umh", 0), 0);
    check_problem(ctx, make_problem(1, 1, 0, "umh", 0), 0);
    check_problem(ctx, make_problem(37, 0, 3, "umh", 0), 0);
    check_problem(ctx, make_problem(255, 5, 1, "mmmu", 1), 0);
    check_problem(ctx, make_problem(256, 20, 2, "uuh", 0), 0);
    check_problem(ctx, make_problem(257, 100, 3, "ummmmmmhh", 1), 0);
    check_problem(ctx, make_problem(3001, 300, 3, "uummmmmmhh", 0), 0);
    check_problem(ctx, make_problem(700, 40, 7, "ummmmhm", 1), 1);
    check_problem(ctx, make_problem(1500, 20, 8, "ummmmhm", 0), 1);
    reel_context_free(ctx);
}

static void plain_loops(void) {
    check_level("generic", 1);
    check_level("generic", 3);
}

static void simd_levels(void) {
    check_level("avx2", 2);
    check_level("avx512", 1);
    check_level("avx512", 4);
}

static void too_many_leaves(void) {
    unsetenv("REEL_SIMD");
    reel_context *ctx;
    struct forest_planned *planned;
    reel_error err;
    REQUIRE_OK(reel_context_new(NULL, &ctx, &err), err);
    struct problem *p = make_problem(100, 3, 10, "umh", 0);
    REQUIRE_OK(forest_plan_new(ctx, &p->model, &p->forest, p->n_movies, NULL, &planned, &err), err);
    CHECK(planned == NULL);
    free(p);
    reel_context_free(ctx);
}

/* ---- on a device ---- */

struct request {
    int n_users, n, with_seen, with_candidates;
};

static struct forest_planned *plan_of(const struct problem *p) {
    struct forest_planned *planned;
    reel_error err;
    REQUIRE_OK(forest_plan_new(context, &p->model, &p->forest, p->n_movies, p->map, &planned, &err), err);
    if (!planned) exit(1);
    return planned;
}

/* Row 0 has seen all movies, row 1 none, the others every third or so. */
static int64_t *seen_of(const struct problem *p, int n_rows, int32_t **movies) {
    int64_t *offsets = make(n_rows + 1, sizeof *offsets);
    *movies = make((int64_t)n_rows * p->n_movies, sizeof **movies);
    for (int u = 0; u < n_rows; u++) {
        offsets[u + 1] = offsets[u];
        for (int32_t m = 0; m < p->n_movies; m++)
            if (u == 0 || (u > 1 && random_word() % 3 == 0)) (*movies)[offsets[u + 1]++] = m;
    }
    return offsets;
}

struct lists {
    int32_t *movies;
    float *scores;
};

static struct lists lists_of(struct backend *backend, const struct forest_planned *planned, const int32_t *users,
                             const int64_t *offsets, const int32_t *seen, const uint8_t *candidates,
                             struct request request) {
    struct job_memory job = {.backend = backend};
    struct forest_plan plan;
    const int64_t results = (int64_t)request.n_users * request.n;
    struct lists out = {make(results, 4), make(results, 4)};
    int32_t *rows = make(request.n_users, sizeof *rows);
    reel_error err;
    REQUIRE_OK(forest_plan_place(planned, &job, &plan, &err), err);
    for (int u = 0; u < request.n_users; u++) rows[u] = u;
    struct forest_topk_args args = {.plan = &plan,
                                    .n_users = request.n_users,
                                    .users = users,
                                    .hour = 77,
                                    .seen_rows = rows,
                                    .candidates = request.with_candidates ? candidates : NULL,
                                    .n = request.n,
                                    .movies = out.movies,
                                    .scores = out.scores};
    if (request.with_seen) args.seen_offsets = PUT(&job, offsets, request.n_users + 1);
    if (request.with_seen) args.seen_movies = PUT(&job, seen, offsets[request.n_users]);
    REQUIRE_OK(backend->ops->forest_topk(backend, &args, &err), err);
    job_memory_free(&job);
    mem_free(rows);
    return out;
}

static void compare_lists(const struct problem *p, const struct forest_planned *planned, struct request request) {
    const size_t bytes = (size_t)request.n_users * (size_t)request.n * 4;
    int32_t *users = make(request.n_users, sizeof *users), *seen;
    uint8_t *candidates = make(p->n_movies, 1);
    int64_t *offsets = seen_of(p, request.n_users, &seen);
    char what[96];
    for (int u = 0; u < request.n_users; u++)
        users[u] = (int32_t)(random_word() % (N_USERS + 1)); /* unknown ones too */
    for (int32_t m = 0; m < p->n_movies; m++) candidates[m] = random_word() % 4 != 0;
    struct lists expected = lists_of(reference, planned, users, offsets, seen, candidates, request);
    struct lists found = lists_of(device, planned, users, offsets, seen, candidates, request);
    snprintf(what, sizeof what, "%d movies, %d trees, %d users, n %d", p->n_movies, p->forest.n_trees, request.n_users,
             request.n);
    check_same(what, expected.movies, found.movies, bytes);
    check_same(what, expected.scores, found.scores, bytes); /* one NaN past the end everywhere */
    mem_free(users), mem_free(seen), mem_free(candidates), mem_free(offsets);
}

/* Movies, trees, depth: nothing, one leaf, odd sizes, several stages of tables. */
static const struct shape {
    int n_movies, n_trees, depth;
    const char *tables;
} shapes[] = {{0, 3, 3, "umh"},        {1, 1, 0, "umh"},           {37, 0, 3, "umh"},
              {255, 5, 1, "mmmu"},     {256, 20, 2, "uuh"},        {513, 100, 3, "ummmmmmhh"},
              {1500, 20, 8, "ummmhm"}, {2600, 60, 3, "uummmmmmh"}, {4000, 30, 8, "uuummmmmmm"}};

static void forest_topk_matches(void) {
    int staged = 0, alone = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *shape = &shapes[i];
        struct problem *p = make_problem(shape->n_movies, shape->n_trees, shape->depth, shape->tables, i % 2);
        struct forest_planned *planned = plan_of(p);
        staged |= planned->plan.n_cells > 2048;
        for (int g = 0; g < planned->plan.n_groups; g++)
            alone |= planned->group_cells[g + 1] - planned->group_cells[g] > 2048;
        compare_lists(p, planned, (struct request){0, 3, 1, 1});
        compare_lists(p, planned, (struct request){1, 1, 0, 0});
        compare_lists(p, planned, (struct request){9, 10, 1, 0});
        compare_lists(p, planned, (struct request){70, 150, 1, 1});
        if (p->n_movies < 2000) compare_lists(p, planned, (struct request){8, p->n_movies + 3, 1, 0});
        compare_lists(p, planned, (struct request){3, 2048, 0, 1});
        forest_plan_free(planned);
        free(p);
    }
    CHECK(staged && alone);
}

static void forest_pairs_match(void) {
    enum { PAIRS = 5003 };
    static const int sizes[] = {0, 1, 127, 128, PAIRS};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct problem *p = make_problem(shapes[i].n_movies, shapes[i].n_trees, shapes[i].depth, shapes[i].tables, 1);
        struct forest_planned *planned = plan_of(p);
        int32_t *at = make(3 * PAIRS, sizeof *at);
        for (int pair = 0; pair < PAIRS; pair++) {
            at[pair] = (int32_t)(random_word() % (N_USERS + 1));
            at[PAIRS + pair] = (int32_t)(random_word() % (unsigned)(p->n_movies + 1));
            at[2 * PAIRS + pair] = (int32_t)(random_word() % (STAR_HOURS + 1));
        }
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            float *scores[2] = {make(PAIRS, 4), make(PAIRS, 4)};
            for (int side = 0; side < 2; side++) {
                struct backend *backend = side ? device : reference;
                struct job_memory job = {.backend = backend};
                struct forest_plan plan;
                reel_error err;
                REQUIRE_OK(forest_plan_place(planned, &job, &plan, &err), err);
                struct forest_pairs_args args = {&plan, sizes[s], at, at + PAIRS, at + 2 * PAIRS, scores[side]};
                REQUIRE_OK(backend->ops->forest_pairs(backend, &args, &err), err);
                job_memory_free(&job);
            }
            check_same("forest_pairs", scores[0], scores[1], PAIRS * sizeof(float));
        }
        mem_free(at);
        forest_plan_free(planned);
        free(p);
    }
}

static const struct device_row device_rows[] = {DEVICE_ROW(forest_topk_matches), DEVICE_ROW(forest_pairs_match)};

int main(void) {
    device_begin();
    RUN(plain_loops);
    RUN(simd_levels);
    RUN(too_many_leaves);
    unsetenv("REEL_SIMD");
    return device_end(device_rows, sizeof device_rows / sizeof device_rows[0]);
}
