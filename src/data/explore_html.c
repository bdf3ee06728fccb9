/* The report as one self-contained HTML page. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/display_text.h"
#include "data/explore_facts.h"
#include "data/html_page.h"
#include "data/svg_plot.h"

/* ---- shared parts ---- */

struct shown {
    char text[64];
};

static struct shown percent(int64_t count, int64_t total) {
    struct shown out;
    snprintf(out.text, sizeof out.text, "%.1f%%", total ? 100.0 * (double)count / (double)total : 0.0);
    return out;
}

/* A table of two columns that folds away under a plot. */
static void details_begin(struct strbuf *out, const char *caption, const char *first, const char *second) {
    const char *headers[2] = {first, second};
    html_details_begin(out, "Figures");
    html_table_begin(out, caption, headers, 2, 2);
}

static void details_row(struct strbuf *out, const char *name, int64_t count) {
    html_row_begin(out);
    html_cell(out, name);
    html_number(out, "%s", text_thousands(count).text);
    html_row_end(out);
}

static void details_end(struct strbuf *out) {
    html_table_end(out);
    html_details_end(out);
}

/* A card of figures: a row a spread, or, where the card is narrow, a column. */
struct named_spread {
    const char *name;
    const struct spread *spread;
    int digits; /* of values that may be whole */
};

static void spread_cell(struct strbuf *out, const struct named_spread *row, int figure) {
    const struct spread *s = row->spread;
    const double values[5] = {s->min, s->max, s->mean, s->median, s->std};
    int halved = figure == 3 && s->median > floor(s->median), digits = figure == 2 || figure == 4 ? 2 : row->digits;
    if (s->n)
        html_number(out, "%.*f", halved && digits == 0 ? 1 : digits, values[figure]);
    else
        html_number(out, "-");
}

static void spread_rows(struct strbuf *out, const char *caption, const struct named_spread *rows, int n) {
    static const char *const headers[6] = {"", "min", "max", "mean", "median", "std"};
    html_card_begin(out, caption, NULL, HTML_FULL);
    html_table_begin(out, caption, headers, 6, 0x3e);
    for (int i = 0; i < n; i++) {
        html_row_begin(out);
        html_cell(out, rows[i].name);
        for (int figure = 0; figure < 5; figure++) spread_cell(out, &rows[i], figure);
        html_row_end(out);
    }
    html_table_end(out);
    html_card_end(out);
}

static void spread_columns(struct strbuf *out, const char *caption, const struct named_spread columns[2]) {
    static const char *const figures[5] = {"min", "max", "mean", "median", "std"};
    const char *headers[3] = {"", columns[0].name, columns[1].name};
    html_card_begin(out, caption, NULL, HTML_NARROW);
    html_table_begin(out, caption, headers, 3, 6);
    for (int figure = 0; figure < 5; figure++) {
        html_row_begin(out);
        html_cell(out, figures[figure]);
        spread_cell(out, &columns[0], figure);
        spread_cell(out, &columns[1], figure);
        html_row_end(out);
    }
    html_table_end(out);
    html_card_end(out);
}

/* ---- ratings ---- */

static void stars_card(struct strbuf *out, const struct rating_facts *ratings) {
    struct shown labels[10], shares[10];
    struct svg_bar bars[10];
    for (int h = 1; h <= 10; h++) {
        snprintf(labels[h - 1].text, sizeof labels[h - 1].text, "%.1f", 0.5 * h);
        shares[h - 1] = percent(ratings->histogram[h], ratings->spread.n);
        bars[h - 1] = (struct svg_bar){labels[h - 1].text, (double)ratings->histogram[h], shares[h - 1].text};
    }
    struct svg_plot plot = {.id = "stars",
                            .title = "Ratings by stars",
                            .description = "Bars: the share of each rating from half a star to five stars.",
                            .x_label = "stars"};
    html_card_begin(out, "Ratings by stars", NULL, HTML_NARROW);
    svg_columns(out, &plot, bars, ratings->spread.n ? 10 : 0);
    details_begin(out, "Ratings by stars", "stars", "ratings");
    for (int i = 0; i < 10; i++) details_row(out, labels[i].text, ratings->histogram[i + 1]);
    details_end(out);
    html_card_end(out);
}

