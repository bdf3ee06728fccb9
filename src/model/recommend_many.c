/* Top N for many users. Models made of factors go through the backend's topk_users, trees through its forest_topk, all
 * others user by user through the scores that a single request uses; either way the lists equal those of single
 * requests. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"
#include "model/scorer.h"

/* Users between two safe points: whole blocks of the CPU operator; a device makes waves of its own inside, and some of
 * them at the same time. */
enum { WAVE_USERS = 96 * 64, DEVICE_WAVE_USERS = 1 << 19, CLIP_USERS = 256 };

struct many_job {
    struct reel_scorer *scorer;
    int64_t n_users;
    const int32_t *users;
    int n;
    int wanted;                         /* n, or the number of movies where that is less */
    int32_t *movies;                    /* (n_users, n) */
    float *scores;                      /* (n_users, n) */
    int64_t most;                       /* users a wave */
    int32_t *rows;                      /* (most,) scratch: model users */
    const reel_recommend_query *filter; /* never NULL */
    uint8_t *candidates;                /* (n_movies,) what the filter lets through */
};

/* Each of several devices takes a part of the wave. */
static int64_t wave_of(const struct backend *device) {
    return (int64_t)DEVICE_WAVE_USERS * (device->several ? device->several : 1);
}

static reel_status topk_wave(const struct many_job *job, int64_t first, int64_t n_users, reel_error *err) {
    struct reel_scorer *scorer = job->scorer;
    const struct scorer_bulk *bulk = &scorer->bulk;
    TRY_RETURN(scorer_place(scorer, SCORER_USERS | SCORER_PANELS | SCORER_SEEN, err));
    for (int64_t i = 0; i < n_users; i++) job->rows[i] = scorer_model_user(scorer, job->users[first + i]);
    struct topk_users_args args = {.panels = &bulk->panels,
                                   .n_users = n_users,
                                   .rows = job->rows,
                                   .user_factors = bulk->user_factors,
                                   .stride = scorer->view.stride,
                                   .user_bias = bulk->user_bias,
                                   .mean = scorer->view.mean,
                                   .seen_rows = job->users + first,
                                   .seen_offsets = job->filter->include_seen ? NULL : bulk->seen_offsets,
                                   .seen_movies = bulk->seen_movies,
                                   .candidates = job->candidates,
                                   .n = job->n,
                                   .movies = job->movies + first * job->n,
                                   .scores = job->scores + first * job->n};
    return scorer->device->ops->topk_users(scorer->device, &args, err);
}

static reel_status forest_wave(const struct many_job *job, int64_t first, int64_t n_users, reel_error *err) {
    struct reel_scorer *scorer = job->scorer;
    const struct scorer_bulk *bulk = &scorer->bulk;
    const struct forest_plan *plan = &bulk->plan;
    TRY_RETURN(scorer_place(scorer, SCORER_TREES | SCORER_SEEN, err));
    uint32_t time = job->filter->time ? job->filter->time : scorer->dataset->newest_time;
    for (int64_t i = 0; i < n_users; i++) {
        int32_t row = scorer_model_user(scorer, job->users[first + i]);
        job->rows[i] = row < 0 ? plan->n_users : row;
    }
    struct forest_topk_args args = {.plan = plan,
                                    .n_users = n_users,
                                    .users = job->rows,
                                    .hour = star_hour(time),
                                    .seen_rows = job->users + first,
                                    .seen_offsets = job->filter->include_seen ? NULL : bulk->seen_offsets,
                                    .seen_movies = bulk->seen_movies,
                                    .candidates = job->candidates,
                                    .n = job->n,
                                    .movies = job->movies + first * job->n,
                                    .scores = job->scores + first * job->n};
    return scorer->device->ops->forest_topk(scorer->device, &args, err);
}

struct loop_room {
    float *scores;      /* (n_movies,) */
    uint64_t *keys;     /* (top_n_capacity(n),) */
    reel_status status; /* of this worker's first failure */
    reel_error err;
};

struct loop_job {
    const struct many_job *many;
    int64_t first;
    struct loop_room *rooms; /* a worker each */
};

static void loop_task(void *arg, int64_t task, int worker) {
    const struct loop_job *job = arg;
    const struct many_job *many = job->many;
    struct loop_room *room = &job->rooms[worker];
    if (room->status != REEL_OK) return;
    const struct reel_scorer *scorer = many->scorer;
    int64_t at = job->first + task;
    room->status = scorer_user_scores(scorer, many->users[at], many->filter->time, room->scores, NULL, &room->err);
    if (room->status != REEL_OK) return;
    if (!many->filter->include_seen) scorer_mask_seen(scorer, many->users[at], room->scores);
    struct top_n top;
    top_n_init(&top, room->keys, (size_t)many->wanted);
    for (int32_t m = 0; m < scorer->dataset->n_movies; m++)
        if (room->scores[m] >= top.floor && many->candidates[m]) top_n_offer(&top, room->scores[m], (uint32_t)m);
    int found = (int)top_n_finish(&top);
    for (int i = 0; i < many->n; i++) {
        many->movies[at * many->n + i] = i < found ? (int32_t)top_n_rank(room->keys[i]) : -1;
        many->scores[at * many->n + i] = i < found ? top_n_score(room->keys[i]) : NAN;
    }
}

