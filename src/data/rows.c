/* Batch files: rows of ids bound to a dataset. */
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/dataset.h"
#include "data/id_table.h"

enum { USER, MOVIE, TIME, RATING, N_COLUMNS };

static const struct id_column known_columns[N_COLUMNS] = {
    [USER] = {.names = "userId|user_id|user", .kind = ID_COLUMN_ID},
    [MOVIE] = {.names = "movieId|movie_id|movie", .kind = ID_COLUMN_ID},
    [TIME] = {.names = "timestamp|time", .kind = ID_COLUMN_TIME},
    [RATING] = {.names = "rating", .kind = ID_COLUMN_RATING},
};

/* ---- ids to indices ---- */

struct index_job {
    const int32_t *ids; /* (n,) ascending: the dataset's */
    int32_t n;
    const int32_t *table; /* (ids[n - 1] + 1,) index of an id or -1; NULL = search */
    int64_t n_rows;
    const int32_t *row_ids;
    int32_t *out;
};

enum { INDEX_ROWS = 1 << 16 };

static int32_t search(const struct index_job *job, int32_t id) {
    int32_t low = 0, count = job->n;
    while (count > 1) {
        int32_t half = count / 2;
        low += job->ids[low + half] <= id ? half : 0;
        count -= half;
    }
    return count == 1 && job->ids[low] == id ? low : -1;
}

static void index_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct index_job *job = arg;
    int64_t end = (task + 1) * INDEX_ROWS < job->n_rows ? (task + 1) * INDEX_ROWS : job->n_rows;
    int32_t highest = job->n ? job->ids[job->n - 1] : -1;
    for (int64_t i = task * INDEX_ROWS; i < end; i++) {
        int32_t id = job->row_ids[i];
        job->out[i] = !job->table ? search(job, id) : id <= highest ? job->table[id] : -1;
    }
}

/* Many rows pay for a table of all ids up to the highest. */
static reel_status fill_table(const int32_t *ids, int32_t n, int64_t n_rows, int32_t **table, reel_error *err) {
    *table = NULL;
    if (n == 0 || n_rows < ids[n - 1] / 4) return REEL_OK;
    TRY_RETURN(MEM_RAW(table, (int64_t)ids[n - 1] + 1, err));
    for (int64_t id = 0; id <= ids[n - 1]; id++) (*table)[id] = -1;
    for (int32_t i = 0; i < n; i++) (*table)[ids[i]] = i;
    return REEL_OK;
}

static reel_status index_rows(reel_context *ctx, const int32_t *ids, int32_t n, int64_t n_rows, const int32_t *row_ids,
                              int32_t **out, reel_error *err) {
    int32_t *table;
    TRY_RETURN(MEM_RAW(out, n_rows, err));
    TRY_RETURN(fill_table(ids, n, n_rows, &table, err));
    struct index_job job = {ids, n, table, n_rows, row_ids, *out};
    thread_pool_run(ctx->pool, (n_rows + INDEX_ROWS - 1) / INDEX_ROWS, index_task, &job);
    mem_free(table);
    return REEL_OK;
}

/* ---- kinds ---- */

static reel_status require_known(const char *path, const char *what, int64_t n, const int32_t *indices,
                                 const int32_t *ids, int first_line, reel_error *err) {
    for (int64_t i = 0; i < n; i++)
        if (indices[i] < 0)
            return error_set(err, REEL_BAD_INPUT, "%s:%lld: the dataset has no such %s (found %d)", path,
                             (long long)i + first_line, what, ids[i]);
    return REEL_OK;
}

static reel_status require_once(const struct reel_dataset *dataset, const char *path, const reel_rows *rows,
                                int first_line, reel_error *err) {
    int64_t *row_of = NULL; /* (n_movies,) row + 1 of a movie, 0 = none yet */
    TRY_RETURN(MEM_NEW(&row_of, dataset->n_movies, err));
    reel_status status = REEL_OK;
    for (int64_t i = 0; i < rows->n && status == REEL_OK; i++) {
        int64_t *at = &row_of[rows->movies[i]];
        if (*at)
            status = error_set(err, REEL_BAD_INPUT, "%s:%lld: movie %d was rated in line %lld already", path,
                               (long long)i + first_line, rows->movie_ids[i], (long long)*at - 1 + first_line);
        *at = i + 1;
    }
    mem_free(row_of);
    return status;
}

