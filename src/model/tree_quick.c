#include "model/tree_quick.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum {
    LEVELS_MAX = 3,
    USERS_A_TASK = 256,
    RATINGS_A_TASK = 1 << 16,
    RATINGS_A_PART = 1 << 15,
    KINDS_MAX = STAR_HOURS + 1
};

struct tree_quick {
    struct job_memory job;
    struct tree_runs runs; /* (dev) arrays */
    int64_t *begins, *parts;
    int32_t *users, *movies;
    uint8_t *kinds;
    int stride;                 /* of features_row */
    int32_t *user_at, *owners;  /* rows by stars that occur: the star's, and whose they are; else NULL */
    uint8_t kind_of[KINDS_MAX]; /* of a row of the calendar */
    /* Movies are numbered by falling number of ratings, so that the sums that are touched most lie together. */
    int32_t *movie_at;  /* (M,) the star's row */
    int32_t *number_of; /* (rows of the star,) */
    uint64_t *scratch;
    int32_t first_hour[KINDS_MAX];        /* of a kind */
    int32_t *residuals;                   /* (dev) (N,) */
    struct tree_by_movie by_movie;        /* (dev) where the backend has tree_order */
    int32_t *leaves;                      /* (dev) (TREE_PATHS,) */
    uint8_t *bits[STAR_TABLES];           /* (dev) (rows,) users, movies, kinds: of the tree so far */
    struct tree_total *sums[STAR_TABLES]; /* (dev) (rows, nodes of the level) of users, movies, kinds */
    struct tree_total *above;             /* (dev) (M, nodes of the level above) movies' sums; or room for them */
    struct tree_search *search;           /* told where the sums of movies are */
    uint32_t reach;
};

/* ---- runs ---- */

static void find_kinds(struct tree_quick *quick, const struct tree_columns *columns) {
    int32_t n = 0;
    for (int32_t hour = 0; hour <= STAR_HOURS; hour++) {
        int32_t kind = 0;
        for (; kind < n; kind++) {
            int same = 1;
            for (int c = 0; c < columns->n; c++) {
                const struct tree_column *column = &columns->columns[c];
                if (column->table == STAR_CALENDAR)
                    same &= column->ranks[hour] == column->ranks[quick->first_hour[kind]];
            }
            if (same) break;
        }
        if (kind == n) quick->first_hour[n++] = hour;
        quick->kind_of[hour] = (uint8_t)kind;
    }
    quick->runs.n_kinds = n;
}

struct popularity {
    int64_t count;
    int32_t movie;
};

static int compare_popularity(const void *a, const void *b) {
    const struct popularity *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return (x->movie > y->movie) - (x->movie < y->movie);
}

struct movies_job {
    const struct ratings *ratings;
    int stride;
    int32_t n;        /* rows of movies */
    uint32_t *counts; /* (threads, n): of a row a thread, as a user rates a movie once */
};

static void movies_task(void *arg, int64_t task, int worker) {
    const struct movies_job *job = arg;
    const struct ratings *ratings = job->ratings;
    const int64_t begin = task * RATINGS_A_TASK, left = ratings->n_ratings - begin;
    uint32_t *counts = job->counts + (int64_t)worker * job->n;
    for (int64_t i = begin; i < begin + (left < RATINGS_A_TASK ? left : RATINGS_A_TASK); i++)
        counts[features_row(job->stride, ratings->user_movies[i], ratings->user_ratings[i])]++;
}

/* The ratings of each row of movies. */
static reel_status count_movies(reel_context *ctx, struct movies_job *job, struct popularity *out, reel_error *err) {
    const int threads = thread_pool_size(ctx->pool);
    TRY_RETURN(MEM_NEW(&job->counts, (int64_t)threads * job->n, err));
    thread_pool_run(ctx->pool, (job->ratings->n_ratings + RATINGS_A_TASK - 1) / RATINGS_A_TASK, movies_task, job);
    for (int32_t m = 0; m < job->n; m++) {
        out[m] = (struct popularity){0, m};
        for (int t = 0; t < threads; t++) out[m].count += job->counts[(int64_t)t * job->n + m];
    }
    mem_free(job->counts);
    return REEL_OK;
}

