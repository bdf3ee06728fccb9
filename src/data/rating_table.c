#include "data/rating_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

/* Work is cut by the data alone, never by the number of threads. */
enum { RANGES = 64, HISTOGRAMS = 16 };

/* ---- ids to indices ---- */

struct translate {
    int32_t *ids;
    int64_t n;
    const struct id_map *map;
};

static void translate_range(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct translate *job = arg;
    int64_t begin = part_begin(job->n, RANGES, task), end = part_begin(job->n, RANGES, task + 1);
    int32_t previous = -1, index = -1;
    for (int64_t i = begin; i < end; i++) {
        int32_t id = job->ids[i];
        if (id != previous) index = id_map_find(job->map, id);
        previous = id;
        job->ids[i] = index;
    }
}

static void translate(reel_context *ctx, int32_t *ids, int64_t n, const struct id_map *map) {
    struct translate job = {ids, n, map};
    thread_pool_run(ctx->pool, RANGES, translate_range, &job);
}

/* ---- stable counting sort of row numbers ---- */

struct order {
    int64_t n;
    const int32_t *keys; /* (n,) by row */
    int32_t n_keys;
    const uint32_t *in; /* rows in their order so far; NULL = 0, 1, 2 ... */
    uint32_t *out;
    int64_t parts;
    uint32_t *starts; /* (parts, n_keys): counts, then places */
};

static void order_count(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct order *order = arg;
    uint32_t *counts = order->starts + task * order->n_keys;
    int64_t begin = part_begin(order->n, order->parts, task), end = part_begin(order->n, order->parts, task + 1);
    for (int64_t i = begin; i < end; i++) counts[order->keys[order->in ? order->in[i] : (uint32_t)i]]++;
}

static void order_place(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct order *order = arg;
    uint32_t *starts = order->starts + task * order->n_keys;
    int64_t begin = part_begin(order->n, order->parts, task), end = part_begin(order->n, order->parts, task + 1);
    for (int64_t i = begin; i < end; i++) {
        uint32_t row = order->in ? order->in[i] : (uint32_t)i;
        order->out[starts[order->keys[row]]++] = row;
    }
}

/* Histograms cost parts x keys: with many keys there are fewer parts. */
static int64_t histogram_parts(int64_t n, int32_t n_keys) {
    int64_t parts = n_keys > 0 ? n / n_keys : 1;
    return parts < 1 ? 1 : parts > HISTOGRAMS ? HISTOGRAMS : parts;
}

/* Turns counts (parts, n_keys) into the first place of each part's entries of a key. */
static void counts_to_starts(uint32_t *counts, int64_t parts, int32_t n_keys) {
    uint32_t at = 0;
    for (int32_t key = 0; key < n_keys; key++)
        for (int64_t part = 0; part < parts; part++) {
            uint32_t count = counts[part * n_keys + key];
            counts[part * n_keys + key] = at;
            at += count;
        }
}

static reel_status order_rows(reel_context *ctx, int64_t n, const int32_t *keys, int32_t n_keys, const uint32_t *in,
                              uint32_t *out, reel_error *err) {
    struct order order = {n, keys, n_keys, in, out, histogram_parts(n, n_keys), NULL};
    TRY_RETURN(MEM_NEW(&order.starts, order.parts * n_keys, err));
    thread_pool_run(ctx->pool, order.parts, order_count, &order);
    counts_to_starts(order.starts, order.parts, n_keys);
    thread_pool_run(ctx->pool, order.parts, order_place, &order);
    mem_free(order.starts);
    return context_check(ctx, err);
}

/* ---- repeated pairs ---- */

static inline int same_pair(const struct raw_ratings *raw, uint32_t a, uint32_t b) {
    return raw->users[a] == raw->users[b] && raw->movies[a] == raw->movies[b];
}

struct repeat {
    uint32_t row, other; /* the row that repeats, and the first row (or with skip: the winner) */
};

