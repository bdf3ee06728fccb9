#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- protocols ---- */

int protocol_split(const struct cli *cli, const char *text, reel_split_kind *out) {
    *out = REEL_SPLIT_RANDOM;
    if (!text || strcmp(text, "random") == 0) return -1;
    if (strcmp(text, "time") == 0)
        *out = REEL_SPLIT_TIME;
    else if (strcmp(text, "per-user") == 0)
        *out = REEL_SPLIT_PER_USER;
    else
        return cli_usage(cli, "--split must be random, time or per-user (found '%s')", text);
    return -1;
}

int protocol_of_system_a(const char *name, reel_user_range *users, int *leak_means) {
    int leaks = strcmp(name, "seed-a") == 0;
    if (!leaks && strcmp(name, "honest-a") != 0) return 0;
    *users = (reel_user_range){101, 999};
    *leak_means = leaks;
    return 1;
}

static int parse_name(const struct cli *cli, const struct protocol_args *args, reel_protocol *out) {
    const char *name = args->protocol ? args->protocol : "cv5";
    if (protocol_of_system_a(name, &out->users, &out->leak_means) || strcmp(name, "holdout") == 0)
        out->holdout = 0.1;
    else if (strcmp(name, "time") == 0)
        out->split = REEL_SPLIT_TIME;
    else if (strcmp(name, "cv5") != 0)
        return cli_usage(cli, "--protocol must be cv5, holdout, time, seed-a or honest-a (found '%s')", name);
    return -1;
}

static int use_files(const struct cli *cli, const struct protocol_args *args, reel_protocol *out) {
    if (args->train_files.n != args->test_files.n)
        return cli_usage(cli, "--train and --test come in pairs (found %zu and %zu)", args->train_files.n,
                         args->test_files.n);
    if (args->train_files.n && (args->protocol || args->split || args->folds || args->holdout > 0))
        return cli_usage(cli, "ready folds (--train, --test) are taken as they stand: no other split goes with them");
    out->train_files = args->train_files.items;
    out->test_files = args->test_files.items;
    out->n_files = args->train_files.n;
    return -1;
}

int protocol_parse(const struct cli *cli, const struct protocol_args *args, reel_protocol *out) {
    reel_protocol_default(out);
    out->seed = (uint64_t)cli->seed;
    int status = parse_name(cli, args, out);
    if (status >= 0) return status;
    if (args->split) {
        status = protocol_split(cli, args->split, &out->split);
        if (status >= 0) return status;
    }
    if (args->holdout != 0) out->holdout = args->holdout;
    if (out->holdout != 0 && args->folds) return cli_usage(cli, "--folds and --holdout exclude each other");
    if (out->holdout == 0 && args->repeats) return cli_usage(cli, "--repeats goes with --holdout");
    if (out->holdout != 0)
        out->folds = args->repeats ? args->repeats : 1;
    else if (args->folds)
        out->folds = args->folds;
    return use_files(cli, args, out);
}

void protocol_describe(const reel_protocol *protocol, char *out, size_t size) {
    const char *kind = protocol->split == REEL_SPLIT_PER_USER ? "per-user" : "random";
    if (protocol->n_files)
        snprintf(out, size, "%zu ready fold%s", protocol->n_files, protocol->n_files == 1 ? "" : "s");
    else if (protocol->split == REEL_SPLIT_TIME)
        snprintf(out, size, "the newest %g %% of each user's ratings",
                 100 * (protocol->holdout > 0 ? protocol->holdout : 0.1));
    else if (protocol->holdout > 0)
        snprintf(out, size, "%d %s holdout%s of %g %%", protocol->folds, kind, protocol->folds == 1 ? "" : "s",
                 100 * protocol->holdout);
    else
        snprintf(out, size, "%d %s folds", protocol->folds, kind);
}

/* ---- algorithms and outputs ---- */

/* The first line of an algorithm's help. */
static void print_summary(const char *algorithm) {
    char *text = reel_algorithm_help(algorithm);
    if (text) printf("  %.*s\n", (int)strcspn(text, "\n"), text);
    reel_string_free(text);
}

void protocol_algorithm_help(const char *algorithm) {
    if (!algorithm) {
        printf("\nalgorithms (reel train -m ALGO --help lists the parameters of one):\n");
        for (const char *const *name = reel_algorithms(); *name; name++) print_summary(*name);
        return;
    }
    char *text = reel_algorithm_help(algorithm);
    if (text) printf("\n%s", text);
    reel_string_free(text);
}

