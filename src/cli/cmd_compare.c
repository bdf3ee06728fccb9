/* reel compare: several algorithms and parameter grids on the same folds, ranked. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "output.h"
#include "protocol.h"

enum { GRID_MAX = 16 };

struct compare_args {
    const char *dataset, *resume, *html;
    struct cli_list names, params, grid; /* as given */
    struct protocol_args protocol;
    struct cli_list algorithms;       /* split at commas */
    struct cli_list values[GRID_MAX]; /* of each axis */
    reel_grid_axis axes[GRID_MAX];
    char *copies[CLI_LIST_MAX + GRID_MAX]; /* texts cut in place */
    size_t n_copies;
};

static int parse(struct cli *cli, int argc, char **argv, struct compare_args *args) {
    const struct cli_option options[] = {
        {"--models", "-m", CLI_LIST, &args->names, "A,B,...", "algorithms: mean,bias,svd,..."},
        {"--param", "-p", CLI_LIST, &args->params, "[ALGO.]KEY=VALUE", "a parameter of all that have it, or of one"},
        {"--grid", "-g", CLI_LIST, &args->grid, "[ALGO.]KEY=V1,V2", "try each value; several make all combinations"},
        {"--resume", NULL, CLI_TEXT, &args->resume, "DIR", "keep finished fits there, and go on from those it has"},
        {"--html", NULL, CLI_TEXT, &args->html, "FILE", "also write one HTML page with plots"},
        PROTOCOL_OPTIONS(args->protocol),
        {"--train", NULL, CLI_LIST, &args->protocol.train_files, "FILE", "a ready training part; with --test, again"},
        {"--test", NULL, CLI_LIST, &args->protocol.test_files, "FILE", "the test part that goes with --train"},
        {0},
    };
    int status = cli_parse(cli, "DATASET -m A,B,... [--grid KEY=V1,V2]...",
                           "Fits several models on the same folds and ranks them by RMSE.",
                           "reel compare ml.reel -m mean,bias,svd --grid factors=50,100", options, argc, argv,
                           &args->dataset, 1, 1);
    if (status == CLI_OK) protocol_algorithm_help(NULL);
    return status;
}

/* *out = a copy that may be cut up; freed with the arguments. Returns -1 to go on, else an exit status. */
static int own_copy(const struct cli *cli, struct compare_args *args, const char *text, char **out) {
    *out = strdup(text);
    if (!*out) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    args->copies[args->n_copies++] = *out;
    return -1;
}

static int cut_grid(const struct cli *cli, struct compare_args *args) {
    if (args->grid.n > GRID_MAX) return cli_usage(cli, "at most %d --grid options are possible", GRID_MAX);
    for (size_t g = 0; g < args->grid.n; g++) {
        char *key;
        int status = own_copy(cli, args, args->grid.items[g], &key);
        if (status >= 0) return status;
        char *equals = strchr(key, '=');
        if (!equals || equals == key || !cli_split_commas(equals + 1, &args->values[g]))
            return cli_usage(cli, "--grid takes key=value,value,... (found '%s')", args->grid.items[g]);
        *equals = '\0';
        args->axes[g] = (reel_grid_axis){key, args->values[g].items, args->values[g].n};
    }
    return -1;
}

static int cut_names(const struct cli *cli, struct compare_args *args) {
    for (size_t i = 0; i < args->names.n; i++) {
        char *names;
        int status = own_copy(cli, args, args->names.items[i], &names);
        if (status >= 0) return status;
        if (!cli_split_commas(names, &args->algorithms))
            return cli_usage(cli, "-m takes names separated by commas (found '%s')", args->names.items[i]);
    }
    return args->algorithms.n ? -1 : cli_usage(cli, "-m A,B,... is missing");
}

/* ---- output ---- */

static json_t *model_json(const reel_compared *model, int rank) {
    json_t *object = protocol_cv_json(&model->cv);
    protocol_add(&object, "rank", model->status == REEL_OK ? json_integer(rank) : json_null());
    protocol_add(&object, "params", json_string(model->params));
    protocol_add(&object, "rmse", protocol_real(model->cv.mean.rmse));
    protocol_add(&object, "mae", protocol_real(model->cv.mean.mae));
    protocol_add(&object, "r2", protocol_real(model->cv.mean.r2));
    if (model->status != REEL_OK) protocol_add(&object, "error", json_string(model->message));
    return object;
}

