/* reel import: a folder, a ZIP or a ratings file to a dataset file. */
#include <stdio.h>

#include "cli.h"

static json_t *report_json(const reel_import_report *report) {
    return json_pack("{s:s,s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:I,s:I,s:s}", "format", report->format, "n_users",
                     report->n_users, "n_movies", report->n_movies, "n_ratings", (json_int_t)report->n_ratings,
                     "n_tags", (json_int_t)report->n_tags, "n_bad_lines", (json_int_t)report->n_bad_lines,
                     "n_duplicates", (json_int_t)report->n_duplicates, "n_placeholders",
                     (json_int_t)report->n_placeholders, "n_metadata", (json_int_t)report->n_metadata, "seconds",
                     report->seconds, "source_bytes", (json_int_t)report->source_bytes, "bytes",
                     (json_int_t)report->bytes, "fingerprint", report->fingerprint);
}

static void print_report(const reel_import_report *report, const char *out) {
    printf("%s: %s ratings of %s movies by %s users (%s)", out, cli_thousands(report->n_ratings),
           cli_thousands(report->n_movies), cli_thousands(report->n_users), report->format);
    if (report->n_tags) printf(", %s tags", cli_thousands(report->n_tags));
    putchar('\n');
    if (report->n_bad_lines) printf("bad lines skipped      %s\n", cli_thousands(report->n_bad_lines));
    if (report->n_duplicates)
        printf("repeated ratings       %s (the latest won)\n", cli_thousands(report->n_duplicates));
    if (report->n_placeholders) printf("movies without a title %s\n", cli_thousands(report->n_placeholders));
    if (report->n_metadata) printf("movies with metadata   %s\n", cli_thousands(report->n_metadata));
    printf("%s bytes, verified, fingerprint %s, %.2f s\n", cli_thousands(report->bytes), report->fingerprint,
           report->seconds);
}

int cmd_import(struct cli *cli, int argc, char **argv) {
    reel_import_options options;
    reel_import_options_default(&options);
    const char *source, *out = NULL;
    const struct cli_option table[] = {
        {"--output", "-o", CLI_TEXT, &out, "DATASET", "the dataset file to write"},
        {"--columns", NULL, CLI_TEXT, &options.columns, "U,M,R[,T]",
         "names of a CSV's user,movie,rating[,time] columns"},
        {"--metadata", NULL, CLI_TEXT, &options.metadata, "FILE", "movies_metadata.csv of The Movies Dataset"},
        {"--skip-bad", NULL, CLI_FLAG, &options.skip_bad, NULL, "go on past bad lines, count and list them"},
        {0},
    };
    int status = cli_parse(cli, "DIR -o DATASET",
                           "Reads ml-100k, ml-1m/10m (.dat), ml-20m/25m/32m/latest (.csv), or any CSV of ratings: a\n"
                           "folder, a ZIP as downloaded, or one ratings file. Writes one verified dataset file.",
                           "reel import ml-20m.zip -o ml-20m.reel", table, argc, argv, &source, 1, 1);
    if (status >= 0) return status;
    if (!out) return cli_usage(cli, "-o DATASET is missing");
    status = cli_context(cli);
    if (status >= 0) return status;
    reel_import_report report;
    reel_error err;
    if (reel_dataset_import(cli->ctx, source, &options, out, &report, &err) != REEL_OK) return cli_fail(cli, &err);
    if (cli->json) return cli_print_json(cli, report_json(&report));
    if (!cli->quiet) print_report(&report, out);
    return CLI_OK;
}
