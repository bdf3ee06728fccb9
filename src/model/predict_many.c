/* Many pairs at once: on all threads, or, for models that the device's operators score pair by pair, on the device. The
 * scores have the same bits either way. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "model/scorer.h"

/* Fewer pairs than DEVICE_PAIRS take the CPU less time than the way to a device. */
enum { PREDICT_TASK = 1 << 16, PREDICT_WAVE = 256, DEVICE_PAIRS = 1 << 16, DEVICE_WAVE = 1 << 22 };

struct predict_job {
    struct reel_scorer *scorer;
    int64_t n;
    const int32_t *users, *movies;
    const uint32_t *times;
    float *scores, *sds;
    reel_status *statuses; /* a task each */
    reel_error *errors;
    int32_t *rows[FOREST_TABLES]; /* (n,) on a device: what its operators take */
};

static int64_t tasks_of(const struct predict_job *job) {
    return (job->n + PREDICT_TASK - 1) / PREDICT_TASK;
}

static int64_t pairs_of(const struct predict_job *job, int64_t task) {
    int64_t left = job->n - task * PREDICT_TASK;
    return left < PREDICT_TASK ? left : PREDICT_TASK;
}

/* The error of the first task that failed is the one reported. */
static reel_status run_tasks(const struct predict_job *job, void (*task)(void *, int64_t, int), reel_error *err) {
    thread_pool_run(job->scorer->ctx->pool, tasks_of(job), task, (void *)(uintptr_t)job);
    for (int64_t i = 0; i < tasks_of(job); i++) {
        if (job->statuses[i] == REEL_OK) continue;
        if (err) *err = job->errors[i];
        return job->statuses[i];
    }
    return REEL_OK;
}

/* ---- on the threads ---- */

static void predict_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct predict_job *job = arg;
    int64_t first = task * PREDICT_TASK;
    job->statuses[task] = reel_scorer_predict(job->scorer, pairs_of(job, task), job->users + first, job->movies + first,
                                              job->times ? job->times + first : NULL, job->scores + first,
                                              job->sds ? job->sds + first : NULL, &job->errors[task]);
}

/* ---- on a device ---- */

static int has_device(const struct reel_scorer *scorer) {
    const struct backend_ops *ops = scorer->device->ops;
    if (scorer->device == scorer->backend) return 0;
    return scorer->planned ? ops->forest_pairs != NULL
                           : scorer->has_panels && scorer->view.pairs && ops->predict_pairs != NULL;
}

/* Rows of what is on the device: trees take dataset movies, factors the model's. */
static void rows_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct predict_job *job = arg;
    const struct reel_scorer *scorer = job->scorer;
    const struct forest_planned *planned = scorer->planned;
    int64_t first = task * PREDICT_TASK, n = pairs_of(job, task);
    job->statuses[task] = scorer_check_pairs(scorer, n, job->users + first, job->movies + first, &job->errors[task]);
    if (job->statuses[task] != REEL_OK) return;
    for (int64_t i = first; i < first + n; i++) {
        int32_t user = scorer_model_user(scorer, job->users[i]), movie = job->movies[i];
        job->rows[0][i] = planned && user < 0 ? planned->plan.n_users : user;
        job->rows[1][i] = !planned ? scorer_model_movie(scorer, movie) : movie < 0 ? planned->plan.n_movies : movie;
        if (planned) job->rows[2][i] = star_hour(job->times ? job->times[i] : 0);
    }
}

static void clip_task(void *arg, int64_t task, int worker) {
    (void)worker;
    const struct predict_job *job = arg;
    int64_t first = task * PREDICT_TASK, n = pairs_of(job, task);
    for (int64_t i = first; i < first + n; i++) {
        job->scores[i] = scorer_clip(job->scorer, job->scores[i]);
        if (job->sds) job->sds[i] = NAN;
    }
}

