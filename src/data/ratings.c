#include "data/ratings.h"

#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "data/dataset.h"

void ratings_of_dataset(const struct reel_dataset *dataset, struct ratings *out) {
    *out = dataset->ratings;
}

void ratings_free(struct ratings *ratings) {
    for (int i = 0; i < 8; i++) mem_free(ratings->owned[i]);
    *ratings = (struct ratings){0};
}

void rating_pairs_free(struct rating_pairs *pairs) {
    for (int i = 0; i < 4; i++) mem_free(pairs->owned[i]);
    *pairs = (struct rating_pairs){0};
}

/* ---- taking a part, by user ---- */

/* Work is cut by sizes alone, never by the number of threads. */
enum { USERS_A_TASK = 512, BLOCK = 2048 };

struct take {
    const struct ratings *all;
    const uint8_t *test;
    int wanted;       /* takes the ratings with (test != 0) == wanted */
    int64_t *offsets; /* (n_users + 1,) of the part taken; first the counts, one place ahead */
    int32_t *users;   /* (n,) or NULL */
    int32_t *movies;
    uint8_t *ratings;
    uint32_t *times; /* (n,) or NULL */
};

static int32_t task_end(const struct take *take, int64_t task) {
    int64_t end = (task + 1) * USERS_A_TASK;
    return end < take->all->n_users ? (int32_t)end : take->all->n_users;
}

static void count_users(void *arg, int64_t task, int worker) {
    (void)worker;
    struct take *take = arg;
    const int64_t *offsets = take->all->user_offsets;
    for (int32_t user = (int32_t)(task * USERS_A_TASK); user < task_end(take, task); user++) {
        uint32_t count = 0; /* a user rates a movie once, so 32 bits hold it */
        for (int64_t i = offsets[user]; i < offsets[user + 1]; i++) count += (take->test[i] != 0) == take->wanted;
        take->offsets[user + 1] = count;
    }
}

/* Copies what is wanted of entries begin..end-1 (at most BLOCK) to `out`; returns how many. A list of places
 * first, then plain gathers: no branch depends on the random test marks. */
static int64_t copy_block(const struct take *take, int64_t begin, int64_t end, int64_t out) {
    uint16_t places[BLOCK + 1];
    int32_t n = 0;
    for (int64_t i = begin; i < end; i++) {
        places[n] = (uint16_t)(i - begin);
        n += (take->test[i] != 0) == take->wanted;
    }
    const struct ratings *all = take->all;
    for (int32_t j = 0; j < n; j++) take->movies[out + j] = all->user_movies[begin + places[j]];
    for (int32_t j = 0; j < n; j++) take->ratings[out + j] = all->user_ratings[begin + places[j]];
    if (take->times)
        for (int32_t j = 0; j < n; j++) take->times[out + j] = all->user_times[begin + places[j]];
    return n;
}

static void copy_users(void *arg, int64_t task, int worker) {
    (void)worker;
    struct take *take = arg;
    int32_t first = (int32_t)(task * USERS_A_TASK), last = task_end(take, task);
    int64_t out = take->offsets[first], end = take->all->user_offsets[last];
    for (int64_t i = take->all->user_offsets[first]; i < end; i += BLOCK)
        out += copy_block(take, i, i + BLOCK < end ? i + BLOCK : end, out);
    if (!take->users) return;
    for (int32_t user = first; user < last; user++)
        for (int64_t i = take->offsets[user]; i < take->offsets[user + 1]; i++) take->users[i] = user;
}

static int64_t n_user_tasks(const struct ratings *all) {
    return ((int64_t)all->n_users + USERS_A_TASK - 1) / USERS_A_TASK;
}

/* Fills take->offsets (allocated here); returns the number of ratings in *n. */
static reel_status take_count(reel_context *ctx, struct take *take, int64_t *n, reel_error *err) {
    int32_t n_users = take->all->n_users;
    TRY_RETURN(MEM_NEW(&take->offsets, (int64_t)n_users + 1, err));
    thread_pool_run(ctx->pool, n_user_tasks(take->all), count_users, take);
    for (int32_t user = 0; user < n_users; user++) take->offsets[user + 1] += take->offsets[user];
    *n = take->offsets[n_users];
    return REEL_OK;
}

/* ---- the same ratings by movie: a counting sort ---- */

struct transpose {
    const struct ratings *from;
    int64_t n_parts;  /* parts of the users */
    int64_t *cursors; /* (n_parts, n_movies): counts, then where each part's next rating of a movie goes */
    int32_t *users;
    uint8_t *ratings;
};

static void count_movies(void *arg, int64_t part, int worker) {
    (void)worker;
    struct transpose *job = arg;
    const struct ratings *from = job->from;
    int64_t *counts = job->cursors + part * from->n_movies;
    int64_t begin = from->user_offsets[part_begin(from->n_users, job->n_parts, part)];
    int64_t end = from->user_offsets[part_begin(from->n_users, job->n_parts, part + 1)];
    for (int64_t i = begin; i < end; i++) counts[from->user_movies[i]]++;
}

