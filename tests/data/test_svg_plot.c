/* Axes give round ticks for any range; plots take empty and odd input without a NaN in the drawing. */
#include "test.h"
#include "data/display_text.h"
#include "data/svg_axis.h"
#include "data/svg_plot.h"

static void ticks_lie_on_the_axis(void) {
    for (int power = -12; power <= 15; power++)
        for (int lead = 1; lead < 1000; lead += 13) {
            double high = lead * pow(10.0, power), ticks[SVG_TICKS];
            struct svg_axis axes[3] = {svg_axis_round(0.0, high, 0, 100), svg_axis_exact(high, 3 * high, 100, 0),
                                       svg_axis_log(high, high * lead, 0, 100)};
            for (int a = 0; a < 3; a++) {
                int n = svg_axis_ticks(&axes[a], ticks);
                CHECK(n >= (a < 2 ? 3 : 1) && n <= SVG_TICKS);
                for (int i = 0; i < n; i++) {
                    double at = svg_axis_at(&axes[a], ticks[i]);
                    CHECK(at > -0.01 && at < 100.01);
                    CHECK(i == 0 || ticks[i] > ticks[i - 1]);
                }
            }
            CHECK(axes[0].high >= high * (1 - 1e-9) && axes[0].high <= 2 * high);
        }
}

static void ticks_are_round(void) {
    double ticks[SVG_TICKS];
    struct svg_axis stars = svg_axis_exact(1.0, 5.0, 0, 1), years = svg_axis_exact(1891, 2015, 0, 1);
    CHECK_INT(svg_axis_ticks(&stars, ticks), 5);
    CHECK_NEAR(ticks[4], 5.0, 1e-12);
    CHECK_INT(svg_axis_ticks(&years, ticks), 6);
    CHECK_NEAR(ticks[0], 1900, 0);
    struct svg_axis votes = svg_axis_log(1, 67310, 0, 1);
    CHECK_INT(svg_axis_ticks(&votes, ticks), 5);
    CHECK_NEAR(ticks[4], 10000, 1e-8);
    struct svg_axis flat = svg_axis_round(0.0, 0.0, 0, 1);
    CHECK(flat.high > flat.low);
}

static void numbers_are_short(void) {
    CHECK_STR(svg_number(0, 0).text, "0");
    CHECK_STR(svg_number(950, 0).text, "950");
    CHECK_STR(svg_number(12000, 0).text, "12k");
    CHECK_STR(svg_number(1.5e6, 0).text, "1.5M");
    CHECK_STR(svg_number(2e9, 0).text, "2G");
    CHECK_STR(svg_number(2005, 1).text, "2005");
    CHECK_STR(svg_coordinate(-1.25).text, "-1.2");
}

static const struct svg_plot plot = {.id = "p", .title = "<T>", .description = "D \"&\".", .log_x = 1, .log_y = 1};

/* Closes the drawing and checks it. */
static void check_drawing(struct strbuf *out, const char *must_hold) {
    char *text = strbuf_take(out);
    CHECK(text && strstr(text, "<title id=\"p-t\">&lt;T&gt;</title>"));
    CHECK(text && strstr(text, must_hold));
    CHECK(text && !strstr(text, "nan") && !strstr(text, "inf"));
    CHECK(text && strcmp(text + strlen(text) - 7, "</svg>\n") == 0);
    free(text);
}

static void plots_without_data_say_so(void) {
    struct strbuf out = {0};
    svg_columns(&out, &plot, NULL, 0), check_drawing(&out, "no data");
    svg_rows(&out, &plot, NULL, 0), check_drawing(&out, "no data");
    svg_histogram(&out, &plot, 0, 1, NULL, 0), check_drawing(&out, "no data");
    svg_scatter(&out, &plot, NULL, NULL, 0), check_drawing(&out, "no data");
    svg_line(&out, &plot, NULL, NULL, 0), check_drawing(&out, "no data");
    svg_heat_map(&out, &plot, NULL, 0, NULL, 0, NULL), check_drawing(&out, "no data");
}

