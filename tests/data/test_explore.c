/* The figures of explore on datasets small enough to count by hand, and its three forms on empty ones. */
#include "test.h"
#include "data/tiny_dataset.h"
#include "data/explore_facts.h"

static reel_error err;

static const int32_t user_ids[] = {3, 5, 9, 12}, movie_ids[] = {1, 2, 7, 8, 20, 21, 30};
static const char *const titles[] = {
    "A (1999)", "B (2001)", "<script>alert(1)</script> & \"C\" (2001)", "D\x1b[31m\xff", "E (1950)", "F", "G (2001)"};
static const char *const genres[] = {"Action", "Comedy", "Drama", "War"};
static const int16_t years[] = {1999, 2001, 2001, 0, 1950, 0, 2001};
static const uint64_t genre_bits[] = {3, 6, 6, 0, 7, 0, 4};
/* 2000-02-29 is 951782400; 2000-03-01 951868800; 2001-01-01 978307200; 2000-12-31 23:59:59 978307199 */
static const struct tiny_rating some_ratings[] = {
    {0, 0, 10, 951782400}, {0, 1, 4, 951868799}, {0, 2, 7, 951868800}, {0, 4, 7, 978307199}, {1, 0, 10, 978307200},
    {1, 2, 3, 0},          {2, 0, 8, 978307200}, {2, 1, 4, 978307200}, {2, 6, 1, 978307200},
};

static struct tiny_source some_source(void) {
    return (struct tiny_source){4, 7, 4, 9, user_ids, movie_ids, titles, genres, years, genre_bits, some_ratings};
}

static struct explore_facts facts_of(const struct tiny_source *source, int threads) {
    struct reel_dataset ds = tiny_dataset(source);
    struct explore_facts facts;
    reel_context *ctx = context_of(threads);
    REQUIRE_OK(explore_facts_of(ctx, &ds, "some.reel", &facts, &err), err);
    reel_context_free(ctx);
    tiny_dataset_free(&ds);
    return facts;
}

static void check_spread(struct spread s, int64_t n, double min, double max, double mean, double median, double std) {
    CHECK_INT(s.n, n);
    CHECK_NEAR(s.min, min, 0);
    CHECK_NEAR(s.max, max, 0);
    CHECK_NEAR(s.mean, mean, 1e-12);
    CHECK_NEAR(s.median, median, 0);
    CHECK_NEAR(s.std, std, 1e-12);
}

static void movies_by_hand(void) {
    struct tiny_source source = some_source();
    struct explore_facts facts = facts_of(&source, 2);
    const struct movie_facts *movies = &facts.movies;
    CHECK_INT(movies->n, 7);
    /* 2 2 2 1 3 1 1 genres; 1950 1999 2001 2001 2001 */
    check_spread(movies->genres_each.spread, 7, 1, 3, 12.0 / 7, 2, sqrt(24.0 / 7 - 144.0 / 49));
    CHECK_INT(movies->genres_each.n, 3);
    CHECK_INT(movies->genres_each.values[0].count, 3);
    check_spread(movies->years.spread, 5, 1950, 2001, 1990.4, 2001,
                 sqrt((40.4 * 40.4 + 8.6 * 8.6 + 3 * 10.6 * 10.6) / 5));
    CHECK_INT(movies->n_without_year, 2);
    CHECK_INT(movies->n_ranked_genres, 4); /* no movie has War */
    CHECK_STR(movies->genres[0].name, "Comedy");
    CHECK_INT(movies->genres[0].movies, 4);
    CHECK_STR(movies->genres[1].name, "Drama");
    CHECK_STR(movies->genres[2].name, "(no genres listed)"); /* 2 movies as Action has: by name */
    CHECK_STR(movies->genres[3].name, "Action");
    CHECK_INT(movies->n_pairs, 3);
    CHECK_INT(movies->n_pair_occurrences, 6);
    CHECK_STR(movies->genre_names[movies->pairs[0].first], "Comedy");
    CHECK_STR(movies->genre_names[movies->pairs[0].second], "Drama");
    CHECK_INT(movies->pairs[0].movies, 3);
    CHECK_INT(movies->together[1 * 4 + 2], 3);
    CHECK_INT(movies->together[2 * 4 + 1], 3);
    CHECK_INT(movies->together[1 * 4 + 1], 4);
    explore_facts_free(&facts);
}

