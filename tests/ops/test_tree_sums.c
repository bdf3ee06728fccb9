/* tree_sums against a loop over single ratings: integers, so all bits count. Long runs and many users make the packed
 * words of the CPU overflow unless they are unpacked in time. */
#include "backend/backend_ops.h"
#include "backend/tree_ops.h"
#include "core/context.h"
#include "ops/device.h"

struct problem {
    int64_t *begins, parts[64];
    int32_t *users, *owners, *movies, *residuals, leaves[TREE_PATHS];
    uint8_t *kinds, *bits[3];
    struct tree_runs runs;
};

static uint32_t state;

static uint32_t next_draw(void) {
    state ^= state << 13, state ^= state >> 17, state ^= state << 5; /* Marsaglia's xorshift */
    return state >> 3;
}

static void *room(int64_t n, size_t size) {
    void *out = calloc((size_t)n + 1, size);
    if (!out) exit(1);
    return out;
}

/* Every user rated the first `per_user` movies or, if that is 0, a random few; residuals are `size` or random. With
 * `share` > 1 so many users have one owner, and share the movies out among them. */
static struct problem make_problem(int32_t n_users, int32_t n_movies, int n_kinds, int32_t per_user, int32_t size,
                                   int share) {
    struct problem p = {0};
    int64_t most = (int64_t)n_users * n_movies, n = 0, n_runs = 0;
    const int32_t rows[3] = {n_users, n_movies, n_kinds};
    state = 88172645u + (uint32_t)(n_users + 7 * n_movies + size);
    p.begins = room(most + 1, sizeof *p.begins), p.users = room(most, 4), p.kinds = room(most, 1);
    p.movies = room(most, 4), p.residuals = room(most, 4);
    for (int t = 0; t < 3; t++) {
        p.bits[t] = room(rows[t], 1);
        for (int32_t i = 0; i < rows[t]; i++) {
            uint32_t draw = next_draw(); /* a bit is set in one of four */
            p.bits[t][i] = (uint8_t)(draw & next_draw() & 127);
        }
    }
    for (int i = 0; i < TREE_PATHS; i++) p.leaves[i] = (int32_t)(next_draw() % 2000001) - 1000000;
    int n_parts = 0;
    for (int32_t user = 0; user < n_users; user++) {
        if (user % (n_users / 5 + 1) == 0) p.parts[n_parts++] = n_runs;
        int kind = -1;
        for (int32_t movie = 0; movie < n_movies; movie++) {
            if (per_user ? movie >= per_user : next_draw() % 3) continue;
            if (movie % share != user % share) continue;
            if (kind < 0 || next_draw() % 8 == 0 || n - p.begins[n_runs - 1] == TREE_RUN_MAX) {
                kind = (int)(next_draw() % (unsigned)n_kinds);
                p.begins[n_runs] = n, p.users[n_runs] = user, p.kinds[n_runs++] = (uint8_t)kind;
            }
            p.movies[n] = movie;
            p.residuals[n++] = size ? size : (int32_t)(next_draw() << 4) / 4;
        }
    }
    p.begins[n_runs] = n;
    p.parts[n_parts] = n_runs;
    p.owners = room(n_users, 4);
    for (int32_t user = 0; user < n_users; user++) p.owners[user] = user / share;
    p.runs = (struct tree_runs){n_users,
                                n_movies,
                                n_kinds,
                                n,
                                n_runs,
                                p.begins,
                                p.users,
                                p.kinds,
                                p.movies,
                                NULL,
                                share > 1 ? n_users / share + 1 : 0,
                                n_parts,
                                NULL};
    return p;
}

