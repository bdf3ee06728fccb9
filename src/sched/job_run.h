/* Runs one job with the library's own calls. */
#ifndef SCHED_JOB_RUN_H
#define SCHED_JOB_RUN_H

#include "sched/job_spec.h"
#include "sched/scheduler.h"

struct job_place {
    int64_t id;
    const char *dataset, *models_dir;
    int checkpoint_every;
    scheduler_done_fn done;
    void *arg;
};

/* *result = what the job found out, a JSON object (the caller's, to free). A training goes on from the checkpoint in
 * models_dir/job-ID/ if there is one. CANCELLED leaves it there. */
reel_status job_run(reel_context *ctx, const struct job_spec *spec, const struct job_place *place, char **result,
                    reel_error *err);
/* Removes models_dir/job-ID/ with its checkpoints, if it is there. */
void job_run_forget(const struct job_place *place);

#endif