/* The library writes a new file beside `path` and renames it; so that is what is tried. */
int protocol_check_output(const struct cli *cli, const char *path) {
    reel_error err = {.status = REEL_IO};
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        snprintf(err.message, sizeof err.message, "%.500s: cannot be written: is not a regular file", path);
        return cli_fail(cli, &err);
    }
    size_t size = strlen(path) + 40;
    char *probe = malloc(size);
    if (!probe) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    snprintf(probe, size, "%s.%ld.probe.tmp", path, (long)getpid());
    int fd = open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int code = errno;
    if (fd >= 0) {
        close(fd);
        unlink(probe);
    }
    free(probe);
    if (fd >= 0) return -1;
    snprintf(err.message, sizeof err.message, "%.500s: cannot be written: %s", path, strerror(code));
    return cli_fail(cli, &err);
}

/* ---- JSON ---- */

static void drop_if(int failed, json_t **json) {
    if (!failed) return;
    json_decref(*json);
    *json = NULL;
}

void protocol_add(json_t **json, const char *key, json_t *value) {
    if (!*json)
        json_decref(value);
    else
        drop_if(json_object_set_new(*json, key, value) != 0, json);
}

void protocol_append(json_t **json, json_t *value) {
    if (!*json)
        json_decref(value);
    else
        drop_if(json_array_append_new(*json, value) != 0, json);
}

json_t *protocol_real(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *protocol_metrics(const reel_metrics *metrics) {
    return json_pack("{s:o,s:o,s:o}", "rmse", protocol_real(metrics->rmse), "mae", protocol_real(metrics->mae), "r2",
                     protocol_real(metrics->r2));
}

json_t *protocol_ranking(const reel_ranking *ranking) {
    return json_pack("{s:i,s:f,s:I,s:o,s:o,s:o,s:o,s:o,s:o}", "n", ranking->n, "relevant", ranking->relevant, "n_users",
                     (json_int_t)ranking->n_users, "precision", protocol_real(ranking->precision), "recall",
                     protocol_real(ranking->recall), "ndcg", protocol_real(ranking->ndcg), "map",
                     protocol_real(ranking->map), "hit_rate", protocol_real(ranking->hit_rate), "coverage",
                     protocol_real(ranking->coverage));
}

void protocol_print_ranking(const char *name, const reel_ranking *ranking) {
    printf("%s top %d for %s users (relevant: %g stars or more): precision %.4f  recall %.4f  NDCG %.4f  MAP %.4f  "
           "hit rate %.4f  coverage %.4f\n",
           name, ranking->n, cli_thousands(ranking->n_users), ranking->relevant, ranking->precision, ranking->recall,
           ranking->ndcg, ranking->map, ranking->hit_rate, ranking->coverage);
}

static json_t *fold_json(const reel_fold *fold) {
    json_t *object = protocol_metrics(&fold->test);
    if (fold->ranking.n) protocol_add(&object, "ranking", protocol_ranking(&fold->ranking));
    protocol_add(&object, "n", json_integer(fold->test.n));
    protocol_add(&object, "fit_seconds", protocol_real(fold->fit_seconds));
    protocol_add(&object, "test_seconds", protocol_real(fold->test_seconds));
    return object;
}

json_t *protocol_cv_json(const reel_cv_report *report) {
    json_t *folds = json_array();
    for (int f = 0; f < report->n_folds; f++) protocol_append(&folds, fold_json(&report->folds[f]));
    return json_pack("{s:s,s:o,s:o,s:o,s:I,s:o,s:o,s:I}", "algo", report->algorithm, "folds", folds, "mean",
                     protocol_metrics(&report->mean), "std", protocol_metrics(&report->std), "n",
                     (json_int_t)report->mean.n, "fit_seconds", protocol_real(report->fit_seconds), "test_seconds",
                     protocol_real(report->test_seconds), "peak_rss_bytes", (json_int_t)report->peak_rss_bytes);
}

void protocol_add_origin(const struct cli *cli, const reel_dataset *dataset, json_t **object) {
    reel_dataset_info info;
    reel_dataset_get_info(dataset, &info);
    protocol_add(object, "fingerprint", json_string(info.fingerprint));
    protocol_add(object, "seed", json_integer(cli->seed));
    protocol_add(object, "threads", json_integer(reel_context_threads(cli->ctx)));
    protocol_add(object, "device", json_string(reel_context_backend(cli->ctx)));
    protocol_add(object, "commit", json_string(reel_build_commit()));
}
