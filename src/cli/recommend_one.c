#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "recommend.h"

/* Stars that the user or visitor gave a movie. */
static double stars_of(const reel_dataset *dataset, const reel_recommend_query *query, int32_t movie) {
    for (int64_t i = 0; query->user < 0 && i < query->n_rated; i++)
        if (query->rated_movies[i] == movie) return (double)query->rated_stars[i];
    if (query->user < 0) return NAN;
    const int32_t *movies;
    const uint8_t *ratings;
    int64_t n = reel_dataset_user_ratings(dataset, query->user, &movies, &ratings, NULL);
    for (int64_t i = 0; i < n; i++)
        if (movies[i] == movie) return 0.5 * ratings[i];
    return NAN;
}

static json_t *item_json(const reel_dataset *dataset, const reel_recommend_query *query,
                         const reel_recommendation *item) {
    json_t *object = scoring_movie_json(dataset, item->movie);
    json_object_set_new(object, "score", scoring_number((double)item->score, 4));
    json_object_set_new(object, "raw_score", scoring_number((double)item->raw_score, 6));
    if (!isnan(item->sd)) json_object_set_new(object, "sd", scoring_number((double)item->sd, 4));
    if (!query->explain) return object;
    json_t *reasons = json_array();
    for (int i = 0; i < item->n_explain; i++) {
        json_t *reason = scoring_movie_json(dataset, item->explain_movie[i]);
        json_object_set_new(reason, "rating", scoring_number(stars_of(dataset, query, item->explain_movie[i]), 1));
        json_object_set_new(reason, "share", scoring_number((double)item->explain_share[i], 6));
        json_array_append_new(reasons, reason);
    }
    json_object_set_new(object, "explain", reasons);
    return object;
}

static int print_json(const struct cli *cli, const struct scoring *scoring, const reel_recommend_query *query,
                      const reel_recommendation *items, int n) {
    json_t *list = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(list, item_json(scoring->dataset, query, &items[i]));
    json_t *user = query->user < 0 ? json_null() : json_integer(reel_dataset_user_id(scoring->dataset, query->user));
    return cli_print_json(cli, json_pack("{s:o,s:s,s:i,s:o}", "user", user, "algorithm",
                                         reel_model_algorithm(scoring->model), "offset", query->offset, "items", list));
}

/* The reasons that raised the score, or those that lowered it. */
static void print_reasons(const reel_dataset *dataset, const reel_recommend_query *query,
                          const reel_recommendation *item, int raised) {
    int n = 0;
    for (int i = 0; i < item->n_explain; i++) {
        reel_movie facts;
        if ((item->explain_share[i] >= 0) != raised) continue;
        reel_dataset_get_movie(dataset, item->explain_movie[i], &facts);
        printf("%s %s %.1f (%+.2f)",
               n++      ? ","
               : raised ? "        because you rated"
                        : "        although you rated",
               facts.title, stars_of(dataset, query, item->explain_movie[i]), (double)item->explain_share[i]);
    }
    if (n) putchar('\n');
}

static void print_heading(const struct scoring *scoring, const reel_recommend_query *query) {
    if (query->user < 0)
        printf("for a new user with %s ratings", cli_thousands(query->n_rated));
    else
        printf("for user %d with %s ratings", reel_dataset_user_id(scoring->dataset, query->user),
               cli_thousands(reel_dataset_user_ratings(scoring->dataset, query->user, NULL, NULL, NULL)));
    printf(", by %s\n", reel_model_algorithm(scoring->model));
}

static void print_table(const struct scoring *scoring, const reel_recommend_query *query,
                        const reel_recommendation *items, int n) {
    reel_movie facts;
    char genres[512];
    int width = 5;
    print_heading(scoring, query);
    if (n == 0) puts("no movie is left to recommend");
    for (int i = 0; i < n; i++) {
        reel_dataset_get_movie(scoring->dataset, items[i].movie, &facts);
        if (scoring_title_width(facts.title) > width) width = scoring_title_width(facts.title);
    }
    const int deviations = n && !isnan(items[0].sd);
    if (n) printf("    #      id  score  %s%-*s  genres\n", deviations ? "  +-  " : "", width, "title");
    for (int i = 0; i < n; i++) {
        reel_dataset_get_movie(scoring->dataset, items[i].movie, &facts);
        printf("%5d %7d  %5.2f  ", query->offset + i + 1, facts.id, (double)items[i].score);
        if (deviations) printf("%4.2f  ", (double)items[i].sd);
        scoring_print_title(facts.title, width);
        printf("  %s\n", scoring_genres(scoring->dataset, facts.genre_bits, genres, sizeof genres));
        print_reasons(scoring->dataset, query, &items[i], 1);
        print_reasons(scoring->dataset, query, &items[i], 0);
    }
}

static int recommend(struct cli *cli, const struct scoring *scoring, reel_recommend_query *query) {
    reel_dataset_info info;
    reel_error err;
    reel_dataset_get_info(scoring->dataset, &info);
    if (query->n > info.n_movies) query->n = info.n_movies > 0 ? info.n_movies : 1;
    reel_recommendation *items = calloc((size_t)query->n, sizeof *items);
    if (!items) return cli_fail(cli, &(reel_error){REEL_NO_MEMORY, "out of memory"});
    int n, status = CLI_OK;
    if (reel_scorer_recommend(scoring->scorer, query, items, &n, &err) != REEL_OK)
        status = cli_fail(cli, &err);
    else if (cli->json)
        status = print_json(cli, scoring, query, items, n);
    else
        print_table(scoring, query, items, n);
    free(items);
    return status;
}

int recommend_one(struct cli *cli, const struct scoring *scoring, const struct recommend_args *args) {
    reel_recommend_query query = args->query;
    reel_rows rated = {0};
    reel_error err;
    reel_status status = args->rated
                             ? reel_rows_read(cli->ctx, scoring->dataset, args->rated, REEL_ROWS_RATED, &rated, &err)
                             : scoring_find_user(scoring->dataset, args->user, &query.user, &err);
    if (status != REEL_OK) return cli_fail(cli, &err);
    query.n_rated = rated.n;
    query.rated_movies = rated.movies;
    query.rated_stars = rated.stars;
    query.explain = args->explain ? 3 : 0;
    int code = recommend(cli, scoring, &query);
    reel_rows_free(&rated);
    return code;
}
