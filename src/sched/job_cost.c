#include "sched/job_cost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the process itself, its libraries and buffers take. */
#define FLOOR_BYTES ((int64_t)64 << 20)
enum {
    PART_BYTES = 16,         /* a rating copied into a training and a test part, both orders */
    CLUSTER_BYTES = 2560,    /* a clustered user: profile, feature map, blocks of eigenvectors */
    SUGGESTION_BYTES = 2048, /* a user, precomputed: 150 movies and scores, and their part of the cache */
    DEFAULT_KEEP = 16,       /* samples that bmf keeps */
    DEFAULT_FACTORS = 100
};

/* Bytes a rating and copies of the factor tables, beside the mapped dataset; fitted to peaks measured on 20 M ratings,
 * with a fifth to spare. */
static const struct {
    const char *algorithm;
    int rating_bytes, factor_tables;
} costs[] = {
    {"mean", 1, 0},  {"bias", 1, 0},    {"svd", 10, 3},      {"als", 5, 3},    {"bmf", 5, 4},    {"gbdt", 10, 0},
    {"tree", 14, 0}, {"forest", 14, 0}, {"adaboost", 24, 0}, {"linear", 2, 0}, {"blend", 60, 3}, /* its members'
                                                                                                    largest, with their
                                                                                                    out-of-fold
                                                                                                    predictions */
};

static double parameter(const struct job_spec *spec, const char *key, double otherwise) {
    for (size_t i = 0; i < spec->n_params; i++)
        if (strcmp(spec->params[i].key, key) == 0) return strtod(spec->params[i].value, NULL);
    return otherwise;
}

static double fit_bytes(const struct job_spec *spec, const struct dataset_size *size) {
    double rating_bytes = 24, tables = 3;
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        if (strcmp(costs[i].algorithm, spec->algorithm) != 0) continue;
        rating_bytes = costs[i].rating_bytes;
        tables = costs[i].factor_tables;
    }
    if (strcmp(spec->algorithm, "bmf") == 0) tables += parameter(spec, "keep", DEFAULT_KEEP);
    double factors = parameter(spec, "factors", DEFAULT_FACTORS) + 16;
    double rows = (double)size->n_users + (double)size->n_movies;
    if (spec->kind == JOB_CV || spec->holdout > 0) rating_bytes += PART_BYTES;
    return rating_bytes * (double)size->n_ratings + tables * rows * factors * (double)sizeof(float);
}

int64_t job_cost_bytes(const struct job_spec *spec, const struct dataset_size *size) {
    double bytes = (double)FLOOR_BYTES + (double)size->file_bytes;
    switch (spec->kind) {
    case JOB_TRAIN:
    case JOB_CV:
        bytes += fit_bytes(spec, size);
        break;
    case JOB_CLUSTER:
        bytes += CLUSTER_BYTES * (double)size->n_users;
        break;
    case JOB_PRECOMPUTE:
        bytes += (double)size->n_users * SUGGESTION_BYTES;
        break;
    }
    return bytes < 9e18 ? (int64_t)bytes : INT64_MAX;
}

int64_t memory_available_bytes(void) {
    FILE *file = fopen("/proc/meminfo", "r");
    char line[256];
    long long kib = -1;
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (sscanf(line, "MemAvailable: %lld kB", &kib) != 1) kib = -1;
    if (file) fclose(file);
    return kib >= 0 ? (int64_t)kib * 1024 : INT64_MAX;
}
