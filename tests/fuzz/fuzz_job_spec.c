/* Any bytes as a job's JSON: no crash, no read outside, no leak; an error is one line; a spec that is taken is in its
 * bounds, has names that cannot leave a folder, and its JSON is taken again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/json_text.h"
#include "sched/job_cost.h"
#include "sched/job_spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition) {
    if (!condition) abort();
}

static void check_spec(const struct job_spec *spec) {
    const struct dataset_size size = {138493, 26744, 20000263, 300000000};
    demand(spec->priority >= -JOB_PRIORITY_MAX && spec->priority <= JOB_PRIORITY_MAX);
    demand(spec->holdout >= 0 && spec->holdout < 1);
    demand(spec->n_params <= JOB_PARAMS_MAX);
    for (size_t i = 0; i < spec->n_params; i++) {
        demand(spec->params[i].key && spec->params[i].value);
        if (strcmp(spec->params[i].key, "init") == 0) demand(job_name_valid(spec->params[i].value));
    }
    if (spec->kind == JOB_TRAIN || spec->kind == JOB_CV) demand(job_name_valid(spec->algorithm));
    if (spec->kind == JOB_TRAIN || spec->kind == JOB_PRECOMPUTE) demand(job_name_valid(spec->model));
    if (spec->kind == JOB_CV) demand(spec->folds >= 2 && spec->folds <= 250);
    if (spec->kind == JOB_CLUSTER) demand(spec->cluster.k >= 2 && spec->cluster.k <= 64);
    demand(job_cost_bytes(spec, &size) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct job_spec spec;
    reel_error err = {0};
    json_t *json = json_loadb((const char *)data, size, 0, NULL);
    if (!json) return 0;
    reel_status status = job_spec_parse(json, &spec, &err);
    if (status == REEL_OK)
        check_spec(&spec);
    else
        demand(status == REEL_BAD_INPUT && err.status == status && *err.message && !strchr(err.message, '\n'));
    job_spec_free(&spec);
    char *text = json_text(json, JSON_COMPACT);
    json_t *again = json_loads(text, 0, NULL);
    demand(again != NULL && job_spec_parse(again, &spec, NULL) == status);
    job_spec_free(&spec);
    json_decref(again);
    free(text);
    json_decref(json);
    return 0;
}
