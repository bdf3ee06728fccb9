/* reel cluster: spectral clustering of users. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/cluster.h>
#include "cli.h"

struct cluster_args {
    const char *dataset, *out, *html, *affinity, *profile, *scaling, *assign, *approx, *model;
    int auto_k;
    int64_t min_ratings, max_ratings;
    reel_cluster_options options;
};

/* Index of `text` in a NULL-terminated list, -1 if it is not there. */
static int choose(const char *text, const char *const *names) {
    for (int i = 0; names[i]; i++)
        if (strcmp(text, names[i]) == 0) return i;
    return -1;
}

static int parse(struct cli *cli, int argc, char **argv, struct cluster_args *args) {
    reel_cluster_options *o = &args->options;
    const struct cli_option options[] = {
        {"--clusters", "-k", CLI_INT, &o->k, "K", "number of clusters (default 4)"},
        {"--auto-k", NULL, CLI_FLAG, &args->auto_k, NULL, "choose K by the largest eigengap"},
        {"--affinity", NULL, CLI_TEXT, &args->affinity, "NAME",
         "polynomial (default), cosine, linear, rbf or neighbors"},
        {"--gamma", NULL, CLI_REAL, &o->gamma, "X", "of polynomial and rbf (default 1)"},
        {"--coef0", NULL, CLI_REAL, &o->coef0, "X", "of polynomial (default 1)"},
        {"--degree", NULL, CLI_INT, &o->degree, "N", "of polynomial (default 3)"},
        {"--neighbors", NULL, CLI_INT, &o->neighbors, "N", "nearest neighbours (default 10)"},
        {"--profile", NULL, CLI_TEXT, &args->profile, "NAME", "genre-sums (default), genre-means or factors"},
        {"--model", "-m", CLI_TEXT, &args->model, "MODEL",
         "model whose user factors are clustered (--profile factors)"},
        {"--scaling", NULL, CLI_TEXT, &args->scaling, "NAME", "minmax (default), l1, l2 or none"},
        {"--min-ratings", NULL, CLI_COUNT, &args->min_ratings, "N", "only users with at least N ratings"},
        {"--max-ratings", NULL, CLI_COUNT, &args->max_ratings, "N", "only users with at most N ratings"},
        {"--assign", NULL, CLI_TEXT, &args->assign, "NAME", "kmeans (default) or cluster_qr"},
        {"--approx", NULL, CLI_TEXT, &args->approx, "nystroem:M",
         "approximate the affinity by M landmarks (default: exact)"},
        {"--tolerance", NULL, CLI_REAL, &o->tolerance, "X", "of the eigenvectors' residuals (default 1e-9)"},
        {"--output", "-o", CLI_TEXT, &args->out, "FILE", "cluster file to write"},
        {"--html", NULL, CLI_TEXT, &args->html, "FILE", "report with plots"},
        {0},
    };
    int status =
        cli_parse(cli, "DATASET [-k K] [-o FILE]", "Clusters users by taste: exact spectral clustering.",
                  "reel cluster ml.reel -k 4 --min-ratings 101 --max-ratings 999 -o clusters.reel --html clusters.html",
                  options, argc, argv, &args->dataset, 1, 1);
    if (status >= 0) return status;
    static const char *const affinities[] = {"cosine", "linear", "polynomial", "rbf", "neighbors", NULL};
    static const char *const profiles[] = {"genre-sums", "genre-means", "factors", NULL};
    static const char *const scalings[] = {"minmax", "l1", "l2", "none", NULL};
    static const char *const assignments[] = {"kmeans", "cluster_qr", NULL};
    int affinity = choose(args->affinity, affinities), profile = choose(args->profile, profiles);
    int scaling = choose(args->scaling, scalings), assign = choose(args->assign, assignments);
    if (affinity < 0)
        return cli_usage(cli, "--affinity cannot be '%s' (polynomial, cosine, linear, rbf, neighbors)", args->affinity);
    if (profile < 0)
        return cli_usage(cli, "--profile cannot be '%s' (genre-sums, genre-means, factors)", args->profile);
    if (scaling < 0) return cli_usage(cli, "--scaling cannot be '%s' (minmax, l1, l2, none)", args->scaling);
    if (assign < 0) return cli_usage(cli, "--assign cannot be '%s' (kmeans, cluster_qr)", args->assign);
    if ((profile == REEL_PROFILE_FACTORS) != (args->model != NULL))
        return cli_usage(cli, "--profile factors and --model go together");
    if (args->auto_k) o->k = 0;
    if (!args->auto_k && o->k == 0) return cli_usage(cli, "-k must be 2 or more (--auto-k chooses it)");
    if (args->approx) {
        char *end = NULL;
        if (strncmp(args->approx, "nystroem:", 9) == 0) o->nystroem = (int)strtol(args->approx + 9, &end, 10);
        if (!end || *end || end == args->approx + 9 || o->nystroem < 2)
            return cli_usage(cli, "--approx takes nystroem:M (found '%s')", args->approx);
    }
    o->affinity = (reel_affinity)affinity;
    o->profile = (reel_profile)profile;
    o->scaling = (reel_scaling)scaling;
    o->assignment = (reel_assignment)assign;
    o->min_ratings = args->min_ratings;
    o->max_ratings = args->max_ratings;
    o->seed = (uint64_t)cli->seed;
    return -1;
}

