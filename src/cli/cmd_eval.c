/* reel eval: metrics of a saved model on a file of ratings. */
#include <stdio.h>

#include "cli.h"
#include "protocol.h"

struct eval_args {
    const char *dataset, *model, *test_file;
    int ranking, n;
    double relevant;
};

static int print_json(const struct cli *cli, const reel_dataset *dataset, const reel_model *model,
                      const reel_metrics *metrics, const reel_intervals *intervals, const reel_ranking *ranking) {
    json_t *object = protocol_metrics(metrics);
    protocol_add(&object, "n", json_integer(metrics->n));
    protocol_add(&object, "algo", json_string(reel_model_algorithm(model)));
    if (intervals->n) {
        protocol_add(&object, "interval_level", protocol_real(intervals->level));
        protocol_add(&object, "interval_coverage", protocol_real(intervals->coverage));
        protocol_add(&object, "interval_half_width", protocol_real(intervals->width));
    }
    if (ranking->n) protocol_add(&object, "ranking", protocol_ranking(ranking));
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static int evaluate(struct cli *cli, const struct eval_args *args) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_metrics metrics;
    reel_intervals intervals;
    reel_ranking ranking = {0};
    int status = CLI_OK;
    if (reel_dataset_open(cli->ctx, args->dataset, &dataset, &err) != REEL_OK ||
        reel_model_open(cli->ctx, args->model, &model, &err) != REEL_OK ||
        reel_eval(cli->ctx, dataset, model, args->test_file, &metrics, &err) != REEL_OK ||
        reel_eval_intervals(cli->ctx, dataset, model, args->test_file, &intervals, &err) != REEL_OK ||
        (args->ranking && reel_eval_ranking(cli->ctx, dataset, model, args->test_file, args->n, args->relevant,
                                            &ranking, &err) != REEL_OK))
        status = cli_fail(cli, &err);
    else if (cli->json)
        status = print_json(cli, dataset, model, &metrics, &intervals, &ranking);
    else {
        printf("%s on %s ratings: RMSE %.4f  MAE %.4f  R2 %.4f\n", reel_model_algorithm(model),
               cli_thousands(metrics.n), metrics.rmse, metrics.mae, metrics.r2);
        if (intervals.n)
            printf("%g %% predictive intervals (+- %.2f stars on average) cover %.2f %%\n", 100 * intervals.level,
                   intervals.width, 100 * intervals.coverage);
        if (ranking.n) protocol_print_ranking(reel_model_algorithm(model), &ranking);
    }
    reel_model_free(model);
    reel_dataset_free(dataset);
    return status;
}

int cmd_eval(struct cli *cli, int argc, char **argv) {
    struct eval_args args = {.n = 10, .relevant = 4};
    const struct cli_option options[] = {
        {"--model", "-m", CLI_TEXT, &args.model, "MODEL", "model file"},
        {"--test", NULL, CLI_TEXT, &args.test_file, "FILE", "CSV of ratings to measure on"},
        {"--ranking", NULL, CLI_FLAG, &args.ranking, NULL, "also how good top-N lists of unseen movies are"},
        {"--number", "-n", CLI_INT, &args.n, "N", "length of the lists (default 10)"},
        {"--relevant", NULL, CLI_REAL, &args.relevant, "STARS", "stars that make a movie relevant (default 4)"},
        {0},
    };
    int status =
        cli_parse(cli, "DATASET --model MODEL --test FILE", "Measures a saved model on a file of ratings.",
                  "reel eval ml.reel --model svd.reel --test fold1.test.csv", options, argc, argv, &args.dataset, 1, 1);
    if (status >= 0) return status;
    if (!args.model) return cli_usage(cli, "--model MODEL is missing");
    if (!args.test_file) return cli_usage(cli, "--test FILE is missing");
    status = cli_context(cli);
    return status >= 0 ? status : evaluate(cli, &args);
}
