#include "model/measure.h"

#include <math.h>
#include <string.h>

#include "core/error.h"
#include "core/mem.h"

enum { CHUNK = 4096 };

struct chunk_sums {
    double squared, absolute;
    int64_t ratings, ratings_squared; /* half stars, exact */
    reel_status status;
};

struct measure_job {
    const reel_context *ctx;
    const struct rating_pairs *pairs;
    float scale_min, scale_max;
    measure_fn score;
    const void *arg;
    float *predictions;
    struct chunk_sums *chunks;
    reel_error *errors; /* (threads,): of the latest failed chunk a worker met */
};

static float clip(float score, float low, float high) {
    return score < low ? low : score > high ? high : score;
}

static void measure_chunk(void *arg, int64_t chunk, int worker) {
    struct measure_job *job = arg;
    struct chunk_sums *sums = &job->chunks[chunk];
    float scores[CHUNK];
    int64_t begin = chunk * CHUNK, left = job->pairs->n - begin, n = left < CHUNK ? left : CHUNK;
    sums->status = context_check(job->ctx, &job->errors[worker]);
    if (sums->status == REEL_OK)
        sums->status = job->score(job->arg, job->pairs, begin, n, scores, &job->errors[worker]);
    if (sums->status != REEL_OK) return;
    for (int64_t i = 0; i < n; i++) {
        int rating = job->pairs->ratings[begin + i];
        scores[i] = clip(scores[i], job->scale_min, job->scale_max);
        double error = (double)scores[i] - 0.5 * rating;
        sums->squared += error * error;
        sums->absolute += fabs(error);
        sums->ratings += rating;
        sums->ratings_squared += rating * rating;
    }
    if (job->predictions) memcpy(job->predictions + begin, scores, (size_t)n * sizeof *scores);
}

static reel_status first_failure(const struct measure_job *job, int64_t n_chunks, int threads, reel_error *err) {
    for (int64_t c = 0; c < n_chunks; c++)
        for (int t = 0; job->chunks[c].status != REEL_OK && t < threads; t++)
            if (job->errors[t].status == job->chunks[c].status) {
                if (err) *err = job->errors[t];
                return job->chunks[c].status;
            }
    return REEL_OK;
}

static void sum_chunks(const struct chunk_sums *chunks, int64_t n_chunks, int64_t n, reel_metrics *metrics) {
    struct chunk_sums all = {0};
    for (int64_t c = 0; c < n_chunks; c++) {
        all.squared += chunks[c].squared;
        all.absolute += chunks[c].absolute;
        all.ratings += chunks[c].ratings;
        all.ratings_squared += chunks[c].ratings_squared;
    }
    double count = (double)n, total = (double)all.ratings;
    /* Sum of squares about the mean, from exact integers in half stars, as stars. */
    double spread = ((double)all.ratings_squared - total * total / count) / 4;
    metrics->rmse = sqrt(all.squared / count);
    metrics->mae = all.absolute / count;
    metrics->r2 = spread > 0 ? 1 - all.squared / spread : all.squared == 0 ? 1 : 0;
}

reel_status measure_pairs(reel_context *ctx, const struct rating_pairs *pairs, float scale_min, float scale_max,
                          measure_fn score, const void *arg, float *predictions, reel_metrics *metrics,
                          reel_error *err) {
    reel_status status = REEL_OK;
    int64_t n_chunks = (pairs->n + CHUNK - 1) / CHUNK;
    int threads = thread_pool_size(ctx->pool);
    struct measure_job job = {.ctx = ctx,
                              .pairs = pairs,
                              .scale_min = scale_min,
                              .scale_max = scale_max,
                              .score = score,
                              .arg = arg,
                              .predictions = predictions};
    *metrics = (reel_metrics){.n = pairs->n, .rmse = NAN, .mae = NAN, .r2 = NAN};
    if (pairs->n == 0) return REEL_OK;
    TRY(MEM_NEW(&job.chunks, n_chunks, err));
    TRY(MEM_NEW(&job.errors, threads, err));
    thread_pool_run(ctx->pool, n_chunks, measure_chunk, &job);
    TRY(first_failure(&job, n_chunks, threads, err));
    sum_chunks(job.chunks, n_chunks, pairs->n, metrics);
cleanup:
    mem_free(job.chunks);
    mem_free(job.errors);
    return status;
}
