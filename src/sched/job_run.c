#include "sched/job_run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/error.h"
#include "core/file.h"
#include "core/json_text.h"
#include "model/model.h"

/* ---- paths ---- */

static reel_status path_in(const struct job_place *place, struct strbuf *path, const char *name, const char *suffix,
                           reel_error *err) {
    path->length = 0;
    strbuf_printf(path, "%s/%s%s", place->models_dir, name, suffix);
    return path->failed ? error_no_memory(err, strlen(place->models_dir)) : REEL_OK;
}

static reel_status checkpoint_dir(const struct job_place *place, struct strbuf *path, reel_error *err) {
    char name[32];
    snprintf(name, sizeof name, "job-%lld", (long long)place->id);
    return path_in(place, path, name, "", err);
}

void job_run_forget(const struct job_place *place) {
    struct strbuf path = {0};
    if (checkpoint_dir(place, &path, NULL) == REEL_OK) {
        const size_t length = path.length;
        for (int i = 0; i < 2; i++) {
            strbuf_printf(&path, "/checkpoint-%d.reel", i);
            if (!path.failed) unlink(path.data);
            if (!path.failed) path.data[path.length = length] = '\0';
        }
        if (!path.failed) rmdir(path.data);
    }
    strbuf_free(&path);
}

/* ---- results ---- */

