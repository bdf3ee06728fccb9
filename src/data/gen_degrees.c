/* Ratings a user and ratings a movie: counts with exact sum, read off quantile curves. */
#include "data/gen.h"

struct shape {
    double first, cap, grow; /* count = first + min(cap - first, excess * grow * exp(warp * lean)) */
    double *excess, *lean;   /* (n,): count above `first` on the curve; how far the warp acts, 0..1 */
    int64_t n;
};

static double shape_at(const struct shape *shape, int64_t i, double warp) {
    double excess = shape->excess[i] * shape->grow * gen_exp_double(warp * shape->lean[i]);
    double room = shape->cap - shape->first;
    return shape->first + (excess < room ? excess : room);
}

static double shape_sum(const struct shape *shape, double warp) {
    double sum = 0;
    for (int64_t i = 0; i < shape->n; i++) sum += shape_at(shape, i, warp);
    return sum;
}

/* The warp in [low, high] at which the counts add up to `total`; an end of the range if none does. */
static double shape_solve(const struct shape *shape, double total, double low, double high) {
    for (int step = 0; step < 70; step++) {
        double middle = 0.5 * (low + high);
        if (shape_sum(shape, middle) < total)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* Interpolates ln(count) linearly between the knots over normal quantiles z. */
static void shape_fill(struct shape *shape, const struct gen_degree_curve *curve) {
    double z[GEN_KNOTS_MAX], level[GEN_KNOTS_MAX];
    int last = curve->n_knots - 1;
    double edge = 0.5 / (double)curve->base_n;
    for (int k = 0; k <= last; k++) {
        double q = curve->knots[k].q;
        z[k] = gen_normal_quantile(q < edge ? edge : q > 1 - edge ? 1 - edge : q);
        level[k] = gen_log(curve->knots[k].value);
    }
    int k = 0;
    for (int64_t i = 0; i < shape->n; i++) {
        double at = gen_normal_quantile(((double)i + 0.5) / (double)shape->n);
        while (k < last - 1 && at > z[k + 1]) k++;
        double t = (at - z[k]) / (z[k + 1] - z[k]);
        t = t < 0 ? 0 : t > 1 ? 1 : t;
        double x = at <= 0 ? 0 : at >= z[last] ? 1 : at / z[last];
        /* The two ends are kept as they are, whatever rounding ln and exp did. */
        double value = t == 0   ? curve->knots[k].value
                       : t == 1 ? curve->knots[k + 1].value
                                : gen_exp_double(level[k] + t * (level[k + 1] - level[k]));
        shape->excess[i] = value - shape->first;
        shape->lean[i] = 4 * x * (1 - x);
    }
}

reel_status gen_degrees(const struct gen_degree_curve *curve, int64_t cap, int64_t total, int64_t n, int64_t *out,
                        reel_error *err) {
    reel_status status = REEL_OK;
    struct shape shape = {.first = curve->knots[0].value, .cap = (double)cap, .n = n};
    TRY(MEM_RAW(&shape.excess, n, err));
    TRY(MEM_RAW(&shape.lean, n, err));
    shape_fill(&shape, curve);
    double base_mean = (double)curve->base_total / (double)curve->base_n;
    shape.grow = ((double)total / (double)n - shape.first) / (base_mean - shape.first);
    double low = -3, high = 3;
    if (shape_sum(&shape, low) > (double)total || shape_sum(&shape, high) < (double)total) {
        /* Far from the real set (few users, nearly every movie rated): all counts give way, not only those
         * between median and maximum, and none is held at the minimum. */
        for (int64_t i = 0; i < n; i++) {
            shape.lean[i] = 1;
            shape.excess[i] += 0.5;
        }
        shape.grow = 1;
        low = -60;
        high = 60;
    }
    double warp = shape_solve(&shape, (double)total, low, high);
    double sum = 0;
    int64_t given = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += shape_at(&shape, i, warp);
        int64_t upto = i + 1 == n ? total : (int64_t)(sum + 0.5);
        out[i] = upto - given;
        given = upto;
    }
cleanup:
    mem_free(shape.excess);
    mem_free(shape.lean);
    return status;
}

/* A random permutation of 0..n-1 (Fisher and Yates). */
static void shuffle(struct gen_rng *rng, int64_t *values, int32_t n) {
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = gen_rng_below(rng, i + 1);
        int64_t value = values[i];
        values[i] = values[j];
        values[j] = value;
    }
}

static reel_status plan_blocks(struct gen *gen, reel_error *err) {
    int64_t most = gen->n_ratings / GEN_BLOCK_RATINGS + 2;
    if (most > (int64_t)gen->n_users + 1) most = (int64_t)gen->n_users + 1;
    TRY_RETURN(MEM_RAW(&gen->block_users, most + 1, err));
    int32_t n = 0;
    gen->block_users[0] = 0;
    for (int32_t u = 1; u <= gen->n_users; u++) {
        int64_t ratings = gen->user_offsets[u] - gen->user_offsets[gen->block_users[n]];
        if (ratings >= GEN_BLOCK_RATINGS || u == gen->n_users) gen->block_users[++n] = u;
    }
    gen->n_blocks = n;
    return REEL_OK;
}

reel_status gen_users_plan(struct gen *gen, reel_error *err) {
    const struct gen_profile *profile = gen->profile;
    struct gen_degree_curve curve = {profile->user_knots, profile->n_user_knots, profile->n_users, profile->n_ratings};
    int64_t *counts = NULL;
    reel_status status = REEL_OK;
    TRY(MEM_RAW(&counts, gen->n_users, err));
    TRY(gen_degrees(&curve, gen->n_rated, gen->n_ratings, gen->n_users, counts, err));
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_DEGREES, 0);
    shuffle(&rng, counts, gen->n_users);
    TRY(MEM_RAW(&gen->user_offsets, (int64_t)gen->n_users + 1, err));
    gen->user_offsets[0] = 0;
    for (int32_t u = 0; u < gen->n_users; u++) gen->user_offsets[u + 1] = gen->user_offsets[u] + counts[u];
    TRY(plan_blocks(gen, err));
cleanup:
    mem_free(counts);
    return status;
}
