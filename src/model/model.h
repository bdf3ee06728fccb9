/* Inside of models and trainers.
 *
 * A model file (safetensors, metadata format = "reel-model", version = "1") has, for every algorithm,
 *   user_ids I32 (U,), movie_ids I32 (M,)  ids of the dataset it was trained on, ascending
 * and the algorithm's own tensors, listed in its file under src/model/. Metadata: "algorithm", "params.<key>"
 * (every parameter, defaults included), "seed", "dataset.fingerprint", "n_ratings" (trained on),
 * "scale.min"/"scale.max" (half stars), "holdout", "metrics.n"/"metrics.rmse"/"metrics.mae"/"metrics.r2" where a part
 * was held out, "build.commit". No times, no host names: the same run gives the same bytes.
 *
 * One table entry an algorithm: how to fit it, how to check its tensors, how to score with it. A trained
 * model and an opened one go through the same `bind`. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <reel/model.h>
#include "core/context.h"
#include "core/tensor_file.h"
#include "data/dataset.h"
#include "data/ratings.h"

/* ---- parameters ---- */

enum param_type { PARAM_INT, PARAM_REAL, PARAM_BOOL, PARAM_CHOICE, PARAM_TEXT };
struct param_spec {
    const char *key;
    enum param_type type;
    const char *default_value; /* as text */
    double min, max;           /* inclusive, INT and REAL; NaN and infinities are always refused */
    const char *choices;       /* CHOICE: "a|b|c" */
    const char *help;          /* one line */
};
#define PARAMS_MAX 40
struct param_values {
    const struct param_spec *specs;
    size_t n;
    double number[PARAMS_MAX];    /* INT, REAL, BOOL (0/1), CHOICE (index) */
    const char *text[PARAMS_MAX]; /* as given, or the default; owned by the caller's reel_param array */
    uint8_t given[PARAMS_MAX];
};
/* Checks keys, types and ranges; an unknown key lists the known ones (INVALID_ARGUMENT). */
reel_status params_parse(const struct param_spec *specs, size_t n_specs, const reel_param *params, size_t n_params,
                         struct param_values *out, reel_error *err);
double params_number(const struct param_values *values, const char *key); /* key must exist */
const char *params_text(const struct param_values *values, const char *key);
/* A parameter whose default is "" is unset until given: its number is NaN.
 * Puts "params.<key>" of every set parameter, in one spelling a value, so that model bytes do not depend on it. */
reel_status params_put(const struct param_values *values, struct tensor_set *set, reel_error *err);
/* The parameters a model was trained with, from its metadata; the texts belong to the set. CORRUPT on bad ones. */
reel_status params_of_set(const struct tensor_set *set, const struct param_spec *specs, size_t n_specs,
                          struct param_values *out, reel_error *err);

/* ---- fitting ---- */

struct fit_input {
    const struct reel_dataset *dataset; /* titles, genres, years, ids; its ratings include the test part */
    const struct ratings *ratings;      /* what to train on; has what the algorithm's `needs` ask for */
    const struct rating_pairs *test;    /* held out, NULL or n = 0 where there is none */
    const struct param_values *params;
    int leak_means; /* 1: feature means are taken from dataset->ratings, test part included */
    uint64_t seed;
    const char *checkpoint; /* folder or NULL */
    int checkpoint_every;   /* steps (epochs, iterations, samples) from one checkpoint to the next */
    int resume;             /* 1: go on from the newest good checkpoint */
    const char *stage;      /* prefix of progress stages ("fold 2/5 "), never NULL */
};

/* What a fit tells beside its tensors. */
struct fit_output {
    reel_epoch *epochs; /* (n_epochs,), malloc'd, handed to the caller; NULL if none */
    int n_epochs;
    int64_t visited;         /* ratings visited in all, for ratings/s */
    double fit_seconds;      /* set by the trainer: without set-up of tests and metrics */
    float *test_predictions; /* (test->n,) malloc'd by the trainer where it predicts best during training
                                (bmf's running averages), unclipped stars; else NULL */
};
/* Appends one epoch's record. */
reel_status fit_output_epoch(struct fit_output *output, reel_epoch epoch, reel_error *err);

/* ---- scoring ---- */

struct reel_model {
    const struct algorithm *algorithm;
    struct tensor_set *set;
    int32_t n_users, n_movies;
    const int32_t *user_ids, *movie_ids;
    float scale_min, scale_max; /* stars */
    void *state;                /* the algorithm's view, made by bind, freed by unbind */
};

struct fold_in_explain {
    int32_t movie;
    float share;
};

struct factor_view;
struct forest;

