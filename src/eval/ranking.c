#include "eval/ranking.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"

enum { RANKING_N_MAX = 1000 };

/* One user's figures; n < 0 = no relevant movie. */
struct user_figures {
    float precision, recall, ndcg, map, hit;
    int measured;
};

struct ranking_job {
    const struct reel_model *model;
    const struct ratings *train;
    const int64_t *offsets; /* (n_users + 1,) relevant held-out movies of each user */
    const int32_t *movies;  /* ascending within a user */
    const uint32_t *times;  /* (n_users,) newest held-out time of each user: "now" for models that know time */
    int n;
    struct user_figures *figures; /* (n_users,) */
    struct scratch {
        float *scores;
        uint64_t *keys;
        uint8_t *recommended; /* (n_movies,) by any user of this worker */
        reel_status status;
        reel_error error;
    } * scratch; /* (workers,) */
};

static int is_relevant(const struct ranking_job *job, int32_t user, int32_t movie) {
    int64_t low = job->offsets[user], high = job->offsets[user + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (job->movies[middle] < movie)
            low = middle + 1;
        else
            high = middle;
    }
    return low < job->offsets[user + 1] && job->movies[low] == movie;
}

static reel_status score_user(const struct ranking_job *job, int32_t user, float *scores, reel_error *err) {
    const struct algorithm *algorithm = job->model->algorithm;
    if (algorithm->score_movies) return algorithm->score_movies(job->model, user, job->times[user], scores, NULL, err);
    for (int32_t m = 0; m < job->model->n_movies; m++)
        TRY_RETURN(algorithm->predict(job->model, 1, &user, &m, &job->times[user], scores + m, NULL, err));
    return REEL_OK;
}

/* Binary relevance: DCG = sum of 1 / log2(place + 1) over the hits, over that of the best possible list; average
 * precision over min(relevant, n) (Jarvelin and Kekalainen 2002; Manning, Raghavan and Schutze 2008, ch. 8). */
static void judge(const struct ranking_job *job, int32_t user, const uint64_t *keys, size_t count,
                  struct user_figures *out) {
    int64_t relevant = job->offsets[user + 1] - job->offsets[user];
    int64_t reachable = relevant < job->n ? relevant : job->n;
    double dcg = 0, ideal = 0, precisions = 0;
    int hits = 0;
    for (size_t place = 0; place < count; place++) {
        if (!is_relevant(job, user, (int32_t)top_n_rank(keys[place]))) continue;
        hits++;
        dcg += 1 / log2((double)place + 2);
        precisions += (double)hits / ((double)place + 1);
    }
    for (int64_t place = 0; place < reachable; place++) ideal += 1 / log2((double)place + 2);
    *out = (struct user_figures){.precision = (float)((double)hits / job->n),
                                 .recall = (float)((double)hits / (double)relevant),
                                 .ndcg = (float)(dcg / ideal),
                                 .map = (float)(precisions / (double)reachable),
                                 .hit = hits > 0,
                                 .measured = 1};
}

static void rank_user(void *arg, int64_t task, int worker) {
    const struct ranking_job *job = arg;
    struct scratch *scratch = &job->scratch[worker];
    const struct ratings *train = job->train;
    int32_t user = (int32_t)task;
    if (job->offsets[user + 1] == job->offsets[user] || scratch->status != REEL_OK) return;
    scratch->status = score_user(job, user, scratch->scores, &scratch->error);
    if (scratch->status != REEL_OK) return;
    for (int64_t i = train->user_offsets[user]; i < train->user_offsets[user + 1]; i++)
        scratch->scores[train->user_movies[i]] = -INFINITY;
    struct top_n top;
    top_n_init(&top, scratch->keys, (size_t)job->n);
    for (int32_t m = 0; m < job->model->n_movies; m++)
        if (scratch->scores[m] >= top.floor) top_n_offer(&top, scratch->scores[m], (uint32_t)m);
    size_t count = top_n_finish(&top);
    for (size_t place = 0; place < count; place++) scratch->recommended[top_n_rank(scratch->keys[place])] = 1;
    judge(job, user, scratch->keys, count, &job->figures[user]);
}

