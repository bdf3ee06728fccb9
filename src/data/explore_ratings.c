#include "data/explore_ratings.h"

#include <string.h>

#include "core/error.h"

enum { PARTS_MAX = 16, PART_RATINGS = 262144 };

/* A run of users (or movies) with about as many ratings as every other part's. */
struct part {
    int64_t first_row, end_row;
    int64_t histogram[11];
    int64_t n_without_time;
    uint32_t first_time, last_time;
    struct day_sum *days; /* (EXPLORE_DAYS,), NULL by movie */
};

struct job {
    const int64_t *offsets;
    const uint8_t *ratings;
    const uint32_t *times; /* NULL by movie */
    int64_t *sums;         /* (n_rows,) */
    struct part *parts;
};

/* First row that starts at or after entry `at`. */
static int64_t row_at(const int64_t *offsets, int64_t n_rows, int64_t at) {
    int64_t low = 0, high = n_rows;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (offsets[middle] < at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int64_t cut_parts(const int64_t *offsets, int64_t n_rows, struct part *parts) {
    int64_t n = offsets[n_rows], n_parts = n / PART_RATINGS + 1;
    if (n_parts > PARTS_MAX) n_parts = PARTS_MAX;
    for (int64_t p = 0; p < n_parts; p++)
        parts[p] = (struct part){.first_row = p ? row_at(offsets, n_rows, part_begin(n, n_parts, p)) : 0,
                                 .first_time = UINT32_MAX};
    for (int64_t p = 0; p < n_parts; p++) parts[p].end_row = p + 1 < n_parts ? parts[p + 1].first_row : n_rows;
    return n_parts;
}

static void add_times(const struct job *job, struct part *part) {
    int64_t end = job->offsets[part->end_row];
    for (int64_t i = job->offsets[part->first_row]; i < end; i++) {
        uint32_t time = job->times[i];
        if (time == 0) {
            part->n_without_time++;
            continue;
        }
        part->first_time = time < part->first_time ? time : part->first_time;
        part->last_time = time > part->last_time ? time : part->last_time;
        struct day_sum *day = &part->days[time / 86400];
        day->n++;
        day->sum += job->ratings[i];
    }
}

static void add_part(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct job *job = arg;
    struct part *part = &job->parts[task];
    for (int64_t row = part->first_row; row < part->end_row; row++) {
        int64_t sum = 0;
        for (int64_t i = job->offsets[row]; i < job->offsets[row + 1]; i++) sum += job->ratings[i];
        job->sums[row] = sum;
    }
    if (!job->times) return;
    /* four counters a value, since runs of one value would wait for each other's store */
    int64_t counts[4][256] = {{0}}, end = job->offsets[part->end_row];
    for (int64_t i = job->offsets[part->first_row]; i < end; i++) counts[i & 3][job->ratings[i]]++;
    for (int h = 0; h <= 10; h++) part->histogram[h] = counts[0][h] + counts[1][h] + counts[2][h] + counts[3][h];
    add_times(job, part);
}

static void merge_part(const struct part *part, struct rating_sums *out) {
    for (int h = 0; h <= 10; h++) out->histogram[h] += part->histogram[h];
    for (int64_t day = 0; day < EXPLORE_DAYS; day++) {
        out->days[day].n += part->days[day].n;
        out->days[day].sum += part->days[day].sum;
    }
    out->n_without_time += part->n_without_time;
    if (part->last_time == 0) return;
    if (out->last_time == 0 || part->first_time < out->first_time) out->first_time = part->first_time;
    if (part->last_time > out->last_time) out->last_time = part->last_time;
}

reel_status rating_sums_of(reel_context *ctx, const struct ratings *ratings, struct rating_sums *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct day_sum *days = NULL;
    struct part parts[PARTS_MAX];
    *out = (struct rating_sums){0};
    TRY(MEM_NEW(&out->user_sums, ratings->n_users, err));
    TRY(MEM_NEW(&out->movie_sums, ratings->n_movies, err));
    TRY(MEM_NEW(&out->days, EXPLORE_DAYS, err));
    int64_t n_parts = cut_parts(ratings->user_offsets, ratings->n_users, parts);
    TRY(MEM_NEW(&days, n_parts * EXPLORE_DAYS, err));
    for (int64_t p = 0; p < n_parts; p++) parts[p].days = days + p * EXPLORE_DAYS;
    struct job by_user = {ratings->user_offsets, ratings->user_ratings, ratings->user_times, out->user_sums, parts};
    TRY(context_check(ctx, err));
    thread_pool_run(ctx->pool, n_parts, add_part, &by_user);
    for (int64_t p = 0; p < n_parts; p++) merge_part(&parts[p], out);
    n_parts = cut_parts(ratings->movie_offsets, ratings->n_movies, parts);
    struct job by_movie = {ratings->movie_offsets, ratings->movie_ratings, NULL, out->movie_sums, parts};
    TRY(context_check(ctx, err));
    thread_pool_run(ctx->pool, n_parts, add_part, &by_movie);
cleanup:
    mem_free(days);
    return status;
}

void rating_sums_free(struct rating_sums *sums) {
    mem_free(sums->user_sums);
    mem_free(sums->movie_sums);
    mem_free(sums->days);
    *sums = (struct rating_sums){0};
}

/* ---- the calendar ---- */

static int days_in_month(int year, int month) {
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* Adds the days of one month that starts at `day`. */
static struct month_fact month_at(const struct day_sum *days, int64_t day, int year, int month) {
    struct month_fact fact = {.year = year, .month = month};
    int64_t sum = 0;
    for (int i = 0; i < days_in_month(year, month) && day + i < EXPLORE_DAYS; i++) {
        fact.n += days[day + i].n;
        sum += days[day + i].sum;
    }
    if (fact.n) fact.mean = (double)sum / (2.0 * (double)fact.n);
    return fact;
}

reel_status months_of(const struct day_sum *days, struct arena *arena, struct rating_facts *out, reel_error *err) {
    int64_t first = 0, last = EXPLORE_DAYS - 1, room = EXPLORE_DAYS / 28 + 1;
    while (first < EXPLORE_DAYS && days[first].n == 0) first++;
    if (first == EXPLORE_DAYS) return REEL_OK;
    while (days[last].n == 0) last--;
    size_t bytes = (size_t)room * sizeof *out->months;
    out->months = arena_alloc(arena, bytes);
    if (!out->months) return error_no_memory(err, bytes);
    for (int64_t day = 0, month = 0; day <= last; month++) {
        int y = (int)(1970 + month / 12), m = (int)(month % 12 + 1);
        int64_t next = day + days_in_month(y, m);
        if (next > first) out->months[out->n_months++] = month_at(days, day, y, m);
        day = next;
    }
    return REEL_OK;
}