static void votes_by_hand(void) {
    struct tiny_source source = some_source();
    struct explore_facts facts = facts_of(&source, 2);
    const struct votes_facts *users = &facts.users.votes, *movies = &facts.movies.votes;
    CHECK_INT(facts.users.n, 4);
    check_spread(users->votes.spread, 3, 2, 4, 3, 3, sqrt(2.0 / 3));
    check_spread(movies->votes.spread, 5, 1, 3, 1.8, 2, sqrt((1.44 + 0.04 * 2 + 0.64 * 2) / 5));
    CHECK_INT(users->by_votes.n, 3);
    CHECK_INT(users->by_votes.first[0].id, 3);
    CHECK_INT(users->by_votes.last[0].id, 5);
    CHECK_NEAR(users->by_votes.first[0].mean, 3.5, 0);
    CHECK_INT(movies->by_votes.n, 5);
    static const int32_t most[] = {1, 2, 7, 20, 30}, fewest[] = {20, 30, 2, 7, 1}, best[] = {1, 20, 7, 2, 30};
    for (int i = 0; i < 5; i++) {
        CHECK_INT(movies->by_votes.first[i].id, most[i]);
        CHECK_INT(movies->by_votes.last[i].id, fewest[i]);
        CHECK_INT(movies->by_mean.first[i].id, best[i]);
        CHECK_INT(movies->by_mean.last[i].id, best[4 - i]);
    }
    CHECK_STR(movies->by_mean.first[0].title, "A (1999)");
    CHECK_NEAR(movies->by_mean.first[0].mean, 28 / 6.0, 1e-15);
    CHECK_INT(movies->n_of_many, 0);
    CHECK_INT(movies->by_mean_of_many.n, 0);
    explore_facts_free(&facts);
}

static void ratings_by_hand(void) {
    struct tiny_source source = some_source();
    struct explore_facts facts = facts_of(&source, 1);
    const struct rating_facts *ratings = &facts.ratings;
    CHECK_INT(ratings->spread.n, 9);
    CHECK_NEAR(ratings->spread.mean, 3, 1e-15);
    CHECK_NEAR(ratings->spread.median, 3.5, 0);
    CHECK_NEAR(ratings->density, 9.0 / 15, 1e-15);
    CHECK_INT(ratings->histogram[10], 2);
    CHECK_INT(ratings->histogram[4], 2);
    CHECK_INT(ratings->n_without_time, 1);
    CHECK_INT(ratings->first_time, 951782400);
    CHECK_INT(ratings->last_time, 978307200);
    CHECK_INT(ratings->n_months, 12); /* February 2000 to January 2001 */
    CHECK_INT(ratings->months[0].month, 2);
    CHECK_INT(ratings->months[0].n, 2);
    CHECK_NEAR(ratings->months[0].mean, 3.5, 0);
    CHECK_INT(ratings->months[1].n, 1);
    CHECK_INT(ratings->months[2].n, 0);
    CHECK_INT(ratings->months[10].n, 1);
    CHECK_INT(ratings->months[11].year, 2001);
    CHECK_INT(ratings->months[11].n, 4);
    explore_facts_free(&facts);
}

static void last_second_of_the_calendar(void) {
    static const struct tiny_rating ends[] = {{0, 0, 2, 1}, {0, 1, 4, UINT32_MAX}};
    struct tiny_source source = some_source();
    source.ratings = ends;
    source.n_ratings = 2;
    struct explore_facts facts = facts_of(&source, 2);
    CHECK_INT(facts.ratings.n_months, (2106 - 1970) * 12 + 2);
    CHECK_INT(facts.ratings.months[facts.ratings.n_months - 1].year, 2106);
    CHECK_INT(facts.ratings.months[facts.ratings.n_months - 1].month, 2);
    CHECK_INT(facts.ratings.months[facts.ratings.n_months - 1].n, 1);
    explore_facts_free(&facts);
}

static void vote_bins_double(void) {
    struct value_count values[] = {{1, 4}, {2, 3}, {4, 1}, {9, 2}, {16, 1}, {17, 5}};
    struct distribution votes = {.values = values, .n = 6};
    struct vote_bin bins[VOTE_BINS];
    CHECK_INT(explore_vote_bins(&votes, bins), 6);
    static const int64_t expected[6][3] = {{1, 1, 4}, {2, 2, 3}, {3, 4, 1}, {5, 8, 0}, {9, 16, 3}, {17, 32, 5}};
    for (int i = 0; i < 6; i++) {
        CHECK_INT(bins[i].from, expected[i][0]);
        CHECK_INT(bins[i].to, expected[i][1]);
        CHECK_INT(bins[i].count, expected[i][2]);
    }
    votes.n = 0;
    CHECK_INT(explore_vote_bins(&votes, bins), 0);
}

