/* Spectral clustering of users: planted clusters, thread independence, every affinity, placing newcomers, odd data. */
#include "tests/test.h"

#include <unistd.h>

#include <reel/cluster.h>
#include "data/random_ratings.h"
#include "data/dataset.h"
#include "kernels/common/philox.h"
#include "model/clusters.h"

/* A dataset in memory: `users` users of `kinds` kinds; each rates `each` movies, 9 of 10 of its kind's genre. */
struct made {
    struct reel_dataset dataset;
    int64_t *offsets;
    int32_t *movies, *ids;
    uint8_t *ratings;
    uint64_t *genres;
};

static struct made make(int32_t users, int kinds, int each, int off_percent) {
    const int32_t n_movies = kinds * 40;
    struct made m = {0};
    size_t n = (size_t)users * (size_t)each;
    m.offsets = calloc((size_t)users + 1, sizeof *m.offsets);
    m.movies = calloc(n + 1, sizeof *m.movies);
    m.ratings = calloc(n + 1, 1);
    m.ids = calloc((size_t)(users > n_movies ? users : n_movies), sizeof *m.ids);
    m.genres = calloc((size_t)n_movies, sizeof *m.genres);
    for (int32_t i = 0; i < users || i < n_movies; i++) m.ids[i] = i + 1;
    for (int32_t i = 0; i < n_movies; i++) m.genres[i] = 1ull << (i / 40);
    for (int32_t u = 0; u < users; u++) {
        uint8_t seen[64 * 40] = {0};
        for (uint64_t t = 0, got = 0; (int)got < each; t++) {
            struct philox4 w = philox_block(1, philox_stream(PHILOX_TEST, 1), (uint64_t)u * 4096 + t);
            int kind = (int)(w.v[0] % 100) < off_percent ? (int)(w.v[1] % (uint32_t)kinds) : u % kinds;
            int movie = kind * 40 + (int)(w.v[2] % 40);
            got += !seen[movie];
            seen[movie] = 1;
        }
        m.offsets[u + 1] = m.offsets[u];
        for (int32_t movie = 0; movie < n_movies; movie++)
            if (seen[movie]) {
                m.ratings[m.offsets[u + 1]] = (uint8_t)(2 + movie % 9);
                m.movies[m.offsets[u + 1]++] = movie;
            }
    }
    m.dataset = (struct reel_dataset){.n_users = users,
                                      .n_movies = n_movies,
                                      .n_genres = kinds,
                                      .user_ids = m.ids,
                                      .movie_ids = m.ids,
                                      .movie_genres = m.genres,
                                      .fingerprint = "0123456789abcdef0123456789abcdef",
                                      .n_ratings = m.offsets[users]};
    m.dataset.ratings = (struct ratings){.n_users = users,
                                         .n_movies = n_movies,
                                         .n_ratings = m.offsets[users],
                                         .user_offsets = m.offsets,
                                         .user_movies = m.movies,
                                         .user_ratings = m.ratings};
    return m;
}

static void made_free(struct made *m) {
    free(m->offsets), free(m->movies), free(m->ratings), free(m->ids), free(m->genres);
}

/* 1 when labels and the planted kinds are the same partition. */
static int same_partition(const reel_clusters *c, const struct made *m, int kinds) {
    int label_of[64];
    for (int i = 0; i < kinds; i++) label_of[i] = -1;
    for (int32_t u = 0; u < m->dataset.n_users; u++) {
        int label = reel_clusters_of_user(c, m->ids[u]);
        if (label_of[u % kinds] < 0) label_of[u % kinds] = label;
        if (label_of[u % kinds] != label) return 0;
    }
    for (int i = 0; i < kinds; i++)
        for (int j = 0; j < i; j++)
            if (label_of[i] == label_of[j]) return 0;
    return 1;
}

static reel_cluster_options options_of(reel_affinity affinity) {
    reel_cluster_options o;
    reel_cluster_options_default(&o);
    o.affinity = affinity;
    return o;
}

