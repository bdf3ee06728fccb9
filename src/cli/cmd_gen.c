/* reel gen: a synthetic twin of a MovieLens set, as its CSV files. */
#include <stdio.h>

#include "cli.h"

static int print_report(const struct cli *cli, const char *folder, const reel_gen_report *report) {
    if (cli->json)
        return cli_print_json(cli, json_pack("{s:s,s:i,s:i,s:i,s:I,s:f,s:f}", "folder", folder, "n_users",
                                             report->n_users, "n_movies", report->n_movies, "n_rated_movies",
                                             report->n_rated, "n_ratings", (json_int_t)report->n_ratings, "oracle_rmse",
                                             report->oracle_rmse, "seconds", report->seconds));
    printf("%s: %s ratings by %s users of %s movies (%s in the catalogue)\n", folder, cli_thousands(report->n_ratings),
           cli_thousands(report->n_users), cli_thousands(report->n_rated), cli_thousands(report->n_movies));
    printf("oracle RMSE %.4f: what a model that knew the planted truth would score\n", report->oracle_rmse);
    printf("%.1f s\n", report->seconds);
    return CLI_OK;
}

int cmd_gen(struct cli *cli, int argc, char **argv) {
    reel_gen_options gen;
    reel_gen_options_default(&gen);
    const char *out = NULL;
    int64_t users = 0, movies = 0, ratings = 0;
    const struct cli_option options[] = {
        {"--like", NULL, CLI_TEXT, &gen.like, "SET", "ml-20m, ml-1m or ml-latest-small (default ml-20m)"},
        {"--output", "-o", CLI_TEXT, &out, "DIR", "folder for ratings.csv, movies.csv, links.csv, tags.csv"},
        {"--users", NULL, CLI_COUNT, &users, "N", "users (default: as the set, in step with --ratings)"},
        {"--movies", NULL, CLI_COUNT, &movies, "N", "movies of the catalogue (default: as the set)"},
        {"--ratings", NULL, CLI_COUNT, &ratings, "N", "ratings, e.g. 100M (default: as the set, in step with --users)"},
        {"--factors", NULL, CLI_INT, &gen.factors, "N", "planted factors, 1..128 (default 20)"},
        {"--catalogue", NULL, CLI_TEXT, &gen.catalogue, "FILE", "a movies.csv whose movies are used"},
        {0},
    };
    int status = cli_parse(cli, "--like SET -o DIR",
                           "Writes a synthetic twin of a MovieLens set: its counts, histograms and long tails, with a\n"
                           "planted truth, so that the best possible RMSE is known.",
                           "reel gen --like ml-20m -o twin", options, argc, argv, NULL, 0, 0);
    if (status >= 0) return status;
    if (!out) return cli_usage(cli, "-o DIR is needed");
    if (users < 0 || users > INT32_MAX - 1) return cli_usage(cli, "--users must be 1..%d", INT32_MAX - 1);
    if (movies < 0 || movies > 10000000) return cli_usage(cli, "--movies must be 1..10000000");
    gen.n_users = (int32_t)users;
    gen.n_movies = (int32_t)movies;
    gen.n_ratings = ratings;
    gen.seed = (uint64_t)cli->seed;
    status = cli_context(cli);
    if (status >= 0) return status;
    reel_gen_report report;
    reel_error err;
    if (reel_gen(cli->ctx, &gen, out, &report, &err) != REEL_OK) return cli_fail(cli, &err);
    return print_report(cli, out, &report);
}