struct algorithm {
    const char *name;
    const char *summary; /* one line */
    const struct param_spec *params;
    size_t n_params;
    int needs; /* enum ratings_need */
    /* 1: fills fit_output.test_predictions, so cross-validation shows it the test pairs; it may neither stop nor tune
     * by them. Others see none there. */
    int predicts_test;
    int checkpoints; /* 1: fit writes checkpoints and resumes */
    /* Fits and adds its tensors to `set` (user_ids, movie_ids and common metadata are put by the caller). */
    reel_status (*fit)(reel_context *ctx, const struct fit_input *input, struct tensor_set *set,
                       struct fit_output *output, reel_error *err);
    /* Validates its tensors (shapes, bounds, finite values) and makes model->state. CORRUPT on a bad file. */
    reel_status (*bind)(struct reel_model *model, reel_error *err);
    void (*unbind)(struct reel_model *model); /* NULL if bind makes nothing */
    /* Raw scores (unclipped stars) for n rows of model indices (-1 = unknown); times may be NULL; sds may be
     * NULL, and is left alone by models that have none. Thread-safe. `dataset` is the one the scorer is bound to,
     * NULL during training; `ratings` what the model may look at (never the test part). */
    reel_status (*predict)(const struct reel_model *model, int64_t n, const int32_t *users, const int32_t *movies,
                           const uint32_t *times, float *scores, float *sds, reel_error *err);
    /* Raw scores (n_movies,) of one user for every movie, model indices. NULL = loop over predict. */
    reel_status (*score_movies)(const struct reel_model *model, int32_t user, uint32_t time, float *scores, float *sds,
                                reel_error *err);
    /* The same for a visitor with n ratings (model indices, stars), by fold-in. NULL = unsupported. */
    reel_status (*fold_in)(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                           uint32_t time, float *scores, float *sds, reel_error *err);
    /* Splits the visitor's score of `movie` over the n rated movies: shares (n,) in stars. NULL = unsupported. */
    reel_status (*explain)(const struct reel_model *model, int64_t n, const int32_t *movies, const float *stars,
                           int32_t movie, float *shares, reel_error *err);
    /* Movie factors (n_movies, k) for similarity, row stride *stride floats; NULL = has none. */
    const float *(*movie_factors)(const struct reel_model *model, int *k, int *stride);
    /* Factors and biases for top-N by GEMM; fields below; NULL = none. */
    int (*factor_view)(const struct reel_model *model, struct factor_view *view);
    /* The trees (model/forest.h) whose sum the score is, for scoring in bulk; NULL = none. */
    const struct forest *(*forest_view)(const struct reel_model *model);
};

/* score(u, m) = mean + user_bias[u] + movie_bias[m] + <user_factors[u], movie_factors[m]> */
struct factor_view {
    int k, stride;
    int pairs; /* 1: the algorithm's predict has the bits of predict_pairs (backend/topk_ops.h) of this view */
    float mean;
    const float *user_bias, *movie_bias;       /* (n_users,), (n_movies,) */
    const float *user_factors, *movie_factors; /* (n_users, stride), (n_movies, stride) */
};

/* Entry by name, NULL if there is none. */
const struct algorithm *algorithm_find(const char *name);
/* Puts ids and the metadata that all models have. */
reel_status model_put_common(struct tensor_set *set, const struct algorithm *algorithm, const struct fit_input *input,
                             reel_error *err);
/* Makes a bound model of a finished tensor set; takes the set over, also on failure. */
reel_status model_from_set(struct tensor_set *set, struct reel_model **out, reel_error *err);
/* For bind: the F32 tensor of this shape (-1 = any), every value finite, else CORRUPT. *last_dim may be NULL. */
reel_status model_require_floats(const struct reel_model *model, const char *name, int n_dims, const int64_t *shape,
                                 const float **out, int64_t *last_dim, reel_error *err);
/* Fits `algorithm` and returns a bound model. The one door for train, cv and compare. `output` is zeroed first. */
reel_status model_fit(reel_context *ctx, const struct algorithm *algorithm, const struct fit_input *input,
                      struct reel_model **out, struct fit_output *output, reel_error *err);
/* Clipped predictions and metrics on pairs of the training dataset, in parallel. `predictions` (pairs->n,) may be
 * NULL; `given` are unclipped predictions to use instead of the model's (fit_output.test_predictions), or NULL. */
reel_status model_measure(reel_context *ctx, const struct reel_model *model, const struct rating_pairs *pairs,
                          const float *given, float *predictions, reel_metrics *metrics, reel_error *err);

extern const struct algorithm algorithm_mean, algorithm_bias, algorithm_svd;
extern const struct algorithm algorithm_als, algorithm_bmf, algorithm_blend;
extern const struct algorithm algorithm_gbdt, algorithm_forest, algorithm_tree;
extern const struct algorithm algorithm_imported;
extern const struct algorithm algorithm_adaboost, algorithm_linear;

#endif
