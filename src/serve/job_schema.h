/* JSON Schema of a job as it is posted. It allows what a job may set over HTTP: of each algorithm the parameters that
 * are numbers, switches and choices (not those that name files), in ranges that the trainers accept. */
#ifndef SERVE_JOB_SCHEMA_H
#define SERVE_JOB_SCHEMA_H

#include "serve/schemas.h"

#define JOB_INT(key, low, high)  "\"" key "\":{\"type\":\"integer\",\"minimum\":" #low ",\"maximum\":" #high "}"
#define JOB_REAL(key, low, high) "\"" key "\":{\"type\":\"number\",\"minimum\":" #low ",\"maximum\":" #high "}"
#define JOB_BOOL(key)            "\"" key "\":{\"type\":\"boolean\"}"
#define JOB_CHOICE(key, ...)     "\"" key "\":{\"type\":\"string\",\"enum\":[" #__VA_ARGS__ "]}"

#define JOB_PARAMS_mean JOB_CHOICE("of", "all", "user", "movie")
#define JOB_PARAMS_bias JOB_INT("epochs", 0, 1000) "," JOB_REAL("reg_u", 0, 1e6) "," JOB_REAL("reg_i", 0, 1e6)
#define JOB_PARAMS_svd                                                                                                                                                                         \
    JOB_INT("factors", 1, 1024)                                                                                                                                                                \
    "," JOB_INT("epochs", 0, 1000) "," JOB_BOOL("biased") "," JOB_REAL("init_mean", -1, 1) "," JOB_REAL("init_std", 0, 1) "," JOB_REAL("learning_rate", 0, 0.1) "," JOB_REAL(                  \
        "regularization", 0,                                                                                                                                                                   \
        10) "," JOB_REAL("learning_rate_bu", 0,                                                                                                                                                \
                         0.1) "," JOB_REAL("learning_rate_bi", 0,                                                                                                                              \
                                           0.1) "," JOB_REAL("learning_rate_pu", 0,                                                                                                            \
                                                             0.1) "," JOB_REAL("learning_rate_qi", 0,                                                                                          \
                                                                               0.1) "," JOB_REAL("regularization_bu",                                                                          \
                                                                                                 0,                                                                                            \
                                                                                                 10) "," JOB_REAL("re"                                                                         \
                                                                                                                  "gu"                                                                         \
                                                                                                                  "la"                                                                         \
                                                                                                                  "ri"                                                                         \
                                                                                                                  "za"                                                                         \
                                                                                                                  "ti"                                                                         \
                                                                                                                  "on"                                                                         \
                                                                                                                  "_b"                                                                         \
                                                                                                                  "i",                                                                         \
                                                                                                                  0,                                                                           \
                                                                                                                  10) "," JOB_REAL("regularization_pu",                                        \
                                                                                                                                   0,                                                          \
                                                                                                                                   10) "," JOB_REAL("regularization_qi",                       \
                                                                                                                                                    0,                                         \
                                                                                                                                                    10) "," JOB_INT("early_stopping",          \
                                                                                                                                                                    0,                         \
                                                                                                                                                                    1000) "," JOB_INT("bands", \
                                                                                                                                                                                      0,       \
                                                                                                                                                                                      64)
#define JOB_PARAMS_als                                                                                                  \
    JOB_INT("factors", 1, 256)                                                                                          \
    "," JOB_INT("iterations", 0, 1000) "," JOB_REAL("regularization", 1e-6, 1e6) "," JOB_BOOL("weighted") "," JOB_BOOL( \
        "implicit") "," JOB_REAL("alpha", 1e-6,                                                                         \
                                 1e6) "," JOB_REAL("init_std", 0,                                                       \
                                                   100) "," JOB_CHOICE("solver", "cholesky",                            \
                                                                       "cg") "," JOB_INT("cg_steps", 1,                 \
                                                                                         1000) "," JOB_INT("early_"     \
                                                                                                           "stopping",  \
                                                                                                           0, 1000)
#define JOB_PARAMS_bmf                                                                                           \
    JOB_INT("factors", 1, 256)                                                                                   \
    "," JOB_INT("samples", 1, 10000) "," JOB_INT("burn_in", 0, 10000) "," JOB_INT("keep", 1, 1024) "," JOB_BOOL( \
        "time") "," JOB_BOOL("implicit_sets") "," JOB_BOOL("flipped") "," JOB_REAL("init_std", 0, 100)
