/* Training, models, and scoring with them. */
#ifndef REEL_MODEL_H
#define REEL_MODEL_H

#include <reel/dataset.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_model reel_model;
typedef struct reel_scorer reel_scorer;

/* One "key=value" of an algorithm's parameters, as text; names are the field's standard terms. */
typedef struct reel_param {
    const char *key;
    const char *value;
} reel_param;

/* Metrics of predictions clipped to the rating scale, in stars. */
typedef struct reel_metrics {
    int64_t n;   /* pairs measured; 0 makes the others NaN */
    double rmse; /* root mean squared error */
    double mae;  /* mean absolute error */
    double r2;   /* 1 - SSE / SST against the mean of the measured ratings */
} reel_metrics;

typedef enum reel_split_kind {
    REEL_SPLIT_RANDOM,  /* seeded permutation of all ratings */
    REEL_SPLIT_TIME,    /* per user, the last part by time is test */
    REEL_SPLIT_PER_USER /* per user, a seeded random part is test */
} reel_split_kind;

/* Which users take part, by how many ratings they have in the dataset; 0 = open end. */
typedef struct reel_user_range {
    int64_t min_ratings, max_ratings;
} reel_user_range;

typedef struct reel_train_options {
    const char *algorithm;    /* "mean", "bias", "svd", ... */
    const reel_param *params; /* (n_params,); an unknown key is an error that lists the known ones */
    size_t n_params;
    uint64_t seed;
    double holdout; /* share of ratings held out for metrics and early stopping, 0 <= h < 1 */
    reel_split_kind holdout_split;
    const char *test_file;  /* CSV of test ratings (removed from training), or NULL */
    reel_user_range users;  /* others are neither trained nor tested on */
    int leak_means;         /* 1: feature means from all ratings, held-out ones included (gbdt's means=all) */
    const char *checkpoint; /* folder for checkpoints, or NULL */
    int checkpoint_every;   /* epochs, iterations or samples from one checkpoint to the next; default 10 */
    int resume;             /* 1: go on from the newest good checkpoint, if there is one */
} reel_train_options;

typedef struct reel_epoch {
    int epoch;         /* 0 = before the first */
    double train_rmse; /* NaN where not measured */
    double test_rmse;  /* NaN without a held-out part */
    double seconds;    /* of training in this epoch */
} reel_epoch;

typedef struct reel_train_report {
    char algorithm[32];
    reel_metrics train; /* n = 0 where not measured */
    reel_metrics test;  /* n = 0 without a held-out part */
    reel_epoch *epochs; /* (n_epochs,), owned by the report */
    int n_epochs;
    int64_t n_ratings; /* trained on */
    double fit_seconds;
    double ratings_per_second; /* ratings visited a second of fitting */
    int64_t peak_rss_bytes;
} reel_train_report;

REEL_API void reel_train_options_default(reel_train_options *options);
/* Fits a model on a dataset. `report` may be NULL, else it is freed with reel_train_report_free. */
REEL_API reel_status reel_train(reel_context *ctx, const reel_dataset *dataset, const reel_train_options *options,
                                reel_model **out, reel_train_report *report, reel_error *err);
REEL_API void reel_train_report_free(reel_train_report *report);

/* Names of the algorithms, NULL-terminated static list, and one's parameters as help text (to free). */
REEL_API const char *const *reel_algorithms(void);
REEL_API char *reel_algorithm_help(const char *algorithm);

REEL_API reel_status reel_model_open(reel_context *ctx, const char *path, reel_model **out, reel_error *err);
/* Writes atomically and durably. The bytes depend on the model alone (no times, no host names). */
REEL_API reel_status reel_model_save(reel_context *ctx, const reel_model *model, const char *path, reel_error *err);
REEL_API void reel_model_free(reel_model *model);
/* Algorithm name; lives as long as the model. */
REEL_API const char *reel_model_algorithm(const reel_model *model);
/* Value of one metadata key ("seed", "dataset.fingerprint", "metrics.rmse", ...), or NULL. */
REEL_API const char *reel_model_metadata(const reel_model *model, const char *key);

/* What a model tells of itself beside its metadata, as a JSON object to free with reel_string_free; NULL when out of
 * memory. Models on hand-made features: "importances" [{"feature","share"}], largest first; gbdt: "train_loss" and,
 * with early stopping, "validation_loss", a number a tree. "{}" for the others. */
REEL_API char *reel_model_facts(const reel_model *model);

/* Binds a model to a dataset for scoring. A model trained on another dataset is bound by ids; users and
 * movies that it does not know get what is known (mean, bias), never NaN. Keeps pointers to all three
 * arguments, which must outlive it. A scorer's calls may run at the same time from several threads,
 * unless noted. */
REEL_API reel_status reel_scorer_new(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                     reel_scorer **out, reel_error *err);
REEL_API void reel_scorer_free(reel_scorer *scorer);

/* Scores n (user, movie[, time]) rows given by dense index, -1 = unknown; times may be NULL. Writes
 * scores (n,) in stars, clipped to the rating scale, and sds (n,), the predictive standard deviation,
 * where sds is not NULL (NaN for models that have none). */
REEL_API reel_status reel_scorer_predict(const reel_scorer *scorer, int64_t n, const int32_t *users,
                                         const int32_t *movies, const uint32_t *times, float *scores, float *sds,
                                         reel_error *err);
