/* reel jobs: what a service's scheduler shows and takes, from its store. */
#include "cli.h"

#ifndef REEL_WITH_SERVE
#define REEL_WITH_SERVE 0
#endif

#if REEL_WITH_SERVE

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <reel/serve.h>

enum { SPEC_MAX = 1 << 20 };

struct jobs_args {
    const char *store;
    struct cli_list submit, cancel;
    int64_t id, limit;
    int run;
    reel_jobs_run_options options;
};

static int parse(struct cli *cli, int argc, char **argv, struct jobs_args *args) {
    const struct cli_option options[] = {
        {"--submit", NULL, CLI_LIST, &args->submit, "SPEC", "a job to queue: a JSON file, - (stdin) or {...}"},
        {"--cancel", NULL, CLI_LIST, &args->cancel, "N", "stop job N, waiting or running; may be given again"},
        {"--id", NULL, CLI_COUNT, &args->id, "N", "show job N alone"},
        {"--limit", NULL, CLI_COUNT, &args->limit, "N", "show the newest N (default 20, 0 = all)"},
        {"--run", NULL, CLI_FLAG, &args->run, NULL, "run what waits, here and now, without a service"},
        {"--dataset", NULL, CLI_TEXT, &args->options.dataset, "DATASET", "with --run: the dataset"},
        {"--models", NULL, CLI_TEXT, &args->options.models_dir, "DIR", "with --run: where models and checkpoints go"},
        {"--max-running", NULL, CLI_INT, &args->options.max_running, "N", "with --run: jobs at a time (default 1)"},
        {"--memory", NULL, CLI_COUNT, &args->options.memory_bytes, "BYTES",
         "with --run: limit for all jobs (default: what is free)"},
        {0},
    };
    int status =
        cli_parse(cli, "STORE [--submit SPEC]... [--cancel N]... [--run --dataset DATASET --models DIR]",
                  "Lists the jobs of a service's store, newest first, after doing what else is asked for. A\n"
                  "running service notices new and cancelled jobs within a second. Jobs are JSON objects:\n"
                  "  {\"kind\":\"train\",\"algorithm\":\"svd\",\"params\":{\"factors\":50},\"model\":\"svd50\"}\n"
                  "  {\"kind\":\"cv\",\"algorithm\":\"als\",\"folds\":5}    {\"kind\":\"cluster\",\"k\":4}",
                  "reel jobs reel.db --submit '{\"kind\":\"cv\",\"algorithm\":\"svd\"}'", options, argc, argv,
                  &args->store, 1, 1);
    if (status >= 0) return status;
    if (args->run != (args->options.dataset != NULL) || args->run != (args->options.models_dir != NULL))
        return cli_usage(cli, "--run, --dataset DATASET and --models DIR go together");
    if (args->id < 0 || args->limit < 0) return cli_usage(cli, "--id and --limit cannot be negative");
    if (args->options.max_running < 1 || args->options.memory_bytes < 0)
        return cli_usage(cli, "--max-running must be at least 1, --memory at least 0");
    return -1;
}

/* ---- submitting and cancelling ---- */

static int fail(const struct cli *cli, reel_status status, const char *path, const char *what) {
    reel_error err = {.status = status};
    snprintf(err.message, sizeof err.message, "%.200s: %.400s", path, what);
    return cli_fail(cli, &err);
}

/* The spec's text, malloc'd. Returns -1 to go on, else an exit status. */
static int read_spec(const struct cli *cli, const char *source, char **text) {
    *text = source[0] == '{' ? strdup(source) : calloc(1, SPEC_MAX + 1);
    if (!*text) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    if (source[0] == '{') return -1;
    FILE *file = strcmp(source, "-") == 0 ? stdin : fopen(source, "rb");
    if (!file) return fail(cli, REEL_NOT_FOUND, source, "cannot be opened");
    size_t size = fread(*text, 1, SPEC_MAX, file);
    int bad = ferror(file) || size == SPEC_MAX || strlen(*text) != size;
    if (file != stdin) fclose(file);
    return bad ? fail(cli, REEL_BAD_INPUT, source, "cannot be read as text of less than 1 MiB") : -1;
}

static int submit(const struct cli *cli, const struct jobs_args *args) {
    for (size_t i = 0; i < args->submit.n; i++) {
        char *text = NULL;
        int64_t id;
        reel_error err;
        int status = read_spec(cli, args->submit.items[i], &text);
        if (status < 0 && reel_jobs_submit(args->store, text, &id, &err) != REEL_OK) {
            if (err.status == REEL_BAD_INPUT && args->submit.items[i][0] != '{')
                status = fail(cli, err.status, args->submit.items[i], err.message);
            else
                status = cli_fail(cli, &err);
        }
        free(text);
        if (status >= 0) return status;
        if (!cli->quiet && !cli->json) printf("job %" PRId64 " waits\n", id);
    }
    return -1;
}

