#include "model/tree_quick.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/job_memory.h"
#include "backend/tree_ops.h"
#include "core/error.h"
#include "core/mem.h"

enum { LEVELS_MAX = 3, USERS_A_TASK = 256, RATINGS_A_PART = 1 << 15, KINDS_MAX = STAR_HOURS + 1 };

struct tree_quick {
    struct job_memory job;
    struct tree_runs runs; /* (dev) arrays */
    int64_t *begins, *parts;
    int32_t *users, *movies;
    uint8_t *kinds;
    uint8_t kind_of[KINDS_MAX]; /* of a row of the calendar */
    /* Movies are numbered by falling number of ratings, so that the sums that are touched most lie together. */
    int32_t *movie_at, *number_of; /* (M,) */
    struct tree_total *movie_sums; /* (M, 4) by number */
    uint64_t *scratch;
    int32_t first_hour[KINDS_MAX]; /* of a kind */
    uint8_t *bits[STAR_TABLES];    /* (rows,) users, movies, kinds: of the tree so far */
    int32_t leaves[TREE_PATHS];
    struct tree_total kind_sums[KINDS_MAX * 4];
    uint32_t reach;
    /* Where the operator finds them: the host's own, or their copies. */
    int32_t *residuals, *device_leaves;
    uint8_t *device_bits[STAR_TABLES];
    struct tree_total *device_sums[STAR_TABLES];
};

_Static_assert(sizeof(tree_sum) == sizeof(struct tree_total), "a pass's sums are an operator's");

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

static reel_status number_movies(struct tree_quick *quick, const struct ratings *ratings, reel_error *err) {
    reel_status status = REEL_OK;
    struct popularity *counts = NULL;
    int32_t n = ratings->n_movies;
    TRY(MEM_NEW(&counts, n, err));
    TRY(MEM_RAW(&quick->movie_at, n, err));
    TRY(MEM_RAW(&quick->number_of, n, err));
    for (int32_t m = 0; m < n; m++) counts[m].movie = m;
    for (int64_t i = 0; i < ratings->n_ratings; i++) counts[ratings->user_movies[i]].count++;
    qsort(counts, (size_t)n, sizeof *counts, compare_popularity);
    for (int32_t i = 0; i < n; i++) {
        quick->movie_at[i] = counts[i].movie;
        quick->number_of[counts[i].movie] = i;
    }
cleanup:
    mem_free(counts);
    return status;
}

struct run_job {
    struct tree_quick *quick;
    const struct tree_rows *rows;
    int32_t *residuals;  /* (N,) out */
    int64_t *first_runs; /* (U + 1,): first the number of each user's, then where they begin */
};

/* counts (KINDS_MAX,) of a user's ratings. */
static void count_kinds(const struct run_job *job, int32_t user, int64_t *counts) {
    const int64_t *offsets = job->rows->ratings->user_offsets;
    memset(counts, 0, KINDS_MAX * sizeof *counts);
    for (int64_t i = offsets[user]; i < offsets[user + 1]; i++) counts[job->quick->kind_of[job->rows->hours[i]]]++;
}

static int32_t last_user(const struct run_job *job, int64_t task) {
    int64_t end = (task + 1) * USERS_A_TASK;
    return end < job->quick->runs.n_users ? (int32_t)end : job->quick->runs.n_users;
}

static void count_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct run_job *job = arg;
    int64_t counts[KINDS_MAX];
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < last_user(job, task); user++) {
        int64_t n = 0;
        count_kinds(job, user, counts);
        for (int kind = 0; kind < job->quick->runs.n_kinds; kind++)
            n += (counts[kind] + TREE_RUN_MAX - 1) / TREE_RUN_MAX;
        job->first_runs[user + 1] = n;
    }
}

