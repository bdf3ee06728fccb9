/* Forest scoring: tables of a tile of users, then blocks of movies, each for every user of the tile while its codes are
 * in the first cache. */
#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "core/top_n.h"
#include "kernels/common/tree_walk.h"
#include "kernels/cpu/cpu_forest.h"
#include "kernels/cpu/forest_kernels.h"

/* ---- the plain loops: the specification ---- */

static void add_set_plain(int32_t *table, const uint64_t *set, int64_t words, int32_t value) {
    for (int64_t w = 0; w < words; w++)
        for (uint64_t bits = set[w]; bits; bits &= bits - 1) table[64 * w + __builtin_ctzll(bits)] += value;
}

static void block_plain(const struct forest_plan *plan, const int32_t *tables, int64_t first, float *scores) {
    int32_t sums[FOREST_BLOCK];
    const float scale = forest_scale(plan);
    for (int m = 0; m < FOREST_BLOCK; m++) sums[m] = plan->base;
    for (int32_t g = 0; g < plan->n_groups; g++) {
        const int32_t *table = tables + plan->group_cells[g];
        const uint16_t *codes = plan->codes + g * plan->padded + first;
        for (int m = 0; m < FOREST_BLOCK; m++) sums[m] += table[codes[m]];
    }
    for (int m = 0; m < FOREST_BLOCK; m++) scores[m] = (float)sums[m] * scale;
}

static const struct forest_kernels forest_kernels_plain = {add_set_plain, NULL, block_plain};

const struct forest_kernels *forest_kernels(enum simd_level level) {
#if defined(__x86_64__)
    if (level == SIMD_AVX512) return &forest_kernels_avx512;
    if (level == SIMD_AVX2) return &forest_kernels_avx2;
#endif
    return level == SIMD_GENERIC ? &forest_kernels_plain : NULL;
}

/* ---- tables ---- */

/* Adds a tree's open leaves to its group's table. */
static void fill_tree(const struct forest_plan *plan, const struct forest_kernels *kernels, int32_t root,
                      const float *user, const float *hour, int32_t *table) {
    const int32_t n_user = plan->n_columns[0], n_both = n_user + plan->n_columns[1];
    int32_t open[FOREST_STACK], at = root;
    int n_open = 0;
    for (;;) {
        const struct tree_step *node = plan->nodes + at;
        if (node->column < 0) {
            const int64_t *sets = plan->leaf_sets + node->right;
            kernels->add_set(table, plan->cell_sets + sets[0], sets[1] - sets[0], node->left);
            if (n_open == 0) return;
            at = open[--n_open];
        } else if (node->column >= n_user && node->column < n_both) {
            open[n_open++] = node->right;
            at = node->left;
        } else {
            float value = node->column < n_user ? user[node->column] : hour[node->column - n_both];
            at = value > node->threshold ? node->right : node->left;
        }
    }
}

static void fill_tables(const struct forest_plan *plan, const struct forest_kernels *kernels, const float *user,
                        int32_t hour, int32_t *tables) {
    const float *hour_values = plan->rows[2] + (int64_t)hour * plan->n_columns[2];
    memset(tables, 0, (size_t)plan->n_cells * sizeof *tables);
    for (int32_t g = 0; g < plan->n_groups; g++)
        for (int32_t t = plan->group_trees[g]; t < plan->group_trees[g + 1]; t++)
            fill_tree(plan, kernels, plan->roots[t], user, hour_values, tables + plan->group_cells[g]);
    if (kernels->pack) kernels->pack(plan, tables);
}

/* ---- all movies ---- */

/* Scores (n_users, M) of users whose tables (n_users, cells) are filled. */
static void score_tile(const struct forest_plan *plan, const struct forest_kernels *kernels, const int32_t *tables,
                       int n_users, float *scores) {
    const int64_t n_movies = plan->n_movies, cells = plan->n_cells;
    for (int64_t first = 0; first < n_movies; first += FOREST_BLOCK) {
        int64_t left = n_movies - first;
        for (int u = 0; u < n_users; u++) {
            float last[FOREST_BLOCK], *to = scores + u * n_movies + first;
            kernels->block(plan, tables + u * cells, first, left < FOREST_BLOCK ? last : to);
            if (left < FOREST_BLOCK) memcpy(to, last, (size_t)left * sizeof *to);
        }
    }
}

reel_status cpu_forest_movies(struct backend *backend, const struct forest_movies_args *args, reel_error *err) {
    (void)backend;
    const struct forest_plan *plan = args->plan;
    const struct forest_kernels *kernels = forest_kernels(simd_level());
    int32_t *tables;
    TRY_RETURN(MEM_RAW(&tables, args->n_users * (int64_t)plan->n_cells, err));
    for (int u = 0; u < args->n_users; u++)
        fill_tables(plan, kernels, args->user_values + (int64_t)u * plan->n_columns[0], args->hours[u],
                    tables + u * (int64_t)plan->n_cells);
    score_tile(plan, kernels, tables, args->n_users, args->scores);
    mem_free(tables);
    return REEL_OK;
}

