/* reel import: a folder, a ZIP or a ratings file to a dataset file. */
#include <stdio.h>

#include "cli.h"

#ifndef REEL_WITH_SERVE
#define REEL_WITH_SERVE 0
#endif
#if REEL_WITH_SERVE
#include <reel/serve.h>
#endif

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

/* ---- live ratings of a service ---- */

#if REEL_WITH_SERVE

static json_t *merge_json(const reel_merge_report *report) {
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:i,s:i,s:I,s:f,s:I,s:s}", "n_live", (json_int_t)report->n_live,
                     "n_added", (json_int_t)report->n_added, "n_changed", (json_int_t)report->n_changed, "n_removed",
                     (json_int_t)report->n_removed, "n_older", (json_int_t)report->n_older, "n_unknown",
                     (json_int_t)report->n_unknown, "n_void", (json_int_t)report->n_void, "n_new_users",
                     report->n_new_users, "n_users", report->n_users, "n_movies", report->n_movies, "n_ratings",
                     (json_int_t)report->n_ratings, "seconds", report->seconds, "bytes", (json_int_t)report->bytes,
                     "fingerprint", report->fingerprint);
}

static void print_unknown(const reel_merge_report *report) {
    if (!report->n_unknown) return;
    fprintf(stderr, "reel: note: %s live ratings of movies that the dataset lacks were left out (movie",
            cli_thousands(report->n_unknown));
    for (int i = 0; i < 5 && report->unknown_movies[i] >= 0; i++)
        fprintf(stderr, "%s %d", i ? "," : "", report->unknown_movies[i]);
    fprintf(stderr, "%s)\n", report->unknown_movies[4] >= 0 ? " ..." : "");
}

static void print_merge(const reel_merge_report *report, const char *out) {
    printf("%s: %s ratings of %s movies by %s users\n", out, cli_thousands(report->n_ratings),
           cli_thousands(report->n_movies), cli_thousands(report->n_users));
    printf("%s live ratings: %s added, %s changed, %s taken away, %s older than the dataset's; %s new users\n",
           cli_thousands(report->n_live), cli_thousands(report->n_added), cli_thousands(report->n_changed),
           cli_thousands(report->n_removed), cli_thousands(report->n_older), cli_thousands(report->n_new_users));
    printf("%s bytes, verified, fingerprint %s, %.2f s\n", cli_thousands(report->bytes), report->fingerprint,
           report->seconds);
}

static int import_store(struct cli *cli, const char *store, const char *from, const char *out) {
    reel_merge_report report;
    reel_error err;
    if (reel_store_merge(cli->ctx, store, from, out, &report, &err) != REEL_OK) return cli_fail(cli, &err);
    if (!cli->quiet) print_unknown(&report);
    if (cli->json) return cli_print_json(cli, merge_json(&report));
    if (!cli->quiet) print_merge(&report, out);
    return CLI_OK;
}

#else

static int import_store(struct cli *cli, const char *store, const char *from, const char *out) {
    (void)store, (void)from, (void)out;
    return cli_fail(cli, &(reel_error){REEL_UNSUPPORTED, "this build has no service (REEL_SERVE=OFF)"});
}

#endif

int cmd_import(struct cli *cli, int argc, char **argv) {
    reel_import_options options;
    reel_import_options_default(&options);
    const char *source = NULL, *out = NULL, *store = NULL, *from = NULL;
    const struct cli_option table[] = {
        {"--output", "-o", CLI_TEXT, &out, "DATASET", "the dataset file to write"},
        {"--columns", NULL, CLI_TEXT, &options.columns, "U,M,R[,T]",
         "names of a CSV's user,movie,rating[,time] columns"},
        {"--metadata", NULL, CLI_TEXT, &options.metadata, "FILE", "movies_metadata.csv of The Movies Dataset"},
        {"--skip-bad", NULL, CLI_FLAG, &options.skip_bad, NULL, "go on past bad lines, count and list them"},
        {"--store", NULL, CLI_TEXT, &store, "STORE", "a service's store: put its live ratings into a new dataset"},
        {"--from", NULL, CLI_TEXT, &from, "DATASET", "with --store: the dataset that the service runs on"},
        {0},
    };
    int status = cli_parse(cli, "DIR -o DATASET | --store STORE --from DATASET -o DATASET",
                           "Reads ml-100k, ml-1m/10m (.dat), ml-20m/25m/32m/latest (.csv), or any CSV of ratings: a\n"
                           "folder, a ZIP as downloaded, or one ratings file. Writes one verified dataset file.\n"
                           "With --store: a dataset and what was rated, changed and taken away while it was served;\n"
                           "the latest word wins, new users are added, ratings of unknown movies are left out.",
                           "reel import ml-20m.zip -o ml-20m.reel", table, argc, argv, &source, 0, 1);
    if (status >= 0) return status;
    if (!store == !source) return cli_usage(cli, store ? "DIR and --store exclude each other" : "DIR is missing");
    if (!store != !from) return cli_usage(cli, "--store STORE and --from DATASET go together");
    if (!out) return cli_usage(cli, "-o DATASET is missing");
    status = cli_context(cli);
    if (status >= 0) return status;
    if (store) return import_store(cli, store, from, out);
    reel_import_report report;
    reel_error err;
    if (reel_dataset_import(cli->ctx, source, &options, out, &report, &err) != REEL_OK) return cli_fail(cli, &err);
    if (cli->json) return cli_print_json(cli, report_json(&report));
    if (!cli->quiet) print_report(&report, out);
    return CLI_OK;
}