static reel_status call_operator(const struct predict_job *job, reel_error *err) {
    struct reel_scorer *scorer = job->scorer;
    const struct scorer_bulk *bulk = &scorer->bulk;
    if (scorer->planned) {
        TRY_RETURN(scorer_place(scorer, SCORER_TREES, err));
        struct forest_pairs_args args = {&bulk->plan, job->n, job->rows[0], job->rows[1], job->rows[2], job->scores};
        return scorer->device->ops->forest_pairs(scorer->device, &args, err);
    }
    TRY_RETURN(scorer_place(scorer, SCORER_USERS | SCORER_MOVIES, err));
    struct predict_pairs_args args = {.k = scorer->view.k,
                                      .stride = scorer->view.stride,
                                      .mean = scorer->view.mean,
                                      .user_factors = bulk->user_factors,
                                      .movie_factors = bulk->movie_factors,
                                      .user_bias = bulk->user_bias,
                                      .movie_bias = bulk->movie_bias,
                                      .n = job->n,
                                      .users = job->rows[0],
                                      .movies = job->rows[1],
                                      .scores = job->scores};
    return scorer->device->ops->predict_pairs(scorer->device, &args, err);
}

static reel_status device_wave(const struct predict_job *job, reel_error *err) {
    TRY_RETURN(run_tasks(job, rows_task, err));
    TRY_RETURN(call_operator(job, err));
    thread_pool_run(job->scorer->ctx->pool, tasks_of(job), clip_task, (void *)(uintptr_t)job);
    return REEL_OK;
}

/* ---- both ---- */

static reel_status predict_waves(const struct predict_job *all, int64_t most,
                                 reel_status (*wave)(const struct predict_job *, reel_error *), reel_error *err) {
    reel_context *ctx = all->scorer->ctx;
    for (int64_t first = 0; first < all->n; first += most) {
        struct predict_job job = *all;
        TRY_RETURN(context_check(ctx, err));
        context_progress(ctx, "predict", "pairs", first, all->n, NULL, 0, 0);
        job.n = all->n - first < most ? all->n - first : most;
        job.users += first;
        job.movies += first;
        if (job.times) job.times += first;
        job.scores += first;
        if (job.sds) job.sds += first;
        TRY_RETURN(wave(&job, err));
    }
    context_progress(ctx, "predict", "pairs", all->n, all->n, NULL, 0, 1);
    return REEL_OK;
}

static reel_status host_wave(const struct predict_job *job, reel_error *err) {
    return run_tasks(job, predict_task, err);
}

reel_status reel_scorer_predict_many(reel_scorer *scorer, int64_t n, const int32_t *users, const int32_t *movies,
                                     const uint32_t *times, float *scores, float *sds, reel_error *err) {
    reel_status status = REEL_OK, statuses[PREDICT_WAVE];
    struct predict_job job = {scorer, n, users, movies, times, scores, sds, .statuses = statuses};
    int64_t wave = n < DEVICE_WAVE ? n : DEVICE_WAVE;
    /* The model's own deviations are the host's work; models that have none answer NaN. */
    int on_device = n >= DEVICE_PAIRS && has_device(scorer) && (!sds || scorer->planned);
    if (n < 0) return error_set(err, REEL_INVALID_ARGUMENT, "n must be >= 0 (found %lld)", (long long)n);
    if (n >= DEVICE_PAIRS) TRY(scorer_check_trees(scorer, err));
    TRY(MEM_RAW(&job.errors, PREDICT_WAVE, err));
    for (int t = 0; on_device && t < FOREST_TABLES; t++) TRY(MEM_RAW(&job.rows[t], wave, err));
    TRY(on_device ? predict_waves(&job, wave, device_wave, err)
                  : predict_waves(&job, (int64_t)PREDICT_TASK * PREDICT_WAVE, host_wave, err));
cleanup:
    mem_free(job.errors);
    for (int t = 0; t < FOREST_TABLES; t++) mem_free(job.rows[t]);
    return status;
}
