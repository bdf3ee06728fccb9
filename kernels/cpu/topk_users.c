/* Top N of many users: a matrix product whose result never leaves the registers but for the scores that beat
 * a user's n-th best so far.
 *
 * A task is a block of BLOCK_USERS users. Its packed factors stay in L2 while the panels of movies stream
 * through L1; each (tile of users, panel) is one register-blocked product, compared with the users' floors in
 * place. Seen movies are bits laid out as the panels are walked, so masking is one AND a user and panel.
 *
 * Why not a BLAS call: its tile edges and threads change the order of sums, so the top n of a batch could
 * differ from that of a single request in the last bit; it writes the score matrix to memory only for it to be
 * read once; and its own threads would compete with ours. */
#include "kernels/cpu/cpu_topk.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/threads.h"
#include "core/top_n.h"
#include "kernels/cpu/topk_kernels.h"

enum { BLOCK_TILES = 8, BLOCK_USERS = BLOCK_TILES * TOPK_TILE };

/* ---- the plain loops: the specification ---- */

static void row_plain(int k, const float *panel, const float *bias, const float *user, float base, float *scores) {
    float sum[TOPK_PANEL] = {0};
    for (int f = 0; f < k; f++, panel += TOPK_PANEL)
        for (int j = 0; j < TOPK_PANEL; j++) sum[j] += user[f] * panel[j];
    for (int j = 0; j < TOPK_PANEL; j++) scores[j] = sum[j] + (base + bias[j]);
}

static void tile_plain(int k, const float *panel, const float *bias, const float *users, const float *base,
                       const float *floors, float *scores, uint32_t *hits) {
    for (int u = 0; u < TOPK_TILE; u++) {
        float sum[TOPK_PANEL] = {0};
        for (int f = 0; f < k; f++)
            for (int j = 0; j < TOPK_PANEL; j++) sum[j] += users[f * TOPK_TILE + u] * panel[f * TOPK_PANEL + j];
        hits[u] = 0;
        for (int j = 0; j < TOPK_PANEL; j++) {
            float score = scores[u * TOPK_PANEL + j] = sum[j] + (base[u] + bias[j]);
            hits[u] |= (uint32_t)(score >= floors[u]) << j;
        }
    }
}

static const struct topk_kernels topk_kernels_plain = {tile_plain, row_plain};

const struct topk_kernels *topk_kernels(enum simd_level level) {
#if defined(__x86_64__)
    if (level == SIMD_AVX512) return &topk_kernels_avx512;
    if (level == SIMD_AVX2) return &topk_kernels_avx2;
#endif
    return level == SIMD_GENERIC ? &topk_kernels_plain : NULL;
}

/* ---- one user ---- */

reel_status cpu_score_movies(struct backend *backend, const struct score_movies_args *args, reel_error *err) {
    (void)backend, (void)err;
    const struct factor_panels *panels = args->panels;
    const struct topk_kernels *kernels = topk_kernels(simd_level());
    for (int64_t p = 0; p < panels->n_panels; p++) {
        float scores[TOPK_PANEL];
        kernels->row(panels->k, panels->factors + p * panels->k * TOPK_PANEL, panels->bias + p * TOPK_PANEL,
                     args->factors, args->base, scores);
        const int32_t *movies = panels->movies + p * TOPK_PANEL;
        int64_t filled = panels->n_movies - p * TOPK_PANEL;
        for (int64_t j = 0; j < TOPK_PANEL && j < filled; j++) args->scores[movies[j]] = scores[j];
    }
    return REEL_OK;
}

/* ---- many users ---- */

struct worker_room {
    float *users;   /* (BLOCK_TILES, k, TOPK_TILE) */
    uint32_t *seen; /* (n_panels, BLOCK_USERS): bit j = leave out the panel's movie j */
    uint64_t *keys; /* (BLOCK_USERS, top_n_capacity(n)) */
};

struct topk_job {
    const struct topk_users_args *args;
    const struct topk_kernels *kernels;
    uint32_t *excluded;        /* (n_panels,) bit j = nobody gets the panel's movie j */
    struct worker_room *rooms; /* a worker each */
    size_t wanted;             /* n, or the number of movies where that is less */
    size_t capacity;
};

struct block {
    int n; /* users in it, <= BLOCK_USERS */
    struct top_n top[BLOCK_USERS];
    float base[BLOCK_USERS], floors[BLOCK_USERS];
};

static void pack_users(const struct topk_users_args *args, int64_t first, struct block *block, float *out) {
    int k = args->panels->k;
    memset(out, 0, sizeof *out * (size_t)(k * BLOCK_USERS));
    for (int i = 0; i < BLOCK_USERS; i++) {
        int32_t row = i < block->n ? args->rows[first + i] : -1;
        block->base[i] = row < 0 ? args->mean : args->mean + args->user_bias[row];
        if (row < 0) continue;
        const float *factors = args->user_factors + row * args->stride;
        float *to = out + i / TOPK_TILE * k * TOPK_TILE + i % TOPK_TILE;
        for (int f = 0; f < k; f++) to[f * TOPK_TILE] = factors[f];
    }
}

static void mark_seen(const struct topk_job *job, int64_t first, const struct block *block, uint32_t *seen) {
    const struct topk_users_args *args = job->args;
    const struct factor_panels *panels = args->panels;
    for (int64_t p = 0; p < panels->n_panels; p++)
        for (int i = 0; i < BLOCK_USERS; i++) seen[p * BLOCK_USERS + i] = job->excluded[p];
    for (int i = 0; args->seen_offsets && i < block->n; i++) {
        int64_t row = args->seen_rows[first + i];
        for (int64_t at = args->seen_offsets[row]; at < args->seen_offsets[row + 1]; at++) {
            int32_t position = panels->positions[args->seen_movies[at]];
            seen[position / TOPK_PANEL * BLOCK_USERS + i] |= UINT32_C(1) << position % TOPK_PANEL;
        }
    }
}

