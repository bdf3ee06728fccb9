/* Deep trees from the inside: levels beside lists, scores by leaf masks beside walks, draws by weight beside a plain
 * loop. */
#include "test.h"

#include <math.h>
#include <string.h>

#include "core/context.h"
#include "kernels/common/philox.h"
#include "model/row_score.h"
#include "model/weighted_draw.h"
#include "planted.h"

static reel_context *new_context(int threads) {
    reel_context *ctx;
    reel_error err;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = threads;
    options.device = "cpu";
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    return ctx;
}

/* ---- levels beside lists ---- */

static struct features features_of(const struct planted *p, int by_stars) {
    struct features features = {.stride = by_stars ? STAR_HALF_STARS : 1};
    struct star_options options = {.year = 0, .hour = 1};
    reel_error err;
    REQUIRE_OK(star_build(&p->dataset, &p->train, &options, &features.star, &err), err);
    if (by_stars) REQUIRE_OK(star_leave_one_out(&features.star, &p->train, &features.by_stars, &err), err);
    return features;
}

/* Counts 0 to 3; some ratings come up more often. */
static uint16_t *some_copies(int64_t n, uint64_t seed) {
    uint16_t *copies = malloc((size_t)n * sizeof *copies);
    for (int64_t i = 0; i < n; i++) {
        uint32_t word = random_word(seed, (uint64_t)i);
        copies[i] = (uint16_t)(word % 100 == 0 ? 40000 : word >> 8 & 3);
    }
    return copies;
}

static int same_below(const struct row_tree *a, int32_t x, const struct row_tree *b, int32_t y) {
    const struct forest_node m = a->nodes.nodes[x], n = b->nodes.nodes[y];
    if (m.column != n.column || memcmp(&m.value, &n.value, sizeof m.value) != 0) return 0;
    if (m.column < 0) return 1;
    return same_below(a, m.left, b, n.left) && same_below(a, m.right, b, n.right);
}

static struct row_tree grow(reel_context *ctx, const struct row_data *data, const uint16_t *copies,
                            struct row_limits limits, int levels, int alone) {
    struct row_tree tree;
    reel_error err;
    limits.levels = levels;
    REQUIRE_OK(row_tree_grow(ctx, data, copies, &limits, alone, &tree, &err), err);
    return tree;
}

static void check_levels(const struct row_data *data, const uint16_t *copies, struct row_limits limits) {
    reel_context *ctx = new_context(3);
    struct row_tree lists = grow(ctx, data, copies, limits, 0, 1);
    for (int levels = 0; levels <= ROW_TOP_LEVELS; levels++)
        for (int alone = 0; alone < 2; alone++) {
            struct row_tree tree = grow(ctx, data, copies, limits, levels, alone);
            CHECK_INT(tree.nodes.n_nodes, lists.nodes.n_nodes);
            CHECK(same_below(&tree, 0, &lists, 0));
            for (int c = 0; c < data->columns.n; c++) /* sums of the same numbers in another order */
                CHECK(fabs(tree.importances[c] - lists.importances[c]) <= 1e-9 * lists.importances[c]);
            row_tree_free(&tree);
        }
    row_tree_free(&lists);
    reel_context_free(ctx);
}

