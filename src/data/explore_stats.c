#include "data/explore_stats.h"

#include <math.h>
#include <stdlib.h>

#include "core/error.h"

/* ---- spreads ---- */

/* The value at place `rank` of the sorted sequence. */
static int64_t value_at_rank(const struct value_count *values, int64_t rank) {
    int64_t i = 0;
    for (int64_t seen = values[0].count; seen <= rank; seen += values[++i].count) {
    }
    return values[i].value;
}

struct spread spread_of_counts(const struct value_count *values, int64_t n, double scale) {
    struct spread spread = {0};
    if (n == 0) return spread;
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) {
        spread.n += values[i].count;
        sum += (double)values[i].value * (double)values[i].count;
    }
    double mean = sum / (double)spread.n;
    for (int64_t i = 0; i < n; i++) {
        double distance = (double)values[i].value - mean;
        squares += distance * distance * (double)values[i].count;
    }
    double middle = (double)value_at_rank(values, (spread.n - 1) / 2) + (double)value_at_rank(values, spread.n / 2);
    spread.min = scale * (double)values[0].value;
    spread.max = scale * (double)values[n - 1].value;
    spread.mean = scale * mean;
    spread.median = scale * middle / 2.0;
    spread.std = scale * sqrt(squares / (double)spread.n);
    return spread;
}

static int by_number(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

struct spread spread_of_numbers(double *numbers, int64_t n) {
    struct spread spread = {.n = n};
    if (n == 0) return spread;
    qsort(numbers, (size_t)n, sizeof *numbers, by_number);
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i++) sum += numbers[i];
    spread.mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (numbers[i] - spread.mean) * (numbers[i] - spread.mean);
    spread.min = numbers[0];
    spread.max = numbers[n - 1];
    spread.median = (numbers[(n - 1) / 2] + numbers[n / 2]) / 2.0;
    spread.std = sqrt(squares / (double)n);
    return spread;
}

static int by_value(const void *left, const void *right) {
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

reel_status distribution_of(int64_t *values, int64_t n, struct arena *arena, struct distribution *out,
                            reel_error *err) {
    *out = (struct distribution){0};
    if (n == 0) return REEL_OK;
    qsort(values, (size_t)n, sizeof *values, by_value);
    int64_t distinct = 1;
    for (int64_t i = 1; i < n; i++) distinct += values[i] != values[i - 1];
    size_t bytes = (size_t)distinct * sizeof *out->values;
    out->values = arena_alloc(arena, bytes);
    if (!out->values) return error_no_memory(err, bytes);
    for (int64_t i = 0; i < n; i++) {
        if (i == 0 || values[i] != values[i - 1]) out->values[out->n++] = (struct value_count){values[i], 0};
        out->values[out->n - 1].count++;
    }
    out->spread = spread_of_counts(out->values, out->n, 1.0);
    return REEL_OK;
}

int explore_vote_bins(const struct distribution *votes, struct vote_bin bins[VOTE_BINS]) {
    int n = 0;
    for (int64_t i = 0, from = 1, to = 1; i < votes->n; from = to + 1, to *= 2) {
        bins[n] = (struct vote_bin){from, to, 0};
        for (; i < votes->n && votes->values[i].value <= to; i++) bins[n].count += votes->values[i].count;
        n++;
    }
    return n;
}

/* ---- rankings ---- */

typedef int (*ranked_before)(const struct ranked *a, const struct ranked *b);

static int more_votes(const struct ranked *a, const struct ranked *b) {
    return a->votes != b->votes ? a->votes > b->votes : a->id < b->id;
}

static int fewer_votes(const struct ranked *a, const struct ranked *b) {
    return a->votes != b->votes ? a->votes < b->votes : a->id < b->id;
}

/* Equal fractions give equal doubles: numerator and denominator are exact. */
static int higher_mean(const struct ranked *a, const struct ranked *b) {
    return a->mean > b->mean || (a->mean >= b->mean && a->id < b->id);
}

static int lower_mean(const struct ranked *a, const struct ranked *b) {
    return a->mean < b->mean || (a->mean <= b->mean && a->id < b->id);
}

/* Inserts `entry` where it belongs among the n best so far. */
static void offer(struct ranked *best, int n, const struct ranked *entry, ranked_before before) {
    int place = n;
    while (place > 0 && before(entry, &best[place - 1])) place--;
    for (int i = n < EXPLORE_TOP ? n : EXPLORE_TOP - 1; i > place; i--) best[i] = best[i - 1];
    if (place < EXPLORE_TOP) best[place] = *entry;
}

static void ranking_offer(struct ranking *ranking, const struct ranked *entry, ranked_before first,
                          ranked_before last) {
    offer(ranking->first, ranking->n, entry, first);
    offer(ranking->last, ranking->n, entry, last);
    if (ranking->n < EXPLORE_TOP) ranking->n++;
}

reel_status votes_facts_of(const struct votes_source *source, struct arena *arena, struct votes_facts *out,
                           reel_error *err) {
    reel_status status = REEL_OK;
    int64_t *votes = NULL;
    double *means = NULL;
    int64_t n = 0;
    *out = (struct votes_facts){0};
    TRY(MEM_RAW(&votes, source->n, err));
    TRY(MEM_RAW(&means, source->n, err));
    for (int32_t i = 0; i < source->n; i++) {
        int64_t count = source->offsets[i + 1] - source->offsets[i];
        if (count == 0) continue;
        struct ranked entry = {.id = source->ids[i],
                               .title = source->titles ? text_at(source->titles, i) : NULL,
                               .votes = count,
                               .mean = (double)source->sums[i] / (2.0 * (double)count)};
        votes[n] = count;
        means[n++] = entry.mean;
        ranking_offer(&out->by_votes, &entry, more_votes, fewer_votes);
        ranking_offer(&out->by_mean, &entry, higher_mean, lower_mean);
        if (count < EXPLORE_MIN_VOTES) continue;
        out->n_of_many++;
        ranking_offer(&out->by_mean_of_many, &entry, higher_mean, lower_mean);
    }
    out->means = spread_of_numbers(means, n);
    TRY(distribution_of(votes, n, arena, &out->votes, err));
cleanup:
    mem_free(votes);
    mem_free(means);
    return status;
}