static reel_status loop_wave(const struct many_job *many, struct loop_room *rooms, int64_t first, int64_t n_users,
                             reel_error *err) {
    struct thread_pool *pool = many->scorer->ctx->pool;
    struct loop_job job = {many, first, rooms};
    thread_pool_run(pool, n_users, loop_task, &job);
    for (int i = 0; i < thread_pool_size(pool); i++) {
        if (rooms[i].status == REEL_OK) continue;
        if (err) *err = rooms[i].err;
        return rooms[i].status;
    }
    return REEL_OK;
}

static reel_status rooms_new(const struct many_job *job, struct loop_room **rooms, reel_error *err) {
    int n = thread_pool_size(job->scorer->ctx->pool);
    int32_t n_movies = job->scorer->dataset->n_movies;
    TRY_RETURN(MEM_NEW(rooms, n, err));
    for (int i = 0; i < n; i++) {
        TRY_RETURN(MEM_RAW(&(*rooms)[i].scores, n_movies, err));
        TRY_RETURN(MEM_RAW(&(*rooms)[i].keys, top_n_capacity((size_t)job->wanted), err));
    }
    return REEL_OK;
}

static void rooms_free(const struct many_job *job, struct loop_room *rooms) {
    for (int i = 0; rooms && i < thread_pool_size(job->scorer->ctx->pool); i++) {
        mem_free(rooms[i].scores);
        mem_free(rooms[i].keys);
    }
    mem_free(rooms);
}

struct clip_job {
    const struct many_job *many;
    int64_t first, n_users;
};

static void clip_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct clip_job *job = arg;
    const struct many_job *many = job->many;
    const int64_t begin = task * CLIP_USERS, left = job->n_users - begin;
    float *scores = many->scores + (job->first + begin) * many->n;
    for (int64_t i = 0; i < (left < CLIP_USERS ? left : CLIP_USERS) * many->n; i++)
        scores[i] = scorer_clip(many->scorer, scores[i]);
}

/* Scores are selected raw and handed out on the scale. */
static void clip_scores(const struct many_job *many, int64_t first, int64_t n_users) {
    struct clip_job job = {many, first, n_users};
    thread_pool_run(many->scorer->ctx->pool, (n_users + CLIP_USERS - 1) / CLIP_USERS, clip_task, &job);
}

reel_status reel_scorer_recommend_many(reel_scorer *scorer, int64_t n_users, const int32_t *users, int n,
                                       const reel_recommend_query *filter, int32_t *movies, float *scores,
                                       reel_error *err) {
    reel_status status = REEL_OK;
    int by_forest = scorer->planned && scorer->device->ops->forest_topk;
    int by_operator = by_forest || (scorer->has_panels && scorer->device->ops->topk_users);
    int on_device = by_operator && scorer->device != scorer->backend;
    int32_t n_movies = scorer->dataset->n_movies;
    reel_recommend_query none;
    reel_recommend_query_default(&none);
    struct many_job job = {.scorer = scorer,
                           .n_users = n_users,
                           .users = users,
                           .n = n,
                           .wanted = n_movies == 0  ? 1
                                     : n < n_movies ? n
                                                    : n_movies,
                           .movies = movies,
                           .scores = scores,
                           .most = on_device ? wave_of(scorer->device) : WAVE_USERS,
                           .filter = filter ? filter : &none};
    struct loop_room *rooms = NULL;
    if (n < 1 || n_users < 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "n must be >= 1 and n_users >= 0 (found %d and %lld)", n,
                         (long long)n_users);
    if (on_device && n > TOPK_DEVICE_N_MAX)
        return error_set(err, REEL_UNSUPPORTED,
                         "the %s device lists at most %d movies a user (found %d; use --device cpu)",
                         scorer->device->ops->name, TOPK_DEVICE_N_MAX, n);
    TRY(scorer_check_trees(scorer, err));
    TRY(scorer_check_indices("user", n_users, users, 0, scorer->dataset->n_users, err));
    TRY(MEM_RAW(&job.candidates, n_movies, err));
    for (int32_t m = 0; m < n_movies; m++) job.candidates[m] = (uint8_t)scorer_movie_passes(scorer, job.filter, m);
    if (by_operator)
        TRY(MEM_RAW(&job.rows, job.most, err));
    else
        TRY(rooms_new(&job, &rooms, err));
    for (int64_t first = 0; first < n_users; first += job.most) {
        int64_t wave = n_users - first < job.most ? n_users - first : job.most;
        TRY(context_check(scorer->ctx, err));
        if (n_users > job.most) context_progress(scorer->ctx, "recommend", "users", first, n_users, NULL, 0, 0);
        TRY(by_forest     ? forest_wave(&job, first, wave, err)
            : by_operator ? topk_wave(&job, first, wave, err)
                          : loop_wave(&job, rooms, first, wave, err));
        clip_scores(&job, first, wave);
    }
    if (n_users > job.most) context_progress(scorer->ctx, "recommend", "users", n_users, n_users, NULL, 0, 1);
cleanup:
    mem_free(job.candidates);
    mem_free(job.rows);
    rooms_free(&job, rooms);
    return status;
}
