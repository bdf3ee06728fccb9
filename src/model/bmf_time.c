#include "model/bmf_time.h"

#include <string.h>

#include "backend/gibbs_ops.h"
#include "core/error.h"
#include "core/mem.h"
#include "kernels/common/philox.h"

uint64_t bmf_time_key(enum bmf_time_kind kind, int32_t user, int32_t movie, uint32_t time) {
    uint32_t day = time / SECONDS_PER_DAY;
    if (kind == BMF_USER_DAY) return (uint64_t)user << 32 | day;
    if (kind == BMF_MOVIE_SPAN) return (uint64_t)movie << 32 | day / BMF_SPAN_DAYS;
    return day;
}

int64_t bmf_time_find(const uint64_t *keys, int64_t n, uint64_t key) {
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && keys[low] == key ? low : -1;
}

struct keyed {
    uint64_t key;
    int32_t position;
};

/* Stable sort by key, eleven bits at a time; passes whose digit is the same everywhere are left out. */
static void sort_keyed(struct keyed *items, struct keyed *scratch, int64_t n) {
    enum { BITS = 11, BUCKETS = 1 << BITS };
    struct keyed *from = items, *to = scratch;
    for (int shift = 0; shift < 64; shift += BITS) {
        int64_t starts[BUCKETS] = {0}, at = 0;
        for (int64_t i = 0; i < n; i++) starts[(from[i].key >> shift) % BUCKETS]++;
        if (starts[(from[0].key >> shift) % BUCKETS] == n) continue;
        for (int b = 0; b < BUCKETS; b++) {
            int64_t count = starts[b];
            starts[b] = at;
            at += count;
        }
        for (int64_t i = 0; i < n; i++) to[starts[(from[i].key >> shift) % BUCKETS]++] = from[i];
        struct keyed *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, (size_t)n * sizeof *items);
}

static void fill_keys(const struct ratings *ratings, enum bmf_time_kind kind, struct keyed *items) {
    for (int32_t u = 0; u < ratings->n_users; u++)
        for (int64_t i = ratings->user_offsets[u]; i < ratings->user_offsets[u + 1]; i++)
            items[i] =
                (struct keyed){bmf_time_key(kind, u, ratings->user_movies[i], ratings->user_times[i]), (int32_t)i};
}

static reel_status groups_new(const struct ratings *ratings, enum bmf_time_kind kind, struct keyed *items,
                              struct keyed *scratch, struct job_memory *job, struct bmf_groups *groups,
                              reel_error *err) {
    const int64_t n = ratings->n_ratings;
    fill_keys(ratings, kind, items);
    sort_keyed(items, scratch, n);
    groups->n = 1;
    for (int64_t i = 1; i < n; i++) groups->n += items[i].key != items[i - 1].key;
    groups->precision = 10;
    TRY_RETURN(MEM_RAW(&groups->keys, groups->n, err));
    TRY_RETURN(MEM_NEW(&groups->effects, groups->n, err));
    TRY_RETURN(MEM_NEW(&groups->sums, groups->n, err));
    TRY_RETURN(MEM_RAW(&groups->offsets, groups->n + 1, err));
    TRY_RETURN(MEM_RAW(&groups->positions, n, err));
    int64_t g = 0;
    for (int64_t i = 0; i < n; i++) {
        groups->positions[i] = items[i].position;
        if (i > 0 && items[i].key == items[i - 1].key) continue;
        groups->keys[g] = items[i].key;
        groups->offsets[g++] = i;
    }
    groups->offsets[g] = n;
    TRY_RETURN(JOB_CONSTANT(job, &groups->device_offsets, groups->offsets, groups->n + 1, err));
    TRY_RETURN(JOB_CONSTANT(job, &groups->device_positions, groups->positions, n, err));
    return JOB_ZEROS(job, &groups->device_effects, groups->n, err);
}

