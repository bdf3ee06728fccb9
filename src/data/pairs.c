#include "data/pairs.h"

#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/rating_reader.h"

/* Work is cut by sizes alone. */
enum { ROWS_A_TASK = 1 << 16 };

static int64_t tasks_of(int64_t n_rows) {
    return (n_rows + ROWS_A_TASK - 1) / ROWS_A_TASK;
}

static int64_t task_end(int64_t task, int64_t n_rows) {
    return n_rows - task * ROWS_A_TASK > ROWS_A_TASK ? (task + 1) * ROWS_A_TASK : n_rows;
}

/* ---- marking ---- */

struct mark_job {
    const struct ratings *ratings;
    const struct rating_pairs *pairs;
    uint8_t *marks;
    int64_t *first_strange; /* (tasks,) first row whose rating is not there, or -1; NULL = nobody asks */
};

/* Place of the rating of (user, movie) in by-user order, or -1; the indices may be -1. */
static int64_t find_place(const struct ratings *ratings, int32_t user, int32_t movie) {
    if (user < 0 || movie < 0) return -1;
    int64_t low = ratings->user_offsets[user], end = ratings->user_offsets[user + 1], high = end;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (ratings->user_movies[middle] < movie)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && ratings->user_movies[low] == movie ? low : -1;
}

static void mark_rows(void *arg, int64_t task, int worker) {
    (void)worker;
    struct mark_job *job = arg;
    const struct rating_pairs *pairs = job->pairs;
    int64_t strange = -1;
    for (int64_t row = task * ROWS_A_TASK; row < task_end(task, pairs->n); row++) {
        int64_t place = find_place(job->ratings, pairs->users[row], pairs->movies[row]);
        if (strange < 0 && (place < 0 || job->ratings->user_ratings[place] != pairs->ratings[row])) strange = row;
        /* A pair that is listed twice may be marked by two tasks at once. */
        if (place >= 0) __atomic_store_n(&job->marks[place], 1, __ATOMIC_RELAXED);
    }
    if (job->first_strange) job->first_strange[task] = strange;
}

void pairs_mark(reel_context *ctx, const struct ratings *ratings, const struct rating_pairs *pairs, uint8_t *marks) {
    struct mark_job job = {.ratings = ratings, .pairs = pairs, .marks = marks};
    thread_pool_run(ctx->pool, tasks_of(pairs->n), mark_rows, &job);
}

/* ---- reading ---- */

/* Maps and parses a file of ratings; any malformed line is an error. On success *map must stay open as long as
 * lines of *raw are asked for. */
static reel_status read_raw(reel_context *ctx, const char *path, struct file_map *map, struct raw_ratings *raw,
                            reel_error *err) {
    struct bad_lines bad = {.ctx = ctx};
    struct rating_format format;
    reel_error first_bad = {0};
    TRY_RETURN(file_map_open(path, map, err));
    struct text_file file = {path, map->data, map->size};
    TRY_RETURN(rating_format_detect(&file, NULL, &format, err));
    TRY_RETURN(rating_reader_read(ctx, &file, &format, &bad, raw, &first_bad, err));
    if (first_bad.status != REEL_OK) return error_set(err, first_bad.status, "%s", first_bad.message);
    return REEL_OK;
}

struct index_job {
    const struct reel_dataset *dataset;
    int64_t n;
    int32_t *users, *movies; /* ids in, indices out */
};

/* Files are mostly ordered by user, so the latest user is asked first. */
static void index_rows(void *arg, int64_t task, int worker) {
    (void)worker;
    struct index_job *job = arg;
    int32_t id = -1, index = -1;
    for (int64_t i = task * ROWS_A_TASK; i < task_end(task, job->n); i++) {
        if (job->users[i] != id) {
            id = job->users[i];
            index = reel_dataset_user_index(job->dataset, id);
        }
        job->users[i] = index;
        job->movies[i] = reel_dataset_movie_index(job->dataset, job->movies[i]);
    }
}

static void index_raw(reel_context *ctx, const struct reel_dataset *dataset, struct raw_ratings *raw) {
    struct index_job job = {dataset, raw->n, raw->users, raw->movies};
    thread_pool_run(ctx->pool, tasks_of(raw->n), index_rows, &job);
}

reel_status dataset_read_pairs(reel_context *ctx, const struct reel_dataset *dataset, const char *path,
                               struct rating_pairs *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct file_map map = {0};
    struct raw_ratings raw = {0};
    *out = (struct rating_pairs){0};
    TRY(read_raw(ctx, path, &map, &raw, err));
    index_raw(ctx, dataset, &raw);
    *out = (struct rating_pairs){.n = raw.n,
                                 .users = raw.users,
                                 .movies = raw.movies,
                                 .ratings = raw.ratings,
                                 .times = raw.times,
                                 .owned = {raw.users, raw.movies, raw.ratings, raw.times}};
    raw.users = raw.movies = NULL;
    raw.ratings = NULL;
    raw.times = NULL;
cleanup:
    raw_ratings_free(&raw);
    file_map_close(&map);
    return status;
}

/* The first row of the file that is no rating of the dataset, -1 if all are. */
static int64_t first_strange(const int64_t *rows, int64_t n_tasks) {
    for (int64_t task = 0; task < n_tasks; task++)
        if (rows[task] >= 0) return rows[task];
    return -1;
}

reel_status pairs_mark_file(reel_context *ctx, const struct reel_dataset *dataset, const char *path, uint8_t *marks,
                            reel_error *err) {
    reel_status status = REEL_OK;
    struct file_map map = {0};
    struct raw_ratings raw = {0};
    struct mark_job job = {.ratings = &dataset->ratings, .marks = marks};
    TRY(read_raw(ctx, path, &map, &raw, err));
    index_raw(ctx, dataset, &raw);
    struct rating_pairs pairs = {.n = raw.n, .users = raw.users, .movies = raw.movies, .ratings = raw.ratings};
    job.pairs = &pairs;
    TRY(MEM_RAW(&job.first_strange, tasks_of(raw.n), err));
    thread_pool_run(ctx->pool, tasks_of(raw.n), mark_rows, &job);
    int64_t row = first_strange(job.first_strange, tasks_of(raw.n));
    if (row >= 0)
        status = error_set(err, REEL_BAD_INPUT, "%s:%lld: a training rating that the dataset lacks or has otherwise",
                           path, (long long)raw_ratings_line(&raw, row));
cleanup:
    mem_free(job.first_strange);
    raw_ratings_free(&raw);
    file_map_close(&map);
    return status;
}
