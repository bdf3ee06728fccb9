/* reel cv: cross-validates one algorithm. */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "protocol.h"

struct cv_args {
    const char *dataset, *algorithm;
    struct protocol_args protocol;
    struct cli_list params;
    int ranking, n;
    double relevant;
};

static int parse(struct cli *cli, int argc, char **argv, struct cv_args *args) {
    const struct cli_option options[] = {
        {"--model", "-m", CLI_TEXT, &args->algorithm, "ALGO", "algorithm: mean, bias, svd, ..."},
        {"--param", "-p", CLI_LIST, &args->params, "KEY=VALUE", "a parameter of the algorithm; may be given again"},
        PROTOCOL_OPTIONS(args->protocol),
        {"--ranking", NULL, CLI_FLAG, &args->ranking, NULL, "also how good top-N lists of unseen movies are"},
        {"--number", "-n", CLI_INT, &args->n, "N", "length of the lists (default 10)"},
        {"--relevant", NULL, CLI_REAL, &args->relevant, "STARS", "stars that make a movie relevant (default 4)"},
        {"--train", NULL, CLI_LIST, &args->protocol.train_files, "FILE", "a ready training part; with --test, again"},
        {"--test", NULL, CLI_LIST, &args->protocol.test_files, "FILE", "the test part that goes with --train"},
        {0},
    };
    int status = cli_parse(cli, "DATASET -m ALGO [-p KEY=VALUE]... [--folds N]",
                           "Cross-validates an algorithm: RMSE, MAE and R2 of each fold, mean and deviation.",
                           "reel cv ml.reel -m svd --folds 5", options, argc, argv, &args->dataset, 1, 1);
    if (status == CLI_OK) protocol_algorithm_help(args->algorithm);
    if (status >= 0) return status;
    if (!args->algorithm) return cli_usage(cli, "-m ALGO is missing");
    return -1;
}

/* ---- the table ---- */

/* The figures of a row: where it is in a fold, how many decimals. */
static const struct figure {
    const char *name;
    size_t offset;
    int decimals;
} figures[] = {
    {"RMSE (testset)", offsetof(reel_fold, test.rmse), 4}, {"MAE (testset)", offsetof(reel_fold, test.mae), 4},
    {"R2 (testset)", offsetof(reel_fold, test.r2), 4},     {"Fit time", offsetof(reel_fold, fit_seconds), 2},
    {"Test time", offsetof(reel_fold, test_seconds), 2},
};
enum { N_FIGURES = (int)(sizeof figures / sizeof figures[0]), FOLDS_A_LINE = 10 };

static double value_of(const reel_fold *fold, const struct figure *figure) {
    double value;
    memcpy(&value, (const char *)fold + figure->offset, sizeof value);
    return value;
}

static void mean_and_std(const reel_cv_report *report, const struct figure *figure, double *mean, double *std) {
    double sum = 0, squares = 0;
    for (int f = 0; f < report->n_folds; f++) sum += value_of(&report->folds[f], figure);
    *mean = sum / report->n_folds;
    for (int f = 0; f < report->n_folds; f++) {
        double away = value_of(&report->folds[f], figure) - *mean;
        squares += away * away;
    }
    *std = sqrt(squares / report->n_folds);
}

static void print_wide(const reel_cv_report *report) {
    printf("\n%-18s", "");
    for (int f = 0; f < report->n_folds; f++) {
        char name[24];
        snprintf(name, sizeof name, "Fold %d", f + 1);
        printf("%-8s", name);
    }
    printf("%-8s%s\n", "Mean", "Std");
    for (int i = 0; i < N_FIGURES; i++) {
        double mean, std;
        mean_and_std(report, &figures[i], &mean, &std);
        printf("%-18s", figures[i].name);
        for (int f = 0; f < report->n_folds; f++)
            printf("%-8.*f", figures[i].decimals, value_of(&report->folds[f], &figures[i]));
        printf("%-8.*f%.*f\n", figures[i].decimals, mean, figures[i].decimals, std);
    }
}

static void print_long(const reel_cv_report *report) {
    printf("\n%-8s", "");
    for (int i = 0; i < N_FIGURES; i++) printf("%-16s", figures[i].name);
    for (int f = 0; f < report->n_folds; f++) {
        printf("\nFold %-3d", f + 1);
        for (int i = 0; i < N_FIGURES; i++)
            printf("%-16.*f", figures[i].decimals, value_of(&report->folds[f], &figures[i]));
    }
    for (int row = 0; row < 2; row++) {
        printf("\n%-8s", row ? "Std" : "Mean");
        for (int i = 0; i < N_FIGURES; i++) {
            double figure[2];
            mean_and_std(report, &figures[i], &figure[0], &figure[1]);
            printf("%-16.*f", figures[i].decimals, figure[row]);
        }
    }
    putchar('\n');
}

static void print_report(const reel_cv_report *report, const reel_protocol *protocol) {
    char described[100];
    protocol_describe(protocol, described, sizeof described);
    printf("Evaluating RMSE, MAE, R2 of algorithm %s on %s (%s test ratings).\n", report->algorithm, described,
           cli_thousands(report->mean.n));
    if (report->n_folds > FOLDS_A_LINE)
        print_long(report);
    else
        print_wide(report);
    for (int f = 0; f < report->n_folds; f++) {
        char name[24];
        snprintf(name, sizeof name, "Fold %d:", f + 1);
        if (report->folds[f].ranking.n) protocol_print_ranking(name, &report->folds[f].ranking);
    }
    printf("\npeak memory %.0f MiB\n", (double)report->peak_rss_bytes / (1024 * 1024));
}

/* ---- running ---- */

static int print_json(const struct cli *cli, const reel_dataset *dataset, const reel_protocol *protocol,
                      const reel_cv_report *report) {
    char described[100];
    protocol_describe(protocol, described, sizeof described);
    json_t *object = protocol_cv_json(report);
    protocol_add(&object, "protocol", json_string(described));
    protocol_add_origin(cli, dataset, &object);
    return cli_print_json(cli, object);
}

static int cross_validate(struct cli *cli, const char *path, const reel_cv_options *options) {
    reel_error err;
    reel_dataset *dataset = NULL;
    reel_cv_report report = {0};
    int status = CLI_OK;
    if (reel_dataset_open(cli->ctx, path, &dataset, &err) != REEL_OK ||
        reel_cv(cli->ctx, dataset, options, &report, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (cli->json)
        status = print_json(cli, dataset, &options->protocol, &report);
    else
        print_report(&report, &options->protocol);
    reel_cv_report_free(&report);
    reel_dataset_free(dataset);
    return status;
}

int cmd_cv(struct cli *cli, int argc, char **argv) {
    struct cv_args args = {.n = 10, .relevant = 4};
    reel_param params[CLI_LIST_MAX];
    reel_cv_options options;
    reel_cv_options_default(&options);
    int status = parse(cli, argc, argv, &args);
    if (status >= 0) return status;
    status = protocol_parse(cli, &args.protocol, &options.protocol);
    if (status >= 0) return status;
    status = cli_params(cli, &args.params, params);
    if (status >= 0) return status;
    options.algorithm = args.algorithm;
    options.params = params;
    options.n_params = args.params.n;
    options.seed = (uint64_t)cli->seed;
    options.ranking_n = args.ranking ? args.n : 0;
    options.relevant = args.relevant;
    if (args.ranking && args.n < 1) return cli_usage(cli, "-n must be at least 1");
    status = cli_context(cli);
    if (status < 0) status = cross_validate(cli, args.dataset, &options);
    cli_params_free(params, args.params.n);
    return status;
}
