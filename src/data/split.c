#include "data/split.h"

#include <stdatomic.h>
#include <string.h>

#include "core/error.h"
#include "kernels/common/philox.h"

/* ---- the permutation ---- */

/* A Feistel network over `bits` bits (Luby and Rackoff 1988), unbalanced by one where bits is odd; indices it
 * sends past n are sent round again until they fall inside ("cycle-walking", Black and Rogaway 2002), which at
 * most doubles the work on average. The round function is the finalizer of MurmurHash3 under a Philox key. */
enum { ROUNDS = 6 };

struct feistel {
    uint64_t n;
    int left_bits, right_bits;
    uint32_t keys[ROUNDS];
};

static void feistel_init(struct feistel *f, uint64_t seed, uint32_t sub, int64_t n) {
    int bits = 2;
    while (bits < 62 && (int64_t)1 << bits < n) bits++;
    f->n = (uint64_t)n;
    f->left_bits = bits / 2;
    f->right_bits = bits - bits / 2;
    struct philox4 low = philox_block(seed, philox_stream(PHILOX_SPLIT, sub), 0);
    struct philox4 high = philox_block(seed, philox_stream(PHILOX_SPLIT, sub), 1);
    for (int i = 0; i < ROUNDS; i++) f->keys[i] = i < 4 ? low.v[i] : high.v[i - 4];
}

static inline uint32_t feistel_mix(uint32_t x, uint32_t key) {
    x = (x ^ key) * 0x85EBCA6Bu;
    x = (x ^ x >> 13) * 0xC2B2AE35u;
    return x ^ x >> 16;
}

static inline uint64_t feistel_apply(const struct feistel *f, uint64_t index) {
    uint32_t left_mask = ((uint32_t)1 << f->left_bits) - 1, right_mask = ((uint32_t)1 << f->right_bits) - 1;
    do {
        uint32_t left = (uint32_t)(index >> f->right_bits), right = (uint32_t)index & right_mask;
        for (int i = 0; i < ROUNDS; i += 2) {
            left = (left ^ feistel_mix(right, f->keys[i])) & left_mask;
            right = (right ^ feistel_mix(left, f->keys[i + 1])) & right_mask;
        }
        index = (uint64_t)left << f->right_bits | right;
    } while (index >= f->n);
    return index;
}

int64_t split_permute(uint64_t seed, int64_t n, int64_t index) {
    struct feistel f;
    feistel_init(&f, seed, 0, n);
    return (int64_t)feistel_apply(&f, (uint64_t)index);
}

/* ---- labels ---- */

/* Work is cut by sizes alone. */
enum { RATINGS_A_TASK = 1 << 18, USERS_A_TASK = 512, TIME_TEST_PERCENT = 10 };

struct split_job {
    const struct ratings *ratings;
    uint64_t seed;
    int folds;    /* > 0: label = fold number */
    double share; /* folds = 0: label = 1 for this share, else 0 */
    struct feistel whole;
    atomic_int times_seen; /* a rating with a time other than 0 was met */
    uint8_t *labels;
};

/* Rounded down, but 0.29 of 100 is 29 although 0.29 * 100 is a little less in binary. */
static int64_t share_of(double share, int64_t n) {
    return (int64_t)(share * (double)n + 1e-6);
}

/* Labels the places begin..end-1 of n permuted ratings. */
static void label_range(const struct split_job *job, const struct feistel *f, int64_t begin, int64_t end, int64_t n,
                        uint8_t *labels) {
    if (job->folds == 0) {
        uint64_t held_out = (uint64_t)share_of(job->share, n);
        for (int64_t i = begin; i < end; i++) labels[i] = feistel_apply(f, (uint64_t)i) < held_out;
        return;
    }
    uint64_t base = (uint64_t)(n / job->folds), extra = (uint64_t)(n % job->folds), long_end = extra * (base + 1);
    for (int64_t i = begin; i < end; i++) {
        uint64_t place = feistel_apply(f, (uint64_t)i);
        labels[i] = (uint8_t)(place < long_end ? place / (base + 1) : extra + (place - long_end) / base);
    }
}

static void label_random(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct split_job *job = arg;
    int64_t n = job->ratings->n_ratings, begin = task * RATINGS_A_TASK;
    int64_t end = n - begin > RATINGS_A_TASK ? begin + RATINGS_A_TASK : n;
    label_range(job, &job->whole, begin, end, n, job->labels);
}

/* Labels the newest `held_out` of n ratings 1, the others 0; equal times by movie, the last ones newer. The time
 * that cuts them is found by bisection: no scratch, and every pass is a plain count. */
static void label_newest(const uint32_t *times, int64_t n, int64_t held_out, uint8_t *labels) {
    uint32_t low = 0, high = UINT32_MAX; /* the largest cut with at least held_out ratings at or after it */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2 + 1;
        uint32_t count = 0;
        for (int64_t i = 0; i < n; i++) count += times[i] >= middle;
        if (count >= held_out)
            low = middle;
        else
            high = middle - 1;
    }
    int64_t newer = 0;
    for (int64_t i = 0; i < n; i++) newer += times[i] > low;
    int64_t at_cut = held_out - newer;
    for (int64_t i = n - 1; i >= 0; i--) {
        int take = times[i] > low || (times[i] == low && at_cut > 0);
        at_cut -= times[i] == low;
        labels[i] = (uint8_t)take;
    }
}

