/* Models to and from other programs. */
#ifndef REEL_INTERCHANGE_H
#define REEL_INTERCHANGE_H

#include <reel/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Writes what is in a model or cluster file into a folder (made if it is not there): each tensor as <tensor>.npy, and
 * the trees of gbdt, forest and tree as forest.json, which XGBoost loads. *json (to free with reel_string_free) is
 * {"kind":"model","algorithm":...,"files":[...]}. UNSUPPORTED for a dataset; every file appears complete or not at all.
 */
REEL_API reel_status reel_export(reel_context *ctx, const char *path, const char *folder, char **json, reel_error *err);

typedef struct reel_import_model_options {
    int tmdb_genres;            /* 1: genre columns are those of movies_metadata.csv, else the dataset's own */
    const char *const *columns; /* (n_columns,) CSVs of more feature columns (docs/trees.md) */
    size_t n_columns;
} reel_import_model_options;

/* Reads trees that XGBoost (JSON) or LightGBM (text) saved. Their features must have the names of the columns of the
 * feature star (docs/trees.md), which is built from all ratings of `dataset`. The result is a model of algorithm
 * "imported". `options` may be NULL. BAD_INPUT names file, line or tree, and what is wrong. */
REEL_API reel_status reel_import_model(reel_context *ctx, const reel_dataset *dataset, const char *path,
                                       const reel_import_model_options *options, reel_model **out, reel_error *err);

#ifdef __cplusplus
}
#endif
#endif