/* Numbers the rows of movies that occur. */
static reel_status number_movies(reel_context *ctx, struct tree_quick *quick, const struct ratings *ratings,
                                 reel_error *err) {
    reel_status status = REEL_OK;
    struct popularity *counts = NULL;
    const int32_t n = ratings->n_movies * quick->stride;
    int32_t used = 0;
    struct movies_job job = {.ratings = ratings, .stride = quick->stride, .n = n};
    TRY(MEM_RAW(&counts, n, err));
    TRY(MEM_RAW(&quick->movie_at, n, err));
    TRY(MEM_RAW(&quick->number_of, n, err));
    TRY(count_movies(ctx, &job, counts, err));
    qsort(counts, (size_t)n, sizeof *counts, compare_popularity);
    for (; used < n && counts[used].count > 0; used++) {
        quick->movie_at[used] = counts[used].movie;
        quick->number_of[counts[used].movie] = used;
    }
    quick->runs.n_movies = used;
cleanup:
    mem_free(counts);
    return status;
}

enum { GROUPS_MAX = KINDS_MAX * STAR_HALF_STARS };

struct run_job {
    struct tree_quick *quick;
    const struct tree_rows *rows;
    int32_t *residuals;  /* (N,) out */
    int64_t *first_runs; /* (users + 1,): first the number of each user's, then where they begin */
    int32_t *first_rows; /* (users + 1,): likewise of rows by stars */
};

/* A rating's run among its user's: by row, then kind. */
static int group_of(const struct run_job *job, int64_t i) {
    const struct tree_quick *quick = job->quick;
    int stars = quick->stride > 1 ? job->rows->ratings->user_ratings[i] - 1 : 0;
    return stars * quick->runs.n_kinds + quick->kind_of[job->rows->hours[i]];
}

/* counts (GROUPS_MAX,) of a user's ratings. */
static void count_groups(const struct run_job *job, int32_t user, int64_t *counts) {
    const int64_t *offsets = job->rows->ratings->user_offsets;
    memset(counts, 0, (size_t)(job->quick->stride * job->quick->runs.n_kinds) * sizeof *counts);
    for (int64_t i = offsets[user]; i < offsets[user + 1]; i++) counts[group_of(job, i)]++;
}

static int32_t last_user(const struct run_job *job, int64_t task) {
    const int32_t n_users = job->rows->ratings->n_users;
    int64_t end = (task + 1) * USERS_A_TASK;
    return end < n_users ? (int32_t)end : n_users;
}

static void count_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct run_job *job = arg;
    const int n_kinds = job->quick->runs.n_kinds;
    int64_t counts[GROUPS_MAX];
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < last_user(job, task); user++) {
        int64_t n = 0;
        int32_t n_rows = 0;
        count_groups(job, user, counts);
        for (int stars = 0; stars < job->quick->stride; stars++) {
            int64_t before = n;
            for (int kind = 0; kind < n_kinds; kind++)
                n += (counts[stars * n_kinds + kind] + TREE_RUN_MAX - 1) / TREE_RUN_MAX;
            n_rows += n > before;
        }
        job->first_runs[user + 1] = n;
        job->first_rows[user + 1] = job->quick->stride > 1 ? n_rows : 1;
    }
}

/* The rows by stars of a user that occur. */
static void fill_rows(const struct run_job *job, int32_t user, const int64_t *counts) {
    struct tree_quick *quick = job->quick;
    const int n_kinds = quick->runs.n_kinds;
    int32_t row = job->first_rows[user];
    for (int stars = 0; stars < quick->stride; stars++) {
        int64_t n = 0;
        for (int kind = 0; kind < n_kinds; kind++) n += counts[stars * n_kinds + kind];
        if (n == 0) continue;
        quick->user_at[row] = user * quick->stride + stars;
        quick->owners[row++] = user;
    }
}

static void fill_user(const struct run_job *job, int32_t user) {
    struct tree_quick *quick = job->quick;
    const struct ratings *ratings = job->rows->ratings;
    int64_t counts[GROUPS_MAX], at[GROUPS_MAX], next = ratings->user_offsets[user], run = job->first_runs[user];
    count_groups(job, user, counts);
    if (quick->stride > 1) fill_rows(job, user, counts);
    int32_t row = job->first_rows[user];
    for (int stars = 0; stars < quick->stride; stars++) {
        const int64_t first = run;
        for (int kind = 0; kind < quick->runs.n_kinds; kind++) {
            const int group = stars * quick->runs.n_kinds + kind;
            at[group] = next;
            for (int64_t left = counts[group]; left > 0; left -= TREE_RUN_MAX, run++) {
                quick->begins[run] = next;
                quick->users[run] = row;
                quick->kinds[run] = (uint8_t)kind;
                next += left < TREE_RUN_MAX ? left : TREE_RUN_MAX;
            }
        }
        row += run > first;
    }
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
        int64_t to = at[group_of(job, i)]++;
        quick->movies[to] =
            quick->number_of[features_row(quick->stride, ratings->user_movies[i], ratings->user_ratings[i])];
        job->residuals[to] = job->rows->residuals[i];
    }
}

