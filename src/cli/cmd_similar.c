/* reel similar: the movies most like one, or every movie's list. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "similar_batch.h"

static const char *const kinds[] = {[REEL_SIMILAR_GENRE] = "genre",
                                    [REEL_SIMILAR_FACTORS] = "factors",
                                    [REEL_SIMILAR_GENOME] = "genome",
                                    [REEL_SIMILAR_RATINGS] = "ratings"};
enum { N_KINDS = (int)(sizeof kinds / sizeof kinds[0]) };

static int kind_of(const char *name) {
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i], name) == 0) return i;
    return -1;
}

static int print_items_json(const struct cli *cli, const reel_dataset *dataset, int32_t movie, int by,
                            const reel_similar_movie *items, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) {
        json_t *item = scoring_movie_json(dataset, items[i].movie);
        json_object_set_new(item, "similarity", scoring_number((double)items[i].similarity, 6));
        json_array_append_new(list, item);
    }
    return cli_print_json(
        cli, json_pack("{s:o,s:s,s:o}", "movie", scoring_movie_json(dataset, movie), "by", kinds[by], "items", list));
}

static void print_items(const reel_dataset *dataset, int32_t movie, int by, const reel_similar_movie *items, int n) {
    reel_movie facts;
    char genres[512];
    int width = 5;
    reel_dataset_get_movie(dataset, movie, &facts);
    printf("like %s (%s), by %s%s\n", facts.title, scoring_genres(dataset, facts.genre_bits, genres, sizeof genres),
           kinds[by], n ? "" : ": no movie can be compared with it");
    for (int i = 0; i < n; i++) {
        reel_dataset_get_movie(dataset, items[i].movie, &facts);
        if (scoring_title_width(facts.title) > width) width = scoring_title_width(facts.title);
    }
    if (n) printf("    #      id  similarity  %-*s  genres\n", width, "title");
    for (int i = 0; i < n; i++) {
        reel_dataset_get_movie(dataset, items[i].movie, &facts);
        printf("%5d %7d  %10.4f  ", i + 1, facts.id, (double)items[i].similarity);
        scoring_print_title(facts.title, width);
        printf("  %s\n", scoring_genres(dataset, facts.genre_bits, genres, sizeof genres));
    }
}

static int similar(struct cli *cli, const struct scoring *scoring, int64_t id, int by, int n) {
    reel_error err;
    reel_dataset_info info;
    int32_t movie;
    if (scoring_find_movie(scoring->dataset, id, &movie, &err) != REEL_OK) return cli_fail(cli, &err);
    reel_dataset_get_info(scoring->dataset, &info);
    if (n > info.n_movies) n = info.n_movies;
    reel_similar_movie *items = calloc((size_t)n, sizeof *items);
    if (!items) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    int status, n_items;
    if (reel_similar(cli->ctx, scoring->dataset, scoring->model, movie, (reel_similarity)by, n, items, &n_items,
                     &err) != REEL_OK) {
        status = cli_fail(cli, &err);
    } else if (cli->json) {
        status = print_items_json(cli, scoring->dataset, movie, by, items, n_items);
    } else {
        print_items(scoring->dataset, movie, by, items, n_items);
        status = CLI_OK;
    }
    free(items);
    return status;
}

int cmd_similar(struct cli *cli, int argc, char **argv) {
    const char *dataset, *model = NULL, *by_name = "genre", *path = NULL;
    int64_t movie = -1;
    int n = 10, all = 0;
    const struct cli_option options[] = {
        {"--movie", NULL, CLI_COUNT, &movie, "ID", "the movie (the data set's own id)"},
        {"--all", NULL, CLI_FLAG, &all, NULL, "the lists of all movies"},
        {"--by", NULL, CLI_TEXT, &by_name, "KIND", "genre (default), factors, genome or ratings"},
        {"--model", "-m", CLI_TEXT, &model, "FILE", "model whose movie factors are compared (--by factors)"},
        {"--number", "-n", CLI_INT, &n, "N", "how many (default 10)"},
        {"--output", "-o", CLI_TEXT, &path, "FILE", "with --all: .npy or CSV (default: CSV to stdout)"},
        {0},
    };
    int status =
        cli_parse(cli, "DATASET (--movie ID | --all [-o FILE]) [--by KIND]",
                  "Lists the movies most like one: by the cosine of their genres (TF-IDF), of a model's factors, of\n"
                  "the tag genome, or of the ratings of the users who rated both. Ties: most rated first, then id.",
                  "reel similar ml.reel --movie 1 --by genre", options, argc, argv, &dataset, 1, 1);
    if (status >= 0) return status;
    int by = kind_of(by_name);
    if (by < 0) return cli_usage(cli, "--by must be genre, factors, genome or ratings (found '%s')", by_name);
    if ((movie < 0) != all) return cli_usage(cli, "either --movie ID or --all is needed");
    if (path && !all) return cli_usage(cli, "-o FILE needs --all");
    if (all && cli->json && !path) return cli_usage(cli, "--json needs -o FILE: stdout is for the JSON object");
    if (n < 1) return cli_usage(cli, "-n must be at least 1 (found %d)", n);
    if (by == REEL_SIMILAR_FACTORS && !model) return cli_usage(cli, "--by factors needs --model FILE");
    status = cli_context(cli);
    if (status >= 0) return status;
    struct scoring scoring;
    reel_error err;
    if (scoring_open(cli, dataset, by == REEL_SIMILAR_FACTORS ? model : NULL, 0, &scoring, &err) != REEL_OK)
        return cli_fail(cli, &err);
    status = all ? similar_batch(cli, &scoring, (reel_similarity)by, n, path) : similar(cli, &scoring, movie, by, n);
    scoring_close(&scoring);
    return status;
}
