/* Pick weights: w such that drawing movies without replacement by weight gives each its wanted count.
 *
 * A user of d ratings takes movie m with probability close to elig (1 - exp(-tau w_m)), tau such that
 * these add up to d (the exponential-clock view of successive sampling). Users are binned by their last session
 * and by ratings; tau of every bin by Newton steps and w by proportional steps converge together. */
#include "data/gen.h"

#include <stdlib.h>

enum { TIME_BINS = 16, DEGREE_BINS = 12, BINS = TIME_BINS * DEGREE_BINS, STEPS = 48, CHUNKS = 128, TILE = 256 };

struct fit {
    struct gen *gen;
    double users[BINS], ratings[BINS], tau[BINS];
    float *late;             /* (n_movies,) time bin, with fraction, before which users cannot pick it */
    double (*sums)[BINS][2]; /* (CHUNKS,) sum of p, and its derivative by tau */
};

static int compare_times(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Number of the n ascending times that are < t. */
static int64_t times_below(const uint32_t *times, int64_t n, uint32_t t) {
    int64_t low = 0, high = n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (times[middle] < t)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void bin_users(struct fit *fit, const uint32_t *sorted) {
    const struct gen *gen = fit->gen;
    int64_t n = gen->n_users;
    for (int32_t u = 0; u < gen->n_users; u++) {
        int64_t degree = gen->user_offsets[u + 1] - gen->user_offsets[u];
        int time = (int)(times_below(sorted, n, gen->user_last[u]) * TIME_BINS / n);
        int size = (int)(1.9 * gen_log((double)degree / GEN_MIN_USER_RATINGS));
        int bin = time * DEGREE_BINS + (size < 0 ? 0 : size >= DEGREE_BINS ? DEGREE_BINS - 1 : size);
        fit->users[bin]++;
        fit->ratings[bin] += (double)degree;
    }
    for (int b = 0; b < BINS; b++) fit->tau[b] = fit->users[b] > 0 ? fit->ratings[b] / fit->users[b] : 0;
    for (int32_t m = 0; m < gen->n_movies; m++)
        fit->late[m] = (float)times_below(sorted, n, gen->released[m]) * TIME_BINS / (float)n;
}

/* One tile of movies: expected counts under the present weights, then the proportional step. */
static void fit_tile(struct fit *fit, int64_t begin, int64_t end, double (*sums)[2]) {
    struct gen *gen = fit->gen;
    float expected[TILE] = {0}, taken[TILE], slope[TILE];
    float *weights = gen->weights + begin;
    int n = (int)(end - begin);
    for (int b = 0; b < BINS; b++) {
        if (fit->users[b] <= 0) continue;
        int last = b / DEGREE_BINS + 1;
        float tau = (float)fit->tau[b], users = (float)fit->users[b], upper = (float)last;
        for (int i = 0; i < n; i++) {
            float share = upper - fit->late[begin + i];
            share = share < 0 ? 0 : share > 1 ? 1 : share;
            float left = gen_exp(-tau * weights[i]);
            taken[i] = share * (1 - left);
            slope[i] = share * weights[i] * left;
            expected[i] += users * taken[i];
        }
        double sum = 0, slopes = 0;
        for (int i = 0; i < n; i++) {
            sum += taken[i];
            slopes += slope[i];
        }
        sums[b][0] += sum;
        sums[b][1] += slopes;
    }
    for (int i = 0; i < n; i++) {
        float target = (float)gen->movie_targets[begin + i], ratio = target / (expected[i] + 1e-20f);
        ratio = ratio < 0.25f ? 0.25f : ratio > 4 ? 4 : ratio;
        weights[i] *= ratio;
        if (weights[i] > 1) weights[i] = 1;
    }
}

static void fit_chunk(void *arg, int64_t chunk, int worker) {
    (void)worker;
    struct fit *fit = arg;
    int64_t begin = part_begin(fit->gen->n_movies, CHUNKS, chunk),
            end = part_begin(fit->gen->n_movies, CHUNKS, chunk + 1);
    memset(fit->sums[chunk], 0, sizeof fit->sums[chunk]);
    for (; begin < end; begin += TILE) fit_tile(fit, begin, begin + TILE < end ? begin + TILE : end, fit->sums[chunk]);
}

/* One Newton step of every tau, at most a factor of two at a time. */
static void step_tau(struct fit *fit) {
    for (int b = 0; b < BINS; b++) {
        if (fit->users[b] <= 0) continue;
        double sum = 0, slope = 1e-30;
        for (int c = 0; c < CHUNKS; c++) {
            sum += fit->sums[c][b][0];
            slope += fit->sums[c][b][1];
        }
        double next = fit->tau[b] + (fit->ratings[b] / fit->users[b] - sum) / slope;
        double low = 0.5 * fit->tau[b], high = 2 * fit->tau[b];
        fit->tau[b] = next < low ? low : next > high ? high : next;
        if (fit->tau[b] > 1e12) fit->tau[b] = 1e12;
    }
}

static void find_last(void *arg, int64_t block, int worker) {
    (void)worker;
    struct gen *gen = arg;
    struct gen_user user;
    for (int32_t u = gen->block_users[block]; u < gen->block_users[block + 1]; u++) {
        gen_user_draw(gen, u, &user);
        int last = user.n_sessions - 1;
        gen->user_last[u] = user.start[last];
    }
}

reel_status gen_weights_fit(struct gen *gen, reel_error *err) {
    struct fit *fit = NULL;
    uint32_t *sorted = NULL;
    reel_status status = REEL_OK;
    TRY(MEM_RAW(&gen->user_last, gen->n_users, err));
    TRY(MEM_RAW(&gen->weights, gen->n_movies, err));
    TRY(gen_run_blocks(gen, "plan sessions", find_last, gen, err));
    TRY(MEM_NEW(&fit, 1, err));
    fit->gen = gen;
    TRY(MEM_RAW(&fit->late, gen->n_movies, err));
    TRY(mem_alloc((void **)&fit->sums, CHUNKS, sizeof *fit->sums, err));
    TRY(MEM_RAW(&sorted, gen->n_users, err));
    memcpy(sorted, gen->user_last, (size_t)gen->n_users * sizeof *sorted);
    qsort(sorted, (size_t)gen->n_users, sizeof *sorted, compare_times);
    bin_users(fit, sorted);
    for (int32_t m = 0; m < gen->n_movies; m++)
        gen->weights[m] = (float)((double)gen->movie_targets[m] / (double)gen->n_ratings);
    for (int step = 0; step < STEPS; step++) {
        thread_pool_run(gen->ctx->pool, CHUNKS, fit_chunk, fit);
        step_tau(fit);
        TRY(context_check(gen->ctx, err));
        context_progress(gen->ctx, "fit popularity", "steps", step + 1, STEPS, NULL, 0, step + 1 == STEPS);
    }
cleanup:
    if (fit) {
        mem_free(fit->late);
        mem_free(fit->sums);
    }
    mem_free(fit);
    mem_free(sorted);
    return status;
}
