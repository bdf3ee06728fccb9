/* Who rates what: distinct movies for every user by popularity and taste, then the exact count of every movie. */
#include "data/gen.h"

#include <stdlib.h>

/* ---- drawing ---- */

/* Vose's alias table over the rated movies. */
struct alias {
    int32_t n, *movies, *other;
    float *keep; /* place i is taken with this probability, else place other[i] */
};

static void alias_free(struct alias *alias) {
    mem_free(alias->movies);
    mem_free(alias->other);
    mem_free(alias->keep);
}

static void alias_fill(struct alias *alias, const float *weights, double *share, int32_t *stack) {
    int32_t n = alias->n, small = 0, large = n; /* two stacks, one from each end */
    double total = 0;
    for (int32_t i = 0; i < n; i++) total += weights[alias->movies[i]];
    for (int32_t i = 0; i < n; i++) {
        share[i] = weights[alias->movies[i]] / total * n;
        alias->keep[i] = 1;
        alias->other[i] = i;
        if (share[i] < 1)
            stack[small++] = i;
        else
            stack[--large] = i;
    }
    while (small > 0 && large < n) {
        int32_t poor = stack[--small], rich = stack[large];
        alias->keep[poor] = (float)share[poor];
        alias->other[poor] = rich;
        share[rich] -= 1 - share[poor];
        if (share[rich] < 1) {
            large++;
            stack[small++] = rich;
        }
    }
}

static reel_status alias_make(const struct gen *gen, struct alias *alias, reel_error *err) {
    double *share = NULL;
    int32_t *stack = NULL;
    reel_status status = REEL_OK;
    alias->n = gen->n_rated;
    TRY(MEM_RAW(&alias->movies, alias->n, err));
    TRY(MEM_RAW(&alias->other, alias->n, err));
    TRY(MEM_RAW(&alias->keep, alias->n, err));
    TRY(MEM_RAW(&share, alias->n, err));
    TRY(MEM_RAW(&stack, alias->n, err));
    for (int32_t m = 0, i = 0; m < gen->n_movies; m++)
        if (gen->movie_targets[m] > 0) alias->movies[i++] = m;
    alias_fill(alias, gen->weights, share, stack);
cleanup:
    mem_free(share);
    mem_free(stack);
    return status;
}

struct draw {
    struct gen *gen;
    struct alias alias;
    int32_t **marks; /* by worker: (n_movies,) last user + 1 that took the movie */
    float most;      /* tastes above this do not make a pick likelier */
};

/* What is missing after far too many draws: whatever comes from a random place on, released movies first. */
static void take_rest(const struct draw *draw, int32_t u, int32_t *marks, struct gen_rng *rng, int32_t *picks,
                      int64_t taken, int64_t wanted) {
    const struct gen *gen = draw->gen;
    int32_t n = draw->alias.n, from = gen_rng_below(rng, n);
    for (int any = 0; any < 2 && taken < wanted; any++)
        for (int32_t i = 0; i < n && taken < wanted; i++) {
            int32_t m = draw->alias.movies[(from + i) % n];
            if (marks[m] == u + 1 || (!any && gen->released[m] > gen->user_last[u])) continue;
            marks[m] = u + 1;
            picks[taken++] = m;
        }
}

static void draw_user(const struct draw *draw, int32_t u, int32_t *marks) {
    const struct gen *gen = draw->gen;
    const struct alias *alias = &draw->alias;
    struct gen_rng rng = gen_rng_new(gen->seed, GEN_DRAW_PICKS, u);
    struct gen_user user;
    gen_user_draw(gen, u, &user);
    int32_t *picks = gen->picks + gen->user_offsets[u];
    int64_t wanted = gen->user_offsets[u + 1] - gen->user_offsets[u], taken = 0;
    for (int64_t tries = 100 * wanted + 10000; taken < wanted && tries > 0; tries--) {
        uint64_t place = (uint64_t)gen_rng_word(&rng) * (uint32_t)alias->n;
        int32_t i = (int32_t)(place >> 32);
        if ((float)(uint32_t)place * 0x1p-32f >= alias->keep[i]) i = alias->other[i];
        int32_t m = alias->movies[i];
        float chance = (float)gen_rng_uniform(&rng);
        if (marks[m] == u + 1 || gen->released[m] > gen->user_last[u]) continue;
        float taste = gen_taste(user.factors, gen->movie_factors + (int64_t)m * gen->stride, gen->stride);
        if (taste < draw->most && chance > gen_exp(taste - draw->most)) continue;
        marks[m] = u + 1;
        picks[taken++] = m;
    }
    if (taken < wanted) take_rest(draw, u, marks, &rng, picks, taken, wanted);
}