static void fill_user(const struct run_job *job, int32_t user) {
    struct tree_quick *quick = job->quick;
    const struct tree_rows *rows = job->rows;
    const struct ratings *ratings = rows->ratings;
    int64_t counts[KINDS_MAX], at[KINDS_MAX], next = ratings->user_offsets[user], run = job->first_runs[user];
    count_kinds(job, user, counts);
    for (int kind = 0; kind < quick->runs.n_kinds; kind++) {
        at[kind] = next;
        for (int64_t left = counts[kind]; left > 0; left -= TREE_RUN_MAX, run++) {
            quick->begins[run] = next;
            quick->users[run] = user;
            quick->kinds[run] = (uint8_t)kind;
            next += left < TREE_RUN_MAX ? left : TREE_RUN_MAX;
        }
    }
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
        int64_t to = at[quick->kind_of[rows->hours[i]]]++;
        quick->movies[to] = quick->number_of[ratings->user_movies[i]];
        job->residuals[to] = rows->residuals[i];
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
    int64_t n_tasks = ((int64_t)runs->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
    TRY(MEM_NEW(&job.first_runs, (int64_t)runs->n_users + 1, err));
    thread_pool_run(ctx->pool, n_tasks, count_task, &job);
    for (int32_t user = 0; user < runs->n_users; user++) job.first_runs[user + 1] += job.first_runs[user];
    runs->n_runs = job.first_runs[runs->n_users];
    TRY(MEM_RAW(&quick->begins, runs->n_runs + 1, err));
    TRY(MEM_RAW(&quick->users, runs->n_runs, err));
    TRY(MEM_RAW(&quick->kinds, runs->n_runs, err));
    TRY(MEM_RAW(&quick->movies, runs->n_ratings, err));
    quick->begins[runs->n_runs] = runs->n_ratings;
    thread_pool_run(ctx->pool, n_tasks, fill_task, &job);
    TRY(cut_parts(quick, err));
cleanup:
    mem_free(job.first_runs);
    return status;
}

/* ---- life ---- */

int tree_quick_can(const struct tree_pass *pass, const struct tree_limits *limits) {
    return pass->stride == 1 && !pass->bag && limits->depth <= LEVELS_MAX;
}

/* *out = the host's array or, on a device, a zeroed one of its own. */
static reel_status place(struct job_memory *job, void *host, void **out, size_t bytes, reel_error *err) {
    *out = host;
    return job->backend->ops->uses_host_memory ? REEL_OK : job_zeros(job, out, bytes, err);
}
#define PLACE(job, host, out, n, err) place((job), (host), (void **)(out), (size_t)(n) * sizeof **(out), (err))

static reel_status place_arrays(struct tree_quick *quick, struct tree_pass *pass, int depth, reel_error *err) {
    struct tree_runs *runs = &quick->runs;
    struct job_memory *job = &quick->job;
    const int64_t rows[STAR_TABLES] = {runs->n_users, runs->n_movies, runs->n_kinds};
    TRY_RETURN(JOB_CONSTANT(job, &runs->begins, quick->begins, runs->n_runs + 1, err));
    TRY_RETURN(JOB_CONSTANT(job, &runs->users, quick->users, runs->n_runs, err));
    TRY_RETURN(JOB_CONSTANT(job, &runs->kinds, quick->kinds, runs->n_runs, err));
    TRY_RETURN(JOB_CONSTANT(job, &runs->movies, quick->movies, runs->n_ratings, err));
    TRY_RETURN(PLACE(job, pass->rows.residuals, &quick->residuals, runs->n_ratings, err));
    TRY_RETURN(PLACE(job, quick->leaves, &quick->device_leaves, TREE_PATHS, err));
    for (int t = 0; t < STAR_TABLES; t++) {
        void *sums = t == STAR_USER    ? (void *)pass->sums[t]
                     : t == STAR_MOVIE ? (void *)quick->movie_sums
                                       : (void *)quick->kind_sums;
        TRY_RETURN(MEM_NEW(&quick->bits[t], rows[t], err));
        TRY_RETURN(PLACE(job, quick->bits[t], &quick->device_bits[t], rows[t], err));
        TRY_RETURN(PLACE(job, sums, &quick->device_sums[t], rows[t] << (depth - 1), err));
    }
    if (job->backend->ops->uses_host_memory) return REEL_OK;
    return job->backend->ops->upload(job->backend, quick->residuals, pass->rows.residuals,
                                     (size_t)runs->n_ratings * sizeof(int32_t), err);
}

reel_status tree_quick_new(reel_context *ctx, struct tree_pass *pass, const struct tree_columns *columns,
                           reel_error *err) {
    struct tree_quick *quick;
    struct backend *backend;
    const struct ratings *ratings = pass->rows.ratings;
    int32_t *residuals;
    TRY_RETURN(context_backend(ctx, &backend, err));
    if (!backend->ops->tree_sums) context_first_device(ctx, "gbdt", &backend);
    if (!backend->ops->tree_sums) TRY_RETURN(context_fall_back(ctx, "gbdt", &backend, err));
    TRY_RETURN(MEM_NEW(&quick, 1, err));
    pass->quick = quick;
    quick->job.backend = backend;
    quick->runs.n_users = ratings->n_users;
    quick->runs.n_movies = ratings->n_movies;
    quick->runs.n_ratings = ratings->n_ratings;
    find_kinds(quick, columns);
    TRY_RETURN(number_movies(quick, ratings, err));
    TRY_RETURN(MEM_RAW(&quick->movie_sums, (int64_t)ratings->n_movies << (LEVELS_MAX - 1), err));
    TRY_RETURN(MEM_RAW(&quick->scratch, thread_pool_size(ctx->pool) * tree_sums_room(&quick->runs), err));
    TRY_RETURN(MEM_RAW(&residuals, ratings->n_ratings, err));
    reel_status status = make_runs(ctx, quick, &pass->rows, residuals, err);
    mem_free(pass->rows.residuals);
    mem_free(pass->rows.hours);
    mem_free(pass->rows.nodes);
    pass->rows.residuals = residuals;
    pass->rows.hours = pass->rows.nodes = NULL;
    return status == REEL_OK ? place_arrays(quick, pass, LEVELS_MAX, err) : status;
}

void tree_quick_free(struct tree_quick *quick) {
    if (!quick) return;
    job_memory_free(&quick->job);
    for (int t = 0; t < STAR_TABLES; t++) mem_free(quick->bits[t]);
    void *all[] = {quick->begins,   quick->parts,     quick->users,      quick->movies,  quick->kinds,
                   quick->movie_at, quick->number_of, quick->movie_sums, quick->scratch, quick};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) mem_free(all[i]);
}

