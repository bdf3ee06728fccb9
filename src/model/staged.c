#include "model/staged.h"

#include <math.h>

#include "core/error.h"
#include "core/mem.h"

enum { PAIRS_A_TASK = 1 << 13 };

static int64_t n_tasks(const struct staged *staged) {
    return (staged->pairs->n + PAIRS_A_TASK - 1) / PAIRS_A_TASK;
}

reel_status staged_new(const struct rating_pairs *pairs, const struct star *star, const struct ratings *scale,
                       double base, const float *predictions, struct staged *staged, reel_error *err) {
    static const struct rating_pairs none = {0};
    *staged = (struct staged){.pairs = pairs ? pairs : &none,
                              .star = star,
                              .low = 0.5f * (float)scale->scale_min,
                              .high = 0.5f * (float)scale->scale_max,
                              .rmse = NAN,
                              .mean_loss = NAN};
    TRY_RETURN(MEM_RAW(&staged->scores, staged->pairs->n, err));
    TRY_RETURN(MEM_RAW(&staged->sums, 2 * n_tasks(staged), err));
    for (int64_t i = 0; i < staged->pairs->n; i++)
        staged->scores[i] = base + (predictions ? (double)predictions[i] : 0);
    return REEL_OK;
}

void staged_free(struct staged *staged) {
    mem_free(staged->scores);
    mem_free(staged->sums);
    *staged = (struct staged){0};
}

static float leaf_of(const struct staged *staged, int64_t i) {
    const struct rating_pairs *pairs = staged->pairs;
    const struct star *star = staged->star;
    const int32_t rows[STAR_TABLES] = {pairs->users[i] < 0 ? star->n_rows[STAR_USER] : pairs->users[i],
                                       pairs->movies[i] < 0 ? star->n_rows[STAR_MOVIE] : pairs->movies[i],
                                       star_hour(pairs->times ? pairs->times[i] : 0)};
    const struct forest_builder *trees = staged->trees;
    const struct forest_node *node = &trees->nodes[trees->offsets[trees->n_trees - 1]];
    while (node->column >= 0) {
        const struct star_column *column = &star->columns[node->column];
        node = &trees->nodes[column->values[rows[column->table]] > node->value ? node->right : node->left];
    }
    return node->value;
}

static void add_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct staged *staged = arg;
    int64_t end = (task + 1) * PAIRS_A_TASK < staged->pairs->n ? (task + 1) * PAIRS_A_TASK : staged->pairs->n;
    double squared = 0, losses = 0;
    for (int64_t i = task * PAIRS_A_TASK; i < end; i++) {
        double stars = 0.5 * staged->pairs->ratings[i];
        staged->scores[i] += (double)leaf_of(staged, i);
        double error = fmin(fmax(staged->scores[i], (double)staged->low), (double)staged->high) - stars;
        squared += error * error;
        losses += tree_loss_of(staged->loss, stars - staged->scores[i]);
    }
    staged->sums[2 * task] = squared;
    staged->sums[2 * task + 1] = losses;
}

void staged_add(reel_context *ctx, struct staged *staged, const struct forest_builder *trees,
                const struct tree_loss *loss) {
    double squared = 0, losses = 0, n = (double)staged->pairs->n;
    if (staged->pairs->n == 0) return;
    staged->trees = trees;
    staged->loss = loss;
    thread_pool_run(ctx->pool, n_tasks(staged), add_task, staged);
    for (int64_t t = 0; t < n_tasks(staged); t++) {
        squared += staged->sums[2 * t];
        losses += staged->sums[2 * t + 1];
    }
    staged->rmse = sqrt(squared / n);
    staged->mean_loss = losses / n;
}
