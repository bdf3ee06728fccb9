/* reel features: the wide table of features, for other programs. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "protocol.h"

struct features_args {
    const char *dataset, *out, *part;
    int with_rating;
    struct cli_list params;
    struct protocol_args protocol;
};

static int parse(struct cli *cli, int argc, char **argv, struct features_args *args) {
    const struct cli_option options[] = {
        {"--output", "-o", CLI_TEXT, &args->out, "FILE", "where to: .npy (float32) or CSV"},
        {"--param", "-p", CLI_LIST, &args->params, "KEY=VALUE",
         "means, genres, year, hour, columns or factors_of, as reel train -m gbdt --help has them"},
        {"--part", NULL, CLI_TEXT, &args->part, "PART", "train (default with a protocol) or test: that part's rows"},
        {"--with-rating", NULL, CLI_FLAG, &args->with_rating, NULL, "the rating as a last column"},
        PROTOCOL_OPTIONS(args->protocol),
        {0},
    };
    int status =
        cli_parse(cli, "DATASET -o FILE [--protocol P --part train|test]",
                  "Writes what trees see of each rating, by user and movie; without a protocol of all ratings.",
                  "reel features ml.reel -o features.npy --protocol honest-a --part train", options, argc, argv,
                  &args->dataset, 1, 1);
    if (status >= 0) return status;
    return args->out ? -1 : cli_usage(cli, "-o FILE is missing");
}

static int choose_part(const struct cli *cli, const struct features_args *args, reel_features_options *options) {
    const struct protocol_args *given = &args->protocol;
    int protocol = given->protocol || given->split || given->folds || given->holdout != 0 || given->repeats;
    if (!args->part)
        options->part = protocol ? REEL_FEATURES_TRAIN : REEL_FEATURES_ALL;
    else if (!protocol)
        return cli_usage(cli, "--part goes with a protocol");
    else if (strcmp(args->part, "train") == 0)
        options->part = REEL_FEATURES_TRAIN;
    else if (strcmp(args->part, "test") == 0)
        options->part = REEL_FEATURES_TEST;
    else
        return cli_usage(cli, "--part must be train or test (found '%s')", args->part);
    return -1;
}

static int print_json(const struct cli *cli, const reel_dataset *dataset, const char *path,
                      const reel_features_report *report) {
    json_t *columns = json_array();
    for (int c = 0; c < report->n_columns; c++) protocol_append(&columns, json_string(report->columns[c]));
    json_t *object = json_pack("{s:o,s:I,s:s}", "columns", columns, "n_rows", (json_int_t)report->n_rows, "file", path);
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static int write_features(struct cli *cli, const struct features_args *args, const reel_features_options *options) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_features_report report = {0};
    int status = CLI_OK;
    if (reel_dataset_open(cli->ctx, args->dataset, &dataset, &err) != REEL_OK ||
        reel_features(cli->ctx, dataset, options, args->out, &report, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (cli->json)
        status = print_json(cli, dataset, args->out, &report);
    else if (!cli->quiet)
        printf("%s: %s rows of %d columns\n", args->out, cli_thousands(report.n_rows), report.n_columns);
    reel_features_report_free(&report);
    reel_dataset_free(dataset);
    return status;
}

int cmd_features(struct cli *cli, int argc, char **argv) {
    struct features_args args = {0};
    reel_param params[CLI_LIST_MAX];
    reel_features_options options;
    reel_features_options_default(&options);
    int status = parse(cli, argc, argv, &args);
    if (status < 0) status = protocol_parse(cli, &args.protocol, &options.protocol);
    if (status < 0) status = choose_part(cli, &args, &options);
    if (status < 0) status = protocol_check_output(cli, args.out);
    if (status < 0) status = cli_params(cli, &args.params, params);
    if (status >= 0) return status;
    options.params = params;
    options.n_params = args.params.n;
    options.with_rating = args.with_rating;
    options.seed = (uint64_t)cli->seed;
    status = cli_context(cli);
    if (status < 0) status = write_features(cli, &args, &options);
    cli_params_free(params, args.params.n);
    return status;
}
