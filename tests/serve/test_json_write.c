/* Numbers and strings of prebuilt bodies. */
#include "test.h"

#include <jansson.h>

#include "serve/json_write.h"

static const char *decimal(double value, int decimals) {
    static char text[64];
    struct strbuf out = {0};
    json_write_decimal(&out, value, decimals);
    snprintf(text, sizeof text, "%s", out.data);
    strbuf_free(&out);
    return text;
}

static void decimals_are_short_and_rounded(void) {
    CHECK_STR(decimal(4.5, 3), "4.5");
    CHECK_STR(decimal(5, 3), "5.0");
    CHECK_STR(decimal(0.05, 3), "0.05");
    CHECK_STR(decimal(4.1234, 3), "4.123");
    CHECK_STR(decimal(4.9996, 3), "5.0");
    CHECK_STR(decimal(-0.25, 1), "-0.2"); /* half to even, as Python's round */
    CHECK_STR(decimal(0.35, 1), "0.3");   /* 0.35 lies below its decimal */
    CHECK_STR(decimal(0, 2), "0.0");
    CHECK_STR(decimal(123456.5, 2), "123456.5");
    CHECK_STR(decimal((double)NAN, 2), "null");
    CHECK_STR(decimal(-(double)INFINITY, 2), "null");
}

/* printf rounds the exact value half to even: every float score must come out alike. */
static void decimals_agree_with_printf(void) {
    int wrong = 0;
    for (int i = 0; i < 500000; i++) {
        float score = 0.5f + 4.5f * (float)i / 500000;
        char text[32];
        snprintf(text, sizeof text, "%.3f", (double)score);
        wrong += strtod(text, NULL) != strtod(decimal((double)score, 3), NULL);
        wrong += json_decimal_units((double)score, 3) != llround(strtod(text, NULL) * 1000);
    }
    for (double value = 0; value < 3; value += 0.005) { /* doubles next to halves */
        char text[32];
        snprintf(text, sizeof text, "%.2f", value);
        wrong += strtod(text, NULL) != strtod(decimal(value, 2), NULL);
    }
    CHECK_INT(wrong, 0);
}

static void strings_come_back(void) {
    char nasty[128];
    for (int c = 1; c < 128; c++) nasty[c - 1] = (char)c;
    nasty[127] = '\0';
    const char *const texts[] = {"", "plain", "\"quoted\\\"", "Am\xc3\xa9lie \xe2\x80\x94 \xf0\x9f\x8e\xac", nasty};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct strbuf out = {0};
        json_write_string(&out, texts[i]);
        json_t *value = json_loads(out.data, JSON_DECODE_ANY, NULL);
        CHECK_STR(json_string_value(value), texts[i]);
        json_decref(value);
        strbuf_free(&out);
    }
}

static void integers(void) {
    const int64_t values[] = {0, 7, -7, 2147483647, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct strbuf out = {0};
        char text[32];
        json_write_int(&out, values[i]);
        snprintf(text, sizeof text, "%lld", (long long)values[i]);
        CHECK_STR(out.data, text);
        strbuf_free(&out);
    }
}

static void reals_come_back(void) {
    const double values[] = {0, 1, 0.1, 3.486842105263158, 1.0 / 3, 1e300, -2.5e-12};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        struct strbuf out = {0};
        json_write_real(&out, values[i]);
        CHECK(strtod(out.data, NULL) == values[i]);
        CHECK(strpbrk(out.data, ".e"));
        CHECK(strlen(out.data) <= 24);
        strbuf_free(&out);
    }
}

int main(void) {
    RUN(reals_come_back);
    RUN(decimals_are_short_and_rounded);
    RUN(decimals_agree_with_printf);
    RUN(strings_come_back);
    RUN(integers);
    TEST_EXIT();
}
