/* reel import-model: trees of other programs. */
#include <stdio.h>
#include <string.h>

#include "cli.h"

struct import_args {
    const char *file, *out, *dataset, *genres;
    struct cli_list columns;
};

static int import_model(struct cli *cli, const struct import_args *args, const reel_import_model_options *options) {
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_error err;
    int status = CLI_OK;
    if (reel_dataset_open(cli->ctx, args->dataset, &dataset, &err) != REEL_OK ||
        reel_import_model(cli->ctx, dataset, args->file, options, &model, &err) != REEL_OK ||
        reel_model_save(cli->ctx, model, args->out, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (cli->json)
        status =
            cli_print_json(cli, json_pack("{s:s,s:s,s:s}", "file", args->out, "algorithm", reel_model_algorithm(model),
                                          "format", reel_model_metadata(model, "imported.format")));
    else if (!cli->quiet)
        printf("%s: trees of %s, now in %s\n", args->file, reel_model_metadata(model, "imported.format"), args->out);
    reel_model_free(model);
    reel_dataset_free(dataset);
    return status;
}

int cmd_import_model(struct cli *cli, int argc, char **argv) {
    struct import_args args = {.genres = "movielens"};
    const struct cli_option options[] = {
        {"--dataset", NULL, CLI_TEXT, &args.dataset, "DATASET", "whose users and movies the trees are to score"},
        {"--output", "-o", CLI_TEXT, &args.out, "MODEL", "model file to write"},
        {"--genres", NULL, CLI_TEXT, &args.genres, "NAME", "genre columns: movielens (default) or tmdb"},
        {"--columns", NULL, CLI_LIST, &args.columns, "FILE", "CSV of more feature columns; may be given again"},
        {0},
    };
    int status = cli_parse(
        cli, "FILE --dataset DATASET -o MODEL",
        "Reads the trees that XGBoost (JSON) or LightGBM (text) saved, for scoring. Their features must have the\n"
        "names that `reel features` gives the columns; means are those of all ratings of the dataset.",
        "reel import-model xgboost.json --dataset ml.reel -o trees.reel", options, argc, argv, &args.file, 1, 1);
    if (status >= 0) return status;
    int tmdb = strcmp(args.genres, "tmdb") == 0;
    if (!args.dataset) return cli_usage(cli, "--dataset DATASET is missing");
    if (!args.out) return cli_usage(cli, "-o MODEL is missing");
    if (!tmdb && strcmp(args.genres, "movielens") != 0)
        return cli_usage(cli, "--genres must be movielens or tmdb (found '%s')", args.genres);
    status = cli_context(cli);
    if (status >= 0) return status;
    return import_model(cli, &args, &(reel_import_model_options){tmdb, args.columns.items, args.columns.n});
}