static void test_levels_beside_lists(void) {
    static const struct row_limits limits[] = {
        {.depth = 64, .min_samples_split = 2, .min_samples_leaf = 1, .max_features = 99, .seed = 1},
        {.depth = 3, .min_samples_split = 2, .min_samples_leaf = 1, .max_features = 99, .seed = 2},
        {.depth = 1, .min_samples_split = 2, .min_samples_leaf = 1, .max_features = 99, .seed = 2},
        {.depth = 9, .min_samples_split = 400, .min_samples_leaf = 150, .max_features = 3, .seed = 3, .tree = 7},
    };
    reel_context *ctx = new_context(2);
    struct planted p = planted_new(ctx, 300, 200, 30, 0.4f, 21);
    uint16_t *copies = some_copies(p.train.n_ratings, 22);
    for (int by_stars = 0; by_stars < 2; by_stars++) {
        struct features features = features_of(&p, by_stars);
        struct row_data data;
        reel_error err;
        REQUIRE_OK(row_data_new(ctx, &p.train, &features, &data, &err), err);
        for (size_t i = UNDER_TSAN && by_stars ? 2 : UNDER_TSAN; i < sizeof limits / sizeof limits[0]; i++) {
            check_levels(&data, NULL, limits[i]);
            check_levels(&data, copies, limits[i]);
        }
        row_data_free(&data);
        features_free(&features);
    }
    free(copies);
    planted_free(&p);
    reel_context_free(ctx);
}

/* Ratings that are all alike make one leaf, also where levels find no gain; one user's own stars another. */
static void test_pure_nodes(void) {
    reel_context *ctx = new_context(2);
    struct planted p = planted_new(ctx, 40, 30, 60, 0.4f, 23);
    uint8_t *stars = (uint8_t *)(uintptr_t)p.train.user_ratings;
    for (int32_t u = 0; u < p.train.n_users; u++)
        for (int64_t i = p.train.user_offsets[u]; i < p.train.user_offsets[u + 1]; i++) stars[i] = u == 3 ? 10 : 4;
    struct features features = features_of(&p, 0);
    struct row_data data;
    reel_error err;
    REQUIRE_OK(row_data_new(ctx, &p.train, &features, &data, &err), err);
    struct row_limits limits = {.depth = 64, .min_samples_split = 2, .min_samples_leaf = 1, .max_features = 99};
    struct row_tree tree = grow(ctx, &data, NULL, limits, ROW_TOP_LEVELS, 0);
    CHECK_INT(tree.nodes.n_nodes, 3);
    CHECK(same_below(&tree, 1, &tree, 1) && tree.nodes.nodes[1].value == 2 && tree.nodes.nodes[2].value == 5);
    check_levels(&data, NULL, limits);
    row_tree_free(&tree);
    row_data_free(&data);
    features_free(&features);
    planted_free(&p);
    reel_context_free(ctx);
}

/* Everybody's mean is the same, on every weekday and of every movie: splits by weekday that gain nothing are made. */
static void test_splits_without_gain(void) {
    enum { USERS = 28, MOVIES = 6, N = USERS * MOVIES };
    int64_t offsets[USERS + 1];
    int32_t movies[N];
    uint8_t stars[N];
    uint32_t times[N];
    for (int u = 0; u <= USERS; u++) offsets[u] = (int64_t)u * MOVIES;
    for (int i = 0; i < N; i++) {
        movies[i] = i % MOVIES;
        stars[i] = (uint8_t)((i / MOVIES + i) % 2 ? 4 : 9);
        times[i] = 1000000000u + 86400u * (uint32_t)(i / MOVIES % 7);
    }
    struct planted p = {.dataset = {.n_users = USERS, .n_movies = MOVIES}};
    p.train = (struct ratings){.n_users = USERS,
                               .n_movies = MOVIES,
                               .n_ratings = N,
                               .user_offsets = offsets,
                               .user_movies = movies,
                               .user_ratings = stars,
                               .user_times = times};
    reel_context *ctx = new_context(1);
    struct features features = features_of(&p, 0);
    struct row_data data;
    reel_error err;
    REQUIRE_OK(row_data_new(ctx, &p.train, &features, &data, &err), err);
    struct row_limits limits = {.depth = 64, .min_samples_split = 2, .min_samples_leaf = 1, .max_features = 99};
    struct row_tree tree = grow(ctx, &data, NULL, limits, ROW_TOP_LEVELS, 0);
    CHECK(tree.nodes.n_nodes >= 13);
    check_levels(&data, NULL, limits);
    row_tree_free(&tree);
    row_data_free(&data);
    features_free(&features);
    reel_context_free(ctx);
}