static void planted_clusters_are_found(void) {
    reel_context *ctx = context_of(2);
    struct made m = make(UNDER_TSAN ? 300 : 600, 4, 25, 20);
    for (int affinity = 0; affinity < 5; affinity++)
        for (int assign = 0; assign < (UNDER_TSAN ? 1 : 2); assign++) {
            reel_cluster_options o = options_of((reel_affinity)affinity);
            o.assignment = (reel_assignment)assign;
            o.gamma = affinity == REEL_AFFINITY_RBF ? 3 : 1;
            reel_clusters *c;
            reel_cluster_report report;
            reel_error err;
            REQUIRE_OK(reel_cluster(ctx, &m.dataset, &o, &c, &report, &err), err);
            if (!same_partition(c, &m, 4)) fprintf(stderr, "affinity %d assignment %d\n", affinity, assign);
            CHECK(same_partition(c, &m, 4));
            CHECK_NEAR(report.eigenvalues[0], 1, 1e-9);
            for (int j = 0; j < report.n_eigenvalues; j++) CHECK(report.residuals[j] <= 1e-8);
            reel_clusters_free(c);
        }
    reel_cluster_options o = options_of(REEL_AFFINITY_POLYNOMIAL);
    o.k = 0; /* by the eigengap */
    o.scaling = REEL_SCALE_L1;
    o.affinity = REEL_AFFINITY_COSINE;
    reel_clusters *c;
    reel_cluster_report report;
    reel_error err;
    REQUIRE_OK(reel_cluster(ctx, &m.dataset, &o, &c, &report, &err), err);
    CHECK_INT(report.k, 4);
    reel_clusters_free(c);
    o.k = 4;
    o.nystroem = 60;
    REQUIRE_OK(reel_cluster(ctx, &m.dataset, &o, &c, &report, &err), err);
    CHECK(report.approximation_error >= 0 && report.approximation_error < 0.5 && same_partition(c, &m, 4));
    reel_clusters_free(c);
    made_free(&m);
    reel_context_free(ctx);
}

static void a_hundred_thousand_users(void) {
    reel_context *ctx = context_of(2);
    struct made m = make(UNDER_SANITIZER ? 5000 : 100000, 4, 20, 10);
    reel_cluster_options o = options_of(REEL_AFFINITY_COSINE);
    reel_clusters *c;
    reel_error err;
    REQUIRE_OK(reel_cluster(ctx, &m.dataset, &o, &c, NULL, &err), err);
    CHECK(same_partition(c, &m, 4));
    reel_clusters_free(c);
    made_free(&m);
    reel_context_free(ctx);
}

static void same_clusters_at_any_thread_count(void) {
    struct made m = make(UNDER_TSAN ? 330 : 900, 3, 20, 60);
    for (int affinity = 0; affinity < 5; affinity++) {
        reel_clusters *first = NULL;
        const int threads[] = {1, 2, 5};
        for (int t = UNDER_TSAN; t < 3; t++) {
            reel_context *ctx = context_of(threads[t]);
            reel_cluster_options o = options_of((reel_affinity)affinity);
            reel_clusters *c;
            reel_error err;
            REQUIRE_OK(reel_cluster(ctx, &m.dataset, &o, &c, NULL, &err), err);
            if (first) {
                CHECK(memcmp(first->labels, c->labels, sizeof *c->labels * (size_t)c->n) == 0);
                CHECK(memcmp(first->eigenvectors, c->eigenvectors, sizeof(double) * (size_t)c->n * (size_t)c->k) == 0);
                reel_clusters_free(c);
            } else
                first = c;
            reel_context_free(ctx);
        }
        reel_clusters_free(first);
    }
    made_free(&m);
}

/* Users left out of the clustering are placed with their kind; a saved clustering answers the same. */
static void newcomers_and_files(void) {
    reel_context *ctx = context_of(2);
    struct made m = make(400, 4, 25, 20);
    struct made some = make(360, 4, 25, 20); /* the same first 360 users */
    for (int affinity = 0; affinity < 5; affinity++) {
        reel_cluster_options o = options_of((reel_affinity)affinity);
        o.gamma = affinity == REEL_AFFINITY_RBF ? 3 : 1;
        reel_clusters *c, *opened;
        reel_error err;
        REQUIRE_OK(reel_cluster(ctx, &some.dataset, &o, &c, NULL, &err), err);
        char path[] = "/tmp/reel-test-clusters-XXXXXX";
        int fd = mkstemp(path);
        close(fd);
        REQUIRE_OK(reel_clusters_save(ctx, c, path, &err), err);
        REQUIRE_OK(reel_clusters_open(ctx, path, &opened, &err), err);
        for (int32_t u = 0; u < 400; u++) {
            int placed, expected = reel_clusters_of_user(c, m.ids[u % 4]);
            REQUIRE_OK(reel_clusters_place(opened, &m.dataset, u, &placed, &err), err);
            CHECK_INT(placed, expected);
            CHECK_INT(reel_clusters_of_user(opened, m.ids[u]), u < 360 ? expected : -1);
        }
        uint8_t candidates[160];
        REQUIRE_OK(reel_clusters_candidates(c, &some.dataset, 0, candidates, &err), err);
        int n = 0;
        for (int i = 0; i < 160; i++) n += candidates[i];
        CHECK(n > 40 && n <= 160);
        CHECK_INT(reel_clusters_candidates(c, &some.dataset, 4, candidates, &err), REEL_INVALID_ARGUMENT);
        reel_clusters_free(opened);
        reel_clusters_free(c);
        unlink(path);
    }
    made_free(&some);
    made_free(&m);
    reel_context_free(ctx);
}

