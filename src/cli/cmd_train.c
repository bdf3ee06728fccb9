/* reel train: fits one model and saves it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "protocol.h"

struct train_args {
    const char *dataset, *algorithm, *out, *test_file, *split, *protocol, *checkpoint;
    double holdout;
    int resume, checkpoint_every;
    struct cli_list params;
};

static int parse(struct cli *cli, int argc, char **argv, struct train_args *args) {
    const struct cli_option options[] = {
        {"--model", "-m", CLI_TEXT, &args->algorithm, "ALGO", "algorithm: mean, bias, svd, ..."},
        {"--param", "-p", CLI_LIST, &args->params, "KEY=VALUE", "a parameter of the algorithm; may be given again"},
        {"--output", "-o", CLI_TEXT, &args->out, "MODEL", "model file to write"},
        {"--holdout", NULL, CLI_REAL, &args->holdout, "SHARE", "hold this share out and measure on it"},
        {"--test", NULL, CLI_TEXT, &args->test_file, "FILE", "ratings to measure on; taken out of the training part"},
        {"--split", NULL, CLI_TEXT, &args->split, "KIND", "how to hold out: random (default), time or per-user"},
        {"--protocol", NULL, CLI_TEXT, &args->protocol, "P",
         "holdout (--holdout 0.1), time (--holdout 0.1 --split time), seed-a or honest-a"},
        {"--checkpoint", NULL, CLI_TEXT, &args->checkpoint, "DIR", "keep checkpoints in this folder"},
        {"--checkpoint-every", NULL, CLI_INT, &args->checkpoint_every, "N",
         "epochs, iterations or samples between two checkpoints (default 10)"},
        {"--resume", NULL, CLI_FLAG, &args->resume, NULL, "go on from the newest good checkpoint"},
        {0},
    };
    int status = cli_parse(cli, "DATASET -m ALGO [-p KEY=VALUE]... -o MODEL", "Fits a model on a dataset and saves it.",
                           "reel train ml.reel -m svd -p factors=50 --holdout 0.1 -o svd.reel", options, argc, argv,
                           &args->dataset, 1, 1);
    if (status == CLI_OK) protocol_algorithm_help(args->algorithm);
    if (status >= 0) return status;
    if (!args->algorithm) return cli_usage(cli, "-m ALGO is missing");
    if (!args->out) return cli_usage(cli, "-o MODEL is missing");
    if (args->test_file && args->holdout > 0) return cli_usage(cli, "--test and --holdout exclude each other");
    if (args->checkpoint_every < 1) return cli_usage(cli, "--checkpoint-every must be at least 1");
    if (args->resume && !args->checkpoint) return cli_usage(cli, "--resume goes with --checkpoint DIR");
    return -1;
}

/* A protocol is a name for a holdout and a split; what is given beside it wins. */
static int apply_protocol(const struct cli *cli, struct train_args *args, reel_train_options *options) {
    if (!args->protocol) return -1;
    int time = strcmp(args->protocol, "time") == 0;
    int system_a = protocol_of_system_a(args->protocol, &options->users, &options->leak_means);
    if (!time && !system_a && strcmp(args->protocol, "holdout") != 0)
        return cli_usage(cli, "--protocol must be holdout, time, seed-a or honest-a (found '%s')", args->protocol);
    if (args->test_file && system_a) return -1;
    if (args->test_file) return cli_usage(cli, "--test and --protocol exclude each other");
    if (args->holdout == 0) args->holdout = 0.1;
    if (!args->split && time) args->split = "time";
    return -1;
}

static json_t *epochs_json(const reel_train_report *report) {
    json_t *epochs = json_array();
    for (int i = 0; i < report->n_epochs; i++) {
        const reel_epoch *epoch = &report->epochs[i];
        protocol_append(&epochs, json_pack("{s:i,s:o,s:o,s:o}", "epoch", epoch->epoch, "train_rmse",
                                           protocol_real(epoch->train_rmse), "test_rmse",
                                           protocol_real(epoch->test_rmse), "seconds", protocol_real(epoch->seconds)));
    }
    return epochs;
}

