/* Puts what the bulk operators read where the scorer's device reads it, a part at a time, each once. */
#include "core/error.h"
#include "model/scorer.h"

static size_t padded(const struct factor_panels *panels) {
    return (size_t)panels->n_panels * TOPK_PANEL;
}

static size_t user_floats(const struct reel_scorer *scorer) {
    return (size_t)scorer->model->n_users * (size_t)scorer->view.stride;
}

static size_t movie_floats(const struct reel_scorer *scorer) {
    return (size_t)scorer->model->n_movies * (size_t)scorer->view.stride;
}

static size_t bytes_of(const struct reel_scorer *scorer, int part) {
    const struct factor_panels *panels = &scorer->panels;
    const struct ratings *ratings = &scorer->dataset->ratings;
    switch (part) {
    case SCORER_USERS:
        return sizeof(float) * (user_floats(scorer) + (size_t)scorer->model->n_users);
    case SCORER_MOVIES:
        return sizeof(float) * (movie_floats(scorer) + (size_t)scorer->model->n_movies);
    case SCORER_PANELS:
        return padded(panels) * (sizeof(float) * ((size_t)panels->k + 1) + 2 * sizeof(int32_t));
    case SCORER_SEEN:
        return sizeof(int64_t) * ((size_t)ratings->n_users + 1) + sizeof(int32_t) * (size_t)ratings->n_ratings;
    default:
        return forest_plan_bytes(scorer->planned);
    }
}

static reel_status place(const struct reel_scorer *scorer, int part, struct scorer_bulk *bulk, reel_error *err) {
    const struct factor_panels *panels = &scorer->panels;
    const struct ratings *ratings = &scorer->dataset->ratings;
    struct job_memory *job = &bulk->job;
    switch (part) {
    case SCORER_USERS:
        TRY_RETURN(JOB_CONSTANT(job, &bulk->user_factors, scorer->view.user_factors, user_floats(scorer), err));
        return JOB_CONSTANT(job, &bulk->user_bias, scorer->view.user_bias, scorer->model->n_users, err);
    case SCORER_MOVIES:
        TRY_RETURN(JOB_CONSTANT(job, &bulk->movie_factors, scorer->view.movie_factors, movie_floats(scorer), err));
        return JOB_CONSTANT(job, &bulk->movie_bias, scorer->view.movie_bias, scorer->model->n_movies, err);
    case SCORER_PANELS:
        bulk->panels = *panels;
        TRY_RETURN(JOB_CONSTANT(job, &bulk->panels.factors, panels->factors, padded(panels) * (size_t)panels->k, err));
        TRY_RETURN(JOB_CONSTANT(job, &bulk->panels.bias, panels->bias, padded(panels), err));
        TRY_RETURN(JOB_CONSTANT(job, &bulk->panels.movies, panels->movies, padded(panels), err));
        return JOB_CONSTANT(job, &bulk->panels.positions, panels->positions, panels->n_movies, err);
    case SCORER_SEEN:
        TRY_RETURN(JOB_CONSTANT(job, &bulk->seen_offsets, ratings->user_offsets, ratings->n_users + 1, err));
        return JOB_CONSTANT(job, &bulk->seen_movies, ratings->user_movies, ratings->n_ratings, err);
    default:
        return forest_plan_place(scorer->planned, job, &bulk->plan, err);
    }
}

reel_status scorer_place(struct reel_scorer *scorer, int parts, reel_error *err) {
    reel_status status = REEL_OK;
    struct scorer_bulk *bulk = &scorer->bulk;
    const int missing = parts & ~bulk->placed;
    size_t bytes = 0;
    if (!missing) return REEL_OK;
    bulk->job.backend = scorer->device;
    for (int part = 1; part < SCORER_PARTS_END; part *= 2)
        if (missing & part) bytes += bytes_of(scorer, part);
    TRY(job_reserve(&bulk->job, "scoring", bytes, err));
    for (int part = 1; part < SCORER_PARTS_END; part *= 2)
        if (missing & part) TRY(place(scorer, part, bulk, err));
    bulk->placed |= missing;
    return REEL_OK;
cleanup:
    job_memory_free(&bulk->job);
    bulk->placed = 0;
    return status;
}
