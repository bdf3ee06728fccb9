/* Splits, cross-validation, model comparison and evaluation. */
#ifndef REEL_EVAL_H
#define REEL_EVAL_H

#include <reel/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which ratings are trained on and which are tested on, once or several times. */
typedef struct reel_protocol {
    int folds; /* 2..250 parts, each tested once; the time split has one fold */
    reel_split_kind split;
    double holdout; /* > 0: no folds, but `folds` >= 1 splits that hold this share out, with seeds seed, seed + 1 ... */
    uint64_t seed;
    reel_user_range users; /* others are neither trained nor tested on */
    int leak_means;        /* 1: feature means from all ratings, held-out ones included */
    const char *const
        *train_files;              /* ready folds: (n_files,) CSVs of ratings that the dataset has; NULL = split here */
    const char *const *test_files; /* (n_files,) */
    size_t n_files;
} reel_protocol;

/* cv5: five random folds. */
REEL_API void reel_protocol_default(reel_protocol *protocol);

/* How good top-n lists are: users with a relevant held-out movie are asked for their n best unseen movies. Means over
 * these users; NaN without any. */
typedef struct reel_ranking {
    int n;            /* length of the lists; 0 = not measured */
    double relevant;  /* stars from which a held-out movie counts as relevant */
    int64_t n_users;  /* users measured */
    double precision; /* relevant ones among the n */
    double recall;    /* share of the relevant ones that are listed */
    double ndcg;      /* normalised discounted cumulative gain, binary relevance */
    double map;       /* mean average precision, over min(relevant, n) */
    double hit_rate;  /* users with at least one hit */
    double coverage;  /* share of all movies that are in anybody's list */
} reel_ranking;

typedef struct reel_cv_options {
    const char *algorithm;
    const reel_param *params; /* (n_params,) */
    size_t n_params;
    reel_protocol protocol;
    uint64_t seed;   /* of the fits; each fold's is the same */
    int ranking_n;   /* > 0: measure lists of this length too */
    double relevant; /* see reel_ranking; default 4 */
} reel_cv_options;

typedef struct reel_fold {
    reel_metrics test;
    reel_ranking ranking; /* n = 0 where not asked for */
    double fit_seconds, test_seconds;
} reel_fold;

typedef struct reel_cv_report {
    char algorithm[32];
    reel_fold *folds; /* (n_folds,), owned by the report */
    int n_folds;
    reel_metrics mean;                /* mean over folds; n = rows tested in all */
    reel_metrics std;                 /* population standard deviation over folds; n as in mean */
    double fit_seconds, test_seconds; /* mean a fold */
    int64_t peak_rss_bytes;
} reel_cv_report;

REEL_API void reel_cv_options_default(reel_cv_options *options);
REEL_API reel_status reel_cv(reel_context *ctx, const reel_dataset *dataset, const reel_cv_options *options,
                             reel_cv_report *report, reel_error *err);
REEL_API void reel_cv_report_free(reel_cv_report *report);

/* Values of one parameter to try. "key" is for every algorithm that has such a parameter, "svd.key" for one. */
typedef struct reel_grid_axis {
    const char *key;
    const char *const *values; /* (n_values,) */
    size_t n_values;
} reel_grid_axis;

typedef struct reel_compare_options {
    const char *const *algorithms; /* (n_algorithms,) */
    size_t n_algorithms;
    const reel_param *params; /* (n_params,); keys as in reel_grid_axis */
    size_t n_params;
    const reel_grid_axis *grid; /* (n_grid,): every combination is a model of its own */
    size_t n_grid;
    reel_protocol protocol;
    uint64_t seed;
    const char *resume; /* folder that finished fits are kept in, and taken from if it has some of this comparison; NULL
                           = none */
} reel_compare_options;

typedef struct reel_compared {
    char *params;       /* "factors=50 epochs=10": what was given, "" for the defaults */
    reel_status status; /* not OK: this model failed (a diverged fit); its figures are NaN and it is ranked last */
    char message[640];  /* why; "" when OK */
    reel_cv_report cv;
} reel_compared;

