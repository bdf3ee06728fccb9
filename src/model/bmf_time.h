/* Grouped effects of time for `bmf`: each rating belongs to one group of each kind, and each group has one effect
 * with a normal prior of sampled precision. */
#ifndef MODEL_BMF_TIME_H
#define MODEL_BMF_TIME_H

#include "backend/job_memory.h"
#include "data/ratings.h"
#include "model/gibbs_prior.h"

enum bmf_time_kind {
    BMF_USER_DAY,   /* a user's mood on one day */
    BMF_MOVIE_SPAN, /* a movie's standing over time: BMF_SPAN_DAYS-day spans */
    BMF_DAY,        /* everybody's mood on one day */
    BMF_TIME_KINDS
};
enum { BMF_SPAN_DAYS = 60, SECONDS_PER_DAY = 86400 };

/* One kind: groups in ascending order of key; key = entity << 32 | time unit (day or span). */
struct bmf_groups {
    int64_t n;
    uint64_t *keys;     /* (n,) host */
    float *effects;     /* (n,) host copy, current sample */
    double *sums;       /* (n,) host, over the kept samples */
    int64_t *offsets;   /* (n + 1,) host */
    int32_t *positions; /* (n_ratings,) host, by-user positions */
    double precision;   /* of the prior, sampled */
    const int64_t *device_offsets;
    const int32_t *device_positions;
    float *device_effects;
};

struct bmf_time {
    int64_t n_ratings;
    struct bmf_groups kinds[BMF_TIME_KINDS];
};

uint64_t bmf_time_key(enum bmf_time_kind kind, int32_t user, int32_t movie, uint32_t time);
/* Group of a key by bisection, -1 if the training part has none. */
int64_t bmf_time_find(const uint64_t *keys, int64_t n, uint64_t key);
/* Groups the ratings (with times) and puts them on the backend. NO_MEMORY, or INVALID_ARGUMENT over 2^31 ratings. */
reel_status bmf_time_new(const struct ratings *ratings, struct job_memory *job, struct bmf_time *out, reel_error *err);
void bmf_time_free(struct bmf_time *time); /* takes a zeroed struct */
/* One Gibbs sweep over all kinds: residual (n,) on the backend follows. */
reel_status bmf_time_sweep(struct bmf_time *time, struct backend *backend, float *residual, float alpha, uint64_t seed,
                           uint32_t sample, struct draws *draws, reel_error *err);
/* total (n,) on the backend = sum of the effects of each rating, in by-user order. */
reel_status bmf_time_totals(const struct bmf_time *time, struct backend *backend, float *total, reel_error *err);
/* The groups of one (user, movie, time), -1 = none: what is found once holds for every sample. */
void bmf_time_groups(const struct bmf_time *time, int32_t user, int32_t movie, uint32_t when,
                     int64_t groups[BMF_TIME_KINDS]);
/* Sum of the current effects of these groups. */
float bmf_time_effect(const struct bmf_time *time, const int64_t groups[BMF_TIME_KINDS]);

#endif
