/* What a job is to do: its JSON (see sched/scheduler.h), checked in full. */
#ifndef SCHED_JOB_SPEC_H
#define SCHED_JOB_SPEC_H

#include <jansson.h>
#include <reel/cluster.h>
#include <reel/eval.h>
#include "core/mem.h"

enum job_kind { JOB_TRAIN, JOB_CV, JOB_CLUSTER, JOB_PRECOMPUTE };
enum { JOB_PRIORITY_MAX = 100, JOB_NAME_MAX = 32, JOB_PARAMS_MAX = 64 };

struct job_spec {
    enum job_kind kind;
    int priority;
    uint64_t seed;
    char algorithm[JOB_NAME_MAX + 1]; /* train, cv */
    reel_param params[JOB_PARAMS_MAX];
    size_t n_params;
    double holdout; /* train: 0 <= h < 1 */
    reel_split_kind split;
    int folds;                    /* cv: 2..250 */
    reel_cluster_options cluster; /* cluster; its model stays NULL */
    char model[JOB_NAME_MAX + 1]; /* train, precompute: name of a model file */
    struct arena texts;           /* of params */
};

/* "train", "cv", "cluster", "precompute". */
const char *job_kind_name(enum job_kind kind);
/* 1 for [a-z0-9_-]{1,32}: such a name cannot leave a folder. */
int job_name_valid(const char *name);
/* BAD_INPUT says which field is wrong; NO_MEMORY. Free the spec, whatever the result. */
reel_status job_spec_parse(const json_t *json, struct job_spec *spec, reel_error *err);
void job_spec_free(struct job_spec *spec);

#endif
