/* Years, text encodings, genres and ids of movies; ids and numbers of the other small files. */
#include "core/error.h"
#include "core/mem.h"
#include "data/genome_reader.h"
#include "data/id_map.h"
#include "data/movie_reader.h"
#include "data/tag_reader.h"
#include "data/utf8.h"
#include "tests/test.h"

static reel_context *ctx;

static int year(const char *title) {
    return movie_title_year(title, strlen(title));
}

static void years(void) {
    CHECK_INT(year("Toy Story (1995)"), 1995);
    CHECK_INT(year("Sister Helen (2002)  \t"), 2002);
    CHECK_INT(year("Fawlty Towers (1975-1979)"), 1975);
    CHECK_INT(year("Death Note (2006\xe2\x80\x93"
                   "2007)"),
              2006);
    CHECK_INT(year("(1995)"), 1995);
    CHECK_INT(year("2001 (Two) (1968)"), 1968);
    CHECK_INT(year("Big Bang Theory, The (2007-)"), 0);
    CHECK_INT(year("Diplomatic Immunity (2009\xe2\x80\x93 )"), 0);
    CHECK_INT(year("Mona (1983))"), 0);
    CHECK_INT(year("Babylon 5"), 0);
    CHECK_INT(year("1984"), 0);
    CHECK_INT(year("x (95)"), 0);
    CHECK_INT(year("x 1995)"), 0);
    CHECK_INT(year("(19x5)"), 0);
    CHECK_INT(year("75-1979)"), 0);
    CHECK_INT(year(""), 0);
}

static reel_status read(const char *text, enum movie_format format, int skip, struct movie_table *table,
                        reel_error *err) {
    struct text_file file = {"m", text, strlen(text)};
    struct bad_lines bad = {.ctx = ctx, .skip = skip};
    return movie_reader_read(&file, format, NULL, &bad, table, err);
}

static void csv_movies(void) {
    struct movie_table table;
    reel_error err;
    REQUIRE_OK(read("\xef\xbb\xbfgenres,movieId,title\r\n"
                    "War| Drama ||War,7,\"B, \"\"x\"\" (1990)\"\r\n"
                    "(no genres listed),2,Caf\xc3\xa9 (2000)\r\n"
                    ",5,C",
                    MOVIES_CSV, 0, &table, &err),
               err);
    CHECK_INT(table.n, 3);
    CHECK_INT(table.genres.n, 2);
    CHECK_STR(table.genres.names[0], "Drama");
    CHECK(table.records[0].key.id == 2 && table.records[1].key.id == 5 && table.records[2].key.id == 7);
    CHECK_STR(table.titles + table.records[0].title, "Caf\xc3\xa9 (2000)");
    CHECK_STR(table.titles + table.records[2].title, "B, \"x\" (1990)");
    CHECK_INT(table.records[2].genres, 3);
    CHECK_INT(table.records[2].year, 1990);
    CHECK_INT(table.records[0].genres | table.records[1].genres, 0);
    movie_table_free(&table);
}

static void dat_movies(void) {
    struct movie_table table;
    reel_error err;
    REQUIRE_OK(read("1::Mis\xe9rables, Les (1995)::Drama|Children's\n2::a::b::(no genres listed)\n", MOVIES_DAT, 0,
                    &table, &err),
               err);
    CHECK_STR(table.titles + table.records[0].title, "Mis\xc3\xa9rables, Les (1995)");
    CHECK_STR(table.titles + table.records[1].title, "a::b");
    CHECK_STR(table.genres.names[0], "Children's");
    movie_table_free(&table);
    CHECK_INT(read("1::a\n", MOVIES_DAT, 0, &table, &err), REEL_BAD_INPUT);
    movie_table_free(&table);
    CHECK_INT(read("1:::a\n", MOVIES_DAT, 0, &table, &err), REEL_BAD_INPUT);
    movie_table_free(&table);
}

static void repeated_movies(void) {
    struct movie_table table;
    reel_error err;
    const char *text = "movieId,title\n9,a\n5,b\n9,c\n5,d\n1,e\n";
    CHECK_INT(read(text, MOVIES_CSV, 0, &table, &err), REEL_BAD_INPUT);
    CHECK_STR(err.message, "m:4: movie 9 was listed before, in line 2");
    movie_table_free(&table);
    REQUIRE_OK(read(text, MOVIES_CSV, 1, &table, &err), err);
    CHECK_INT(table.n, 3);
    CHECK_STR(table.titles + table.records[1].title, "b");
    CHECK_STR(table.titles + table.records[2].title, "a");
    movie_table_free(&table);
}

