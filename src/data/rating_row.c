#include "data/rating_row.h"

#include <stdio.h>

#include "data/utf8.h"

void row_split(const struct rating_format *format, const char *begin, const char *end, struct row_text *text) {
    int length = format->separator[1] ? 2 : 1, column = 0;
    if (end > begin && end[-1] == '\r') end--;
    *text = (struct row_text){.csv = CSV_ROW};
    for (const char *at = begin;; column++) {
        const char *stop = at;
        while (stop < end && (stop[0] != format->separator[0] ||
                              (length == 2 && (stop + 1 == end || stop[1] != format->separator[1]))))
            stop++;
        for (int field = 0; field < RATING_FIELDS; field++)
            if (format->columns[field] == column) text->fields[field] = (struct text_span){at, (size_t)(stop - at)};
        if (stop == end) break;
        at = stop + length;
    }
    text->n_columns = column + 1;
}

/* "4", "4.0", "3.5", "3.50" to half stars; 0 = a number off the scale, -1 = no number. */
static int parse_stars(struct text_span field, int whole) {
    field = span_trim(field);
    unsigned stars = 0, half = 0, off = 0;
    size_t digits = 0, dot = 0, decimals = 0, begin = field.length > 1 && field.text[0] == '-';
    for (size_t i = begin; i < field.length; i++) {
        unsigned digit = (unsigned)(unsigned char)field.text[i] - '0';
        if (field.text[i] == '.' && !dot) {
            dot = 1;
            continue;
        }
        if (digit > 9) return -1;
        digits++;
        if (!dot)
            stars = stars > 5 ? stars : stars * 10 + digit;
        else if (decimals++ == 0 && digit == 5)
            half = 1;
        else if (digit != 0)
            off = 1;
    }
    if (digits == 0) return -1;
    unsigned halves = 2 * stars + half;
    return begin || off || halves < 1 || halves > 10 || (whole && half) ? 0 : (int)halves;
}

enum row_fault row_parse(const struct rating_format *format, const struct row_text *text, struct rating_row *row) {
    uint64_t user = 0, movie = 0, time = 0;
    if (text->csv != CSV_ROW) return ROW_BROKEN_QUOTE;
    if (text->n_columns != format->n_columns) return ROW_COLUMNS;
    if (span_to_int(text->fields[RATING_USER], INT32_MAX, &user) != 1) return ROW_USER;
    if (span_to_int(text->fields[RATING_MOVIE], INT32_MAX, &movie) != 1) return ROW_MOVIE;
    int halves = parse_stars(text->fields[RATING_STARS], format->whole_stars);
    if (halves < 1) return ROW_STARS;
    if (format->columns[RATING_TIME] >= 0 && span_to_int(text->fields[RATING_TIME], UINT32_MAX, &time) != 1)
        return ROW_TIME;
    *row = (struct rating_row){(uint32_t)user, (uint32_t)movie, (uint32_t)time, (uint8_t)halves};
    return ROW_GOOD;
}

static void describe_id(const char *what, struct text_span field, char *out, size_t size) {
    uint64_t value;
    struct shown_text shown = utf8_shown(field.text, field.length);
    if (span_to_int(field, INT32_MAX, &value) < 0)
        snprintf(out, size, "%s id overflow: ids go up to 2147483647 (found %s)", what, shown.text);
    else
        snprintf(out, size, "%s id is not a whole number 0..2147483647 (found '%s')", what, shown.text);
}

static void describe_stars(struct text_span field, int whole, char *out, size_t size) {
    struct shown_text shown = utf8_shown(field.text, field.length);
    if (parse_stars(field, whole) < 0)
        snprintf(out, size, "rating is not a number (found '%s')", shown.text);
    else if (whole)
        snprintf(out, size, "rating is off the scale of whole stars 1..5 (found %s)", shown.text);
    else
        snprintf(out, size, "rating is off the half-star scale 0.5..5 (found %s)", shown.text);
}

void row_describe(const struct rating_format *format, const struct row_text *text, enum row_fault fault, char *out,
                  size_t size) {
    const struct text_span *fields = text->fields;
    out[0] = '\0';
    switch (fault) {
    case ROW_GOOD:
        break;
    case ROW_BROKEN_QUOTE:
        snprintf(out, size, "%s", csv_result_text(text->csv));
        break;
    case ROW_COLUMNS:
        snprintf(out, size, "too %s columns: %d are needed (found %d)",
                 text->n_columns < format->n_columns ? "few" : "many", format->n_columns, text->n_columns);
        break;
    case ROW_USER:
        describe_id("user", fields[RATING_USER], out, size);
        break;
    case ROW_MOVIE:
        describe_id("movie", fields[RATING_MOVIE], out, size);
        break;
    case ROW_STARS:
        describe_stars(fields[RATING_STARS], format->whole_stars, out, size);
        break;
    case ROW_TIME:
        snprintf(out, size, "time is not a whole number of seconds 0..4294967295 (found '%s')",
                 utf8_shown(fields[RATING_TIME].text, fields[RATING_TIME].length).text);
        break;
    }
}