static void fill_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct run_job *job = arg;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < last_user(job, task); user++) fill_user(job, user);
}

/* Whole users, RATINGS_A_PART ratings or more each. */
static reel_status cut_parts(struct tree_quick *quick, reel_error *err) {
    struct tree_runs *runs = &quick->runs;
    TRY_RETURN(MEM_NEW(&quick->parts, runs->n_ratings / RATINGS_A_PART + 2, err));
    for (int64_t run = 1; run <= runs->n_runs; run++) {
        int64_t first = quick->parts[runs->n_parts];
        int between = run == runs->n_runs || quick->users[run] != quick->users[run - 1];
        if (between && (run == runs->n_runs || quick->begins[run] - quick->begins[first] >= RATINGS_A_PART))
            quick->parts[++runs->n_parts] = run;
    }
    runs->parts = quick->parts;
    return REEL_OK;
}

static reel_status make_runs(reel_context *ctx, struct tree_quick *quick, const struct tree_rows *rows,
                             int32_t *residuals, reel_error *err) {
    reel_status status = REEL_OK;
    struct tree_runs *runs = &quick->runs;
    struct run_job job = {.quick = quick, .rows = rows, .residuals = residuals};
    const int32_t n_users = rows->ratings->n_users;
    int64_t n_tasks = ((int64_t)n_users + USERS_A_TASK - 1) / USERS_A_TASK;
    TRY(MEM_NEW(&job.first_runs, (int64_t)n_users + 1, err));
    TRY(MEM_NEW(&job.first_rows, (int64_t)n_users + 1, err));
    thread_pool_run(ctx->pool, n_tasks, count_task, &job);
    for (int32_t user = 0; user < n_users; user++) {
        job.first_runs[user + 1] += job.first_runs[user];
        job.first_rows[user + 1] += job.first_rows[user];
    }
    runs->n_runs = job.first_runs[n_users];
    runs->n_users = job.first_rows[n_users];
    if (quick->stride > 1) {
        TRY(MEM_RAW(&quick->user_at, runs->n_users, err));
        TRY(MEM_RAW(&quick->owners, runs->n_users, err));
        runs->n_owners = n_users;
    }
    TRY(MEM_RAW(&quick->begins, runs->n_runs + 1, err));
    TRY(MEM_RAW(&quick->users, runs->n_runs, err));
    TRY(MEM_RAW(&quick->kinds, runs->n_runs, err));
    TRY(MEM_RAW(&quick->movies, runs->n_ratings, err));
    quick->begins[runs->n_runs] = runs->n_ratings;
    thread_pool_run(ctx->pool, n_tasks, fill_task, &job);
    TRY(cut_parts(quick, err));
cleanup:
    mem_free(job.first_runs);
    mem_free(job.first_rows);
    return status;
}

/* ---- life ---- */

int tree_quick_can(const struct tree_pass *pass, const struct tree_limits *limits) {
    return !pass->bag && limits->depth <= LEVELS_MAX;
}

/* The residuals stay where they are on the host, or go to the device. */
static reel_status place_residuals(struct tree_quick *quick, struct tree_pass *pass, reel_error *err) {
    struct backend *backend = quick->job.backend;
    quick->residuals = pass->rows.residuals;
    if (backend->ops->uses_host_memory) return REEL_OK;
    TRY_RETURN(JOB_ZEROS(&quick->job, &quick->residuals, quick->runs.n_ratings, err));
    TRY_RETURN(backend->ops->upload(backend, quick->residuals, pass->rows.residuals,
                                    (size_t)quick->runs.n_ratings * sizeof(int32_t), err));
    TRY_RETURN(backend->ops->sync(backend, err));
    mem_free(pass->rows.residuals);
    pass->rows.residuals = NULL;
    return REEL_OK;
}

static reel_status order_by_movie(struct tree_quick *quick, reel_error *err) {
    const struct backend_ops *ops = quick->job.backend->ops;
    struct tree_by_movie *by_movie = &quick->by_movie;
    const struct tree_order_args args = {&quick->runs, quick->residuals, by_movie};
    if (!ops->tree_order) return REEL_OK;
    TRY_RETURN(JOB_ZEROS(&quick->job, &by_movie->pieces, tree_pieces_most(&quick->runs), err));
    TRY_RETURN(JOB_ZEROS(&quick->job, &by_movie->runs, quick->runs.n_ratings, err));
    TRY_RETURN(JOB_ZEROS(&quick->job, &by_movie->residuals, quick->runs.n_ratings, err));
    return ops->tree_order(quick->job.backend, &args, err);
}

