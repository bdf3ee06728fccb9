#include "data/dataset_check.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

/* ---- small columns ---- */

#define ID_LIMIT ((int64_t)INT32_MAX + 1)

/* 1 if `values` (n,) rise strictly and lie in lowest..limit-1. */
static int ascends(const int32_t *values, int64_t n, int32_t lowest, int64_t limit) {
    if (n == 0) return 1;
    int bad = (values[0] < lowest) | (values[n - 1] >= limit);
    for (int64_t i = 1; i < n; i++) bad |= values[i] <= values[i - 1];
    return !bad;
}

/* 1 if all `values` (n,) lie in 0..limit-1. */
static int in_range(const int32_t *values, int64_t n, int32_t limit) {
    int bad = 0;
    for (int64_t i = 0; i < n; i++) bad |= (uint32_t)values[i] >= (uint32_t)limit;
    return !bad;
}

static reel_status corrupt(const struct reel_dataset *ds, const char *tensor, const char *what, reel_error *err) {
    return error_set(err, REEL_CORRUPT, "%s: tensor %s: %s", tensor_set_path(ds->set), tensor, what);
}

reel_status dataset_check_text(const struct reel_dataset *ds, const char *name, const struct text_column *column,
                               int64_t n, int64_t bytes, reel_error *err) {
    const int64_t *offsets = column->offsets;
    int bad = (offsets[0] != 0) | (offsets[n] != bytes);
    for (int64_t i = 0; i < n; i++) bad |= offsets[i + 1] <= offsets[i];
    if (bad) return corrupt(ds, name, "offsets do not rise from 0 to the size of the text", err);
    for (int64_t i = 0; i < n; i++) bad |= column->text[offsets[i + 1] - 1] != '\0';
    return bad ? corrupt(ds, name, "a text does not end with NUL", err) : REEL_OK;
}

static reel_status check_movies(const struct reel_dataset *ds, reel_error *err) {
    if (!ascends(ds->user_ids, ds->n_users, 0, ID_LIMIT)) return corrupt(ds, "user_ids", "ids do not ascend", err);
    if (!ascends(ds->movie_ids, ds->n_movies, 0, ID_LIMIT)) return corrupt(ds, "movie_ids", "ids do not ascend", err);
    for (int32_t g = 0; g + 1 < ds->n_genres; g++)
        if (strcmp(text_at(&ds->genres, g), text_at(&ds->genres, g + 1)) >= 0)
            return corrupt(ds, "genre_names", "names do not ascend", err);
    uint64_t unknown = ds->n_genres == 64 ? 0 : ~(uint64_t)0 << ds->n_genres, met = 0;
    for (int32_t m = 0; m < ds->n_movies; m++) met |= ds->movie_genres[m];
    if (met & unknown) return corrupt(ds, "movie_genres", "a genre that genre_names lacks", err);
    int bad = 0;
    for (int32_t m = 0; m < ds->n_movies; m++) bad |= ds->movie_years[m] < 0;
    if (bad) return corrupt(ds, "movie_years", "a negative year", err);
    for (int32_t m = 0; m < ds->n_movies; m++) bad |= (ds->movie_imdb_ids[m] < -1) | (ds->movie_tmdb_ids[m] < -1);
    return bad ? corrupt(ds, "movie_imdb_ids or movie_tmdb_ids", "an id below -1", err) : REEL_OK;
}

static reel_status check_tags(const struct reel_dataset *ds, reel_error *err) {
    if (!in_range(ds->tag_users, ds->n_tags, ds->n_users)) return corrupt(ds, "tag_users", "no such user", err);
    if (!in_range(ds->tag_movies, ds->n_tags, ds->n_movies)) return corrupt(ds, "tag_movies", "no such movie", err);
    int bad = 0;
    for (int64_t i = 1; i < ds->n_tags; i++) {
        int64_t before = (int64_t)ds->tag_users[i - 1] << 32 | ds->tag_movies[i - 1];
        int64_t here = (int64_t)ds->tag_users[i] << 32 | ds->tag_movies[i];
        bad |= here < before;
    }
    return bad ? corrupt(ds, "tag_users", "tags are not ordered by user and movie", err) : REEL_OK;
}

/* ---- the genome ---- */

enum { GENOME_ROWS = 64 }; /* movies a task */

struct genome_job {
    const struct reel_dataset *ds;
    uint8_t *bad; /* a task */
};