static void months_table(struct strbuf *out, const struct rating_facts *ratings) {
    static const char *const headers[3] = {"month", "ratings", "mean"};
    html_details_begin(out, "Figures");
    html_table_begin(out, "Ratings a month", headers, 3, 6);
    for (int64_t i = 0; i < ratings->n_months; i++) {
        const struct month_fact *month = &ratings->months[i];
        char name[32];
        snprintf(name, sizeof name, "%04d-%02d", (int)month->year, (int)month->month);
        html_row_begin(out);
        html_cell(out, name);
        html_number(out, "%s", text_thousands(month->n).text);
        if (month->n)
            html_number(out, "%.3f", month->mean);
        else
            html_number(out, "-");
        html_row_end(out);
    }
    html_table_end(out);
    html_details_end(out);
}

/* Both lines over the months: how many ratings, and their mean where there are enough. */
static void time_cards(struct strbuf *out, const struct rating_facts *ratings) {
    enum { ENOUGH = 10 };
    size_t n = (size_t)ratings->n_months;
    double *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y), *means = malloc((n + 1) * sizeof *means);
    struct svg_plot counts = {.id = "months",
                              .title = "Ratings over time",
                              .description = "A line: how many ratings were given in each month.",
                              .y_label = "ratings a month",
                              .plain_x = 1};
    struct svg_plot mean = {.id = "means",
                            .title = "Mean rating over time",
                            .description = "A line: the mean rating of each month.",
                            .y_label = "stars",
                            .plain_x = 1,
                            .y_low = 1.0,
                            .y_high = 5.0};
    if (x && y && means) {
        for (size_t i = 0; i < n; i++) {
            const struct month_fact *month = &ratings->months[i];
            x[i] = month->year + (month->month - 1) / 12.0;
            y[i] = (double)month->n;
            means[i] = month->n >= ENOUGH ? month->mean : (double)NAN;
        }
        html_card_begin(out, counts.title, NULL, HTML_NARROW);
        svg_line(out, &counts, x, y, ratings->n_months);
        months_table(out, ratings);
        html_card_end(out);
        html_card_begin(out, mean.title, "Months with at least 10 ratings.", HTML_NARROW);
        svg_line(out, &mean, x, means, ratings->n_months);
        html_card_end(out);
    } else {
        out->failed = 1;
    }
    free(x);
    free(y);
    free(means);
}

static void ratings_section(struct strbuf *out, const struct explore_facts *facts) {
    const struct named_spread rows[] = {{"stars", &facts->ratings.spread, 1},
                                        {"votes a user", &facts->users.votes.votes.spread, 0},
                                        {"votes a movie", &facts->movies.votes.votes.spread, 0},
                                        {"mean of a user", &facts->users.votes.means, 2},
                                        {"mean of a movie", &facts->movies.votes.means, 2}};
    html_section_begin(out, "ratings", "Ratings");
    stars_card(out, &facts->ratings);
    time_cards(out, &facts->ratings);
    spread_rows(out, "Where ratings and votes lie", rows, 5);
    html_section_end(out);
}

/* ---- votes ---- */

static void votes_card(struct strbuf *out, const struct svg_plot *plot, const struct distribution *votes) {
    size_t n = (size_t)votes->n;
    double *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y);
    struct vote_bin bins[VOTE_BINS];
    int n_bins = explore_vote_bins(votes, bins);
    html_card_begin(out, plot->title, "Both axes are logarithmic.", HTML_NARROW);
    if (!x || !y) out->failed = 1;
    for (size_t i = 0; x && y && i < n; i++) {
        x[i] = (double)votes->values[i].value;
        y[i] = (double)votes->values[i].count;
    }
    if (x && y) svg_scatter(out, plot, x, y, votes->n);
    details_begin(out, plot->title, "votes", plot->y_label);
    for (int i = 0; i < n_bins; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s to %s", text_thousands(bins[i].from).text, text_thousands(bins[i].to).text);
        details_row(out, name, bins[i].count);
    }
    details_end(out);
    html_card_end(out);
    free(x);
    free(y);
}