/* ---- the pass ---- */

/* Puts the splits of pass->split_level among the bits; level 0 begins a tree. */
static void add_bits(const struct tree_pass *pass, struct tree_quick *quick) {
    const int64_t rows[STAR_TABLES] = {quick->runs.n_users, quick->runs.n_movies, quick->runs.n_kinds};
    const int shift = (1 << pass->split_level) - 1;
    for (int t = 0; t < STAR_TABLES; t++)
        for (int64_t row = 0; row < rows[t]; row++) {
            int64_t from = t == STAR_CALENDAR ? quick->first_hour[row] : t == STAR_MOVIE ? quick->movie_at[row] : row;
            uint8_t right = pass->right[t][from];
            quick->bits[t][row] = (uint8_t)((shift ? quick->bits[t][row] : 0) | right << shift);
        }
}

/* What a rating's byte takes off, from the leaves by number below the last level. */
static void set_leaves(const struct tree_pass *pass, struct tree_quick *quick) {
    for (int path = 0; path < TREE_PATHS; path++) {
        int node = 0;
        for (int level = 0; level <= pass->split_level; level++)
            node = 2 * node + (path >> ((1 << level) - 1 + node) & 1);
        quick->leaves[path] = pass->leaves[node];
    }
}

static reel_status send(const struct tree_quick *quick, int with_leaves, reel_error *err) {
    struct backend *backend = quick->job.backend;
    const size_t rows[STAR_TABLES] = {(size_t)quick->runs.n_users, (size_t)quick->runs.n_movies,
                                      (size_t)quick->runs.n_kinds};
    if (backend->ops->uses_host_memory) return REEL_OK;
    for (int t = 0; t < STAR_TABLES; t++)
        TRY_RETURN(backend->ops->upload(backend, quick->device_bits[t], quick->bits[t], rows[t], err));
    if (!with_leaves) return REEL_OK;
    return backend->ops->upload(backend, quick->device_leaves, quick->leaves, sizeof quick->leaves, err);
}

