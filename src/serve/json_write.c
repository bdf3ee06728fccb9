#include "serve/json_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void json_write_string(struct strbuf *out, const char *text) {
    static const char digits[] = "0123456789abcdef";
    strbuf_add(out, "\"", 1);
    for (;;) {
        size_t plain = 0;
        while ((unsigned char)text[plain] >= 0x20 && text[plain] != '"' && text[plain] != '\\') plain++;
        strbuf_add(out, text, plain);
        text += plain;
        if (!*text) break;
        char escaped[6] = {'\\', *text};
        if (*text == '"' || *text == '\\') {
            strbuf_add(out, escaped, 2);
        } else {
            memcpy(escaped, "\\u00", 4);
            escaped[4] = digits[*text >> 4 & 15];
            escaped[5] = digits[*text & 15];
            strbuf_add(out, escaped, 6);
        }
        text++;
    }
    strbuf_add(out, "\"", 1);
}

/* Writes `value` before `end`, with at least `least` digits; returns where it starts. */
static char *digits_before(char *end, uint64_t value, int least) {
    do {
        *--end = (char)('0' + value % 10);
        value /= 10;
        least--;
    } while (value || least > 0);
    return end;
}

void json_write_int(struct strbuf *out, int64_t value) {
    char text[24], *end = text + sizeof text;
    char *start = digits_before(end, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
    if (value < 0) *--start = '-';
    strbuf_add(out, start, (size_t)(end - start));
}

static const int64_t powers_of_ten[] = {1, 10, 100, 1000, 10000, 100000, 1000000};

int64_t json_decimal_units(double value, int decimals) {
    double scaled = value * (double)powers_of_ten[decimals];
    double units = nearbyint(scaled);
    /* The product may have been rounded onto a half: the exact value decides. */
    if (fabs(scaled - trunc(scaled)) == 0.5) {
        double rest = fma(value, (double)powers_of_ten[decimals], -scaled);
        if (rest != 0) units = rest > 0 ? ceil(scaled) : floor(scaled);
    }
    return (int64_t)units;
}

void json_write_decimal(struct strbuf *out, double value, int decimals) {
    if (!isfinite(value)) {
        strbuf_add(out, "null", 4);
        return;
    }
    int64_t units = json_decimal_units(value, decimals);
    uint64_t size = units < 0 ? -(uint64_t)units : (uint64_t)units;
    while (decimals > 1 && size % 10 == 0) {
        size /= 10;
        decimals--;
    }
    uint64_t power = (uint64_t)powers_of_ten[decimals];
    char text[40], *end = text + sizeof text;
    char *start = digits_before(end, size % power, decimals);
    *--start = '.';
    start = digits_before(start, size / power, 1);
    if (units < 0) *--start = '-';
    strbuf_add(out, start, (size_t)(end - start));
}

void json_write_real(struct strbuf *out, double value) {
    if (!isfinite(value)) {
        strbuf_add(out, "null", 4);
        return;
    }
    char text[32];
    int length = 0;
    for (int digits = 15; digits <= 17; digits++) {
        length = snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    strbuf_add(out, text, (size_t)length);
    if (!strpbrk(text, ".e")) strbuf_add(out, ".0", 2);
}

void json_write_stars(struct strbuf *out, int half_stars) {
    json_write_decimal(out, 0.5 * half_stars, 1);
}
