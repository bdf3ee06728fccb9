/* The report as one JSON object; docs/explore.md lists its keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/display_text.h"
#include "data/explore_facts.h"

/* Commas are set by who writes: a value that may follow another in the same object or array begins by
 * `separate`, which looks at the last character written. */
static void separate(struct strbuf *out) {
    char last = out->length ? out->data[out->length - 1] : '{';
    if (last != '{' && last != '[' && last != ':') strbuf_puts(out, ",");
}

static void add_string(struct strbuf *out, const char *text) {
    separate(out);
    strbuf_puts(out, "\"");
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') strbuf_puts(out, "\\");
        strbuf_add(out, text, 1); /* texts are clean UTF-8 without control characters */
    }
    strbuf_puts(out, "\"");
}

static void add_key(struct strbuf *out, const char *key) {
    add_string(out, key);
    strbuf_puts(out, ":");
}

static void begin(struct strbuf *out, const char *key, const char *bracket) {
    if (key)
        add_key(out, key);
    else
        separate(out);
    strbuf_puts(out, bracket);
}

static void add_int(struct strbuf *out, const char *key, int64_t value) {
    add_key(out, key);
    strbuf_printf(out, "%lld", (long long)value);
}

/* The shortest text that reads back as the same double, with a point whatever the locale writes. */
static void add_real(struct strbuf *out, const char *key, double value) {
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        double back = strtod(text, NULL);
        if (!(back < value) && !(back > value)) break;
    }
    for (char *at = text; *at; at++)
        if (!strchr("0123456789+-e", *at)) *at = '.';
    add_key(out, key);
    strbuf_puts(out, text);
}

static void add_text(struct strbuf *out, const char *key, const char *text) {
    add_key(out, key);
    add_string(out, text);
}

static void add_null(struct strbuf *out, const char *key) {
    add_key(out, key);
    strbuf_puts(out, "null");
}

/* The five figures, without braces around them. */
static void add_spread_figures(struct strbuf *out, const struct spread *spread) {
    static const char *const keys[5] = {"min", "max", "mean", "median", "std"};
    const double values[5] = {spread->min, spread->max, spread->mean, spread->median, spread->std};
    for (int i = 0; i < 5; i++) {
        if (spread->n)
            add_real(out, keys[i], values[i]);
        else
            add_null(out, keys[i]);
    }
}

static void add_spread(struct strbuf *out, const char *key, const struct spread *spread) {
    begin(out, key, "{");
    add_spread_figures(out, spread);
    strbuf_puts(out, "}");
}

/* [{value_key: v, "movies": count}, ...] */
static void add_distribution(struct strbuf *out, const char *key, const char *value_key,
                             const struct distribution *distribution) {
    begin(out, key, "[");
    for (int64_t i = 0; i < distribution->n; i++) {
        begin(out, NULL, "{");
        add_int(out, value_key, distribution->values[i].value);
        add_int(out, "movies", distribution->values[i].count);
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]");
}

/* ---- votes ---- */

static void add_ranked(struct strbuf *out, const char *key, const struct ranked *entries, int n) {
    begin(out, key, "[");
    for (int i = 0; i < n; i++) {
        begin(out, NULL, "{");
        add_int(out, "id", entries[i].id);
        if (entries[i].title) add_text(out, "title", entries[i].title);
        add_int(out, "votes", entries[i].votes);
        add_real(out, "mean_rating", entries[i].mean);
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]");
}

static void add_votes(struct strbuf *out, const struct votes_facts *votes, const char *who) {
    struct vote_bin bins[VOTE_BINS];
    int n = explore_vote_bins(&votes->votes, bins);
    begin(out, "votes", "{");
    add_spread_figures(out, &votes->votes.spread);
    begin(out, "histogram", "[");
    for (int i = 0; i < n; i++) {
        begin(out, NULL, "{");
        add_int(out, "from", bins[i].from);
        add_int(out, "to", bins[i].to);
        add_int(out, who, bins[i].count);
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]}");
    add_spread(out, "mean_rating", &votes->means);
    add_ranked(out, "most_votes", votes->by_votes.first, votes->by_votes.n);
    add_ranked(out, "fewest_votes", votes->by_votes.last, votes->by_votes.n);
    add_ranked(out, "highest_mean", votes->by_mean.first, votes->by_mean.n);
    add_ranked(out, "lowest_mean", votes->by_mean.last, votes->by_mean.n);
    begin(out, "with_many_votes", "{");
    add_int(out, "min_votes", EXPLORE_MIN_VOTES);
    add_int(out, "count", votes->n_of_many);
    add_ranked(out, "highest_mean", votes->by_mean_of_many.first, votes->by_mean_of_many.n);
    add_ranked(out, "lowest_mean", votes->by_mean_of_many.last, votes->by_mean_of_many.n);
    strbuf_puts(out, "}");
}