static void ranking_card(struct strbuf *out, const char *title, const char *note, const struct ranked *entries, int n) {
    static const char *const headers[4] = {"title", "id", "votes", "mean"}, *const user_headers[3] = {"user", "votes",
                                                                                                      "mean"};
    if (n == 0) return;
    int titles = entries[0].title != NULL;
    html_card_begin(out, title, note, HTML_NARROW);
    html_table_begin(out, title, titles ? headers : user_headers, titles ? 4 : 3, titles ? 0xe : 6);
    for (int i = 0; i < n; i++) {
        html_row_begin(out);
        struct shown id;
        snprintf(id.text, sizeof id.text, "%d", (int)entries[i].id);
        html_cell(out, titles ? entries[i].title : id.text);
        if (titles) html_number(out, "%s", id.text);
        html_number(out, "%s", text_thousands(entries[i].votes).text);
        html_number(out, "%.3f", entries[i].mean);
        html_row_end(out);
    }
    html_table_end(out);
    html_card_end(out);
}

static void movie_rankings(struct strbuf *out, const struct votes_facts *votes) {
    static const char many[] = "Among movies with at least 50 votes.";
    _Static_assert(EXPLORE_MIN_VOTES == 50, "the note above says 50");
    ranking_card(out, "Movies with the most votes", NULL, votes->by_votes.first, votes->by_votes.n);
    ranking_card(out, "Best-rated movies", many, votes->by_mean_of_many.first, votes->by_mean_of_many.n);
    ranking_card(out, "Worst-rated movies", many, votes->by_mean_of_many.last, votes->by_mean_of_many.n);
    ranking_card(out, "Movies with the fewest votes", NULL, votes->by_votes.last, votes->by_votes.n);
    ranking_card(out, "Highest means of all", "However few the votes.", votes->by_mean.first, votes->by_mean.n);
    ranking_card(out, "Lowest means of all", "However few the votes.", votes->by_mean.last, votes->by_mean.n);
}

static void user_rankings(struct strbuf *out, const struct votes_facts *votes) {
    ranking_card(out, "Users with the most votes", NULL, votes->by_votes.first, votes->by_votes.n);
    ranking_card(out, "Users with the fewest votes", NULL, votes->by_votes.last, votes->by_votes.n);
    ranking_card(out, "Users with the highest means", NULL, votes->by_mean.first, votes->by_mean.n);
    ranking_card(out, "Users with the lowest means", NULL, votes->by_mean.last, votes->by_mean.n);
}

static void votes_section(struct strbuf *out, const struct explore_facts *facts) {
    struct svg_plot users = {.id = "user-votes",
                             .title = "Votes a user",
                             .description = "Points: how many users gave a certain number of ratings.",
                             .x_label = "votes",
                             .y_label = "users",
                             .log_x = 1,
                             .log_y = 1};
    struct svg_plot movies = users;
    movies.id = "movie-votes";
    movies.title = "Votes a movie";
    movies.description = "Points: how many movies have a certain number of ratings.";
    movies.y_label = "movies";
    html_section_begin(out, "votes", "Votes");
    votes_card(out, &users, &facts->users.votes.votes);
    votes_card(out, &movies, &facts->movies.votes.votes);
    movie_rankings(out, &facts->movies.votes);
    user_rankings(out, &facts->users.votes);
    html_section_end(out);
}

/* ---- movies ---- */

static void genres_card(struct strbuf *out, const struct movie_facts *movies) {
    struct svg_bar bars[65];
    struct number_text counts[65];
    int n = movies->n_ranked_genres;
    for (int i = 0; i < n; i++) {
        counts[i] = text_thousands(movies->genres[i].movies);
        bars[i] = (struct svg_bar){movies->genres[i].name, (double)movies->genres[i].movies, counts[i].text};
    }
    struct svg_plot plot = {.id = "genres",
                            .title = "Movies by genre",
                            .description = "Bars: how many movies have each genre, most frequent first."};
    html_card_begin(out, "Movies by genre", "A movie counts once in each of its genres.", HTML_NARROW);
    svg_rows(out, &plot, bars, n);
    details_begin(out, "Movies by genre", "genre", "movies");
    for (int i = 0; i < n; i++) details_row(out, movies->genres[i].name, movies->genres[i].movies);
    details_end(out);
    html_card_end(out);
}

