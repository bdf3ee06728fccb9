#include "model/tree_leaves.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum { RATINGS_A_TASK = 1 << 16, USERS_A_TASK = 256, DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

static int64_t n_tasks(const struct tree_pass *pass) {
    return (pass->rows.ratings->n_ratings + RATINGS_A_TASK - 1) / RATINGS_A_TASK;
}

static int64_t task_end(const struct tree_pass *pass, int64_t task) {
    int64_t end = (task + 1) * RATINGS_A_TASK, n = pass->rows.ratings->n_ratings;
    return end < n ? end : n;
}

/* The index of the quantile among n sorted values. */
static int64_t quantile_index(double alpha, int64_t n) {
    int64_t index = (int64_t)ceil(alpha * (double)n) - 1;
    return index < 0 ? 0 : index >= n ? n - 1 : index;
}

/* ---- base ---- */

/* The index-th smallest rating in half stars, of counts by value. */
static int ordered_rating(const int64_t *counts, int64_t index) {
    int value = 0;
    while (value < 10 && index >= counts[value]) index -= counts[value++];
    return value;
}

int32_t tree_loss_base(const struct tree_loss *loss, const struct ratings *ratings) {
    int64_t counts[11] = {0}, sum = 0;
    for (int64_t i = 0; i < ratings->n_ratings; i++) counts[ratings->user_ratings[i]]++;
    for (int value = 0; value <= 10; value++) sum += value * counts[value];
    if (loss->kind == TREE_SQUARED) return (int32_t)lrint(0.5 * TREE_ONE * (double)sum / (double)ratings->n_ratings);
    double place = (loss->kind == TREE_QUANTILE ? loss->alpha : 0.5) * (double)(ratings->n_ratings - 1);
    int low = ordered_rating(counts, (int64_t)floor(place)), high = ordered_rating(counts, (int64_t)ceil(place));
    return (int32_t)lrint(0.5 * TREE_ONE * (low + (place - floor(place)) * (high - low)));
}

/* ---- order statistics ---- */

struct selection {
    const struct tree_pass *pass;
    int whole;              /* 1: of the sizes of all residuals together; 0: of the residuals, leaf by leaf */
    int n_groups, shift;    /* digit at work */
    uint32_t mask;          /* of the digits that are known */
    const uint32_t *prefix; /* (n_groups,) */
    int64_t *counts;        /* by worker: (n_groups, DIGITS) */
};

static void count_digits(void *arg, int64_t task, int worker) {
    const struct selection *selection = arg;
    const struct tree_rows *rows = &selection->pass->rows;
    int64_t *counts = selection->counts + (int64_t)worker * selection->n_groups * DIGITS;
    for (int64_t i = task * RATINGS_A_TASK; i < task_end(selection->pass, task); i++) {
        int32_t value = rows->residuals[i];
        if (selection->whole && value < 0) value = -value;
        if (!selection->whole && selection->pass->bag && !selection->pass->bag[i]) continue;
        int group = selection->whole ? 0 : rows->nodes[i];
        uint32_t key = (uint32_t)value ^ 0x80000000u; /* orders as the integers do */
        if ((key & selection->mask) != selection->prefix[group]) continue;
        counts[group * DIGITS + (int)((key & ~selection->mask) >> selection->shift)]++;
    }
}

/* values[g] = the indices[g]-th smallest of group g; indices < 0 are passed over. Uses up `indices`. */
static reel_status select_ordered(reel_context *ctx, const struct tree_pass *pass, int whole, int n_groups,
                                  int64_t *indices, int32_t *values, reel_error *err) {
    static const int shifts[3] = {21, 10, 0}; /* digits of 11, 11 and 10 bits */
    uint32_t prefix[TREE_LEAVES_MAX] = {0};
    int workers = thread_pool_size(ctx->pool);
    struct selection selection = {.pass = pass, .whole = whole, .n_groups = n_groups, .prefix = prefix};
    int64_t n = (int64_t)n_groups * DIGITS;
    TRY_RETURN(MEM_RAW(&selection.counts, workers * n, err));
    for (int round = 0; round < 3; round++) {
        selection.shift = shifts[round];
        memset(selection.counts, 0, sizeof(int64_t) * (size_t)(workers * n));
        thread_pool_run(ctx->pool, n_tasks(pass), count_digits, &selection);
        for (int64_t i = n; i < workers * n; i++) selection.counts[i % n] += selection.counts[i];
        for (int group = 0; group < n_groups; group++) {
            const int64_t *counts = selection.counts + (int64_t)group * DIGITS;
            int digit = 0;
            while (indices[group] >= 0 && digit < DIGITS - 1 && indices[group] >= counts[digit])
                indices[group] -= counts[digit++];
            prefix[group] |= (uint32_t)digit << selection.shift;
        }
        selection.mask = ~0u << selection.shift;
    }
    for (int group = 0; group < n_groups; group++) values[group] = (int32_t)(prefix[group] ^ 0x80000000u);
    mem_free(selection.counts);
    return REEL_OK;
}

