/* reel split: writes folds as CSV files that other tools read. */
#include <stdio.h>

#include "cli.h"
#include "protocol.h"

static json_t *fold_json(const reel_split_report *report, const char *out_dir, int fold) {
    json_t *train = json_sprintf("%s/fold%d.train.csv", out_dir, fold + 1);
    json_t *test = json_sprintf("%s/fold%d.test.csv", out_dir, fold + 1);
    return json_pack("{s:o*,s:o*,s:I,s:I}", "train", train, "test", test, "n_train",
                     (json_int_t)report->train_counts[fold], "n_test", (json_int_t)report->test_counts[fold]);
}

static int print_json(const struct cli *cli, const reel_dataset *dataset, const char *out_dir,
                      const reel_split_report *report) {
    json_t *folds = json_array();
    for (int f = 0; f < report->n_folds; f++) protocol_append(&folds, fold_json(report, out_dir, f));
    json_t *object = json_pack("{s:o}", "folds", folds);
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static int split(struct cli *cli, const char *path, reel_split_kind kind, int folds, const char *out_dir) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_split_report report = {0};
    int status = CLI_OK;
    if (reel_dataset_open(cli->ctx, path, &dataset, &err) != REEL_OK ||
        reel_split(cli->ctx, dataset, kind, folds, (uint64_t)cli->seed, out_dir, &report, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (cli->json)
        status = print_json(cli, dataset, out_dir, &report);
    else if (!cli->quiet)
        for (int f = 0; f < report.n_folds; f++)
            printf("%s/fold%d: %s training and %s test ratings\n", out_dir, f + 1,
                   cli_thousands(report.train_counts[f]), cli_thousands(report.test_counts[f]));
    reel_split_report_free(&report);
    reel_dataset_free(dataset);
    return status;
}

int cmd_split(struct cli *cli, int argc, char **argv) {
    const char *dataset, *kind_name = NULL, *out_dir = NULL;
    int folds = 5;
    reel_split_kind kind;
    const struct cli_option options[] = {
        {"--folds", NULL, CLI_INT, &folds, "N", "number of folds (default 5)"},
        {"--split", NULL, CLI_TEXT, &kind_name, "KIND", "random (default), time (one fold) or per-user"},
        {"--output", "-o", CLI_TEXT, &out_dir, "DIR", "folder to write fold<i>.train.csv and fold<i>.test.csv into"},
        {0},
    };
    int status = cli_parse(cli, "DATASET [--folds N] -o DIR",
                           "Writes the folds that cv would use as CSV files (same seed, same folds).",
                           "reel split ml.reel --folds 5 -o folds", options, argc, argv, &dataset, 1, 1);
    if (status >= 0) return status;
    if (!out_dir) return cli_usage(cli, "-o DIR is missing");
    status = protocol_split(cli, kind_name, &kind);
    if (status >= 0) return status;
    status = cli_context(cli);
    return status >= 0 ? status : split(cli, dataset, kind, folds, out_dir);
}
