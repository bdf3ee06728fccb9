/* Packs movie factors for the scoring operators: panels of TOPK_PANEL movies, feature-major, likely winners first. */
#include <math.h>

#include "core/error.h"
#include "core/mem.h"
#include "core/top_n.h"
#include "model/scorer.h"

struct pack_job {
    const struct reel_scorer *scorer;
    float *factors, *bias;
    int32_t *movies;
    uint64_t *keys; /* sorted: best bias first, then movie */
};

static void pack_panel(void *arg, int64_t panel, int worker) {
    (void)worker;
    const struct pack_job *job = arg;
    const struct reel_scorer *scorer = job->scorer;
    const struct factor_view *view = &scorer->view;
    int64_t first = panel * TOPK_PANEL, left = scorer->dataset->n_movies - first;
    float *out = job->factors + first * view->k;
    for (int64_t j = 0; j < TOPK_PANEL; j++) {
        int32_t movie = j < left ? (int32_t)top_n_rank(job->keys[first + j]) : -1;
        int32_t row = movie < 0 ? -1 : scorer_model_movie(scorer, movie);
        const float *factors = row < 0 ? scorer->zeros : view->movie_factors + (int64_t)row * view->stride;
        job->movies[first + j] = movie;
        job->bias[first + j] = row < 0 ? 0 : view->movie_bias[row];
        for (int f = 0; f < view->k; f++) out[f * TOPK_PANEL + j] = factors[f];
    }
}

/* Movies with a high bias first: they fill most top lists, so that a user's n-th best score is high early on and few
 * later movies pass it. */
static reel_status sort_movies(const struct reel_scorer *scorer, uint64_t **keys, reel_error *err) {
    int32_t n = scorer->dataset->n_movies;
    TRY_RETURN(MEM_RAW(keys, (size_t)n * 2, err));
    for (int32_t m = 0; m < n; m++) {
        int32_t row = scorer_model_movie(scorer, m);
        (*keys)[m] = top_n_key(row < 0 ? 0 : scorer->view.movie_bias[row], (uint32_t)m);
    }
    top_n_sort(*keys, (size_t)n, *keys + n);
    return REEL_OK;
}

reel_status scorer_pack(struct reel_scorer *scorer, reel_error *err) {
    reel_status status = REEL_OK;
    int32_t n = scorer->dataset->n_movies;
    int k = scorer->view.k;
    int64_t n_panels = (n + (int64_t)TOPK_PANEL - 1) / TOPK_PANEL;
    struct pack_job job = {.scorer = scorer};
    int32_t *positions = NULL;
    TRY(MEM_NEW(&scorer->zeros, k, err));
    TRY(sort_movies(scorer, &job.keys, err));
    TRY(MEM_RAW(&job.factors, (size_t)n_panels * (size_t)k * TOPK_PANEL, err));
    TRY(MEM_RAW(&job.bias, n_panels * TOPK_PANEL, err));
    TRY(MEM_RAW(&job.movies, n_panels * TOPK_PANEL, err));
    TRY(MEM_RAW(&positions, n, err));
    thread_pool_run(scorer->ctx->pool, n_panels, pack_panel, &job);
    for (int32_t i = 0; i < n; i++) positions[job.movies[i]] = i;
    scorer->panels = (struct factor_panels){n, k, n_panels, job.factors, job.bias, job.movies, positions};
    job.factors = NULL, job.bias = NULL, job.movies = NULL;
cleanup:
    mem_free(job.keys);
    mem_free(job.factors);
    mem_free(job.bias);
    mem_free(job.movies);
    if (status != REEL_OK) mem_free(positions);
    return status;
}

void scorer_pack_free(struct reel_scorer *scorer) {
    if (scorer->bulk.job.backend) job_memory_free(&scorer->bulk.job);
    mem_free(scorer->zeros);
    mem_free((void *)(uintptr_t)scorer->panels.factors);
    mem_free((void *)(uintptr_t)scorer->panels.bias);
    mem_free((void *)(uintptr_t)scorer->panels.movies);
    mem_free((void *)(uintptr_t)scorer->panels.positions);
}