/* ---- scores ---- */

static float walk(const struct row_data *data, const struct row_tree *tree, int32_t user, int64_t i) {
    const struct ratings *ratings = data->ratings;
    const uint8_t stars = ratings->user_ratings[i];
    const struct forest_node *node = tree->nodes.nodes;
    while (node->column >= 0) {
        const struct star_column *column = &data->star->columns[node->column];
        int32_t row = column->table == STAR_CALENDAR ? star_hour(ratings->user_times[i])
                      : column->table == STAR_USER   ? features_row(data->stride, user, stars)
                                                     : features_row(data->stride, ratings->user_movies[i], stars);
        node = &tree->nodes.nodes[column->values[row] > node->value ? node->right : node->left];
    }
    return node->value;
}

/* Trees of 1, a few, 64 and more leaves. */
static void test_scores(void) {
    reel_context *ctx = new_context(2);
    struct planted p = planted_new(ctx, 90, 60, 40, 0.4f, 24);
    float *scores = malloc((size_t)p.train.n_ratings * sizeof *scores);
    for (int depth = 1; depth <= 12; depth++) {
        struct features features = features_of(&p, depth % 2);
        struct row_data data;
        struct row_scorer scorer;
        reel_error err;
        REQUIRE_OK(row_data_new(ctx, &p.train, &features, &data, &err), err);
        struct row_limits limits = {
            .depth = depth, .min_samples_split = 2, .min_samples_leaf = depth == 12 ? 2000 : 1, .max_features = 99};
        struct row_tree tree = grow(ctx, &data, NULL, limits, 2, 0);
        REQUIRE_OK(row_scorer_new(ctx, &data, &tree, &scorer, &err), err);
        CHECK(depth > 5 || (scorer.n_leaves > 0 && scorer.n_leaves <= 1 << depth));
        CHECK(depth != 11 || scorer.n_leaves == 0);
        for (int32_t u = 0; u < p.train.n_users; u++) {
            row_scorer_user(&scorer, u, scores);
            for (int64_t i = p.train.user_offsets[u]; i < p.train.user_offsets[u + 1]; i++)
                CHECK(scores[i - p.train.user_offsets[u]] == walk(&data, &tree, u, i));
        }
        row_scorer_free(&scorer);
        row_tree_free(&tree);
        row_data_free(&data);
        features_free(&features);
    }
    free(scores);
    planted_free(&p);
    reel_context_free(ctx);
}

/* ---- draws ---- */

/* The same numbers, one after another. */
static void draw_plainly(uint64_t seed, int64_t n, const double *weights, uint16_t *copies) {
    double gaps = 0, total = 0, place = 0, below = weights[0];
    float *gap = malloc(((size_t)n + 1) * sizeof *gap);
    for (int64_t i = 0; i <= n; i++) {
        gap[i] = -logf((float)philox_uniform(philox_block(seed, 5, (uint64_t)i / 4).v[i % 4]));
        gaps += (double)gap[i];
    }
    for (int64_t i = 0; i < n; i++) total += weights[i];
    memset(copies, 0, (size_t)n * sizeof *copies);
    for (int64_t i = 0, at = 0; i < n; i++) {
        place += (double)gap[i];
        while (at < n - 1 && below <= place / gaps * total) below += weights[++at];
        copies[at] = (uint16_t)(copies[at] + (copies[at] < UINT16_MAX));
    }
    free(gap);
}

enum weighting { EQUAL, RANDOM, SKEWED, ONE_HAS_ALL, LAST_HAS_ALL, WEIGHTINGS };

