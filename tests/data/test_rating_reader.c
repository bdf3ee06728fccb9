/* Ratings files: the fast line parser against the general one, shapes, lines of rows across chunks. */
#include "core/error.h"
#include "core/mem.h"
#include "data/rating_row.h"
#include "tests/test.h"

static reel_context *ctx;

static void make_context(int threads) {
    reel_context_options options;
    reel_error err;
    reel_context_options_default(&options);
    options.threads = threads;
    reel_context_free(ctx);
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
}

/* The general parser's verdict on one line. */
static enum row_fault general(const struct rating_format *format, const char *line, struct rating_row *row) {
    struct row_text text;
    row_split(format, line, line + strcspn(line, "\n"), &text);
    return row_parse(format, &text, row);
}

/* The fast parser may leave a line to the general one, but what it takes must be the same. Returns 1 if it took it. */
static int agree(const struct rating_format *format, const char *line) {
    char padded[160];
    struct rating_row fast = {0}, slow = {0};
    memset(padded, '7', sizeof padded);
    memcpy(padded, line, strlen(line));
    int n_separator = (int)strlen(format->separator);
    const char *next = row_parse_fast(padded, format->separator[0], n_separator, &fast);
    if (!next) return 0;
    CHECK_INT(next - padded, strlen(line));
    if (fast.user > INT32_MAX || fast.movie > INT32_MAX) return 1;
    CHECK_INT(general(format, line, &slow), ROW_GOOD);
    CHECK(fast.user == slow.user && fast.movie == slow.movie && fast.time == slow.time && fast.rating == slow.rating);
    return 1;
}

static void fast_lines(void) {
    struct text_file file = {"x", "", 0};
    struct rating_format csv, dat;
    rating_format_plain(&file, ",", 0, &csv);
    rating_format_plain(&file, "::", 0, &dat);
    CHECK(agree(&csv, "1,296,5.0,1147880044\n"));
    CHECK(agree(&csv, "162541,55872,4.5,1240953618\r\n"));
    CHECK(agree(&csv, "12345678,12345678,0.5,4294967295\n"));
    CHECK(agree(&csv, "0,0,1,0\n"));
    CHECK(agree(&csv, "00000007,1,3.0,00000009\n"));
    CHECK(agree(&dat, "1::1193::5::978300760\n"));
    CHECK(agree(&dat, "71567::2107::0.5::912580553\r\n"));
    const char *left_alone[] = {"123456789,1,5.0,1\n",
                                "1,1,5.5,1\n",
                                "1,1,0.0,1\n",
                                "1,1,0,1\n",
                                "1,1,3.7,1\n",
                                "1,1,6,1\n",
                                "1,1,3.50,1\n",
                                "1,1,3.,1\n",
                                ",1,3,1\n",
                                "1,,3,1\n",
                                "1,1,,1\n",
                                "1,1,3,\n",
                                "1,1,3,4294967296\n",
                                "1,1,3,1,2\n",
                                "1,1,3\n",
                                "1 ,1,3,1\n",
                                "1,1,3,12345678901\n",
                                "-1,1,3,1\n",
                                "1,1,3,1 \n",
                                "1,1,3,1\r\r\n",
                                "\"1\",1,3,1\n",
                                "1;1;3;1\n",
                                "1,1,/,1\n",
                                "1,1,:,1\n"};
    for (size_t i = 0; i < sizeof left_alone / sizeof *left_alone; i++) CHECK(!agree(&csv, left_alone[i]));
    CHECK(!agree(&dat, "1:1::5::9\n") && !agree(&dat, "1::1::5:9\n"));
}

/* Lines of random characters of the alphabet that matters. */
static void fast_and_general_agree_on_noise(void) {
    static const char alphabet[] = "0123456789001122.,,,,\r5";
    struct text_file file = {"x", "", 0};
    struct rating_format csv;
    uint64_t state = 1;
    int taken = 0;
    rating_format_plain(&file, ",", 0, &csv);
    for (int round = 0; round < 300000; round++) {
        char line[64];
        int n = 0, length = 7 + round % 20;
        for (; n < length; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            line[n] = alphabet[(state >> 33) % (sizeof alphabet - 1)];
        }
        strcpy(line + n, "\n");
        taken += agree(&csv, line);
    }
    CHECK(taken > 50);
}

/* n rows of which each user has ten, every seventh line blank, every `bad`th malformed (0 = none). */
static char *make_csv(int n, int bad, size_t *size) {
    char *text = malloc((size_t)n * 40 + 64), *at = text;
    at += sprintf(at, "userId,movieId,rating,timestamp\n");
    for (int i = 0; i < n; i++) {
        if (i % 7 == 6) at += sprintf(at, i % 2 ? "\r\n" : "\n");
        if (bad && i % bad == bad - 1) at += sprintf(at, "oops,%d\n", i);
        at += sprintf(at, "%d,%d,%d.%d,%d\n", i / 10 + 1, i % 10 * 3 + 1, 1 + i % 4, i % 2 * 5, 1000000000 + i);
    }
    *size = (size_t)(at - text);
    return text;
}