static void draw_block(void *arg, int64_t block, int worker) {
    const struct draw *draw = arg;
    for (int32_t u = draw->gen->block_users[block]; u < draw->gen->block_users[block + 1]; u++)
        draw_user(draw, u, draw->marks[worker]);
}

reel_status gen_picks_draw(struct gen *gen, reel_error *err) {
    int workers = thread_pool_size(gen->ctx->pool);
    struct draw draw = {.gen = gen, .most = (float)(2.4 * gen->profile->taste)};
    reel_status status = REEL_OK;
    TRY(MEM_RAW(&gen->picks, gen->n_ratings, err));
    TRY(alias_make(gen, &draw.alias, err));
    TRY(MEM_NEW(&draw.marks, workers, err));
    for (int w = 0; w < workers; w++) TRY(MEM_NEW(&draw.marks[w], gen->n_movies, err));
    TRY(gen_run_blocks(gen, "pick movies", draw_block, &draw, err));
cleanup:
    if (draw.marks)
        for (int w = 0; w < workers; w++) mem_free(draw.marks[w]);
    mem_free(draw.marks);
    alias_free(&draw.alias);
    return status;
}

/* ---- repair ---- */

struct repair {
    struct gen *gen;
    int64_t *surplus, *left; /* (n_movies,) ratings above the target; ratings not yet passed by the sweep */
    int32_t *urn;            /* missing ratings, one entry each */
    int64_t n_urn;
    int32_t *marks, marked; /* (n_movies,) u + 1 if user u = marked has the movie */
    struct gen_rng rng;
};

/* Marks the movies of user u, once in a sweep. */
static void mark_user(struct repair *repair, int32_t u) {
    const struct gen *gen = repair->gen;
    if (repair->marked == u) return;
    repair->marked = u;
    for (int64_t i = gen->user_offsets[u]; i < gen->user_offsets[u + 1]; i++) repair->marks[gen->picks[i]] = u + 1;
}