static void set_weights(enum weighting weighting, int64_t n, double *weights) {
    for (int64_t i = 0; i < n; i++) {
        double uniform = philox_uniform(random_word(31, (uint64_t)i));
        weights[i] = weighting == EQUAL         ? 1.0 / (double)n
                     : weighting == RANDOM      ? uniform * (double)(i % 3)
                     : weighting == SKEWED      ? exp(-20 * uniform)
                     : weighting == ONE_HAS_ALL ? (double)(i == n / 3)
                                                : (double)(i == n - 1);
    }
}

static void check_draw(reel_context *one, reel_context *three, int64_t n, enum weighting weighting) {
    double *weights = malloc((size_t)n * sizeof *weights);
    float *gaps = malloc((size_t)n * sizeof *gaps);
    uint16_t *copies[3];
    reel_error err;
    int64_t drawn = 0, differ = 0, forbidden = 0;
    for (int i = 0; i < 3; i++) copies[i] = malloc((size_t)n * sizeof *copies[i]);
    set_weights(weighting, n, weights);
    if (weighting == RANDOM && n < 3) weights[0] = 1;
    draw_plainly(77, n, weights, copies[0]);
    REQUIRE_OK(weighted_draw(one, 77, 5, n, weights, gaps, copies[1], &err), err);
    REQUIRE_OK(weighted_draw(three, 77, 5, n, weights, gaps, copies[2], &err), err);
    CHECK(memcmp(copies[1], copies[2], (size_t)n * sizeof *copies[1]) == 0);
    for (int64_t i = 0; i < n; i++) {
        drawn += copies[1][i];
        differ += labs((long)copies[0][i] - copies[1][i]);
        forbidden += copies[1][i] > 0 && weights[i] <= 0;
    }
    CHECK_INT(forbidden, 0);
    if (weighting < ONE_HAS_ALL || n <= UINT16_MAX) CHECK_INT(drawn, n);
    /* Sums are rounded at about 1e-12 of a weight's size: a number in 1e7 changes its place. */
    CHECK(differ <= 2);
    for (int i = 0; i < 3; i++) free(copies[i]);
    free(weights);
    free(gaps);
}

static void test_draws(void) {
    static const int64_t sizes[] = {1, 2, 5, 1000, 16384, 16385, 100003, 300000};
    reel_context *one = new_context(1), *three = new_context(3);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (int weighting = 0; weighting < WEIGHTINGS; weighting++)
            check_draw(one, three, sizes[s], (enum weighting)weighting);
    reel_context_free(one);
    reel_context_free(three);
}

/* Half of the draws fall on those that have half of the weight: within six standard deviations. */
static void test_draws_follow_weights(void) {
    enum { N = 200000 };
    reel_context *ctx = new_context(2);
    double *weights = malloc(N * sizeof *weights);
    float *gaps = malloc(N * sizeof *gaps);
    uint16_t *copies = malloc(N * sizeof *copies);
    int64_t heavy = 0, twice = 0;
    reel_error err;
    for (int i = 0; i < N; i++) weights[i] = i % 10 == 7 ? 9 : 1;
    REQUIRE_OK(weighted_draw(ctx, 3, 4, N, weights, gaps, copies, &err), err);
    for (int i = 0; i < N; i++) {
        heavy += i % 10 == 7 ? copies[i] : 0;
        twice += i % 10 != 7 && copies[i] == 2;
    }
    CHECK(fabs((double)heavy - N / 2.0) < 6 * sqrt(N / 4.0));
    /* The light ones come up Poisson(5 / 9) times. */
    double share = exp(-5 / 9.0) * 25 / 162, mean = 0.9 * N * share;
    CHECK(fabs((double)twice - mean) < 6 * sqrt(mean));
    free(weights);
    free(gaps);
    free(copies);
    reel_context_free(ctx);
}

int main(void) {
    RUN(test_levels_beside_lists);
    RUN(test_pure_nodes);
    RUN(test_splits_without_gain);
    RUN(test_scores);
    RUN(test_draws);
    RUN(test_draws_follow_weights);
    TEST_EXIT();
}