/* The same on all threads of the context. Not to be called from several threads at the same time. */
REEL_API reel_status reel_scorer_predict_many(reel_scorer *scorer, int64_t n, const int32_t *users,
                                              const int32_t *movies, const uint32_t *times, float *scores, float *sds,
                                              reel_error *err);

typedef struct reel_recommend_query {
    int32_t user;                /* dense index, or -1 for a visitor described by the ratings below */
    int64_t n_rated;             /* the visitor's ratings: */
    const int32_t *rated_movies; /* (n_rated,) dense indices, no duplicates */
    const float *rated_stars;    /* (n_rated,) 0.5..5 in half steps */
    int n;                       /* how many, >= 1 */
    int offset;                  /* how many of the best to leave out first */
    uint64_t genre_any;          /* keep movies with any of these genres; 0 = all */
    int year_from, year_to;      /* 0 = open end */
    int64_t min_ratings;         /* keep movies with at least this many ratings */
    int include_seen;            /* 1: rated movies too */
    int explain;                 /* how many explaining movies an item gets, 0..REEL_EXPLAIN_MAX */
    const uint8_t *candidates;   /* (n_movies,) 1 = allowed; NULL = all */
    uint32_t time;               /* "now" for models that know time; 0 = the dataset's newest rating */
} reel_recommend_query;

#define REEL_EXPLAIN_MAX 5

typedef struct reel_recommendation {
    int32_t movie;   /* dense index */
    float score;     /* stars, clipped to the scale */
    float raw_score; /* what the ranking used: score before clipping */
    float sd;        /* predictive standard deviation, NaN where the model has none. Models that are scored by their
                        factors tell it with explain > 0, for users of the dataset. */
    int n_explain;
    int32_t explain_movie[REEL_EXPLAIN_MAX]; /* rated movies that carried the score, strongest first */
    float explain_share[REEL_EXPLAIN_MAX];   /* stars each added to it (negative: took away) */
} reel_recommendation;

REEL_API void reel_recommend_query_default(reel_recommend_query *query);
/* The best unseen movies: by raw score descending, then movie id. Writes up to query->n entries to items
 * and the number written to *n_items. */
REEL_API reel_status reel_scorer_recommend(const reel_scorer *scorer, const reel_recommend_query *query,
                                           reel_recommendation *items, int *n_items, reel_error *err);

/* The top n for users (n_users,) at once, tiled, on all threads: movies (n_users, n) dense indices, -1 past the end,
 * and scores (n_users, n) stars, NaN past the end; the same lists and scores as of single calls. Of `filter` (NULL =
 * none) genre_any, years, min_ratings, candidates, include_seen and time count. Not to be called from several
 * threads at the same time. */
REEL_API reel_status reel_scorer_recommend_many(reel_scorer *scorer, int64_t n_users, const int32_t *users, int n,
                                                const reel_recommend_query *filter, int32_t *movies, float *scores,
                                                reel_error *err);

typedef enum reel_similarity {
    REEL_SIMILAR_GENRE,   /* cosine of TF-IDF genre vectors (smooth idf, L2), "(no genres listed)" a token */
    REEL_SIMILAR_FACTORS, /* cosine of movie factors; needs a model that has them */
    REEL_SIMILAR_GENOME,  /* cosine of tag genome relevances; needs a dataset with a genome */
    REEL_SIMILAR_RATINGS  /* adjusted cosine over the common users, shrunk by their number n: times n/(n+100) */
} reel_similarity;

typedef struct reel_similar_movie {
    int32_t movie;    /* dense index */
    float similarity; /* -1..1 */
} reel_similar_movie;

/* What similarity queries of one kind need, computed once. Keeps pointers to its arguments, which must outlive
 * it; `model` may be NULL except for FACTORS. Errors: UNSUPPORTED (a model without factors, a dataset without a
 * genome), NO_MEMORY. */
typedef struct reel_similar_index reel_similar_index;
REEL_API reel_status reel_similar_index_new(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                            reel_similarity by, reel_similar_index **out, reel_error *err);
REEL_API void reel_similar_index_free(reel_similar_index *index);
/* The n movies most like `movie`, itself left out; ties by number of ratings (most first), then id. Movies that
 * cannot be compared (unknown to the model, without genome, without a common user) are left out; when `movie`
 * itself is of that kind the answer is empty. May be called from several threads at the same time. */
REEL_API reel_status reel_similar_index_query(const reel_similar_index *index, int32_t movie, int n,
                                              reel_similar_movie *items, int *n_items, reel_error *err);
/* The lists of movies (n_movies,), dense indices, at once: similar (n_movies, n) dense indices, -1 past the end, and
 * similarities (n_movies, n), NaN past the end; what single queries answer, ties included. On all threads, and for
 * FACTORS and GENOME on the context's device (at most 2,048 a list on a GPU; similarities then differ in the last
 * places where the CPU has no fused multiply-adds). Works in tiles: memory does not grow with n_movies squared. RATINGS
 * takes a query's time for each movie. Not to be called from several threads at the same time. */
REEL_API reel_status reel_similar_index_query_many(reel_similar_index *index, int64_t n_movies, const int32_t *movies,
                                                   int n, int32_t *similar, float *similarities, reel_error *err);
/* One query without an index to keep. */
REEL_API reel_status reel_similar(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                  int32_t movie, reel_similarity by, int n, reel_similar_movie *items, int *n_items,
                                  reel_error *err);

#ifdef __cplusplus
}
#endif
#endif