/* All three forms of `facts`, which must hold no NaN and, in the page, no live tag of a title. */
static void check_forms(const struct explore_facts *facts) {
    char *forms[3] = {explore_text(facts), explore_json(facts), explore_html(facts)};
    for (int i = 0; i < 3; i++) {
        CHECK(forms[i] && strlen(forms[i]) > 100);
        CHECK(forms[i] && !strstr(forms[i], "nan") && !strstr(forms[i], "inf,") && !strstr(forms[i], "-inf"));
        CHECK(forms[i] && !strchr(forms[i], '\x1b'));
        reel_string_free(forms[i]);
    }
}

static void empty_parts_have_reports(void) {
    struct tiny_source source = some_source();
    struct explore_facts facts = facts_of(&source, 2);
    check_forms(&facts);
    explore_facts_free(&facts);
    source.n_ratings = 0; /* movies alone */
    source.n_users = 0;
    facts = facts_of(&source, 2);
    CHECK_INT(facts.movies.n, 7);
    CHECK_INT(facts.ratings.n_months, 0);
    check_spread(facts.users.votes.votes.spread, 0, 0, 0, 0, 0, 0);
    check_forms(&facts);
    explore_facts_free(&facts);
    source.n_movies = 0; /* nothing at all */
    source.n_genres = 0;
    facts = facts_of(&source, 2);
    check_forms(&facts);
    explore_facts_free(&facts);
}

static void titles_are_made_harmless(void) {
    static const struct tiny_rating two[] = {{0, 2, 10, 951782400}, {0, 3, 1, 951782400}};
    struct tiny_source source = some_source();
    source.ratings = two;
    source.n_ratings = 2;
    struct explore_facts facts = facts_of(&source, 1);
    CHECK_STR(facts.movies.votes.by_mean.last[0].title, "D\xEF\xBF\xBD[31m\xEF\xBF\xBD");
    char *page = explore_html(&facts);
    CHECK(page && !strstr(page, "<script"));
    CHECK(page && strstr(page, "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;C&quot;"));
    reel_string_free(page);
    explore_facts_free(&facts);
}

/* Many ratings: the same facts, shown as the same JSON, at any thread count. */
static void threads_change_nothing(void) {
    const int32_t n_users = UNDER_TSAN ? 300 : 1500;
    struct ratings random = random_ratings(n_users, 700, 60, 21);
    struct tiny_source source = {
        .n_users = n_users, .n_movies = 700, .n_genres = 4, .n_ratings = random.n_ratings, .genres = genres};
    int32_t *ids = malloc(1500 * sizeof *ids);
    const char **names = malloc(700 * sizeof *names);
    struct tiny_rating *rows = malloc((size_t)random.n_ratings * sizeof *rows);
    for (int32_t i = 0; i < 1500; i++) ids[i] = 2 * i + 1;
    for (int32_t m = 0; m < 700; m++) names[m] = "T";
    for (int32_t u = 0; u < n_users; u++)
        for (int64_t i = random.user_offsets[u]; i < random.user_offsets[u + 1]; i++)
            rows[i] =
                (struct tiny_rating){u, random.user_movies[i], random.user_ratings[i], random.user_times[i] * 1000000};
    source.user_ids = source.movie_ids = ids;
    source.titles = names;
    source.years = calloc(700, sizeof *source.years);
    source.genre_bits = calloc(700, sizeof *source.genre_bits);
    source.ratings = rows;
    struct explore_facts one = facts_of(&source, 1), many = facts_of(&source, 8);
    char *left = explore_json(&one), *right = explore_json(&many);
    CHECK(left && right && strcmp(left, right) == 0);
    int64_t total = 0, in_months = 0;
    for (int h = 1; h <= 10; h++) total += one.ratings.histogram[h];
    for (int64_t i = 0; i < one.ratings.n_months; i++) in_months += one.ratings.months[i].n;
    CHECK_INT(total, random.n_ratings);
    CHECK_INT(in_months, random.n_ratings);
    CHECK_INT(one.users.votes.n_of_many, one.users.votes.votes.spread.n);
    reel_string_free(left), reel_string_free(right);
    explore_facts_free(&one), explore_facts_free(&many);
    free((void *)(uintptr_t)source.years), free((void *)(uintptr_t)source.genre_bits);
    free(ids), free(names), free(rows);
    ratings_free(&random);
}

int main(void) {
    RUN(movies_by_hand);
    RUN(votes_by_hand);
    RUN(ratings_by_hand);
    RUN(last_second_of_the_calendar);
    RUN(vote_bins_double);
    RUN(empty_parts_have_reports);
    RUN(titles_are_made_harmless);
    RUN(threads_change_nothing);
    TEST_EXIT();
}