static reel_status place_arrays(struct tree_quick *quick, struct tree_pass *pass, const int32_t rows[STAR_TABLES],
                                reel_error *err) {
    struct tree_runs *runs = &quick->runs;
    struct job_memory *job = &quick->job;
    TRY_RETURN(JOB_CONSTANT(job, &runs->begins, quick->begins, runs->n_runs + 1, err));
    TRY_RETURN(JOB_CONSTANT(job, &runs->users, quick->users, runs->n_runs, err));
    if (quick->owners) TRY_RETURN(JOB_CONSTANT(job, &runs->owners, quick->owners, runs->n_users, err));
    TRY_RETURN(JOB_CONSTANT(job, &runs->kinds, quick->kinds, runs->n_runs, err));
    TRY_RETURN(JOB_CONSTANT(job, &runs->movies, quick->movies, runs->n_ratings, err));
    TRY_RETURN(JOB_ZEROS(job, &quick->leaves, TREE_PATHS, err));
    for (int t = 0; t < STAR_TABLES; t++) {
        TRY_RETURN(JOB_ZEROS(job, &quick->bits[t], rows[t], err));
        TRY_RETURN(JOB_ZEROS(job, &quick->sums[t], (int64_t)rows[t] << (LEVELS_MAX - 1), err));
    }
    TRY_RETURN(JOB_ZEROS(job, &quick->above, (int64_t)rows[STAR_MOVIE] << (LEVELS_MAX - 1), err));
    TRY_RETURN(place_residuals(quick, pass, err));
    return order_by_movie(quick, err);
}

/* What the pass's own loops need and this way does not. */
static void drop_tables(struct tree_pass *pass) {
    for (int t = 0; t < STAR_TABLES; t++) {
        mem_free(pass->sums[t]);
        mem_free(pass->right[t]);
        pass->sums[t] = NULL;
        pass->right[t] = NULL;
    }
    mem_free(pass->worker_sums[0]);
    mem_free(pass->worker_sums[1]);
    pass->worker_sums[0] = pass->worker_sums[1] = NULL;
}

/* Asks for the device's memory before anything goes there. */
static reel_status reserve(struct tree_quick *quick, const struct tree_columns *columns,
                           const int32_t rows[STAR_TABLES], reel_error *err) {
    const struct tree_runs *runs = &quick->runs;
    const size_t row = 1 + (sizeof(struct tree_total) << (LEVELS_MAX - 1)),
                 run = sizeof *runs->begins + sizeof *runs->users + 1;
    size_t bytes = (size_t)runs->n_ratings * 2 * sizeof(int32_t) + (size_t)runs->n_runs * run;
    for (int t = 0; t < STAR_TABLES; t++) bytes += (size_t)rows[t] * row * (t == STAR_MOVIE ? 2 : 1);
    if (quick->owners) bytes += (size_t)rows[STAR_USER] * sizeof *quick->owners;
    for (int c = 0; c < columns->n; c++)
        bytes += 2 * sizeof(int32_t) * ((size_t)rows[columns->columns[c].table] + (size_t)columns->columns[c].n_values);
    return job_reserve(&quick->job, "gbdt", bytes + tree_sums_device_bytes(runs), err);
}

/* Runs in place of the rows. */
static reel_status regroup(reel_context *ctx, struct tree_quick *quick, struct tree_pass *pass, reel_error *err) {
    int32_t *residuals;
    TRY_RETURN(MEM_RAW(&residuals, quick->runs.n_ratings, err));
    reel_status status = make_runs(ctx, quick, &pass->rows, residuals, err);
    mem_free(pass->rows.residuals);
    mem_free(pass->rows.hours);
    mem_free(pass->rows.nodes);
    pass->rows.residuals = residuals;
    pass->rows.hours = pass->rows.nodes = NULL;
    return status;
}

