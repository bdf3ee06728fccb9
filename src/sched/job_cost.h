/* How much memory a job will need, from the sizes of the dataset and the job's parameters. */
#ifndef SCHED_JOB_COST_H
#define SCHED_JOB_COST_H

#include <stdint.h>
#include "sched/job_spec.h"

struct dataset_size {
    int64_t n_users, n_movies, n_ratings;
    int64_t file_bytes; /* mapped, and touched by most jobs */
};

/* Bytes at the peak, a little more than measured ones. */
int64_t job_cost_bytes(const struct job_spec *spec, const struct dataset_size *size);
/* Bytes that the machine could give away now; INT64_MAX where the system does not tell. */
int64_t memory_available_bytes(void);

#endif