static int compare_repeats(const void *a, const void *b) {
    const struct repeat *left = a, *right = b;
    return left->row < right->row ? -1 : left->row > right->row;
}

static void list_repeats(const struct raw_ratings *raw, const struct id_map *users, const struct id_map *movies,
                         struct bad_lines *bad, struct repeat *repeats, int64_t n) {
    qsort(repeats, (size_t)n, sizeof *repeats, compare_repeats);
    for (int64_t i = 0; i < n && bad->listed < bad->max_listed; i++)
        bad_lines_list(bad, raw->file.name, raw_ratings_line(raw, repeats[i].row),
                       "user %" PRId32 " rated movie %" PRId32 " more than once; the rating in line %" PRId64 " wins",
                       users->ids[raw->users[repeats[i].row]], movies->ids[raw->movies[repeats[i].row]],
                       raw_ratings_line(raw, repeats[i].other));
}

static reel_status repeat_error(const struct raw_ratings *raw, const struct id_map *users, const struct id_map *movies,
                                uint32_t row, uint32_t first, reel_error *err) {
    return error_set(err, REEL_BAD_INPUT,
                     "%s:%" PRId64 ": user %" PRId32 " rated movie %" PRId32 " before, in line %" PRId64,
                     raw->file.name, raw_ratings_line(raw, row), users->ids[raw->users[row]],
                     movies->ids[raw->movies[row]], raw_ratings_line(raw, first));
}

/* Number of rows that repeat the pair of the row before them in `order`, and the earliest such row of the file with
 * the first row of its pair. */
static int64_t count_repeats(const struct raw_ratings *raw, const uint32_t *order, uint32_t *earliest,
                             uint32_t *earliest_first) {
    int64_t repeats = 0, first = 0;
    *earliest = UINT32_MAX;
    for (int64_t i = 1; i < raw->n; i++) {
        if (!same_pair(raw, order[i], order[first])) {
            first = i;
            continue;
        }
        repeats++;
        if (order[i] < *earliest) {
            *earliest = order[i];
            *earliest_first = order[first];
        }
    }
    return repeats;
}

/* Leaves one row of each pair in `order`: the latest by time, then by line. Returns how many are left. */
static int64_t drop_repeats(const struct raw_ratings *raw, uint32_t *order, struct repeat *repeats) {
    int64_t kept = 0, dropped = 0;
    for (int64_t begin = 0, end; begin < raw->n; begin = end) {
        uint32_t winner = order[begin];
        for (end = begin + 1; end < raw->n && same_pair(raw, order[end], order[begin]); end++)
            if (raw->times[order[end]] >= raw->times[winner]) winner = order[end];
        for (int64_t i = begin; i < end; i++)
            if (order[i] != winner) repeats[dropped++] = (struct repeat){order[i], winner};
        order[kept++] = winner;
    }
    return kept;
}

static reel_status resolve_repeats(const struct raw_ratings *raw, const struct id_map *users,
                                   const struct id_map *movies, struct bad_lines *bad, uint32_t *order, int64_t *n,
                                   reel_error *err) {
    uint32_t earliest, first = 0;
    struct repeat *repeats;
    int64_t n_repeats = count_repeats(raw, order, &earliest, &first);
    *n = raw->n;
    if (n_repeats == 0) return REEL_OK;
    if (!bad->skip) return repeat_error(raw, users, movies, earliest, first, err);
    TRY_RETURN(MEM_RAW(&repeats, n_repeats, err));
    *n = drop_repeats(raw, order, repeats);
    list_repeats(raw, users, movies, bad, repeats, n_repeats);
    mem_free(repeats);
    return REEL_OK;
}

/* ---- rows into the order by user ---- */

struct gather {
    int64_t n;
    const uint32_t *order;
    const struct raw_ratings *from;
    struct raw_ratings *to;
};