static void check_genome_rows(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct genome_job *job = arg;
    int64_t width = job->ds->n_genome_tags, begin = task * GENOME_ROWS, end = begin + GENOME_ROWS;
    if (end > job->ds->n_genome_movies) end = job->ds->n_genome_movies;
    int bad = 0;
    const float *relevance = job->ds->genome_relevance;
    for (int64_t i = begin * width; i < end * width; i++) bad |= !(relevance[i] >= 0.0f) | !(relevance[i] <= 1.0f);
    job->bad[task] = (uint8_t)bad;
}

static reel_status check_genome(reel_context *ctx, const struct reel_dataset *ds, reel_error *err) {
    if (!ds->genome_relevance) return REEL_OK;
    if (!ascends(ds->genome_movies, ds->n_genome_movies, 0, ds->n_movies))
        return corrupt(ds, "genome_movies", "movies do not ascend or are out of range", err);
    int64_t n_tasks = ((int64_t)ds->n_genome_movies + GENOME_ROWS - 1) / GENOME_ROWS;
    struct genome_job job = {.ds = ds};
    TRY_RETURN(MEM_NEW(&job.bad, n_tasks, err));
    thread_pool_run(ctx->pool, n_tasks, check_genome_rows, &job);
    int bad = memchr(job.bad, 1, (size_t)n_tasks) != NULL;
    mem_free(job.bad);
    return bad ? corrupt(ds, "genome_relevance", "a relevance outside 0..1", err) : REEL_OK;
}

/* ---- the two orders of the ratings ---- */

/* One order: `rows` are users and `columns` movies, or the other way round. */
struct order {
    const char *columns_name, *ratings_name, *offsets_name;
    int32_t n_rows, n_columns;
    int64_t n;
    const int64_t *offsets, *other_offsets;
    const int32_t *columns;
    const uint8_t *ratings;
    const uint32_t *times; /* NULL by movie */
};

struct order_part {
    int64_t first_row, end_row;
    int64_t bad_row;     /* first row whose columns do not ascend in range; -1 */
    int lowest, highest; /* half stars; lowest starts at 255 */
    uint64_t sum;        /* of half stars */
    uint32_t newest;     /* of times */
    int32_t *counts;     /* (n_columns,) how often each column was met */
};

struct order_job {
    const struct order *order;
    struct order_part *parts;
};

static void check_values(const struct order *order, struct order_part *part) {
    int64_t begin = order->offsets[part->first_row], end = order->offsets[part->end_row];
    uint8_t lowest = 255, highest = 0;
    uint64_t sum = 0;
    while (begin < end) {
        /* blocks whose sum fits 32 bits: the compiler makes narrow SIMD of it */
        int64_t stop = end - begin > 65536 ? begin + 65536 : end;
        uint32_t block = 0;
        for (int64_t i = begin; i < stop; i++) {
            uint8_t rating = order->ratings[i];
            lowest = rating < lowest ? rating : lowest;
            highest = rating > highest ? rating : highest;
            block += rating;
        }
        sum += block;
        begin = stop;
    }
    part->lowest = lowest;
    part->highest = highest;
    part->sum = sum;
}

static void check_part(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct order_job *job = arg;
    const struct order *order = job->order;
    struct order_part *part = &job->parts[task];
    for (int64_t row = part->first_row; row < part->end_row; row++) {
        const int32_t *columns = order->columns + order->offsets[row];
        int64_t n = order->offsets[row + 1] - order->offsets[row];
        if (!ascends(columns, n, 0, order->n_columns)) {
            part->bad_row = row;
            return;
        }
        for (int64_t i = 0; i < n; i++) part->counts[columns[i]]++;
    }
    check_values(order, part);
    if (!order->times) return;
    uint32_t newest = 0;
    for (int64_t i = order->offsets[part->first_row]; i < order->offsets[part->end_row]; i++)
        newest = order->times[i] > newest ? order->times[i] : newest;
    part->newest = newest;
}

static reel_status check_offsets(const struct reel_dataset *ds, const struct order *order, reel_error *err) {
    const int64_t *offsets = order->offsets;
    int bad = (offsets[0] != 0) | (offsets[order->n_rows] != order->n);
    for (int64_t row = 0; row < order->n_rows; row++) bad |= offsets[row + 1] < offsets[row];
    return bad ? corrupt(ds, order->offsets_name, "offsets do not rise from 0 to the number of ratings", err) : REEL_OK;
}

/* How many parts, from the sizes alone: enough for many cores, yet at most 64 MiB of counts. */
static int64_t parts_of(const struct order *order) {
    int64_t parts = order->n / 262144 + 1, room = ((int64_t)64 << 20) / 4 / (order->n_columns + 1) + 1;
    if (parts > room) parts = room;
    return parts > 16 ? 16 : parts;
}