reel_status bmf_time_new(const struct ratings *ratings, struct job_memory *job, struct bmf_time *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct keyed *items = NULL, *scratch = NULL;
    *out = (struct bmf_time){.n_ratings = ratings->n_ratings};
    if (ratings->n_ratings > INT32_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "time effects take at most %d ratings", INT32_MAX);
    TRY(MEM_RAW(&items, ratings->n_ratings, err));
    TRY(MEM_RAW(&scratch, ratings->n_ratings, err));
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++)
        TRY(groups_new(ratings, (enum bmf_time_kind)kind, items, scratch, job, &out->kinds[kind], err));
cleanup:
    mem_free(scratch);
    mem_free(items);
    if (status != REEL_OK) bmf_time_free(out);
    return status;
}

void bmf_time_free(struct bmf_time *time) {
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++) {
        struct bmf_groups *groups = &time->kinds[kind];
        mem_free(groups->keys);
        mem_free(groups->effects);
        mem_free(groups->sums);
        mem_free(groups->offsets);
        mem_free(groups->positions);
    }
    *time = (struct bmf_time){0};
}

reel_status bmf_time_sweep(struct bmf_time *time, struct backend *backend, float *residual, float alpha, uint64_t seed,
                           uint32_t sample, struct draws *draws, reel_error *err) {
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++) {
        struct bmf_groups *groups = &time->kinds[kind];
        struct group_sweep_args args = {.n_groups = groups->n,
                                        .offsets = groups->device_offsets,
                                        .positions = groups->device_positions,
                                        .effects = groups->device_effects,
                                        .residual = residual,
                                        .alpha = alpha,
                                        .prior_precision = (float)groups->precision,
                                        .seed = seed,
                                        .stream = philox_stream(PHILOX_GIBBS, sample * 16 + 8 + (uint32_t)kind)};
        TRY_RETURN(backend->ops->group_sweep(backend, &args, err));
        TRY_RETURN(backend->ops->download(backend, groups->effects, groups->device_effects,
                                          (size_t)groups->n * sizeof(float), err));
        double squares = 0;
        for (int64_t g = 0; g < groups->n; g++) squares += (double)groups->effects[g] * (double)groups->effects[g];
        groups->precision = draw_gamma(draws, 1 + 0.5 * (double)groups->n, 0.1 + 0.5 * squares);
    }
    return REEL_OK;
}

reel_status bmf_time_totals(const struct bmf_time *time, struct backend *backend, float *total, reel_error *err) {
    TRY_RETURN(backend->ops->zero(backend, total, (size_t)time->n_ratings * sizeof *total, err));
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++) {
        const struct bmf_groups *groups = &time->kinds[kind];
        struct group_add_args args = {.n_groups = groups->n,
                                      .offsets = groups->device_offsets,
                                      .positions = groups->device_positions,
                                      .effects = groups->device_effects,
                                      .out = total};
        TRY_RETURN(backend->ops->group_add(backend, &args, err));
    }
    return REEL_OK;
}

void bmf_time_groups(const struct bmf_time *time, int32_t user, int32_t movie, uint32_t when,
                     int64_t groups[BMF_TIME_KINDS]) {
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++) {
        const struct bmf_groups *of_kind = &time->kinds[kind];
        int unknown = (kind == BMF_USER_DAY && user < 0) || (kind == BMF_MOVIE_SPAN && movie < 0);
        uint64_t key = bmf_time_key((enum bmf_time_kind)kind, user, movie, when);
        groups[kind] = unknown ? -1 : bmf_time_find(of_kind->keys, of_kind->n, key);
    }
}

float bmf_time_effect(const struct bmf_time *time, const int64_t groups[BMF_TIME_KINDS]) {
    float sum = 0;
    for (int kind = 0; kind < BMF_TIME_KINDS; kind++)
        if (groups[kind] >= 0) sum += time->kinds[kind].effects[groups[kind]];
    return sum;
}