/* "importances" as the model tells them, and "stages": the epochs of a boosted model with the losses by tree. */
static void add_facts(const reel_model *model, const reel_train_report *report, json_t **object) {
    json_t *facts = cli_load_json(reel_model_facts(model));
    json_t *train = json_object_get(facts, "train_loss"), *validation = json_object_get(facts, "validation_loss");
    if (!facts) json_decref(*object), *object = NULL;
    if (json_object_get(facts, "importances"))
        protocol_add(object, "importances", json_incref(json_object_get(facts, "importances")));
    if (train) {
        json_t *stages = json_array();
        for (int i = 0; i < report->n_epochs; i++) {
            const reel_epoch *epoch = &report->epochs[i];
            json_t *stage =
                json_pack("{s:i,s:O,s:o,s:o}", "stage", epoch->epoch, "train_loss", json_array_get(train, (size_t)i),
                          "train_rmse", protocol_real(epoch->train_rmse), "test_rmse", protocol_real(epoch->test_rmse));
            if (validation) protocol_add(&stage, "validation_loss", json_incref(json_array_get(validation, (size_t)i)));
            protocol_append(&stages, stage);
        }
        protocol_add(object, "stages", stages);
    }
    json_decref(facts);
}

static int print_json(const struct cli *cli, const reel_dataset *dataset, const struct train_args *args,
                      const reel_train_report *report, const reel_model *model) {
    json_t *object = protocol_metrics(&report->test);
    protocol_add(&object, "algo", json_string(report->algorithm));
    protocol_add(&object, "model", json_string(args->out));
    protocol_add(&object, "n_ratings", json_integer(report->n_ratings));
    protocol_add(&object, "n_test", json_integer(report->test.n));
    protocol_add(&object, "epochs", epochs_json(report));
    protocol_add(&object, "fit_seconds", protocol_real(report->fit_seconds));
    protocol_add(&object, "ratings_per_second", protocol_real(report->ratings_per_second));
    protocol_add(&object, "peak_rss_bytes", json_integer(report->peak_rss_bytes));
    add_facts(model, report, &object);
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static void print_rmse(double rmse) {
    if (isfinite(rmse))
        printf("  %10.4f", rmse);
    else
        printf("  %10s", "-");
}

static void print_epochs(const reel_train_report *report) {
    if (report->n_epochs == 0) return;
    printf("epoch  train RMSE   test RMSE   seconds\n");
    for (int i = 0; i < report->n_epochs; i++) {
        printf("%5d", report->epochs[i].epoch);
        print_rmse(report->epochs[i].train_rmse);
        print_rmse(report->epochs[i].test_rmse);
        printf("  %8.3f\n", report->epochs[i].seconds);
    }
}

static void print_report(const struct train_args *args, const reel_train_report *report) {
    print_epochs(report);
    printf("trained %s on %s ratings in %.2f s (%s ratings/s), peak memory %.0f MiB\n", report->algorithm,
           cli_thousands(report->n_ratings), report->fit_seconds, cli_thousands((int64_t)report->ratings_per_second),
           (double)report->peak_rss_bytes / (1024 * 1024));
    if (report->test.n)
        printf("held out %s ratings: RMSE %.4f  MAE %.4f  R2 %.4f\n", cli_thousands(report->test.n), report->test.rmse,
               report->test.mae, report->test.r2);
    printf("wrote %s\n", args->out);
}

static int train(struct cli *cli, const struct train_args *args, const reel_train_options *options) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_train_report report = {0};
    int status;
    if (reel_dataset_open(cli->ctx, args->dataset, &dataset, &err) != REEL_OK ||
        reel_train(cli->ctx, dataset, options, &model, &report, &err) != REEL_OK ||
        reel_model_save(cli->ctx, model, args->out, &err) != REEL_OK) {
        status = cli_fail(cli, &err);
    } else if (cli->json) {
        status = print_json(cli, dataset, args, &report, model);
    } else {
        if (!cli->quiet) print_report(args, &report);
        status = CLI_OK;
    }
    reel_train_report_free(&report);
    reel_model_free(model);
    reel_dataset_free(dataset);
    return status;
}

int cmd_train(struct cli *cli, int argc, char **argv) {
    struct train_args args = {.checkpoint_every = 10};
    reel_param params[CLI_LIST_MAX];
    reel_train_options options;
    reel_train_options_default(&options);
    int status = parse(cli, argc, argv, &args);
    if (status >= 0) return status;
    status = apply_protocol(cli, &args, &options);
    if (status >= 0) return status;
    status = protocol_split(cli, args.split, &options.holdout_split);
    if (status >= 0) return status;
    status = protocol_check_output(cli, args.out);
    if (status >= 0) return status;
    status = cli_params(cli, &args.params, params);
    if (status >= 0) return status;
    options.algorithm = args.algorithm;
    options.params = params;
    options.n_params = args.params.n;
    options.seed = (uint64_t)cli->seed;
    options.holdout = args.holdout;
    options.test_file = args.test_file;
    options.checkpoint = args.checkpoint;
    options.checkpoint_every = args.checkpoint_every;
    options.resume = args.resume;
    status = cli_context(cli);
    if (status < 0) status = train(cli, &args, &options);
    cli_params_free(params, args.params.n);
    return status;
}