typedef struct reel_compare_report {
    reel_compared *models; /* (n_models,) by mean RMSE, best first; owned by the report */
    int n_models;
    double seconds;
    int64_t peak_rss_bytes;
} reel_compare_report;

REEL_API void reel_compare_options_default(reel_compare_options *options);
/* Fits every model on the same folds. Names, parameters and ranges are all checked before the first fit. MISMATCH where
 * `resume` holds another comparison. */
REEL_API reel_status reel_compare(reel_context *ctx, const reel_dataset *dataset, const reel_compare_options *options,
                                  reel_compare_report *report, reel_error *err);
/* The ranking as one self-contained page with plots; `about` is a line under its heading. To free with
 * reel_string_free; NULL when memory is out. */
REEL_API char *reel_compare_html(const reel_compare_report *report, const char *about);
REEL_API void reel_compare_report_free(reel_compare_report *report);

typedef struct reel_split_report {
    int n_folds;
    int64_t *train_counts, *test_counts; /* (n_folds,), owned by the report */
} reel_split_report;

/* Writes fold<i>.train.csv and fold<i>.test.csv (userId,movieId,rating,timestamp) for i = 1..folds into `out_dir`
 * (made if missing); all of them appear together at the end. */
REEL_API reel_status reel_split(reel_context *ctx, const reel_dataset *dataset, reel_split_kind kind, int folds,
                                uint64_t seed, const char *out_dir, reel_split_report *report, reel_error *err);
REEL_API void reel_split_report_free(reel_split_report *report);

/* Metrics of a model on a CSV of ratings. The model may come from another dataset: it is bound by ids, and what it
 * does not know drops out of the prediction. MISMATCH if it knows none of the dataset's users and movies. */
REEL_API reel_status reel_eval(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                               const char *test_file, reel_metrics *metrics, reel_error *err);

/* Predictive intervals: score +- quantile times the predictive standard deviation, of a normal distribution. */
typedef struct reel_intervals {
    int64_t n;       /* ratings measured; 0 for models without deviations, and then the others are NaN */
    double level;    /* what the intervals should cover: 0.9 */
    double coverage; /* the share of the ratings that lies in them */
    double width;    /* mean half width, stars */
} reel_intervals;

/* How honest a model's deviations are, on a CSV of ratings; bound as in reel_eval. */
REEL_API reel_status reel_eval_intervals(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                         const char *test_file, reel_intervals *intervals, reel_error *err);

/* Ranking metrics of a model on a CSV of ratings; movies the user rated elsewhere in the dataset are left out of the
 * lists. MISMATCH unless the model was trained on this dataset. */
REEL_API reel_status reel_eval_ranking(reel_context *ctx, const reel_dataset *dataset, const reel_model *model,
                                       const char *test_file, int n, double relevant, reel_ranking *ranking,
                                       reel_error *err);

/* Which ratings become rows of a table of features. */
typedef enum reel_features_part {
    REEL_FEATURES_ALL,   /* all ratings of the dataset; the protocol does not count */
    REEL_FEATURES_TRAIN, /* the training part of the protocol's first fold */
    REEL_FEATURES_TEST   /* its test part, with the features of its training part */
} reel_features_part;

typedef struct reel_features_options {
    reel_protocol protocol;
    reel_features_part part;
    const reel_param *params; /* (n_params,): means, genres, year, hour, columns, factors_of */
    size_t n_params;
    uint64_t seed;   /* of factors_of */
    int with_rating; /* 1: the rating in stars as a last column */
} reel_features_options;

typedef struct reel_features_report {
    int64_t n_rows;
    int n_columns;
    char **columns; /* (n_columns,) names, owned by the report */
} reel_features_report;

REEL_API void reel_features_options_default(reel_features_options *options);
/* Writes what trees see of each rating, by user and movie: `path` ending in .npy gets a float32 array (n_rows,
 * n_columns), any other a CSV with a header whose numbers read back as the same floats. Atomic; memory does not grow
 * with the rows. */
REEL_API reel_status reel_features(reel_context *ctx, const reel_dataset *dataset, const reel_features_options *options,
                                   const char *path, reel_features_report *report, reel_error *err);
REEL_API void reel_features_report_free(reel_features_report *report);

#ifdef __cplusplus
}
#endif
#endif
