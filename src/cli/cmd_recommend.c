/* reel recommend: the best unseen movies of a user, a new user, some users or all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/cluster.h>
#include "recommend.h"

static int check(const struct cli *cli, const struct recommend_args *args) {
    int sources = (args->user >= 0) + (args->rated != NULL) + (args->users != NULL) + args->all;
    int batch = args->users || args->all;
    if (!args->model) return cli_usage(cli, "--model FILE is needed");
    if (sources != 1) return cli_usage(cli, "give one of --user ID, --rated FILE, --users FILE and --all");
    if (args->query.n < 1) return cli_usage(cli, "-n must be at least 1 (found %d)", args->query.n);
    if (args->query.offset < 0) return cli_usage(cli, "--offset must be at least 0 (found %d)", args->query.offset);
    if (args->min_ratings < 0) return cli_usage(cli, "--min-ratings must be at least 0");
    if (!batch && args->path) return cli_usage(cli, "-o goes with --users or --all");
    if (batch && (args->explain || args->query.offset > 0))
        return cli_usage(cli, "--explain and --offset go with --user or --rated");
    if (args->candidates && strcmp(args->candidates, "cluster") != 0)
        return cli_usage(cli, "--candidates can only be 'cluster' (found '%s')", args->candidates);
    if ((args->candidates != NULL) != (args->clusters != NULL))
        return cli_usage(cli, "--candidates cluster and --clusters FILE go together");
    if (args->candidates && args->user < 0) return cli_usage(cli, "--candidates cluster goes with --user ID");
    if (batch && cli->json && !args->path) return cli_usage(cli, "--json needs -o FILE: stdout is for the JSON object");
    return -1;
}

static int parse(struct cli *cli, int argc, char **argv, struct recommend_args *args) {
    const struct cli_option options[] = {
        {"--model", "-m", CLI_TEXT, &args->model, "FILE", "the model"},
        {"--user", NULL, CLI_COUNT, &args->user, "ID", "a user of the dataset"},
        {"--rated", NULL, CLI_TEXT, &args->rated, "FILE", "a new user's ratings: CSV of movieId,rating"},
        {"--users", NULL, CLI_TEXT, &args->users, "FILE", "users of the dataset: CSV of userId"},
        {"--all", NULL, CLI_FLAG, &args->all, NULL, "every user of the dataset"},
        {"--number", "-n", CLI_INT, &args->query.n, "N", "how many (default 10)"},
        {"--offset", NULL, CLI_INT, &args->query.offset, "N", "leave out the N best"},
        {"--genre", NULL, CLI_LIST, &args->genres, "NAME", "only this genre; given again: any of them"},
        {"--year-from", NULL, CLI_INT, &args->query.year_from, "YEAR", "only movies of this year or later"},
        {"--year-to", NULL, CLI_INT, &args->query.year_to, "YEAR", "only movies of this year or earlier"},
        {"--min-ratings", NULL, CLI_COUNT, &args->min_ratings, "N", "only movies with at least N ratings"},
        {"--candidates", NULL, CLI_TEXT, &args->candidates, "cluster", "only movies that the user's cluster rated"},
        {"--clusters", NULL, CLI_TEXT, &args->clusters, "FILE", "cluster file of reel cluster"},
        {"--explain", NULL, CLI_FLAG, &args->explain, NULL, "name the rated movies that carried a score"},
        {"--output", "-o", CLI_TEXT, &args->path, "FILE", "for many users: .npy or CSV (default: CSV to stdout)"},
        {0},
    };
    return cli_parse(cli, "DATASET --model FILE (--user ID | --rated FILE | --users FILE | --all)",
                     "Recommends the movies with the highest scores among those not rated yet. Equal scores: by id.",
                     "reel recommend ml.reel --model svd.model --user 42 -n 10 --explain", options, argc, argv,
                     &args->dataset, 1, 1);
}

/* The movies that anybody of the user's cluster rated: *candidates (n_movies,), the caller's to free. */
static reel_status cluster_candidates(struct cli *cli, const struct recommend_args *args, const reel_dataset *dataset,
                                      uint8_t **candidates, reel_error *err) {
    reel_clusters *clusters = NULL;
    reel_dataset_info info;
    int32_t user;
    int cluster;
    reel_dataset_get_info(dataset, &info);
    reel_status status = scoring_find_user(dataset, args->user, &user, err);
    if (status == REEL_OK) status = reel_clusters_open(cli->ctx, args->clusters, &clusters, err);
    if (status == REEL_OK) status = reel_clusters_place(clusters, dataset, user, &cluster, err);
    if (status == REEL_OK && cluster < 0) {
        *err = (reel_error){REEL_NOT_FOUND, ""};
        snprintf(err->message, sizeof err->message, "%.400s: user %lld has no cluster (no affinity to others)",
                 args->clusters, (long long)args->user);
        status = REEL_NOT_FOUND;
    }
    if (status == REEL_OK) {
        *candidates = malloc((size_t)info.n_movies + 1);
        if (!*candidates) {
            *err = (reel_error){REEL_NO_MEMORY, "out of memory"};
            status = REEL_NO_MEMORY;
        }
    }
    if (status == REEL_OK) status = reel_clusters_candidates(clusters, dataset, cluster, *candidates, err);
    reel_clusters_free(clusters);
    return status;
}

int cmd_recommend(struct cli *cli, int argc, char **argv) {
    struct recommend_args args = {.user = -1};
    reel_recommend_query_default(&args.query);
    int status = parse(cli, argc, argv, &args);
    if (status < 0) status = check(cli, &args);
    if (status < 0) status = cli_context(cli);
    if (status >= 0) return status;
    args.query.min_ratings = args.min_ratings;
    struct scoring scoring;
    reel_error err;
    if (scoring_open(cli, args.dataset, args.model, 1, &scoring, &err) != REEL_OK) return cli_fail(cli, &err);
    uint8_t *candidates = NULL;
    if (scoring_genre_bits(scoring.dataset, &args.genres, &args.query.genre_any, &err) != REEL_OK ||
        (args.candidates && cluster_candidates(cli, &args, scoring.dataset, &candidates, &err) != REEL_OK)) {
        status = cli_fail(cli, &err);
        goto cleanup;
    }
    args.query.candidates = candidates;
    status = args.users || args.all ? recommend_batch(cli, &scoring, &args) : recommend_one(cli, &scoring, &args);
cleanup:
    scoring_close(&scoring);
    free(candidates);
    return status;
}