/* ---- gradients ---- */

reel_status tree_loss_gradient(reel_context *ctx, struct tree_loss *loss, struct tree_pass *pass, reel_error *err) {
    int64_t index = quantile_index(loss->alpha, pass->rows.ratings->n_ratings);
    pass->gradient = loss->kind == TREE_SQUARED ? TREE_IDENTITY : loss->kind == TREE_HUBER ? TREE_CLAMP : TREE_SIGN;
    pass->low = -TREE_ONE;
    pass->high = TREE_ONE;
    if (loss->kind == TREE_QUANTILE) {
        pass->high = (int32_t)lrint(loss->alpha * TREE_ONE);
        pass->low = pass->high - TREE_ONE;
    }
    if (loss->kind != TREE_HUBER) return REEL_OK;
    TRY_RETURN(select_ordered(ctx, pass, 1, 1, &index, &loss->delta, err));
    pass->low = -loss->delta;
    pass->high = loss->delta;
    return REEL_OK;
}

/* ---- leaves ---- */

static void place_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct tree_pass *pass = arg;
    const struct tree_rows *rows = &pass->rows;
    const struct ratings *ratings = rows->ratings;
    const int level = pass->split_level, bytes = tree_right_bytes(level);
    int64_t last = (task + 1) * USERS_A_TASK < ratings->n_users ? (task + 1) * USERS_A_TASK : ratings->n_users;
    for (int64_t user = task * USERS_A_TASK; user < last; user++)
        for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
            int node = level > 0 ? rows->nodes[i] : 0, byte = node >> 3;
            int64_t own = features_row(pass->stride, (int32_t)user, ratings->user_ratings[i]);
            int64_t movie = features_row(pass->stride, ratings->user_movies[i], ratings->user_ratings[i]);
            int right = pass->right[STAR_USER][own * bytes + byte] | pass->right[STAR_MOVIE][movie * bytes + byte] |
                        pass->right[STAR_CALENDAR][rows->hours[i] * bytes + byte];
            rows->nodes[i] = (uint8_t)(2 * node + (right >> (node & 7) & 1));
        }
}

struct leaf_job {
    const struct tree_loss *loss;
    struct tree_pass *pass;
    const int32_t *leaves;
    tree_sum *sums; /* by worker: (TREE_LEAVES_MAX,) */
    double *losses; /* (tasks, 2): loss, squared */
};

/* Counts, and sums of what is left beyond the medians, clamped. */
static void sum_leaves(void *arg, int64_t task, int worker) {
    const struct leaf_job *job = arg;
    const struct tree_rows *rows = &job->pass->rows;
    tree_sum *sums = job->sums + worker * TREE_LEAVES_MAX;
    for (int64_t i = task * RATINGS_A_TASK; i < task_end(job->pass, task); i++) {
        int64_t rest = (int64_t)rows->residuals[i] - job->leaves[rows->nodes[i]], delta = job->loss->delta;
        if (job->pass->bag && !job->pass->bag[i]) continue;
        sums[rows->nodes[i]] += (tree_sum){rest < -delta ? -delta : rest > delta ? delta : rest, 1};
    }
}