/* ---- pairs ---- */

reel_status cpu_forest_pairs(struct backend *backend, const struct forest_pairs_args *args, reel_error *err) {
    (void)backend, (void)err;
    const struct forest_plan *plan = args->plan;
    const int32_t *at[FOREST_TABLES] = {args->users, args->movies, args->hours};
    const float scale = forest_scale(plan);
    for (int64_t i = 0; i < args->n; i++) {
        float row[FOREST_COLUMNS_MAX], *to = row;
        for (int t = 0; t < FOREST_TABLES; t++) {
            const float *from = plan->rows[t] + (int64_t)at[t][i] * plan->n_columns[t];
            for (int32_t c = 0; c < plan->n_columns[t]; c++) *to++ = from[c];
        }
        int32_t sum = plan->base;
        for (int32_t t = 0; t < plan->n_trees; t++) sum += tree_walk(plan->nodes, plan->roots[t], row)->left;
        args->scores[i] = (float)sum * scale;
    }
    return REEL_OK;
}

/* ---- top n ---- */

enum { TILE_USERS = 8 }; /* their tables stay in L2 */

struct topk_room {
    int32_t *tables; /* (TILE_USERS, cells) */
    float *scores;   /* (TILE_USERS, M) */
    uint64_t *keys;  /* (top_n_capacity(wanted),) */
};

struct topk_job {
    const struct forest_topk_args *args;
    const struct forest_kernels *kernels;
    size_t wanted;           /* n, or the number of movies where that is less */
    struct topk_room *rooms; /* a worker each */
};

static void select_best(const struct topk_job *job, int64_t i, float *scores, uint64_t *keys) {
    const struct forest_topk_args *args = job->args;
    if (args->seen_offsets) {
        int64_t row = args->seen_rows[i];
        for (int64_t at = args->seen_offsets[row]; at < args->seen_offsets[row + 1]; at++)
            scores[args->seen_movies[at]] = -INFINITY;
    }
    struct top_n top;
    top_n_init(&top, keys, job->wanted);
    for (int32_t m = 0; m < args->plan->n_movies; m++)
        if (scores[m] >= top.floor && (!args->candidates || args->candidates[m]))
            top_n_offer(&top, scores[m], (uint32_t)m);
    int found = (int)top_n_finish(&top);
    for (int k = 0; k < args->n; k++) {
        args->movies[i * args->n + k] = k < found ? (int32_t)top_n_rank(keys[k]) : -1;
        args->scores[i * args->n + k] = k < found ? top_n_score(keys[k]) : NAN;
    }
}

static void topk_task(void *arg, int64_t task, int worker) {
    const struct topk_job *job = arg;
    const struct forest_topk_args *args = job->args;
    const struct forest_plan *plan = args->plan;
    const struct topk_room *room = &job->rooms[worker];
    int64_t first = task * TILE_USERS, left = args->n_users - first;
    int n = left < TILE_USERS ? (int)left : TILE_USERS;
    for (int u = 0; u < n; u++)
        fill_tables(plan, job->kernels, plan->rows[0] + (int64_t)args->users[first + u] * plan->n_columns[0],
                    args->hour, room->tables + u * (int64_t)plan->n_cells);
    score_tile(plan, job->kernels, room->tables, n, room->scores);
    for (int u = 0; u < n; u++) select_best(job, first + u, room->scores + (int64_t)u * plan->n_movies, room->keys);
}

static reel_status rooms_new(const struct topk_job *job, int n_workers, reel_error *err) {
    const struct forest_plan *plan = job->args->plan;
    for (int i = 0; i < n_workers; i++) {
        struct topk_room *room = &job->rooms[i];
        TRY_RETURN(MEM_RAW(&room->tables, TILE_USERS * (int64_t)plan->n_cells, err));
        TRY_RETURN(MEM_RAW(&room->scores, (int64_t)TILE_USERS * plan->n_movies, err));
        TRY_RETURN(MEM_RAW(&room->keys, top_n_capacity(job->wanted), err));
    }
    return REEL_OK;
}

static void rooms_free(struct topk_room *rooms, int n_workers) {
    for (int i = 0; rooms && i < n_workers; i++) {
        mem_free(rooms[i].tables);
        mem_free(rooms[i].scores);
        mem_free(rooms[i].keys);
    }
    mem_free(rooms);
}

reel_status cpu_forest_topk(struct backend *backend, const struct forest_topk_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    int n_workers = thread_pool_size(backend->pool);
    int32_t n_movies = args->plan->n_movies;
    struct topk_job job = {.args = args, .kernels = forest_kernels(simd_level()), .wanted = (size_t)args->n};
    if (args->n > n_movies) job.wanted = n_movies > 0 ? (size_t)n_movies : 1;
    TRY(MEM_NEW(&job.rooms, n_workers, err));
    TRY(rooms_new(&job, n_workers, err));
    thread_pool_run(backend->pool, (args->n_users + TILE_USERS - 1) / TILE_USERS, topk_task, &job);
cleanup:
    rooms_free(job.rooms, n_workers);
    return status;
}