static void plots_take_odd_data(void) {
    struct strbuf out = {0};
    const struct svg_plot years = {.id = "p", .title = "<T>", .description = "D.", .plain_x = 1};
    const struct svg_bar zero = {"a<b", 0.0, "0"};
    const double one[1] = {7}, none[1] = {0}, nan_[1] = {(double)NAN}, x[3] = {0, 5, 1e6}, y[3] = {1, -2, 3};
    const char *names[1] = {"x&y"};
    svg_columns(&out, &plot, &zero, 1), check_drawing(&out, "a&lt;b: 0");
    svg_rows(&out, &plot, &zero, 1), check_drawing(&out, "a&lt;b: 0");
    svg_histogram(&out, &years, 2000, 1, none, 1), check_drawing(&out, ">2001<");
    svg_scatter(&out, &plot, one, one, 1), check_drawing(&out, "class=\"points\" d=\"M");
    svg_scatter(&out, &plot, none, one, 1), check_drawing(&out, "class=\"points\" d=\"\"");
    svg_scatter(&out, &plot, x, y, 3), check_drawing(&out, "h0\"");
    svg_line(&out, &plot, one, one, 1), check_drawing(&out, "class=\"line\" d=\"M");
    svg_line(&out, &plot, one, nan_, 1), check_drawing(&out, "axis");
    svg_heat_map(&out, &plot, names, 1, names, 1, none), check_drawing(&out, "x&amp;y, x&amp;y: 0");
    svg_heat_map(&out, &plot, names, 1, names, 1, nan_), check_drawing(&out, "x&amp;y");
}

static void points_are_drawn_once(void) {
    double x[1000], y[1000];
    for (int i = 0; i < 1000; i++) x[i] = 1 + i % 2, y[i] = 1;
    struct strbuf out = {0};
    svg_scatter(&out, &plot, x, y, 1000);
    int n = 0;
    for (const char *at = out.data; (at = strstr(at, "h0")) != NULL; at++) n++;
    CHECK_INT(n, 2);
    strbuf_free(&out);
}

static void text_is_fitted(void) {
    struct strbuf out = {0};
    text_fit(&out, "caf\xc3\xa9", 6, 1), strbuf_puts(&out, "|");
    text_fit(&out, "12", 4, -1), strbuf_puts(&out, "|");
    text_fit(&out, "abcdef", 4, 1), strbuf_puts(&out, "|");
    text_fit(&out, "漢字", 3, 1), strbuf_puts(&out, "|");
    text_bar(&out, 0.5, 3), strbuf_puts(&out, "|");
    text_bar(&out, 1e-9, 3), strbuf_puts(&out, "|");
    text_bar(&out, 0, 3);
    CHECK_STR(out.data, "caf\xc3\xa9  |  12|abc…|漢…|█▌|▏|");
    strbuf_free(&out);
    CHECK_STR(text_thousands(-1234567).text, "-1,234,567");
    CHECK_STR(text_thousands(-123).text, "-123");
    CHECK_STR(text_thousands(1000).text, "1,000");
}

static void text_is_cleaned(void) {
    struct arena arena = {0};
    CHECK_STR(text_clean(&arena, "a\x1b\xe2\x80\xae"
                                 "b\xff\xc3(\xed\xa0\x80\xf0\x9f\x8e\xac"),
              "a��b��(���🎬");
    CHECK_STR(text_clean(&arena, ""), "");
    arena_free(&arena);
}

int main(void) {
    RUN(ticks_lie_on_the_axis);
    RUN(ticks_are_round);
    RUN(numbers_are_short);
    RUN(plots_without_data_say_so);
    RUN(plots_take_odd_data);
    RUN(points_are_drawn_once);
    RUN(text_is_fitted);
    RUN(text_is_cleaned);
    TEST_EXIT();
}
