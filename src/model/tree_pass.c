#include "model/tree_pass.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/tree_quick.h"

enum { USERS_A_TASK = 256 };

static int64_t n_tasks(const struct ratings *ratings) {
    return ((int64_t)ratings->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
}

static int32_t task_end(const struct ratings *ratings, int64_t task) {
    int64_t end = (task + 1) * USERS_A_TASK;
    return end < ratings->n_users ? (int32_t)end : ratings->n_users;
}

/* ---- life ---- */

struct start {
    struct tree_rows rows;
    int32_t base;
    const float *predictions;
};

static void start_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct start *start = arg;
    const struct ratings *ratings = start->rows.ratings;
    int64_t end = ratings->user_offsets[task_end(ratings, task)];
    for (int64_t i = ratings->user_offsets[task * USERS_A_TASK]; i < end; i++) {
        start->rows.residuals[i] = ratings->user_ratings[i] * (TREE_ONE / 2) - start->base;
        if (start->predictions)
            start->rows.residuals[i] -= (int32_t)lrint((double)TREE_ONE * (double)start->predictions[i]);
        start->rows.hours[i] = (uint8_t)star_hour(ratings->user_times ? ratings->user_times[i] : 0);
    }
}

reel_status tree_pass_new(reel_context *ctx, const struct ratings *ratings, int stride, int depth, int32_t base,
                          const float *predictions, struct tree_pass *pass, reel_error *err) {
    *pass = (struct tree_pass){
        .rows.ratings = ratings,
        .stride = stride,
        .n_rows = {(int64_t)ratings->n_users * stride + 1, (int64_t)ratings->n_movies * stride + 1, STAR_HOURS + 1},
        .split_level = -1,
        .n_workers = thread_pool_size(ctx->pool)};
    const int64_t *rows = pass->n_rows;
    int64_t nodes = (int64_t)1 << (depth - 1), workers = pass->n_workers;
    TRY_RETURN(MEM_RAW(&pass->rows.hours, ratings->n_ratings, err));
    TRY_RETURN(MEM_RAW(&pass->rows.residuals, ratings->n_ratings, err));
    TRY_RETURN(MEM_NEW(&pass->rows.nodes, ratings->n_ratings, err));
    for (int t = 0; t < STAR_TABLES; t++) {
        TRY_RETURN(MEM_NEW(&pass->right[t], rows[t] * tree_right_bytes(depth - 1), err));
        TRY_RETURN(MEM_NEW(&pass->sums[t], rows[t] * nodes, err));
    }
    TRY_RETURN(MEM_NEW(&pass->worker_sums[0], workers * rows[STAR_MOVIE] * nodes, err));
    TRY_RETURN(MEM_NEW(&pass->worker_sums[1], workers * rows[STAR_CALENDAR] * nodes, err));
    TRY_RETURN(MEM_NEW(&pass->task_squared, n_tasks(ratings), err));
    struct start start = {pass->rows, base, predictions};
    thread_pool_run(ctx->pool, n_tasks(ratings), start_task, &start);
    return REEL_OK;
}

void tree_pass_free(struct tree_pass *pass) {
    tree_quick_free(pass->quick);
    mem_free(pass->rows.hours);
    mem_free(pass->rows.residuals);
    mem_free(pass->rows.nodes);
    for (int t = 0; t < STAR_TABLES; t++) {
        mem_free(pass->right[t]);
        mem_free(pass->sums[t]);
    }
    mem_free(pass->worker_sums[0]);
    mem_free(pass->worker_sums[1]);
    mem_free(pass->task_squared);
    *pass = (struct tree_pass){0};
}

/* ---- the pass ---- */

static inline int32_t gradient_of(enum tree_gradient gradient, int32_t residual, int32_t low, int32_t high) {
    if (gradient == TREE_IDENTITY) return residual;
    if (gradient == TREE_SIGN) return residual >= 0 ? high : low;
    return residual < low ? low : residual > high ? high : residual;
}

static int level_of(const struct tree_pass *pass) {
    return pass->leaves ? 0 : pass->split_level + 1;
}

/* One user's ratings. The flags are constants where it is inlined: apply = there are splits, deep = below the root,
 * update = leaves are taken off, general = rows by stars, or a bag. Returns the sum of squared residuals when it
 * updates. */
static inline __attribute__((always_inline)) double pass_user(const struct tree_pass *pass, int32_t user,
                                                              tree_sum *restrict movie_sums,
                                                              tree_sum *restrict hour_sums, int apply, int deep,
                                                              int update, int general, enum tree_gradient gradient) {
    const struct tree_rows *rows = &pass->rows;
    const struct ratings *ratings = rows->ratings;
    const int level = update ? 0 : pass->split_level + 1, bytes = deep ? tree_right_bytes(pass->split_level) : 1;
    const int stride = general ? pass->stride : 1;
    const uint8_t *user_right = pass->right[STAR_USER] + (int64_t)user * stride * bytes;
    const uint8_t *movie_right = pass->right[STAR_MOVIE], *hour_right = pass->right[STAR_CALENDAR];
    const int32_t low = pass->low, high = pass->high;
    tree_sum *restrict own = pass->sums[STAR_USER] + ((int64_t)user * stride << level);
    double squared = 0;
    for (int64_t i = ratings->user_offsets[user]; i < ratings->user_offsets[user + 1]; i++) {
        unsigned node = deep ? rows->nodes[i] : 0;
        /* Rows by stars lie next to each other: `shift` from the first of a user or movie. */
        const int shift = general && stride > 1 ? ratings->user_ratings[i] - 1 : 0;
        const int64_t movie = (int64_t)ratings->user_movies[i] * stride + shift;
        const int32_t hour = rows->hours[i];
        if (apply) {
            unsigned byte = node >> 3, bit = node & 7;
            unsigned right = user_right[shift * bytes + (int)byte] | movie_right[movie * bytes + byte] |
                             hour_right[hour * bytes + (int)byte];
            node = 2 * node + (right >> bit & 1);
        }
        int32_t residual = rows->residuals[i];
        if (update) {
            residual -= pass->leaves[node];
            rows->residuals[i] = residual;
            squared += (double)residual * (double)residual;
            node = 0;
        } else if (apply) {
            rows->nodes[i] = (uint8_t)node;
        }
        const int64_t counted = general && pass->bag ? pass->bag[i] : 1;
        const tree_sum one = {counted * gradient_of(gradient, residual, low, high), counted};
        own[((int64_t)shift << level) + node] += one;
        movie_sums[(movie << level) + node] += one;
        hour_sums[((int64_t)hour << level) + node] += one;
    }
    return squared;
}