/* ---- the three sections ---- */

static void add_genre_pairs(struct strbuf *out, const struct movie_facts *movies) {
    begin(out, "genre_pairs", "{");
    add_int(out, "distinct", movies->n_pairs);
    add_int(out, "occurrences", movies->n_pair_occurrences);
    begin(out, "ranked", "[");
    for (int64_t i = 0; i < movies->n_pairs; i++) {
        const char *first = movies->genre_names[movies->pairs[i].first];
        const char *second = movies->genre_names[movies->pairs[i].second];
        struct strbuf name = {0};
        strbuf_printf(&name, "%s_%s", first, second);
        begin(out, NULL, "{");
        add_text(out, "name", name.failed ? "" : name.data);
        out->failed |= name.failed;
        strbuf_free(&name);
        add_int(out, "movies", movies->pairs[i].movies);
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]}");
}

static void add_movies(struct strbuf *out, const struct movie_facts *movies) {
    begin(out, "movies", "{");
    add_int(out, "count", movies->n);
    add_int(out, "placeholders", movies->n_placeholders);
    begin(out, "genres_per_movie", "{");
    add_spread_figures(out, &movies->genres_each.spread);
    add_distribution(out, "distribution", "genres", &movies->genres_each);
    strbuf_puts(out, "}");
    begin(out, "year", "{");
    add_spread_figures(out, &movies->years.spread);
    add_int(out, "without", movies->n_without_year);
    add_distribution(out, "histogram", "year", &movies->years);
    strbuf_puts(out, "}");
    begin(out, "genres", "[");
    for (int32_t i = 0; i < movies->n_ranked_genres; i++) {
        begin(out, NULL, "{");
        add_text(out, "name", movies->genres[i].name);
        add_int(out, "movies", movies->genres[i].movies);
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]");
    add_genre_pairs(out, movies);
    add_int(out, "rated", movies->votes.votes.spread.n);
    add_votes(out, &movies->votes, "movies");
    strbuf_puts(out, "}");
}

static void add_users(struct strbuf *out, const struct user_facts *users) {
    begin(out, "users", "{");
    add_int(out, "count", users->n);
    add_int(out, "rating", users->votes.votes.spread.n);
    add_votes(out, &users->votes, "users");
    strbuf_puts(out, "}");
}

static void add_months(struct strbuf *out, const struct rating_facts *ratings) {
    begin(out, "months", "[");
    for (int64_t i = 0; i < ratings->n_months; i++) {
        const struct month_fact *month = &ratings->months[i];
        begin(out, NULL, "{");
        add_key(out, "month");
        strbuf_printf(out, "\"%04d-%02d\"", (int)month->year, (int)month->month);
        add_int(out, "count", month->n);
        if (month->n)
            add_real(out, "mean", month->mean);
        else
            add_null(out, "mean");
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]");
}

static void add_time(struct strbuf *out, const char *key, uint32_t seconds) {
    char text[64];
    time_t time = (time_t)seconds;
    struct tm utc;
    if (seconds && gmtime_r(&time, &utc) && strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc))
        add_text(out, key, text);
    else
        add_null(out, key);
}

static void add_ratings(struct strbuf *out, const struct rating_facts *ratings) {
    begin(out, "ratings", "{");
    add_int(out, "count", ratings->spread.n);
    add_real(out, "density", ratings->density);
    add_spread_figures(out, &ratings->spread);
    begin(out, "histogram", "[");
    for (int h = 1; h <= 10 && ratings->spread.n; h++) {
        begin(out, NULL, "{");
        add_real(out, "rating", 0.5 * h);
        add_int(out, "count", ratings->histogram[h]);
        strbuf_puts(out, "}");
    }
    strbuf_puts(out, "]");
    add_time(out, "first", ratings->first_time);
    add_time(out, "last", ratings->last_time);
    add_int(out, "without_time", ratings->n_without_time);
    add_months(out, ratings);
    strbuf_puts(out, "}");
}

char *explore_json(const struct explore_facts *facts) {
    struct strbuf out = {0};
    strbuf_puts(&out, "{");
    add_text(&out, "source", facts->source);
    add_text(&out, "fingerprint", facts->fingerprint);
    add_movies(&out, &facts->movies);
    add_users(&out, &facts->users);
    add_ratings(&out, &facts->ratings);
    strbuf_puts(&out, "}");
    return strbuf_take(&out);
}