static int print_json(const struct cli *cli, const reel_dataset *dataset, const char *described,
                      const reel_compare_report *report) {
    json_t *models = json_array();
    for (int i = 0; i < report->n_models; i++) protocol_append(&models, model_json(&report->models[i], i + 1));
    json_t *object = json_pack("{s:o,s:s,s:o,s:I}", "models", models, "protocol", described, "seconds",
                               protocol_real(report->seconds), "peak_rss_bytes", (json_int_t)report->peak_rss_bytes);
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static void print_report(const char *described, const reel_compare_report *report) {
    printf("%d model%s on %s\n\n", report->n_models, report->n_models == 1 ? "" : "s", described);
    printf("%4s  %-8s %8s %8s %8s %8s %10s %10s  %s\n", "rank", "model", "RMSE", "+-", "MAE", "R2", "fit s",
           "predict s", "parameters");
    for (int i = 0; i < report->n_models; i++) {
        const reel_compared *model = &report->models[i];
        const reel_cv_report *cv = &model->cv;
        if (model->status != REEL_OK)
            printf("   -  %-8s failed: %s  %s\n", cv->algorithm, model->message, model->params);
        else
            printf("%4d  %-8s %8.4f %8.4f %8.4f %8.4f %10.3f %10.3f  %s\n", i + 1, cv->algorithm, cv->mean.rmse,
                   cv->std.rmse, cv->mean.mae, cv->mean.r2, cv->fit_seconds, cv->test_seconds, model->params);
    }
    printf("\n%.1f s in all, peak memory %.0f MiB\n", report->seconds, (double)report->peak_rss_bytes / (1024 * 1024));
}

static int write_html(const struct cli *cli, const char *path, const char *described,
                      const reel_compare_report *report) {
    reel_error err;
    char *page = reel_compare_html(report, described);
    struct output *out = calloc(1, sizeof *out);
    reel_status status = page && out ? output_begin(out, path, &err) : REEL_NO_MEMORY;
    if (!page || !out) err = (reel_error){REEL_NO_MEMORY, "out of memory"};
    if (status == REEL_OK) {
        output_text(out, page);
        status = output_commit(out, &err);
    }
    if (out) output_abort(out);
    free(out);
    reel_string_free(page);
    if (status != REEL_OK) return cli_fail(cli, &err);
    if (!cli->quiet) fprintf(stderr, "reel: wrote %s\n", path);
    return CLI_OK;
}

static int compare(struct cli *cli, const char *path, const char *html, const reel_compare_options *options) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_compare_report report = {0};
    int status = CLI_OK;
    char described[100];
    protocol_describe(&options->protocol, described, sizeof described);
    if (reel_dataset_open(cli->ctx, path, &dataset, &err) != REEL_OK ||
        reel_compare(cli->ctx, dataset, options, &report, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (html)
        status = write_html(cli, html, described, &report);
    if (report.models && status == CLI_OK && cli->json)
        status = print_json(cli, dataset, described, &report);
    else if (report.models && status == CLI_OK)
        print_report(described, &report);
    reel_compare_report_free(&report);
    reel_dataset_free(dataset);
    return status;
}

static int run(struct cli *cli, struct compare_args *args) {
    reel_param params[CLI_LIST_MAX];
    reel_compare_options options;
    reel_compare_options_default(&options);
    int status = cut_names(cli, args);
    if (status < 0) status = cut_grid(cli, args);
    if (status < 0) status = protocol_parse(cli, &args->protocol, &options.protocol);
    if (status < 0) status = cli_params(cli, &args->params, params);
    if (status >= 0) return status;
    options.algorithms = args->algorithms.items;
    options.n_algorithms = args->algorithms.n;
    options.params = params;
    options.n_params = args->params.n;
    options.grid = args->axes;
    options.n_grid = args->grid.n;
    options.seed = (uint64_t)cli->seed;
    options.resume = args->resume;
    status = args->html ? protocol_check_output(cli, args->html) : -1;
    if (status < 0) status = cli_context(cli);
    if (status < 0) status = compare(cli, args->dataset, args->html, &options);
    cli_params_free(params, args->params.n);
    return status;
}

int cmd_compare(struct cli *cli, int argc, char **argv) {
    struct compare_args *args = calloc(1, sizeof *args);
    if (!args) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    int status = parse(cli, argc, argv, args);
    if (status < 0) status = run(cli, args);
    for (size_t i = 0; i < args->n_copies; i++) free(args->copies[i]);
    free(args);
    return status;
}