static void tag_order(void) {
    struct tag_table table;
    reel_error err;
    struct bad_lines bad = {.ctx = ctx};
    const char *text = "2::1::b::5\n1::9::z::1\n2::1::a::5\n2::1::x::4\n1::2::::7\n";
    struct text_file file = {"t", text, strlen(text)};
    REQUIRE_OK(tag_reader_read(&file, TAGS_DAT, &bad, &table, &err), err);
    const char *wanted[] = {"", "z", "x", "a", "b"};
    CHECK_INT(table.n, 5);
    for (int i = 0; i < 5 && i < table.n; i++) CHECK_STR(table.texts + table.records[i].text, wanted[i]);
    CHECK(table.max_user == 2 && table.max_movie == 9);
    tag_table_free(&table);
}

static void text_checks(void) {
    CHECK(utf8_valid("plain ASCII text", 16) && utf8_valid("\xf0\x9f\x8e\xac\xe2\x82\xac\xc3\xa9", 9));
    CHECK(!utf8_valid("a\0bcdefghij", 11) && !utf8_valid("\xc0\x80", 2) && !utf8_valid("\xed\xa0\x80", 3));
    CHECK(!utf8_valid("\xe2\x82", 2) && !utf8_valid("\xf4\x90\x80\x80", 4) && !utf8_valid("abcdefgh\xff", 9));
    CHECK_STR(utf8_shown("a\nb\xff\xc3\xa9", 6).text, "a?b?\xc3\xa9");
    CHECK_STR(utf8_shown("0123456789012345678901234567890123456789", 40).text,
              "0123456789012345678901234567890123456789");
    CHECK_STR(utf8_shown("012345678901234567890123456789012345678\xc3\xa9", 41).text,
              "012345678901234567890123456789012345678...");
}

/* One rounding, as strtof: halfway cases included. */
static void floats(void) {
    static const char *const texts[] = {"0",
                                        "1",
                                        "0.5",
                                        ".25",
                                        "5.",
                                        "0.025000000000000022",
                                        "0.9999999701976776",
                                        "0.1",
                                        "00",
                                        "1.0",
                                        "0.00000005960464477539063",
                                        "1e-3",
                                        "0.500000029802322387695312",
                                        "0.50000002980232239",
                                        "0.999999999999999999",
                                        "16777217.000000001",
                                        "16777217",
                                        "0.123456789012345678901234567890"};
    float value;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        CHECK(span_to_float(texts[i], strlen(texts[i]), &value));
        CHECK(value == strtof(texts[i], NULL));
    }
    uint64_t state = 7;
    for (int i = 0; i < 200000; i++) {
        char text[40];
        state = state * 6364136223846793005u + 1442695040888963407u;
        snprintf(text, sizeof text, "%.*f", 1 + i % 19, (double)(state >> 11) * 0x1p-53);
        CHECK(span_to_float(text, strlen(text), &value) && value == strtof(text, NULL));
    }
    CHECK(!span_to_float("", 0, &value) && !span_to_float(".", 1, &value) && !span_to_float("1.2.3", 5, &value));
    CHECK(!span_to_float("nan", 3, &value) && !span_to_float("0x1", 3, &value) && !span_to_float("1 ", 2, &value));
}

static void check_map(const int32_t *ids, int n, const int32_t *wanted, int n_wanted, int32_t absent) {
    struct id_map map;
    reel_error err;
    int32_t most = 0;
    for (int i = 0; i < n; i++) most = ids[i] > most ? ids[i] : most;
    struct id_list lists[2] = {{ids, n / 2, sizeof *ids}, {ids + n / 2, n - n / 2, sizeof *ids}};
    REQUIRE_OK(id_map_build(ctx, lists, 2, most, &map, &err), err);
    CHECK_INT(map.n, n_wanted);
    for (int i = 0; i < n_wanted && i < map.n; i++) {
        CHECK_INT(map.ids[i], wanted[i]);
        CHECK_INT(id_map_find(&map, wanted[i]), i);
    }
    CHECK_INT(id_map_find(&map, absent), -1);
    CHECK_INT(id_map_find(&map, INT32_MAX - 1), -1);
    id_map_free(&map);
}

static void id_maps(void) {
    check_map((int32_t[]){5, 5, 0, 9, 5, 1}, 6, (int32_t[]){0, 1, 5, 9}, 4, 2);
    check_map((int32_t[]){INT32_MAX, 3, 2047, 2048, 4194304, 3, INT32_MAX}, 7,
              (int32_t[]){3, 2047, 2048, 4194304, INT32_MAX}, 5, 4);
    struct id_map map;
    reel_error err;
    REQUIRE_OK(id_map_build(ctx, NULL, 0, 0, &map, &err), err);
    CHECK_INT(map.n, 0);
    id_map_free(&map);
}

int main(void) {
    reel_error err;
    reel_context_options options;
    reel_context_options_default(&options);
    options.threads = 2;
    REQUIRE_OK(reel_context_new(&options, &ctx, &err), err);
    RUN(years);
    RUN(csv_movies);
    RUN(dat_movies);
    RUN(repeated_movies);
    RUN(tag_order);
    RUN(text_checks);
    RUN(floats);
    RUN(id_maps);
    reel_context_free(ctx);
    TEST_EXIT();
}