/* The sums in the pass's tables: a kind's at its first hour, nobody's for the unknown. */
static reel_status fetch(struct tree_pass *pass, struct tree_quick *quick, int level, reel_error *err) {
    struct backend *backend = quick->job.backend;
    const size_t size = sizeof(tree_sum) << level;
    const struct tree_runs *runs = &quick->runs;
    if (!backend->ops->uses_host_memory) {
        TRY_RETURN(backend->ops->download(backend, pass->sums[STAR_USER], quick->device_sums[STAR_USER],
                                          (size_t)runs->n_users * size, err));
        TRY_RETURN(backend->ops->download(backend, quick->movie_sums, quick->device_sums[STAR_MOVIE],
                                          (size_t)runs->n_movies * size, err));
        TRY_RETURN(backend->ops->download(backend, quick->kind_sums, quick->device_sums[STAR_CALENDAR],
                                          (size_t)runs->n_kinds * size, err));
    }
    memset(pass->sums[STAR_USER] + ((int64_t)runs->n_users << level), 0, size);
    for (int32_t i = 0; i < runs->n_movies; i++)
        memcpy(pass->sums[STAR_MOVIE] + ((int64_t)quick->movie_at[i] << level),
               quick->movie_sums + ((int64_t)i << level), size);
    memset(pass->sums[STAR_MOVIE] + ((int64_t)runs->n_movies << level), 0, size);
    memset(pass->sums[STAR_CALENDAR], 0, (STAR_HOURS + 1) * size);
    for (int kind = 0; kind < runs->n_kinds; kind++)
        memcpy(pass->sums[STAR_CALENDAR] + ((int64_t)quick->first_hour[kind] << level),
               quick->kind_sums + ((int64_t)kind << level), size);
    return REEL_OK;
}

reel_status tree_quick_run(struct tree_pass *pass, reel_error *err) {
    struct tree_quick *quick = pass->quick;
    struct backend *backend = quick->job.backend;
    const int level = pass->leaves ? 0 : pass->split_level + 1;
    if (pass->split_level >= 0) add_bits(pass, quick);
    if (pass->leaves) set_leaves(pass, quick);
    TRY_RETURN(send(quick, pass->leaves != NULL, err));
    struct tree_sums_args args = {.runs = &quick->runs,
                                  .residuals = quick->residuals,
                                  .user_bits = quick->device_bits[STAR_USER],
                                  .movie_bits = quick->device_bits[STAR_MOVIE],
                                  .kind_bits = quick->device_bits[STAR_CALENDAR],
                                  .leaves = pass->leaves ? quick->device_leaves : NULL,
                                  .level = level,
                                  .users = quick->device_sums[STAR_USER],
                                  .movies = quick->device_sums[STAR_MOVIE],
                                  .kinds = quick->device_sums[STAR_CALENDAR],
                                  .scratch = quick->scratch};
    TRY_RETURN(backend->ops->tree_sums(backend, &args, err));
    if (pass->leaves) {
        quick->reach = args.reach + 1;
        pass->squared = ldexp((double)args.squares[1] * 0x1p64 + (double)args.squares[0], -52);
    }
    return fetch(pass, quick, level, err);
}

int64_t tree_quick_reach(const struct tree_pass *pass) {
    return pass->quick->reach;
}