/* Turns a user's fold numbers round by a random step: else the first folds would get every user's odd rating. */
static void turn_labels(const struct split_job *job, int32_t user, uint8_t *labels, int64_t n) {
    uint32_t folds = (uint32_t)job->folds;
    uint32_t step = philox_block(job->seed, philox_stream(PHILOX_SPLIT, (uint32_t)user + 1), 2).v[0] % folds;
    for (int64_t i = 0; i < n; i++) labels[i] = (uint8_t)((labels[i] + step) % folds);
}

static void label_users(void *arg, int64_t task, int worker) {
    (void)worker;
    struct split_job *job = arg;
    const struct ratings *ratings = job->ratings;
    int64_t last = (task + 1) * USERS_A_TASK < ratings->n_users ? (task + 1) * USERS_A_TASK : ratings->n_users;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < last; user++) {
        int64_t begin = ratings->user_offsets[user], n = ratings->user_offsets[user + 1] - begin;
        struct feistel f;
        feistel_init(&f, job->seed, (uint32_t)user + 1, n);
        label_range(job, &f, 0, n, n, job->labels + begin);
        if (job->folds > 0) turn_labels(job, user, job->labels + begin, n);
    }
}

static void label_times(void *arg, int64_t task, int worker) {
    (void)worker;
    struct split_job *job = arg;
    const struct ratings *ratings = job->ratings;
    int64_t last = (task + 1) * USERS_A_TASK < ratings->n_users ? (task + 1) * USERS_A_TASK : ratings->n_users;
    uint32_t seen = 0;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < last; user++) {
        int64_t begin = ratings->user_offsets[user], n = ratings->user_offsets[user + 1] - begin;
        const uint32_t *times = ratings->user_times + begin;
        for (int64_t i = 0; i < n; i++) seen |= times[i];
        label_newest(times, n, share_of(job->share, n), job->labels + begin);
    }
    if (seen) atomic_store(&job->times_seen, 1);
}

static reel_status run(reel_context *ctx, struct split_job *job, reel_split_kind kind, reel_error *err) {
    int64_t n = job->ratings->n_ratings;
    int64_t user_tasks = ((int64_t)job->ratings->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
    switch (kind) {
    case REEL_SPLIT_RANDOM:
        feistel_init(&job->whole, job->seed, 0, n);
        thread_pool_run(ctx->pool, (n + RATINGS_A_TASK - 1) / RATINGS_A_TASK, label_random, job);
        return context_check(ctx, err);
    case REEL_SPLIT_PER_USER:
        thread_pool_run(ctx->pool, user_tasks, label_users, job);
        return context_check(ctx, err);
    case REEL_SPLIT_TIME:
        if (job->ratings->user_times) thread_pool_run(ctx->pool, user_tasks, label_times, job);
        if (n && !atomic_load(&job->times_seen))
            return error_set(err, REEL_INVALID_ARGUMENT, "the ratings have no times, so they cannot be split by time");
        return context_check(ctx, err);
    }
    return error_set(err, REEL_INVALID_ARGUMENT, "no such split (found %d)", (int)kind);
}

/* ---- splits ---- */

reel_status split_folds(reel_context *ctx, const struct ratings *ratings, reel_split_kind kind, int folds,
                        uint64_t seed, uint8_t *labels, reel_error *err) {
    if (kind == REEL_SPLIT_TIME) {
        TRY_RETURN(split_holdout(ctx, ratings, kind, TIME_TEST_PERCENT / 100.0, seed, labels, err));
        for (int64_t i = 0; i < ratings->n_ratings; i++) labels[i] ^= 1;
        return REEL_OK;
    }
    if (folds < 2 || folds > SPLIT_FOLDS_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "folds must be 2..%d (found %d)", SPLIT_FOLDS_MAX, folds);
    if (folds > ratings->n_ratings)
        return error_set(err, REEL_INVALID_ARGUMENT, "%d folds of only %lld ratings", folds,
                         (long long)ratings->n_ratings);
    struct split_job job = {.ratings = ratings, .seed = seed, .folds = folds, .labels = labels};
    return run(ctx, &job, kind, err);
}

reel_status split_fold(reel_context *ctx, const struct ratings *ratings, reel_split_kind kind, int folds, int fold,
                       uint64_t seed, uint8_t *test, reel_error *err) {
    TRY_RETURN(split_folds(ctx, ratings, kind, folds, seed, test, err));
    for (int64_t i = 0; i < ratings->n_ratings; i++) test[i] = test[i] == fold;
    return REEL_OK;
}

reel_status split_holdout(reel_context *ctx, const struct ratings *ratings, reel_split_kind kind, double share,
                          uint64_t seed, uint8_t *test, reel_error *err) {
    if (!(share >= 0 && share < 1))
        return error_set(err, REEL_INVALID_ARGUMENT, "the held-out share must be at least 0 and below 1 (found %g)",
                         share);
    struct split_job job = {.ratings = ratings, .seed = seed, .share = share, .labels = test};
    return run(ctx, &job, kind, err);
}

void split_drop_users(const struct ratings *ratings, reel_user_range range, uint8_t value, uint8_t *marks) {
    for (int32_t u = 0; u < ratings->n_users; u++) {
        int64_t first = ratings->user_offsets[u], n = ratings->user_offsets[u + 1] - first;
        if (n < range.min_ratings || (range.max_ratings && n > range.max_ratings))
            memset(marks + first, value, (size_t)n);
    }
}