static inline __attribute__((always_inline)) void pass_users(struct tree_pass *pass, int64_t task, int worker,
                                                             int apply, int deep, int update, int general,
                                                             enum tree_gradient gradient) {
    const struct ratings *ratings = pass->rows.ratings;
    const int level = level_of(pass);
    tree_sum *movie_sums = pass->worker_sums[0] + worker * (pass->n_rows[STAR_MOVIE] << level);
    tree_sum *hour_sums = pass->worker_sums[1] + ((int64_t)worker * (STAR_HOURS + 1) << level);
    int32_t first = (int32_t)(task * USERS_A_TASK), last = task_end(ratings, task);
    memset(pass->sums[STAR_USER] + ((int64_t)first * pass->stride << level), 0,
           sizeof(tree_sum) * ((size_t)(last - first) * (size_t)pass->stride << level));
    double squared = 0;
    for (int32_t user = first; user < last; user++)
        squared += pass_user(pass, user, movie_sums, hour_sums, apply, deep, update, general, gradient);
    pass->task_squared[task] = squared;
}

/* One function a combination, so that the loop has no branches on them. */
#define PASS_TASKS(suffix, general, gradient)                           \
    static void first_##suffix(void *pass, int64_t task, int worker) {  \
        pass_users(pass, task, worker, 0, 0, 0, general, gradient);     \
    }                                                                   \
    static void second_##suffix(void *pass, int64_t task, int worker) { \
        pass_users(pass, task, worker, 1, 0, 0, general, gradient);     \
    }                                                                   \
    static void deep_##suffix(void *pass, int64_t task, int worker) {   \
        pass_users(pass, task, worker, 1, 1, 0, general, gradient);     \
    }                                                                   \
    static void update_##suffix(void *pass, int64_t task, int worker) { \
        if (((struct tree_pass *)pass)->split_level > 0)                \
            pass_users(pass, task, worker, 1, 1, 1, general, gradient); \
        else                                                            \
            pass_users(pass, task, worker, 1, 0, 1, general, gradient); \
    }
PASS_TASKS(identity, 0, TREE_IDENTITY)
PASS_TASKS(sign, 0, TREE_SIGN)
PASS_TASKS(clamp, 0, TREE_CLAMP)
PASS_TASKS(general_identity, 1, TREE_IDENTITY)
PASS_TASKS(general_sign, 1, TREE_SIGN)
PASS_TASKS(general_clamp, 1, TREE_CLAMP)

#define PASS_NAMES(suffix) \
    { first_##suffix, second_##suffix, deep_##suffix, update_##suffix }
static task_fn choose(const struct tree_pass *pass) {
    static const task_fn tasks[2][3][4] = {
        {PASS_NAMES(identity), PASS_NAMES(sign), PASS_NAMES(clamp)},
        {PASS_NAMES(general_identity), PASS_NAMES(general_sign), PASS_NAMES(general_clamp)}};
    int kind = pass->leaves ? 3 : pass->split_level < 0 ? 0 : pass->split_level == 0 ? 1 : 2;
    return tasks[pass->stride > 1 || pass->bag][pass->gradient][kind];
}

static void merge_workers(struct tree_pass *pass, const tree_sum *from, tree_sum *to, int64_t n) {
    memcpy(to, from, sizeof *to * (size_t)n);
    for (int w = 1; w < pass->n_workers; w++)
        for (int64_t i = 0; i < n; i++) to[i] += from[w * n + i];
}

reel_status tree_pass_run(reel_context *ctx, struct tree_pass *pass, reel_error *err) {
    if (pass->quick) return tree_quick_run(pass, err);
    const struct ratings *ratings = pass->rows.ratings;
    int64_t movies = pass->n_rows[STAR_MOVIE] << level_of(pass);
    int64_t hours = (int64_t)(STAR_HOURS + 1) << level_of(pass);
    memset(pass->worker_sums[0], 0, sizeof(tree_sum) * (size_t)(pass->n_workers * movies));
    memset(pass->worker_sums[1], 0, sizeof(tree_sum) * (size_t)(pass->n_workers * hours));
    /* Nobody rates as the unknown user, whose row no task clears. */
    memset(pass->sums[STAR_USER] + ((pass->n_rows[STAR_USER] - 1) << level_of(pass)), 0,
           sizeof(tree_sum) << level_of(pass));
    thread_pool_run(ctx->pool, n_tasks(ratings), choose(pass), pass);
    merge_workers(pass, pass->worker_sums[0], pass->sums[STAR_MOVIE], movies);
    merge_workers(pass, pass->worker_sums[1], pass->sums[STAR_CALENDAR], hours);
    if (!pass->leaves) return REEL_OK;
    double squared = 0;
    for (int64_t t = 0; t < n_tasks(ratings); t++) squared += pass->task_squared[t];
    pass->squared = squared / ((double)TREE_ONE * TREE_ONE);
    return REEL_OK;
}