/* First row that starts at or after entry `at`. */
static int64_t row_at(const struct order *order, int64_t at) {
    int64_t low = 0, high = order->n_rows;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (order->offsets[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static reel_status judge_parts(const struct reel_dataset *ds, const struct order *order, const struct order_part *parts,
                               int64_t n_parts, reel_error *err) {
    const char *path = tensor_set_path(ds->set);
    for (int64_t p = 0; p < n_parts; p++)
        if (parts[p].bad_row >= 0)
            return error_set(err, REEL_CORRUPT, "%s: tensor %s: row %lld does not ascend within 0..%lld", path,
                             order->columns_name, (long long)parts[p].bad_row, (long long)order->n_columns - 1);
    for (int64_t p = 0; p < n_parts; p++)
        if (parts[p].highest && (parts[p].lowest < ds->ratings.scale_min || parts[p].highest > ds->ratings.scale_max))
            return error_set(err, REEL_CORRUPT, "%s: tensor %s: ratings outside the scale %d..%d (found %d..%d)", path,
                             order->ratings_name, ds->ratings.scale_min, ds->ratings.scale_max, parts[p].lowest,
                             parts[p].highest);
    for (int64_t column = 0; column < order->n_columns; column++) {
        int64_t count = 0;
        for (int64_t p = 0; p < n_parts; p++) count += parts[p].counts[column];
        if (count != order->other_offsets[column + 1] - order->other_offsets[column])
            return error_set(err, REEL_CORRUPT, "%s: tensor %s: the two orders of the ratings differ at column %lld",
                             path, order->columns_name, (long long)column);
    }
    return REEL_OK;
}

static reel_status check_order(reel_context *ctx, const struct reel_dataset *ds, const struct order *order,
                               uint64_t *sum, uint32_t *newest, reel_error *err) {
    reel_status status = REEL_OK;
    struct order_part parts[16];
    int32_t *counts = NULL;
    int64_t n_parts = parts_of(order);
    TRY(MEM_NEW(&counts, n_parts * order->n_columns, err));
    for (int64_t p = 0; p < n_parts; p++)
        parts[p] = (struct order_part){.first_row = p ? row_at(order, part_begin(order->n, n_parts, p)) : 0,
                                       .bad_row = -1,
                                       .lowest = 255,
                                       .counts = counts + p * order->n_columns};
    for (int64_t p = 0; p < n_parts; p++) parts[p].end_row = p + 1 < n_parts ? parts[p + 1].first_row : order->n_rows;
    struct order_job job = {order, parts};
    thread_pool_run(ctx->pool, n_parts, check_part, &job);
    TRY(judge_parts(ds, order, parts, n_parts, err));
    *sum = 0;
    *newest = 0;
    for (int64_t p = 0; p < n_parts; p++) {
        *sum += parts[p].sum;
        *newest = parts[p].newest > *newest ? parts[p].newest : *newest;
    }
cleanup:
    mem_free(counts);
    return status;
}

static reel_status check_ratings(reel_context *ctx, struct reel_dataset *ds, reel_error *err) {
    const struct ratings *all = &ds->ratings;
    const struct order by_user = {"user_movies",    "user_ratings",    "user_offsets",    all->n_users,
                                  all->n_movies,    all->n_ratings,    all->user_offsets, all->movie_offsets,
                                  all->user_movies, all->user_ratings, all->user_times};
    const struct order by_movie = {
        "movie_users",      "movie_ratings",   "movie_offsets",  all->n_movies,      all->n_users, all->n_ratings,
        all->movie_offsets, all->user_offsets, all->movie_users, all->movie_ratings, NULL};
    TRY_RETURN(check_offsets(ds, &by_user, err));
    TRY_RETURN(check_offsets(ds, &by_movie, err));
    uint64_t user_sum, movie_sum;
    uint32_t unused;
    TRY_RETURN(check_order(ctx, ds, &by_user, &user_sum, &ds->newest_time, err));
    TRY_RETURN(check_order(ctx, ds, &by_movie, &movie_sum, &unused, err));
    if (user_sum != movie_sum)
        return corrupt(ds, "movie_ratings", "the two orders of the ratings add up to different sums", err);
    ds->mean_rating = all->n_ratings ? (double)user_sum / (2.0 * (double)all->n_ratings) : (double)NAN;
    return REEL_OK;
}

reel_status dataset_check(reel_context *ctx, struct reel_dataset *ds, reel_error *err) {
    TRY_RETURN(check_movies(ds, err));
    TRY_RETURN(check_ratings(ctx, ds, err));
    TRY_RETURN(check_tags(ds, err));
    return check_genome(ctx, ds, err);
}