static int32_t user_of(const struct gen *gen, int64_t at) {
    int32_t low = 0, high = gen->n_users - 1;
    while (low < high) {
        int32_t middle = low + (high - low + 1) / 2;
        if (gen->user_offsets[middle] <= at)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* A random place in the rating table. */
static int64_t random_rating(struct repair *repair) {
    double u = (gen_rng_word(&repair->rng) + gen_rng_uniform(&repair->rng)) * 0x1p-32;
    int64_t at = (int64_t)(u * (double)repair->gen->n_ratings);
    return at < repair->gen->n_ratings ? at : repair->gen->n_ratings - 1;
}

/* Every rated movie gets one rating, from a movie above its target, or at need from any that has two. */
static void repair_missing(struct repair *repair) {
    struct gen *gen = repair->gen;
    for (int32_t m = 0; m < gen->n_movies; m++) {
        if (gen->movie_targets[m] == 0 || repair->surplus[m] != -gen->movie_targets[m]) continue;
        for (int tries = 0;; tries++) {
            int64_t at = random_rating(repair);
            int32_t from = gen->picks[at];
            int64_t count = gen->movie_targets[from] + repair->surplus[from];
            if (count < 2 || (tries < 4000 && repair->surplus[from] <= 0)) continue;
            if (tries < 8000 && gen->released[m] > gen->user_last[user_of(gen, at)]) continue;
            gen->picks[at] = m;
            repair->surplus[from]--;
            repair->surplus[m]++;
            break;
        }
    }
}

/* Fills the urn with what is missing, in random order; NO_MEMORY. */
static reel_status urn_fill(struct repair *repair, reel_error *err) {
    struct gen *gen = repair->gen;
    mem_free(repair->urn);
    repair->urn = NULL;
    repair->n_urn = 0;
    int64_t n = 0;
    for (int32_t m = 0; m < gen->n_movies; m++) n += repair->surplus[m] < 0 ? -repair->surplus[m] : 0;
    TRY_RETURN(MEM_RAW(&repair->urn, n, err));
    for (int32_t m = 0; m < gen->n_movies; m++)
        for (int64_t i = repair->surplus[m]; i < 0; i++) {
            int64_t at = repair->n_urn++;
            int64_t other = (int64_t)(gen_rng_uniform(&repair->rng) * (double)(at + 1));
            repair->urn[at] = repair->urn[other];
            repair->urn[other] = m;
        }
    return REEL_OK;
}

/* Gives the rating `at` of user u to a movie from the urn, if one of 32 tries fits. */
static void move_rating(struct repair *repair, int32_t u, int64_t at) {
    struct gen *gen = repair->gen;
    mark_user(repair, u);
    for (int tries = 0; tries < 32 && repair->n_urn > 0; tries++) {
        int64_t place = (int64_t)(gen_rng_uniform(&repair->rng) * (double)repair->n_urn);
        int32_t m = repair->urn[place];
        if (gen->released[m] > gen->user_last[u] || repair->marks[m] == u + 1) continue;
        repair->surplus[gen->picks[at]]--;
        repair->surplus[m]++;
        repair->marks[gen->picks[at]] = 0;
        repair->marks[m] = u + 1;
        gen->picks[at] = m;
        repair->urn[place] = repair->urn[--repair->n_urn];
        return;
    }
}

/* One sweep over all ratings: of a movie with s too many among its n left, each goes with probability s/n. */
static reel_status repair_sweep(struct repair *repair, reel_error *err) {
    struct gen *gen = repair->gen;
    for (int32_t m = 0; m < gen->n_movies; m++) {
        repair->left[m] = gen->movie_targets[m] + repair->surplus[m];
        repair->marks[m] = 0;
    }
    repair->marked = -1;
    for (int32_t u = 0; u < gen->n_users && repair->n_urn > 0; u++) {
        if (u % 4096 == 0) TRY_RETURN(context_check(gen->ctx, err));
        for (int64_t at = gen->user_offsets[u]; at < gen->user_offsets[u + 1]; at++) {
            int32_t m = gen->picks[at];
            int64_t surplus = repair->surplus[m], left = repair->left[m]--;
            if (surplus > 0 && gen_rng_uniform(&repair->rng) * (double)left < (double)surplus)
                move_rating(repair, u, at);
        }
    }
    return REEL_OK;
}

static int compare_movies(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

static void sort_block(void *arg, int64_t block, int worker) {
    (void)worker;
    const struct gen *gen = arg;
    for (int32_t u = gen->block_users[block]; u < gen->block_users[block + 1]; u++) {
        int64_t begin = gen->user_offsets[u], end = gen->user_offsets[u + 1];
        qsort(gen->picks + begin, (size_t)(end - begin), sizeof *gen->picks, compare_movies);
    }
}

reel_status gen_picks_repair(struct gen *gen, reel_error *err) {
    struct repair repair = {.gen = gen, .rng = gen_rng_new(gen->seed, GEN_DRAW_REPAIR, 0)};
    reel_status status = REEL_OK;
    TRY(MEM_NEW(&repair.surplus, gen->n_movies, err));
    TRY(MEM_NEW(&repair.left, gen->n_movies, err));
    TRY(MEM_NEW(&repair.marks, gen->n_movies, err));
    for (int64_t i = 0; i < gen->n_ratings; i++) repair.surplus[gen->picks[i]]++;
    for (int32_t m = 0; m < gen->n_movies; m++) repair.surplus[m] -= gen->movie_targets[m];
    repair_missing(&repair);
    for (int sweep = 0; sweep < 8; sweep++) {
        TRY(urn_fill(&repair, err));
        if (repair.n_urn == 0) break;
        context_log(gen->ctx, REEL_LOG_DEBUG, "gen: %lld ratings to move", (long long)repair.n_urn);
        TRY(repair_sweep(&repair, err));
    }
    TRY(gen_run_blocks(gen, "order movies", sort_block, gen, err));
cleanup:
    mem_free(repair.surplus);
    mem_free(repair.left);
    mem_free(repair.marks);
    mem_free(repair.urn);
    return status;
}