static void genres_each_card(struct strbuf *out, const struct movie_facts *movies) {
    const struct distribution *each = &movies->genres_each;
    struct svg_bar bars[65];
    struct shown labels[65], shares[65];
    int n = (int)each->n;
    for (int i = 0; i < n; i++) {
        snprintf(labels[i].text, sizeof labels[i].text, "%lld", (long long)each->values[i].value);
        shares[i] = percent(each->values[i].count, each->spread.n);
        bars[i] = (struct svg_bar){labels[i].text, (double)each->values[i].count, shares[i].text};
    }
    struct svg_plot plot = {.id = "genres-each",
                            .title = "Movies by number of genres",
                            .description = "Bars: the share of movies with one genre, two genres and so on.",
                            .x_label = "genres"};
    html_card_begin(out, "Movies by number of genres", NULL, HTML_NARROW);
    svg_columns(out, &plot, bars, n);
    details_begin(out, "Movies by number of genres", "genres", "movies");
    for (int i = 0; i < n; i++) details_row(out, labels[i].text, each->values[i].count);
    details_end(out);
    html_card_end(out);
}

static void years_card(struct strbuf *out, const struct movie_facts *movies) {
    const struct distribution *years = &movies->years;
    int64_t first = years->n ? years->values[0].value : 0;
    size_t n = years->n ? (size_t)(years->values[years->n - 1].value - first + 1) : 0;
    double *counts = calloc(n + 1, sizeof *counts);
    struct svg_plot plot = {.id = "years",
                            .title = "Movies by year",
                            .description = "Bars: how many movies came out in each year.",
                            .y_label = "movies",
                            .plain_x = 1};
    html_card_begin(out, "Movies by year", NULL, HTML_NARROW);
    if (!counts) out->failed = 1;
    for (int64_t i = 0; counts && i < years->n; i++)
        counts[years->values[i].value - first] = (double)years->values[i].count;
    if (counts) svg_histogram(out, &plot, (double)first, 1.0, counts, (int)n);
    details_begin(out, "Movies by year", "year", "movies");
    for (int64_t i = 0; i < years->n; i++) {
        char name[24];
        snprintf(name, sizeof name, "%lld", (long long)years->values[i].value);
        details_row(out, name, years->values[i].count);
    }
    details_end(out);
    html_card_end(out);
    free(counts);
}

/* Genres of the dataset that occur, most frequent first. */
static int genres_by_count(const struct movie_facts *movies, int order[64]) {
    int n = 0;
    for (int32_t i = 0; i < movies->n_ranked_genres; i++)
        for (int32_t g = 0; g < movies->n_genres; g++)
            if (movies->genres[i].name == movies->genre_names[g]) order[n++] = g;
    return n;
}

/* The lower triangle: each pair once. */
static void heat_map(struct strbuf *out, const struct movie_facts *movies) {
    int order[64], n = genres_by_count(movies, order);
    const char *names[64];
    double *values = malloc((size_t)64 * 64 * sizeof *values);
    if (!values) {
        out->failed = 1;
        return;
    }
    for (int i = 0; i < n; i++) names[i] = movies->genre_names[order[i]];
    for (int row = 1; row < n; row++)
        for (int column = 0; column + 1 < n; column++) {
            int64_t both = movies->together[(int64_t)order[row] * movies->n_genres + order[column]];
            values[(row - 1) * (n - 1) + column] = column < row ? (double)both : (double)NAN;
        }
    struct svg_plot plot = {.id = "pairs",
                            .title = "Genres that go together",
                            .description = "A heat map: how many movies have both genres of each pair."};
    int sides = n > 1 ? n - 1 : 0;
    svg_heat_map(out, &plot, names + 1, sides, names, sides, values);
    free(values);
}