/* NaN and infinity, which JSON lacks, become null. */
static json_t *real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static reel_status finish_result(json_t *object, char **result, reel_error *err) {
    *result = json_text(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(object);
    return *result ? REEL_OK : error_no_memory(err, 0);
}

static json_t *metrics_json(const reel_metrics *metrics) {
    return json_pack("{s:I,s:o,s:o,s:o}", "n", (json_int_t)metrics->n, "rmse", real(metrics->rmse), "mae",
                     real(metrics->mae), "r2", real(metrics->r2));
}

static reel_status train_result(const struct job_spec *spec, const reel_train_report *report, char **result,
                                reel_error *err) {
    json_t *object =
        json_pack("{s:s,s:s,s:I,s:o,s:o,s:I}", "model", spec->model, "algorithm", report->algorithm, "n_ratings",
                  (json_int_t)report->n_ratings, "fit_seconds", real(report->fit_seconds), "ratings_per_second",
                  real(report->ratings_per_second), "peak_rss_bytes", (json_int_t)report->peak_rss_bytes);
    if (object && report->test.n && json_object_set_new(object, "test", metrics_json(&report->test)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return finish_result(object, result, err);
}

static reel_status cv_result(const reel_cv_report *report, char **result, reel_error *err) {
    json_t *folds = json_array();
    for (int f = 0; folds && f < report->n_folds; f++) {
        const reel_fold *fold = &report->folds[f];
        json_t *item = metrics_json(&fold->test);
        if (item && json_object_set_new(item, "fit_seconds", real(fold->fit_seconds)) == 0 &&
            json_object_set_new(item, "test_seconds", real(fold->test_seconds)) == 0 &&
            json_array_append(folds, item) == 0) {
            json_decref(item);
            continue;
        }
        json_decref(item);
        json_decref(folds);
        return error_no_memory(err, 0);
    }
    return finish_result(json_pack("{s:s,s:o,s:o,s:o}", "algorithm", report->algorithm, "folds", folds, "mean",
                                   metrics_json(&report->mean), "std", metrics_json(&report->std)),
                         result, err);
}

static reel_status cluster_result(const reel_cluster_report *report, char **result, reel_error *err) {
    json_t *eigenvalues = json_array();
    for (int i = 0; eigenvalues && i < report->n_eigenvalues; i++) {
        if (json_array_append_new(eigenvalues, real(report->eigenvalues[i])) == 0) continue;
        json_decref(eigenvalues);
        eigenvalues = NULL;
    }
    return finish_result(json_pack("{s:i,s:I,s:I,s:I,s:i,s:o,s:I}", "k", report->k, "n_clustered",
                                   (json_int_t)report->n_clustered, "n_filtered", (json_int_t)report->n_filtered,
                                   "n_isolated", (json_int_t)report->n_isolated, "iterations", report->iterations,
                                   "eigenvalues", eigenvalues, "peak_rss_bytes", (json_int_t)report->peak_rss_bytes),
                         result, err);
}

/* ---- kinds ---- */

static reel_status tell(const struct job_place *place, reel_context *ctx, const struct job_spec *spec, const char *name,
                        const char *path, reel_error *err) {
    return place->done ? place->done(place->arg, ctx, job_kind_name(spec->kind), name, path, err) : REEL_OK;
}

/* "init" names a model: the trainer gets its path. Returns the parameters to use. */
static reel_status resolve_params(const struct job_spec *spec, const struct job_place *place, struct strbuf *path,
                                  reel_param params[JOB_PARAMS_MAX], reel_error *err) {
    memcpy(params, spec->params, spec->n_params * sizeof *params);
    for (size_t i = 0; i < spec->n_params; i++) {
        if (strcmp(params[i].key, "init") != 0) continue;
        TRY_RETURN(path_in(place, path, params[i].value, ".reel", err));
        params[i].value = path->data;
    }
    return REEL_OK;
}

static int takes_checkpoints(const char *name) {
    const struct algorithm *algorithm = algorithm_find(name);
    return algorithm && algorithm->checkpoints;
}

/* One that is in the way because the dataset has changed since is thrown away, and the fit starts anew. */
static reel_status fit(reel_context *ctx, const reel_dataset *dataset, const struct job_place *place,
                       const reel_train_options *options, reel_model **model, reel_train_report *report,
                       reel_error *err) {
    reel_status status = reel_train(ctx, dataset, options, model, report, err);
    if (status != REEL_MISMATCH || !options->resume) return status;
    job_run_forget(place);
    return reel_train(ctx, dataset, options, model, report, err);
}

static reel_status train(reel_context *ctx, const reel_dataset *dataset, const struct job_spec *spec,
                         const struct job_place *place, char **result, reel_error *err) {
    reel_status status = REEL_OK;
    struct strbuf dir = {0}, path = {0}, init = {0};
    reel_param params[JOB_PARAMS_MAX];
    reel_train_options options;
    reel_train_report report = {0};
    reel_model *model = NULL;
    reel_train_options_default(&options);
    TRY(checkpoint_dir(place, &dir, err));
    TRY(path_in(place, &path, spec->model, ".reel", err));
    TRY(resolve_params(spec, place, &init, params, err));
    options.algorithm = spec->algorithm;
    options.params = params;
    options.n_params = spec->n_params;
    options.seed = spec->seed;
    options.holdout = spec->holdout;
    options.holdout_split = spec->split;
    if (takes_checkpoints(spec->algorithm)) {
        options.checkpoint = dir.data;
        options.resume = 1;
        if (place->checkpoint_every > 0) options.checkpoint_every = place->checkpoint_every;
    }
    TRY(fit(ctx, dataset, place, &options, &model, &report, err));
    TRY(reel_model_save(ctx, model, path.data, err));
    TRY(train_result(spec, &report, result, err));
    TRY(tell(place, ctx, spec, spec->model, path.data, err));
cleanup:
    reel_train_report_free(&report);
    reel_model_free(model);
    strbuf_free(&init);
    strbuf_free(&path);
    strbuf_free(&dir);
    return status;
}

static reel_status cross_validate(reel_context *ctx, const reel_dataset *dataset, const struct job_spec *spec,
                                  const struct job_place *place, char **result, reel_error *err) {
    struct strbuf init = {0};
    reel_param params[JOB_PARAMS_MAX];
    reel_cv_options options;
    reel_cv_report report = {0};
    reel_cv_options_default(&options);
    reel_status status = resolve_params(spec, place, &init, params, err);
    options.algorithm = spec->algorithm;
    options.params = params;
    options.n_params = spec->n_params;
    options.seed = options.protocol.seed = spec->seed;
    options.protocol.folds = spec->folds;
    options.protocol.split = spec->split;
    if (status == REEL_OK) status = reel_cv(ctx, dataset, &options, &report, err);
    if (status == REEL_OK) status = cv_result(&report, result, err);
    reel_cv_report_free(&report);
    strbuf_free(&init);
    return status;
}

static reel_status cluster(reel_context *ctx, const reel_dataset *dataset, const struct job_spec *spec,
                           const struct job_place *place, char **result, reel_error *err) {
    reel_status status = REEL_OK;
    struct strbuf path = {0};
    reel_cluster_report report;
    reel_clusters *clusters = NULL;
    TRY(path_in(place, &path, "clusters", ".reel", err));
    TRY(reel_cluster(ctx, dataset, &spec->cluster, &clusters, &report, err));
    TRY(reel_clusters_save(ctx, clusters, path.data, err));
    TRY(cluster_result(&report, result, err));
    TRY(tell(place, ctx, spec, "clusters", path.data, err));
cleanup:
    reel_clusters_free(clusters);
    strbuf_free(&path);
    return status;
}

static reel_status precompute(reel_context *ctx, const struct job_spec *spec, const struct job_place *place,
                              char **result, reel_error *err) {
    if (!place->done)
        return error_set(err, REEL_UNSUPPORTED, "precompute fills a running service's cache: reel serve does it");
    TRY_RETURN(place->done(place->arg, ctx, job_kind_name(spec->kind), spec->model, "", err));
    return finish_result(json_pack("{s:s}", "model", spec->model), result, err);
}

reel_status job_run(reel_context *ctx, const struct job_spec *spec, const struct job_place *place, char **result,
                    reel_error *err) {
    reel_status status = REEL_OK;
    reel_dataset *dataset = NULL;
    *result = NULL;
    if (spec->kind == JOB_PRECOMPUTE) return precompute(ctx, spec, place, result, err);
    TRY(file_make_dir(place->models_dir, err));
    TRY(reel_dataset_open(ctx, place->dataset, &dataset, err));
    if (spec->kind == JOB_TRAIN)
        status = train(ctx, dataset, spec, place, result, err);
    else if (spec->kind == JOB_CV)
        status = cross_validate(ctx, dataset, spec, place, result, err);
    else
        status = cluster(ctx, dataset, spec, place, result, err);
cleanup:
    reel_dataset_free(dataset);
    if (status != REEL_OK) {
        free(*result);
        *result = NULL;
    }
    return status;
}
