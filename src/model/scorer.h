/* Inside of a scorer: a model bound to a dataset. */
#ifndef MODEL_SCORER_H
#define MODEL_SCORER_H

#include "backend/job_memory.h"
#include "backend/topk_ops.h"
#include "model/forest_plan.h"
#include "model/model.h"

/* Parts of what the bulk operators read. */
enum scorer_part {
    SCORER_USERS = 1,  /* factors and biases */
    SCORER_PANELS = 2, /* of movies */
    SCORER_MOVIES = 4, /* factors and biases, a row a movie of the model */
    SCORER_SEEN = 8,
    SCORER_TREES = 16,
    SCORER_PARTS_END = 32
};

/* What the bulk operators read, on the scorer's device: its own arrays, or copies. */
struct scorer_bulk {
    struct job_memory job;
    int placed; /* parts that are there */
    const float *user_factors, *user_bias, *movie_factors, *movie_bias;
    struct factor_panels panels;
    struct forest_plan plan;
    const int64_t *seen_offsets;
    const int32_t *seen_movies;
};

struct reel_scorer {
    reel_context *ctx;
    const struct reel_dataset *dataset;
    const struct reel_model *model;
    /* Model index of a dataset index, -1 = unknown to the model; NULL = the same indices. */
    int32_t *user_map, *movie_map;  /* (n_users,), (n_movies,) of the dataset */
    struct backend *backend;        /* on host memory: single requests are too small for a device */
    struct backend *device;         /* the context's, for work in bulk; may be `backend` */
    struct scorer_bulk bulk;        /* made by scorer_place */
    int has_panels;                 /* the model has factors: the backend's operators score it */
    struct factor_view view;        /* users: model indices */
    struct factor_panels panels;    /* movies: dataset indices; unknown ones have zeros */
    float *zeros;                   /* (k,): the factors of an unknown user */
    struct forest_planned *planned; /* the model is trees that the backend's operators score; movies: dataset indices */
};

/* Packs the movie factors of scorer->view into scorer->panels. */
reel_status scorer_pack(struct reel_scorer *scorer, reel_error *err);
void scorer_pack_free(struct reel_scorer *scorer);
/* Puts parts of scorer->bulk on scorer->device, each once; they stay for the scorer's life. NO_MEMORY says how much
 * they need. */
reel_status scorer_place(struct reel_scorer *scorer, int parts, reel_error *err);

/* Before work in bulk: trees that no operator takes are scored by the CPU, with one line of notice under "auto";
 * UNSUPPORTED where a device was asked for by name. */
reel_status scorer_check_trees(const struct reel_scorer *scorer, reel_error *err);

static inline int32_t scorer_model_user(const struct reel_scorer *scorer, int32_t user) {
    return user < 0 || !scorer->user_map ? user : scorer->user_map[user];
}

static inline int32_t scorer_model_movie(const struct reel_scorer *scorer, int32_t movie) {
    return movie < 0 || !scorer->movie_map ? movie : scorer->movie_map[movie];
}

static inline float scorer_clip(const struct reel_scorer *scorer, float score) {
    const struct reel_model *model = scorer->model;
    return score < model->scale_min ? model->scale_min : score > model->scale_max ? model->scale_max : score;
}

/* Raw scores (n_movies,) of a known user by dataset index; `sds` (n_movies,) likewise, NaN where the model has none,
 * or NULL; `time` as in a query. Thread-safe. The one source of scores for recommend and recommend_many. */
reel_status scorer_user_scores(const struct reel_scorer *scorer, int32_t user, uint32_t time, float *scores, float *sds,
                               reel_error *err);
/* The same for a visitor with n ratings of dataset movies. */
reel_status scorer_visitor_scores(const struct reel_scorer *scorer, int64_t n, const int32_t *movies,
                                  const float *stars, uint32_t time, float *scores, float *sds, reel_error *err);
/* 1 if the filters of a query let this movie through. */
int scorer_movie_passes(const struct reel_scorer *scorer, const reel_recommend_query *query, int32_t movie);
/* Takes the movies that a user rated out of the running. */
void scorer_mask_seen(const struct reel_scorer *scorer, int32_t user, float *scores);
/* INVALID_ARGUMENT for users (n,) or movies outside of lowest..n-1. */
reel_status scorer_check_indices(const char *what, int64_t n, const int32_t *indices, int32_t lowest, int32_t end,
                                 reel_error *err);
/* INVALID_ARGUMENT unless users and movies (n,) are indices of the dataset or -1. */
reel_status scorer_check_pairs(const struct reel_scorer *scorer, int64_t n, const int32_t *users, const int32_t *movies,
                               reel_error *err);

#endif