static void pairs_card(struct strbuf *out, const struct movie_facts *movies) {
    char note[160];
    snprintf(note, sizeof note, "%s distinct pairs, %s occurrences. The scale is the square root of the number.",
             text_thousands(movies->n_pairs).text, text_thousands(movies->n_pair_occurrences).text);
    html_card_begin(out, "Genres that go together", note, HTML_WIDE);
    heat_map(out, movies);
    details_begin(out, "Genre pairs", "pair", "movies");
    for (int64_t i = 0; i < movies->n_pairs; i++) {
        struct strbuf name = {0};
        strbuf_printf(&name, "%s_%s", movies->genre_names[movies->pairs[i].first],
                      movies->genre_names[movies->pairs[i].second]);
        out->failed |= name.failed;
        if (!name.failed) details_row(out, name.data, movies->pairs[i].movies);
        strbuf_free(&name);
    }
    details_end(out);
    html_card_end(out);
}

static void movies_section(struct strbuf *out, const struct explore_facts *facts) {
    const struct movie_facts *movies = &facts->movies;
    const struct named_spread spreads[2] = {{"genres a movie", &movies->genres_each.spread, 0},
                                            {"year", &movies->years.spread, 0}};
    html_section_begin(out, "movies", "Movies");
    years_card(out, movies);
    genres_each_card(out, movies);
    spread_columns(out, "Where genres and years lie", spreads);
    genres_card(out, movies);
    pairs_card(out, movies);
    html_section_end(out);
}

/* ---- the page ---- */

static void key_figures(struct strbuf *out, const struct explore_facts *facts) {
    struct html_figure figures[8];
    struct number_text movies = text_thousands(facts->movies.n), users = text_thousands(facts->users.n);
    struct number_text rated = text_thousands(facts->movies.votes.votes.spread.n);
    struct number_text ratings = text_thousands(facts->ratings.spread.n);
    struct number_text yearless = text_thousands(facts->movies.n_without_year);
    struct number_text placeholders = text_thousands(facts->movies.n_placeholders);
    struct shown mean, density;
    int n = 0;
    snprintf(mean.text, sizeof mean.text, "%.2f", facts->ratings.spread.mean);
    snprintf(density.text, sizeof density.text, "%.3f %%", 100.0 * facts->ratings.density);
    figures[n++] = (struct html_figure){"movies", movies.text};
    if (facts->ratings.spread.n) {
        figures[n++] = (struct html_figure){"of them rated", rated.text};
        figures[n++] = (struct html_figure){"users", users.text};
        figures[n++] = (struct html_figure){"ratings", ratings.text};
        figures[n++] = (struct html_figure){"mean rating", mean.text};
        figures[n++] = (struct html_figure){"density", density.text};
    }
    if (facts->movies.n_placeholders) figures[n++] = (struct html_figure){"without a movie row", placeholders.text};
    if (facts->movies.n > facts->movies.n_placeholders)
        figures[n++] = (struct html_figure){"without a year", yearless.text};
    html_figures(out, figures, n);
}

/* The last name in a path. */
static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

char *explore_html(const struct explore_facts *facts) {
    struct strbuf out = {0}, title = {0}, about = {0};
    strbuf_printf(&title, "Explore %s", base_name(facts->source));
    strbuf_printf(&about, "%s, fingerprint %s, reel %s", facts->source, facts->fingerprint, reel_version());
    if (!title.failed && !about.failed) {
        html_page_begin(&out, title.data, about.data);
        key_figures(&out, facts);
        if (facts->ratings.spread.n) {
            ratings_section(&out, facts);
            votes_section(&out, facts);
        }
        if (facts->movies.n > facts->movies.n_placeholders) movies_section(&out, facts);
        html_page_end(&out);
    }
    out.failed |= title.failed | about.failed;
    strbuf_free(&title);
    strbuf_free(&about);
    return strbuf_take(&out);
}
