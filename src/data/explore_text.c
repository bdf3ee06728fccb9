/* The report as text: tables and bars in UTF-8, at most 80 columns wide. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "data/display_text.h"
#include "data/explore_facts.h"

enum { WIDTH = 80, NAME_WIDTH = 22 };

/* ---- parts of every section ---- */

static void heading(struct strbuf *out, const char *title, const char *about) {
    int width = text_width(title);
    strbuf_printf(out, "%s%s", out->length ? "\n" : "", title);
    text_fit(out, about, WIDTH - width, -1);
    strbuf_puts(out, "\n");
    for (int i = 0; i < WIDTH; i++) strbuf_puts(out, "━");
    strbuf_puts(out, "\n");
}

static void subheading(struct strbuf *out, const char *title) {
    strbuf_printf(out, "\n%s\n", title);
}

static void count_line(struct strbuf *out, const char *name, int64_t count, const char *note) {
    text_fit(out, name, NAME_WIDTH, 1);
    strbuf_printf(out, "%13s%s%s\n", text_thousands(count).text, *note ? "   " : "", note);
}

static void spread_header(struct strbuf *out) {
    strbuf_printf(out, "\n%*s%11s%11s%12s%12s%12s\n", NAME_WIDTH, "", "min", "max", "mean", "median", "std");
}

/* Numbers with `digits` decimals where they cannot be whole. */
static void spread_line(struct strbuf *out, const char *name, const struct spread *spread, int digits) {
    text_fit(out, name, NAME_WIDTH, 1);
    if (spread->n == 0) {
        strbuf_printf(out, "%11s%11s%12s%12s%12s\n", "-", "-", "-", "-", "-");
        return;
    }
    int median_digits = spread->median > (double)(int64_t)spread->median ? digits ? digits : 1 : digits;
    strbuf_printf(out, "%11.*f%11.*f%12.2f%12.*f%12.2f\n", digits, spread->min, digits, spread->max, spread->mean,
                  median_digits, spread->median, spread->std);
}

/* "label      12,345  12.3 % ██████": label in `width` columns. */
static void bar_line(struct strbuf *out, const char *label, int width, int64_t count, int64_t total, int64_t largest) {
    double share = total ? (double)count / (double)total : 0.0;
    text_fit(out, label, width, 1);
    strbuf_printf(out, "%12s %6.2f %%%s", text_thousands(count).text, 100.0 * share, count ? "  " : "");
    text_bar(out, largest ? (double)count / (double)largest : 0.0, WIDTH - width - 24);
    strbuf_puts(out, "\n");
}

/* ---- movies ---- */

static int64_t largest_count(const struct value_count *values, int64_t n) {
    int64_t largest = 0;
    for (int64_t i = 0; i < n; i++) largest = values[i].count > largest ? values[i].count : largest;
    return largest;
}

static void genres_each(struct strbuf *out, const struct movie_facts *movies) {
    const struct distribution *each = &movies->genres_each;
    int64_t largest = largest_count(each->values, each->n);
    subheading(out, "Movies by number of genres");
    for (int64_t i = 0; i < each->n; i++) {
        char label[24];
        snprintf(label, sizeof label, "%lld", (long long)each->values[i].value);
        bar_line(out, label, NAME_WIDTH, each->values[i].count, movies->n, largest);
    }
}

static void genres(struct strbuf *out, const struct movie_facts *movies) {
    subheading(out, "Genres (a movie counts once in each of its own)");
    for (int32_t i = 0; i < movies->n_ranked_genres; i++)
        bar_line(out, movies->genres[i].name, NAME_WIDTH, movies->genres[i].movies, movies->n,
                 movies->genres[0].movies);
}

/* Years in steps of `step`, so many that they fit a screen. */
static void years(struct strbuf *out, const struct movie_facts *movies) {
    const struct distribution *years = &movies->years;
    if (years->n == 0) return;
    int64_t step = 5, first = years->values[0].value, last = years->values[years->n - 1].value, counts[64] = {0};
    while (last / step - first / step >= 40) step *= 2;
    int64_t base = first / step, n = last / step - base + 1;
    for (int64_t i = 0; i < years->n; i++) counts[years->values[i].value / step - base] += years->values[i].count;
    int64_t largest = 0;
    for (int64_t i = 0; i < n; i++) largest = counts[i] > largest ? counts[i] : largest;
    subheading(out, "Movies by year");
    for (int64_t i = 0; i < n; i++) {
        int64_t from = (base + i) * step;
        char label[48];
        snprintf(label, sizeof label, "%lld-%lld", (long long)from, (long long)(from + step - 1));
        bar_line(out, label, NAME_WIDTH, counts[i], movies->n, largest);
    }
}