static reel_status sum_by_leaf(reel_context *ctx, const struct tree_loss *loss, struct tree_pass *pass,
                               const int32_t *leaves, tree_sum *out, reel_error *err) {
    struct leaf_job job = {.loss = loss, .pass = pass, .leaves = leaves};
    int workers = thread_pool_size(ctx->pool);
    TRY_RETURN(MEM_NEW(&job.sums, workers * TREE_LEAVES_MAX, err));
    thread_pool_run(ctx->pool, n_tasks(pass), sum_leaves, &job);
    memset(out, 0, sizeof *out * TREE_LEAVES_MAX);
    for (int i = 0; i < workers * TREE_LEAVES_MAX; i++) out[i % TREE_LEAVES_MAX] += job.sums[i];
    mem_free(job.sums);
    return REEL_OK;
}

reel_status tree_loss_leaves(reel_context *ctx, const struct tree_loss *loss, struct tree_pass *pass, int n_leaves,
                             int32_t *leaves, reel_error *err) {
    tree_sum sums[TREE_LEAVES_MAX];
    int64_t indices[TREE_LEAVES_MAX];
    double alpha = loss->kind == TREE_QUANTILE ? loss->alpha : 0.5;
    memset(leaves, 0, sizeof *leaves * (size_t)n_leaves);
    thread_pool_run(ctx->pool, ((int64_t)pass->rows.ratings->n_users + USERS_A_TASK - 1) / USERS_A_TASK, place_task,
                    pass);
    TRY_RETURN(sum_by_leaf(ctx, loss, pass, leaves, sums, err));
    for (int leaf = 0; leaf < n_leaves; leaf++)
        indices[leaf] = sums[leaf][1] ? quantile_index(alpha, sums[leaf][1]) : -1;
    TRY_RETURN(select_ordered(ctx, pass, 0, n_leaves, indices, leaves, err));
    for (int leaf = 0; leaf < n_leaves; leaf++)
        if (sums[leaf][1] == 0) leaves[leaf] = 0;
    if (loss->kind != TREE_HUBER) return REEL_OK;
    TRY_RETURN(sum_by_leaf(ctx, loss, pass, leaves, sums, err));
    for (int leaf = 0; leaf < n_leaves; leaf++)
        if (sums[leaf][1]) leaves[leaf] += (int32_t)lrint((double)sums[leaf][0] / (double)sums[leaf][1]);
    return REEL_OK;
}

double tree_loss_of(const struct tree_loss *loss, double residual) {
    double size = fabs(residual), delta = (double)loss->delta / TREE_ONE;
    if (loss->kind == TREE_SQUARED) return residual * residual;
    if (loss->kind == TREE_ABSOLUTE) return size;
    if (loss->kind == TREE_QUANTILE) return residual < 0 ? size * (1 - loss->alpha) : size * loss->alpha;
    return size <= delta ? 0.5 * residual * residual : delta * (size - 0.5 * delta);
}

static void update_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct leaf_job *job = arg;
    const struct tree_rows *rows = &job->pass->rows;
    double sum = 0, squared = 0;
    for (int64_t i = task * RATINGS_A_TASK; i < task_end(job->pass, task); i++) {
        rows->residuals[i] -= job->leaves[rows->nodes[i]];
        rows->nodes[i] = 0;
        double residual = (double)rows->residuals[i] / TREE_ONE;
        sum += tree_loss_of(job->loss, residual);
        squared += residual * residual;
    }
    job->losses[2 * task] = sum;
    job->losses[2 * task + 1] = squared;
}

reel_status tree_loss_update(reel_context *ctx, const struct tree_loss *loss, struct tree_pass *pass,
                             const int32_t *leaves, double *mean_loss, double *mean_squared, reel_error *err) {
    struct leaf_job job = {.loss = loss, .pass = pass, .leaves = leaves};
    TRY_RETURN(MEM_RAW(&job.losses, 2 * n_tasks(pass), err));
    thread_pool_run(ctx->pool, n_tasks(pass), update_task, &job);
    double sums[2] = {0, 0};
    for (int64_t i = 0; i < 2 * n_tasks(pass); i++) sums[i % 2] += job.losses[i];
    *mean_loss = sums[0] / (double)pass->rows.ratings->n_ratings;
    *mean_squared = sums[1] / (double)pass->rows.ratings->n_ratings;
    pass->split_level = -1;
    mem_free(job.losses);
    return REEL_OK;
}
