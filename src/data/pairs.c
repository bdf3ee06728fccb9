#include "data/pairs.h"

#include <string.h>

#include "core/error.h"
#include "core/file.h"
#include "core/mem.h"
#include "data/rating_reader.h"

int64_t pairs_find(const struct ratings *ratings, int32_t user, int32_t movie) {
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

enum { ROWS_A_TASK = 1 << 16 };

struct index_job {
    const struct reel_dataset *dataset;
    int64_t n;
    int32_t *users, *movies; /* ids in, indices out */
};

/* Files are mostly ordered by user, so the latest user is asked first. */
static void index_rows(void *arg, int64_t task, int worker) {
    (void)worker;
    struct index_job *job = arg;
    int64_t begin = task * ROWS_A_TASK, end = begin + ROWS_A_TASK < job->n ? begin + ROWS_A_TASK : job->n;
    int32_t id = -1, index = -1;
    for (int64_t i = begin; i < end; i++) {
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
    thread_pool_run(ctx->pool, (raw->n + ROWS_A_TASK - 1) / ROWS_A_TASK, index_rows, &job);
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

reel_status pairs_mark_file(reel_context *ctx, const struct reel_dataset *dataset, const char *path, uint8_t *marks,
                            reel_error *err) {
    reel_status status = REEL_OK;
    struct file_map map = {0};
    struct raw_ratings raw = {0};
    TRY(read_raw(ctx, path, &map, &raw, err));
    index_raw(ctx, dataset, &raw);
    for (int64_t row = 0; row < raw.n; row++) {
        int64_t place = pairs_find(&dataset->ratings, raw.users[row], raw.movies[row]);
        if (place >= 0 && dataset->ratings.user_ratings[place] == raw.ratings[row]) {
            marks[place] = 1;
            continue;
        }
        status = error_set(err, REEL_BAD_INPUT, "%s:%lld: %s", path, (long long)raw_ratings_line(&raw, row),
                           place < 0 ? "a training rating that the dataset does not have"
                                     : "a training rating that differs from the dataset's");
        goto cleanup;
    }
cleanup:
    raw_ratings_free(&raw);
    file_map_close(&map);
    return status;
}