static void drop(struct problem *p) {
    void *all[] = {p->begins, p->users,   p->owners,  p->movies, p->residuals,
                   p->kinds,  p->bits[0], p->bits[1], p->bits[2]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static int node_of(int path, int level) {
    int node = 0;
    for (int i = 0; i < level; i++) node = 2 * node + (path >> ((1 << i) - 1 + node) & 1);
    return node;
}

static void add(struct tree_total *to, int32_t residual) {
    to->sum += residual;
    to->count++;
}

/* The sums of args are `expected`. */
static void check_sums(struct job_memory *job, const struct tree_sums_args *args,
                       struct tree_total *const expected[3]) {
    struct tree_total *const found[3] = {args->users, args->movies, args->kinds};
    const int32_t rows[3] = {args->runs->n_users, args->runs->n_movies, args->runs->n_kinds};
    for (int t = 0; t < 3; t++) {
        const size_t bytes = ((size_t)rows[t] << args->level) * sizeof **found;
        void *got = get_bytes(job, found[t], bytes);
        CHECK(memcmp(got, expected[t], bytes) == 0);
        mem_free(got);
    }
}

/* The ratings movie by movie, where the backend wants them so. */
static const struct tree_by_movie *by_movie_of(struct job_memory *job, const struct tree_runs *runs,
                                               const int32_t *residuals, struct tree_by_movie *out) {
    const struct backend_ops *ops = job->backend->ops;
    const struct tree_order_args args = {runs, residuals, out};
    reel_error err;
    if (!ops->tree_order) return NULL;
    REQUIRE_OK(JOB_ZEROS(job, &out->pieces, tree_pieces_most(runs), &err), err);
    REQUIRE_OK(JOB_ZEROS(job, &out->runs, runs->n_ratings, &err), err);
    REQUIRE_OK(JOB_ZEROS(job, &out->residuals, runs->n_ratings, &err), err);
    REQUIRE_OK(ops->tree_order(job->backend, &args, &err), err);
    return out;
}

static void check(struct problem *p, struct backend *backend, int level, int update) {
    struct job_memory job = {.backend = backend};
    struct tree_runs runs = p->runs;
    struct tree_by_movie by_movie;
    reel_error err;
    const int32_t rows[3] = {p->runs.n_users, p->runs.n_movies, p->runs.n_kinds};
    struct tree_total *sums[3], *expected[3], *above = room((int64_t)p->runs.n_movies << level, sizeof *above);
    for (int t = 0; t < 3; t++) {
        sums[t] = room((int64_t)rows[t] << level, sizeof **sums);
        expected[t] = room((int64_t)rows[t] << level, sizeof **expected);
        memset(sums[t], 77, ((size_t)rows[t] << level) * sizeof **sums);
    }
    int32_t *residuals = room(p->runs.n_ratings, 4);
    double squared = 0;
    int64_t farthest = 0;
    for (int64_t run = 0; run < p->runs.n_runs; run++)
        for (int64_t i = p->begins[run]; i < p->begins[run + 1]; i++) {
            int path = p->bits[0][p->users[run]] | p->bits[1][p->movies[i]] | p->bits[2][p->kinds[run]];
            int node = node_of(path, level);
            residuals[i] = p->residuals[i] - (update ? p->leaves[path] : 0);
            squared += (double)residuals[i] * (double)residuals[i];
            if (llabs((long long)residuals[i]) > farthest) farthest = llabs((long long)residuals[i]);
            add(&expected[0][(p->users[run] << level) + node], residuals[i]);
            add(&expected[1][(p->movies[i] << level) + node], residuals[i]);
            add(&expected[2][(p->kinds[run] << level) + node], residuals[i]);
            if (level) add(&above[(p->movies[i] << (level - 1)) + node_of(path, level - 1)], residuals[i]);
        }
    uint64_t *scratch = room(thread_pool_size(backend->pool) * tree_sums_room(&p->runs), sizeof *scratch);
    runs.begins = PUT(&job, p->begins, runs.n_runs + 1);
    runs.users = PUT(&job, p->users, runs.n_runs);
    runs.owners = runs.n_owners ? PUT(&job, p->owners, runs.n_users) : NULL;
    runs.kinds = PUT(&job, p->kinds, runs.n_runs);
    runs.movies = PUT(&job, p->movies, runs.n_ratings);
    runs.parts = p->parts;
    struct tree_sums_args args = {.runs = &runs,
                                  .residuals = PUT(&job, p->residuals, runs.n_ratings),
                                  .user_bits = PUT(&job, p->bits[0], rows[0]),
                                  .movie_bits = PUT(&job, p->bits[1], rows[1]),
                                  .kind_bits = PUT(&job, p->bits[2], rows[2]),
                                  .leaves = update ? PUT(&job, p->leaves, TREE_PATHS) : NULL,
                                  .level = level,
                                  .users = PUT(&job, sums[0], (int64_t)rows[0] << level),
                                  .movies = PUT(&job, sums[1], (int64_t)rows[1] << level),
                                  .kinds = PUT(&job, sums[2], (int64_t)rows[2] << level),
                                  .above = level ? PUT(&job, above, (int64_t)rows[1] << (level - 1)) : NULL,
                                  .scratch = scratch};
    args.by_movie = by_movie_of(&job, &runs, args.residuals, &by_movie);
    REQUIRE_OK(backend->ops->tree_sums(backend, &args, &err), err);
    void *after = get_bytes(&job, args.residuals, (size_t)runs.n_ratings * 4);
    CHECK(memcmp(after, residuals, (size_t)runs.n_ratings * 4) == 0);
    mem_free(after);
    check_sums(&job, &args, expected);
    if (update) {
        double squares = (double)args.squares[1] * 0x1p64 + (double)args.squares[0];
        CHECK(fabs(squares - squared) <= 1e-12 * squared);
        CHECK(args.reach >= farthest - 1 && args.reach <= 2 * (uint64_t)farthest + 1);
        args.leaves = NULL; /* what was taken off stays off */
        REQUIRE_OK(backend->ops->tree_sums(backend, &args, &err), err);
        check_sums(&job, &args, expected);
    }
    job_memory_free(&job);
    for (int t = 0; t < 3; t++) free(sums[t]), free(expected[t]);
    free(residuals), free(scratch), free(above);
}

static void check_all(struct backend *backend) {
    struct problem problems[] = {make_problem(1, 1, 1, 1, 5, 1),
                                 make_problem(3, 7, 169, 0, 0, 1),
                                 make_problem(200, 333, 8, 0, 0, 1),
                                 make_problem(200, 333, 8, 0, 0, 10),
                                 make_problem(17, 64, 3, 0, -7, 1),
                                 make_problem(40000, 2, 2, 2, INT32_MAX - 1000001, 1),
                                 make_problem(80001, 2, 2, 2, INT32_MAX - 1000001, 2),
                                 make_problem(2, 70000, 1, 70000, 1000001 - INT32_MAX, 1)};
    for (size_t i = 0; i < sizeof problems / sizeof problems[0]; i++) {
        for (int level = 0; level < 3; level++) check(&problems[i], backend, level, 0);
        check(&problems[i], backend, 0, 1);
        drop(&problems[i]);
    }
}

static void one_thread(void) {
    on_threads(1, check_all);
}

static void several_threads(void) {
    on_threads(2, check_all);
    on_threads(5, check_all);
}

static void tree_sums_matches(void) {
    check_all(device);
}

static const struct device_row device_rows[] = {DEVICE_ROW(tree_sums_matches)};

int main(void) {
    device_begin();
    RUN(one_thread);
    RUN(several_threads);
    return device_end(device_rows, sizeof device_rows / sizeof device_rows[0]);
}