static int64_t line_of(const char *text, int row) {
    char wanted[32];
    sprintf(wanted, ",%d\n", 1000000000 + row);
    const char *found = strstr(text, wanted);
    int64_t line = 1;
    for (const char *at = text; at < found; at++) line += *at == '\n';
    return line;
}

static void chunks_join_without_gaps(void) {
    enum { N = 130000 };
    size_t size;
    char *text = make_csv(N, 1000, &size);
    struct text_file file = {"r.csv", text, size};
    for (int threads = 1; threads <= 3; threads++) {
        struct raw_ratings raw;
        struct rating_format format;
        reel_error err, first_bad;
        make_context(threads);
        struct bad_lines bad = {.ctx = ctx, .skip = 1};
        REQUIRE_OK(rating_format_detect(&file, NULL, &format, &err), err);
        REQUIRE_OK(rating_reader_read(ctx, &file, &format, &bad, &raw, &first_bad, &err), err);
        CHECK(raw.n_chunks > 2 && raw.ascending);
        CHECK_INT(raw.n, N);
        CHECK_INT(bad.count, N / 1000);
        CHECK_INT(first_bad.status, REEL_OK);
        CHECK_INT(raw.max_user, N / 10);
        CHECK_INT(raw.max_movie, 28);
        int wrong = 0;
        for (int i = 0; i < N && i < raw.n; i++)
            wrong += raw.users[i] != i / 10 + 1 || raw.movies[i] != i % 10 * 3 + 1 ||
                     raw.ratings[i] != 2 * (1 + i % 4) + i % 2 || raw.times[i] != 1000000000u + (unsigned)i;
        CHECK_INT(wrong, 0);
        for (int row = 0; row < N; row += 9973) CHECK_INT(raw_ratings_line(&raw, row), line_of(text, row));
        raw_ratings_free(&raw);
    }
    free(text);
}

static void reading_ends_at_the_first_bad_line(void) {
    size_t size;
    char *text = make_csv(130000, 90000, &size);
    struct text_file file = {"r.csv", text, size};
    struct raw_ratings raw;
    struct rating_format format;
    reel_error err, first_bad;
    make_context(2);
    struct bad_lines bad = {.ctx = ctx};
    REQUIRE_OK(rating_format_detect(&file, NULL, &format, &err), err);
    REQUIRE_OK(rating_reader_read(ctx, &file, &format, &bad, &raw, &first_bad, &err), err);
    char wanted[128];
    snprintf(wanted, sizeof wanted, "r.csv:%lld: too few columns: 4 are needed (found 2)",
             (long long)line_of(text, 89999) - 1);
    CHECK_STR(first_bad.message, wanted);
    CHECK_INT(raw.n, 89999);
    raw_ratings_free(&raw);
    free(text);
}

static void shapes(void) {
    struct rating_format format;
    reel_error err;
    struct text_file file = {"f", "a::b", 4};
    CHECK_INT(rating_format_detect(&file, NULL, &format, &err), REEL_BAD_INPUT);
    CHECK_STR(err.message, "f:1: this is no line of ratings: user, movie, rating[, time] (found 'a::b')");
    file = (struct text_file){"f", "1\t2\t3\n", 6};
    REQUIRE_OK(rating_format_detect(&file, NULL, &format, &err), err);
    CHECK_STR(format.separator, "\t");
    CHECK(format.n_columns == 3 && format.columns[RATING_TIME] == -1 && format.body_line == 1);
    const char *header = "\xef\xbb\xbf\n\nTime,User ID,Stars,Item-Id\n1,2,3,4\n";
    file = (struct text_file){"f", header, strlen(header)};
    REQUIRE_OK(rating_format_detect(&file, NULL, &format, &err), err);
    CHECK(format.columns[RATING_USER] == 1 && format.columns[RATING_MOVIE] == 3 && format.columns[RATING_STARS] == 2 &&
          format.columns[RATING_TIME] == 0);
    CHECK_INT(format.body_line, 4);
    CHECK_INT(rating_format_detect(&file, "User ID,Item-Id,Stars,Time,x", &format, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(rating_format_detect(&file, "User ID,,Stars", &format, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(rating_format_detect(&file, "", &format, &err), REEL_INVALID_ARGUMENT);
    CHECK_INT(rating_format_detect(&file, "user id,Item-Id,Stars", &format, &err), REEL_BAD_INPUT);
    CHECK_STR(err.message, "f:3: no column is called 'user id' (found 'Time,User ID,Stars,Item-Id')");
    REQUIRE_OK(rating_format_detect(&file, "User ID,Item-Id,Stars", &format, &err), err);
    CHECK_INT(format.columns[RATING_TIME], -1);
}

int main(void) {
    RUN(fast_lines);
    RUN(fast_and_general_agree_on_noise);
    RUN(chunks_join_without_gaps);
    RUN(reading_ends_at_the_first_bad_line);
    RUN(shapes);
    reel_context_free(ctx);
    TEST_EXIT();
}