static void scatter_part(void *arg, int64_t part, int worker) {
    (void)worker;
    struct transpose *job = arg;
    const struct ratings *from = job->from;
    int64_t *cursors = job->cursors + part * from->n_movies;
    int32_t last = (int32_t)part_begin(from->n_users, job->n_parts, part + 1);
    for (int32_t user = (int32_t)part_begin(from->n_users, job->n_parts, part); user < last; user++) {
        for (int64_t i = from->user_offsets[user]; i < from->user_offsets[user + 1]; i++) {
            int64_t at = cursors[from->user_movies[i]]++;
            job->users[at] = user;
            job->ratings[at] = from->user_ratings[i];
        }
    }
}

/* Turns counts into first places and fills offsets (n_movies + 1,). */
static void place_movies(struct transpose *job, int64_t *offsets) {
    int64_t n_movies = job->from->n_movies, next = 0;
    for (int64_t movie = 0; movie < n_movies; movie++) {
        offsets[movie] = next;
        for (int64_t part = 0; part < job->n_parts; part++) {
            int64_t count = job->cursors[part * n_movies + movie];
            job->cursors[part * n_movies + movie] = next;
            next += count;
        }
    }
    offsets[n_movies] = next;
}

/* Adds the by-movie order to `ratings`, whose by-user order is complete. */
static reel_status add_by_movie(reel_context *ctx, struct ratings *ratings, reel_error *err) {
    reel_status status = REEL_OK;
    int64_t room = ((int64_t)64 << 20) / 8 / (ratings->n_movies + (int64_t)1) + 1;
    struct transpose job = {.from = ratings, .n_parts = room < 16 ? room : 16};
    int64_t *offsets = NULL;
    TRY(MEM_NEW(&job.cursors, job.n_parts * ratings->n_movies, err));
    TRY(MEM_RAW(&offsets, (int64_t)ratings->n_movies + 1, err));
    ratings->owned[4] = offsets;
    TRY(MEM_RAW(&job.users, ratings->n_ratings, err));
    ratings->owned[5] = job.users;
    TRY(MEM_RAW(&job.ratings, ratings->n_ratings, err));
    ratings->owned[6] = job.ratings;
    thread_pool_run(ctx->pool, job.n_parts, count_movies, &job);
    place_movies(&job, offsets);
    thread_pool_run(ctx->pool, job.n_parts, scatter_part, &job);
    ratings->movie_offsets = offsets;
    ratings->movie_users = job.users;
    ratings->movie_ratings = job.ratings;
cleanup:
    mem_free(job.cursors);
    return status;
}

/* ---- the two parts of a split ---- */

reel_status ratings_subset(reel_context *ctx, const struct ratings *all, const uint8_t *test, int needs,
                           struct ratings *out, reel_error *err) {
    reel_status status = REEL_OK;
    struct take take = {.all = all, .test = test};
    *out = (struct ratings){
        .n_users = all->n_users, .n_movies = all->n_movies, .scale_min = all->scale_min, .scale_max = all->scale_max};
    status = take_count(ctx, &take, &out->n_ratings, err);
    out->user_offsets = out->owned[0] = take.offsets;
    if (status != REEL_OK) goto cleanup;
    TRY(MEM_RAW(&take.movies, out->n_ratings, err));
    out->user_movies = out->owned[1] = take.movies;
    TRY(MEM_RAW(&take.ratings, out->n_ratings, err));
    out->user_ratings = out->owned[2] = take.ratings;
    if ((needs & RATINGS_TIMES) && all->user_times) {
        TRY(MEM_RAW(&take.times, out->n_ratings, err));
        out->user_times = out->owned[3] = take.times;
    }
    TRY(context_check(ctx, err));
    thread_pool_run(ctx->pool, n_user_tasks(all), copy_users, &take);
    TRY(context_check(ctx, err));
    if (needs & RATINGS_BY_MOVIE) TRY(add_by_movie(ctx, out, err));
    return REEL_OK;
cleanup:
    ratings_free(out);
    return status;
}

reel_status ratings_pairs(reel_context *ctx, const struct ratings *all, const uint8_t *test, struct rating_pairs *out,
                          reel_error *err) {
    reel_status status = REEL_OK;
    struct take take = {.all = all, .test = test, .wanted = 1};
    *out = (struct rating_pairs){0};
    TRY(take_count(ctx, &take, &out->n, err));
    TRY(MEM_RAW(&take.users, out->n, err));
    out->users = out->owned[0] = take.users;
    TRY(MEM_RAW(&take.movies, out->n, err));
    out->movies = out->owned[1] = take.movies;
    TRY(MEM_RAW(&take.ratings, out->n, err));
    out->ratings = out->owned[2] = take.ratings;
    if (all->user_times) {
        TRY(MEM_RAW(&take.times, out->n, err));
        out->times = out->owned[3] = take.times;
    }
    thread_pool_run(ctx->pool, n_user_tasks(all), copy_users, &take);
cleanup:
    mem_free(take.offsets);
    if (status != REEL_OK) rating_pairs_free(out);
    return status;
}
