/* Lists of similar movies for many movies at once, those of single queries. By rows they are one operator call. Movies
 * of one genre set have one list, less themselves. By ratings a movie costs what a single query costs, on all threads.
 */
#include <limits.h>
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"
#include "model/similar.h"

/* Movies between two reports of progress; by genre all at once, as a set's list serves all its movies. */
enum { WAVE_RATINGS = 256, WAVE_ROWS = 1 << 15 };

struct many_job {
    struct reel_similar_index *index;
    int64_t n_movies;
    const int32_t *movies; /* (n_movies,) */
    int n;
    int32_t *similar;    /* (n_movies, n) out */
    float *similarities; /* (n_movies, n) out */
    /* GENRE: the movies of each set, as a list of its own */
    int32_t *first_of; /* (n_sets,) a number of `movies`, -1 = none */
    int32_t *next_of;  /* (n_movies,) the next of the same set, -1 = none */
    reel_status *statuses;
    reel_error *errors; /* (workers,) of the first failure of each */
};

static void write_list(const struct many_job *job, int64_t i, const reel_similar_movie *items, int n_items) {
    int found = 0;
    for (int at = 0; at < n_items && found < job->n; at++) {
        if (items[at].movie == job->movies[i]) continue;
        job->similar[i * job->n + found] = items[at].movie;
        job->similarities[i * job->n + found++] = items[at].similarity;
    }
    for (; found < job->n; found++) {
        job->similar[i * job->n + found] = -1;
        job->similarities[i * job->n + found] = NAN;
    }
}

/* At most as many as there are movies. */
static int64_t wanted(const struct many_job *job, int n) {
    int32_t n_movies = job->index->dataset->n_movies;
    return n < n_movies ? n : n_movies;
}

static reel_status list_ratings(const struct many_job *job, int64_t i, reel_error *err) {
    reel_status status = REEL_OK;
    reel_similar_movie *items = NULL;
    int n_items;
    TRY(MEM_RAW(&items, wanted(job, job->n), err));
    TRY(reel_similar_index_query(job->index, job->movies[i], job->n, items, &n_items, err));
    write_list(job, i, items, n_items);
cleanup:
    mem_free(items);
    return status;
}

/* One more than wanted, as each movie of the set leaves itself out. */
static reel_status list_set(const struct many_job *job, int32_t set, reel_error *err) {
    reel_status status = REEL_OK;
    const struct reel_similar_index *index = job->index;
    const int64_t n = wanted(job, job->n < INT_MAX ? job->n + 1 : job->n);
    float *by_set = NULL, *similar = NULL;
    uint64_t *keys = NULL;
    reel_similar_movie *items = NULL;
    if (job->first_of[set] < 0) return REEL_OK;
    TRY(MEM_RAW(&by_set, index->n_sets, err));
    TRY(MEM_RAW(&similar, index->dataset->n_movies, err));
    TRY(MEM_RAW(&keys, top_n_capacity((size_t)n), err));
    TRY(MEM_RAW(&items, n, err));
    similar_to_set(index, set, by_set, similar);
    int n_items = similar_select(index, similar, (int)n, keys, items);
    for (int32_t i = job->first_of[set]; i >= 0; i = job->next_of[i]) write_list(job, i, items, n_items);
cleanup:
    mem_free(by_set);
    mem_free(similar);
    mem_free(keys);
    mem_free(items);
    return status;
}

static void many_task(void *arg, int64_t task, int worker) {
    const struct many_job *job = arg;
    if (job->statuses[worker] == REEL_OK) job->statuses[worker] = context_check(job->index->ctx, &job->errors[worker]);
    if (job->statuses[worker] != REEL_OK) return;
    job->statuses[worker] = job->index->by == REEL_SIMILAR_GENRE ? list_set(job, (int32_t)task, &job->errors[worker])
                                                                 : list_ratings(job, task, &job->errors[worker]);
}

static reel_status run_tasks(struct many_job *job, int64_t n_tasks, reel_error *err) {
    reel_status status = REEL_OK;
    struct thread_pool *pool = job->index->ctx->pool;
    const int n_workers = thread_pool_size(pool);
    TRY(MEM_NEW(&job->statuses, n_workers, err));
    TRY(MEM_NEW(&job->errors, n_workers, err));
    thread_pool_run(pool, n_tasks, many_task, job);
    for (int i = 0; i < n_workers && status == REEL_OK; i++) {
        status = job->statuses[i];
        if (status != REEL_OK && err) *err = job->errors[i];
    }
cleanup:
    mem_free(job->statuses);
    mem_free(job->errors);
    return status;
}

static reel_status many_by_genre(struct many_job *job, reel_error *err) {
    reel_status status = REEL_OK;
    const struct reel_similar_index *index = job->index;
    TRY(MEM_RAW(&job->first_of, index->n_sets, err));
    TRY(MEM_RAW(&job->next_of, job->n_movies, err));
    for (int32_t s = 0; s < index->n_sets; s++) job->first_of[s] = -1;
    for (int32_t i = 0; i < job->n_movies; i++) {
        int32_t *first = &job->first_of[index->row_of[job->movies[i]]];
        job->next_of[i] = *first;
        *first = i;
    }
    TRY(run_tasks(job, index->n_sets, err));
cleanup:
    mem_free(job->first_of);
    mem_free(job->next_of);
    return status;
}

static reel_status run_wave(struct many_job *job, reel_error *err) {
    switch (job->index->by) {
    case REEL_SIMILAR_GENRE:
        return many_by_genre(job, err);
    case REEL_SIMILAR_RATINGS:
        return run_tasks(job, job->n_movies, err);
    default:
        return similar_many_by_rows(job->index, job->n_movies, job->movies, job->n, job->similar, job->similarities,
                                    err);
    }
}

static reel_status check_movies(const struct reel_similar_index *index, int64_t n_movies, const int32_t *movies, int n,
                                reel_error *err) {
    const int32_t end = index->dataset->n_movies;
    if (n < 1 || n_movies < 0)
        return error_set(err, REEL_INVALID_ARGUMENT, "n must be >= 1 and n_movies >= 0 (found %d and %lld)", n,
                         (long long)n_movies);
    for (int64_t i = 0; i < n_movies; i++)
        if (movies[i] < 0 || movies[i] >= end)
            return error_set(err, REEL_INVALID_ARGUMENT, "movie %lld has index %d, allowed are 0..%d", (long long)i,
                             movies[i], end - 1);
    return REEL_OK;
}

reel_status reel_similar_index_query_many(reel_similar_index *index, int64_t n_movies, const int32_t *movies, int n,
                                          int32_t *similar, float *similarities, reel_error *err) {
    const int64_t most = index->by == REEL_SIMILAR_GENRE     ? n_movies
                         : index->by == REEL_SIMILAR_RATINGS ? (int64_t)WAVE_RATINGS
                                                             : (int64_t)WAVE_ROWS;
    TRY_RETURN(check_movies(index, n_movies, movies, n, err));
    for (int64_t first = 0; first < n_movies; first += most) {
        const int64_t left = n_movies - first;
        struct many_job job = {.index = index,
                               .n_movies = left < most ? left : most,
                               .movies = movies + first,
                               .n = n,
                               .similar = similar + first * n,
                               .similarities = similarities + first * n};
        TRY_RETURN(context_check(index->ctx, err));
        context_progress(index->ctx, "similar", "movies", first, n_movies, NULL, 0, 0);
        TRY_RETURN(run_wave(&job, err));
    }
    context_progress(index->ctx, "similar", "movies", n_movies, n_movies, NULL, 0, 1);
    return REEL_OK;
}