static void gather_range(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct gather *job = arg;
    int64_t begin = part_begin(job->n, RANGES, task), end = part_begin(job->n, RANGES, task + 1);
    for (int64_t i = begin; i < end; i++) {
        uint32_t row = job->order[i];
        job->to->users[i] = job->from->users[row];
        job->to->movies[i] = job->from->movies[row];
        job->to->ratings[i] = job->from->ratings[row];
        job->to->times[i] = job->from->times[row];
    }
}

static void swap_arrays(struct raw_ratings *a, struct raw_ratings *b) {
    struct raw_ratings old = *a;
    a->users = b->users;
    a->movies = b->movies;
    a->ratings = b->ratings;
    a->times = b->times;
    b->users = old.users;
    b->movies = old.movies;
    b->ratings = old.ratings;
    b->times = old.times;
}

static reel_status gather_rows(reel_context *ctx, struct raw_ratings *raw, const uint32_t *order, int64_t n,
                               reel_error *err) {
    reel_status status = REEL_OK;
    struct raw_ratings sorted = {0};
    struct gather job = {n, order, raw, &sorted};
    TRY(MEM_RAW(&sorted.users, n, err));
    TRY(MEM_RAW(&sorted.movies, n, err));
    TRY(MEM_RAW(&sorted.ratings, n, err));
    TRY(MEM_RAW(&sorted.times, n, err));
    thread_pool_run(ctx->pool, RANGES, gather_range, &job);
    swap_arrays(raw, &sorted);
    raw->n = n;
cleanup:
    raw_ratings_free(&sorted);
    return status;
}

/* Two stable counting sorts, by movie and then by user, leave the rows ordered by (user, movie, line). */
static reel_status sort_rows(reel_context *ctx, struct raw_ratings *raw, const struct id_map *users,
                             const struct id_map *movies, struct bad_lines *bad, reel_error *err) {
    reel_status status = REEL_OK;
    uint32_t *by_movie = NULL, *order = NULL;
    int64_t n;
    TRY(MEM_RAW(&by_movie, raw->n, err));
    TRY(order_rows(ctx, raw->n, raw->movies, movies->n, NULL, by_movie, err));
    TRY(MEM_RAW(&order, raw->n, err));
    TRY(order_rows(ctx, raw->n, raw->users, users->n, by_movie, order, err));
    mem_free(by_movie);
    by_movie = NULL;
    TRY(resolve_repeats(raw, users, movies, bad, order, &n, err));
    TRY(gather_rows(ctx, raw, order, n, err));
cleanup:
    mem_free(by_movie);
    mem_free(order);
    return status;
}

/* ---- offsets and the order by movie ---- */

struct starts {
    const int32_t *users; /* (n,) ascending indices */
    int64_t n;
    int64_t *offsets;
};

/* Each user's first row; the range that holds it writes it. */
static void starts_range(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct starts *job = arg;
    int64_t begin = part_begin(job->n, RANGES, task), end = part_begin(job->n, RANGES, task + 1);
    int32_t previous = begin > 0 ? job->users[begin - 1] : -1;
    for (int64_t i = begin; i < end; i++) {
        if (job->users[i] == previous) continue;
        previous = job->users[i];
        job->offsets[previous] = i;
    }
}

static void find_user_offsets(reel_context *ctx, const int32_t *users, int64_t n, int32_t n_users, int64_t *offsets) {
    for (int32_t u = 0; u < n_users; u++) offsets[u] = -1;
    offsets[n_users] = n;
    struct starts job = {users, n, offsets};
    thread_pool_run(ctx->pool, RANGES, starts_range, &job);
    for (int32_t u = n_users - 1; u >= 0; u--)
        if (offsets[u] < 0) offsets[u] = offsets[u + 1]; /* only tagged, never rated */
}

struct transpose {
    struct rating_table *table;
    int32_t n_users, n_movies;
    int64_t parts;
    uint32_t *starts; /* (parts, n_movies) */
};

static void transpose_count(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct transpose *job = arg;
    uint32_t *counts = job->starts + task * job->n_movies;
    int64_t n = job->table->n, begin = part_begin(n, job->parts, task), end = part_begin(n, job->parts, task + 1);
    for (int64_t i = begin; i < end; i++) counts[job->table->user_movies[i]]++;
}

