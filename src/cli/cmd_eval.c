/* reel eval: metrics of a saved model on a file of ratings. */
#include <stdio.h>

#include "cli.h"
#include "protocol.h"

static int print_json(const struct cli *cli, const reel_dataset *dataset, const reel_model *model,
                      const reel_metrics *metrics) {
    json_t *object = protocol_metrics(metrics);
    protocol_add(&object, "n", json_integer(metrics->n));
    protocol_add(&object, "algo", json_string(reel_model_algorithm(model)));
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static int evaluate(struct cli *cli, const char *dataset_path, const char *model_path, const char *test_file) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_metrics metrics;
    int status = CLI_OK;
    if (reel_dataset_open(cli->ctx, dataset_path, &dataset, &err) != REEL_OK ||
        reel_model_open(cli->ctx, model_path, &model, &err) != REEL_OK ||
        reel_eval(cli->ctx, dataset, model, test_file, &metrics, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (cli->json)
        status = print_json(cli, dataset, model, &metrics);
    else
        printf("%s on %s ratings: RMSE %.4f  MAE %.4f  R2 %.4f\n", reel_model_algorithm(model),
               cli_thousands(metrics.n), metrics.rmse, metrics.mae, metrics.r2);
    reel_model_free(model);
    reel_dataset_free(dataset);
    return status;
}

int cmd_eval(struct cli *cli, int argc, char **argv) {
    const char *dataset, *model = NULL, *test_file = NULL;
    const struct cli_option options[] = {
        {"--model", "-m", CLI_TEXT, &model, "MODEL", "model file"},
        {"--test", NULL, CLI_TEXT, &test_file, "FILE", "CSV of ratings to measure on"},
        {0},
    };
    int status =
        cli_parse(cli, "DATASET --model MODEL --test FILE", "Measures a saved model on a file of ratings.",
                  "reel eval ml.reel --model svd.reel --test fold1.test.csv", options, argc, argv, &dataset, 1, 1);
    if (status >= 0) return status;
    if (!model) return cli_usage(cli, "--model MODEL is missing");
    if (!test_file) return cli_usage(cli, "--test FILE is missing");
    status = cli_context(cli);
    return status >= 0 ? status : evaluate(cli, dataset, model, test_file);
}