static int write_text(struct cli *cli, const char *path, const char *text) {
    FILE *file = text ? fopen(path, "wb") : NULL;
    int failed = !file || fputs(text, file) < 0;
    if (file && fclose(file) != 0) failed = 1;
    if (!failed) return -1;
    reel_error err = {.status = REEL_IO};
    snprintf(err.message, sizeof err.message, "%s: writing the report failed", path);
    return cli_fail(cli, &err);
}

static int answer(struct cli *cli, const struct cluster_args *args, const reel_dataset *dataset,
                  const reel_clusters *clusters, const reel_cluster_report *report) {
    if (args->html) {
        char *html = reel_clusters_html(clusters, dataset, report);
        int status = write_text(cli, args->html, html);
        reel_string_free(html);
        if (status >= 0) return status;
    }
    char *text =
        cli->json ? reel_clusters_json(clusters, dataset, report) : reel_clusters_text(clusters, dataset, report);
    int failed = !text || printf(cli->json ? "%s\n" : "%s", text) < 0 || fflush(stdout) != 0;
    reel_string_free(text);
    if (!failed) return CLI_OK;
    reel_error err = {REEL_IO, "writing the report failed"};
    return cli_fail(cli, &err);
}

int cmd_cluster(struct cli *cli, int argc, char **argv) {
    struct cluster_args args = {
        .affinity = "polynomial", .profile = "genre-sums", .scaling = "minmax", .assign = "kmeans"};
    reel_cluster_options_default(&args.options);
    reel_dataset *dataset = NULL;
    reel_model *model = NULL;
    reel_clusters *clusters = NULL;
    reel_cluster_report report;
    reel_error err;
    int status = parse(cli, argc, argv, &args);
    if (status < 0) status = cli_context(cli);
    if (status >= 0) return status;
    if (reel_dataset_open(cli->ctx, args.dataset, &dataset, &err) != REEL_OK ||
        (args.model && reel_model_open(cli->ctx, args.model, &model, &err) != REEL_OK)) {
        status = cli_fail(cli, &err);
        goto cleanup;
    }
    args.options.model = model;
    if (reel_cluster(cli->ctx, dataset, &args.options, &clusters, &report, &err) != REEL_OK ||
        (args.out && reel_clusters_save(cli->ctx, clusters, args.out, &err) != REEL_OK))
        status = cli_fail(cli, &err);
    else
        status = answer(cli, &args, dataset, clusters, &report);
cleanup:
    reel_clusters_free(clusters);
    reel_model_free(model);
    reel_dataset_free(dataset);
    return status;
}