static reel_status stars_of_ratings(reel_rows *rows, const int32_t *half_stars, reel_error *err) {
    TRY_RETURN(MEM_RAW(&rows->stars, rows->n, err));
    for (int64_t i = 0; i < rows->n; i++) rows->stars[i] = 0.5f * (float)half_stars[i];
    return REEL_OK;
}

static reel_status bind_rows(reel_context *ctx, const struct reel_dataset *dataset, const char *path,
                             reel_rows_kind kind, int first_line, reel_rows *rows, reel_error *err) {
    const int32_t *user_ids = rows->user_ids, *movie_ids = rows->movie_ids;
    if (user_ids) {
        TRY_RETURN(index_rows(ctx, dataset->user_ids, dataset->n_users, rows->n, user_ids, &rows->users, err));
        if (kind == REEL_ROWS_USERS)
            TRY_RETURN(require_known(path, "user", rows->n, rows->users, user_ids, first_line, err));
    }
    if (movie_ids) {
        TRY_RETURN(index_rows(ctx, dataset->movie_ids, dataset->n_movies, rows->n, movie_ids, &rows->movies, err));
        if (kind != REEL_ROWS_RATED) return REEL_OK;
        TRY_RETURN(require_known(path, "movie", rows->n, rows->movies, movie_ids, first_line, err));
        TRY_RETURN(require_once(dataset, path, rows, first_line, err));
    }
    return REEL_OK;
}

reel_status reel_rows_read(reel_context *ctx, const reel_dataset *dataset, const char *path, reel_rows_kind kind,
                           reel_rows *rows, reel_error *err) {
    static const int wanted[][N_COLUMNS] = {
        [REEL_ROWS_PAIRS] = {USER, MOVIE, TIME}, [REEL_ROWS_USERS] = {USER}, [REEL_ROWS_RATED] = {MOVIE, RATING}};
    static const int counts[] = {[REEL_ROWS_PAIRS] = 3, [REEL_ROWS_USERS] = 1, [REEL_ROWS_RATED] = 2};
    reel_status status = REEL_OK;
    struct id_column columns[N_COLUMNS];
    int first_line;
    *rows = (reel_rows){0};
    if ((int)kind < 0 || kind > REEL_ROWS_RATED)
        return error_set(err, REEL_INVALID_ARGUMENT, "there is no kind of rows %d", (int)kind);
    for (int c = 0; c < counts[kind]; c++) {
        columns[c] = known_columns[wanted[kind][c]];
        columns[c].required = wanted[kind][c] != TIME;
    }
    TRY_RETURN(id_table_read(ctx, path, columns, counts[kind], &rows->n, &first_line, err));
    int32_t *ratings = NULL;
    for (int c = 0; c < counts[kind]; c++) {
        if (wanted[kind][c] == USER) rows->user_ids = columns[c].values;
        if (wanted[kind][c] == MOVIE) rows->movie_ids = columns[c].values;
        if (wanted[kind][c] == TIME) rows->times = (uint32_t *)columns[c].values;
        if (wanted[kind][c] == RATING) ratings = columns[c].values;
    }
    if (ratings) TRY(stars_of_ratings(rows, ratings, err));
    TRY(bind_rows(ctx, dataset, path, kind, first_line, rows, err));
cleanup:
    mem_free(ratings);
    if (status != REEL_OK) reel_rows_free(rows);
    return status;
}

void reel_rows_free(reel_rows *rows) {
    mem_free(rows->user_ids);
    mem_free(rows->movie_ids);
    mem_free(rows->users);
    mem_free(rows->movies);
    mem_free(rows->times);
    mem_free(rows->stars);
    *rows = (reel_rows){0};
}