static int cancel(const struct cli *cli, const struct jobs_args *args) {
    for (size_t i = 0; i < args->cancel.n; i++) {
        char *end;
        reel_error err;
        long long id = strtoll(args->cancel.items[i], &end, 10);
        if (*end || end == args->cancel.items[i] || id < 1)
            return cli_usage(cli, "--cancel takes a job's number (found '%s')", args->cancel.items[i]);
        if (reel_jobs_cancel(args->store, (int64_t)id, &err) != REEL_OK) {
            (void)cli_fail(cli, &err);
            return CLI_FAILED;
        }
        if (!cli->quiet && !cli->json) printf("job %lld is asked to stop\n", id);
    }
    return -1;
}

/* ---- the list ---- */

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* "epoch 3/20 41 %  rmse 0.8123" */
static void print_progress(const json_t *progress) {
    if (!json_is_object(progress)) return;
    const json_t *metric = json_object_get(progress, "metric");
    double done = json_number_value(json_object_get(progress, "done"));
    double total = json_number_value(json_object_get(progress, "total"));
    printf("  %s", text_of(progress, "stage"));
    if (total > 0) printf(" %.0f %%", 100 * done / total);
    if (json_is_number(metric)) printf("  %s %.4f", text_of(progress, "metric_name"), json_number_value(metric));
}

/* What a finished job found, in a few words. */
static void print_result(const json_t *result) {
    const json_t *test = json_object_get(result, "test"), *mean = json_object_get(result, "mean");
    const json_t *metrics = json_is_object(test) ? test : mean;
    if (json_is_number(json_object_get(metrics, "rmse")))
        printf("  RMSE %.4f", json_number_value(json_object_get(metrics, "rmse")));
    if (json_is_integer(json_object_get(result, "k")))
        printf("  %d clusters", (int)json_integer_value(json_object_get(result, "k")));
}

static void print_job(const json_t *job) {
    const json_t *spec = json_object_get(job, "spec");
    const char *state = text_of(job, "state");
    time_t created = (time_t)json_integer_value(json_object_get(job, "created"));
    char when[32] = "";
    struct tm local;
    if (localtime_r(&created, &local)) strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
    printf("%5lld  %-9s  %-10s  %-9s  %8d  %s", (long long)json_integer_value(json_object_get(job, "id")), state,
           text_of(job, "kind"), text_of(spec, "algorithm"), (int)json_integer_value(json_object_get(job, "priority")),
           when);
    if (strcmp(state, "running") == 0) print_progress(json_object_get(job, "progress"));
    if (strcmp(state, "done") == 0) print_result(json_object_get(job, "result"));
    if (strcmp(state, "failed") == 0) printf("  %s", text_of(job, "error"));
    putchar('\n');
}

static int print_jobs(const struct cli *cli, const struct jobs_args *args) {
    reel_error err;
    char *text;
    int limit = args->limit > INT32_MAX ? 0 : (int)args->limit;
    if (reel_jobs_list(args->store, args->id, limit, &text, &err) != REEL_OK) return cli_fail(cli, &err);
    json_t *jobs = cli_load_json(text), *job;
    size_t i;
    if (!jobs) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    if (cli->json) return cli_print_json(cli, json_pack("{s:o}", "jobs", jobs));
    if (cli->quiet || json_array_size(jobs) == 0) {
        if (!cli->quiet) printf("%s: no jobs\n", args->store);
        json_decref(jobs);
        return CLI_OK;
    }
    printf("%5s  %-9s  %-10s  %-9s  %8s  %s\n", "id", "state", "kind", "algorithm", "priority", "created");
    json_array_foreach(jobs, i, job) print_job(job);
    json_decref(jobs);
    return CLI_OK;
}

int cmd_jobs(struct cli *cli, int argc, char **argv) {
    struct jobs_args args = {.limit = 20};
    reel_error err;
    reel_jobs_run_options_default(&args.options);
    int status = parse(cli, argc, argv, &args);
    if (status < 0) status = cli_context(cli);
    if (status < 0) status = submit(cli, &args);
    if (status < 0) status = cancel(cli, &args);
    if (status >= 0) return status;
    args.options.store = args.store;
    args.options.device = cli->device;
    args.options.threads = cli->threads;
    if (args.run && reel_jobs_run(cli->ctx, &args.options, &err) != REEL_OK) return cli_fail(cli, &err);
    return print_jobs(cli, &args);
}

#else

int cmd_jobs(struct cli *cli, int argc, char **argv) {
    static const struct cli_option none[] = {{0}};
    if (argc == 1 && argv[0][0] == '-' && argv[0][1])
        return cli_parse(cli, "STORE",
                         "This build has no service, and so no jobs: it was configured with REEL_SERVE=OFF.",
                         "cmake -DREEL_SERVE=ON", none, argc, argv, NULL, 0, 0);
    return cli_fail(cli, &(reel_error){REEL_UNSUPPORTED, "this build has no service (REEL_SERVE=OFF)"});
}

#endif