/* Relevant held-out movies by user, ascending, and each user's newest held-out time. */
static reel_status group_relevant(const struct rating_pairs *test, int32_t n_users, int least, int64_t **offsets,
                                  int32_t **movies, uint32_t **times, reel_error *err) {
    TRY_RETURN(MEM_NEW(offsets, (int64_t)n_users + 1, err));
    TRY_RETURN(MEM_NEW(times, n_users, err));
    for (int64_t i = 0; i < test->n; i++) {
        if (test->users[i] < 0) continue;
        if (test->times && test->times[i] > (*times)[test->users[i]]) (*times)[test->users[i]] = test->times[i];
        if (test->movies[i] >= 0 && test->ratings[i] >= least) (*offsets)[test->users[i] + 1]++;
    }
    for (int32_t u = 0; u < n_users; u++) (*offsets)[u + 1] += (*offsets)[u];
    TRY_RETURN(MEM_RAW(movies, (*offsets)[n_users], err));
    int64_t *next;
    TRY_RETURN(MEM_RAW(&next, (int64_t)n_users + 1, err));
    memcpy(next, *offsets, sizeof *next * ((size_t)n_users + 1));
    for (int64_t i = 0; i < test->n; i++) {
        if (test->users[i] < 0 || test->movies[i] < 0 || test->ratings[i] < least) continue;
        int64_t begin = (*offsets)[test->users[i]], at = next[test->users[i]]++;
        for (; at > begin && (*movies)[at - 1] > test->movies[i]; at--) (*movies)[at] = (*movies)[at - 1];
        (*movies)[at] = test->movies[i];
    }
    mem_free(next);
    return REEL_OK;
}

static void add_up(const struct ranking_job *job, int workers, reel_ranking *out) {
    double recommended = 0;
    for (int32_t u = 0; u < job->train->n_users; u++) {
        const struct user_figures *f = &job->figures[u];
        if (!f->measured) continue;
        out->n_users++;
        out->precision += (double)f->precision;
        out->recall += (double)f->recall;
        out->ndcg += (double)f->ndcg;
        out->map += (double)f->map;
        out->hit_rate += (double)f->hit;
    }
    for (int32_t m = 0; m < job->model->n_movies; m++) {
        int any = 0;
        for (int w = 0; w < workers; w++) any |= job->scratch[w].recommended[m];
        recommended += any;
    }
    double users = out->n_users ? (double)out->n_users : NAN;
    out->precision /= users;
    out->recall /= users;
    out->ndcg /= users;
    out->map /= users;
    out->hit_rate /= users;
    out->coverage = recommended / (double)job->model->n_movies;
}

reel_status ranking_measure(reel_context *ctx, const struct reel_model *model, const struct ratings *train,
                            const struct rating_pairs *test, int n, double relevant, reel_ranking *out,
                            reel_error *err) {
    reel_status status = REEL_OK;
    int64_t *offsets = NULL;
    int32_t *movies = NULL;
    uint32_t *times = NULL;
    const int workers = thread_pool_size(ctx->pool);
    struct ranking_job job = {.model = model, .train = train, .n = n};
    *out = (reel_ranking){.n = n, .relevant = relevant};
    if (n < 1 || n > RANKING_N_MAX)
        return error_set(err, REEL_INVALID_ARGUMENT, "lists must have 1..%d movies (found %d)", RANKING_N_MAX, n);
    if (!(relevant >= 0.5 && relevant <= 5))
        return error_set(err, REEL_INVALID_ARGUMENT, "relevant movies have 0.5..5 stars or more (found %g)", relevant);
    TRY(group_relevant(test, train->n_users, (int)ceil(2 * relevant), &offsets, &movies, &times, err));
    TRY(MEM_NEW(&job.figures, train->n_users, err));
    TRY(MEM_NEW(&job.scratch, workers, err));
    for (int w = 0; w < workers; w++) {
        TRY(MEM_RAW(&job.scratch[w].scores, model->n_movies, err));
        TRY(MEM_RAW(&job.scratch[w].keys, top_n_capacity((size_t)n), err));
        TRY(MEM_NEW(&job.scratch[w].recommended, model->n_movies, err));
    }
    job.offsets = offsets;
    job.movies = movies;
    job.times = times;
    thread_pool_run(ctx->pool, train->n_users, rank_user, &job);
    for (int w = 0; w < workers; w++)
        if (job.scratch[w].status != REEL_OK) {
            if (err) *err = job.scratch[w].error;
            status = job.scratch[w].status;
            goto cleanup;
        }
    TRY(context_check(ctx, err));
    add_up(&job, workers, out);
cleanup:
    for (int w = 0; job.scratch && w < workers; w++) {
        mem_free(job.scratch[w].recommended);
        mem_free(job.scratch[w].keys);
        mem_free(job.scratch[w].scores);
    }
    mem_free(job.scratch);
    mem_free(job.figures);
    mem_free(times);
    mem_free(movies);
    mem_free(offsets);
    return status;
}