/* Hands the movies in `hits` to a user's selection. */
static void offer_hits(struct top_n *top, uint32_t hits, const float *scores, const int32_t *movies) {
    for (; hits; hits &= hits - 1) {
        int j = __builtin_ctz(hits);
        if (scores[j] >= top->floor) top_n_offer(top, scores[j], (uint32_t)movies[j]);
    }
}

static void write_best(const struct topk_users_args *args, int64_t user, struct top_n *top) {
    int32_t *movies = args->movies + user * args->n;
    float *scores = args->scores + user * args->n;
    int n = (int)top_n_finish(top);
    for (int i = 0; i < n; i++) {
        movies[i] = (int32_t)top_n_rank(top->keys[i]);
        scores[i] = top_n_score(top->keys[i]);
    }
    for (int i = n; i < args->n; i++) movies[i] = -1, scores[i] = NAN;
}

static void score_panel(const struct topk_job *job, int64_t p, const struct worker_room *room, struct block *block) {
    const struct factor_panels *panels = job->args->panels;
    const float *panel = panels->factors + p * panels->k * TOPK_PANEL, *bias = panels->bias + p * TOPK_PANEL;
    const int32_t *movies = panels->movies + p * TOPK_PANEL;
    const uint32_t *seen = room->seen + p * BLOCK_USERS;
    for (int i = 0; i < block->n; i += TOPK_TILE) {
        float scores[TOPK_TILE * TOPK_PANEL];
        uint32_t hits[TOPK_TILE];
        job->kernels->tile(panels->k, panel, bias, room->users + i * panels->k, block->base + i, block->floors + i,
                           scores, hits);
        for (int u = 0; u < TOPK_TILE; u++) {
            uint32_t unseen = hits[u] & ~seen[i + u];
            if (!unseen || i + u >= block->n) continue;
            offer_hits(&block->top[i + u], unseen, scores + u * TOPK_PANEL, movies);
            block->floors[i + u] = block->top[i + u].floor;
        }
    }
}

/* Padding and movies that are no candidates. */
static void fill_excluded(const struct topk_users_args *args, uint32_t *excluded) {
    const struct factor_panels *panels = args->panels;
    for (int64_t p = 0; p < panels->n_panels; p++) {
        excluded[p] = 0;
        for (int j = 0; j < TOPK_PANEL; j++) {
            int32_t movie = panels->movies[p * TOPK_PANEL + j];
            excluded[p] |= (uint32_t)(movie < 0 || (args->candidates && !args->candidates[movie])) << j;
        }
    }
}

static void topk_task(void *arg, int64_t task, int worker) {
    const struct topk_job *job = arg;
    const struct topk_users_args *args = job->args;
    const struct worker_room *room = &job->rooms[worker];
    int64_t first = task * BLOCK_USERS, left = args->n_users - first;
    struct block block = {.n = left < BLOCK_USERS ? (int)left : BLOCK_USERS};
    pack_users(args, first, &block, room->users);
    mark_seen(job, first, &block, room->seen);
    for (int i = 0; i < BLOCK_USERS; i++) {
        top_n_init(&block.top[i], room->keys + (size_t)i * job->capacity, job->wanted);
        block.floors[i] = block.top[i].floor;
    }
    for (int64_t p = 0; p < args->panels->n_panels; p++) score_panel(job, p, room, &block);
    for (int i = 0; i < block.n; i++) write_best(args, first + i, &block.top[i]);
}

static reel_status rooms_new(const struct topk_job *job, int n_workers, reel_error *err) {
    const struct factor_panels *panels = job->args->panels;
    for (int i = 0; i < n_workers; i++) {
        struct worker_room *room = &job->rooms[i];
        TRY_RETURN(MEM_RAW(&room->users, panels->k * BLOCK_USERS, err));
        TRY_RETURN(MEM_RAW(&room->seen, panels->n_panels * BLOCK_USERS, err));
        TRY_RETURN(MEM_RAW(&room->keys, BLOCK_USERS * job->capacity, err));
    }
    return REEL_OK;
}

static void rooms_free(struct worker_room *rooms, int n_workers) {
    for (int i = 0; rooms && i < n_workers; i++) {
        mem_free(rooms[i].users);
        mem_free(rooms[i].seen);
        mem_free(rooms[i].keys);
    }
    mem_free(rooms);
}

reel_status cpu_topk_users(struct backend *backend, const struct topk_users_args *args, reel_error *err) {
    reel_status status = REEL_OK;
    int n_workers = thread_pool_size(backend->pool);
    struct topk_job job = {.args = args, .kernels = topk_kernels(simd_level()), .wanted = (size_t)args->n};
    if (args->n > args->panels->n_movies) job.wanted = args->panels->n_movies > 0 ? (size_t)args->panels->n_movies : 1;
    job.capacity = top_n_capacity(job.wanted);
    TRY(MEM_NEW(&job.rooms, n_workers, err));
    TRY(MEM_RAW(&job.excluded, args->panels->n_panels, err));
    fill_excluded(args, job.excluded);
    TRY(rooms_new(&job, n_workers, err));
    thread_pool_run(backend->pool, (args->n_users + BLOCK_USERS - 1) / BLOCK_USERS, topk_task, &job);
cleanup:
    rooms_free(job.rooms, n_workers);
    mem_free(job.excluded);
    return status;
}