reel_status tree_quick_new(reel_context *ctx, struct tree_pass *pass, const struct tree_columns *columns,
                           struct tree_search *search, reel_error *err) {
    struct tree_quick *quick;
    struct backend *backend;
    const struct ratings *ratings = pass->rows.ratings;
    TRY_RETURN(context_backend(ctx, &backend, err));
    if (!backend->ops->tree_splits) context_first_device(ctx, "gbdt", &backend);
    if (!backend->ops->tree_splits) TRY_RETURN(context_fall_back(ctx, "gbdt", &backend, err));
    TRY_RETURN(MEM_NEW(&quick, 1, err));
    pass->quick = quick;
    quick->job.backend = backend;
    quick->runs.n_ratings = ratings->n_ratings;
    quick->stride = pass->stride;
    drop_tables(pass);
    find_kinds(quick, columns);
    TRY_RETURN(number_movies(ctx, quick, ratings, err));
    TRY_RETURN(MEM_RAW(&quick->scratch, thread_pool_size(ctx->pool) * tree_sums_room(&quick->runs), err));
    TRY_RETURN(regroup(ctx, quick, pass, err));
    const int32_t rows[STAR_TABLES] = {quick->runs.n_users, quick->runs.n_movies, quick->runs.n_kinds};
    TRY_RETURN(reserve(quick, columns, rows, err));
    TRY_RETURN(place_arrays(quick, pass, rows, err));
    const int32_t *const star_rows[STAR_TABLES] = {quick->user_at, quick->movie_at, quick->first_hour};
    TRY_RETURN(tree_search_new(ctx, backend, columns, rows, star_rows, 1 << (LEVELS_MAX - 1), search, err));
    quick->search = search;
    for (int t = 0; t < STAR_TABLES; t++) search->sums[t] = quick->sums[t];
    return REEL_OK;
}

void tree_quick_free(struct tree_quick *quick) {
    if (!quick) return;
    job_memory_free(&quick->job);
    void *all[] = {quick->begins,    quick->parts,   quick->users,   quick->movies, quick->kinds, quick->movie_at,
                   quick->number_of, quick->scratch, quick->user_at, quick->owners, quick};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
}

/* ---- the pass ---- */

/* What a rating's byte takes off, from the leaves by number below the last level. */
static reel_status send_leaves(const struct tree_pass *pass, reel_error *err) {
    struct backend *backend = pass->quick->job.backend;
    int32_t leaves[TREE_PATHS];
    for (int path = 0; path < TREE_PATHS; path++) {
        int node = 0;
        for (int level = 0; level <= pass->split_level; level++)
            node = 2 * node + (path >> ((1 << level) - 1 + node) & 1);
        leaves[path] = pass->leaves[node];
    }
    return backend->ops->upload(backend, pass->quick->leaves, leaves, sizeof leaves, err);
}

reel_status tree_quick_run(struct tree_pass *pass, reel_error *err) {
    struct tree_quick *quick = pass->quick;
    struct backend *backend = quick->job.backend;
    struct tree_total *above = quick->sums[STAR_MOVIE];
    const int level = pass->leaves ? 0 : pass->split_level + 1;
    if (pass->leaves) TRY_RETURN(send_leaves(pass, err));
    quick->sums[STAR_MOVIE] = quick->above;
    quick->above = above;
    quick->search->sums[STAR_MOVIE] = quick->sums[STAR_MOVIE];
    struct tree_sums_args args = {.runs = &quick->runs,
                                  .residuals = quick->residuals,
                                  .by_movie = backend->ops->tree_order ? &quick->by_movie : NULL,
                                  .user_bits = quick->bits[STAR_USER],
                                  .movie_bits = quick->bits[STAR_MOVIE],
                                  .kind_bits = quick->bits[STAR_CALENDAR],
                                  .leaves = pass->leaves ? quick->leaves : NULL,
                                  .level = level,
                                  .users = quick->sums[STAR_USER],
                                  .movies = quick->sums[STAR_MOVIE],
                                  .above = level ? above : NULL,
                                  .kinds = quick->sums[STAR_CALENDAR],
                                  .scratch = quick->scratch};
    TRY_RETURN(backend->ops->tree_sums(backend, &args, err));
    if (!pass->leaves) return REEL_OK;
    quick->reach = args.reach + 1;
    pass->squared = ldexp((double)args.squares[1] * 0x1p64 + (double)args.squares[0], -52);
    return REEL_OK;
}

reel_status tree_quick_split(const struct tree_pass *pass, const struct tree_search *search, const struct tree *tree,
                             int level, reel_error *err) {
    struct tree_quick *quick = pass->quick;
    struct tree_choice splits[1 << (LEVELS_MAX - 1)];
    for (int node = 0; node < 1 << level; node++) {
        const struct tree_node *split = &tree->nodes[(1 << level) - 1 + node];
        splits[node] = (struct tree_choice){.table = -1};
        if (split->column < 0) continue;
        const struct tree_split_column *column = &search->columns[split->column];
        splits[node] = (struct tree_choice){column->table, column->ranks, split->rank};
    }
    struct tree_bits_args args = {.level = level, .splits = splits};
    memcpy(args.n_rows, search->n_rows, sizeof args.n_rows);
    memcpy(args.bits, quick->bits, sizeof args.bits);
    return quick->job.backend->ops->tree_bits(quick->job.backend, &args, err);
}

int64_t tree_quick_reach(const struct tree_pass *pass) {
    return pass->quick->reach;
}