/* The user of rating `index`: the last one whose ratings begin at or before it. */
static int32_t user_of_rating(const struct rating_table *table, int32_t n_users, int64_t index) {
    int32_t low = 0, high = n_users;
    while (high - low > 1) {
        int32_t middle = low + (high - low) / 2;
        if (table->user_offsets[middle] <= index)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static void transpose_place(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct transpose *job = arg;
    const struct rating_table *table = job->table;
    uint32_t *starts = job->starts + task * job->n_movies;
    int64_t i = part_begin(table->n, job->parts, task), end = part_begin(table->n, job->parts, task + 1);
    int32_t user = i < end ? user_of_rating(table, job->n_users, i) : 0;
    for (; i < end; user++) {
        int64_t stop = table->user_offsets[user + 1] < end ? table->user_offsets[user + 1] : end;
        for (; i < stop; i++) {
            uint32_t at = starts[table->user_movies[i]]++;
            table->movie_users[at] = user;
            table->movie_ratings[at] = table->user_ratings[i];
        }
    }
}

/* table->movie_users has room already. */
static reel_status order_by_movie(reel_context *ctx, int32_t n_users, int32_t n_movies, struct rating_table *table,
                                  reel_error *err) {
    reel_status status = REEL_OK;
    struct transpose job = {table, n_users, n_movies, histogram_parts(table->n, n_movies), NULL};
    TRY(MEM_NEW(&job.starts, job.parts * n_movies, err));
    TRY(MEM_RAW(&table->movie_offsets, (int64_t)n_movies + 1, err));
    TRY(MEM_RAW(&table->movie_ratings, table->n, err));
    thread_pool_run(ctx->pool, job.parts, transpose_count, &job);
    counts_to_starts(job.starts, job.parts, n_movies);
    for (int32_t m = 0; m < n_movies; m++) table->movie_offsets[m] = job.starts[m];
    table->movie_offsets[n_movies] = table->n;
    thread_pool_run(ctx->pool, job.parts, transpose_place, &job);
cleanup:
    mem_free(job.starts);
    return status;
}

reel_status rating_table_build(reel_context *ctx, struct raw_ratings *raw, const struct id_map *users,
                               const struct id_map *movies, struct bad_lines *bad, struct rating_table *out,
                               int64_t *n_duplicates, reel_error *err) {
    *out = (struct rating_table){0};
    int64_t n_read = raw->n;
    translate(ctx, raw->users, raw->n, users);
    translate(ctx, raw->movies, raw->n, movies);
    TRY_RETURN(context_check(ctx, err));
    if (!raw->ascending) TRY_RETURN(sort_rows(ctx, raw, users, movies, bad, err));
    *n_duplicates = n_read - raw->n;
    out->n = raw->n;
    out->user_movies = raw->movies;
    out->user_ratings = raw->ratings;
    out->user_times = raw->times;
    raw->movies = NULL;
    raw->ratings = NULL;
    raw->times = NULL;
    TRY_RETURN(MEM_RAW(&out->user_offsets, (int64_t)users->n + 1, err));
    find_user_offsets(ctx, raw->users, out->n, users->n, out->user_offsets);
    TRY_RETURN(context_check(ctx, err));
    /* The offsets tell the users now: their array becomes the one by movie, which spares fresh pages. */
    out->movie_users = raw->users;
    raw->users = NULL;
    TRY_RETURN(order_by_movie(ctx, users->n, movies->n, out, err));
    return context_check(ctx, err);
}

void rating_table_free(struct rating_table *table) {
    mem_free(table->user_offsets);
    mem_free(table->user_movies);
    mem_free(table->user_ratings);
    mem_free(table->user_times);
    mem_free(table->movie_offsets);
    mem_free(table->movie_users);
    mem_free(table->movie_ratings);
    *table = (struct rating_table){0};
}