#define JOB_PARAMS_gbdt                                                                                                           \
    JOB_CHOICE("loss", "squared", "absolute", "huber", "quantile")                                                                \
    "," JOB_REAL("alpha", 0.001, 0.999) "," JOB_INT("n_estimators", 1, 10000) "," JOB_REAL("learning_rate", 1e-6, 1) "," JOB_INT( \
        "max_depth", 1,                                                                                                           \
        8) "," JOB_INT("min_samples_split", 2,                                                                                    \
                       1000000000) "," JOB_INT("min_samples_leaf", 1,                                                             \
                                               1000000000) "," JOB_CHOICE("means", "train",                                       \
                                                                          "all") "," JOB_CHOICE("genres", "movielens",            \
                                                                                                "tmdb") "," JOB_BOOL("year") "," JOB_BOOL("hour")

#define JOB_STAR                               \
    JOB_CHOICE("means", "train", "all", "loo") \
    "," JOB_CHOICE("genres", "movielens", "tmdb") "," JOB_BOOL("year") "," JOB_BOOL("hour")
#define JOB_TREE                                                                                                 \
    JOB_INT("max_depth", 1, 64)                                                                                  \
    "," JOB_INT("min_samples_split", 2, 1000000000) "," JOB_INT("min_samples_leaf", 1, 1000000000) "," JOB_REAL( \
        "max_features", 0.001, 1) "," JOB_STAR
#define JOB_PARAMS_forest             \
    JOB_INT("n_estimators", 1, 10000) \
    "," JOB_BOOL("bootstrap") "," JOB_REAL("max_samples", 0.001, 1) "," JOB_BOOL("oob") "," JOB_TREE
#define JOB_PARAMS_tree JOB_TREE
#define JOB_PARAMS_adaboost          \
    JOB_INT("n_estimators", 1, 1000) \
    "," JOB_REAL("learning_rate", 1e-6, 100) "," JOB_CHOICE("loss", "linear", "square", "exponential") "," JOB_TREE
#define JOB_PARAMS_linear JOB_REAL("alpha", 0, 1e12) "," JOB_STAR

/* clang-format off */
#define JOB_PRIORITY JSON("priority":{"type":"integer","minimum":-100,"maximum":100})
#define JOB_COMMON   JSON("seed":{"type":"integer","minimum":0,"maximum":9007199254740991},) JOB_PRIORITY
#define JOB_SPLIT    JSON("split":{"type":"string","enum":["random","time","per-user"]})
#define JOB_FITTED(algorithm)                                                                                        \
    JSON("algorithm":{"const":) "\"" #algorithm "\"" JSON(},"params":{"type":"object","additionalProperties":false, \
    "properties":{) JOB_PARAMS_##algorithm JSON(}},) JOB_SPLIT JSON(,) JOB_COMMON

#define JOB_TRAIN(algorithm)                                                                                         \
    JSON({"type":"object","additionalProperties":false,"required":["kind","algorithm"],"properties":{"kind":{"const":"train"}, \
    "holdout":{"type":"number","minimum":0,"maximum":0.9},"model":) SCHEMA_MODEL_NAME JSON(,) JOB_FITTED(algorithm) JSON(}})
#define JOB_CV(algorithm)                                                                                            \
    JSON({"type":"object","additionalProperties":false,"required":["kind","algorithm"],"properties":{"kind":{"const":"cv"}, \
    "folds":{"type":"integer","minimum":2,"maximum":250},) JOB_FITTED(algorithm) JSON(}})
#define JOB_CLUSTER                                                                                                  \
    JSON({"type":"object","additionalProperties":false,"required":["kind"],"properties":{"kind":{"const":"cluster"}, \
    "k":{"type":"integer","minimum":2,"maximum":64},                                                                 \
    "affinity":{"type":"string","enum":["cosine","linear","polynomial","rbf","neighbors"]},                          \
    "min_ratings":) SCHEMA_ID JSON(,"max_ratings":) SCHEMA_ID JSON(,) JOB_COMMON JSON(}})
#define JOB_PRECOMPUTE                                                                                               \
    JSON({"type":"object","additionalProperties":false,"required":["kind","model"],"properties":{                    \
    "kind":{"const":"precompute"},"model":) SCHEMA_MODEL_NAME                                                        \
    JSON(,"n":{"type":"integer","minimum":1,"maximum":1000},) JOB_COMMON JSON(}})

#define JOB_EACH(kind)                                                                                               \
    kind(mean) "," kind(bias) "," kind(svd) "," kind(als) "," kind(bmf) "," kind(gbdt) "," kind(forest) ","          \
    kind(tree) "," kind(adaboost) "," kind(linear)
#define JOB_SCHEMA JSON({"oneOf":[) JOB_EACH(JOB_TRAIN) "," JOB_EACH(JOB_CV) "," JOB_CLUSTER "," JOB_PRECOMPUTE JSON(]})
/* clang-format on */

#endif