/* Columns of "Drama_Romance 2573", ranked downwards. */
static void genre_pairs(struct strbuf *out, const struct movie_facts *movies) {
    int name_width = 8;
    int count_width = 1 + snprintf(NULL, 0, "%lld", movies->n_pairs ? (long long)movies->pairs[0].movies : 0);
    for (int64_t i = 0; i < movies->n_pairs; i++) {
        int width = text_width(movies->genre_names[movies->pairs[i].first]) + 1 +
                    text_width(movies->genre_names[movies->pairs[i].second]);
        name_width = width > name_width ? width : name_width;
    }
    if (name_width > WIDTH - count_width) name_width = WIDTH - count_width;
    int64_t columns = (WIDTH + 1) / (name_width + count_width + 1);
    int64_t rows = (movies->n_pairs + columns - 1) / columns;
    subheading(out, "Genre pairs");
    strbuf_printf(out, "%s distinct pairs, ", text_thousands(movies->n_pairs).text);
    strbuf_printf(out, "%s occurrences in all\n", text_thousands(movies->n_pair_occurrences).text);
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t at = row; at < movies->n_pairs; at += rows) {
            struct strbuf name = {0};
            strbuf_printf(&name, "%s_%s", movies->genre_names[movies->pairs[at].first],
                          movies->genre_names[movies->pairs[at].second]);
            if (at > row) strbuf_puts(out, " ");
            if (name.failed) out->failed = 1;
            if (!name.failed) text_fit(out, name.data, name_width, 1);
            strbuf_printf(out, "%*lld", count_width, (long long)movies->pairs[at].movies);
            strbuf_free(&name);
        }
        strbuf_puts(out, "\n");
    }
}

static void movies_section(struct strbuf *out, const struct explore_facts *facts) {
    const struct movie_facts *movies = &facts->movies;
    heading(out, "MOVIES", facts->source);
    count_line(out, "movies", movies->n, "");
    if (movies->n_placeholders)
        count_line(out, "without a movie row", movies->n_placeholders, "known from ratings alone: no title, no genres");
    count_line(out, "rated movies", movies->votes.votes.spread.n, "");
    if (movies->n_placeholders == movies->n) return;
    count_line(out, "titles without a year", movies->n_without_year, "");
    spread_header(out);
    spread_line(out, "genres a movie", &movies->genres_each.spread, 0);
    spread_line(out, "year", &movies->years.spread, 0);
    genres_each(out, movies);
    genres(out, movies);
    genre_pairs(out, movies);
    years(out, movies);
}

/* ---- votes ---- */

static void ranked_lines(struct strbuf *out, const char *title, const struct ranked *entries, int n) {
    if (n == 0) return;
    strbuf_puts(out, "\n");
    text_fit(out, title, 50, 1);
    strbuf_printf(out, "%10s%10s%10s\n", entries[0].title ? "id" : "", "votes", "mean");
    for (int i = 0; i < n; i++) {
        char user[32], id[16];
        snprintf(user, sizeof user, "user %d", (int)entries[i].id);
        snprintf(id, sizeof id, "%d", (int)entries[i].id);
        strbuf_puts(out, "  ");
        text_fit(out, entries[i].title ? entries[i].title : user, 48, 1);
        strbuf_printf(out, "%10s%10s%10.4f\n", entries[i].title ? id : "", text_thousands(entries[i].votes).text,
                      entries[i].mean);
    }
}

static void votes_bars(struct strbuf *out, const char *title, const struct distribution *votes) {
    struct vote_bin bins[VOTE_BINS];
    int n = explore_vote_bins(votes, bins), first = 0;
    while (first < n && bins[first].count == 0) first++;
    int64_t largest = 0;
    for (int i = first; i < n; i++) largest = bins[i].count > largest ? bins[i].count : largest;
    subheading(out, title);
    for (int i = first; i < n; i++) {
        struct strbuf label = {0};
        strbuf_puts(&label, text_thousands(bins[i].from).text);
        if (bins[i].to > bins[i].from) strbuf_printf(&label, "-%s", text_thousands(bins[i].to).text);
        out->failed |= label.failed;
        bar_line(out, label.failed ? "" : label.data, NAME_WIDTH, bins[i].count, votes->spread.n, largest);
        strbuf_free(&label);
    }
}

static void rankings(struct strbuf *out, const struct votes_facts *votes, const char *who) {
    static const struct {
        const char *format;
        size_t ranking;
        int last;
    } tables[] = {
        {"%s with the most votes", offsetof(struct votes_facts, by_votes), 0},
        {"%s with the fewest votes", offsetof(struct votes_facts, by_votes), 1},
        {"%s with the highest mean", offsetof(struct votes_facts, by_mean), 0},
        {"%s with the lowest mean", offsetof(struct votes_facts, by_mean), 1},
        {"%s with the highest mean of 50 votes or more", offsetof(struct votes_facts, by_mean_of_many), 0},
        {"%s with the lowest mean of 50 votes or more", offsetof(struct votes_facts, by_mean_of_many), 1},
    };
    _Static_assert(EXPLORE_MIN_VOTES == 50, "the titles above say 50");
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        const struct ranking *ranking = (const struct ranking *)((const char *)votes + tables[i].ranking);
        char title[80];
        snprintf(title, sizeof title, tables[i].format, who);
        ranked_lines(out, title, tables[i].last ? ranking->last : ranking->first, ranking->n);
    }
}