static reel_status try_options(reel_context *ctx, const struct made *m, const reel_cluster_options *o,
                               reel_clusters **c) {
    reel_error err = {.message = ""};
    reel_status status = reel_cluster(ctx, &m->dataset, o, c, NULL, &err);
    CHECK((status == REEL_OK) == (*c != NULL));
    CHECK(status == REEL_OK || strlen(err.message) > 10);
    return status;
}

static void odd_data_and_parameters(void) {
    reel_context *ctx = context_of(2);
    struct made m = make(40, 4, 10, 30);
    reel_clusters *c;
    const struct {
        int k;
        double gamma, coef0, tolerance;
        int degree, nystroem;
        int64_t min, max;
    } bad[] = {{1, 1, 1, 1e-9, 3, 0, 0, 0},   {65, 1, 1, 1e-9, 3, 0, 0, 0},  {41, 1, 1, 1e-9, 3, 0, 0, 0},
               {4, NAN, 1, 1e-9, 3, 0, 0, 0}, {4, 1, NAN, 1e-9, 3, 0, 0, 0}, {4, 1, 1, NAN, 3, 0, 0, 0},
               {4, 1, 1, 1e-9, 0, 0, 0, 0},   {4, 1, 1, 1e-9, 3, 1, 0, 0},   {4, 1, 1, 1e-9, 3, 0, 11, 0},
               {4, 1, 1, 1e-9, 3, 0, 5, 4},   {-1, 1, 1, 1e-9, 3, 0, 0, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        reel_cluster_options o = options_of(REEL_AFFINITY_POLYNOMIAL);
        o.k = bad[i].k, o.gamma = bad[i].gamma, o.coef0 = bad[i].coef0, o.tolerance = bad[i].tolerance;
        o.degree = bad[i].degree, o.nystroem = bad[i].nystroem, o.min_ratings = bad[i].min, o.max_ratings = bad[i].max;
        CHECK_INT(try_options(ctx, &m, &o, &c), REEL_INVALID_ARGUMENT);
    }
    reel_cluster_options o = options_of(REEL_AFFINITY_POLYNOMIAL);
    o.k = 40; /* as many clusters as users */
    CHECK_INT(try_options(ctx, &m, &o, &c), REEL_OK);
    reel_clusters_free(c);
    made_free(&m);
    /* all users alike */
    m = make(40, 4, 10, 30);
    for (int32_t i = 0; i < m.dataset.n_movies; i++) m.genres[i] = 1;
    CHECK_INT(try_options(ctx, &m, &o, &c), REEL_BAD_INPUT);
    /* users without genres: no affinity by cosine, so no cluster; the others are clustered */
    made_free(&m);
    m = make(200, 4, 10, 5);
    for (int32_t i = 120; i < 160; i++) m.genres[i] = 0; /* the fourth kind's movies have none */
    o = options_of(REEL_AFFINITY_COSINE);
    o.k = 3;
    o.scaling = REEL_SCALE_NONE;
    for (int32_t u = 3; u < 200; u += 4) /* and its users rate nothing else */
        for (int64_t r = m.offsets[u]; r < m.offsets[u + 1]; r++)
            if (m.movies[r] < 120) m.movies[r] = 120;
    CHECK_INT(try_options(ctx, &m, &o, &c), REEL_OK);
    for (int32_t u = 0; u < 200; u++) CHECK((reel_clusters_of_user(c, m.ids[u]) == -1) == (u % 4 == 3));
    reel_clusters_free(c);
    made_free(&m);
    /* a disconnected graph: kinds that share no genre */
    m = make(200, 4, 10, 0);
    o = options_of(REEL_AFFINITY_LINEAR);
    reel_cluster_report report;
    reel_error err;
    REQUIRE_OK(reel_cluster(ctx, &m.dataset, &o, &c, &report, &err), err);
    CHECK(same_partition(c, &m, 4));
    for (int j = 0; j < 4; j++) CHECK_NEAR(report.eigenvalues[j], 1, 1e-9);
    CHECK(report.eigenvalues[4] < 0.99);
    reel_clusters_free(c);
    made_free(&m);
    reel_context_free(ctx);
}

int main(void) {
    RUN(planted_clusters_are_found);
    RUN(a_hundred_thousand_users);
    RUN(same_clusters_at_any_thread_count);
    RUN(newcomers_and_files);
    RUN(odd_data_and_parameters);
    TEST_EXIT();
}