static void votes_section(struct strbuf *out, const struct explore_facts *facts) {
    const struct votes_facts *users = &facts->users.votes, *movies = &facts->movies.votes;
    heading(out, "VOTES", facts->source);
    count_line(out, "users", facts->users.n, "");
    count_line(out, "users who rated", users->votes.spread.n, "");
    count_line(out, "rated movies", movies->votes.spread.n, "");
    spread_header(out);
    spread_line(out, "votes a user", &users->votes.spread, 0);
    spread_line(out, "votes a movie", &movies->votes.spread, 0);
    spread_line(out, "mean of a user", &users->means, 2);
    spread_line(out, "mean of a movie", &movies->means, 2);
    votes_bars(out, "Users by votes", &users->votes);
    votes_bars(out, "Movies by votes", &movies->votes);
    rankings(out, users, "Users");
    rankings(out, movies, "Movies");
}

/* ---- ratings ---- */

static void rating_bars(struct strbuf *out, const struct rating_facts *ratings) {
    int64_t largest = 0;
    for (int h = 1; h <= 10; h++) largest = ratings->histogram[h] > largest ? ratings->histogram[h] : largest;
    subheading(out, "Ratings by stars");
    for (int h = 10; h >= 1; h--) {
        char label[16];
        snprintf(label, sizeof label, "%.1f", 0.5 * h);
        bar_line(out, label, NAME_WIDTH, ratings->histogram[h], ratings->spread.n, largest);
    }
}

/* The months of one year: sums for the line, heights for the sparkline. */
static int64_t year_of_months(const struct rating_facts *ratings, int64_t at, int64_t counts[12], int64_t *n,
                              double *mean) {
    double sum = 0.0;
    int64_t i = at;
    *n = 0;
    memset(counts, 0, 12 * sizeof *counts);
    for (; i < ratings->n_months && ratings->months[i].year == ratings->months[at].year; i++) {
        counts[ratings->months[i].month - 1] = ratings->months[i].n;
        *n += ratings->months[i].n;
        sum += ratings->months[i].mean * (double)ratings->months[i].n;
    }
    *mean = *n ? sum / (double)*n : 0.0;
    return i;
}

static void ratings_over_time(struct strbuf *out, const struct rating_facts *ratings) {
    if (ratings->n_months == 0) return;
    int64_t counts[12], n, top_year = 0;
    double mean;
    for (int64_t i = 0; i < ratings->n_months;) {
        i = year_of_months(ratings, i, counts, &n, &mean);
        top_year = n > top_year ? n : top_year;
    }
    subheading(out, "Ratings over time (UTC; small columns: the months of each year)");
    strbuf_printf(out, "%-8s%13s%8s  %-12s\n", "year", "ratings", "mean", "JFMAMJJASOND");
    for (int64_t i = 0; i < ratings->n_months;) {
        strbuf_printf(out, "%-8d", (int)ratings->months[i].year);
        i = year_of_months(ratings, i, counts, &n, &mean);
        strbuf_printf(out, "%13s", text_thousands(n).text);
        if (n)
            strbuf_printf(out, "%8.2f  ", mean);
        else
            strbuf_printf(out, "%8s  ", "-");
        int64_t top_month = 0;
        for (int m = 0; m < 12; m++) top_month = counts[m] > top_month ? counts[m] : top_month;
        for (int m = 0; m < 12; m++) text_spark(out, top_month ? (double)counts[m] / (double)top_month : 0.0);
        strbuf_puts(out, "  ");
        text_bar(out, (double)n / (double)top_year, WIDTH - 45);
        strbuf_puts(out, "\n");
    }
}

static void time_line(struct strbuf *out, const char *name, uint32_t seconds) {
    char text[64];
    time_t time = (time_t)seconds;
    struct tm utc;
    if (!seconds || !gmtime_r(&time, &utc) || !strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc)) return;
    text_fit(out, name, NAME_WIDTH, 1);
    strbuf_printf(out, "  %s\n", text);
}

static void ratings_section(struct strbuf *out, const struct explore_facts *facts) {
    const struct rating_facts *ratings = &facts->ratings;
    heading(out, "RATINGS", facts->source);
    count_line(out, "ratings", ratings->spread.n, "");
    text_fit(out, "density", NAME_WIDTH, 1);
    strbuf_printf(out, "%11.4f %%   of users who rated x rated movies\n", 100.0 * ratings->density);
    time_line(out, "first", ratings->first_time);
    time_line(out, "last", ratings->last_time);
    if (ratings->n_without_time) count_line(out, "without a time", ratings->n_without_time, "");
    spread_header(out);
    spread_line(out, "stars", &ratings->spread, 1);
    rating_bars(out, ratings);
    ratings_over_time(out, ratings);
}

char *explore_text(const struct explore_facts *facts) {
    struct strbuf out = {0};
    movies_section(&out, facts);
    if (facts->ratings.spread.n) {
        votes_section(&out, facts);
        ratings_section(&out, facts);
    } else {
        strbuf_puts(&out, "\nThere are no ratings here: nothing to say on votes and ratings.\n");
    }
    return strbuf_take(&out);
}
